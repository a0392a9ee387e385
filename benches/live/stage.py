"""What the benchmarks of the live screener share: one market time, and an exchange apart.

The built-in market runs in a process of its own, so that what it costs is not counted as the
screener's. All processes tell the same market time. However fast it runs, a running minute is sent
up to four times a second; at 1x fewer are, as not every symbol trades within 250 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from screenerd.config import Config, ExchangeConfig, LogConfig, RulesConfig, StoreConfig
from screenerd.logs import set_up
from screenerd.model import MINUTE_MS
from screenerd.serve.settings import ServeConfig

if TYPE_CHECKING:
    from screenerd.demo import Limits

START_MS = 1_767_225_600_000
"""Market time when a benchmark begins, 2026-01-01: the same candles every time."""

UPDATE_MS = 250
"""How often the real exchange sends a running minute."""

PROCESSES = multiprocessing.get_context("spawn")
"""Processes that share nothing with the one that starts them."""


@dataclass(frozen=True, slots=True)
class MarketClock:
    """Market time, the same in every process that has a copy; a `screenerd.clock.Clock`.

    Attributes:
        speed: how many times faster than the machine's it runs.
        began: when it was `START_MS`, in seconds of the machine's monotonic clock.
    """

    speed: float
    began: float

    def now_ms(self) -> int:
        """Market time, ms since the epoch, UTC."""
        return int(START_MS + self.monotonic() * 1000)

    def monotonic(self) -> float:
        """Seconds that never go back, at the clock's speed."""
        return (time.monotonic() - self.began) * self.speed

    def real(self, seconds: float) -> float:
        """How long so many seconds of market time last, in seconds of the machine."""
        return seconds / self.speed

    async def sleep(self, seconds: float) -> None:
        """Waits for so many seconds of market time."""
        await asyncio.sleep(self.real(seconds))

    def machine_time(self, market_ms: int) -> float:
        """When it is that late, in seconds of the machine's monotonic clock."""
        return self.began + (market_ms - START_MS) / 1000 / self.speed


@dataclass(frozen=True, slots=True)
class Setup:
    """What the exchange's process is told.

    Attributes:
        symbols: how many.
        clock: market time.
        update_ms: how often a running minute is sent, ms of market time.
        core: the core it stays on; `None` leaves that to the system.
    """

    symbols: int
    clock: MarketClock
    update_ms: int
    core: int | None

    @property
    def limits(self) -> Limits:
        """As the real exchange's, at the clock's speed; requests cost nothing, to warm up soon."""
        from screenerd.demo import Limits

        return Limits(
            weight=10_000_000,
            messages=1000,
            ping_every=180 * self.clock.speed,
            pong_within=600 * self.clock.speed,
            update_ms=self.update_ms,
            close_after_ms=int(40 * self.clock.speed),
        )


def cores() -> tuple[int | None, int | None]:
    """A core for the exchange and one for the screener, where there are two."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else (None, None)


def pin(core: int | None) -> None:
    """Keeps this process and its later threads on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


@dataclass(frozen=True, slots=True)
class Exchange:
    """The exchange's process, from outside."""

    rest_url: str
    stream_url: str
    pipe: Connection

    @property
    def frames(self) -> int:
        """Frames sent so far."""
        self.pipe.send("frames")
        return int(self.pipe.recv())


@contextlib.contextmanager
def exchange(told: Setup) -> Iterator[Exchange]:
    """Runs the exchange in a process of its own."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_run_exchange, args=(told, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        rest_url, stream_url = ours.recv()
        yield Exchange(rest_url, stream_url, ours)
    finally:
        ours.close()
        process.join(10)
        process.kill()


def _run_exchange(told: Setup, pipe: Connection) -> None:
    pin(told.core)
    asyncio.run(_serve(told, pipe))


async def _serve(told: Setup, pipe: Connection) -> None:
    """Answers what is asked through the pipe, until its other end is closed."""
    # Here, so that the screener's process does not have what only this one needs.
    from screenerd.demo import DemoExchange, Market

    ended = asyncio.Event()
    async with DemoExchange(Market(told.symbols), told.clock, limits=told.limits) as market:

        def answer() -> None:
            try:
                pipe.recv()
                pipe.send(market.frames_sent)
            except (EOFError, OSError):
                asyncio.get_running_loop().remove_reader(pipe.fileno())
                ended.set()

        pipe.send((market.rest_url, market.stream_url))
        asyncio.get_running_loop().add_reader(pipe.fileno(), answer)
        await ended.wait()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the store and the log."""
    with tempfile.TemporaryDirectory(prefix="screener-bench-") as name:
        yield Path(name)


@contextlib.contextmanager
def logging(folder: Path) -> Iterator[None]:
    """The screener logs as it does by default, into a file."""
    with (folder / "log").open("w") as log, contextlib.redirect_stderr(log):
        set_up(LogConfig())
        yield


def config(rest_url: str, stream_url: str, path: Path) -> Config:
    """The screener's: the ten rules without floors, which keep the most symbols busy."""
    return Config(
        exchange=ExchangeConfig(rest_url=rest_url, stream_url=stream_url),
        store=StoreConfig(path=path),
        serve=ServeConfig(enabled=False),
        rules=RulesConfig(floors=False),
    )


def wait_for_minute(clock: MarketClock, seconds: float) -> float:
    """How long until so far into the next market minute, in seconds of the machine."""
    return clock.real((MINUTE_MS - clock.now_ms() % MINUTE_MS) / 1000 + seconds)


def load() -> str:
    """The machine's load over one, five and fifteen minutes."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg())
