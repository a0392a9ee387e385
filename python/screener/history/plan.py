"""What is fetched, and what it costs: a function of what is wanted, held, tried and of the time.

A month of a symbol is planned again after each piece has come or failed, so the plan never needs
a memory of its own: what a killed run has stored is held, and what failed is tried no more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from screener.history.rest import PAGE
from screener.history.times import (
    DAY_MS,
    MINUTE_MS,
    day_start,
    days_between,
    iso,
    month_end,
    month_start,
    whole_minutes,
)
from screener.history.weight import klines_weight

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "DAY_WORTH",
    "MONTH_WORTH",
    "Cost",
    "Piece",
    "Span",
    "holes",
    "minutes_in",
    "plan_month",
    "without",
]

Span: TypeAlias = tuple[int, int]
"""Minutes that open in [start, end) ms."""

MONTH_WORTH: Final = 5 * 1440
"""From so many missing minutes on, the monthly file is cheaper than anything else."""

DAY_WORTH: Final = PAGE
"""From more missing minutes on, the daily file is cheaper than pages of REST."""

MOST_PAGES: Final = 20
"""Pages of a piece, so that what is asked for is stored soon."""

ARCHIVE_BYTES: Final = 32
"""What a minute comes to in a zip file, about."""

REST_BYTES: Final = 130
"""What a minute comes to in a REST answer, about."""

_DAILY_AFTER: Final = DAY_MS // 3
"""How long after its end a day's file is there, for sure enough."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cost:
    """What pieces come to.

    Attributes:
        requests: How many.
        weight: Of the exchange's budget a minute; the archive has none.
        bytes: About how many are received.
        minutes: How many are missing that they may bring.
    """

    requests: int = 0
    weight: int = 0
    bytes: int = 0
    minutes: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(
            self.requests + other.requests,
            self.weight + other.weight,
            self.bytes + other.bytes,
            self.minutes + other.minutes,
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing to fetch.

    Attributes:
        kind: `month` and `day` are files of the archive, `rest` is a span of REST rows.
        symbol: Whose minutes.
        start: The first minute, ms.
        end: The end of the last, ms.
        minutes: How many of them are missing.
    """

    kind: Literal["month", "day", "rest"]
    symbol: str
    start: int
    end: int
    minutes: int

    @property
    def period(self) -> str:
        """The month, the day, or the first minute, as text."""
        return iso(self.start)[: {"month": 7, "day": 10, "rest": 16}[self.kind]]

    @property
    def pages(self) -> list[Span]:
        """The spans of the requests of a REST piece."""
        step = PAGE * MINUTE_MS
        return [(start, min(start + step, self.end)) for start in range(self.start, self.end, step)]

    @property
    def cost(self) -> Cost:
        """What it takes; a file of the archive comes with its checksum."""
        minutes = minutes_in([(self.start, self.end)])
        if self.kind != "rest":
            return Cost(2, 0, minutes * ARCHIVE_BYTES, self.minutes)
        pages = self.pages
        weight = sum(klines_weight(minutes_in([page])) for page in pages)
        return Cost(len(pages), weight, minutes * REST_BYTES, self.minutes)


def minutes_in(spans: Collection[Span]) -> int:
    """How many minutes spans have that do not overlap."""
    return sum(end - start for start, end in spans) // MINUTE_MS


def holes(times: pl.Series, start: int, end: int) -> list[Span]:
    """The whole minutes of [start, end) that are not among ascending open times."""
    import polars as pl

    start, end = whole_minutes(start, end)
    if start >= end:
        return []
    inside = times.filter(times.is_between(start, end, closed="left"))
    edges = pl.concat(
        [
            pl.Series([start - MINUTE_MS], dtype=pl.Int64),
            inside.cast(pl.Int64),
            pl.Series([end], dtype=pl.Int64),
        ]
    )
    after = edges.diff().slice(1)
    gaps = (after > MINUTE_MS).arg_true()
    firsts, lasts = edges.gather(gaps) + MINUTE_MS, edges.slice(1).gather(gaps)
    return list(zip(firsts.to_list(), lasts.to_list(), strict=True))


def without(spans: Sequence[Span], taken: Collection[Span]) -> list[Span]:
    """What is left of ascending spans when others are taken out of them, in whole minutes.

    A minute of which a part is taken is taken.
    """
    left = list(spans)
    for low, high in taken:
        left = (
            [
                part
                for start, end in left
                for part in (
                    whole_minutes(start, min(end, low)),
                    whole_minutes(max(start, high), end),
                )
                if part[0] < part[1]
            ]
            if any(start < high and low < end for start, end in left)
            else left
        )
    return left


def within(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    """The parts of spans that lie in [start, end)."""
    clipped = ((max(low, start), min(high, end)) for low, high in spans)
    return [(low, high) for low, high in clipped if low < high]


def plan_month(
    symbol: str,
    month: str,
    missing: Sequence[Span],
    *,
    now: int,
    tried: Collection[str] = (),
    by_rest: bool = True,
) -> list[Piece]:
    """The pieces that bring the missing minutes of a symbol's month at the least cost.

    The monthly file where much is missing, else the daily files of days that lack more than a
    page, else REST. Files are asked for once the archive has them.

    Args:
        symbol: Whose minutes.
        month: Such as `2025-02`.
        missing: Ascending spans inside the month, all of them closed by now.
        now: The time, ms.
        tried: Periods (`2025-02`, `2025-02-03`) whose file has been asked for already.
        by_rest: Whether REST can be asked; if not, files are all there is.
    """
    start, end = month_start(month), month_end(month)
    if not missing:
        return []
    lacking = minutes_in(missing)
    month_worth, day_worth = (MONTH_WORTH, DAY_WORTH) if by_rest else (1, 0)
    if lacking >= month_worth and month not in tried and now >= _month_published(month):
        return [Piece("month", symbol, start, end, lacking)]
    pieces: list[Piece] = []
    left: list[Span] = []
    for day in days_between(missing[0][0], missing[-1][1]):
        begin = day_start(day)
        parts = within(missing, begin, begin + DAY_MS)
        lacking = minutes_in(parts)
        published = now >= begin + DAY_MS + _DAILY_AFTER
        if lacking > day_worth and day not in tried and published:
            pieces.append(Piece("day", symbol, begin, begin + DAY_MS, lacking))
        else:
            left.extend(parts)
    return pieces + (_rest_pieces(symbol, _joined(left)) if by_rest else [])


def _month_published(month: str) -> int:
    """The first Monday after a month, ms: then its file comes."""
    end = _EPOCH + timedelta(milliseconds=month_end(month))
    monday = end + timedelta(days=-end.weekday() % 7)
    return (monday - _EPOCH) // timedelta(milliseconds=1) + _DAILY_AFTER


def _joined(spans: Sequence[Span]) -> list[tuple[Span, int]]:
    """Spans, each with its missing minutes: neighbours that fit into one page are one."""
    joined: list[tuple[Span, int]] = []
    for start, end in spans:
        lacking = minutes_in([(start, end)])
        if joined:
            (first, last), before = joined[-1]
            if end - first <= PAGE * MINUTE_MS or start == last:
                joined[-1] = ((first, end), before + lacking)
                continue
        joined.append(((start, end), lacking))
    return joined


def _rest_pieces(symbol: str, spans: Sequence[tuple[Span, int]]) -> list[Piece]:
    step = MOST_PAGES * PAGE * MINUTE_MS
    pieces = []
    for (start, end), lacking in spans:
        for first in range(start, end, step):
            last = min(first + step, end)
            # A span of several pieces has no gap: only what fits into one page may have.
            minutes = min(lacking, minutes_in([(first, last)]))
            pieces.append(Piece("rest", symbol, first, last, minutes))
    return pieces
