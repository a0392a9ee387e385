"""The connection to the broker: kept for ever, and what waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import structlog
from nats.aio.client import Client
from nats.errors import Error, SlowConsumerError
from nats.js import JetStreamContext

from screenerd.bus.jetstream.settings import BusSettings
from screenerd.clock import Clock

log = structlog.get_logger("screenerd")

CLOSE_SECONDS = 2
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
    """Connects, and connects again without end; builds a new client where one has given up.

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
        """Builds a new client whenever one has closed itself; until cancelled."""
        while True:
            await asyncio.sleep(self.settings.watch_seconds)
            if self._client is not None and self._client.is_closed:
                log.warning("the broker's client had closed itself", why=self.why)
                self._went_down()
                await self._connect()
                self.counters.reconnects += 1

    async def close(self) -> None:
        """Sends what waits to be sent, and disconnects."""
        if self._client is None:
            return
        if self._client.is_connected:
            try:
                await self._client.flush(CLOSE_SECONDS)
            except (Error, OSError, TimeoutError) as error:
                log.warning("not everything was sent", told=_told(error))
        self._up.clear()  # an end that is wanted is no loss
        # Of a connection that was just lost; uvloop calls that a RuntimeError.
        with suppress(Error, OSError, RuntimeError):
            await self._client.close()

    async def ready(self) -> JetStreamContext:
        """JetStream, as soon as there is a connection."""
        await self._up.wait()
        return self.client.jetstream(timeout=self.settings.ack_seconds)

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Ends what is inside after so long, or at once when the connection is lost.

        Raises:
            TimeoutError: it was not done.
        """
        async with asyncio.timeout(seconds) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

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
            await client.publish(subject, payload)
        except (Error, OSError):
            self.counters.dropped += 1
        else:
            self.counters.passed += 1

    async def _connect(self) -> None:
        while True:
            client = Client()
            try:
                await client.connect(**self._options())
            except (Error, OSError, TimeoutError) as error:
                self._tell(error)
                await asyncio.sleep(self.settings.reconnect_seconds)
            else:
                break
        self._client = client
        await self._came_up()
        for tell in list(self._again):
            tell()

    def _options(self) -> dict[str, Any]:
        settings = self.settings
        wait = settings.reconnect_seconds * self.random.uniform(0.8, 1.2)
        options = {
            "servers": list(settings.servers),
            "name": self.name,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_disconnected,
            "reconnected_cb": self._on_reconnected,
            "closed_cb": self._on_disconnected,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": wait,
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

    async def _on_disconnected(self) -> None:
        self._went_down()

    async def _on_reconnected(self) -> None:
        self.counters.reconnects += 1
        await self._came_up()

    async def _came_up(self) -> None:
        self.since, self.why = self.clock.now_ms(), ""
        self._up.set()
        log.info("connected to the broker")

    def _went_down(self) -> None:
        if not self._up.is_set():
            return
        self._up.clear()
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


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
