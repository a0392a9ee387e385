"""The whole of `screenerd up` against the built-in market, in one process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from proxy import Proxy, proxied
from store_values import journalled

import screener
from screener import Drift
from screenerd.clock import SystemClock
from screenerd.config import Config, ExchangeConfig, RulesConfig, StoreConfig
from screenerd.demo import DemoExchange, Faults, Limits, Market
from screenerd.demo.market import minutes_frame
from screenerd.model import MINUTE_MS, Candle
from screenerd.run import Roles, up
from screenerd.serve.settings import ServeConfig
from screenerd.store.sqlite import SqliteStore

START_MS = 1_780_372_800_000
"""Market time at the start, 2026-06-02 04:00 UTC: every run sees the same market, which moves."""

NUMBERS = [
    "open", "high", "low", "close", "volume", "quote_volume",
    "trades", "taker_buy_volume", "taker_buy_quote_volume",
]  # fmt: skip


@dataclass
class Rig:
    """What runs, and the market it follows."""

    roles: Roles
    exchange: DemoExchange
    proxy: Proxy
    market: Market
    clock: SystemClock
    path: Path

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        return self.exchange.faults

    @property
    def symbols(self) -> list[str]:
        """Those that are followed."""
        return sorted(self.roles.ingest.known_until())

    async def until(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Waits for a condition, so many seconds at most."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    async def minutes(self, count: int) -> None:
        """Waits until so many more minutes are complete for every symbol."""
        target = self.clock.now_ms() // MINUTE_MS * MINUTE_MS + count * MINUTE_MS
        known = self.roles.ingest.known_until
        await self.until(lambda: min(known().values(), default=0) >= target, 60)

    def missing_or_wrong(self, stored: list[Candle]) -> list[str]:
        """What differs between the store and the market, told in words."""
        first = min(candle.open_time for candle in stored) // MINUTE_MS
        last = max(candle.open_time for candle in stored) // MINUTE_MS
        truth = {
            (row["symbol"], row["open_time"]): tuple(row[name] for name in NUMBERS)
            for row in minutes_frame(self.market, first, last - first + 1).iter_rows(named=True)
        }
        found = {(candle.symbol, candle.open_time): candle for candle in stored}
        wrong = [f"{key}: missing" for key in truth.keys() - found.keys()]
        wrong += [f"{key}: never was" for key in found.keys() - truth.keys()]
        for key in truth.keys() & found.keys():
            if found[key].values != truth[key]:
                wrong.append(f"{key}: {found[key].values} is not {truth[key]}")
        return sorted(wrong)


@contextlib.asynccontextmanager
async def running(
    path: Path,
    *,
    symbols: int = 6,
    speed: float = 60.0,
    limits: Limits | None = None,
    rules: RulesConfig | None = None,
    start_ms: int = START_MS,
) -> AsyncIterator[Rig]:
    """Starts it all behind a proxy, warmed up; stops it cleanly."""
    clock = SystemClock(speed, start_ms)
    market = Market(symbols=symbols)
    async with (
        DemoExchange(market, clock, limits=limits) as exchange,
        proxied(exchange.rest_url) as proxy,
    ):
        there = ExchangeConfig(
            rest_url=f"http://{proxy.address}", stream_url=f"ws://{proxy.address}"
        )
        config = Config(
            exchange=there,
            store=StoreConfig(path=path),
            serve=ServeConfig(port=0),
            rules=rules or RulesConfig(floors=False),
        )
        ready: asyncio.Future[Roles] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(up(config, clock=clock, ready=ready))
        both: set[asyncio.Future[None] | asyncio.Future[Roles]] = {task, ready}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        rig = Rig(ready.result(), exchange, proxy, market, clock, path)
        try:
            await rig.until(
                lambda: (
                    task.done()
                    or (rig.roles.ingest.status.started and rig.roles.screen.rebuilt.is_set())
                )
            )
            yield rig
        finally:
            rig.roles.stop.set()
            await task


async def stored(path: Path) -> tuple[list[Candle], list[Candle], set[str]]:
    """Candles, journal and ids of alerts in a store."""
    clock = SystemClock()
    forever = 1 << 52
    async with SqliteStore(path, clock) as store:
        candles = await store.candles("binance", None, 0, forever)
        journal = await journalled(store, "binance", 0, forever)
        alerts = await store.alerts(0)
    return candles, journal, {alert.id for alert in alerts}


def drifted(path: Path, rules: screener.RuleSet | str = "futures") -> Drift:
    """What a daemon with floors off raised, against replays of what it stored."""
    return screener.drift(path, rules, floors=False)
