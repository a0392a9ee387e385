"""How fast the service tells its clients and answers requests, beside a bare broadcast loop.

The service and the bare loop run in a process of their own, on a core of their own; clients are
plain connections of this one. Its own lateness is measured: a run in which it was late says little.

1. Alert on the bus to the last of many websocket clients, in turns with a bare Starlette loop that
   sends the same bytes to as many clients with `send_text`, one after the other.
2. The same with one client in twenty that never reads.
3. Requests at a steady rate, mixed routes, timed from when each was due, while 500 symbols close.
4. What the service takes after many connections have come and gone.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import math
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import screener
from screenerd.bus.memory import MemoryBus
from screenerd.clock import SystemClock
from screenerd.model import Alert, Health, Stamps, SystemStatus
from screenerd.run import Roles, up
from screenerd.serve import encode
from screenerd.serve.access.keys import KeyFile
from screenerd.serve.service import Serve
from screenerd.serve.settings import ServeConfig
from screenerd.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from benches.live import stage
else:
    import stage

ALERT_EVERY = 0.1
LEFT_OUT = 10
ROUTES = (
    "/api/alerts?limit=20", "/api/alerts?symbol={symbol}&limit=5", "/api/metrics/{symbol}",
    "/api/metrics/{symbol}", "/api/candles?symbol={symbol}&limit=100", "/api/health",
    "/api/symbols", "/api/rules", "/api/sparklines", "/health/ready",
)  # fmt: skip
UNLIMITED: dict[str, Any] = {
    "port": 0,
    "requests_a_minute": 10_000_000,
    "handshakes_a_minute": 10_000_000,
    "clients": 10_000,
}


# What runs in the other process.


def an_alert(number: int) -> Alert:
    """An alert with evidence, as they are."""
    rules = screener.RuleSet.load("futures")
    rule = rules["big_bull_60m"]
    at = stage.START_MS + number * 60_000
    return Alert(
        id=f"{number:08}-0000-5000-8000-000000000000",
        triggered_at=at,
        exchange="binance",
        symbol="BTCUSDT",
        rule=rule.name,
        title=rule.title,
        direction=rule.direction,
        timeframe=rule.timeframe,
        price=65_432.1,
        quote_volume=1.5e8,
        change=1.9,
        vcp=0.3,
        state="confirmed",
        rule_version=rule.version,
        evidence=dict.fromkeys(rule.metrics, 1.23456789),
        stamps=Stamps(at, at + 30, at + 41, at + 45),
    )


async def serve_alerts(pipe: Connection, folder: Path) -> None:
    """The service on a bus of its own; publishes as many alerts as it is told to."""
    clock, bus = SystemClock(), MemoryBus()
    status = SystemStatus("binance", Health("ok"), {}, clock.now_ms(), 1.0, 0, 0, 0)
    async with SqliteStore(folder / "serving.db", clock) as store:
        serve = Serve(
            bus,
            store,
            clock,
            ServeConfig(**UNLIMITED),
            rules=screener.RuleSet.load("futures"),
            keys=KeyFile(folder / "keys"),
            status=lambda: status,
            symbols=lambda: (),
            prometheus=lambda: b"",
        )
        running = asyncio.create_task(serve.run())
        while serve.server is None or not serve.server.started:
            await asyncio.sleep(0.01)
        pipe.send(int(serve.address.rpartition(":")[2]))

        async def publish(number: int) -> None:
            await bus.publish(an_alert(number))

        await obey(pipe, publish, lambda: len(serve.hub.clients))
        await bus.close()
        serve.stop()
        await running


async def serve_bare(pipe: Connection, _folder: Path) -> None:
    """A loop over all clients that sends each the same text."""
    import uvicorn

    clients: set[WebSocket] = set()
    rules = screener.RuleSet.load("futures")

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        clients.add(websocket)
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await websocket.receive_text()
        clients.discard(websocket)

    async def publish(number: int) -> None:
        data = orjson.dumps(encode.alert_value(an_alert(number), rules)).decode()
        text = f'{{"type":"alert","offset":{number + 1},"data":{data}}}'
        for client in list(clients):
            await client.send_text(text)

    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[WebSocketRoute("/ws/alerts", endpoint)])
    config = uvicorn.Config(app, log_config=None, access_log=False, ws_per_message_deflate=False)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    pipe.send(listener.getsockname()[1])
    await obey(pipe, publish, lambda: len(clients))
    server.should_exit = True
    await running


async def obey(pipe: Connection, publish: Callable[[int], Any], clients: Callable[[], int]) -> None:
    """Does what it is told through the pipe, until that is closed."""
    number = 0
    while True:
        try:
            order = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        if order == "clients":
            pipe.send(clients())
        elif order == "memory":
            pipe.send(resident())
        else:
            told: dict[int, float] = {}
            for _ in range(order):
                number += 1
                told[number] = time.monotonic()
                await publish(number - 1)
                await asyncio.sleep(ALERT_EVERY)
            pipe.send(told)


def resident() -> float:
    """Memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _run(work: Callable[[Connection, Path], Any], pipe: Connection, path: Path, core: int) -> None:
    import uvloop

    stage.pin(core)
    with stage.logging(path):
        uvloop.run(work(pipe, path))


