"""How fast minutes reach a PostgreSQL store, and how fast its users' reads are with 7 days in it.

1. What a minute brings, 3,000 rows of metrics and 500 candles, until it is committed.
2. History by binary COPY, and beside it a bare COPY of the same bytes, ten symbols at a time, into
   a table alike that is not divided by day.
3. `GET /api/candles` over HTTP, from the store and from the same rows held in memory, turn about:
   500 minutes of any symbol from any time in the store. With the rows lying as minutes bring them,
   all symbols together; then with the days that are over in the order that `prune` puts them in,
   and so, too, while a minute is being written, again and again.
4. The requests of `serving.py`, mixed, at a steady rate: what charts, tables and probes ask for.
5. `GET /api/alerts` over HTTP, 20 to 60 of the newest, with none stored and with a week's.

Give the url of an empty database: `insert.py postgresql://postgres@127.0.0.1/bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import numpy as np
import polars as pl
import psycopg

import screener
from screener.history.binary import END, HEADER, blocks
from screener.history.postgres import copy_minutes
from screenerd.bus.memory import MemoryBus
from screenerd.clock import SystemClock
from screenerd.columns import METRICS, TIMEFRAMES
from screenerd.model import (
    MINUTE_MS,
    Alert,
    Candle,
    CandleBatch,
    Health,
    Metrics,
    Stamps,
    SymbolStatus,
    SystemStatus,
)
from screenerd.outside import iso
from screenerd.serve.access.keys import KeyFile
from screenerd.serve.service import Serve
from screenerd.serve.settings import ServeConfig
from screenerd.store.port import MinuteRow
from screenerd.store.postgres import PostgresStore
from screenerd.store.postgres.values import instant

if TYPE_CHECKING:
    from benches.live.serving import requests
else:
    from serving import requests

SYMBOLS = [f"S{n:04d}USDT" for n in range(500)]
DAY = 1440
PAGES = 1_000
RATE = 200
SECONDS = 20
ALERTS_A_DAY = 13  # of a symbol: `python benches/messages.py`
PAGE = 500


def say(line: str) -> None:
    """Tells one result."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def now_minute() -> int:
    """The minute that runs."""
    return time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS


def candles(at: int) -> CandleBatch:
    """One closed candle a symbol."""
    return CandleBatch(
        "bench",
        tuple(
            Candle(
                name, at, 1.0, 2.0, 0.5, random.uniform(0.5, 2.0), 10.0, 15.0, 7, 5.0, 7.5,
                event_time=at + MINUTE_MS, received_at=at + MINUTE_MS + 40,
            )
            for name in SYMBOLS
        ),
    )  # fmt: skip


def an_alert(number: int, at: int) -> Alert:
    """One, with a little evidence."""
    return Alert(
        id=str(uuid.UUID(int=number)),
        triggered_at=at,
        exchange="bench",
        symbol=SYMBOLS[number % len(SYMBOLS)],
        rule="big_bull_60m",
        title="Big Bull 60m",
        direction="up",
        timeframe="1h",
        price=0.1,
        quote_volume=5e6,
        change=1.625,
        vcp=-0.3,
        state="confirmed",
        rule_version="0123456789abcdef",
        evidence={"change_1h": 1.625, "rsi_1h": None, "trades_5m": 12.0},
        stamps=Stamps(at, at + 5, at + 40, at + 41),
    )


def metrics(at: int) -> Metrics:
    """Every metric of every symbol and timeframe."""
    columns = {
        f"{name}_{timeframe}": np.random.default_rng(1).random(len(SYMBOLS))
        for name in METRICS.values()
        for timeframe in TIMEFRAMES
    }
    frame = pl.DataFrame({"symbol": SYMBOLS, "open_time": at, "price": 1.0, **columns})
    return Metrics("bench", frame)


def history(name: str, days: int, end: int) -> pl.DataFrame:
    """Minutes of a symbol up to a time."""
    rows = days * DAY
    values = np.random.default_rng(2).random(rows) + 1
    times = np.arange(rows, dtype=np.int64) * MINUTE_MS + end - rows * MINUTE_MS
    prices = dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), values)
    return pl.DataFrame(
        {
            "symbol": name, "open_time": times, **prices, "trades": 7,
            "taker_buy_volume": values, "taker_buy_quote_volume": values, "source": "archive",
            "revision": 0,
        }
    )  # fmt: skip


