"""How an alert reads: cleaned, escaped and cut text, numbers and times. Pure."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import isfinite

from screenerd.model import Alert

UNKNOWN = "n/a"
"""Stands for a value that is not known."""

SYMBOL_MOST = 40
"""Longest symbol in a message, escaped."""

TITLE_MOST = 48
"""Longest title in a message, escaped."""

_MARKDOWN = re.compile(r"([\\*_~`|>\[\]()#@<:\-+])")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKS = {"up": "🟢", "down": "🔴"}


def clean(text: str) -> str:
    """The text on one line, without control, direction and half characters."""
    kept = (
        " " if char.isspace() else char
        for char in text
        if char.isspace() or (unicodedata.category(char) not in {"Cc", "Cs"} and char not in _BIDI)
    )
    return "".join(kept).strip()


def well_formed(text: str) -> str:
    """The text with half surrogates replaced, which no encoder takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def units(text: str) -> int:
    """Length in UTF-16 units, which is how the services count."""
    return len(text) + sum(1 for char in text if ord(char) > 0xFFFF)


def markdown(char: str) -> str:
    """One character such that Discord shows it as it is."""
    return _MARKDOWN.sub(r"\\\1", char)


def plain(char: str) -> str:
    """One character as it is."""
    return char


def clip(text: str, most: int, escape: Callable[[str], str] = plain) -> str:
    """Cleans, escapes and cuts to `most` UTF-16 units, never inside an escape; never empty."""
    whole = clean(text) or UNKNOWN
    used = 0
    kept: list[str] = []
    for index, char in enumerate(whole):
        piece = escape(char)
        # The last character may fill the room that is otherwise kept for the ellipsis.
        room = most if index == len(whole) - 1 else most - 1
        if used + units(piece) > room:
            return "".join(kept) + "…"
        used += units(piece)
        kept.append(piece)
    return "".join(kept)


def clip_html(text: str, most: int) -> str:
    """As `clip`, escaped for HTML."""
    return clip(text, most, html.escape)


def clip_markdown(text: str, most: int) -> str:
    """As `clip`, escaped for Discord."""
    return clip(text, most, markdown)


def price(value: float) -> str:
    """A price with as many decimals as its size needs."""
    if not isfinite(value):
        return UNKNOWN
    size = abs(value)
    if size >= 1e12 or 0 < size < 1e-10:
        return f"{value:.6g}"
    decimals = 2 if size >= 1000 else 4 if size >= 1 else 6 if size >= 0.01 else 12
    text = f"{value:,.{decimals}f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"


def change(value: float | None) -> str:
    """A change in percent, with its sign."""
    if value is None or not isfinite(value):
        return UNKNOWN
    return f"{value:+.2f}%" if abs(value) < 1e6 else f"{value:+.2e}%"


def volume(value: float | None) -> str:
    """A traded amount, in thousands, millions or billions."""
    if value is None or not isfinite(value):
        return UNKNOWN
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:.2f}{unit}" if abs(value) < 1e15 else f"{value:.2e}"
    return f"{value:.2f}"


def ratio(value: float | None) -> str:
    """A plain number."""
    return UNKNOWN if value is None or not isfinite(value) else f"{value:.4g}"


def moment(ms: int) -> datetime:
    """The time of so many ms since the epoch, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def iso(ms: int) -> str:
    """ISO 8601, UTC, to the ms."""
    return moment(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock_time(ms: int) -> str:
    """Hours and minutes, UTC."""
    return f"{moment(ms):%H:%M}"


def mark(alert: Alert) -> str:
    """A coloured dot for the direction."""
    return _MARKS.get(alert.direction, "⚪")


def heading(alert: Alert, escape: Callable[[str, int], str]) -> str:
    """`Big Bull 60m Signal`, and that it is provisional if it is; at most 120 units."""
    state = " (provisional)" if alert.state == "provisional" else ""
    return f"{escape(alert.title, 90)} Signal{state}"


def line(alert: Alert, escape: Callable[[str, int], str], bold: tuple[str, str]) -> str:
    """One alert on one line of a summary; at most 150 units.

    Args:
        alert: what to tell.
        escape: `clip_html` or `clip_markdown`.
        bold: what begins and ends bold text there.
    """
    symbol = f"{bold[0]}{escape(alert.symbol, SYMBOL_MOST)}{bold[1]}"
    title = escape(alert.title, TITLE_MOST)
    when = clock_time(alert.triggered_at)
    if alert.state == "withdrawn":
        return f"⚪ {symbol} {title} withdrawn · {when}"
    state = " (provisional)" if alert.state == "provisional" else ""
    return (
        f"{mark(alert)} {symbol} {title}{state} {change(alert.change)} @ {price(alert.price)}"
        f" · {when}"
    )


def withdrawal(alert: Alert, escape: Callable[[str, int], str]) -> str:
    """The follow-up to a provisional alert that did not hold."""
    return (
        f"Withdrawn: {escape(alert.title, TITLE_MOST)} Signal on "
        f"{escape(alert.symbol, SYMBOL_MOST)} of {clock_time(alert.triggered_at)} UTC did not hold "
        "when its minute closed."
    )


def mask(text: str, secrets: Iterable[str], most: int = 200) -> str:
    """A target's own words for an error text: on one line, cut, and without our secrets."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return clip(text, most)
