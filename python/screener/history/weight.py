"""The weight budget of REST requests: a UTC minute's worth, never above a share of the limit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from screener.history.times import MINUTE_MS

__all__ = [
    "BANNED_SECONDS",
    "DEFAULT_LIMIT",
    "HEADER",
    "RATE_LIMITED_SECONDS",
    "Budget",
    "banned_until",
    "klines_weight",
]

HEADER = "X-MBX-USED-WEIGHT-1M"
"""Response header with the weight used in this UTC minute, by everyone behind this address."""

DEFAULT_LIMIT = 2400
"""Weight a minute, where exchangeInfo does not say."""

RATE_LIMITED_SECONDS = 60
BANNED_SECONDS = 120

_BANNED = re.compile(rb"banned until (\d{13})")


def klines_weight(limit: int) -> int:
    """Weight of a klines request for `limit` rows, as measured: 100 and 500 are the cheaper.

    The exchange's pages count them as the dearer; where they are right its header says so.
    """
    if limit <= 100:
        return 1
    if limit <= 500:
        return 2
    return 5 if limit <= 1000 else 10


def banned_until(body: bytes) -> int:
    """The time (ms) until which a refusal's text says that this address is banned; 0 for none."""
    banned = _BANNED.search(body)
    return int(banned[1]) if banned else 0


@dataclass(slots=True)
class Budget:
    """What may still be asked in this minute.

    Every request reserves its weight before it is sent; the header of every answer corrects the
    count upwards, as others may share the address.
    """

    limit: int
    share: float = 0.8
    used: int = 0
    peak: int = 0
    minute: int = field(default=0)
    closed_until: int = 0

    def wait_ms(self, weight: int, now: int) -> int:
        """Milliseconds until `weight` may be spent; 0 reserves it.

        Raises:
            ValueError: `weight` is more than a whole minute allows.
        """
        allowed = int(self.limit * self.share)
        if weight > allowed:
            raise ValueError(f"weight {weight} is more than the {allowed} of a whole minute")
        self._turn(now)
        if now < self.closed_until:
            return self.closed_until - now
        if self.used + weight > allowed:
            return (self.minute + 1) * MINUTE_MS - now
        self._use(self.used + weight)
        return 0

    def answered(self, used: int, now: int) -> None:
        """Takes the count of an answer's header."""
        self._turn(now)
        self._use(max(self.used, used))

    def refused(self, status: int, retry_after: float | None, banned_until: int, now: int) -> int:
        """Takes a 429 or 418; gives when to ask again, ms.

        Args:
            status: 429 or 418.
            retry_after: the header's seconds, if there was one.
            banned_until: the time the body names, ms; 0 for none.
            now: the time now, ms.
        """
        default = BANNED_SECONDS if status == 418 else RATE_LIMITED_SECONDS
        seconds = default if retry_after is None else retry_after
        until = max(now + int(seconds * 1000), banned_until)
        self.closed_until = max(self.closed_until, until)
        return self.closed_until

    def _turn(self, now: int) -> None:
        minute = now // MINUTE_MS
        if minute > self.minute:
            self.minute, self.used = minute, 0

    def _use(self, used: int) -> None:
        self.used = used
        self.peak = max(self.peak, used)
