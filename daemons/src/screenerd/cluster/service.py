"""The process that serves: any number of them, each fed by the bus."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import structlog

from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.port import Subscription
from screenerd.clock import Clock, SystemClock
from screenerd.cluster.observed import BusStatus, Observed
from screenerd.cluster.parts import EXCHANGE
from screenerd.cluster.process import reporting, stopping, surroundings
from screenerd.cluster.reports import Body
from screenerd.cluster.turns import persistent
from screenerd.config import Config
from screenerd.lag import LoopLag
from screenerd.memory import Housekeeping
from screenerd.model import Report, SystemStatus
from screenerd.serve.access.keys import KeyFile
from screenerd.serve.service import Serve
from screenerd.telemetry import Telemetry, of_service

log = structlog.get_logger("screenerd")

REPORTS_WAITING = 1_000


async def serve(config: Config, *, clock: Clock | None = None) -> None:
    """REST, WebSocket and the page, until told to stop; what all processes tell is its health."""
    clock = clock or SystemClock()
    stop = stopping()
    async with AsyncExitStack() as stack:
        here = await surroundings(config, clock, stop, stack)
        if here is None:
            return
        observed = Observed(EXCHANGE, clock, config.bus.shards)

        def system() -> SystemStatus:
            return observed.status(here.rules.status, _status(here.bus))

        serving = Serve(
            here.bus,
            here.store,
            clock,
            config.serve,
            rules=here.rules.rules,
            keys=KeyFile(config.keys_file),
            status=system,
            symbols=observed.symbols,
            prometheus=Telemetry(lambda: of_service(system(), serving.status)).text,
            epoch=await here.bus.epoch(),
        )
        stack.callback(serving.close)
        told = here.bus.subscribe("observed", Report, limit=REPORTS_WAITING)
        lag = LoopLag()

        async def report() -> Body:
            return {"clients": serving.status.clients}

        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(_observe(told, observed)),
                group.create_task(here.rules.run()),
                group.create_task(lag.run()),
                group.create_task(Housekeeping(clock, lambda: serving.server is not None).run()),
                group.create_task(reporting(here, "serve", lag, report)),
            ]
            answering = group.create_task(persistent("serve", serving.run))
            await stop.wait()
            log.info("stopping")
            for task in helpers:
                task.cancel()
            serving.stop()
            if serving.server is None:
                answering.cancel()
            await asyncio.wait({answering})
    log.info("stopped")


async def _observe(told: Subscription, observed: Observed) -> None:
    async for received in told:
        if isinstance(received.message, Report):
            observed.take(received.message)


def _status(bus: JetStreamBus) -> BusStatus:
    health = bus.health
    return BusStatus(health.up, health.why)
