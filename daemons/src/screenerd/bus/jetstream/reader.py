"""One stream's messages for one subscriber: pulled, in order, from where it was.

A reader asks for as many as there is room for, one request at a time. The broker gives a sign of
life while it has nothing; without one, or when anything else is odd, the reader opens anew and goes
on after the last message it has handed on.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import orjson
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, StreamInfo
from nats.js.errors import NotFoundError

from screenerd.backoff import Backoff
from screenerd.bus.jetstream.connection import Connection
from screenerd.bus.jetstream.subjects import Stream

log = structlog.get_logger("screenerd")

SIGN_SECONDS = 1.0
"""Between signs of life of the broker."""

SILENT_SECONDS = 3.5
REQUEST_SECONDS = 30.0
REQUEST_BYTES = 2 * 1024 * 1024
"""So much is asked for at once: the broker cuts the connection of who lets more wait than it holds,
and a process has a reader for each of its shards."""

OPEN_SECONDS = 60.0
"""All that is asked before the first message may take so long."""

IDLE_SECONDS = 60.0
"""After so long without its subscriber the broker forgets a consumer that is not lasting."""

ACKED_REMEMBERED = 10_000

HURRY_SECONDS = 0.05
"""What nobody holds any more is asked for again at once by this patience, for so long:"""

HURRY_SETTLED_SECONDS = 0.4

FLOOR, ENDS = "screener-floor", "screener-ends"
"""Of a lasting consumer: where its subscribers ended last, and how often there."""

_OVER = {"404", "408", "409"}
_GONE = ("Consumer Deleted", "Consumer is push", "Server Shutdown", "Leadership", "Stream Deleted")


Begin = Callable[[JetStreamContext, StreamInfo], Awaitable[int]]
"""Gives the sequence after which to begin in a stream."""


class Taker(Protocol):
    """Who is handed messages."""

    def take(self, reader: Reader, msg: Msg) -> None:
        """A message, once, in its order."""
        ...


@dataclass(slots=True)
class _Pull:
    """One inbox and the request that is open on it; forgotten when anything is odd."""

    inbox: str
    wanted: int = 0
    broken: str = ""
    heard: bool = False
    next_number: int = 1
    subscription: Subscription | None = None
    event: asyncio.Event = field(default_factory=asyncio.Event)

    def broke(self, why: str) -> None:
        self.broken = self.broken or why
        self.event.set()


class Reader(ABC):
    """Reads until cancelled; `begun` is set once nothing is missed any more."""

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        name: str,
        filters: list[str],
        room: int,
        taker: Taker,
    ) -> None:
        """Takes what to read, for whom, and how many may wait there."""
        self.connection, self.stream, self.name = connection, stream, name
        self.filters, self.room, self._taker = filters, room, taker
        self.begun = asyncio.Event()
        self.waiting = 0
        self.lag = 0
        self.created: datetime | None = None
        self.last = 0
        """Sequence of the newest message handed on."""
        self._consumer = ""
        self._pull: _Pull | None = None
        self._ended = False

    async def run(self) -> None:
        """Reads, opening anew whenever something is odd."""
        backoff = Backoff(first=0.1, longest=2.0)
        while not self._ended:
            try:
                js = await self.connection.ready()
                async with self.connection.within(OPEN_SECONDS):
                    await self._open(js)
                self.begun.set()
                why = await self._read(js, backoff)
            except (Error, OSError, TimeoutError) as error:
                why = str(error) or type(error).__name__
            if self._ended:
                return
            self.connection.counters.reopened += 1
            log.info("reads anew", stream=str(self.stream), name=self.name, why=why)
            if self.connection.is_up:
                await asyncio.sleep(backoff.failed())

    def taken(self) -> None:
        """One of those that wait was taken: there is room for another."""
        self.waiting -= 1
        if self._pull is not None:
            self._pull.event.set()

    def end(self) -> None:
        """Asks for no more; what is there already stays."""
        self._ended = True
        if self._pull is not None:
            self._pull.broke("ended")

    @abstractmethod
    async def _open(self, js: JetStreamContext) -> None:
        """Makes the consumer, so that it goes on where this was."""

    @abstractmethod
    async def _accept(self, msg: Msg, number: int) -> bool:
        """Whether a message of the stream is one to hand on."""

    async def _known(self, js: JetStreamContext) -> StreamInfo:
        """The stream; one that was made anew is read from its beginning."""
        info = await js.stream_info(self.stream)
        if self.created is not None and (
            info.created != self.created or info.state.last_seq < self.last
        ):
            log.warning("the stream is another", stream=str(self.stream), name=self.name)
            self.last = 0
            self._forget()
        self.created = info.created
        return info

    @abstractmethod
    def _forget(self) -> None:
        """Drops what was known of another stream."""

    async def _read(self, js: JetStreamContext, backoff: Backoff) -> str:
        """Reads until something is odd; says what."""
        pull = self._pull = _Pull(self.connection.client.new_inbox())

        async def heard(msg: Msg) -> None:
            if not pull.broken:
                await self._heard(pull, msg)
                if pull.next_number > 1:
                    backoff.succeeded()

        connection, client = self.connection, self.connection.client
        pull.subscription = await connection.answered(client.subscribe(pull.inbox, cb=heard))
        forget = connection.on_loss(lambda: pull.broke("the connection was lost"))
        watch = asyncio.create_task(self._watch(js, pull))
        try:
            while not pull.broken:
                await self._ask(pull)
                await self._wait(pull)
        finally:
            watch.cancel()
            forget()
            self._pull = None
            with suppress(Error, OSError, TimeoutError):
                await connection.answered(pull.subscription.unsubscribe())
        return pull.broken

    @property
    def _free(self) -> int:
        """How many there is room for."""
        return self.room - self.waiting

    async def _ask(self, pull: _Pull) -> None:
        room = self._free
        if pull.wanted or room <= 0:
            return
        pull.wanted = room
        request = {
            "batch": room,
            "max_bytes": REQUEST_BYTES,
            "expires": int(REQUEST_SECONDS * 1e9),
            "idle_heartbeat": int(SIGN_SECONDS * 1e9),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self._consumer}"
        asking = self.connection.client.publish(subject, orjson.dumps(request), pull.inbox)
        await self.connection.answered(asking)

    async def _wait(self, pull: _Pull) -> None:
        """Until something is heard; with nothing to ask for, until there is room."""
        if pull.broken or (not pull.wanted and self._free > 0):
            return
        pull.event.clear()
        try:
            async with asyncio.timeout(SILENT_SECONDS if pull.wanted else None):
                await pull.event.wait()
        except TimeoutError:
            pull.broke("the broker gave no sign of life")

    async def _heard(self, pull: _Pull, msg: Msg) -> None:
        pull.event.set()
        status = (msg.headers or {}).get("Status")
        if status is None or msg.reply.startswith("$JS.ACK."):
            pull.wanted = max(0, pull.wanted - 1)
            metadata = msg.metadata
            if await self._accept(msg, pull.next_number):
                self.last = metadata.sequence.stream
                self.waiting += 1
                self._taker.take(self, msg)
            pull.next_number += 1
            return
        told = (msg.headers or {}).get("Description", "")
        if status == "100":
            return
        if status not in _OVER or any(gone in told for gone in _GONE):
            pull.broke(f"{status} {told}")
        pull.wanted = 0

    async def _watch(self, js: JetStreamContext, pull: _Pull) -> None:
        """Sees how far behind this is, and whether the broker sends what it has."""
        stuck = 0
        while not pull.broken:
            before = self.last
            await asyncio.sleep(self.connection.settings.watch_seconds)
            try:
                info = await self.connection.answered(js.consumer_info(self.stream, self._consumer))
            except NotFoundError:
                pull.broke("the consumer is gone")
                return
            except (Error, OSError, TimeoutError):
                continue
            self.lag = info.num_pending or 0
            idle = bool(pull.wanted) and self.last == before and self._behind(info)
            stuck = stuck + 1 if idle else 0
            if stuck > 1:
                pull.broke("the broker has messages and does not send them")

    def _behind(self, info: ConsumerInfo) -> bool:
        return bool(info.num_pending)


class OrderedReader(Reader):
    """Reads from a place on, each message once; the broker remembers nothing of it."""

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        name: str,
        filters: list[str],
        room: int,
        taker: Taker,
        begin: Begin,
    ) -> None:
        """Takes besides where it begins."""
        super().__init__(connection, stream, name, filters, room, taker)
        self._begin = begin

    async def _open(self, js: JetStreamContext) -> None:
        if self._consumer:
            with suppress(Error, OSError, TimeoutError):
                await js.delete_consumer(self.stream, self._consumer)
        known = self.created is not None
        info = await self._known(js)
        if not known:
            self.last = await self._begin(js, info)
        config = ConsumerConfig(
            name=f"{self.name}-{self.connection.client.new_inbox()[-22:]}",
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self.last + 1,
            ack_policy=AckPolicy.NONE,
            filter_subjects=self.filters,
            inactive_threshold=IDLE_SECONDS,
            mem_storage=True,
            num_replicas=1,
        )
        self._consumer = (await js.add_consumer(self.stream, config)).name

    def _forget(self) -> None:
        """Nothing is known but the place."""

    async def _accept(self, msg: Msg, number: int) -> bool:
        sequence = msg.metadata.sequence
        if sequence.consumer != number:
            if self._pull is not None:
                self._pull.broke("a message was lost on the way")
            return False
        return sequence.stream > self.last

    def _behind(self, info: ConsumerInfo) -> bool:
        delivered = info.delivered.stream_seq if info.delivered else 0
        return bool(info.num_pending) or delivered > max(self.last, 0) > 0


class LastingReader(Reader):
    """Reads what nobody of its name has dealt with; the broker remembers that."""

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        name: str,
        filters: list[str],
        room: int,
        taker: Taker,
        limit: int,
    ) -> None:
        """Takes besides how many may be in hand."""
        super().__init__(connection, stream, name, filters, room, taker)
        self._limit = limit
        self._held: dict[int, Msg] = {}
        self._acked: dict[int, None] = {}
        self._careful = 0
        """How many more are handed on one at a time, because one of them may end the process."""
        self.suspect = 0
        """Sequence of the message that has ended too many subscribers; 0 if there is none."""

    async def hold(self) -> None:
        """Tells the broker of what is in hand, so that nobody else gets it; until cancelled."""
        while True:
            await asyncio.sleep(self.connection.settings.redeliver_seconds / 3)
            for msg in list(self._held.values()):
                if self.connection.is_up:
                    with suppress(Error, OSError, TimeoutError):
                        await self.connection.answered(
                            self.connection.client.publish(msg.reply, Msg.Ack.Progress)
                        )

    async def done(self, sequence: int) -> None:
        """A message has been dealt with: it comes no more."""
        msg = self._held.pop(sequence, None)
        if msg is None:
            return
        self._careful = max(0, self._careful - 1)
        self._acked[sequence] = None
        while len(self._acked) > ACKED_REMEMBERED:
            del self._acked[next(iter(self._acked))]
        if self._pull is not None:
            self._pull.event.set()
        await self._ack(msg)

    async def _ack(self, msg: Msg) -> None:
        """Without a connection the message comes again, and is acknowledged then."""
        if self.connection.is_up:
            with suppress(Error, OSError, TimeoutError):
                await self.connection.answered(self.connection.client.publish(msg.reply))

    def _forget(self) -> None:
        self._held.clear()
        self._acked.clear()

    @property
    def _free(self) -> int:
        if self._careful:
            return 0 if self._held else 1
        return super()._free

    async def _accept(self, msg: Msg, number: int) -> bool:  # noqa: ARG002
        sequence = msg.metadata.sequence.stream
        if sequence not in self._held and sequence not in self._acked:
            self._held[sequence] = msg
            return True
        self.connection.counters.duplicates += 1
        if sequence in self._held:
            self._held[sequence] = msg
        else:
            await self._ack(msg)
        return False

    async def _open(self, js: JetStreamContext) -> None:
        await self._known(js)
        self._consumer = self.name
        try:
            info = await js.consumer_info(self.stream, self.name)
        except NotFoundError:
            await js.add_consumer(self.stream, self._config(self._patience, {}))
            return
        metadata = info.config.metadata or {}
        if not self.begun.is_set():
            metadata = await self._told_of_ends(js, info, metadata)
        if info.num_ack_pending and not info.num_waiting:
            await js.add_consumer(self.stream, self._config(HURRY_SECONDS, metadata))
            await asyncio.sleep(HURRY_SETTLED_SECONDS)
        await js.add_consumer(self.stream, self._config(self._patience, metadata))

    async def _told_of_ends(
        self, js: JetStreamContext, info: ConsumerInfo, metadata: dict[str, str]
    ) -> dict[str, str]:
        """Counts how often subscribers have ended at the same message; suspects it in the end."""
        if not info.num_ack_pending or info.num_waiting:
            return {}
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        ends = 1 + int(metadata.get(ENDS, 0)) if metadata.get(FLOOR) == str(floor) else 1
        self._careful = info.num_ack_pending if ends > 1 else 0
        if ends >= self.connection.settings.max_deliver:
            self.suspect = await self._first_after(js, floor)
        return {FLOOR: str(floor), ENDS: str(ends)}

    async def _first_after(self, js: JetStreamContext, floor: int) -> int:
        """The oldest message that was not dealt with."""
        found = []
        for wanted in self.filters:
            with suppress(NotFoundError):
                message = await js.get_msg(self.stream, floor + 1, wanted, next=True)
                found.append(message.seq or 0)
        return min(found, default=0)

    @property
    def _patience(self) -> float:
        return self.connection.settings.redeliver_seconds

    def _config(self, ack_wait: float, metadata: dict[str, str]) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=self.name,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ack_wait,
            max_deliver=-1,
            max_ack_pending=self._limit,
            filter_subjects=self.filters,
            metadata=metadata,
        )
