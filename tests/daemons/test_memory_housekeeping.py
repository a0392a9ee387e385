"""Garbage is collected between minutes, and sooner where it piles up."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from screenerd import memory
from screenerd.clock import SystemClock
from screenerd.memory import Housekeeping


class Cycle:
    """Refers to itself: only the collector frees it."""

    def __init__(self) -> None:
        """Closes the circle."""
        self.itself = self


@pytest.mark.asyncio
@pytest.mark.parametrize("pile", [True, False])
async def test_what_piles_up_is_collected_before_the_minute_is_half_over(
    monkeypatch: pytest.MonkeyPatch, *, pile: bool
) -> None:
    monkeypatch.setattr(memory, "LARGEST_PILE", 10_000 if pile else 1 << 40)
    monkeypatch.setattr(memory, "LOOK_SECONDS", 0.02)
    minute_begins = 1_767_225_600_000 + 31_000
    clock = SystemClock(start_ms=minute_begins)
    keeping = asyncio.create_task(Housekeeping(clock, lambda: True).run())
    await asyncio.sleep(0)
    assert not gc.isenabled()
    first = weakref.ref(Cycle())
    for _ in range(20_000):
        Cycle()
    assert first() is not None
    async with asyncio.timeout(10):
        for _ in range(20):
            await asyncio.sleep(0.02)
            if first() is None:
                break
    assert (first() is None) is pile
    keeping.cancel()
    await asyncio.wait({keeping})
    assert gc.isenabled()
