"""A process that holds a slot, and writes down what it knows of it: to be killed and frozen."""

from __future__ import annotations

import asyncio
import sys

import structlog

from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.leases import JetStreamRecords, Leases
from screenerd.bus.jetstream.settings import BusSettings
from screenerd.clock import SystemClock
from screenerd.cluster.turns import held


async def hold(url: str, monitor: str, owner: str, slots: int) -> None:
    """Takes a slot, and says when it has it and when it has lost it."""
    settings = BusSettings(servers=(url,), monitor=monitor, reconnect_seconds=0.05)
    clock = SystemClock()
    async with (
        JetStreamBus(settings, clock) as bus,
        Leases(JetStreamRecords(bus.connection), clock) as leases,
    ):
        asked = 0

        async def names() -> list[str]:
            nonlocal asked
            asked += 1
            if asked == 2:
                print("stands by", flush=True)
            return [str(number) for number in range(slots)]

        name, lease = await held(leases, names, owner)
        print(f"has {name}", flush=True)
        await lease.lost.wait()
        print("lost", flush=True)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(hold(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
