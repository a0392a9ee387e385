"""What the roles ask of a bus, whichever carries it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from screenerd.model import (
    Alert,
    Bars,
    CandleBatch,
    DeadLetter,
    FeedLost,
    Followed,
    Metrics,
    Prices,
    Reconnected,
    RulesChanged,
    RuleSwitch,
    SettingsChanged,
    Unfollowed,
)

Message = (
    CandleBatch
    | Bars
    | Metrics
    | Prices
    | Alert
    | RuleSwitch
    | RulesChanged
    | SettingsChanged
    | DeadLetter
    | FeedLost
    | Reconnected
    | Followed
    | Unfollowed
)


@dataclass(frozen=True, slots=True)
class SubscriptionStatus:
    """How far behind a subscriber is."""

    name: str
    waiting: int
    limit: int


class Subscription(Protocol):
    """One subscriber's messages, in the order they were published."""

    def __aiter__(self) -> AsyncIterator[Message]:
        """Messages until the bus is closed; what is waiting then still comes."""
        ...

    @property
    def status(self) -> SubscriptionStatus:
        """How far behind it is."""
        ...


class Bus(Protocol):
    """Carries every message to every subscriber that asked for its kind, losing none."""

    async def publish(self, message: Message) -> None:
        """Hands a message on; waits while a subscriber's queue is full."""
        ...

    def subscribe(self, name: str, *kinds: type[Message], limit: int) -> Subscription:
        """Messages of these kinds from now on; at most `limit` may wait."""
        ...
