"""A process of a role, in the process of the test: what it does to the interpreter it runs in."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from databases import empty
from nats_server import NatsServer
from ports import free_port
from scripted import MemoryStore

from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.leases import JetStreamRecords, Leases
from screenerd.bus.memory import MemoryBus
from screenerd.clock import SystemClock
from screenerd.cluster import process, service
from screenerd.cluster.parts import IngestPart
from screenerd.config import Config
from screenerd.ingest.service import Ingest

pytestmark = pytest.mark.asyncio


@dataclass(frozen=True)
class Place:
    """Where processes are configured to work."""

    config: Config
    port: int

    async def until_ready(self) -> None:
        """Waits until the process says that it is."""
        url = f"http://127.0.0.1:{self.port}/health/ready"
        async with aiohttp.ClientSession() as http, asyncio.timeout(30):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(url) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.02)


@pytest.fixture
def place(
    database: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A broker of the test's own, and an empty database."""
    empty(database)
    server = NatsServer(tmp_path_factory.mktemp("nats")).start()
    port = free_port()
    config = {
        "bus": {"servers": [server.url], "monitor": server.monitor},
        "store": {"url": database, "path": str(tmp_path / "unused.db")},
        "screen": {"workers": 1},
        "probe": {"port": port},
        "serve": {"port": free_port()},
    }
    yield Place(Config.model_validate(config), port)
    server.stop()


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs a process, which has to end as it is told to."""
    task = asyncio.create_task(work)
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        async with asyncio.timeout(30):
            with pytest.raises(asyncio.CancelledError):
                await task


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("role", "turn"), [("screen", "screen.0"), ("persist", "persist"), ("notify", "notify")]
)
async def test_who_works_collects_garbage_between_minutes_and_who_stores_gives_way(
    role: str, turn: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    nice: list[int] = []
    monkeypatch.setattr(os, "nice", nice.append)
    clock = SystemClock()
    async with (
        JetStreamBus(place.config.bus, clock) as bus,
        Leases(JetStreamRecords(bus.connection), clock) as leases,
    ):
        other = await leases.acquire(turn, "another")
        assert other is not None
        async with running(process.run(role, place.config)):
            await place.until_ready()
            await asyncio.sleep(1.5)  # it looks every second
            assert gc.isenabled()  # it stands by
            await other.release()
            await until(lambda: not gc.isenabled())
        assert gc.isenabled()
    assert nice == ([process.NICENESS] if role == "persist" else [])


async def test_who_serves_collects_garbage_between_minutes(place: Place) -> None:
    async with running(service.serve(place.config)):
        await until(lambda: not gc.isenabled())
    assert gc.isenabled()


async def test_where_it_may_not_give_way_it_stores_all_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: int) -> int:
        raise PermissionError("a sandbox")

    monkeypatch.setattr(os, "nice", forbidden)
    async with running(process.run("persist", place.config)):
        await place.until_ready()


async def test_who_collects_reports_in_a_pause_among_the_candles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits, pause = asyncio.Event(), asyncio.Event()

    async def quiet(_: Ingest) -> None:
        waits.set()
        await pause.wait()

    monkeypatch.setattr(Ingest, "quiet", quiet)
    async with aiohttp.ClientSession() as session:
        here = SimpleNamespace(
            config=Config(),
            bus=MemoryBus(),
            store=MemoryStore(),
            clock=SystemClock(),
            session=session,
        )
        part = IngestPart(here)  # type: ignore[arg-type]  # as much as it needs
        report = asyncio.create_task(part.report())
        async with asyncio.timeout(5):
            await waits.wait()
            await asyncio.sleep(0.05)
            assert not report.done()
            pause.set()
            assert (await report)["ingest"]["started"] is False