def bare(url: str, days: int, end: int, loaded: int) -> float:
    """Rows a second of a COPY of some of the history, of bytes that are there before."""
    places = range(0, min(loaded, 100), 10)
    texts = {"exchange": "bench", "source": "archive"}
    rows = 0
    pieces = []
    for place in places:
        some = pl.concat(history(name, days, end) for name in SYMBOLS[place : place + 10])
        told = some.drop("source").rename({"open_time": "time"}).with_columns(received_at=end)
        told = told.with_columns(map(instant, ("time", "received_at")))
        names = ", ".join((*texts, *told.columns))
        pieces.append(HEADER + b"".join(blocks(told, texts)) + END)
        rows += some.height
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE alike (LIKE candles_1m INCLUDING ALL)")
        began = time.perf_counter()
        for piece in pieces:
            statement = f"COPY alike ({names}) FROM STDIN (FORMAT BINARY)"
            with connection.cursor().copy(statement.encode()) as copy:
                copy.write(piece)
        taken = time.perf_counter() - began
        connection.execute("DROP TABLE alike")
    return rows / taken


async def median(times: int, act: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """The median and the 95th percentile of so many turns, ms."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await act()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), sorted(taken)[int(0.95 * (times - 1))]


async def measure(url: str, days: int, minutes: int, loaded: int) -> None:
    """Prints all of it."""
    store = PostgresStore(url, SystemClock(), commit_after=0.0, retention_hours=(days + 2) * 24)
    async with store, InMemory(url, SystemClock()) as memory:
        end = now_minute()
        began = time.perf_counter()
        frames = (history(name, days, end) for name in SYMBOLS[:loaded])
        rows = copy_minutes(url, "bench", frames, end).rows
        rate = rows / (time.perf_counter() - began)
        say(f"history: {rows:,} rows by COPY, {rate:,.0f} rows/s")
        say(f"a bare COPY of the same bytes: {bare(url, days, end, loaded):,.0f} rows/s")

        minute = iter(range(minutes))

        async def a_minute() -> None:
            at = end + next(minute) * MINUTE_MS
            await store.write(metrics(at), candles(at))

        middle, late = await median(minutes, a_minute)
        say(f"a minute, 3,000 rows of metrics and 500 candles: {middle:.0f} ms, p95 {late:.0f} ms")

        first = end - days * DAY * MINUTE_MS
        for name in SYMBOLS[:loaded]:
            memory.rows[name] = await store.page("bench", name, first, end, days * DAY)
        gc.collect()
        gc.freeze()  # a service has no millions of rows that its collector would look through
        as_minutes_bring_them(url)
        await rest(url, memory, "as minutes bring them")
        await alerts_of_a_week(store, days, end)
        began = time.perf_counter()
        await store.prune(end)
        say(f"prune, which puts days in order: {time.perf_counter() - began:.1f} s")
        await rest(url, memory, "days in order")
        with writing(store, end + minutes * MINUTE_MS):
            await rest(url, memory, "days in order, minutes written")


async def alerts_of_a_week(store: PostgresStore, days: int, end: int) -> None:
    """Stores as many alerts as the profile `futures` raises, of the symbols and days in turn."""
    count = ALERTS_A_DAY * days * len(SYMBOLS)
    step = days * DAY * MINUTE_MS // count
    for first in range(0, count, 2_000):
        numbers = range(first, min(first + 2_000, count))
        await store.write(*(an_alert(number, end - number * step) for number in numbers))


def as_minutes_bring_them(url: str) -> None:
    """Lays the rows of the candles as they come to lie when they are written minute by minute."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE UNLOGGED TABLE lying AS SELECT * FROM candles_1m")
        connection.execute("TRUNCATE candles_1m")
        connection.execute("INSERT INTO candles_1m SELECT * FROM lying ORDER BY time, symbol")
        connection.execute("DROP TABLE lying")
        connection.execute("VACUUM (ANALYZE) candles_1m")


@contextlib.contextmanager
def writing(store: PostgresStore, at: int) -> Iterator[None]:
    """A minute of everything, and the next as soon as it is committed."""

    async def on() -> None:
        for number in itertools.count():
            now = at + number * MINUTE_MS
            await store.write(metrics(now), candles(now))

    task = asyncio.create_task(on())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()


