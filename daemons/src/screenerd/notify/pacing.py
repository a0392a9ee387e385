"""How fast a channel is written to, how many alerts share a message, when to try again. Pure.

Discord and Telegram publish no exact limits. The figures here are those that are seen to hold; what
a target answers (429, the rate headers) always wins over them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil, inf, isfinite
from random import Random

from screenerd.store.port import Delivery

QUICK_WAITS = (1.0, 4.0, 16.0)
"""Seconds before the quick tries that follow the first one."""

SLOW_WAIT = 900.0
"""Seconds between slow tries."""

SLOW_TRIES = 96
"""Slow tries: a day of them."""

LONGEST_HOLD = 3600.0
"""A target that asks to wait longer is asked again after this many seconds."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many messages in any window of so many seconds."""

    count: int
    seconds: float


DISCORD_LIMITS = (Limit(5, 2.0), Limit(30, 60.0))
TELEGRAM_CHAT_LIMITS = (Limit(1, 1.0),)
TELEGRAM_GROUP_LIMITS = (Limit(1, 1.0), Limit(20, 60.0))
WEBHOOK_LIMITS = (Limit(10, 1.0), Limit(120, 60.0))


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many alerts a message takes.

    Attributes:
        full: with nothing left out.
        most: as lines of a summary.
    """

    full: int
    most: int


@dataclass(slots=True)
class Pacer:
    """Sliding windows over the messages sent, and a hold the target asked for.

    Times are seconds of a monotonic clock.
    """

    limits: Sequence[Limit]
    held_until: float = -inf
    _sent: deque[float] = field(default_factory=deque)

    def sent(self, now: float) -> None:
        """Counts a message; the count is kept for the longest window only."""
        self._sent.append(now)
        while len(self._sent) > max(limit.count for limit in self.limits):
            self._sent.popleft()

    def hold(self, until: float) -> None:
        """Sends nothing before `until`."""
        self.held_until = max(self.held_until, until)

    def wait(self, now: float) -> float:
        """Seconds until the next message may go; 0 if it may go now."""
        waits = [
            self._sent[-limit.count] + limit.seconds - now
            for limit in self.limits
            if len(self._sent) >= limit.count
        ]
        return max(0.0, self.held_until - now, *waits)

    def room(self, now: float) -> tuple[int, int]:
        """Messages that may go at once: in the shortest window, and in the longest."""
        left = [
            (limit.seconds, limit.count - sum(at > now - limit.seconds for at in self._sent))
            for limit in self.limits
        ]
        return max(0, min(count for _, count in left)), max(0, max(left)[1])


def batch_size(due: int, room: tuple[int, int], capacity: Capacity) -> int:
    """How many of the alerts that are due go into the next message.

    One each while the rate allows; then as many as spread them over the messages that may go now,
    up to what a message tells in full; and only when that would use up half of the longest window,
    as many as a summary takes, so that the next burst finds room.
    """
    now, minute = (max(1, count) for count in room)
    if due > capacity.full * max(1, minute // 2):
        return min(due, capacity.most)
    return max(1, min(capacity.full, ceil(due / now)))


def jitter(random: Random) -> float:
    """A factor around 1, so that many clients do not come back in step."""
    return random.uniform(0.75, 1.25)


def after_failure(delivery: Delivery, reason: str, now_ms: int, factor: float = 1.0) -> Delivery:
    """The delivery after a failed try: when it is tried again, or that it is dead.

    Args:
        delivery: as it was.
        reason: what went wrong, in words for the user.
        now_ms: when it went wrong.
        factor: jitter; one for a whole message, so that its alerts stay together.
    """
    attempts = delivery.attempts + 1
    if attempts > len(QUICK_WAITS) + SLOW_TRIES:
        return replace(
            delivery,
            attempts=attempts,
            state="dead",
            last_error=f"given up after {attempts} tries in about a day; last: {reason}",
        )
    wait = QUICK_WAITS[attempts - 1] if attempts <= len(QUICK_WAITS) else SLOW_WAIT
    next_try = now_ms + int(wait * factor * 1000)
    return replace(delivery, attempts=attempts, next_try=next_try, last_error=reason)


def after_hold(delivery: Delivery, seconds: float, now_ms: int) -> Delivery:
    """The delivery after a 429: later, and no attempt counted."""
    reason = f"the target asked to wait {seconds:.1f} s"
    return replace(delivery, next_try=now_ms + ceil(seconds * 1000), last_error=reason)


def after_refusal(delivery: Delivery, reason: str) -> Delivery:
    """The delivery after an answer that no further try will change."""
    return replace(delivery, attempts=delivery.attempts + 1, state="dead", last_error=reason)


def hold_seconds(asked: float | None) -> float:
    """What is waited after a 429 that asked for so many seconds, within reason."""
    if asked is None or not isfinite(asked):
        return 5.0
    return min(LONGEST_HOLD, max(0.1, asked))
