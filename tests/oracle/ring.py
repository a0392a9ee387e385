"""What is kept of one symbol: every candle given, by minute; everything else is derived from it.

Written from SPEC 1 and 2. Nothing is kept incrementally: a minute that was never given is a fill,
and fills are made anew, from the left, each time the minutes are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

MINUTE_MS = 60_000
RING_MINUTES = 1440
RANK = {"archive": 3, "rest": 2, "stream": 1, "synthetic": 0}

STATS = (
    "appended",
    "updated",
    "duplicate",
    "corrected",
    "outranked",
    "stale",
    "too_old",
    "filled",
    "restarted",
)


@dataclass(frozen=True, slots=True)
class Stored:
    """One minute as the oracle keeps it; `None` is unknown."""

    minute: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trades: int | None
    taker_buy_volume: float | None
    taker_buy_quote_volume: float | None
    source: str = "stream"
    closed: bool = True
    event_time: int | None = None
    forced: bool = False  # closed because a later minute came, not because the source said so
    filled: bool = False  # made here for a minute that nobody gave
    pending: bool = False  # filled, and nobody has said that the source has none

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """What two candles of a minute must share to be equal."""
        return (
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.quote_volume,
            self.trades,
            self.taker_buy_volume,
            self.taker_buy_quote_volume,
        )

    @property
    def synthetic(self) -> bool:
        """Whether no trade stands behind the candle: a fill, or given as synthetic."""
        return self.filled or self.source == "synthetic"


def stored(candle: Mapping[str, Any]) -> Stored:
    """The candle of a mapping with SPEC 1's names; a missing optional value is unknown."""
    return Stored(
        minute=candle["open_time"] // MINUTE_MS,
        open=candle["open"],
        high=candle["high"],
        low=candle["low"],
        close=candle["close"],
        volume=candle["volume"],
        quote_volume=candle["quote_volume"],
        trades=candle.get("trades"),
        taker_buy_volume=candle.get("taker_buy_volume"),
        taker_buy_quote_volume=candle.get("taker_buy_quote_volume"),
        source=candle.get("source") or "stream",
        closed=candle.get("closed", True) is not False,
        event_time=candle.get("event_time"),
    )


def flat(minute: int, price: float, *, pending: bool) -> Stored:
    """A minute in which nothing traded, at the close before it."""
    return Stored(
        minute=minute,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=0.0,
        quote_volume=0.0,
        trades=0,
        taker_buy_volume=0.0,
        taker_buy_quote_volume=0.0,
        source="synthetic",
        filled=True,
        pending=pending,
    )


@dataclass
class History:
    """The candles of one symbol since it was last (re)started."""

    pending_gaps: bool
    stats: dict[str, int]
    given: dict[int, Stored] = field(default_factory=dict)
    first: int = 0
    newest: int = 0

    @property
    def running(self) -> bool:
        """Whether the newest minute is still open."""
        return bool(self.given) and not self.given[self.newest].closed

    @property
    def newest_closed(self) -> int:
        """The newest minute that is not running (a fill is not running)."""
        return self.newest - 1 if self.running else self.newest

    def minutes(self, last: int) -> list[Stored]:
        """Every minute from the first to `last`, holes filled, oldest first."""
        found: list[Stored] = []
        for minute in range(self.first, last + 1):
            candle = self.given.get(minute)
            if candle is None:
                candle = flat(minute, found[-1].close, pending=self.pending_gaps)
            found.append(candle)
        return found

    def too_old(self, minute: int) -> bool:
        """Whether the ring no longer holds this minute."""
        return bool(self.given) and minute <= self.newest - RING_MINUTES

    def close_by_force(self) -> None:
        """The newest minute counts as closed with what is known of it."""
        newest = self.newest
        self.given[newest] = replace(self.given[newest], closed=True, forced=True)

    def place(self, candle: Stored) -> str:
        """Put a candle where SPEC 2 says; the newest minute no longer runs if this one is later.

        Returns:
            The counter that counts it.
        """
        kind = self._place(candle)
        self.stats[kind] += 1
        return kind

    def _place(self, candle: Stored) -> str:
        minute = candle.minute
        if not self.given:
            return self._start(candle)
        newest = self.newest
        if self.too_old(minute):
            return "too_old"
        if minute > newest:
            if minute > newest + RING_MINUTES:
                self.given.clear()
                self.stats["restarted"] += 1
                return self._start(candle)
            self.stats["filled"] += minute - newest - 1
            self.given[minute] = candle
            self.newest = minute
            return "appended"
        if minute == newest and self.running:
            return self._replace_running(candle)
        if not candle.closed:
            return "stale"
        if minute < self.first:
            self.stats["filled"] += self.first - minute - 1
            self.given[minute] = candle
            self.first = minute
            return "appended"
        return self._correct(candle)

    def _start(self, candle: Stored) -> str:
        self.given[candle.minute] = candle
        self.first = self.newest = candle.minute
        return "appended"

    def _replace_running(self, candle: Stored) -> str:
        there = self.given[candle.minute]
        if (
            not candle.closed
            and candle.event_time is not None
            and there.event_time is not None
            and candle.event_time < there.event_time
        ):
            return "stale"
        self.given[candle.minute] = candle
        return "updated"

    def _correct(self, candle: Stored) -> str:
        there = self.given.get(candle.minute)
        if there is None:  # a fill: any candle is better
            self.given[candle.minute] = candle
            return "corrected"
        if there.numbers == candle.numbers:
            if there.forced:
                self.given[candle.minute] = replace(there, forced=False, source=candle.source)
                return "duplicate"
            if there.source == "synthetic" and candle.source != "synthetic":
                self.given[candle.minute] = candle
                return "corrected"
            return "duplicate"
        if there.forced or RANK[candle.source] >= RANK[there.source]:
            self.given[candle.minute] = candle
            return "corrected"
        return "outranked"