@contextlib.contextmanager
def apart(
    work: Callable[[Connection, Path], Any], folder: Path, core: int | None
) -> Iterator[tuple[int, Connection]]:
    """Runs it in a process of its own; gives its port, and the pipe."""
    ours, theirs = stage.PROCESSES.Pipe()
    process = stage.PROCESSES.Process(target=_run, args=(work, theirs, folder, core), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv(), ours
    finally:
        ours.close()
        process.join(15)
        process.kill()


# The clients.


@dataclass(slots=True)
class Heard:
    """When how many clients had heard of each alert."""

    last: dict[int, float] = field(default_factory=dict)
    count: dict[int, int] = field(default_factory=dict)

    def add(self, offset: int, now: float) -> None:
        """A client has heard of an alert."""
        self.last[offset] = now
        self.count[offset] = self.count.get(offset, 0) + 1


class Client(asyncio.Protocol):
    """A websocket that subscribes and notes when alerts come; answers pings."""

    def __init__(self, heard: Heard) -> None:
        """Takes where to note."""
        self.heard = heard
        self.ready = asyncio.get_running_loop().create_future()
        self._shaken = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the websocket."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /ws/alerts HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Frames, or the end of the handshake."""
        now = time.monotonic()
        data = self._rest + data
        if not self._shaken:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._shaken = True
            self.transport.write(frame(1, b'{"type":"subscribe"}'))
            self.ready.set_result(None)
        self._rest = self._take(data, now)

    def _take(self, data: bytes, now: float) -> bytes:
        """Whole frames; gives what is left."""
        while len(data) >= 2:
            size, at = data[1] & 0x7F, 2
            if size == 126:
                size, at = int.from_bytes(data[2:4]), 4
            if len(data) < at + size:
                break
            payload = data[at : at + size]
            if data[0] & 0x0F == 9:
                self.transport.write(frame(10, payload))
            elif payload.startswith(b'{"type":"alert"'):
                self.heard.add(int(payload[25 : payload.index(b",", 25)]), now)
            data = data[at + size :]
        return data


def frame(opcode: int, payload: bytes) -> bytes:
    """A short frame as a client sends it."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


@contextlib.asynccontextmanager
async def clients(port: int, count: int, heard: Heard, deaf: int = 0) -> AsyncIterator[None]:
    """So many clients, some of which never read."""
    loop = asyncio.get_running_loop()
    open_ = [
        await loop.create_connection(lambda: Client(heard), "127.0.0.1", port) for _ in range(count)
    ]
    await asyncio.gather(*(client.ready for _, client in open_))
    for transport, _ in open_[:deaf]:
        transport.pause_reading()
    await asyncio.sleep(1)
    try:
        yield
    finally:
        for transport, _ in open_:
            transport.abort()
        await asyncio.sleep(0.2)


async def measure_lag(late: list[float]) -> None:
    """How late this process is, by a timer of 5 ms."""
    while True:
        due = time.monotonic() + 0.005
        await asyncio.sleep(0.005)
        late.append((time.monotonic() - due) * 1000)


def summary(times: list[float], late: list[float]) -> str:
    """Times in a line, and how late who measured them was."""
    told = "  ".join(
        f"p{100 * share:g} {quantile(times, share):6.1f}" for share in (0.5, 0.95, 0.99)
    )
    return f"{told}  max {max(times):6.1f} ms  (generator late: p99 {quantile(late, 0.99):.1f} ms)"


def quantile(values: list[float], share: float) -> float:
    """A quantile of values, which may be none."""
    ordered = sorted(values)
    return ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1] if ordered else math.nan


async def broadcast(port: int, pipe: Connection, count: int, alerts: int, deaf: int = 0) -> str:
    """Alert on the bus to the last client that reads."""
    heard, late = Heard(), []  # type: tuple[Heard, list[float]]
    async with clients(port, count, heard, deaf):
        lag = asyncio.create_task(measure_lag(late))
        pipe.send(alerts)
        told: dict[int, float] = await asyncio.to_thread(pipe.recv)
        await asyncio.sleep(1)
        lag.cancel()
    numbers = sorted(told)[LEFT_OUT:]
    lacking = [number for number in numbers if heard.count.get(number, 0) < count - deaf]
    times = [
        (heard.last[number] - told[number]) * 1000 for number in numbers if number in heard.last
    ]
    assert not lacking, f"{len(lacking)} alerts were not heard by all, {lacking[:5]}"
    return summary(times, late)


async def come_and_go(port: int, count: int, at_once: int = 100) -> None:
    """So many connections, some at a time."""
    heard = Heard()
    loop = asyncio.get_running_loop()

    async def one() -> None:
        transport, client = await loop.create_connection(lambda: Client(heard), "127.0.0.1", port)
        await client.ready
        transport.abort()

    for _ in range(count // at_once):
        await asyncio.gather(*(one() for _ in range(at_once)))


# Requests.


@dataclass(slots=True)
class Answers:
    """How long requests took, ms, by route; how late they were sent; how many were not 200."""

    times: dict[str, list[float]] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    bad: int = 0

    def told(self) -> str:
        """A line for all of them, then one a route."""
        everything = [time for its in self.times.values() for time in its]
        lines = [f"{summary(everything, self.late)}; {self.bad} of {len(everything)} not 200"]
        for route, its in sorted(self.times.items()):
            lines.append(
                f"  {route:<40} p50 {quantile(its, 0.5):6.1f}  p99 {quantile(its, 0.99):6.1f}"
            )
        return "\n".join(lines)


async def requests(port: int, rate: int, seconds: float, symbols: list[str]) -> Answers:
    """Requests when they are due, over a few connections; times count from when each was due."""
    waiting: asyncio.Queue[tuple[float, str, bytes] | None] = asyncio.Queue()
    answers = Answers({route: [] for route in ROUTES})

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (order := await waiting.get()) is not None:
            due, route, path = order
            writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            at = head.lower().index(b"content-length: ") + 16
            await reader.readexactly(int(head[at : head.index(b"\r", at)]))
            answers.times[route].append((time.monotonic() - due) * 1000)
            answers.bad += not head.startswith(b"HTTP/1.1 200")
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(connection())
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            due = began + number / rate
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            answers.late.append((time.monotonic() - due) * 1000)
            route = ROUTES[number % len(ROUTES)]
            path = route.format(symbol=quote(symbols[number // len(ROUTES) % len(symbols)]))
            waiting.put_nowait((due, route, path.encode()))
        for _ in range(32):
            waiting.put_nowait(None)
    return answers


async def follow_and_serve(pipe: Connection, folder: Path) -> None:
    """The whole of `screenerd up`; told where the exchange is."""
    rest, stream, clock = pipe.recv()
    config = stage.config(rest, stream, folder / "up.db")
    config = config.model_copy(update={"serve": ServeConfig(**UNLIMITED)})
    ready: asyncio.Future[Roles] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(up(config, clock=clock, ready=ready))
    roles = await ready
    while not roles.ingest.status.bars_ready:
        assert not running.done(), "the screener has ended by itself"
        await asyncio.sleep(0.1)
    assert roles.serve is not None
    symbols = sorted(roles.ingest.known_until())
    pipe.send((int(roles.serve.address.rpartition(":")[2]), symbols, resident()))
    with contextlib.suppress(EOFError, OSError):
        while await asyncio.to_thread(pipe.recv):
            pipe.send(resident())
    roles.stop.set()
    await running


async def measure_requests(
    folder: Path, cores: tuple[int | None, ...], symbols: int, rate: int, minutes: int
) -> None:
    """Requests while so many symbols close, at real speed."""
    clock = stage.MarketClock(1.0, time.monotonic())
    with stage.exchange(stage.Setup(symbols, clock, 1000, cores[0])) as exchange:
        ours, theirs = stage.PROCESSES.Pipe()
        process = stage.PROCESSES.Process(
            target=_run, args=(follow_and_serve, theirs, folder, cores[1]), daemon=True
        )
        process.start()
        theirs.close()
        ours.send((exchange.rest_url, exchange.stream_url, clock))
        port, names, memory = await asyncio.to_thread(ours.recv)
        await asyncio.sleep(stage.wait_for_minute(clock, -10))
        answers = await requests(port, rate, 60 * minutes, names)
        ours.send("memory")
        after = await asyncio.to_thread(ours.recv)
        ours.close()
        process.join(15)
        process.kill()
    print(
        f"{rate} requests a second, mixed routes, {symbols} symbols, {minutes} closing minutes: "
        f"{answers.told()}\n"
        f"the whole process has {memory:.0f} MB when warm, {after:.0f} MB at the end"
    )


async def measure(
    arguments: argparse.Namespace, folder: Path, cores: tuple[int | None, ...]
) -> None:
    """Everything, one after the other."""
    for count in arguments.clients:
        for name, work in (("bare", serve_bare), ("service", serve_alerts)) * 2:
            with apart(work, folder, cores[1]) as (port, pipe):
                print(
                    f"{count} clients, {name:<8}",
                    await broadcast(port, pipe, count, arguments.alerts),
                )
    count = arguments.clients[0]
    with apart(serve_alerts, folder, cores[1]) as (port, pipe):
        told = await broadcast(port, pipe, count, arguments.alerts, deaf=count // 20)
        print(f"{count} clients, one in twenty deaf  ", told)
    with apart(serve_alerts, folder, cores[1]) as (port, pipe):
        for _ in range(5):
            pipe.send("memory")
            print(f"memory {pipe.recv():.1f} MB", end="; ", flush=True)
            await come_and_go(port, arguments.connections // 5)
        await asyncio.sleep(3)
        pipe.send("memory")
        print(f"{pipe.recv():.1f} MB after {arguments.connections} connections", end="; ")
        pipe.send("clients")
        print(f"{pipe.recv()} clients left")
    if arguments.rate:
        await measure_requests(folder, cores, arguments.symbols, arguments.rate, arguments.minutes)


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clients", type=int, nargs="+", default=[500, 1000])
    parser.add_argument("--alerts", type=int, default=200)
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--minutes", type=int, default=3)
    arguments = parser.parse_args()
    cores = stage.cores()
    stage.pin(cores[0])
    print(f"load {stage.load()}")
    with stage.scratch() as folder, stage.logging(folder):
        asyncio.run(measure(arguments, folder, cores))
    print(f"load {stage.load()}")


if __name__ == "__main__":
    main()
