"""A process of a role, in the process of the test: what it does to the interpreter it runs in."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator

import pytest
from databases import empty
from nats_server import NatsServer, free_port

from screenerd.cluster import process, service
from screenerd.config import Config

pytestmark = pytest.mark.asyncio


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A broker of the test's own."""
    server = NatsServer(tmp_path_factory.mktemp("nats")).start()
    yield server
    server.stop()


@pytest.mark.parametrize("role", ["screen", "persist", "notify", "serve"])
async def test_garbage_is_collected_between_minutes_and_what_stores_gives_way(
    role: str, database: str, broker: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty(database)
    nice: list[int] = []
    monkeypatch.setattr(os, "nice", nice.append)
    port = free_port()
    config = Config.model_validate({
        "bus": {"servers": [broker.url], "monitor": broker.monitor},
        "store": {"url": database},
        "serve": {"port": port if role == "serve" else 0},
        "probe": {"port": 0 if role == "serve" else port},
    })  # fmt: skip
    run = service.serve(config) if role == "serve" else process.run(role, config)
    running = asyncio.create_task(run)
    try:
        async with asyncio.timeout(30):
            while gc.isenabled():
                assert not running.done()
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert gc.isenabled()
    assert nice == ([process.NICENESS] if role == "persist" else [])
