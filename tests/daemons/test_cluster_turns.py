"""Leases in use: one works, the others stand by, and a worker has the shards of its slot."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

import screener
from screenerd.cluster import turns
from screenerd.cluster.turns import Turn
from screenerd.cluster.workers import Job, Workers
from screenerd.screen.judge import ScreenStatus
from screenerd.screen.scope import Scope
from screenerd.screen.service import Screen
from screenerd.store.port import StoreError

pytestmark = pytest.mark.asyncio

SHARDS = 8
AMONG = """
[[rule]]
name = "leader"
timeframe = "5m"
direction = "up"
cooldown = "5m"
when = "rank(change_5m) <= 3"
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "ASK_SECONDS", 0.01)
    monkeypatch.setattr("screenerd.cluster.workers.ASK_SECONDS", 0.01)


@dataclass
class FakeLease:
    """A name that is held until it is released or the test says that it is lost."""

    board: FakeLeases
    name: str
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def held(self) -> bool:
        """Until then."""
        return not self.lost.is_set()

    async def release(self) -> None:
        """Others may have it."""
        if self.board.held.get(self.name) is self:
            del self.board.held[self.name]


@dataclass
class FakeLeases:
    """A board of names."""

    held: dict[str, FakeLease] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    reserves: dict[str, float] = field(default_factory=dict)

    async def acquire(self, name: str, owner: str, *, reserve: float = 0.0) -> FakeLease | None:
        """The name, unless it is held."""
        if name in self.held:
            return None
        self.reserves[name] = reserve
        self.held[name] = FakeLease(self, name)
        self.owners[name] = owner
        return self.held[name]

    def expire(self, name: str) -> None:
        """As if the holder had not been heard of."""
        self.held.pop(name).lost.set()


@contextlib.asynccontextmanager
async def running(*work: Any) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(one.run()) for one in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_one_works_and_the_next_takes_over() -> None:
    leases, working = FakeLeases(), Counter[str]()

    def turn(owner: str) -> Turn:
        async def work() -> None:
            working[owner] += 1
            try:
                await asyncio.Event().wait()
            finally:
                working[owner] -= 1

        return Turn(leases, "persist", owner, work)

    first, second = turn("one"), turn("two")
    async with running(first):
        await until(lambda: first.active)
        async with running(second):
            await asyncio.sleep(0.05)
            assert working == {"one": 1}
            leases.expire("persist")
            leases.held["persist"] = FakeLease(leases, "persist")  # somebody was quicker
            await until(lambda: not first.active and working["one"] == 0)
            leases.held.clear()
            await until(lambda: working.total() == 1)
    assert working.total() == 0
    assert leases.held == {}


async def test_who_has_a_turn_knows_whether_it_still_is_and_has_time_to_end() -> None:
    leases, begun = FakeLeases(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    turn = Turn(leases, "notify", "one", work, reserve=3.0)
    assert not turn.held
    async with running(turn):
        await begun.wait()
        assert turn.held
        assert leases.reserves == {"notify": 3.0}
        leases.held["notify"].lost.set()  # it stood still, and nothing of it has run since
        assert not turn.held


async def test_what_the_store_keeps_from_being_done_is_done_again() -> None:
    leases, tries = FakeLeases(), 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StoreError("away")
        if tries == 2:
            raise ExceptionGroup("in a group", [StoreError("away")])

    await asyncio.wait_for(Turn(leases, "x", "one", work).run(), 10)
    assert tries == 3


async def test_another_fault_ends_the_process() -> None:
    async def work() -> None:
        raise ExceptionGroup("both", [StoreError("away"), KeyError("a fault")])

    with pytest.raises(BaseExceptionGroup):
        await Turn(FakeLeases(), "x", "one", work).run()


@dataclass
class FakeScreen:
    """Screens nothing, and can be seen to run."""

    scope: Scope
    running: Counter[Scope]
    status: ScreenStatus = field(default_factory=lambda: ScreenStatus(symbols=1))
    rebuilt: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Runs until its subscription is closed."""
        self.running[self.scope] += 1
        try:
            self.rebuilt.set()
            await self.ended.wait()
        finally:
            self.running[self.scope] -= 1


@dataclass
class Crew:
    """Workers over one board."""

    leases: FakeLeases = field(default_factory=FakeLeases)
    wanted: int = 1
    rules: screener.RuleSet = field(default_factory=lambda: screener.RuleSet.load("classic"))
    running: Counter[Scope] = field(default_factory=Counter)
    begun: Counter[Scope] = field(default_factory=Counter)

    def worker(self, owner: str) -> Workers:
        """One more process."""
        screens: dict[str, FakeScreen] = {}

        async def wanted() -> int:
            return self.wanted

        def screen(scope: Scope) -> Screen:
            self.begun[scope] += 1
            screens[scope.name] = FakeScreen(scope, self.running)
            return cast("Screen", screens[scope.name])

        async def close(name: str) -> None:
            if name in screens:
                screens[name].ended.set()

        job = Job(SHARDS, wanted, lambda: self.rules, screen, close)
        return Workers(job, self.leases, owner)

    @property
    def shards(self) -> list[int]:
        """Those that are judged, as often as they are."""
        found = [s for s, n in self.running.items() for _ in range(n) if s.shard is not None]
        return sorted(scope.shard.number for scope in found if scope.shard is not None)


async def test_one_worker_has_everything_and_a_standby_takes_it_over() -> None:
    crew = Crew()
    first, standby = crew.worker("one"), crew.worker("two")
    async with running(first):
        await until(lambda: first.shards == list(range(SHARDS)))
        async with running(standby):
            await asyncio.sleep(0.05)
            assert standby.slot is None
            assert standby.ready, "who stands by does what it should"
            crew.leases.expire("screen.0")
            await until(lambda: crew.shards == list(range(SHARDS)) and len(crew.leases.held) == 1)
            assert {first.slot, standby.slot} == {0, None}


async def test_more_and_fewer_workers_move_only_what_must() -> None:
    crew = Crew()
    workers = [crew.worker(str(n)) for n in range(5)]
    async with running(*workers):
        await until(lambda: crew.shards == list(range(SHARDS)))
        for wanted in (4, 2):
            crew.wanted = wanted
            before = crew.begun.copy()

            def settled(wanted: int = wanted) -> bool:
                slots = [one.slot for one in workers if one.slot is not None]
                return len(slots) == wanted and crew.shards == list(range(SHARDS))

            await until(settled)
            await asyncio.sleep(0.05)
            assert settled()
            moved = (crew.begun - before).total()
            assert moved == {4: 6, 2: 4}[wanted]
        assert all(len(one.shards) in {0, 4} for one in workers)


async def test_rules_over_all_symbols_are_the_first_slots() -> None:
    crew = Crew(wanted=2)
    workers = [crew.worker(str(n)) for n in range(2)]
    among = Scope(None, "among")
    async with running(*workers):
        await until(lambda: crew.shards == list(range(SHARDS)))
        assert crew.running[among] == 0
        crew.rules = screener.RuleSet.parse(AMONG)
        await until(lambda: crew.running[among] == 1)
        crew.rules = screener.RuleSet.load("classic")
        await until(lambda: crew.running[among] == 0)
