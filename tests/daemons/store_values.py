"""Candles, alerts and a clock, as tests of the stores make them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from screenerd.model import MINUTE_MS, Alert, Candle, CandleBatch, Source, Stamps
from screenerd.store.port import JournalPage

NOW = 1_732_190_400_000  # 2024-11-21T12:00:00Z


SECONDS = 20.0


@dataclass
class HandClock:
    """A clock that stands until it is moved."""

    now: int = NOW

    def now_ms(self) -> int:
        """Where it stands."""
        return self.now

    def monotonic(self) -> float:
        """The same in seconds."""
        return self.now / 1000

    def real(self, seconds: float) -> float:
        """As long as they are."""
        return seconds

    async def sleep(self, seconds: float) -> None:
        """Moves itself."""
        self.now += round(seconds * 1000)


def candle(
    symbol: str = "BTCUSDT", minute: int = 0, close: float = 100.5, source: Source = "stream"
) -> Candle:
    time_ = NOW + minute * MINUTE_MS
    return Candle(
        symbol=symbol,
        open_time=time_,
        open=100.0,
        high=110.0,
        low=90.0,
        close=close,
        volume=3.25,
        quote_volume=325.5,
        trades=17,
        taker_buy_volume=1.5,
        taker_buy_quote_volume=None,
        event_time=time_ + MINUTE_MS + 5,
        source=source,
        received_at=time_ + MINUTE_MS + 40,
    )


def batch(*candles: Candle, exchange: str = "x") -> CandleBatch:
    return CandleBatch(exchange, candles)


def alert(number: int = 0, state: str = "confirmed", at: int = NOW) -> Alert:
    return Alert(
        id=f"00000000-0000-5000-8000-{number:012d}",
        triggered_at=at,
        exchange="x",
        symbol="币安USDT",
        rule="big_bull_60m",
        title="Big Bull 60m",
        direction="up",
        timeframe="1h",
        price=0.1,
        quote_volume=None if number % 2 else 5e6,
        change=1.625,
        vcp=-0.3,
        state=state,
        rule_version="0123456789abcdef",
        evidence={"change_1h": 1.625, "rsi_1h": None, "trades_5m": 12},
        stamps=Stamps(at, at + 5, at + 40, at + 41, stored=NOW),
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


class Journal(Protocol):
    """What has a journal."""

    async def journal(
        self,
        exchange: str,
        start: int,
        end: int,
        *,
        symbols: Sequence[str] | None = None,
        after: int = 0,
        limit: int,
    ) -> JournalPage:
        """A page of it."""
        ...


async def journalled(
    store: Journal,
    exchange: str,
    start: int,
    end: int,
    *,
    symbols: Sequence[str] | None = None,
    limit: int = 1000,
) -> list[Candle]:
    """All of a journal, read in pages of so many."""
    found: list[Candle] = []
    after: int | None = 0
    while after is not None:
        page = await store.journal(exchange, start, end, symbols=symbols, after=after, limit=limit)
        assert len(page.candles) <= limit
        found += page.candles
        after = page.after
    return found
