"""The whole of `screenerd up` against the built-in market, in one process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from proxy import Proxy, proxied

import screener
from screenerd.clock import SystemClock
from screenerd.config import Config, ExchangeConfig, RulesConfig, StoreConfig
from screenerd.demo import DemoExchange, Faults, Limits, Market
from screenerd.demo.market import minutes_frame
from screenerd.model import MINUTE_MS, Candle
from screenerd.run import Roles, up
from screenerd.serve.settings import ServeConfig
from screenerd.store.sqlite import SqliteStore

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
) -> AsyncIterator[Rig]:
    """Starts it all behind a proxy, warmed up; stops it cleanly."""
    clock = SystemClock(speed)
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
        journal = await store.journal("binance", 0, forever)
        alerts = await store.alerts(0)
    return candles, journal, {alert.id for alert in alerts}


def replayed(journal: list[Candle], judged_from: int) -> set[str]:
    """Ids of the alerts a replay of the journal raises, in its order of arrival."""
    arrival = [candle.received_at for candle in journal]
    return set(_replay(journal, arrival, judged_from)["id"].to_list())


def _replay(candles: list[Candle], at: list[int], judged_from: int) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "symbol": [candle.symbol for candle in candles],
            "open_time": [candle.open_time for candle in candles],
            "event_time": at,
            "source": [candle.source for candle in candles],
            **{name: [getattr(candle, name) for candle in candles] for name in NUMBERS},
        }
    )
    return screener.replay(frame, exchange="binance", start=judged_from).alerts


@dataclass(frozen=True)
class Difference:
    """An alert that live and a replay of the final candles do not share, and why."""

    symbol: str
    rule: str
    triggered_at: int
    raised_live: bool
    cause: str


def differences(candles: list[Candle], journal: list[Candle], judged_from: int) -> list[Difference]:
    """What a replay of the final candles tells otherwise than the journal's, with its cause."""
    key = ("symbol", "rule", "triggered_at")
    arrival = [candle.received_at for candle in journal]
    live = set(_replay(journal, arrival, judged_from).select(key).rows())
    closes = [candle.close_time for candle in candles]
    final = set(_replay(candles, closes, judged_from).select(key).rows())
    found: list[Difference] = []
    for symbol, rule, at in sorted(live ^ final, key=lambda one: one[2]):
        cause = _cause(journal, symbol, at) or _after(found, symbol, rule, at)
        found.append(Difference(symbol, rule, at, (symbol, rule, at) in live, cause))
    return found


def _cause(journal: list[Candle], symbol: str, at: int) -> str:
    """A minute in the day before that arrived, or changed, when this one had been judged."""
    its = [candle for candle in journal if candle.symbol == symbol]
    judged = next(n for n, candle in enumerate(its) if candle.close_time == at)
    if any(candle.close_time > at for candle in its[:judged]):
        return "late: its minute arrived after a newer one, and was not judged"
    for candle in its[judged + 1 :]:
        if at - 1441 * MINUTE_MS <= candle.open_time < at:
            return "corrected" if candle.revision else "late"
    return ""


def _after(found: list[Difference], symbol: str, rule: str, at: int) -> str:
    """An earlier difference shifts the cooldown of the alerts that follow it."""
    shifted = any(
        (one.symbol, one.rule) == (symbol, rule) and at - one.triggered_at <= 5 * MINUTE_MS
        for one in found
    )
    return "cooldown: follows another difference" if shifted else ""
