"""The built-in market with an archive full of faults, and what a fetch has to make of it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import polars as pl

from screener.history import Store
from screener.history.choose import Target, choose, span
from screener.history.fetch import Fetched, fetch_into
from screener.history.http import HttpSource, open_source
from screener.history.precedence import VALUES
from screener.history.times import DAY_MS, days_between, month_end, month_start
from screenerd.clock import SystemClock
from screenerd.demo import DemoExchange, Faults, Limits, Market
from screenerd.demo.contracts import COLUMNS
from screenerd.model import MINUTE_MS

MONTH = "2026-02"
START, END = month_start(MONTH), month_end(MONTH)
NOW = END + 20 * DAY_MS
"""The market's time: the monthly files are there."""

SLOW = 1e-3
"""A clock that all but stands still."""

SCREENER = Path(sys.executable).with_name("screener")


@dataclass
class Planted:
    """What is wrong, by what a fetch should tell of it.

    Attributes:
        unusable: (symbol, period) of files that are missing or whose checksum stays wrong.
        lost: (symbol, minute in ms) that the exchange has not.
    """

    unusable: set[tuple[str, str]] = field(default_factory=set)
    lost: set[tuple[str, int]] = field(default_factory=set)


def plant(faults: Faults, symbols: list[str], seed: int) -> Planted:
    """Every kind of fault, each with another symbol in turn; every month has small holes too."""
    random, planted, archive = Random(seed), Planted(), faults.archive
    for number, symbol in enumerate(symbols):
        month = f"{symbol}-1m-{MONTH}.zip"
        match number % 5:
            case 0:
                archive.missing.add(month)
                planted.unusable.add((symbol, MONTH))
                for day in random.sample(list(days_between(START, END)), 4):
                    name = f"{symbol}-1m-{day}.zip"
                    planted.unusable.add((symbol, day))
                    if random.random() < 0.5:
                        archive.missing.add(name)
                    else:
                        archive.wrong_checksum[name] = 1 << 30
            case 1:
                archive.microseconds.add(month)
                archive.conflicting.append(_minutes(random, symbol, 3))
                archive.repeated.append(_minutes(random, symbol, 700))
            case 2:
                archive.no_header.add(month)
                archive.wrong_checksum[month] = 1
            case 3:
                archive.wrong_checksum[month] = 1 << 30
                planted.unusable.add((symbol, MONTH))
                archive.repeated.append(_minutes(random, symbol, 40))
            case _:
                archive.holes.append(_minutes(random, symbol, 2000))
                for _ in range(3):
                    minute = _minutes(random, symbol, 1)[1]
                    faults.lose_minute(symbol, minute)
                    planted.lost.add((symbol, minute))
        archive.holes.extend(_minutes(random, symbol, random.randint(1, 90)) for _ in range(3))
    return planted


def _minutes(random: Random, symbol: str, count: int) -> tuple[str, int, int]:
    first = START + random.randrange((END - START) // MINUTE_MS - count) * MINUTE_MS
    return symbol, first, first + count * MINUTE_MS


def truth(market: Market, planted: Planted, start: int = START, end: int = END) -> pl.DataFrame:
    """The market's minutes, sorted as the store gives them."""
    first, count = start // MINUTE_MS, (end - start) // MINUTE_MS
    frames = []
    for index, contract in enumerate(market.contracts):
        rows = market.bars(index, 1, first, count) / contract.scales
        values = {name: rows[:, place] for place, name in enumerate(COLUMNS)}
        times = np.arange(first, first + count, dtype=np.int64) * MINUTE_MS
        frame = pl.DataFrame({"open_time": times, **values})
        lost = [at for symbol, at in planted.lost if symbol == contract.symbol]
        frame = frame.filter(~pl.col("open_time").is_in(lost))
        frames.append(frame.select(pl.lit(contract.symbol).alias("symbol"), pl.all()))
    return pl.concat(frames).with_columns(pl.col("trades").cast(pl.Int64)).sort(_KEY)


_KEY = ("symbol", "open_time")


def stored(store: Store, start: int = START, end: int = END) -> pl.DataFrame:
    """What is stored, with the columns of `truth`."""
    found = store.scan(None, start, end).collect()
    return found.select(*_KEY, *VALUES).sort(_KEY)


@dataclass
class Rig:
    """The market and its exchange."""

    market: Market
    exchange: DemoExchange
    planted: Planted

    @property
    def symbols(self) -> list[str]:
        """Its symbols."""
        return [contract.symbol for contract in self.market.contracts]

    @property
    def asked(self) -> int:
        """Requests until now."""
        return sum(self.exchange.counters.requests.values())

    @contextlib.asynccontextmanager
    async def source(self) -> AsyncIterator[HttpSource]:
        """A source that waits for nothing, and whose time passes as it should have waited."""
        waited = 0.0

        async def sleep(seconds: float) -> None:
            nonlocal waited
            waited += seconds
            await asyncio.sleep(0)

        url = self.exchange.rest_url
        async with open_source(rest_url=url, archive_url=url) as source:
            source.sleep = sleep
            source.clock = lambda: NOW + int(waited * 1000)
            yield source

    async def fetch(
        self, store: Store, symbols: Sequence[str] = (), start: int = START, end: int | None = END
    ) -> Fetched:
        """Fetches as the command does, in this process; without names all symbols."""
        async with self.source() as source:
            now = NOW
            first, last = span(start, end, now)
            target = Target(tuple(symbols), all=not symbols)
            chosen = await choose(source, target)
            return await fetch_into(store, source, chosen, first, last, now=now)

    def command(self, root: Path, *more: str) -> list[str]:
        """The command that fetches everything into a folder."""
        url = self.exchange.rest_url
        span = ("--start", MONTH, "--end", str(END))
        where = ("--url", url, "--archive-url", url, "--store", str(root))
        return [str(SCREENER), "fetch", "--all", *span, *where, *more]


@contextlib.asynccontextmanager
async def rigged(symbols: int, *, seed: int | None = None) -> AsyncIterator[Rig]:
    """A market of so many symbols; a seed plants faults."""
    market, faults = Market(symbols), Faults()
    names = [contract.symbol for contract in market.contracts]
    planted = Planted() if seed is None else plant(faults, names, seed)
    clock = SystemClock(SLOW, start_ms=NOW)
    # The market's clock stands still, so its minute of weight would never end.
    limits = Limits(weight=1 << 30)
    async with DemoExchange(market, clock, faults=faults, limits=limits) as exchange:
        yield Rig(market, exchange, planted)


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Waits for a condition, so many seconds at most."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
