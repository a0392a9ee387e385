"""Leases: one holder at a time, and one that has lost knows it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from nats_server import NatsServer
from test_bus_jetstream import settings

from screenerd.bus.jetstream.bucket import NoAnswerError
from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.leases import JetStreamRecords, Lease, Leases
from screenerd.clock import SystemClock

pytestmark = pytest.mark.asyncio

HOLDER = Path(__file__).with_name("lease_holder.py")
TTL = 6.0


@dataclass
class HandClock:
    """Goes only when it is moved; everybody who sleeps wakes at his time."""

    now: float = 0.0
    _sleepers: list[tuple[float, asyncio.Event]] = field(default_factory=list)

    def now_ms(self) -> int:
        """Wall-clock time, ms."""
        return int(self.now * 1000)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self.now

    def real(self, seconds: float) -> float:
        """An answer comes at once here, or never."""
        return 60.0 if seconds > 0 else 0.0

    async def sleep(self, seconds: float) -> None:
        """Waits until it was moved so far."""
        if seconds > 0:
            woken = asyncio.Event()
            self._sleepers.append((self.now + seconds, woken))
            await woken.wait()

    async def move(self, seconds: float) -> None:
        """In steps of a tenth, so that each wakes at its time."""
        for _ in range(round(seconds * 10)):
            self.now = round(self.now + 0.1, 6)
            for due, woken in self._sleepers:
                if due <= self.now + 1e-9:
                    woken.set()
            self._sleepers = [one for one in self._sleepers if not one[1].is_set()]
            for _ in range(10):
                await asyncio.sleep(0)


@dataclass
class HandRecords:
    """A bucket on the clock of the test; may be out of reach, or lose its answers."""

    clock: HandClock
    records: dict[str, tuple[bytes, int, float]] = field(default_factory=dict)
    revision: int = 0
    away: bool = False
    deaf: bool = False

    async def create(self, name: str, value: bytes) -> int | None:
        """A new record."""
        self._reach()
        return None if await self.read(name) else self._write(name, value)

    async def update(self, name: str, value: bytes, revision: int) -> int | None:
        """The next revision of one."""
        self._reach()
        found = await self.read(name)
        return self._write(name, value) if found and found[1] == revision else None

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """One that is not over."""
        self._reach()
        value, revision, until = self.records.get(name, (b"", 0, 0.0))
        return (value, revision) if until > self.clock.now else None

    async def delete(self, name: str, revision: int) -> None:
        """Removes one."""
        self._reach()
        if self.records[name][1] == revision:
            del self.records[name]

    def _write(self, name: str, value: bytes) -> int:
        self.revision += 1
        self.records[name] = (value, self.revision, self.clock.now + TTL)
        if self.deaf:
            raise NoAnswerError("the answer was lost")
        return self.revision

    def _reach(self) -> None:
        if self.away:
            raise NoAnswerError("out of reach")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


async def held(leases: Leases, name: str, owner: str) -> Lease:
    lease = await leases.acquire(name, owner)
    assert lease is not None
    return lease


async def test_a_lease_is_one_holders_as_long_as_it_is_renewed(clock: HandClock) -> None:
    records = HandRecords(clock)
    async with Leases(records, clock, TTL) as leases, Leases(records, clock, TTL) as others:
        lease = await held(leases, "a", "first")
        for _ in range(20):
            await clock.move(1)
            assert lease.held
            assert await others.acquire("a", "second") is None
        assert lease.revision > 5
        await lease.release()
        assert (await held(others, "a", "second")).held
        assert not lease.held


async def test_who_is_cut_off_knows_it_before_another_can_have_it(clock: HandClock) -> None:
    records = HandRecords(clock)
    async with Leases(records, clock, TTL) as leases:
        lease = await held(leases, "a", "first")
        await clock.move(2.5)
        records.away = True
        await clock.move(5.4)
        assert lease.held
        until = records.records["a"][2]
        while clock.now < until:
            await clock.move(0.1)
        assert lease.lost.is_set()


async def test_who_was_frozen_knows_it_before_it_does_anything(clock: HandClock) -> None:
    records = HandRecords(clock)
    async with Leases(records, clock, TTL) as leases, Leases(records, clock, TTL) as others:
        lease = await held(leases, "a", "first")
        clock.now += TTL + 1  # nothing of it ran meanwhile
        second = await held(others, "a", "second")
        assert not lease.held
        assert second.held
        await clock.move(3)
        assert not lease.held
        assert second.held


async def test_a_renewal_whose_answer_was_lost_still_holds(clock: HandClock) -> None:
    records = HandRecords(clock)
    async with Leases(records, clock, TTL) as leases:
        lease = await held(leases, "a", "first")
        records.deaf = True
        await clock.move(2.1)
        records.deaf = False
        await clock.move(TTL)
        assert lease.held
        assert lease.revision == records.records["a"][1]


async def test_a_lease_with_a_reserve_is_lost_so_long_before_another_can_have_it(
    clock: HandClock,
) -> None:
    records = HandRecords(clock)
    async with Leases(records, clock, TTL) as leases, Leases(records, clock, TTL) as others:
        lease = await leases.acquire("a", "first", reserve=3.0)
        assert lease is not None
        for _ in range(20):
            await clock.move(1)
            assert lease.held
        until = records.records["a"][2]
        records.away = True
        while lease.held:
            await clock.move(0.1)
        records.away = False
        assert until - clock.now == pytest.approx(3.0, abs=0.2)
        assert lease.lost.is_set()
        assert await others.acquire("a", "second") is None
        await clock.move(3.2)
        assert (await held(others, "a", "second")).held


async def test_a_record_that_runs_out_while_it_is_looked_at_is_nobodys_fault(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks for a record that it was told is there, and it is not there any more."""
    async with JetStreamBus(settings(server), SystemClock()) as bus:
        records = JetStreamRecords(bus.connection, TTL)
        assert await records.create("a", b"one") is not None
        found = KeyValue._get

        async def gone(bucket: KeyValue, *_: Any, **__: Any) -> KeyValue.Entry:
            await bucket.purge("a")
            raise KeyNotFoundError

        monkeypatch.setattr(KeyValue, "_get", gone)
        assert await records.create("a", b"other") is None
        monkeypatch.setattr(KeyValue, "_get", found)
        assert await records.create("a", b"other") is not None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats").start()
    yield server
    server.stop()


async def holder(server: NatsServer, owner: str, slots: int = 1) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(HOLDER), server.url, server.monitor, owner, str(slots),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def says(process: asyncio.subprocess.Process, seconds: float) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(seconds):
        return (await process.stdout.readline()).decode().strip()


async def ended(*processes: asyncio.subprocess.Process) -> None:
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_killed_holder_is_followed_within_ten_seconds(server: NatsServer) -> None:
    first = await holder(server, "first")
    assert await says(first, 60) == "has 0"
    standby = await holder(server, "standby")
    try:
        assert await says(standby, 60) == "stands by"
        with pytest.raises(TimeoutError):
            await says(standby, TTL + 2)
        first.kill()
        assert await says(standby, 10) == "has 0"
    finally:
        await ended(first, standby)


async def test_a_frozen_holder_knows_that_it_has_lost(server: NatsServer) -> None:
    first = await holder(server, "first")
    assert await says(first, 60) == "has 0"
    standby = await holder(server, "standby")
    try:
        assert await says(standby, 60) == "stands by"
        first.send_signal(signal.SIGSTOP)
        assert await says(standby, 60) == "has 0"
        first.send_signal(signal.SIGCONT)
        assert await says(first, 60) == "lost"
        assert standby.returncode is None
    finally:
        await ended(first, standby)
