"""A process of one role: bus, store, leases and rules round it, a probe, and what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import structlog
from prometheus_client import Metric

from screenerd import telemetry
from screenerd.backoff import Backoff
from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.leases import JetStreamRecords, Leases
from screenerd.clock import Clock, SystemClock
from screenerd.cluster.parts import (
    IngestPart,
    NotifyPart,
    Part,
    PersistPart,
    ScreenPart,
    Surroundings,
)
from screenerd.cluster.probe import Probe, Vitals
from screenerd.config import Config
from screenerd.lag import LoopLag
from screenerd.memory import Housekeeping
from screenerd.model import Report
from screenerd.persist.service import NAME as PERSIST
from screenerd.rulewatch import RulesWatch
from screenerd.store.port import StoreError
from screenerd.store.postgres import PostgresStore
from screenerd.telemetry import Telemetry

log = structlog.get_logger("screenerd")

REPORT_SECONDS = 1.0
COMMIT_SECONDS = 0.025
"""What is written waits so long for more, to share its transaction."""

BURST_COMMIT_SECONDS = 0.1
"""The same where candles are stored: a minute's burst together, and not while its alerts are on
their way over the same processors."""

NICENESS = 5
"""Of the process that stores: on the same processors an alert goes before what keeps it."""

SWITCH_SECONDS = 0.0005
"""So long a thread may hold the interpreter while others wait for it."""

PARTS: dict[str, Callable[[Surroundings], Part]] = {
    "ingest": IngestPart,
    "screen": ScreenPart,
    "persist": PersistPart,
    "notify": NotifyPart,
}
"""What does each role; `serve` has a process of another shape."""


def own_name() -> str:
    """What a process is called among its like: where it runs, and which it is there."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def stopping() -> asyncio.Event:
    """Set once the process is told to stop."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def surroundings(
    config: Config,
    clock: Clock,
    stop: asyncio.Event,
    stack: AsyncExitStack,
    *,
    commit_after: float = COMMIT_SECONDS,
) -> Surroundings | None:
    """Bus, store and the rest; waits for what is not there yet. `None` if told to stop meanwhile.

    What is written to the store waits `commit_after` seconds for more.

    Raises:
        BrokerError: the broker is too old, or is configured to lose what it has acknowledged.
        RulesError: the files of the rules cannot be in force.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    bus = await stack.enter_async_context(JetStreamBus(config.bus, clock))
    store = await _opened(lambda: database(config, clock, commit_after), stop, stack)
    if store is None:
        return None
    rules = RulesWatch(bus, clock, config.rules.sources)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, rules.hurry)
    return Surroundings(
        config=config,
        clock=clock,
        bus=bus,
        store=store,
        # Leases are a matter of the machine's seconds, whatever the market's are.
        leases=await stack.enter_async_context(
            Leases(JetStreamRecords(bus.connection), SystemClock())
        ),
        owner=own_name(),
        rules=rules,
        session=await stack.enter_async_context(aiohttp.ClientSession()),
    )


async def run(role: str, config: Config, *, clock: Clock | None = None) -> None:
    """Runs a role until SIGTERM, SIGINT or a cancellation.

    Args:
        role: one of `PARTS`.
        config: the configuration.
        clock: market time; the machine's own by default.
    """
    clock = clock or SystemClock()
    stop = stopping()
    if role == PERSIST:
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.nice(NICENESS)
    async with AsyncExitStack() as stack:
        patience = BURST_COMMIT_SECONDS if role == PERSIST else COMMIT_SECONDS
        here = await surroundings(config, clock, stop, stack, commit_after=patience)
        if here is None:
            return
        part = PARTS[role](here)
        lag = LoopLag()
        figures = Telemetry(lambda: _figures(part, lag))
        vitals = Vitals(lambda: "", lambda: _fault(here.bus, part), figures.text)
        await stack.enter_async_context(Probe(config.probe, vitals))
        log.info("role", name=role, instance=here.owner)
        async with asyncio.TaskGroup() as group:
            working = group.create_task(part.run())
            helpers = [
                group.create_task(lag.run()),
                group.create_task(here.rules.run()),
                group.create_task(reporting(here, role, lag, part.report)),
                group.create_task(Housekeeping(clock, lambda: part.warm).run()),
            ]
            await _either(stop, working)
            log.info("stopping", name=role)
            for task in (working, *helpers):
                task.cancel()
        with contextlib.suppress(TimeoutError):
            await part.finish()
    log.info("stopped", name=role)


async def reporting(
    here: Surroundings, role: str, lag: LoopLag, body: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    """Tells the other processes how this one is, until cancelled."""
    while True:
        told = await body() | {"lag": lag.recent}
        await here.bus.publish(Report(role, here.owner, here.clock.now_ms(), told))
        await asyncio.sleep(REPORT_SECONDS)


async def _opened(
    make: Callable[[], PostgresStore], stop: asyncio.Event, stack: AsyncExitStack
) -> PostgresStore | None:
    """The database, once it answers."""
    backoff = Backoff(first=0.2, longest=5.0)
    while not stop.is_set():
        try:
            return await stack.enter_async_context(make())
        except StoreError as error:
            log.warning("waiting for the store", error=str(error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.failed()):
                await stop.wait()
    return None


def database(config: Config, clock: Clock, commit_after: float) -> PostgresStore:
    """The store of the configuration, not opened."""
    if config.store.url is None:
        raise StoreError("store.url names no database: give it as postgresql://user@host/name")
    return PostgresStore(
        config.store.url.get_secret_value(),
        clock,
        retention_hours=config.store.retention_hours,
        scores_days=config.store.scores_days,
        commit_after=commit_after,
    )


async def _either(stop: asyncio.Event, working: asyncio.Task[None]) -> None:
    """Until the process is told to stop, or the work has ended by itself."""
    told = asyncio.create_task(stop.wait())
    await asyncio.wait({told, working}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()


def _fault(bus: JetStreamBus, part: Part) -> str:
    health = bus.health
    return part.fault() if health.up else f"the bus is down: {health.why}"


def _figures(part: Part, lag: LoopLag) -> Iterator[Metric]:
    yield from part.figures()
    yield from telemetry.of_process(lag.recent)
