"""The bus over NATS JetStream."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

import orjson
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as PassingSubscription
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import StreamInfo
from nats.js.errors import APIError, NotFoundError

from screenerd.bus.jetstream.check import check
from screenerd.bus.jetstream.connection import BusCounters, Connection
from screenerd.bus.jetstream.encode import Outgoing, encode, passing, views
from screenerd.bus.jetstream.publisher import Publisher
from screenerd.bus.jetstream.reader import Begin, LastingReader, OrderedReader, Reader
from screenerd.bus.jetstream.settings import BusSettings
from screenerd.bus.jetstream.streams import ensure
from screenerd.bus.jetstream.subjects import PASSING, Stream, dead_subject, filters
from screenerd.bus.jetstream.subscription import JetStreamSubscription
from screenerd.bus.memory import MemoryBus
from screenerd.bus.port import Message, SubscriptionStatus
from screenerd.clock import Clock
from screenerd.model import CandleBatch, Metrics, Prices, Report, RulesChanged

log = structlog.get_logger("screenerd")

VIEWS_AFTER_SECONDS = 0.3
"""Views are told so long after their message: the roles come first, on the same processors."""

MOST_VIEWS = 20_000
"""Views that may wait; the oldest of more are left out, as they are for a broker that is away:
nobody is promised them."""

STREAMS_SECONDS = 60.0
"""To look at all streams, and make those that are missing, may take so long."""

SERVER_ERROR = 500
"""From this code on it is the broker that cannot now, and not what was asked that is wrong."""

FOLLOWED_STREAMS = {Stream.CANDLES, Stream.ALERTS}
"""In these a subscriber may begin after what a lasting one has done."""


@dataclass(frozen=True, slots=True)
class BusHealth:
    """How the bus does.

    Attributes:
        up: whether there is a connection.
        since: since when that is so, ms.
        why: what the broker or the network said last, if it is not up.
        publishing: how many messages wait to be acknowledged.
        oldest: how long the oldest of them waits, seconds.
        trouble: why messages are not acknowledged, or streams not as they should be.
        lags: how many messages wait at the broker, by subscriber and stream.
    """

    up: bool
    since: int
    why: str
    publishing: int
    oldest: float
    trouble: str
    lags: Mapping[tuple[str, Stream], int]


class JetStreamBus:
    """Messages by way of a broker that keeps them. What stays in the process stays in it."""

    def __init__(self, settings: BusSettings, clock: Clock, name: str = "screenerd") -> None:
        """Takes where the broker is, and what it is told who this is; connects when entered."""
        self.settings, self.counters = settings, BusCounters()
        self.connection = Connection(settings, name, clock, self.counters)
        self._publisher = Publisher(self.connection, self._repair)
        self._local = MemoryBus()
        self._subscriptions: list[JetStreamSubscription] = []
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._running = False
        self._streams_trouble = ""
        self._to_view: deque[CandleBatch | Metrics] = deque()
        self._viewed = asyncio.Event()
        self._repairing = asyncio.Lock()
        self._repaired_at = 0.0

    async def __aenter__(self) -> Self:
        """Connects, however long that takes, and sees that the broker and its streams are right.

        Raises:
            BrokerError: the broker may lose what it acknowledges, and that is not accepted.
        """
        await self.connection.open()
        try:
            await check(self.connection.version, self.settings)
        except BaseException:
            await self.connection.close()
            raise
        await self._group.__aenter__()
        self._running = True
        self._spawn(self.connection.keep())
        try:
            await self._make_streams()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        self._spawn(self._keep_streams())
        self._spawn(self._tell_views())
        for subscription in self._subscriptions:
            self._start(subscription)
        return self

    async def __aexit__(self, *error: Any) -> None:
        """Ends subscriptions and disconnects."""
        self._running = False
        await self.close()
        while self._tasks:  # the client may swallow a cancellation
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.1)
        try:
            await self._group.__aexit__(*error)
        finally:
            await self.connection.close()

    async def publish(self, message: Message) -> None:
        """Hands a message on; what is kept is safe with the broker when this returns."""
        if isinstance(message, RulesChanged):
            await self._local.publish(message)
            return
        if isinstance(message, Prices | Report):
            await self.connection.pass_on(*passing(message))
            return
        await self._publisher.put(encode(message, self.settings.shards, uuid4().hex))
        if self.settings.views and isinstance(message, CandleBatch | Metrics):
            self._view(message)

    def subscribe(
        self,
        name: str,
        *kinds: type[Message],
        limit: int,
        lasting: bool = False,
        after: str | None = None,
        shard: int | None = None,
    ) -> JetStreamSubscription:
        """Messages of these kinds, as the port says; it starts with the bus, or at once."""
        subscription = JetStreamSubscription(
            name, kinds, limit, lasting, after, shard, self.counters, self._bury
        )
        self._subscriptions.append(subscription)
        if self._running:
            self._start(subscription)
        return subscription

    async def close(self, *names: str) -> None:
        """Ends subscriptions, all or those of these names, once what is waiting here was taken.

        What waits at the broker comes next time to who is lasting.
        """
        for subscription in list(self._subscriptions):
            if not names or subscription.name in names:
                self._subscriptions.remove(subscription)
                subscription.end()
        await self._local.close(*names)

    async def epoch(self) -> str:
        """A name of the life of the kept alerts: offsets count within it; all processes agree."""
        while True:
            js = await self.connection.ready()
            with suppress(Error, OSError, TimeoutError):
                info = await self.connection.answered(js.stream_info(Stream.ALERTS))
                if info.created is not None:
                    return info.created.isoformat()
            await asyncio.sleep(self.settings.reconnect_seconds)

    @property
    def statuses(self) -> list[SubscriptionStatus]:
        """How many messages wait for each subscriber here."""
        return [subscription.status for subscription in self._subscriptions]

    @property
    def health(self) -> BusHealth:
        """How it does."""
        waiting = self._publisher.waiting.values()
        now = asyncio.get_running_loop().time()
        return BusHealth(
            up=self.connection.is_up,
            since=self.connection.since,
            why="" if self.connection.is_up else self.connection.why,
            publishing=len(waiting),
            oldest=now - min(waiting, default=now),
            trouble=self._publisher.trouble or self._streams_trouble,
            lags={
                (subscription.name, stream): lag
                for subscription in self._subscriptions
                for stream, lag in subscription.lags.items()
            },
        )

    def _spawn(self, work: Any) -> None:
        task = self._group.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    def _start(self, subscription: JetStreamSubscription) -> None:
        for stream, wanted in filters(subscription.kinds, subscription.shard).items():
            reader = self._reader(subscription, stream, wanted)
            subscription.readers.append(reader)
            self._spawn(reader.run())
            if isinstance(reader, LastingReader):
                self._spawn(reader.hold())
        if subscription.local:
            inner = self._local.subscribe(
                subscription.name, *subscription.local, limit=subscription.limit
            )
            self._spawn(subscription.take_local(aiter(inner)))
        if subscription.passing:
            self._spawn(self._pass(subscription))
        else:
            subscription.started.set()

    def _reader(
        self, subscription: JetStreamSubscription, stream: Stream, wanted: list[str]
    ) -> Reader:
        name, room = subscription.name, subscription.room
        if subscription.lasting:
            limit = subscription.limit
            return LastingReader(self.connection, stream, name, wanted, room, subscription, limit)
        begin = self._beginning(subscription, stream)
        return OrderedReader(self.connection, stream, name, wanted, room, subscription, begin)

    def _beginning(self, subscription: JetStreamSubscription, stream: Stream) -> Begin:
        async def after(js: JetStreamContext, info: StreamInfo) -> int:  # noqa: ARG001
            try:
                consumer = await js.consumer_info(stream, subscription.after or "")
            except NotFoundError:
                return 0
            return consumer.ack_floor.stream_seq if consumer.ack_floor else 0

        async def newest(js: JetStreamContext, info: StreamInfo) -> int:  # noqa: ARG001
            match stream:
                case Stream.ALERTS:
                    return max(0, info.state.last_seq - self.settings.replayed_alerts)
                case Stream.METRICS:
                    return 0
            return info.state.last_seq

        follows = subscription.after is not None and stream in FOLLOWED_STREAMS
        return after if follows else newest

    async def _pass(self, subscription: JetStreamSubscription) -> None:
        """Listens to what is not kept, on every client there is."""
        again = asyncio.Event()
        self.connection.on_client(again.set)

        async def heard(msg: Msg) -> None:
            subscription.take_passing(msg.subject, msg.data)

        while True:
            again.clear()
            await self.connection.ready()
            client = self.connection.client
            made: list[PassingSubscription] = []
            try:
                for subject in (PASSING[kind] for kind in subscription.passing):
                    made += [await self.connection.answered(client.subscribe(subject, cb=heard))]
                await self.connection.answered(client.flush())
                subscription.started.set()
                await again.wait()
            except (Error, OSError, TimeoutError):
                await asyncio.sleep(self.settings.reconnect_seconds)
            finally:
                for one in made:
                    with suppress(Error, OSError, TimeoutError):
                        await self.connection.answered(one.unsubscribe())

    def _view(self, message: CandleBatch | Metrics) -> None:
        self._to_view.append(message)
        while sum(map(_views_of, self._to_view)) > MOST_VIEWS and len(self._to_view) > 1:
            self.counters.dropped += _views_of(self._to_view.popleft())
        self._viewed.set()

    async def _tell_views(self) -> None:
        """Tells what was published once more, a message a symbol, when the roles have it."""
        while True:
            await self._viewed.wait()
            await asyncio.sleep(VIEWS_AFTER_SECONDS)
            self._viewed.clear()
            while self._to_view:
                for subject, payload in views(self._to_view.popleft()):
                    await self.connection.pass_on(subject, payload)
                    await asyncio.sleep(0)

    async def _keep_streams(self) -> None:
        """Makes streams again that an operator has deleted; until cancelled."""
        while True:
            await asyncio.sleep(self.settings.watch_seconds)
            await self.connection.ready()
            await self._repair()

    async def _make_streams(self) -> None:
        """Has every stream, however long it takes until the broker can say so."""
        while True:
            try:
                await self._ensure(await self.connection.ready())
            except (Error, OSError, TimeoutError) as error:
                if isinstance(error, APIError) and (error.code or SERVER_ERROR) < SERVER_ERROR:
                    raise
                log.warning("waiting for the streams", told=str(error) or type(error).__name__)
                await asyncio.sleep(self.settings.reconnect_seconds)
            else:
                return

    async def _ensure(self, js: JetStreamContext) -> None:
        async with self.connection.within(STREAMS_SECONDS):
            await ensure(js, self.settings)

    async def _repair(self) -> None:
        async with self._repairing:
            js = await self.connection.ready()
            try:
                await self._ensure(js)
            except (Error, OSError, TimeoutError) as error:
                told = str(error) or type(error).__name__
                if told != self._streams_trouble:
                    log.warning("streams are not as configured", told=told)
                self._streams_trouble = told
            else:
                self._streams_trouble = ""

    def _bury(self, reader: Reader, msg: Msg, reason: str) -> None:
        self._spawn(self._put_aside(reader, msg, reason))

    async def _put_aside(self, reader: Reader, msg: Msg, reason: str) -> None:
        """Keeps a message that cannot be dealt with among the dead; the others go on meanwhile."""
        metadata = msg.metadata
        sequence = metadata.sequence.stream
        value = {
            "type": "dead",
            "stream": reader.stream,
            "subscriber": reader.name,
            "subject": msg.subject,
            "sequence": sequence,
            "deliveries": metadata.num_delivered,
            "reason": reason,
            "payload": b64encode(msg.data[:500_000]).decode(),
        }
        life = reader.created.isoformat() if reader.created else ""
        subject = dead_subject(reader.stream, reader.name)
        one = Outgoing(subject, orjson.dumps(value), f"{reader.stream}.{life}.{sequence}")
        log.error("put aside", stream=str(reader.stream), sequence=sequence, reason=reason)
        await self._publisher.put([[one]])
        self.counters.dead += 1
        reader.taken()
        if isinstance(reader, LastingReader):
            await reader.done(sequence)


def _views_of(message: CandleBatch | Metrics) -> int:
    return len(message.candles) if isinstance(message, CandleBatch) else message.frame.height
