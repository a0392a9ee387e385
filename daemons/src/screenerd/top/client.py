"""The conversation with the service: asks, listens, and comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import aiohttp
import orjson

from screenerd.backoff import Backoff
from screenerd.top import protocol
from screenerd.top.board import Board
from screenerd.top.protocol import Message, Resume
from screenerd.top.rows import (
    FeedAlert,
    read_alert,
    read_alerts,
    read_all_metrics,
    read_health,
    read_metrics,
    read_prices,
    read_sparklines,
    read_symbols,
)
from screenerd.top.text import clean

Socket: TypeAlias = "aiohttp.ClientWebSocketResponse[bool]"

HEALTH_SECONDS = 5.0
"""Between two questions after the service's health."""

REFRESH_SECONDS = 600.0
"""Between two looks at the whole: symbols that have left are told of in no other way."""

ANSWER_SECONDS = 15.0
HEARTBEAT_SECONDS = 10.0
"""A service that answers no ping for half as long is gone."""

CLOSE_SECONDS = 1.0
LONGEST_WAIT = 15.0

ALERTS = 100
ALERTS_TO_CHOOSE_FROM = 1000
"""Alerts asked for where only some symbols are followed."""

ALERTS_OF_ONE = 5


class ServiceError(Exception):
    """The service does not answer as it should; says what to do about it."""


