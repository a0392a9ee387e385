"""What the live screener takes of the machine: memory over a week, and its share of a core.

`python benches/live/footprint.py [--symbols 500] [--days 7] [--speed 600] [--seconds 150] [--json]`

The screener is a process of its own and measured from outside; so is the exchange. The week is
sped up, and of running minutes next to nothing is sent in it: that would be most of the work, and
keeps nothing. What a core has to do at a speed of 1 is measured before, with running minutes as
the exchange sends them and with a fortieth of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screenerd.config import Config
from screenerd.ingest.gaps import DAY_MS
from screenerd.model import MINUTE_MS
from screenerd.run import Roles, up
from screenerd.serve.settings import ServeConfig

if TYPE_CHECKING:
    from benches.live import stage
else:
    import stage

SAMPLE_MS = DAY_MS // 4
SETTLED_AFTER_MS = 2 * DAY_MS + SAMPLE_MS
"""From then on as much is dropped from the store as is added."""

THINNED = 40


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has, and has used so far; see proc(5)."""

    resident: float
    peak: float
    cpu: float
    threads: int
    files: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Reads it; MB and seconds."""
        folder = Path("/proc") / str(pid)
        lines = (folder / "status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        ticks = (folder / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return cls(
            resident=int(status["VmRSS"].split()[0]) / 1024,
            peak=int(status["VmHWM"].split()[0]) / 1024,
            cpu=sum(int(tick) for tick in ticks) / os.sysconf("SC_CLK_TCK"),
            threads=int(status["Threads"]),
            files=len(list((folder / "fd").iterdir())),
        )


@dataclass(frozen=True, slots=True)
class Screener:
    """The screener's process, from outside."""

    pid: int
    pipe: Connection
    store: Path

    def ask(self) -> dict[str, Any]:
        """What its roles say."""
        self.pipe.send("status")
        told: dict[str, Any] = self.pipe.recv()
        return told

    def wait_until_warm(self, seconds: float) -> None:
        """Waits until it follows all symbols; so many seconds at most."""
        deadline = time.monotonic() + seconds
        while not self.ask()["warm"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not warmed up within {seconds} s")
            time.sleep(0.5)

    @property
    def stored(self) -> float:
        """MB of the store's files."""
        files = self.store.parent.glob(self.store.name + "*")
        return sum(file.stat().st_size for file in files) / 2**20


@contextlib.contextmanager
def screener(
    exchange: stage.Exchange, clock: stage.MarketClock, core: int | None, store: Path
) -> Iterator[Screener]:
    """Runs the screener in a process of its own."""
    ours, theirs = stage.PROCESSES.Pipe()
    told = (exchange.rest_url, exchange.stream_url, clock, core, store, theirs)
    process = stage.PROCESSES.Process(target=_run_screener, args=told, daemon=True)
    process.start()
    theirs.close()
    try:
        assert process.pid is not None
        yield Screener(process.pid, ours, store)
    finally:
        ours.close()
        process.join(10)
        process.kill()


def _run_screener(
    rest_url: str,
    stream_url: str,
    clock: stage.MarketClock,
    core: int | None,
    store: Path,
    pipe: Connection,
) -> None:
    stage.pin(core)
    with stage.logging(store.parent):
        asyncio.run(_screen(rest_url, stream_url, clock, store, pipe))


async def _screen(
    rest_url: str, stream_url: str, clock: stage.MarketClock, store: Path, pipe: Connection
) -> None:
    """Runs all roles and answers through the pipe, until its other end is closed."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[Roles] = loop.create_future()
    running = asyncio.create_task(
        up(with_page(stage.config(rest_url, stream_url, store)), clock=clock, ready=ready)
    )
    both: set[asyncio.Future[Any]] = {running, ready}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    roles = ready.result()

    def answer() -> None:
        try:
            pipe.recv()
            pipe.send(_status(roles))
        except (EOFError, OSError):
            loop.remove_reader(pipe.fileno())
            roles.stop.set()

    loop.add_reader(pipe.fileno(), answer)
    await running


def with_page(config: Config) -> Config:
    """As users run it: the page is served."""
    return config.model_copy(update={"serve": ServeConfig(port=0)})


def _status(roles: Roles) -> dict[str, Any]:
    known = roles.ingest.known_until().values()
    return {
        "warm": roles.ingest.status.bars_ready,
        "closed": roles.ingest.status.closed,
        "filled": roles.ingest.status.filled,
        "missing": roles.ingest.status.missing,
        "alerts": roles.screen.status.alerts,
        "stored": roles.persist.status.candles,
        "pruned": roles.persist.status.pruned,
        "waiting": max(one.waiting for one in roles.bus.statuses),
        "frames": sum(one.frames for one in roles.stream.connections),
        "behind_minutes": (roles.clock.now_ms() - min(known, default=0)) // MINUTE_MS,
    }


def measure_share(symbols: int, update_ms: int, seconds: float) -> dict[str, float]:
    """Warm-up, then so many seconds at a speed of 1."""
    cores = stage.cores()
    clock = stage.MarketClock(1.0, time.monotonic())
    told = stage.Setup(symbols, clock, update_ms, cores[0])
    with (
        stage.scratch() as folder,
        stage.exchange(told) as exchange,
        screener(exchange, clock, cores[1], folder / "screener.db") as process,
    ):
        process.wait_until_warm(600)
        warm = Usage.of(process.pid)
        time.sleep(stage.wait_for_minute(clock, 30))
        # Whole minutes, so that a burst more or less makes no difference.
        minutes = max(round(seconds / 60), 1)
        before, frames, began = Usage.of(process.pid), process.ask()["frames"], time.monotonic()
        time.sleep(minutes * 60)
        after, wall = Usage.of(process.pid), time.monotonic() - began
        return {
            "share": round((after.cpu - before.cpu) / wall, 4),
            "frames_a_second": round((process.ask()["frames"] - frames) / wall, 1),
            "seconds": round(wall, 1),
            "resident_warm": round(warm.resident, 1),
            "resident": round(after.resident, 1),
            "peak": round(after.peak, 1),
        }


def measure_weeks(symbols: int, days: float, speed: float) -> list[dict[str, Any]]:
    """Samples after the warm-up and every six hours of market time."""
    cores = stage.cores()
    clock = stage.MarketClock(speed, time.monotonic())
    told = stage.Setup(symbols, clock, 10 * MINUTE_MS, cores[0])
    samples = []
    with (
        stage.scratch() as folder,
        stage.exchange(told) as exchange,
        screener(exchange, clock, cores[1], folder / "screener.db") as process,
    ):
        process.wait_until_warm(1200)
        began = clock.now_ms()
        for number in range(int(days * DAY_MS // SAMPLE_MS) + 1):
            due = clock.machine_time(began + number * SAMPLE_MS)
            time.sleep(max(due - time.monotonic(), 0))
            samples.append(_sample(process, (clock.now_ms() - began) / DAY_MS))
            print(_line(samples[-1]), flush=True)
    return samples


def _sample(process: Screener, day: float) -> dict[str, Any]:
    usage, status = Usage.of(process.pid), process.ask()
    return {
        "day": round(day, 2),
        "resident": round(usage.resident, 1),
        "peak": round(usage.peak, 1),
        "cpu": usage.cpu,
        "store": round(process.stored, 1),
        "threads": usage.threads,
        "files": usage.files,
        **status,
    }


def _line(sample: dict[str, Any]) -> str:
    return (
        f"day {sample['day']:5.2f}  resident {sample['resident']:6.1f} MB  "
        f"store {sample['store']:7.1f} MB  CPU {sample['cpu']:7.1f} s  "
        f"threads {sample['threads']:2}  files {sample['files']:2}  "
        f"closed {sample['closed']:8}  filled {sample['filled']:7}  stored {sample['stored']:8}  "
        f"pruned {sample['pruned']:8}  waiting {sample['waiting']:5}  "
        f"behind {sample['behind_minutes']:3} min"
    )


def slope(samples: list[dict[str, Any]]) -> float:
    """MB a day by least squares, once the store drops as much as it takes; NaN of too few."""
    points = [
        (sample["day"], sample["resident"])
        for sample in samples
        if sample["day"] * DAY_MS >= SETTLED_AFTER_MS
    ]
    if len(points) < 3:
        return math.nan
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--speed", type=float, default=600.0)
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"symbols": arguments.symbols, "load_before": stage.load()}
    if arguments.seconds:
        for name, update_ms in (("all", stage.UPDATE_MS), ("few", THINNED * stage.UPDATE_MS)):
            share = measure_share(arguments.symbols, update_ms, arguments.seconds)
            print(f"at 1x, {name} updates of running minutes: {share}", flush=True)
            result[name] = share
    if arguments.days:
        result["samples"] = measure_weeks(arguments.symbols, arguments.days, arguments.speed)
        result["slope_mb_a_day"] = round(slope(result["samples"]), 2)
        print(f"{result['slope_mb_a_day']} MB a day after {SETTLED_AFTER_MS / DAY_MS} days")
    result["load_after"] = stage.load()
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"load {result['load_before']} -> {result['load_after']}")


if __name__ == "__main__":
    main()
