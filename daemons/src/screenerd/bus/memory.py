"""The bus inside of one process: a bounded queue for each subscriber."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from screenerd.bus.port import Message, Received, SubscriptionStatus


@dataclass(slots=True)
class MemorySubscription:
    """One subscriber's queue."""

    name: str
    kinds: tuple[type[Message], ...]
    limit: int
    queue: asyncio.Queue[Message | None] = field(init=False)

    def __post_init__(self) -> None:
        """One more place than the limit: the end must always fit."""
        self.queue = asyncio.Queue(self.limit + 1)

    async def begin(self) -> None:
        """It began when it was made."""

    async def __aiter__(self) -> AsyncIterator[Received]:
        """Messages until the bus is closed."""
        while (message := await self.queue.get()) is not None:
            yield Received(message)

    async def done(self, received: Received) -> None:
        """Nothing is kept, so nothing comes again."""

    @property
    def status(self) -> SubscriptionStatus:
        """How far behind it is."""
        return SubscriptionStatus(self.name, self.queue.qsize(), self.limit)


class MemoryBus:
    """Hands values on as they are: nothing is encoded inside of one process."""

    def __init__(self) -> None:
        """Starts without subscribers."""
        self._subscriptions: list[MemorySubscription] = []

    async def publish(self, message: Message) -> None:
        """Hands a message on; waits while a subscriber's queue is full."""
        for subscription in self._subscriptions:
            if isinstance(message, subscription.kinds):
                await subscription.queue.put(message)

    def subscribe(
        self,
        name: str,
        *kinds: type[Message],
        limit: int,
        lasting: bool = False,  # noqa: ARG002
        after: str | None = None,  # noqa: ARG002
        shard: int | None = None,  # noqa: ARG002
    ) -> MemorySubscription:
        """Messages of these kinds from now on; at most `limit` may wait.

        Everybody ends with the process and hears everything, so there is nothing else to choose.
        """
        subscription = MemorySubscription(name, kinds, limit)
        self._subscriptions.append(subscription)
        return subscription

    async def close(self, *names: str) -> None:
        """Ends subscriptions, all or those of these names, once their messages have been taken.

        What is published later reaches them no more: end who publishes before who listens.
        """
        for subscription in list(self._subscriptions):
            if not names or subscription.name in names:
                self._subscriptions.remove(subscription)
                await subscription.queue.put(None)

    @property
    def statuses(self) -> list[SubscriptionStatus]:
        """How far behind each subscriber is."""
        return [subscription.status for subscription in self._subscriptions]
