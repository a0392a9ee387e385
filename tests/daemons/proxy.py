"""A TCP proxy on loopback that does to a connection what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_RESET = struct.pack("ii", 1, 0)
_SHARE = 4096


@dataclass
class Proxy:
    """What happens to what passes; each fault counts how often it did.

    Attributes:
        host: where it connects to.
        upstream: the port there.
        latency: seconds added to every share of bytes.
        slices: bytes a share is cut into pieces of; 0 for none.
        hole: nothing passes and nothing is closed.
        refusing: new connections are cut at once.
        reset_after: bytes towards the client after which it is reset, in the middle of a frame.
        happened: how often what has happened.
    """

    host: str
    upstream: int
    port: int = 0
    latency: float = 0.0
    slices: int = 0
    hole: bool = False
    refusing: bool = False
    reset_after: int | None = None
    happened: Counter[str] = field(default_factory=Counter)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    def cut(self) -> None:
        """Resets every connection that is open."""
        for writer in tuple(self._writers):
            self._reset(writer)
        self.happened["cut"] += 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        if self.refusing:
            self.happened["refused"] += 1
            self._reset(writer)
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(self.host, self.upstream)
        except OSError:
            self.happened["nobody there"] += 1
            self._reset(writer)
            return
        self._writers |= {writer, server_writer}
        try:
            await asyncio.gather(
                self._pass(reader, server_writer, towards_client=False),
                self._pass(server_reader, writer, towards_client=True),
            )
        except (ConnectionError, OSError):
            pass
        finally:
            for one in (writer, server_writer):
                self._writers.discard(one)
                one.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, towards_client: bool
    ) -> None:
        while data := await reader.read(_SHARE):
            while self.hole:
                self.happened["hole"] += 1
                await asyncio.sleep(0.02)
            if self.latency:
                self.happened["latency"] += 1
                await asyncio.sleep(self.latency)
            if towards_client and self.reset_after is not None:
                part, self.reset_after = data[: self.reset_after], None
                writer.write(part)
                self.happened["reset"] += 1
                self._reset(writer)
                return
            await self._write(writer, data)
        writer.close()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if not self.slices:
            writer.write(data)
            await writer.drain()
            return
        for at in range(0, len(data), self.slices):
            self.happened["slices"] += 1
            writer.write(data[at : at + self.slices])
            await writer.drain()
            await asyncio.sleep(0)

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()


@contextlib.asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """A proxy before an address."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    proxy = Proxy(parts.hostname, parts.port)
    server = await asyncio.start_server(proxy.serve, parts.hostname, 0)
    for listening in server.sockets:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.hole = False
        proxy.cut()
