"""Clients that are slow, silent, greedy or strange: they are dropped, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from served import Served, serving

from screenerd.serve.session import LARGEST_MESSAGE, MESSAGES_AT_ONCE
from screenerd.serve.wire import LARGEST_HEAD, RECEIPT_SECONDS

pytestmark = pytest.mark.asyncio

DROPPED_SECONDS = 10.0
HANDSHAKE = (
    "GET /ws/alerts HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path / "s.db") as one:
        yield one


async def raw(served: Served, text: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A plain connection on which this has been sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    served.opened.append(writer)
    writer.write(text.encode())
    await writer.drain()
    return reader, writer


async def seconds_until_closed(reader: asyncio.StreamReader) -> float:
    """How long until the other side ends the connection."""
    began = time.monotonic()
    async with asyncio.timeout(3 * DROPPED_SECONDS):
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
    return time.monotonic() - began


def connections(served: Served) -> int:
    """Sockets that the server still has."""
    assert served.serve.server is not None
    return len(served.serve.server.server_state.connections)


async def until(condition: object, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.02)


def masked(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A frame as a client sends it."""
    size = len(payload)
    head = bytes([opcode | (0x80 if final else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0xFE]) + struct.pack("!H", size)
    else:
        head += bytes([0xFF]) + struct.pack("!Q", size)
    return head + bytes(4) + payload  # a mask of zeros changes nothing


async def deaf(served: Served, message: bytes) -> socket.socket:
    """A websocket's client that says this and never reads again."""

    def connect() -> socket.socket:
        client = socket.create_connection(("127.0.0.1", served.port), timeout=10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(HANDSHAKE.format(more="").encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += client.recv(1)
        client.sendall(masked(1, message))
        return client

    return await asyncio.to_thread(connect)


async def drip(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Sends a byte now and then, until it cannot."""
    with contextlib.suppress(ConnectionError):
        for byte in text:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.2)


async def test_what_is_small_is_sent_at_once(served: Served) -> None:
    """Nagle's algorithm would hold the body back until the client confirms the head: 40 ms."""
    _, _ = await raw(served)
    await until(lambda: connections(served) == 2)
    assert served.serve.server is not None
    for protocol in served.serve.server.server_state.connections:
        peer = protocol.transport.get_extra_info("socket")
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_a_request_that_never_ends_is_ended(served: Served) -> None:
    silent, _ = await raw(served)
    head, head_writer = await raw(served, "GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    body, body_writer = await raw(
        served,
        "POST /api/settings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        "Content-Length: 1000\r\n\r\n{",
    )
    second, second_writer = await raw(
        served, "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    )
    await second.readuntil(b'{"status":"ok"}')
    dripping = [
        asyncio.create_task(drip(head_writer, b"X-A: " + b"a" * 500)),
        asyncio.create_task(drip(body_writer, b" " * 500)),
        asyncio.create_task(drip(second_writer, b"GET /health/live HTTP/1.1\r\n" + b"a" * 500)),
    ]
    waited = await asyncio.gather(
        *(seconds_until_closed(one) for one in (silent, head, body, second))
    )
    assert max(waited) <= DROPPED_SECONDS
    assert min(waited) >= RECEIPT_SECONDS - 1, "and not before their time"
    for task in dripping:
        task.cancel()
    await until(lambda: connections(served) <= 1)


async def test_many_silent_connections_hold_nobody_up(served: Served) -> None:
    silent = [await raw(served) for _ in range(300)]
    began = time.monotonic()
    assert (await served.get("/api/health"))[0] == 200
    assert time.monotonic() - began < DROPPED_SECONDS / 2
    await asyncio.gather(*(seconds_until_closed(reader) for reader, _ in silent))
    assert time.monotonic() - began <= DROPPED_SECONDS


async def test_a_head_without_end_is_refused(served: Served) -> None:
    fits = "a" * (LARGEST_HEAD // 2)
    status, _, _ = await served.get("/health/live", headers={"X-A": fits[:8000]})
    assert status == 200
    reader, _ = await raw(
        served, "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: " + "a" * 2 * LARGEST_HEAD
    )
    assert (await reader.read()).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +5\r\n",
        "X-A : b\r\n",
        " folded\r\n",
        "X-A: a\x00b\r\n",
    ],
)
async def test_a_head_of_two_minds_is_refused(served: Served, head: str) -> None:
    reader, _ = await raw(
        served,
        "POST /api/settings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"{head}\r\n0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    )
    async with asyncio.timeout(15):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert b"200 OK" not in answer, "what was smuggled in is not answered"


async def sip(client: socket.socket) -> None:
    """Reads a byte now and then, until it cannot."""
    client.setblocking(False)
    with contextlib.suppress(ConnectionError):
        while await asyncio.get_running_loop().sock_recv(client, 1):
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("sips", [False, True], ids=["reads nothing", "reads a byte at a time"])
async def test_who_does_not_read_is_dropped_and_its_socket_is_gone(
    served: Served, sips: bool
) -> None:
    """Nearly everything that is sent to it stays where it is."""
    async with served.socket(subscribe={"channels": ["alerts", "metrics"]}) as reader:
        await reader.hear("subscribed")
        lazy = await deaf(served, b'{"type":"subscribe","channels":["alerts","metrics"]}')
        sipping = asyncio.create_task(sip(lazy)) if sips else None
        await until(lambda: len(served.serve.hub.clients) == 2)
        before = connections(served)
        began = time.monotonic()

        async def seconds_until_dropped() -> float:
            await until(lambda: len(served.serve.hub.clients) == 1, 2 * DROPPED_SECONDS)
            return time.monotonic() - began

        dropping = asyncio.create_task(seconds_until_dropped())
        told = 0
        while not dropping.done():
            for _ in range(20):
                await served.publish_metrics()
            alert = await served.publish()
            heard = await reader.hear("alert")
            assert heard["data"]["id"] == alert.id
            told += 1
            await asyncio.sleep(0.05)
        assert await dropping <= DROPPED_SECONDS
        await until(lambda: connections(served) == before - 1, 2)
        assert told > 10, "meanwhile the other one was told everything"
        if sipping is not None:
            sipping.cancel()
        lazy.close()


async def test_who_answers_no_ping_is_dropped(served: Served) -> None:
    """It has nothing to read: only its silence tells that it is gone."""
    dead = await deaf(served, b'{"type":"subscribe"}')
    async with served.socket(subscribe={}) as living:
        await until(lambda: len(served.serve.hub.clients) == 2)
        began = time.monotonic()
        listening = asyncio.create_task(living.ended(30))
        await until(lambda: len(served.serve.hub.clients) == 1, 2 * DROPPED_SECONDS)
        assert time.monotonic() - began <= DROPPED_SECONDS
        assert not listening.done(), "who answers stays"
        listening.cancel()
    dead.close()


@pytest.mark.parametrize("kind", ["one", "fragments"])
async def test_a_message_that_is_too_large_ends_it(served: Served, kind: str) -> None:
    reader, writer = await raw(served, HANDSHAKE.format(more=""))
    await reader.readuntil(b"\r\n\r\n")
    if kind == "one":
        writer.write(masked(1, b"a" * (LARGEST_MESSAGE + 1)))
    else:
        writer.write(masked(1, b"a" * 1000, final=False))
        for _ in range(LARGEST_MESSAGE // 1000 + 1):
            writer.write(masked(0, b"a" * 1000, final=False))
    assert await close_code(reader) == 1009


async def close_code(reader: asyncio.StreamReader) -> int:
    """The code of the close frame that comes, whatever comes before it."""
    async with asyncio.timeout(15):
        while True:
            first, second = await reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2))
            payload = await reader.readexactly(size)
            if first & 0x0F == 8:
                return int.from_bytes(payload[:2])


async def test_who_talks_without_end_is_ended(served: Served) -> None:
    async with served.socket() as client:
        with contextlib.suppress(ConnectionError):
            for _ in range(50 * MESSAGES_AT_ONCE):
                await client.say({"type": "pong"})
        assert await client.ended() == 1008
    async with served.socket(subscribe={}) as calm:
        assert (await calm.hear())["type"] == "subscribed"


async def test_rubbish_is_answered_and_does_not_end_it(served: Served) -> None:
    async with served.socket() as client:
        await client.say("rubbish")
        assert (await client.hear())["error"] == "invalid"
        await client.say({"type": "subscribe", "symbols": ["(a+)+$"] * 3})
        assert (await client.hear())["type"] == "subscribed"


async def test_nothing_is_compressed(served: Served) -> None:
    async with served.http.ws_connect(
        served.serve.address + "/ws/alerts", compress=15
    ) as websocket:
        assert not websocket.compress


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("own", True),
        ("https://friend.example", True),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
        ("https://friend.example.evil.example", False),
        ("http://127.0.0.1", False),
    ],
)
async def test_pages_elsewhere_may_not_connect(
    tmp_path: Path, origin: str | None, *, allowed: bool
) -> None:
    async with serving(tmp_path / "s.db", origins=("https://friend.example",)) as served:
        if origin == "own":
            origin = served.serve.address
        headers = {} if origin is None else {"Origin": origin}
        if allowed:
            async with served.socket(subscribe={}, headers=headers) as client:
                assert (await client.hear())["type"] == "subscribed"
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with served.socket(headers=headers):
                    pass
            assert refused.value.status == 403


async def test_a_page_elsewhere_may_not_use_another_name_for_this_machine(served: Served) -> None:
    for host, status in (
        ("127.0.0.1", 200),
        ("localhost:80", 200),
        ("evil.example", 400),
        ("", 400),
    ):
        assert (await served.get("/health/live", headers={"Host": host}))[0] == status


async def test_a_stop_says_goodbye_and_is_quick(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(tmp_path / "s.db"))
        clients = [await stack.enter_async_context(served.socket(subscribe={})) for _ in range(50)]
        lazy = await deaf(served, b'{"type":"subscribe"}')
        for client in clients:
            await client.hear("subscribed")
        began = time.monotonic()
        served.serve.stop()
        codes = await asyncio.gather(*(client.ended() for client in clients))
        assert set(codes) == {1001}
        await until(lambda: connections(served) == 0)
        assert time.monotonic() - began <= 5
        lazy.close()


async def test_there_is_room_for_so_many_clients(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db", clients=2) as served, served.socket(), served.socket():
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with served.socket():
                pass
        assert refused.value.status == 503


async def test_memory_is_given_back_when_clients_go(served: Served) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with served.socket(subscribe={}) as client:
        await client.hear()
    await until(lambda: connections(served) <= 1)
    before = count()
    for _ in range(50):
        async with served.socket(subscribe={}) as client:
            await client.hear()
    await until(lambda: connections(served) <= 1)
    await until(lambda: count() <= before + 1)
    assert not served.serve.hub.clients


async def test_who_pings_without_end_is_ended(served: Served) -> None:
    reader, writer = await raw(served, HANDSHAKE.format(more=""))
    await reader.readuntil(b"\r\n\r\n")
    calm, calm_writer = await raw(served, HANDSHAKE.format(more=""))
    await calm.readuntil(b"\r\n\r\n")
    calm_writer.write(masked(9, b"are you there"))
    assert await calm.readexactly(2 + 13) == b"\x8a\x0dare you there"
    with contextlib.suppress(ConnectionError):
        for _ in range(2_000):
            writer.write(masked(9, b"a"))
        await writer.drain()
    assert await seconds_until_closed(reader) < DROPPED_SECONDS


async def test_a_herd_that_comes_back_at_once_is_let_in(tmp_path: Path) -> None:
    """Five hundred clients are told all that they missed, while requests go on."""
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(tmp_path / "s.db"))
        connector = aiohttp.TCPConnector(limit=0)
        served.http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        missed = [await served.publish() for _ in range(5)]
        epoch = served.serve.hub.epoch
        began = time.monotonic()

        async def come() -> list[str]:
            wish = {"since": 0, "epoch": epoch}
            client = await stack.enter_async_context(served.socket(subscribe=wish))
            assert (await client.hear("subscribed", 30))["recovered"] is True
            return [(await client.hear("alert", 30))["data"]["id"] for _ in missed]

        told = await asyncio.gather(*(come() for _ in range(500)))
        assert time.monotonic() - began <= 30
        assert all(one == [alert.id for alert in missed] for one in told)
        assert (await served.get("/api/health"))[0] == 200


async def test_ranges_without_number_cost_nothing(served: Served) -> None:
    began = time.monotonic()
    ranges = "bytes=" + ",".join(f"{n}-{n + 1}" for n in range(0, 4000, 2))
    status, _, _ = await served.get("/index.html", headers={"Range": ranges})
    assert status in {200, 206, 400, 416}
    assert time.monotonic() - began < 5


async def test_only_this_machine_is_listened_to_by_default(served: Served) -> None:
    assert served.serve.address.startswith("http://127.0.0.1:")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.2", served.port)
