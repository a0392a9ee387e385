"""The connection to the broker, where it breaks in ways that a client by itself does not come over.

Brokers that stand still, sockets that are never emptied, an end that comes together with an answer.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import orjson
import pytest
import uvloop
from nats.js import JetStreamContext
from nats.js.errors import BadRequestError, ServiceUnavailableError
from nats_server import NatsServer
from test_bus_jetstream import settings as usual
from test_bus_jetstream import until

from screenerd.bus.jetstream import bus as module
from screenerd.bus.jetstream import streams
from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.connection import BusCounters, Connection
from screenerd.bus.jetstream.encode import Outgoing
from screenerd.bus.jetstream.settings import BusSettings
from screenerd.clock import SystemClock
from screenerd.cluster.scale import Scale
from screenerd.model import Report

SECONDS = 60.0
"""What any of this may take; it takes a few."""

MANY = [[Outgoing(f"candles.1m.batch.x.{n}", b"x" * 250_000, f"id-{n}")] for n in range(8)]
"""Two megabytes, which no socket takes at once."""


def settings(server: NatsServer, **changes: object) -> BusSettings:
    """As usual, but an answer, to an attempt to connect as well, is not waited for for long."""
    return usual(server, **({"ack_seconds": 2} | changes))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[NatsServer, NatsServer]]:
    both = NatsServer(tmp_path / "one").start(), NatsServer(tmp_path / "other").start()
    yield both
    for server in both:
        server.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats").start()
    yield server
    server.kill()


@asynccontextmanager
async def ticking() -> AsyncIterator[list[float]]:
    """How long nothing had a turn, each time, seconds."""
    turns: list[float] = []

    async def tick() -> None:
        while True:
            begun = time.monotonic()
            await asyncio.sleep(0.02)
            turns.append(time.monotonic() - begun)

    task = asyncio.create_task(tick())
    try:
        yield turns
    finally:
        task.cancel()


def run(work: Callable[[], object]) -> None:
    """As the roles run, on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work(), SECONDS))  # type: ignore[arg-type]


def test_a_broker_that_stands_still_with_much_on_its_way_is_left_for_another(
    servers: tuple[NatsServer, NatsServer],
) -> None:
    """Its socket takes nothing more, so it is never closed in good order."""
    one, other = servers

    async def work() -> None:
        set_up = settings(one, servers=(one.url, other.url), ping_seconds=1)
        async with JetStreamBus(set_up, SystemClock()) as bus, ticking() as turns:
            url = bus.connection.client.connected_url
            assert url is not None
            still = next(server for server in servers if server.url == url.geturl())
            still.signal(signal.SIGSTOP)
            await bus._publisher.put(MANY)
            found = bus.connection.client.connected_url
            assert found is not None
            assert found.geturl() != still.url
            assert max(turns) < SECONDS / 4, "or nothing else had a turn meanwhile"

    run(work)


