"""How long the screener takes to know again what it knew: after a crash, and after a clean stop.

A store with a day of every symbol is filled from the built-in market; then it is opened several
times as after a crash (no engine beside it) and after a clean stop (the engine beside it). What is
timed is the opening of the store and the rebuilding of the engine, until the first minute could be
judged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import screener
from screenerd.bus.memory import MemoryBus
from screenerd.model import MINUTE_MS
from screenerd.run import Roles, up
from screenerd.screen.service import Screen
from screenerd.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from benches.live import stage
else:
    import stage


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


async def reopen(clock: stage.MarketClock, path: Path, state: Path | None) -> float:
    """Seconds until the engine is as it was."""
    began = time.monotonic()
    async with SqliteStore(path, clock) as store:
        rules = screener.RuleSet.load("futures")
        screen = Screen(
            MemoryBus(), store, clock, exchange="binance", rules=rules, state_file=state
        )
        running = asyncio.create_task(screen.run())
        await screen.rebuilt.wait()
        seconds = time.monotonic() - began
        assert screen.status.symbols > 0
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    return seconds


async def run(symbols: int, times: int, folder: Path, core: int | None) -> dict[str, list[float]]:
    """The times of both, one after the other."""
    clock = stage.MarketClock(10.0, time.monotonic())
    setup = stage.Setup(symbols, clock, 250 * 40, core)
    path = folder / "screener.db"
    engine = path.with_name(path.name + ".engine")
    with stage.exchange(setup) as exchange:
        await fill(exchange, clock, path)
    kept = engine.read_bytes()
    found: dict[str, list[float]] = {"after a crash": [], "after a clean stop": []}
    for _ in range(times):
        engine.unlink(missing_ok=True)
        found["after a crash"].append(await reopen(clock, path, engine))
        engine.write_bytes(kept)
        found["after a clean stop"].append(await reopen(clock, path, engine))
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
    print(f"{arguments.symbols} symbols, a day of minutes; load {stage.load()}")
    for name, seconds in found.items():
        median = statistics.median(seconds)
        print(f"{name:<20} median {median:.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
