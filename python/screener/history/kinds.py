"""What can be wrong with history: every kind of finding, how grave it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["KINDS", "SEVERITIES", "Kind", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "notice"]
"""error: values that cannot be. warning: something lacks or is doubtful. notice: worth a look."""

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "notice")
"""From the gravest on."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way in which minutes can be wrong.

    Attributes:
        name: How programs call it.
        severity: How grave it is.
        title: How people call it.
        remedy: What to do next.
    """

    name: str
    severity: Severity
    title: str
    remedy: str


_QUARANTINE = "screener repair moves these rows to quarantine and asks the source for the minutes"
_TRUE_OR_BAD = "true on a wild day, a bad print otherwise: compare with another source (--against)"

_ALL = (
    Kind("value_missing", "error", "value missing", _QUARANTINE),
    Kind("not_finite", "error", "not a finite number", _QUARANTINE),
    Kind("not_positive", "error", "price not above 0", _QUARANTINE),
    Kind("negative", "error", "negative volume or trades", _QUARANTINE),
    Kind("out_of_range", "error", "beyond 1e-30 to 1e30", _QUARANTINE),
    Kind("ohlc", "error", "prices that cannot be", _QUARANTINE),
    Kind("taker", "error", "takers bought more than was traded", _QUARANTINE),
    Kind("out_of_years", "error", "time outside 2009 to 2100", _QUARANTINE),
    Kind("misaligned", "error", "time is no whole minute", _QUARANTINE),
    Kind("future", "error", "minute of the future", f"check this machine's clock; {_QUARANTINE}"),
    Kind(
        "duplicate_differing",
        "error",
        "minute repeated with other values",
        "screener repair keeps what the source says",
    ),
    Kind(
        "source_difference",
        "error",
        "sources differ",
        "the store keeps the archive's version; screener repair asks again",
    ),
    Kind(
        "missing",
        "warning",
        "minutes missing",
        "screener repair asks the source for them",
    ),
    Kind(
        "exchange_hole",
        "warning",
        "missing in most symbols",
        "the exchange was probably down: screener repair asks once and records what it lacks",
    ),
    Kind(
        "duplicate_same",
        "warning",
        "minute repeated with the same values",
        "harmless: the store keeps one row a minute",
    ),
    Kind("out_of_order", "warning", "rows out of order", "harmless: the store sorts by time"),
    Kind(
        "jump",
        "warning",
        "price jumps between minutes",
        "a trade is missing, or the rows are of two contracts: compare with another source",
    ),
    Kind(
        "quote_misfit",
        "warning",
        "quote volume does not fit the prices",
        "a volume is in another unit (contracts, lots): read the file with the right columns",
    ),
    Kind("price_outlier", "notice", "minute with an extreme range", _TRUE_OR_BAD),
    Kind("volume_outlier", "notice", "minute with an extreme volume", _TRUE_OR_BAD),
    Kind(
        "zero_run",
        "notice",
        "long run without a trade",
        "normal for a quiet market; in a busy one the source was down and wrote flat candles",
    ),
    Kind("absent", "notice", "confirmed absent at the source", "nothing: the source has them not"),
    Kind("synthetic", "notice", "made up", "screener undo takes them out again"),
)

KINDS: Final[dict[str, Kind]] = {kind.name: kind for kind in _ALL}
"""Every kind by its name, the gravest first."""
