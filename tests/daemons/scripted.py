"""A scripted exchange, a store in memory, and a clock that tests move: for the roles' own logic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from screenerd.exchange.port import ExchangeError, UnknownSymbolError
from screenerd.model import MINUTE_MS, Candle
from screenerd.store.audit import judged_from
from screenerd.store.port import Span, StoreError, StoreHealth

START = 29_400_000 * MINUTE_MS


def candle(symbol: str, minute: int, close: float = 100.0, **more: object) -> Candle:
    """A closed minute, counted from START."""
    made = Candle(
        symbol=symbol,
        open_time=START + minute * MINUTE_MS,
        open=close,
        high=close,
        low=close,
        close=close,
        volume=2.0,
        quote_volume=2.0 * close,
        trades=3,
        taker_buy_volume=1.0,
        taker_buy_quote_volume=close,
    )
    return replace(made, **more)  # type: ignore[arg-type]


class MovedClock:
    """Stands still until a test moves it; who sleeps wakes when its time has come."""

    def __init__(self, now_ms: int) -> None:
        """Starts at a time."""
        self._now = now_ms
        self._sleepers: list[tuple[int, asyncio.Event]] = []

    def now_ms(self) -> int:
        """The time."""
        return self._now

    def monotonic(self) -> float:
        """The same in seconds."""
        return self._now / 1000

    def real(self, seconds: float) -> float:
        """Waits with a deadline are cut short."""
        return min(seconds, 0.01)

    async def sleep(self, seconds: float) -> None:
        """Until the clock has been moved so far."""
        event = asyncio.Event()
        self._sleepers.append((self._now + int(seconds * 1000), event))
        await event.wait()

    def move(self, ms: int) -> None:
        """Moves on."""
        self._now += ms
        for due, event in self._sleepers:
            if due <= self._now:
                event.set()
        self._sleepers = [one for one in self._sleepers if one[0] > self._now]


@dataclass
class ScriptedExchange:
    """Has the minutes it was given, and counts what it is asked."""

    minutes_by_symbol: dict[str, dict[int, Candle]]
    name: str = "binance"
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    failures: int = 0
    held_back: asyncio.Event | None = None

    async def symbols(self) -> tuple[str, ...]:
        """Those it has minutes of, after so many failures."""
        if self.failures:
            self.failures -= 1
            raise ExchangeError("away")
        return tuple(sorted(self.minutes_by_symbol))

    async def minutes(self, symbol: str, start: int, end: int) -> list[Candle]:
        """What it has."""
        self.asked.append((symbol, start, end))
        if symbol not in self.minutes_by_symbol:
            raise UnknownSymbolError(symbol)
        await (self.held_back.wait() if self.held_back else asyncio.sleep(0))
        held = self.minutes_by_symbol[symbol].values()
        found = [replace(one, source="rest") for one in held if start <= one.open_time < end]
        return sorted(found, key=lambda one: one.open_time)

    async def bars(self, symbol: str, timeframe: str, count: int) -> list[tuple[int, float]]:
        """None."""
        return []


@dataclass
class ScriptedFeed:
    """Follows, and never delivers by itself."""

    followed: tuple[str, ...] = ()
    moved: dict[str, float] = field(default_factory=dict)

    def prices(self) -> dict[str, float]:
        """What a test has put there."""
        moved, self.moved = self.moved, {}
        return moved

    def follow(self, symbols: Sequence[str]) -> None:
        """Remembers them."""
        self.followed = tuple(symbols)

    async def run(self) -> None:
        """Waits for ever."""
        await asyncio.Event().wait()


@dataclass
class MemoryStore:
    """What ingest asks of a store."""

    stored: list[Candle] = field(default_factory=list)
    tracking: dict[str, Span] = field(default_factory=dict)
    health: StoreHealth = field(default_factory=lambda: StoreHealth("up", None, 0, START))
    failures: int = 0

    async def candles(
        self, exchange: str, symbol: str | None, start: int, end: int
    ) -> list[Candle]:
        """Those in the range."""
        return [one for one in self.stored if start <= one.open_time < end]

    async def held(self, exchange: str, start: int, end: int) -> dict[str, list[tuple[int, int]]]:
        """A run for each minute."""
        runs: dict[str, list[tuple[int, int]]] = {}
        for one in await self.candles(exchange, None, start, end):
            runs.setdefault(one.symbol, []).append((one.open_time, one.close_time))
        return runs

    async def tracked(self, exchange: str) -> dict[str, int]:
        """Since when those that are followed are."""
        return {symbol: span.start for symbol, span in self.tracking.items() if not span.end}

    async def newest_bars(self, exchange: str) -> dict[tuple[str, str], int]:
        """None."""
        return {}

    async def set_tracking(self, exchange: str, spans: Mapping[str, Span]) -> None:
        """Remembers them, after so many failures."""
        if self.failures:
            self.failures -= 1
            raise StoreError("away")
        for symbol, span in spans.items():
            held = [self.tracking[symbol]] if symbol in self.tracking else []
            self.tracking[symbol] = replace(span, judged_from=judged_from(span, held))

    @property
    def listed(self) -> dict[str, int]:
        """The first minute that is judged of those that were listed later."""
        spans = self.tracking.items()
        return {symbol: span.judged_from for symbol, span in spans if span.judged_from is not None}

    async def judged_from(self, exchange: str) -> dict[str, int]:
        """The same."""
        return self.listed
