"""The bus inside of one process: order, bounds, and a clean end."""

from __future__ import annotations

import asyncio

import pytest

from screenerd.bus.memory import MemoryBus
from screenerd.bus.port import Message
from screenerd.model import CandleBatch, FeedLost


def batch(number: int) -> CandleBatch:
    return CandleBatch(str(number), ())


@pytest.mark.asyncio
async def test_every_subscriber_gets_its_kinds_in_order() -> None:
    bus = MemoryBus()
    batches = bus.subscribe("batches", CandleBatch, limit=10)
    both = bus.subscribe("both", CandleBatch, FeedLost, limit=10)
    lost = FeedLost("x", 0, ("A",), 1, "why")
    sent: list[Message] = [batch(1), lost, batch(2)]
    for message in sent:
        await bus.publish(message)
    await bus.close()
    assert [one.message async for one in batches] == [batch(1), batch(2)]
    assert [one.message async for one in both] == sent


@pytest.mark.asyncio
async def test_a_full_queue_makes_the_publisher_wait_and_loses_nothing() -> None:
    bus = MemoryBus()
    slow = bus.subscribe("slow", CandleBatch, limit=3)

    async def publish() -> None:
        for number in range(50):
            await bus.publish(batch(number))
        await bus.close()

    publishing = asyncio.create_task(publish())
    async with asyncio.timeout(5):
        while slow.status.waiting < 4:
            await asyncio.sleep(0)
        assert not publishing.done()
        received = [one.message async for one in slow]
    assert received == [batch(number) for number in range(50)]
    await publishing