@dataclass
class Passage:
    """A way to the broker, which greets and hangs up while it is `bad`."""

    server: NatsServer
    bad: bool = False
    refused: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hands on what both say."""
        there, back = await asyncio.open_connection("127.0.0.1", self.server.port)
        if self.bad:
            self.refused += 1
            writer.write(await there.readline())
            await writer.drain()
            at_once = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            writer.transport.abort()
            back.close()
            return
        self._open |= {writer, back}
        await asyncio.gather(self._pipe(reader, back), self._pipe(there, writer))

    def cut(self) -> None:
        """Ends what goes through it."""
        for writer in self._open:
            writer.transport.abort()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


def test_a_broker_that_greets_and_hangs_up_is_asked_again(server: NatsServer) -> None:
    async def work() -> None:
        passage = Passage(server)
        listening = await asyncio.start_server(passage.serve, "127.0.0.1", 0)
        url = f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with JetStreamBus(settings(server, servers=(url,)), SystemClock()) as bus:
            passage.bad = True
            passage.cut()
            await until(lambda: passage.refused > 5)
            passage.bad = False
            await until(lambda: bus.connection.is_up)
            await bus._publisher.put([[Outgoing("candles.1m.batch.x.0", b"{}", "an-id")]])
        listening.close()

    run(work)


@pytest.mark.parametrize("there_is_one", [True, False])
def test_who_is_cancelled_while_the_broker_answers_ends(
    server: NatsServer, there_is_one: bool
) -> None:
    """A worker that has lost its lease would go on, beside the one that has it."""

    async def work() -> None:
        async with JetStreamBus(settings(server), SystemClock()) as bus:
            scale = Scale(bus, 1)
            if there_is_one:  # or each answer is an error
                await scale.set(1)

            async def ask() -> None:
                while await scale.workers() > 0:
                    await asyncio.sleep(0)

            for _ in range(300):
                asking = asyncio.create_task(ask())
                await asyncio.sleep(random.uniform(0.003, 0.01))
                asking.cancel()
                await asyncio.wait({asking}, timeout=SECONDS / 2)
                assert asking.cancelled()

    run(work)


def test_who_is_cancelled_while_a_socket_is_stuck_ends(server: NatsServer) -> None:
    async def work() -> None:
        async with JetStreamBus(settings(server), SystemClock()) as bus:
            server.signal(signal.SIGSTOP)
            tasks = [asyncio.create_task(bus._publisher.put([one])) for one in MANY * 2]
            await asyncio.sleep(1)
            for task in tasks:
                task.cancel()
            _, left = await asyncio.wait(tasks, timeout=10)
            assert not left

    run(work)


@dataclass
class Greeter:
    """A broker that says which others there are, and answers no more than a client has to know."""

    others: list[str] = field(default_factory=list)
    clients: list[asyncio.StreamWriter] = field(default_factory=list)
    url: str = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listens meanwhile."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield
        server.close()
        self.cut()

    def cut(self) -> None:
        """Ends its connections."""
        for writer in self.clients:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(writer)
        told = {"server_id": "x", "version": "2.10.27", "max_payload": 1_000_000, "headers": True}
        told["connect_urls"] = self.others
        writer.write(b"INFO " + orjson.dumps(told) + b"\r\n")
        with suppress(OSError):
            while line := await reader.readline():
                if line.startswith(b"PING"):
                    writer.write(b"PONG\r\n")


def _again(connection: Connection, times: int) -> bool:
    return connection.counters.reconnects >= times


def test_servers_that_others_have_told_of_are_not_forgotten() -> None:
    async def work() -> None:
        first, *others = (Greeter(), Greeter(), Greeter())
        async with others[0].listening(), others[1].listening():
            async with first.listening():
                first.others[:] = [one.url for one in others]
                base = {"servers": f"nats://{first.url}", "monitor": None, "reconnect_seconds": 0.1}
                connection = Connection(
                    BusSettings.model_validate(base), "test", SystemClock(), BusCounters()
                )
                await connection.open()
                keeping = asyncio.create_task(connection.keep())
            # The only one it was told of at the beginning is gone for good.
            for times in range(1, 5):
                await until(partial(_again, connection, times))
                for one in others:
                    one.cut()
            keeping.cancel()
            await connection.close()

    run(work)


def test_what_is_not_kept_is_heard_once_after_a_connection_was_lost_at_its_beginning(
    server: NatsServer,
) -> None:
    async def work() -> None:
        async with JetStreamBus(settings(server, ping_seconds=1), SystemClock()) as bus:
            server.signal(signal.SIGSTOP)
            heard = bus.subscribe("serve", Report, limit=1000)
            await asyncio.sleep(0.5)  # it has asked to hear, and waits for the answer
            server.kill()
            server.start()
            while heard.status.waiting == 0:  # what is told before it hears is heard by nobody
                await bus.publish(Report("ingest", "a", 0, {}))
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
            before = heard.status.waiting
            for number in range(5):
                await bus.publish(Report("ingest", "a", number, {}))
            await until(lambda: heard.status.waiting >= before + 5)
            await asyncio.sleep(0.3)
            assert heard.status.waiting == before + 5

    run(work)


@pytest.mark.parametrize(
    ("trouble", "ends"),
    [
        (TimeoutError(), False),
        (ServiceUnavailableError(code=503, description="no leader yet"), False),
        (BadRequestError(code=400, description="storage cannot be changed"), True),
    ],
)
def test_a_broker_that_cannot_yet_is_waited_for_and_one_that_refuses_is_told(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch, trouble: Exception, ends: bool
) -> None:
    asked, made = 0, streams.ensure

    async def at_last(js: JetStreamContext, set_up: BusSettings) -> object:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise trouble
        return await made(js, set_up)

    async def work() -> None:
        monkeypatch.setattr(module, "ensure", at_last)
        async with JetStreamBus(settings(server), SystemClock()) as bus:
            await bus._publisher.put([[Outgoing("candles.1m.batch.x.0", b"{}", "an-id")]])

    if ends:
        with pytest.raises(type(trouble)):
            run(work)
        assert asked == 1
    else:
        run(work)
        assert asked >= 3


def test_a_socket_that_is_not_closed_in_good_order_keeps_no_bus_from_its_end(
    server: NatsServer,
) -> None:
    async def work() -> None:
        begun = asyncio.get_running_loop().time()
        async with JetStreamBus(settings(server), SystemClock()) as bus:
            server.signal(signal.SIGSTOP)
            publishing = asyncio.create_task(bus._publisher.put(MANY))
            await asyncio.sleep(1)
            begun = asyncio.get_running_loop().time()
        publishing.cancel()
        assert asyncio.get_running_loop().time() - begun < SECONDS / 2

    run(work)
