"""Every role a process of its own, over a real broker and a real database, on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from killing import Left, Promise, SharedClock
from nats_server import NatsServer
from ports import free_port
from postgres_server import Postgres
from rig import START_MS
from store_values import journalled

from screenerd.clock import SystemClock
from screenerd.cluster.parts import MOST_WAITING
from screenerd.demo import DemoExchange, Market
from screenerd.model import MINUTE_MS
from screenerd.store.port import StoreError
from screenerd.store.postgres.reader import PostgresReader

ROLE = Path(__file__).with_name("clustered.py")
ROLES = ("ingest", "screen", "persist", "notify", "serve")
SECONDS = 120.0
"""What is not so after that long never will be."""


@dataclass(eq=False)
class Role:
    """A process of a role, and where it answers."""

    name: str
    number: int
    port: int
    process: asyncio.subprocess.Process

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    async def end(self, how: signal.Signals) -> int:
        """Sends a signal; gives the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(how)
        async with asyncio.timeout(SECONDS):
            return await self.process.wait()


@dataclass
class Cluster:
    """What runs; processes are started, killed and asked here."""

    folder: Path
    clock: SharedClock
    market: Market
    exchange: DemoExchange
    nats: NatsServer
    database: Postgres
    http: aiohttp.ClientSession
    settings: dict[str, Any] = field(default_factory=dict)
    roles: list[Role] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    careless: str = ""
    most_waiting: int = MOST_WAITING

    def config(self, role: str, port: int) -> dict[str, Any]:
        """What a process is configured with."""
        told: dict[str, Any] = {
            "exchange": {
                "rest_url": self.addresses.get("rest", self.exchange.rest_url),
                "stream_url": self.addresses.get("stream", self.exchange.stream_url),
            },
            "bus": {
                "servers": [self.addresses.get(f"bus:{role}", self.nats.url)],
                "monitor": self.nats.monitor,
            },
            "store": {
                "url": self.addresses.get(f"store:{role}", self.database.url),
                "path": str(self.folder / "unused.db"),
            },
            "rules": {"floors": False},
            "log": {"format": "json"},
            "serve": {"port": port if role == "serve" else 0, "requests_a_minute": 1_000_000},
            "probe": {"port": 0 if role == "serve" else port},
        }
        for section, values in self.settings.items():
            told[section] = told.get(section, {}) | values
        return told

    async def start(self, name: str, number: int = 0) -> Role:
        """One more process of a role, on the port it had if it ran before."""
        port = next((one.port for one in self.roles if (one.name, one.number) == (name, number)), 0)
        role_port = port or free_port()
        with (self.folder / f"{name}-{number}.log").open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(ROLE), name),
                stdin=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        orders = {
            "config": self.config(name, role_port),
            "clock": asdict(self.clock),
            "careless": self.careless,
            "most_waiting": self.most_waiting,
        }
        assert process.stdin is not None
        process.stdin.write(json.dumps(orders).encode() + b"\n")
        await process.stdin.drain()
        role = Role(name, number, role_port, process)
        self.roles = [one for one in self.roles if (one.name, one.number) != (name, number)]
        self.roles.append(role)
        return role

    def role(self, name: str, number: int = 0) -> Role:
        """The newest process of a role."""
        return next(one for one in self.roles if (one.name, one.number) == (name, number))

    async def get(self, path: str, *, role: Role | None = None) -> tuple[int, Any]:
        """What a process answers, one that serves by default; status 0 if it does not."""
        role = role or self.role("serve")
        try:
            async with self.http.get(f"http://127.0.0.1:{role.port}{path}") as answer:
                text = await answer.text()
                is_json = answer.content_type == "application/json"
                return answer.status, json.loads(text) if is_json else text
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    async def until(self, condition: Callable[[], Any], seconds: float = SECONDS) -> None:
        """Waits for something that is asked again and again, also where asking takes its time."""
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if await found if asyncio.iscoroutine(found) else found:
                    return
                await asyncio.sleep(0.05)

    async def ready(self, *names: str) -> None:
        """Waits until every process of these roles, or of all, says that it is ready."""
        for role in [one for one in self.roles if not names or one.name in names]:
            await self.until(partial(self._is_ready, role))

    async def _is_ready(self, role: Role) -> bool:
        assert role.alive, self.log(role)
        return (await self.get("/health/ready", role=role))[0] == 200

    def log(self, role: Role) -> str:
        """The end of what a process has logged."""
        return (self.folder / f"{role.name}-{role.number}.log").read_text()[-2000:]

    async def well(self, seconds: float = SECONDS) -> None:
        """Waits until every replica that serves says that all is well."""
        told: list[Any] = []

        async def all_say_so() -> bool:
            replicas = [one for one in self.roles if one.name == "serve"]
            told[:] = [await self.get("/api/health", role=one) for one in replicas]
            return all(status == 200 and it["status"] == "healthy" for status, it in told)

        try:
            await self.until(all_say_so, seconds)
        except TimeoutError:
            raise AssertionError(told) from None

    async def end(self) -> None:
        """Ends every process in good order."""
        living = [one for one in self.roles if one.alive]
        codes = await asyncio.gather(*(one.end(signal.SIGTERM) for one in living))
        assert set(codes) <= {0}, dict(zip([one.name for one in living], codes, strict=True))

    async def complete(self, until: int) -> bool:
        """Whether every symbol's minutes that close by then are stored."""
        try:
            async with self.store() as store:
                newest = await store.newest("binance")
        except StoreError:
            return False
        minute = until - MINUTE_MS
        return len(newest) == len(self.market.contracts) and min(newest.values()) >= minute

    async def judged(self, until: int) -> bool:
        """Whether every symbol's alerts that are raised by then are stored.

        They come in order, so one that is raised every minute shows it. Where a minute was lost
        it is not raised for a while: then a later one shows it.
        """
        try:
            async with self.store() as store:
                alerts = await store.alerts(until)
        except StoreError:
            return False
        symbols = {one.symbol for one in alerts if one.rule == "every_minute"}
        return symbols == {one.symbol for one in self.market.contracts}

    async def promise(self, until: int) -> Promise:
        """What the store has to hold by the end."""
        async with self.store() as store:
            tracked = await store.tracked("binance")
        with psycopg.connect(self.database.url) as connection:
            row = connection.execute(
                "SELECT (extract(epoch FROM time) * 1000)::bigint FROM first_seen WHERE name = %s",
                ["screen:binance"],
            ).fetchone()
        assert row is not None
        return Promise(tracked, row[0], until)

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[PostgresReader]:
        """The database, for the test to read."""
        async with PostgresReader(self.database.url, SystemClock()) as store:
            yield store

    async def left(self) -> Left:
        """Everything that is stored."""
        forever = 1 << 52
        async with self.store() as store:
            candles = await store.candles("binance", None, 0, forever)
            journal = await journalled(store, "binance", 0, forever)
            return Left(candles, journal, await store.alerts(0))