FAILURES = (ServiceError, aiohttp.ClientError, TimeoutError, OSError)
"""What ends a conversation, or an answer."""


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service is, and who calls.

    Attributes:
        url: its address, without a slash at its end.
        token: a key or a user's token; `None` where none is asked for.
    """

    url: str
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Of each request."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}


class Client:
    """Keeps a board as new as the service's, for as long as it runs."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        service: Service,
        board: Board,
        backoff: Backoff | None = None,
    ) -> None:
        """Takes what it needs; says nothing yet.

        Args:
            http: makes connections.
            service: whom to talk to.
            board: what is written.
            backoff: how long to wait before it is tried again.
        """
        self.service, self.board = service, board
        self._http, self._backoff = http, backoff or Backoff(longest=LONGEST_WAIT)
        self._resume: Resume | None = None
        self._has_alerts = False
        self._hurried = asyncio.Event()
        self._changed: Callable[[], None] = lambda: None

    async def run(self, changed: Callable[[], None]) -> None:
        """Follows the service until it is cancelled.

        Args:
            changed: called whenever the board is another.
        """
        self._changed = changed
        loop = asyncio.get_running_loop()
        while True:
            self.board.trying()
            self._changed()
            trouble = await self._until_lost()
            wait = self._backoff.failed()
            self.board.lost(trouble, loop.time() + wait)
            self._changed()
            await self._pause(wait)

    def hurry(self) -> None:
        """Tries again now, if it waits."""
        self._hurried.set()

    async def alerts_of(self, symbol: str) -> list[FeedAlert]:
        """The last alerts of a symbol, newest first.

        Raises:
            ServiceError: they cannot be had; says why.
        """
        query = {"symbol": symbol, "limit": str(ALERTS_OF_ONE)}
        try:
            told = await self._get("/api/alerts", **query)
        except FAILURES as error:
            raise ServiceError(self._told(error)) from error
        return read_alerts(told)

    async def _until_lost(self) -> str:
        """Follows the service until that fails; says why it did."""
        trouble = ""
        try:
            await self._follow()
        except* FAILURES as errors:
            trouble = self._told(_first(errors))
        return trouble

    async def _follow(self) -> None:
        # Health needs no token: it tells whether this is the service at all.
        await self._ask_health()
        async with self._http.ws_connect(
            self.service.url + "/ws/alerts",
            heartbeat=HEARTBEAT_SECONDS,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
        ) as socket:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._subscribe(socket)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(socket))
                group.create_task(self._keep_whole())
                group.create_task(self._keep_health())

    async def _subscribe(self, socket: Socket) -> None:
        """Says who calls and what it wants; forgets what another run of the service told."""
        if self.service.token is not None:
            await socket.send_str(protocol.authenticate(self.service.token))
            await self._hear(socket, "authenticated")
        await socket.send_str(protocol.subscribe(self.board.wanted, self._resume))
        told = await self._hear(socket, "subscribed")
        if self._resume is None or not told.recovered:
            self._resume, self._has_alerts = told.resume, False
            self.board.forget()

    async def _listen(self, socket: Socket) -> None:
        while True:
            await self._hear(socket, None)

    async def _hear(self, socket: Socket, kind: str | None) -> Message:
        """Takes messages until one of a kind has come, or one of any."""
        while True:
            frame = await socket.receive()
            if frame.type is not aiohttp.WSMsgType.TEXT:
                reason = f" ({clean(frame.extra)})" if frame.extra else ""
                raise ServiceError(f"the service has ended the connection{reason}")
            told = protocol.read(frame.data)
            if told is None:
                raise ServiceError(protocol.not_the_service(self.service.url))
            if told.kind == "ping":
                await socket.send_str(protocol.PONG)
            self._take(told)
            if kind in {None, told.kind}:
                return told

    def _take(self, told: Message) -> None:
        if told.kind == "error":
            raise ServiceError(told.refusal)
        if told.kind == "metrics" and (metrics := read_metrics(told.data)) is not None:
            self.board.take_metrics(metrics)
            self._changed()
        if told.kind == "prices":
            self.board.take_prices(read_prices(told.data))
            self._changed()
        if told.kind == "alert":
            self._resume = told.after(self._resume)
            if (alert := read_alert(told.data)) is not None:
                self.board.take_alert(alert)
                self._changed()

    async def _keep_whole(self) -> None:
        """Fetches everything at once, and again now and then."""
        while True:
            await self._fetch()
            self._backoff.succeeded()
            self.board.live()
            self._changed()
            await asyncio.sleep(REFRESH_SECONDS)

    async def _fetch(self) -> None:
        """Fetches the market, and the alerts if they were not yet told in this run."""
        self.board.follow(read_symbols(await self._get("/api/symbols")))
        for metrics in read_all_metrics(await self._get("/api/metrics")):
            self.board.take_metrics(metrics)
        self.board.take_sparklines(read_sparklines(await self._get("/api/sparklines")))
        if not self._has_alerts:
            count = ALERTS_TO_CHOOSE_FROM if self.board.wanted else ALERTS
            for alert in read_alerts(await self._get("/api/alerts", limit=str(count))):
                self.board.take_alert(alert)
            self._has_alerts = True

    async def _keep_health(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_SECONDS)
            try:
                await self._ask_health()
            except FAILURES:
                # Whether the service is still there is the websocket's to tell.
                self.board.health = None
            self._changed()

    async def _ask_health(self) -> None:
        health = read_health(await self._get("/api/health"))
        if health is None:
            raise ServiceError(protocol.not_the_service(self.service.url))
        self.board.health = health

    async def _get(self, path: str, **query: str) -> Any:
        """What a request is answered with."""
        async with self._http.get(
            self.service.url + path,
            params=query,
            headers=self.service.headers,
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            # A token is for the address that was given, and for no other.
            allow_redirects=False,
        ) as answer:
            value = _json(await answer.read())
            if answer.status != 200:
                raise ServiceError(protocol.refused_status(answer.status, value))
            if value is None:
                raise ServiceError(protocol.not_the_service(self.service.url))
            return value

    async def _pause(self, seconds: float) -> None:
        """Waits, or until somebody is in a hurry."""
        self._hurried.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()

    def _told(self, error: BaseException) -> str:
        """What went wrong, in words for whoever looks at the screen."""
        match error:
            case ServiceError():
                return str(error)
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
                return f"no trustworthy connection to {self.service.url}: {clean(str(error))}"
            case aiohttp.WSServerHandshakeError():
                return protocol.refused_status(error.status, None)
            case TimeoutError():
                return f"{self.service.url} does not answer in time"
            case aiohttp.InvalidURL():
                return f"{self.service.url} is no address: write http://HOST:PORT"
            case aiohttp.ClientConnectorError():
                return protocol.unreachable(self.service.url)
            case _:
                return f"the connection to {self.service.url} broke: {clean(str(error))}"


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
