"""The role: everything that has to last is stored, and stored before it is called stored."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import structlog

from screenerd import timings, trace
from screenerd.bus.port import Bus, Message, Received, Subscription
from screenerd.clock import Clock, seconds_until
from screenerd.model import MINUTE_MS, Alert, Bars, CandleBatch, DeadLetter, Metrics
from screenerd.store.items import weight
from screenerd.store.port import Store

log = structlog.get_logger("persist")

NAME = "persist"
"""Its name among the bus's subscribers."""

PRUNE_SECONDS = 600.0
PRUNE_AT_MS = 5_000
"""So long after a minute's close its alerts are out; it is most of a minute to the next ones."""

LARGEST_WRITE = 2_000
MOST_ROWS = 40_000
"""So many rows may be on their way to the store; what comes then waits at the bus."""

WAITING = 100_000
SAMPLES = 10_000

_KEPT = (CandleBatch, Alert, Bars, DeadLetter)


@dataclass(slots=True)
class PersistStatus:
    """What health asks of this role: counts, and the newest times from received to stored."""

    candles: int = 0
    alerts: int = 0
    pruned: int = 0
    candle_ms: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    alert_ms: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))


class Persist:
    """Writes candles and alerts in the order they were published."""

    def __init__(self, bus: Bus, store: Store, clock: Clock, *, metrics: bool = False) -> None:
        """Takes its ports; subscribes at once, so that nothing is missed.

        Args:
            bus: where it all comes from.
            store: where it is kept.
            clock: tells how long that took.
            metrics: whether metrics are kept, too.
        """
        self.status = PersistStatus()
        self._store, self._clock = store, clock
        self._messages: Subscription = bus.subscribe(
            NAME, *(_KEPT if not metrics else (*_KEPT, Metrics)), limit=WAITING, lasting=True
        )

    async def run(self) -> None:
        """Writes until the bus is closed and everything is written."""
        async with asyncio.TaskGroup() as group:
            pruning = group.create_task(self._prune())
            writes: dict[asyncio.Task[None], int] = {}
            async for received in self._messages:
                # Writes are committed together: the next one need not wait for this one.
                task = group.create_task(self._write(received))
                writes[task] = weight([received.message])
                task.add_done_callback(writes.pop)
                while sum(writes.values()) >= MOST_ROWS or len(writes) >= LARGEST_WRITE:
                    await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
            pruning.cancel()

    async def _write(self, received: Received) -> None:
        await self._store_one(received.message)
        await self._messages.done(received)

    async def _store_one(self, message: Message) -> None:
        match message:
            case CandleBatch():
                with timings.INSERT.labels("candles").time():
                    await self._store.write(message)
                self.status.candles += len(message.candles)
                received, now = [one.received_at for one in message.candles], self._clock.now_ms()
                timings.stored("candles", received, self._clock)
                self.status.candle_ms.extend(now - at for at in received)
            case Alert():
                with timings.INSERT.labels("alerts").time():
                    await self._store.write(message)
                self.status.alerts += 1
                log.debug("alert stored", correlation=trace.of_alert(message), alert=message.id)
                timings.stored("alerts", [message.stamps.received], self._clock)
                self.status.alert_ms.append(self._clock.now_ms() - message.stamps.received)
            case Metrics():
                with timings.INSERT.labels("metrics").time():
                    await self._store.write(message)
            case Bars() | DeadLetter():
                await self._store.write(message)

    async def _prune(self) -> None:
        while True:
            now = self._clock.now_ms()
            await self._clock.sleep(seconds_until(PRUNE_AT_MS, MINUTE_MS, now))
            self.status.pruned += await self._store.prune(self._clock.now_ms())
            await self._clock.sleep(PRUNE_SECONDS)
