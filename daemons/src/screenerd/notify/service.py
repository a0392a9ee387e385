"""The role: every alert that a channel wants goes into its outbox, and from there to its target."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from screenerd.bus.port import Bus, Subscription
from screenerd.clock import Clock
from screenerd.model import Alert
from screenerd.notify.channels import PUBLIC, ChannelConfig, Endpoints
from screenerd.notify.outbox import Notifier
from screenerd.store.port import Store

LOOK_BACK_MS = 3_600_000
"""An alert that was stored and not put into the outbox when the process died is found so far before
the newest one."""


class Notify:
    """Delivers the alerts of the bus, and those that a crash kept from the outbox."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        clock: Clock,
        channels: Sequence[ChannelConfig],
        *,
        endpoints: Endpoints = PUBLIC,
    ) -> None:
        """Takes its ports and channels; subscribes at once, so that no alert is missed."""
        self.notifier = Notifier(store, channels, clock, endpoints=endpoints)
        self._store, self._clock, self._channels = store, clock, tuple(channels)
        self._alerts: Subscription = bus.subscribe("notify", Alert, limit=100_000)

    async def run(self) -> None:
        """Delivers until the bus is closed; what is left then is delivered next time."""
        await self._catch_up()
        async with asyncio.TaskGroup() as group:
            delivering = group.create_task(self.notifier.run())
            async for alert in self._alerts:
                if isinstance(alert, Alert):
                    await self.notifier.accept(alert)
            delivering.cancel()

    async def _catch_up(self) -> None:
        """What each channel should have been handed and was not; nothing older than the channel."""
        newest = max((one.triggered_at for one in await self._store.alerts(0)), default=0)
        for channel in self._channels:
            mark = f"channel:{channel.name}"
            since = await self._store.first_seen(mark, self._clock.now_ms())
            for alert in await self._store.unclaimed(
                channel.name, max(since, newest - LOOK_BACK_MS)
            ):
                await self.notifier.accept(alert, only=channel.name)
