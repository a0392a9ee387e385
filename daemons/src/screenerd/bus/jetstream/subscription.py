"""A subscriber of the bus: what its readers bring it, in one bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import structlog
from nats.aio.msg import Msg

from screenerd.bus.jetstream.connection import BusCounters
from screenerd.bus.jetstream.decode import PoisonError, decode
from screenerd.bus.jetstream.reader import LastingReader, Reader
from screenerd.bus.jetstream.subjects import KEPT, LOCAL, PASSING, Stream
from screenerd.bus.port import Message, Received, SubscriptionStatus
from screenerd.model import Alert

log = structlog.get_logger("screenerd")

PREFETCHED = 256
"""No stream brings more than so many before they are taken, whatever the limit."""

ALERTS_REMEMBERED = 20_000

Bury = Callable[[Reader, Msg, str], None]
"""Puts a message aside, with the reason; says to its reader when that is done."""


@dataclass(slots=True)
class JetStreamSubscription:
    """One subscriber.

    Attributes:
        name: who asks.
        kinds: of which messages.
        limit: how many may wait.
        lasting: whether the broker remembers what it has not done.
        after: behind which lasting subscriber it begins.
        shard: of which shard candles and bars are.
        counters: of the bus.
        bury: what becomes of messages that cannot be dealt with.
        readers: one a stream, once it has started.
    """

    name: str
    kinds: tuple[type[Message], ...]
    limit: int
    lasting: bool
    after: str | None
    shard: int | None
    counters: BusCounters
    bury: Bury
    readers: list[Reader] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    _queue: asyncio.Queue[tuple[Received, Callable[[], None]] | None] = field(
        default_factory=asyncio.Queue
    )
    _open: dict[Received, tuple[LastingReader, int]] = field(default_factory=dict)
    _alerts: dict[tuple[str, str], None] = field(default_factory=dict)
    _passing: int = 0

    @property
    def room(self) -> int:
        """How many each of its sources may bring: together no more than the limit."""
        sources = {KEPT[kind][0] if kind in KEPT else kind in LOCAL for kind in self.kinds}
        return max(1, min(self.limit // max(1, len(sources)), PREFETCHED))

    @property
    def passing(self) -> tuple[type[Message], ...]:
        """Those of its kinds that are not kept."""
        return tuple(kind for kind in self.kinds if kind in PASSING)

    @property
    def local(self) -> tuple[type[Message], ...]:
        """Those of its kinds that stay in the process."""
        return tuple(kind for kind in self.kinds if kind in LOCAL)

    async def begin(self) -> None:
        """From here on nothing is missed."""
        await self.started.wait()
        for reader in self.readers:
            await reader.begun.wait()

    async def __aiter__(self) -> AsyncIterator[Received]:
        """Messages until it is closed; what is waiting here then still comes."""
        while (entry := await self._queue.get()) is not None:
            received, taken = entry
            taken()
            yield received

    async def done(self, received: Received) -> None:
        """A message has been dealt with: it does not come again."""
        place = self._open.pop(received, None)
        if place is not None:
            reader, sequence = place
            await reader.done(sequence)

    @property
    def status(self) -> SubscriptionStatus:
        """How many wait here."""
        return SubscriptionStatus(self.name, self._queue.qsize(), self.limit)

    @property
    def lags(self) -> dict[Stream, int]:
        """How many wait at the broker, by stream, as it was looked at last."""
        return {reader.stream: reader.lag for reader in self.readers}

    def take(self, reader: Reader, msg: Msg) -> None:
        """A message that is kept, from its reader."""
        sequence = msg.metadata.sequence.stream
        if isinstance(reader, LastingReader) and reader.suspect == sequence:
            self.bury(reader, msg, "whoever was given it ended without having dealt with it")
            return
        try:
            message = decode(msg.subject, msg.data)
        except PoisonError as error:
            self.counters.poison += 1
            self.bury(reader, msg, str(error))
            return
        offset = sequence if isinstance(message, Alert) else None
        received = Received(message, offset)
        if isinstance(reader, LastingReader):
            self._open[received] = (reader, sequence)
        elif isinstance(message, Alert) and self._knows(message):
            reader.taken()
            return
        self._queue.put_nowait((received, reader.taken))

    def take_passing(self, subject: str, payload: bytes) -> None:
        """A message that is not kept; it is dropped where there is no room."""
        if self._passing >= self.room:
            self.counters.dropped += 1
            return
        try:
            message = decode(subject, payload)
        except PoisonError as error:
            self.counters.poison += 1
            log.warning("not understood", told=str(error))
            return
        self._passing += 1
        self._queue.put_nowait((Received(message), self._passing_taken))

    async def take_local(self, messages: AsyncIterator[Received]) -> None:
        """Messages from inside of the process, for as long as they come."""
        free = asyncio.Semaphore(self.room)
        async for received in messages:
            await free.acquire()
            self._queue.put_nowait((received, free.release))

    def end(self) -> None:
        """Nothing more is asked for; who reads comes to an end."""
        for reader in self.readers:
            reader.end()
        self._queue.put_nowait(None)

    def _passing_taken(self) -> None:
        self._passing -= 1

    def _knows(self, alert: Alert) -> bool:
        """Whether an alert was handed on already: the broker's own memory is short."""
        key = (alert.id, alert.state)
        if key in self._alerts:
            self.counters.duplicates += 1
            return True
        self._alerts[key] = None
        if len(self._alerts) > ALERTS_REMEMBERED:
            del self._alerts[next(iter(self._alerts))]
        return False
