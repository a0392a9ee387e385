"""The server's sockets: what they wait for has an end, and a client that is dropped is gone.

uvicorn waits for a request for ever, and for a client that does not read; its close waits for
everything to be sent. Here a deadline ends each of these, with `abort`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from screenerd.serve.session import LARGEST_MESSAGE

RECEIPT_SECONDS = 8.0
"""A request has to be whole by then, from its first byte or the connection's opening on."""

READING_SECONDS = 8.0
"""A client that takes nothing of its answer for so long is dropped."""

LARGEST_HEAD = 32 * 1024
"""Bytes of a request before its body."""

PING_SECONDS = 4.0
PINGS_AT_ONCE = 20
PINGS_A_SECOND = 2.0
"""What a client may ask of us: far more than any library sends."""

STOP_SECONDS = 3
CLOSE_SECONDS = 2.0
BUFFERED_BYTES = 256 * 1024
"""What may wait in a connection's own buffer before it counts as full."""

_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)

SOCKET = "screener.socket"
"""Where a websocket's handler finds its `Socket`, among the scope's extensions."""


class Http(HttpToolsProtocol):
    """HTTP with deadlines for what is received and for what is sent."""

    _receipt: TimerHandle | None = None
    _reading: TimerHandle | None = None
    _head = 0
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for a request, so long and no longer."""
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop(receipt=True, reading=True)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; its head has a size."""
        if self._refused:
            return
        if self._receipt is None and (self.cycle is None or self.cycle.response_complete):
            self._await_request()
        self._head += len(data)
        super().data_received(data)
        if self._receipt is not None and self._head > LARGEST_HEAD and not self._head_complete():
            self._refuse()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._stop(receipt=True)
        self._head = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """From here on the websocket's own deadlines hold."""
        self._stop(receipt=True)
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """The client does not take its answer."""
        super().pause_writing()
        self._reading = self.loop.call_later(READING_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        self._stop(reading=True)
        super().resume_writing()

    def _refuse(self) -> None:
        """Answers, and reads on for a moment: a close with bytes unread destroys the answer."""
        self._refused = True
        self._stop(receipt=True)
        self.transport.write(_HEAD_TOO_LARGE)
        self.transport.write_eof()
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def _head_complete(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_request(self) -> None:
        self._head = 0
        self._receipt = self.loop.call_later(RECEIPT_SECONDS, self.transport.abort)

    def _stop(self, *, receipt: bool = False, reading: bool = False) -> None:
        if receipt and self._receipt is not None:
            self._receipt.cancel()
            self._receipt = None
        if reading and self._reading is not None:
            self._reading.cancel()
            self._reading = None


class Socket(WebSocketsSansIOProtocol):
    """A websocket that takes frames made elsewhere; the hub's `Outlet`."""

    on_writable: Callable[[], None] | None = None
    _pings = 0.0
    _pinged_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bounds what waits in the connection."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=BUFFERED_BYTES)

    def handle_connect(self, event: Request) -> None:
        """Shows itself to the handler."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[SOCKET] = self

    def resume_writing(self) -> None:
        """The client takes more."""
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    def handle_ping(self) -> None:
        """Answers a ping; a client that sends little else is ended."""
        now = self.loop.time()
        self._pings = max(0.0, self._pings - (now - self._pinged_at) * PINGS_A_SECOND) + 1
        self._pinged_at = now
        if self._pings > PINGS_AT_ONCE:
            self.abort()
        else:
            super().handle_ping()

    def keepalive_timeout(self) -> None:
        """A client that answers no ping is gone, and so is what waits for it."""
        self.abort()

    def shutdown(self) -> None:
        """Tells the client that the server goes away, and lets it read that."""
        self.stop_keepalive()
        if self.handshake_complete and not self.close_sent:
            self.close_sent = True
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1001})
            self.conn.send_close(1001, "the server stops")
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()
        self.finish()

    @property
    def ready(self) -> bool:
        """Whether more can be sent now."""
        return self.writable.is_set() and self.open

    @property
    def open(self) -> bool:
        """Whether frames may still be sent."""
        return not (self.close_sent or self.disconnected or self.transport.is_closing())

    def write(self, frame: bytes) -> None:
        """Sends a frame that has been made already."""
        if self.open:
            self.transport.write(frame)

    def finish(self) -> None:
        """Ends the connection soon, after a close frame has been sent."""
        self.loop.call_later(CLOSE_SECONDS, self.abort)

    def abort(self) -> None:
        """Ends the connection at once."""
        self.stop_keepalive()
        self.transport.abort()


class Server(uvicorn.Server):
    """A server among other tasks: signals are the process's to handle."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles none."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Opens the socket.

    Raises:
        OSError: it cannot be had; says which, and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only a socket that says it is TCP sends at once what is small: asyncio looks at that.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        remedy = "is another one running? Choose another by serve.port or --port"
        told = f"{host} port {port} cannot be listened on ({error.strerror}): {remedy}"
        raise OSError(error.errno, told) from error
    listener.set_inheritable(False)
    return listener


def server(app: ASGIApp) -> Server:
    """A server of the app, ready to `serve` on sockets."""
    settings: dict[str, Any] = {
        "http": Http,
        "ws": Socket,
        "ws_max_size": LARGEST_MESSAGE,
        "ws_per_message_deflate": False,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": PING_SECONDS,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "lifespan": "off",
        "timeout_graceful_shutdown": STOP_SECONDS,
    }
    return Server(uvicorn.Config(app, **settings))