@dataclass
class Listener:
    """A websocket client that comes back where it was, at whatever replica there is.

    Attributes:
        heard: the ids of alerts, with their states, as they came.
        again: how often it connected anew.
        gaps: how often it was told that something is missing.
    """

    it: Cluster
    heard: list[tuple[str, str]] = field(default_factory=list)
    again: int = 0
    gaps: int = 0
    _epoch: str | None = None
    _offset: int | None = None

    async def run(self) -> None:
        """Listens until cancelled."""
        while True:
            for role in [one for one in self.it.roles if one.name == "serve" and one.alive]:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                    await self._hear(role.port)
            self.again += 1
            await asyncio.sleep(0.1)

    async def _hear(self, port: int) -> None:
        url = f"http://127.0.0.1:{port}/ws/alerts"
        async with self.it.http.ws_connect(url, timeout=aiohttp.ClientWSTimeout(5)) as socket:
            wish: dict[str, Any] = {"type": "subscribe", "channels": ["alerts"]}
            if self._offset is not None:
                wish |= {"since": self._offset, "epoch": self._epoch}
            await socket.send_json(wish)
            async for message in socket:
                self._take(json.loads(message.data))
                if json.loads(message.data)["type"] == "ping":
                    await socket.send_json({"type": "pong"})

    def _take(self, told: dict[str, Any]) -> None:
        if told["type"] == "subscribed":
            self.gaps += self._offset is not None and not told["recovered"]
            if self._offset is None:
                self._offset = told["offset"]
            self._epoch = told["epoch"]
        elif told["type"] == "alert":
            self._offset = told["offset"]
            self.heard.append((told["data"]["id"], told["data"]["state"]))


@contextlib.asynccontextmanager
async def listening(it: Cluster) -> AsyncIterator[Listener]:
    """A client for the length of a block."""
    listener = Listener(it)
    task = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def clustered(
    folder: Path,
    *roles: tuple[str, int],
    symbols: int = 6,
    speed: float = 15.0,
    idle: bool = False,
    careless: str = "",
    database: dict[str, str] | None = None,
    **settings: dict[str, Any],
) -> AsyncIterator[Cluster]:
    """A broker, a database, a market, and so many processes of each role; all ended after.

    One of each where nothing is said, or none yet where it is to be `idle`. Roles are made
    `careless` on purpose, and the database runs with options, where they are told.
    """
    clock = SharedClock(START_MS, time.monotonic(), speed)
    market = Market(symbols=symbols)
    async with contextlib.AsyncExitStack() as stack:
        nats = NatsServer(folder / "nats").start()
        stack.callback(nats.stop)
        server = stack.enter_context(Postgres.running(**database or {}))
        exchange = await stack.enter_async_context(DemoExchange(market, clock))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5))
        )
        it = Cluster(
            folder, clock, market, exchange, nats, server, http, settings, careless=careless
        )
        try:
            for name, count in () if idle else roles or [(name, 1) for name in ROLES]:
                for number in range(count):
                    await it.start(name, number)
            yield it
        finally:
            for role in it.roles:
                if role.alive:
                    await role.end(signal.SIGKILL)
