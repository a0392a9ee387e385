"""The connection to the broker: kept for ever, and what waits for it.

A client that has lost its connection is left, and another one is built: left to itself, a client of
nats-py connects again only once its old socket has taken what was still to be sent, which may be
never (nats.py issue 671), and tells of the loss only then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import structlog
from nats.aio.client import Client
from nats.errors import Error, SlowConsumerError
from nats.js import JetStreamContext

from screenerd.bus.jetstream.settings import BusSettings
from screenerd.clock import Clock

T = TypeVar("T")

log = structlog.get_logger("screenerd")

CLOSE_SECONDS = 2
LOOK_SECONDS = 0.25
"""Between looks at whether the connection is still there, where the client does not tell."""

CONNECT_TIMES = 4
"""An attempt to connect may take so many times as long as an acknowledgement."""

PENDING_BYTES = 1_000_000
"""So much may wait to be written before what is not kept is dropped."""


@dataclass(slots=True)
class BusCounters:
    """What has happened on the bus so far.

    Attributes:
        published: kept messages that were acknowledged.
        republished: how often one had to go out again.
        passed: messages that are not kept, handed to the broker.
        dropped: messages that are not kept, for want of a connection or of a place.
        reconnects: how often the broker was found again.
        errors: what the client told of besides.
        reopened: how often a subscriber had to begin anew where it was.
        duplicates: messages that came twice and were handed on once.
        poison: messages that could not be read.
        dead: messages put aside.
    """

    published: int = 0
    republished: int = 0
    passed: int = 0
    dropped: int = 0
    reconnects: int = 0
    errors: int = 0
    reopened: int = 0
    duplicates: int = 0
    poison: int = 0
    dead: int = 0


@dataclass(slots=True)
class Connection:
    """Connects, and connects again without end, with another client each time.

    Attributes:
        settings: of the bus.
        name: what the broker is told.
        clock: to say since when it is up or down.
        counters: where events are counted.
        since: when it came up or went down, ms.
        why: what the broker or the network said last.
    """

    settings: BusSettings
    name: str
    clock: Clock
    counters: BusCounters
    random: Random = field(default_factory=Random)
    since: int = 0
    why: str = "not connected yet"
    _client: Client | None = None
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _lost: asyncio.Event = field(default_factory=asyncio.Event)
    _scopes: set[asyncio.Timeout] = field(default_factory=set)
    _listeners: set[Callable[[], None]] = field(default_factory=set)
    _again: set[Callable[[], None]] = field(default_factory=set)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection now."""
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Client:
        """The client; it may be without a connection."""
        if self._client is None:
            raise RuntimeError("the bus is used before it was entered")
        return self._client

    @property
    def version(self) -> str:
        """The broker's, as numbers with points."""
        told = self.client.connected_server_version
        return f"{told.major}.{told.minor}.{told.patch}"

    async def open(self) -> None:
        """Connects, however long that takes."""
        self.since = self.clock.now_ms()
        await self._connect()

    async def keep(self) -> None:
        """Connects again whenever the connection is lost; until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._lost.wait()
            self._lost.clear()
            if not self.is_up:
                self._went_down()
                await _leave(self.client)
                await self._connect()
                self.counters.reconnects += 1

    async def close(self) -> None:
        """Sends what waits to be sent, and disconnects."""
        if self._client is None:
            return
        if self._client.is_connected:
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._client.flush(CLOSE_SECONDS)
            except (Error, OSError, TimeoutError) as error:
                log.warning("not everything was sent", told=_told(error))
        self._up.clear()  # an end that is wanted is no loss
        await _leave(self._client)

    async def ready(self) -> JetStreamContext:
        """JetStream, as soon as there is a connection."""
        while True:
            if not self.is_up:
                self._went_down()
            if self._up.is_set():
                return self.client.jetstream(timeout=self.settings.ack_seconds)
            await self._up.wait()

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Ends what is inside after so long, or at once when the connection is lost.

        A cancellation that comes together with an answer, or with an error, is not forgotten over
        that, as it is by `asyncio.wait_for` of Python 3.11, through which the client asks.

        Raises:
            TimeoutError: it was not done.
        """
        task = asyncio.current_task()
        cancelled = task.cancelling() if task is not None else 0
        try:
            async with asyncio.timeout(seconds) as scope:
                self._scopes.add(scope)
                try:
                    yield
                finally:
                    self._scopes.discard(scope)
        except Exception as error:
            if task is not None and task.cancelling() > cancelled:
                raise asyncio.CancelledError from error
            raise
        if task is not None and task.cancelling() > cancelled:
            raise asyncio.CancelledError

    async def answered(self, work: Awaitable[T]) -> T:
        """What is asked of the broker, or handed to it, as `within` the time of an acknowledgement.

        Whatever a client that was left has not sent by then it never sends, nor says so.
        """
        async with self.within(self.settings.ack_seconds):
            return await work

    def on_loss(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Calls when the connection is lost; what it gives ends that."""
        self._listeners.add(tell)
        return lambda: self._listeners.discard(tell)

    def on_client(self, tell: Callable[[], None]) -> None:
        """Calls when there is another client, which knows of no subscription."""
        self._again.add(tell)

    async def pass_on(self, subject: str, payload: bytes) -> None:
        """Sends what is not kept; drops it where it would have to wait."""
        client = self._client
        if client is None or not self.is_up or client.pending_data_size > PENDING_BYTES:
            self.counters.dropped += 1
            return
        try:
            await self.answered(client.publish(subject, payload))
        except (Error, OSError, TimeoutError):
            self.counters.dropped += 1
        else:
            self.counters.passed += 1

    async def _connect(self) -> None:
        while True:
            client = Client()
            try:
                async with asyncio.timeout(CONNECT_TIMES * self.settings.ack_seconds):
                    await client.connect(**self._options())
            except _BROKEN as error:
                # The client has told of what it has tried until its time was over.
                if client.last_error is None:
                    self._tell(error)
                await _leave(client)
                await asyncio.sleep(self._wait())
            else:
                break
        self._client = client
        self._came_up()
        for tell in list(self._again):
            tell()

    def _wait(self) -> float:
        """Between attempts to connect, seconds."""
        return self.settings.reconnect_seconds * self.random.uniform(0.8, 1.2)

    def _options(self) -> dict[str, Any]:
        settings = self.settings
        # Of a cluster the servers tell of each other.
        found = [] if self._client is None else self._client.servers
        servers = [*settings.servers, *(server.geturl() for server in found)]
        options = {
            "servers": list(dict.fromkeys(servers)),
            "name": self.name,
            "error_cb": self._on_error,
            "closed_cb": self._on_closed,
            "allow_reconnect": False,
            "reconnect_time_wait": self._wait(),  # while nobody listens, it tries again as well
            "ping_interval": settings.ping_seconds,
            "max_outstanding_pings": 2,
            "connect_timeout": settings.ack_seconds,
            "user": settings.user,
            "password": settings.password and settings.password.get_secret_value(),
            "token": settings.token and settings.token.get_secret_value(),
            "user_credentials": settings.credentials_file and str(settings.credentials_file),
        }
        return {name: value for name, value in options.items() if value is not None}

    async def _on_error(self, error: Exception) -> None:
        self._tell(error)

    async def _on_closed(self) -> None:
        """A client has closed itself: this one, or one that was left a while ago."""
        if not self.is_up:
            self._went_down()

    def _came_up(self) -> None:
        self.since, self.why = self.clock.now_ms(), ""
        self._up.set()
        log.info("connected to the broker")

    def _went_down(self) -> None:
        if not self._up.is_set():
            return
        self._up.clear()
        self._lost.set()
        self.since = self.clock.now_ms()
        self.why = self.why or "the connection was lost"
        log.warning("the broker is gone", why=self.why)
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)
        for tell in list(self._listeners):
            tell()

    def _tell(self, error: Exception) -> None:
        """Counts; tells once of each thing while there is no connection."""
        self.counters.errors += 1
        told = _told(error)
        if isinstance(error, SlowConsumerError):
            self.counters.dropped += 1
        if told != self.why:
            log.warning("broker", told=told)
        self.why = told


_BROKEN = (Error, OSError, RuntimeError, TimeoutError, ValueError)
"""What comes of a connection that breaks: uvloop calls that a RuntimeError, and what is not the
broker's protocol is a ValueError."""


async def _leave(client: Client) -> None:
    """Closes a client, and its socket without waiting until that has taken what was to be sent.

    The client has no way to say the latter, and a loop of uvloop does not close before its sockets.
    """
    with suppress(*_BROKEN, AssertionError):  # of one that was never begun
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()
    for subscription in client._subs.values():
        if subscription._wait_for_msgs_task is not None:
            subscription._wait_for_msgs_task.cancel()
    writer = getattr(client._transport, "_io_writer", None)
    if isinstance(writer, asyncio.StreamWriter):
        writer.transport.abort()


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
