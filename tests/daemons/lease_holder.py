"""A process that holds a slot, and writes down what it knows of it: to be killed and frozen."""

from __future__ import annotations

import asyncio
import sys

import structlog

from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.leases import JetStreamRecords, Leases, Slots
from screenerd.bus.jetstream.settings import BusSettings
from screenerd.clock import SystemClock


async def hold(url: str, monitor: str, owner: str, slots: int) -> None:
    """Takes a slot, and says when it has it and when it has lost it."""
    settings = BusSettings(servers=(url,), monitor=monitor, reconnect_seconds=0.05)
    clock = SystemClock()
    async with (
        JetStreamBus(settings, clock) as bus,
        Leases(JetStreamRecords(bus.connection), clock) as leases,
    ):
        wanted = Slots(leases, "screen", slots, owner, clock)
        taking = asyncio.create_task(wanted.take())
        while not taking.done() and not wanted.standing_by:
            await asyncio.wait([taking], timeout=0.02)
        if wanted.standing_by:
            print("stands by", flush=True)
        number, lease = await taking
        print(f"has {number}", flush=True)
        while lease.held:
            await asyncio.sleep(0.02)
        print("lost", flush=True)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(hold(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
