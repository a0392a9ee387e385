"""Numbers, times and names as text of a few cells. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite

from rich.cells import cell_len, set_cell_size

NOT_READY = "–"
MINUS = "−"
BLOCKS = "▁▂▃▄▅▆▇█"

MOST_DECIMALS = 10
_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_TIMES = re.compile(r" \* ")
_NEGATIVE = re.compile(r"(^|[^\w.])-(?=[\d.])")


def clean(text: str) -> str:
    """What was written elsewhere, without what would move the cursor or turn the line around."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "?" if unicodedata.category(letter) in _UNPRINTABLE else letter for letter in text
    )


def fit(text: str, width: int, *, left: bool = False) -> str:
    """Text of exactly so many cells; one that is too long ends in an ellipsis."""
    missing = width - cell_len(text)
    if missing < 0:
        return set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width)
    return text + " " * missing if left else " " * missing + text


def decimals_of(value: float | None) -> int:
    """With how many decimals a number is written: 5 for 0.00021 as for 2.1e-4."""
    if value is None or not isfinite(value):
        return 0
    digits, _, exponent = repr(float(value)).partition("e")
    fraction = digits.partition(".")[2].rstrip("0")
    return min(MOST_DECIMALS, max(0, len(fraction) - int(exponent or 0)))


def price(value: float | None, decimals: int, width: int) -> str:
    """A price with its symbol's decimals, or as many of them as there is room for."""
    if value is None:
        return NOT_READY
    for fewer in range(decimals, -1, -1):
        text = f"{value:.{fewer}f}"
        whole = text.partition(".")[0].lstrip("-")
        if len(whole) > 4:
            text = f"{value:,.{fewer}f}"
        if len(text) <= width:
            return text.replace("-", MINUS)
    return compact(value)


def signed(value: float | None) -> str:
    """A number with its sign, with fewer decimals the larger it is: +1.23, +12.3, +123."""
    if value is None:
        return NOT_READY
    size = abs(value)
    text = _three_digits(size) if size < 9999.5 else compact(size)
    if text == "0.00":
        return text
    return (MINUS if value < 0 else "+") + text


def percent(value: float | None) -> str:
    """A change, in percent."""
    return NOT_READY if value is None else f"{signed(value)} %"


def compact(value: float | None) -> str:
    """Three digits and a unit: 1.23M."""
    if value is None:
        return NOT_READY
    sign, size = MINUS if value < 0 else "", abs(value)
    # 999.5k and more is written as 1.00M.
    unit, letter = next((one for one in _UNITS if size >= one[0] * 0.9995), (1.0, ""))
    return sign + _three_digits(size / unit) + letter


def whole(value: float | None) -> str:
    """A number without decimals."""
    return NOT_READY if value is None else f"{value:.0f}".replace("-", MINUS)


def plain(value: float | None) -> str:
    """A number of a rule's clause, whatever its size."""
    if value is None:
        return NOT_READY
    size = abs(value)
    if size >= 10_000:
        return compact(value)
    if size and size < 0.01:
        return f"{value:.2g}".replace("-", MINUS, 1 if value < 0 else 0)
    text = f"{value:.{1 if size >= 100 else 2}f}"
    return text.rstrip("0").rstrip(".").replace("-", MINUS)


def formula(text: str) -> str:
    """An expression of a rule with the signs of a printed formula."""
    told = " ".join(text.split()).replace(">=", "≥").replace("<=", "≤")
    return _NEGATIVE.sub(rf"\1{MINUS}", _TIMES.sub(" × ", told))


def clock(ms: int | None) -> str:
    """The time of day, UTC."""
    return NOT_READY if ms is None else _moment(ms).strftime("%H:%M")


def day_and_clock(ms: int | None) -> str:
    """The same with its day."""
    return NOT_READY if ms is None else _moment(ms).strftime("%Y-%m-%d %H:%M")


def duration(seconds: float | None) -> str:
    """So many seconds, in the unit that fits."""
    if seconds is None:
        return NOT_READY
    for unit, letter in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {letter}"
    return f"{max(0.0, seconds):.0f} s"


def sparkline(closes: Sequence[float | None], width: int) -> str:
    """A line through these numbers in block characters, the newest at the right.

    One that has no value leaves a gap. Where there are more numbers than cells, a cell is the last
    of its share of them.
    """
    count = min(width, len(closes))
    shown = [_finite(closes[(cell + 1) * len(closes) // count - 1]) for cell in range(count)]
    known = [one for one in shown if one is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    return "".join(" " if one is None else _block(one, low, high) for one in shown)


def _block(value: float, low: float, high: float) -> str:
    # Halves, so that the widest range is a number still.
    extent = high / 2 - low / 2
    if not extent:
        return BLOCKS[len(BLOCKS) // 2 - 1]
    return BLOCKS[round((value / 2 - low / 2) / extent * (len(BLOCKS) - 1))]


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _three_digits(size: float) -> str:
    return f"{size:.{0 if size >= 99.95 else 1 if size >= 9.995 else 2}f}"


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
