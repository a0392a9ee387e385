"""How long the event loop was held up: work that should not wait, did."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger("screenerd")

TICK_SECONDS = 0.1
REMEMBERED_TICKS = 300
TOLD_FROM_SECONDS = 1.0


@dataclass(slots=True)
class LoopLag:
    """Measures how much later than asked a short sleep ends.

    Attributes:
        longest: the longest delay so far, in seconds.
        recent: that of the last half minute.
    """

    longest: float = 0.0
    recent: float = 0.0
    _ticks: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED_TICKS))

    async def run(self) -> None:
        """Measures until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            late = loop.time() - due
            self._ticks.append(late)
            self.recent = max(self._ticks)
            self.longest = max(self.longest, late)
            if late > TOLD_FROM_SECONDS:
                log.warning("held up", seconds=round(late, 1))
