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
    """Measures how much later than asked a short sleep ends."""

    longest: float = 0.0
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED_TICKS))

    @property
    def recent(self) -> float:
        """The longest delay of the last half minute, in seconds."""
        return max(self._recent, default=0.0)

    async def run(self) -> None:
        """Measures until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            late = loop.time() - due
            self._recent.append(late)
            self.longest = max(self.longest, late)
            if late > TOLD_FROM_SECONDS:
                log.warning("held up", seconds=round(late, 1))
