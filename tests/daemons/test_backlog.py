"""What ingest may hold while the broker takes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cluster import SECONDS, clustered

from screenerd import assembly
from screenerd.bus.port import BacklogError
from screenerd.cluster import parts
from screenerd.cluster.parts import IngestPart
from screenerd.model import MINUTE_MS

pytestmark = pytest.mark.asyncio
HOUR_MS = 60 * MINUTE_MS


@dataclass
class Collecting:
    """An ingest of which so much waits."""

    waiting: int = 0
    cancelled: bool = False
    ends: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until it is told to end."""
        try:
            await self.ends.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> tuple[IngestPart, Collecting]:
    """The role round it."""
    monkeypatch.setattr(parts, "LOOK_SECONDS", 0.01)
    ingest = Collecting()
    monkeypatch.setattr(assembly, "collector", lambda *_: SimpleNamespace(ingest=ingest, rest=None))
    here = SimpleNamespace(config=None, bus=None, store=None, clock=None, session=None)
    return IngestPart(cast("Any", here)), ingest


async def test_too_much_ends_it(part: tuple[IngestPart, Collecting]) -> None:
    role, ingest = part
    ingest.waiting = parts.MOST_WAITING
    running = asyncio.create_task(role.run())
    await asyncio.sleep(0.1)
    assert not running.done()
    ingest.waiting += 1
    with pytest.raises(ExceptionGroup) as found:
        await running
    [error] = found.value.exceptions
    assert isinstance(error, BacklogError)
    assert "200,001 minutes wait for the broker" in str(error)
    assert ingest.cancelled


async def test_else_it_ends_as_it_does(part: tuple[IngestPart, Collecting]) -> None:
    role, ingest = part
    running = asyncio.create_task(role.run())
    await asyncio.sleep(0.05)
    ingest.ends.set()
    await asyncio.wait_for(running, 5)
    ingest.ends.clear()
    running = asyncio.create_task(role.run())
    await asyncio.sleep(0.05)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert ingest.cancelled


async def test_the_process_says_so_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """The broker is away; five minutes of six symbols are too many here."""
    async with clustered(tmp_path, idle=True) as it:
        it.most_waiting = 30
        await it.start("persist")
        ingest = await it.start("ingest")
        await it.ready()
        await asyncio.to_thread(it.nats.kill)
        async with asyncio.timeout(SECONDS):
            assert await ingest.process.wait() == 1
        assert "minutes wait for the broker" in it.log(ingest)
        it.most_waiting = parts.MOST_WAITING
        await it.start("ingest")
        await asyncio.to_thread(it.nats.start)
        until = it.clock.now_ms() // MINUTE_MS * MINUTE_MS
        whole = {one.symbol: [(until - HOUR_MS, until)] for one in it.market.contracts}

        async def is_whole() -> bool:
            # What was being stored when the broker died comes once more, in its own time.
            async with it.store() as store:
                return await store.held("binance", until - HOUR_MS, until) == whole

        await it.until(is_whole)
