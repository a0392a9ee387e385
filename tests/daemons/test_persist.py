"""What the role that stores does besides: it drops what is old while no alert is on its way."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import pytest
from store_values import NOW, HandClock

from screenerd.bus.memory import MemoryBus
from screenerd.model import MINUTE_MS
from screenerd.persist.service import PRUNE_AT_MS, PRUNE_SECONDS, Persist

pytestmark = pytest.mark.asyncio


@dataclass
class Pruned:
    """A store that takes its time to drop what is old, and remembers when it was asked to."""

    clock: HandClock
    at: list[int] = field(default_factory=list)

    async def prune(self, now: int) -> int:
        """Takes 17 seconds."""
        self.at.append(now)
        self.clock.now += 17_000
        await asyncio.sleep(0)
        return 2


@pytest.mark.parametrize("begins", [0, PRUNE_AT_MS - 1, PRUNE_AT_MS, 59_999])
async def test_what_is_old_goes_when_the_alerts_of_a_minute_are_out(begins: int) -> None:
    clock = HandClock(NOW // MINUTE_MS * MINUTE_MS + begins)
    store = Pruned(clock)
    persist = Persist(MemoryBus(), store, clock)  # type: ignore[arg-type]  # only prunes
    working = asyncio.create_task(persist.run())
    async with asyncio.timeout(5):
        while len(store.at) < 4:
            await asyncio.sleep(0)
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    assert {at % MINUTE_MS for at in store.at} == {PRUNE_AT_MS}
    assert store.at[0] - NOW // MINUTE_MS * MINUTE_MS <= begins + MINUTE_MS
    pauses = {later - one for one, later in zip(store.at, store.at[1:], strict=False)}
    assert pauses == {PRUNE_SECONDS * 1000 + MINUTE_MS}
    assert persist.status.pruned >= 2 * 3
