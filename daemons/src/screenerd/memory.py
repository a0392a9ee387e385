"""Garbage is collected between the minutes, and what warming up needed is given back.

The interpreter collects whenever enough objects have been made, which is when a minute closes, and
its longest pass took 90 ms with 500 symbols.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Callable

from screenerd.clock import Clock, seconds_until
from screenerd.model import MINUTE_MS

QUIET_MS = 30_000
"""How long after the start of a minute nothing else is to be done."""


LOOK_SECONDS = 0.5
LARGEST_PILE = 50_000
"""Objects made and not freed since the last collection; a closing minute makes fewer."""


class Housekeeping:
    """Takes over the garbage collection of the process while it runs."""

    def __init__(self, clock: Clock, is_warm: Callable[[], bool]) -> None:
        """Takes the clock, and who tells that warming up is over."""
        self._clock, self._is_warm = clock, is_warm

    async def run(self) -> None:
        """Collects in the middle of each minute, and what piles up before, until cancelled."""
        while not self._is_warm():
            await self._clock.sleep(1.0)
        try:
            _give_back()
            gc.disable()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._collect_between_minutes())
                group.create_task(_collect_piles())
        finally:
            gc.enable()
            gc.unfreeze()

    async def _collect_between_minutes(self) -> None:
        while True:
            await self._clock.sleep(seconds_until(QUIET_MS, MINUTE_MS, self._clock.now_ms()))
            gc.collect()


async def _collect_piles() -> None:
    """What strangers make, by connecting and going, must not wait for the middle of a minute."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if gc.get_count()[0] > LARGEST_PILE:
            gc.collect(0)


def _give_back() -> None:
    """Collects once, sets aside what stays for good, and returns free memory to the system."""
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc has it
        trim(0)
