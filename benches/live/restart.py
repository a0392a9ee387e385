"""How long the screener takes to know again what it knew: after a crash, and after a clean stop.

A store with a day of every symbol is filled from the built-in market; then it is opened several
times as after a crash (no engine beside it) and after a clean stop (the engine beside it). Two more
stores, of two days, are written as they would be and opened as after a crash: one whose last day
came all at once, after a day of absence, and one all of whose rules have changed just now. What is
timed is the opening of the store and the rebuilding of the engine, until the first minute could be
judged; told is also for how long nothing else of the process had a turn.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import screener
from screenerd.bus.memory import MemoryBus
from screenerd.clock import SystemClock
from screenerd.lag import TICK_SECONDS, LoopLag
from screenerd.model import MINUTE_MS, Candle, CandleBatch
from screenerd.run import Roles, up
from screenerd.screen.service import Screen
from screenerd.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from benches.live import stage
else:
    import stage


EXCHANGE = "binance"
RULES = screener.RuleSet.load("futures")
DAYS = 2
CASES = CRASH, STOP, AWAY, CHANGED = (
    "after a crash",
    "after a clean stop",
    "after a day away and a crash",
    "after a crash, all rules being new",
)


@dataclass(frozen=True, slots=True)
class Found:
    """How long a start took, and the longest time in it that nothing else had a turn, seconds."""

    seconds: float
    held: float


async def fill(exchange: stage.Exchange, clock: stage.MarketClock, path: Path) -> None:
    """Follows the market until every symbol is warm and two minutes have closed, then stops."""
    ready: asyncio.Future[Roles] = asyncio.get_running_loop().create_future()
    config = stage.config(exchange.rest_url, exchange.stream_url, path)
    running = asyncio.create_task(up(config, clock=clock, ready=ready))
    both: set[asyncio.Future[Any]] = {running, ready}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    roles = ready.result()
    while not roles.ingest.status.bars_ready:
        assert not running.done(), "the screener has ended by itself"
        await asyncio.sleep(0.1)
    await clock.sleep(2 * MINUTE_MS / 1000)
    roles.stop.set()
    await running


async def write(path: Path, symbols: int, *, came_at_once_ms: int, rules_since_ms: int) -> None:
    """A store with two days until the start of the market's clock.

    Args:
        path: where.
        symbols: how many.
        came_at_once_ms: minutes that close after it were all received at the end.
        rules_since_ms: since when the rules are as they are.
    """
    begin = stage.START_MS - DAYS * 1440 * MINUTE_MS
    market = screener.demo_market(symbols=symbols, days=DAYS, start=begin)
    async with SqliteStore(path, SystemClock()) as store:
        await store.first_seen([f"screen:{EXCHANGE}", "rules"], begin)
        await store.first_seen([f"rule:{r.name}:{r.version}" for r in RULES], rules_since_ms)
        for rows in market.iter_slices(symbols * 30):
            candles = [Candle(**row) for row in rows.iter_rows(named=True)]
            came = tuple(
                replace(
                    candle,
                    received_at=candle.close_time
                    if candle.close_time <= came_at_once_ms
                    else stage.START_MS,
                )
                for candle in candles
            )
            await store.write(CandleBatch(EXCHANGE, came))


async def reopen(clock: stage.MarketClock, path: Path, state: Path | None) -> Found:
    """How long it takes until the engine is as it was."""
    began, lag = time.monotonic(), LoopLag()
    async with SqliteStore(path, clock) as store:
        screen = Screen(MemoryBus(), store, clock, exchange=EXCHANGE, rules=RULES, state_file=state)
        watching = asyncio.create_task(lag.run())
        running = asyncio.create_task(screen.run())
        await screen.rebuilt.wait()
        seconds = time.monotonic() - began
        assert screen.status.symbols > 0
        # What held the loop up until now is told at the next tick.
        await asyncio.sleep(2 * TICK_SECONDS)
        for task in (running, watching):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return Found(seconds, lag.longest)


async def run(symbols: int, times: int, folder: Path, core: int | None) -> dict[str, list[Found]]:
    """The times of all, one after the other."""
    clock = stage.MarketClock(10.0, time.monotonic())
    setup = stage.Setup(symbols, clock, 250 * 40, core)
    path = folder / "screener.db"
    engine = path.with_name(path.name + ".engine")
    with stage.exchange(setup) as exchange:
        await fill(exchange, clock, path)
    kept = engine.read_bytes()
    away, changed = folder / "away.db", folder / "changed.db"
    day_ago, begin = stage.START_MS - 1440 * MINUTE_MS, stage.START_MS - DAYS * 1440 * MINUTE_MS
    await write(away, symbols, came_at_once_ms=day_ago, rules_since_ms=begin)
    await write(changed, symbols, came_at_once_ms=stage.START_MS, rules_since_ms=stage.START_MS)
    found: dict[str, list[Found]] = {name: [] for name in CASES}
    for _ in range(times):
        engine.unlink(missing_ok=True)
        found[CRASH].append(await reopen(clock, path, engine))
        engine.write_bytes(kept)
        found[STOP].append(await reopen(clock, path, engine))
        found[AWAY].append(await reopen(clock, away, None))
        found[CHANGED].append(await reopen(clock, changed, None))
    return found


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    cores = stage.cores()
    stage.pin(cores[1])
    with stage.scratch() as folder, stage.logging(folder):
        found = asyncio.run(run(arguments.symbols, arguments.times, folder, cores[0]))
    print(f"{arguments.symbols} symbols; load {stage.load()}")
    for name, times in found.items():
        seconds = [one.seconds for one in times]
        print(
            f"{name:<40} median {statistics.median(seconds):.2f} s, "
            f"{min(seconds):.2f} to {max(seconds):.2f} s; "
            f"nothing else had a turn for {max(one.held for one in times):.2f} s"
        )


if __name__ == "__main__":
    main()
