"""Time as an argument: the machine's, or one that tests move."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time and waits."""

    def now_ms(self) -> int:
        """Wall-clock time, ms since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def real(self, seconds: float) -> float:
        """How long so many seconds of its time last, in seconds of the machine."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        ...


def seconds_until(offset: int, every: int, now: int) -> float:
    """Seconds until the next moment that lies `offset` after the start of a period; all in ms.

    At that moment itself it is a whole period.
    """
    return ((offset - now) % every or every) / 1000


class SystemClock:
    """The machine's own clock, sped up or set to another time if asked for.

    At a speed of 60 a minute of market time lasts a second; `start_ms` is the market time now.
    """

    def __init__(self, speed: float = 1.0, start_ms: int | None = None) -> None:
        """Starts to count now."""
        if not speed > 0:
            raise ValueError(f"speed = {speed} is not above 0")
        self._speed = speed
        self._is_wall_clock = speed == 1.0 and start_ms is None
        self._begin = time.time() * 1000 if start_ms is None else float(start_ms)
        self._began = time.monotonic()

    def now_ms(self) -> int:
        """Market time, ms since the epoch, UTC."""
        if self._is_wall_clock:
            return time.time_ns() // 1_000_000
        return int(self._begin + (time.monotonic() - self._began) * 1000 * self._speed)

    def monotonic(self) -> float:
        """Seconds that never go back, at the clock's speed."""
        return (time.monotonic() - self._began) * self._speed

    def real(self, seconds: float) -> float:
        """How long so many seconds of market time last, in seconds of the machine."""
        return seconds / self._speed

    async def sleep(self, seconds: float) -> None:
        """Waits for so many seconds of market time."""
        await asyncio.sleep(self.real(seconds))
