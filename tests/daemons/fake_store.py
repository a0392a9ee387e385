"""The part of a store that notifications need, in memory, with faults on request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from screenerd.model import Alert
from screenerd.store.port import Delivery, StoreError


class KilledError(BaseException):
    """Stands for the end of the process: nothing that handles errors may catch it."""


class FakeStore:
    """An outbox that outlives the notifier it is given to.

    Attributes:
        alerts: every alert by its id.
        rows: every delivery by its id.
        sent_at: when deliveries were recorded as made, ms.
        failing: so many of the next writes are refused with `StoreError`.
        kill_before_record: the process dies when this many deliveries have been recorded.
        here: while it is not set, nothing can be read, and writes wait.
        frozen: whether who reads then waits, too.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.alerts: dict[str, Alert] = {}
        self.rows: dict[int, Delivery] = {}
        self.sent_at: dict[int, int] = {}
        self.failing = 0
        self.kill_before_record: int | None = None
        self.frozen = False
        self.here = asyncio.Event()
        self.here.set()
        self._keys: dict[tuple[str, str], int] = {}

    async def write(self, *items: Alert) -> None:
        """Stores alerts, or their newer states."""
        for alert in items:
            self.alerts[alert.id] = alert

    async def enqueue(self, alert: Alert, channels: Sequence[str], now: int) -> None:
        """Stores an alert and puts it into the outbox, once a channel."""
        await self.here.wait()
        self._fail_if_asked()
        self.alerts[alert.id] = alert
        for channel in channels:
            if (alert.id, channel) not in self._keys:
                key = len(self.rows) + 1
                self._keys[alert.id, channel] = key
                self.rows[key] = Delivery(key, alert.id, channel, "pending", 0, now)

    async def due(self, now: int, limit: int = 100) -> list[tuple[Delivery, Alert]]:
        """What is pending and whose time has come, oldest first."""
        if self.frozen:
            await self.here.wait()
        if not self.here.is_set():
            raise StoreError("the server cannot be reached")
        self._fail_if_asked()
        found = [row for row in self.rows.values() if row.state == "pending"]
        found = sorted(
            (row for row in found if row.next_try <= now), key=lambda row: (row.next_try, row.id)
        )
        return [(row, self.alerts[row.alert_id]) for row in found[:limit]]

    async def delivered(self, delivery: Delivery, at: int) -> None:
        """Records that a delivery was made."""
        await self.here.wait()
        self._fail_if_asked()
        if self.kill_before_record is not None and len(self.sent_at) >= self.kill_before_record:
            raise KilledError
        self.rows[delivery.id] = replace(self.rows[delivery.id], state="sent")
        self.sent_at[delivery.id] = at

    async def delivered_to(self, alert_id: str, channel: str, at: int) -> None:
        """Records that an alert was delivered to a channel."""
        key = self._keys.get((alert_id, channel))
        if key is not None and self.rows[key].state != "sent":
            await self.delivered(self.rows[key], at)

    async def postponed(self, delivery: Delivery) -> None:
        """Records a failed try; a delivery that was made stays made."""
        await self.here.wait()
        self._fail_if_asked()
        if self.rows[delivery.id].state != "sent":
            self.rows[delivery.id] = delivery

    async def dead(self, channel: str) -> list[Delivery]:
        """What was given up on a channel."""
        return [row for row in self.rows.values() if row.channel == channel and row.state == "dead"]

    def states(self, channel: str) -> dict[str, int]:
        """How many deliveries of a channel are in each state."""
        counts: dict[str, int] = {}
        for row in self.rows.values():
            if row.channel == channel:
                counts[row.state] = counts.get(row.state, 0) + 1
        return counts

    def _fail_if_asked(self) -> None:
        if self.failing > 0:
            self.failing -= 1
            raise StoreError("the disk is full: make room")
