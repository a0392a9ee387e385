"""A target on loopback that answers notifications as it is told to, and keeps what it got."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import orjson
from aiohttp import web

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Got:
    """A request as it arrived."""

    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body, read."""
        read = orjson.loads(self.body)
        assert isinstance(read, dict)
        return read


@dataclass
class FakeTarget:
    """What it got, what it answers next (by path), and what it answers when nothing is set."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    replies: dict[str, deque[Reply]] = field(default_factory=lambda: defaultdict(deque))
    always: dict[str, Reply] = field(default_factory=dict)
    streamed: int = 0
    dropped: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keeps the request, and answers."""
        body = await request.read()
        self.got.append(Got(request.path, request.query_string, dict(request.headers), body))
        queue = self.replies[request.path]
        if queue:
            return await queue.popleft()(request)
        if request.path in self.always:
            return await self.always[request.path](request)
        return web.json_response({"ok": True})

    def paths(self) -> list[str]:
        """The paths of what it got, in order."""
        return [got.path for got in self.got]

    def endless(self, status: int) -> Reply:
        """A body that does not end; counts what was taken of it."""

        async def reply(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            try:
                while True:
                    await response.write(b"x" * 65536)
                    self.streamed += 65536
            finally:
                self.dropped.set()

        return reply


def answer(status: int, body: object = None, headers: dict[str, str] | None = None) -> Reply:
    """A plain answer."""

    async def reply(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return reply


def hang(released: asyncio.Event) -> Reply:
    """No answer until released."""

    async def reply(_request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.json_response({})

    return reply


async def redirect_loop(request: web.Request) -> web.StreamResponse:
    """Sends the client back where it is."""
    return web.Response(status=307, headers={"Location": str(request.url)})


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Closes the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@asynccontextmanager
async def fake_target() -> AsyncIterator[FakeTarget]:
    """Runs a target for the length of a block."""
    target = FakeTarget()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", target.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    target.url = f"http://{host}:{port}"
    try:
        yield target
    finally:
        await runner.cleanup()


class NamesTo(aiohttp.abc.AbstractResolver):
    """A resolver that gives what it is told, one answer after the other, the last one for ever."""

    def __init__(self, *answers: str) -> None:
        """Takes the addresses in order."""
        self._answers = deque(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: int = 0
    ) -> list[aiohttp.abc.ResolveResult]:
        """The next address, whatever the name."""
        self.asked += 1
        address = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
        return [
            aiohttp.abc.ResolveResult(
                hostname=host, host=address, port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""
