"""One client's WebSocket: what it asks, what waits to be sent to it, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from screenerd.clock import Clock
from screenerd.demo.wire import Session

_SEND_BUFFER = 1 << 18
"""Bytes the kernel may hold for a client; with its usual megabytes a slow one goes unnoticed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the demo exchange allows; times are market time.

    Attributes:
        weight: of REST requests a minute.
        streams: of a connection.
        messages: of a client in a second.
        lifetime: seconds until a connection is closed.
        ping_every: seconds between pings.
        pong_within: seconds without a pong until a connection is cut.
        backlog: frames that may wait for a client; at one more it is cut.
        update_ms: how often a running minute is sent, if something traded.
        update_real_ms: and no more often than that in real time, however fast the clock runs.
        close_after_ms: how long after its end a minute's last version is sent.
        listing: names in a page of the archive's listing.
    """

    weight: int = 2400
    streams: int = 1024
    messages: int = 10
    lifetime: float = 24 * 3600.0
    ping_every: float = 180.0
    pong_within: float = 600.0
    backlog: int = 8192
    update_ms: int = 250
    update_real_ms: int = 40
    close_after_ms: int = 40
    listing: int = 20


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A frame for whoever is subscribed to a symbol, as raw and as combined streams send it."""

    symbol: int
    raw: str
    combined: str


@dataclass(slots=True, eq=False)
class Connection:
    """A client.

    Attributes:
        websocket: its socket, already open.
        request: with which it came.
        session: its subscriptions.
        streams: index of the symbol each stream is of; empty on routes that deliver nothing.
        clock: market time.
        limits: what it may do.
        stalled: whether it gets nothing at all any more.
        sent: frames sent so far.
        too_slow: whether it was cut because it did not read.
    """

    websocket: web.WebSocketResponse
    request: web.Request
    session: Session
    streams: Mapping[str, int]
    clock: Clock
    limits: Limits
    stalled: bool = False
    sent: int = 0
    too_slow: bool = False
    _symbols: frozenset[int] = frozenset()
    _waiting: deque[str] = field(default_factory=deque)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _goodbye: tuple[int, str] | None = None
    _ponged: int = 0

    @property
    def symbols(self) -> frozenset[int]:
        """Indexes of the symbols it gets frames of."""
        return self._symbols

    async def serve(self) -> None:
        """Talks to the client until one of both ends it."""
        self._ponged = self.clock.now_ms()
        self._subscriptions_changed()
        self._bound_send_buffer()
        async with asyncio.TaskGroup() as tasks:
            helpers = [
                tasks.create_task(helper) for helper in (self._send(), self._ping(), self._age())
            ]
            try:
                await self._read()
            finally:
                for helper in helpers:
                    helper.cancel()

    def offer(self, frames: Sequence[Outgoing]) -> None:
        """Queues those frames that it is subscribed to; cuts the connection if too many wait."""
        if self.stalled or self._goodbye:
            return
        wanted = [frame for frame in frames if frame.symbol in self._symbols]
        if not wanted:
            return
        if len(self._waiting) + len(wanted) > self.limits.backlog:
            self.too_slow = True
            self.abort()
            return
        if self.session.combined:
            self._waiting.extend(frame.combined for frame in wanted)
        else:
            self._waiting.extend(frame.raw for frame in wanted)
        self._ready.set()

    def finish(self, code: int, reason: str) -> None:
        """Closes politely, after what waits has been sent."""
        self._goodbye = self._goodbye or (code, reason)
        self._ready.set()

    def abort(self) -> None:
        """Cuts the connection at once."""
        self._waiting.clear()
        if self.request.transport is not None:
            self.request.transport.abort()

    def _bound_send_buffer(self) -> None:
        transport = self.request.transport
        connection = transport.get_extra_info("socket") if transport else None
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def _subscriptions_changed(self) -> None:
        known = (self.streams.get(name) for name in self.session.names)
        self._symbols = frozenset(symbol for symbol in known if symbol is not None)

    async def _read(self) -> None:
        async for message in self.websocket:
            if self.stalled or self._goodbye:
                continue
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    self._answer(message.data)
                case WSMsgType.PING:
                    await self._pong(message.data)
                case WSMsgType.PONG:
                    self._ponged = self.clock.now_ms()

    def _answer(self, text: str | bytes) -> None:
        reply = self.session.receive(text, self.clock.now_ms())
        self._subscriptions_changed()
        if reply.text is not None:
            self._waiting.append(reply.text)
            self._ready.set()
        if reply.close:
            self.finish(*reply.close)

    async def _pong(self, data: bytes) -> None:
        if self.session.too_many(self.clock.now_ms()):
            self.finish(1008, "Too many requests")
            return
        with contextlib.suppress(ConnectionError):
            await self.websocket.pong(data)

    async def _send(self) -> None:
        try:
            while True:
                await self._ready.wait()
                self._ready.clear()
                while self._waiting and not self.stalled:
                    text = self._waiting.popleft()
                    await self.websocket.send_str(text)
                    self.sent += 1
                if self._goodbye:
                    code, reason = self._goodbye
                    await self.websocket.close(code=code, message=reason.encode())
                    return
        except ConnectionError:
            self.abort()

    async def _ping(self) -> None:
        while True:
            await self.clock.sleep(self.limits.ping_every)
            if self.stalled:
                continue
            now = self.clock.now_ms()
            if now - self._ponged > self.limits.pong_within * 1000:
                self.abort()
                return
            with contextlib.suppress(ConnectionError):
                await self.websocket.ping(str(now).encode())

    async def _age(self) -> None:
        await self.clock.sleep(self.limits.lifetime)
        # With which code the exchange ends a day-old connection is not known.
        self.finish(1001, "Connection lifetime reached")
