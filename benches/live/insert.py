"""How fast minutes reach a PostgreSQL store, and how fast its users' reads are with 7 days in it.

1. What a minute brings, 3,000 rows of metrics and 500 candles, until it is committed.
2. History by binary COPY, a symbol at a time.
3. Reads as REST makes them, from the store and from a frame in memory.

Give the url of an empty database: `insert.py postgresql://postgres@127.0.0.1/bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import numpy as np
import polars as pl

from screener.history.postgres import copy_minutes
from screenerd.clock import SystemClock
from screenerd.columns import METRICS, TIMEFRAMES
from screenerd.model import MINUTE_MS, Candle, CandleBatch, Metrics
from screenerd.store.postgres import PostgresStore

SYMBOLS = [f"S{n:04d}USDT" for n in range(500)]
DAY = 1440


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


def metrics(at: int) -> Metrics:
    """Every metric of every symbol and timeframe."""
    columns = {
        f"{name}_{timeframe}": np.random.default_rng(1).random(len(SYMBOLS))
        for name in METRICS.values()
        for timeframe in TIMEFRAMES
    }
    return Metrics("bench", pl.DataFrame({"symbol": SYMBOLS, "open_time": at, **columns}))


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
    async with PostgresStore(url, SystemClock(), commit_after=0.0) as store:
        end = now_minute()
        began = time.perf_counter()
        frames = (history(name, days, end) for name in SYMBOLS[:loaded])
        rows = copy_minutes(url, "bench", frames, end).rows
        rate = rows / (time.perf_counter() - began)
        say(f"history: {rows:,} rows by COPY, {rate:,.0f} rows/s")

        minute = iter(range(minutes))

        async def a_minute() -> None:
            at = end + next(minute) * MINUTE_MS
            await store.write(metrics(at), candles(at))

        middle, late = await median(minutes, a_minute)
        say(f"a minute, 3,000 rows of metrics and 500 candles: {middle:.0f} ms, p95 {late:.0f} ms")

        async def a_page() -> None:
            await store.page("bench", random.choice(SYMBOLS[:20]), None, None, 500)

        memory = pl.concat([history(name, days, end) for name in SYMBOLS[:20]])

        async def from_memory() -> None:
            name = random.choice(SYMBOLS[:20])
            memory.filter(pl.col("symbol") == name).tail(500).rows()

        for told, act in (("store", a_page), ("memory", from_memory)):
            middle, late = await median(100, act)
            say(f"500 candles of a symbol from the {told}: {middle:.1f} ms, p95 {late:.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--loaded", type=int, default=500, help="symbols that have history")
    given = parser.parse_args()
    asyncio.run(measure(given.url, given.days, given.minutes, given.loaded))