async def rest(url: str, memory: InMemory, how: str) -> None:
    """Prints how long pages take from the store, and from memory."""
    symbols = sorted(memory.rows)
    first, end = (memory.rows[symbols[0]][place][0] for place in (0, -1))
    async with contextlib.AsyncExitStack() as stack:
        reader = await stack.enter_async_context(PostgresStore(url, SystemClock()))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        addresses = {
            "store": await stack.enter_async_context(serving(reader)),
            "memory": await stack.enter_async_context(serving(memory)),
        }
        taken: dict[str, list[float]] = {name: [] for name in addresses}
        last = end - PAGE * MINUTE_MS
        for _ in range(PAGES):
            name, start = random.choice(symbols), random.randrange(first, last, MINUTE_MS)
            query = f"/api/candles?symbol={name}&interval=1m&limit={PAGE}&start={iso(start)}"
            bodies = set()
            for kind, address in random.sample(sorted(addresses.items()), 2):
                began = time.perf_counter()
                async with http.get(address + query) as answer:
                    bodies.add(await answer.read())
                    taken[kind].append((time.perf_counter() - began) * 1000)
                    answer.raise_for_status()
            if len(bodies) != 1:
                raise AssertionError(f"{query} is not the same from both")
        for kind, found in taken.items():
            middle, late = statistics.median(found), sorted(found)[int(0.95 * (PAGES - 1))]
            say(f"GET /api/candles from the {kind}, {how}: {middle:.1f} ms, p95 {late:.1f} ms")
        for kind, address in addresses.items():
            answers = await requests(int(address.rpartition(":")[2]), RATE, SECONDS, symbols)
            if answers.bad:
                raise AssertionError(answers.told())
            told = sorted(one for its in answers.times.values() for one in its)
            middle, late = statistics.median(told), told[int(0.95 * (len(told) - 1))]
            say(
                f"{RATE} mixed requests a second, candles from the {kind}, {how}: "
                f"{middle:.1f} ms, p95 {late:.1f} ms"
            )
        await newest_alerts(http, addresses["store"])


async def newest_alerts(http: aiohttp.ClientSession, address: str) -> None:
    """Prints how long pages of alerts take; each asks for others, so that none is at hand."""
    total = 0

    async def ask() -> None:
        nonlocal total
        query = f"/api/alerts?limit={random.randint(20, 60)}&offset={random.randrange(200)}"
        async with http.get(address + query) as answer:
            answer.raise_for_status()
            total = (await answer.json())["total"]

    middle, late = await median(300, ask)
    say(f"GET /api/alerts, {total:,} stored: {middle:.1f} ms, p95 {late:.1f} ms")


class InMemory(PostgresStore):
    """The same store, the candles of which are at hand.

    Attributes:
        rows: by symbol, without a hole.
    """

    def __init__(self, url: str, clock: SystemClock) -> None:
        """Holds nothing yet."""
        super().__init__(url, clock)
        self.rows: dict[str, list[MinuteRow]] = {}

    async def page(
        self,
        exchange: str,  # noqa: ARG002
        symbol: str,
        start: int | None,
        end: int | None,  # noqa: ARG002
        limit: int,
    ) -> list[MinuteRow]:
        """From where it was asked for."""
        rows = self.rows[symbol]
        place = ((start or 0) - rows[0][0]) // MINUTE_MS
        return rows[place : place + limit]


@contextlib.asynccontextmanager
async def serving(store: PostgresStore) -> AsyncIterator[str]:
    """The service on a store; gives its address."""
    bus, clock = MemoryBus(), SystemClock()
    told = SystemStatus("bench", Health("ok"), {}, clock.now_ms(), 1.0, clock.now_ms(), 500, 500)
    followed = [SymbolStatus(name, now_minute(), warm=True, missing=0) for name in SYMBOLS]
    with tempfile.TemporaryDirectory() as folder:
        serve = Serve(
            bus,
            store,
            clock,
            ServeConfig(port=0, requests_a_minute=1_000_000),
            rules=screener.RuleSet.load("futures"),
            keys=KeyFile(Path(folder) / "keys"),
            status=lambda: told,
            symbols=lambda: followed,
            prometheus=bytes,
        )
        running = asyncio.create_task(serve.run())
        try:
            async with asyncio.timeout(10), aiohttp.ClientSession() as http:
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        await http.get(serve.address + "/health/live")
                        break
                    await asyncio.sleep(0.01)
                await bus.publish(metrics(now_minute()))
                while (await http.get(f"{serve.address}/api/metrics/{SYMBOLS[0]}")).status != 200:
                    await asyncio.sleep(0.01)
            yield serve.address
        finally:
            await bus.close()
            serve.stop()
            await running
            serve.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--loaded", type=int, default=500, help="symbols that have history")
    given = parser.parse_args()
    asyncio.run(measure(given.url, given.days, given.minutes, given.loaded))
