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
    Report,
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
    | Report
)


class BacklogError(Exception):
    """More waits for the bus than memory should hold; says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """A message as it reached a subscriber.

    Attributes:
        message: what was published.
        offset: its place among those that are kept, the same for every process, rising; `None`
            where nothing is kept.
    """

    message: Message
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionStatus:
    """How far behind a subscriber is."""

    name: str
    waiting: int
    limit: int


class Subscription(Protocol):
    """One subscriber's messages, in the order they were published."""

    async def begin(self) -> None:
        """From here on nothing is missed; who reads from the store first begins before that.

        Reading the messages begins by itself.
        """
        ...

    def __aiter__(self) -> AsyncIterator[Received]:
        """Messages until the bus is closed; what is waiting then still comes."""
        ...

    async def done(self, received: Received) -> None:
        """A message has been dealt with; one that is lasting comes again unless this is said."""
        ...

    @property
    def status(self) -> SubscriptionStatus:
        """How far behind it is."""
        ...


class Bus(Protocol):
    """Carries every message to every subscriber that asked for its kind, losing none."""

    async def publish(self, message: Message) -> None:
        """Hands a message on; returns once it is safe with the bus, however long that takes."""
        ...

    def subscribe(
        self,
        name: str,
        *kinds: type[Message],
        limit: int,
        lasting: bool = False,
        after: str | None = None,
        shard: int | None = None,
    ) -> Subscription:
        """Messages of these kinds.

        A bus that outlives its processes gives a subscriber that is neither `lasting` nor has an
        `after` the alerts that are kept, the newest metrics, and of everything else what comes.

        Args:
            name: who asks.
            kinds: of which messages.
            limit: how many may wait.
            lasting: whether what it has not done is kept for it while it is away.
            after: the name of a lasting subscriber: the first message is the oldest one that it has
                not done.
            shard: only candles of symbols of this shard.
        """
        ...
