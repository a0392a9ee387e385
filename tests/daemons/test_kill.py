"""Killed at any moment: no minute and no alert is lost or doubled in the store."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from killing import (
    CALLS,
    COUNTING_RULES,
    NOW,
    PHASES,
    Course,
    Left,
    Nursery,
    Orders,
    Promise,
    SharedClock,
    Victim,
    compare,
    first_minutes,
    integrity,
    kill_at,
    minutes_of,
    minutes_work,
    prepare,
    state_of,
)
from rig import running
from scripted import MovedClock

import screener
from screenerd.bus.memory import MemoryBus
from screenerd.demo import DemoExchange, Market
from screenerd.model import MINUTE_MS, Alert, Candle, CandleBatch, Stamps
from screenerd.persist.service import Persist
from screenerd.screen.scope import WHOLE
from screenerd.screen.service import Screen
from screenerd.store.sqlite import SqliteStore

KILLS = int(os.environ.get("SCREENER_KILLS", "40"))
"""How many times the whole of `screenerd up` is killed; from 200 on every system call is tried."""

MORE_KILLS = 40
"""At most so many besides, until each phase was hit that has to be."""

SYMBOLS = 6
SPEED = 120.0
OUTAGE_MS = 180 * MINUTE_MS
RULES = screener.RuleSet.load("futures").to_toml() + COUNTING_RULES


# At random moments.


@dataclass
class Killing:
    """Starts processes over one store and one market, and kills them."""

    clock: SharedClock
    nursery: Nursery
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    deaths: Counter[str] = field(default_factory=Counter)
    tracked: dict[str, int] = field(default_factory=dict)
    judged_from: int = 0

    async def kill_one(self, after: str | None = None) -> None:
        """One process, killed after a while; one in four has been asked to stop before."""
        victim = await self.nursery.next()
        if after is not None:
            await victim.until(after)
        await asyncio.sleep(self.chance.uniform(0, 1.0))  # the moment, not a wait for something
        phase = victim.phase
        if self.chance.random() < 0.25 and victim.numbers("assembled"):
            phase = "stopping"
            victim.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(self.chance.uniform(0, 0.3))
        code = await victim.end(signal.SIGKILL)
        if code == 0 and phase == "stopping":
            phase = "stopped"
        else:
            assert code == -signal.SIGKILL, self.nursery.log.read_text(encoding="utf-8")
        self.deaths[phase] += 1
        self._learn(victim)

    def _learn(self, victim: Victim) -> None:
        """What the first processes began with holds for all that follow."""
        self.tracked = first_minutes(self.nursery.orders.path) | self.tracked
        self.judged_from = self.judged_from or min(victim.numbers("rebuilt"), default=0)

    async def finish(self) -> Promise:
        """A last process, left alone until all of some minutes are there."""
        victim = await self.nursery.next()
        until = self.clock.now_ms() // MINUTE_MS * MINUTE_MS + 3 * MINUTE_MS
        await victim.until("following", until + MINUTE_MS)
        assert await victim.end(signal.SIGTERM) == 0
        self._learn(victim)
        return Promise(self.tracked, self.judged_from, until)


@pytest.mark.asyncio
async def test_at_random_moments_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES, encoding="utf-8")
    clock = SharedClock(NOW, time.monotonic(), SPEED)
    market = Market(symbols=SYMBOLS)
    path = tmp_path / "a.db"
    async with AsyncExitStack() as stack:
        exchange = await stack.enter_async_context(DemoExchange(market, clock))
        there = (exchange.rest_url, exchange.stream_url)
        orders = Orders(clock, path, tmp_path / "rules.toml", *there)
        nursery = await stack.enter_async_context(Nursery(orders, tmp_path / "log"))
        killing = Killing(clock, nursery)
        for number in range(KILLS):
            if number == KILLS // 2:
                clock.start_ms += OUTAGE_MS  # nothing ran for hours
            # On a slow machine a second may be over before anything follows.
            await killing.kill_one(after="following" if number % 4 == 0 else None)
        # The phases between are short: only many kills are sure to hit each of them.
        hit = {*(PHASES[1:] if KILLS >= 200 else ("assembled", "following")), "stopping"}
        more = 0
        while (missed := hit - killing.deaths.keys()) and more < MORE_KILLS:
            # Just after that phase was told, or a second later at most.
            after = min(missed)
            await killing.kill_one(after="following" if after == "stopping" else after)
            more += 1
        promise = await killing.finish()
    left = await Left.read(path)
    findings = compare(left, market, RULES, promise)
    print(dict(killing.deaths), findings.counts(), len(left.candles), len(left.alerts))
    assert findings.counts() == dict.fromkeys(findings.counts(), 0)
    assert integrity(path) == ["ok"]
    assert sum(killing.deaths.values()) == KILLS + more
    assert hit <= killing.deaths.keys()
    assert len(left.alerts) > 500
    assert {alert.rule for alert in left.alerts} > {"every_minute", "every_fifth"}


# What the checks see.


@dataclass(frozen=True, slots=True)
class Planted:
    """A store without a fault, and what it has to hold."""

    market: Market
    left: Left
    promise: Promise

    @classmethod
    def make(cls) -> Planted:
        """Two hours of a market, judged for the second."""
        market = Market(symbols=2)
        begin, until = NOW - 120 * MINUTE_MS, NOW
        tracked = {contract.symbol: begin for contract in market.contracts}
        promise = Promise(tracked, NOW - 60 * MINUTE_MS, until)
        frame = minutes_of(market, promise)
        candles = [Candle(**row) for row in frame.iter_rows(named=True)]
        raised = screener.replay(
            frame, screener.RuleSet.parse(RULES), exchange="binance", start=promise.judged_from
        ).alerts
        alerts = [as_stored(row) for row in raised.iter_rows(named=True)]
        return cls(market, Left(candles, candles, alerts), promise)

    def counts(self, left: Left) -> dict[str, int]:
        """What is found in a store, without what is not."""
        counts = compare(left, self.market, RULES, self.promise).counts()
        return {name: count for name, count in counts.items() if count}


def as_stored(row: dict[str, object]) -> Alert:
    told = {"title": "", "direction": "", "stamps": Stamps(0, None, 0, 0), "shadow": False}
    return Alert(**{name: (row | told)[name] for name in Alert.__slots__})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (lambda left: left, {}),
        (
            lambda left: replace(left, candles=left.candles[:-9] + left.candles[-8:]),
            {"minutes": 1, "unjournalled": 1},
        ),
        (lambda left: replace(left, candles=[*left.candles, left.candles[9]]), {"minutes": 1}),
        (
            lambda left: replace(
                left, candles=[*left.candles[:-1], replace(left.candles[-1], volume=0.5)]
            ),
            {"minutes": 1},
        ),
        (lambda left: replace(left, journal=[*left.journal, left.journal[-1]]), {"doubled": 1}),
        (lambda left: replace(left, journal=left.journal[1:]), {"unjournalled": 1}),
        (
            lambda left: replace(left, journal=[*left.journal[2:], *left.journal[:2]]),
            {"late": 2},
        ),
        (lambda left: replace(left, alerts=left.alerts[1:]), {"lost": 1}),
        (
            lambda left: replace(left, alerts=[*left.alerts, replace(left.alerts[0], id="twice")]),
            {"extra": 1},
        ),
    ],
    ids=[
        "nothing", "a missing minute", "a minute twice", "another value", "journalled twice",
        "not journalled", "late", "a lost alert", "an alert under two ids",
    ],
)  # fmt: skip
def test_the_check_finds(plant: Callable[[Left], Left], found: dict[str, int]) -> None:
    planted = Planted.make()
    assert len(planted.left.alerts) > 100
    assert planted.counts(plant(planted.left)) == found


# What random moments seldom hit, made certain.


async def judged(path: Path, clock: MovedClock, batches: Sequence[CandleBatch]) -> None:
    """Screens and stores what comes, as one process does."""
    bus = MemoryBus()
    async with SqliteStore(path, clock) as store:
        rules = screener.RuleSet.load(path.with_name("rules.toml"))
        screening = Screen(bus, store, clock, exchange="binance", rules=rules)
        persisting = Persist(bus, store, clock)
        async with asyncio.TaskGroup() as group:
            working = group.create_task(screening.run())
            group.create_task(persisting.run())
            await screening.rebuilt.wait()
            for batch in batches:
                await bus.publish(batch)
            await bus.close(WHOLE.name)
            await working
            await bus.close()


def batch_between(candles: Sequence[Candle], first: int, end: int, arrived: int) -> CandleBatch:
    """The minutes that open in [first, end), as they came by request."""
    some = [one for one in candles if first <= one.open_time < end]
    return CandleBatch("binance", tuple(replace(one, received_at=arrived) for one in some))


@pytest.mark.asyncio
@pytest.mark.parametrize("stored", ["all", "one symbol"])
async def test_an_outage_that_is_stored_and_not_judged_is_judged_after_a_kill(
    tmp_path: Path, stored: str
) -> None:
    """A process fills three hours at once and is killed before the alerts of them are written."""
    market = Market(symbols=4)
    began, back = NOW, NOW + 180 * MINUTE_MS
    tracked = {contract.symbol: NOW - 1440 * MINUTE_MS for contract in market.contracts}
    promise = Promise(tracked, began - MINUTE_MS, back)
    frame = minutes_of(market, promise)
    candles = [Candle(**row) for row in frame.iter_rows(named=True)]
    path = tmp_path / "a.db"
    (tmp_path / "rules.toml").write_text(RULES, encoding="utf-8")
    await judged(path, MovedClock(began), [batch_between(candles, 0, began, began)])
    fill = batch_between(candles, began, back, back)
    filled = [one for one in fill.candles if stored == "all" or one.symbol == min(tracked)]
    async with SqliteStore(path, MovedClock(back)) as store:
        await store.write(replace(fill, candles=tuple(filled)))
    rest = [one for one in fill.candles if one not in filled]
    await judged(path, MovedClock(back), [replace(fill, candles=tuple(rest))])
    findings = compare(await Left.read(path), market, RULES, promise)
    assert findings.counts() == dict.fromkeys(findings.counts(), 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("hanging", [False, True])
async def test_what_was_raised_and_not_stored_is_not_kept_as_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, hanging: bool
) -> None:
    """The engine's state says that alerts were raised: it may outlive only what is stored."""
    write = SqliteStore.write

    async def write_candles(store: SqliteStore, *items: CandleBatch | Alert) -> None:
        if hanging and any(isinstance(item, Alert) for item in items):
            await asyncio.Event().wait()
        await write(store, *items)

    monkeypatch.setattr(SqliteStore, "write", write_candles)
    path = tmp_path / "a.db"
    async with running(path, symbols=40, speed=SPEED) as rig:
        await rig.until(lambda: rig.roles.screen.status.alerts > 0)
    assert (tmp_path / "a.db.engine").exists() != hanging


# At every system call that writes.


def strace_works() -> bool:
    if shutil.which("strace") is None:
        return False
    command = ["strace", "-f", "-qq", "-e", "trace=write", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_strace = pytest.mark.skipif(
    not strace_works(), reason="strace is absent or may not trace here: install it"
)


@dataclass
class Bench:
    """A store in use, what the work makes of it, and copies of it to kill processes over."""

    folder: Path
    course: Course

    @classmethod
    async def make(cls, folder: Path) -> Bench:
        """Does the work once, undisturbed."""
        await prepare(folder / "base.db")
        shutil.copy(folder / "base.db", folder / "whole.db")
        return cls(folder, await Course.run(folder / "whole.db"))

    def copy(self, name: str) -> Path:
        """Another store in use."""
        path = self.folder / f"{name}.db"
        shutil.copy(self.folder / "base.db", path)
        return path

    def fault_of(self, call: str, number: int, role: str = "write") -> tuple[bool, str | None]:
        """Whether the call came, and what is wrong then, or after the work was done again."""
        path = self.copy(f"{role}-{call}-{number}")
        death = kill_at(call, number, role, path)
        fault = self.course.fault(death.words, state_of(path))
        if fault is None and integrity(path) != ["ok"]:
            fault = "damaged"
        if fault is None:
            asyncio.run(again(path))
            if state_of(path) != self.course.states[-1]:
                fault = "done again, the work ends otherwise"
        return death.killed, fault and f"{call} {number}: {fault}"


async def again(path: Path) -> None:
    """Opens the store as the next process does, and does all of the work."""
    async with SqliteStore(path, MovedClock(NOW)) as store:
        for _, step in minutes_work(store):
            await step()


def made_calls(bench: Bench) -> Counter[str]:
    """How often the work makes each call, in the thread that makes most of them."""
    death = kill_at(",".join(CALLS), 60_000, "write", bench.copy("counted"))
    assert not death.killed
    most: Counter[str] = Counter()
    for (_, call), count in death.calls.items():
        most[call] = max(most[call], count)
    return most


@needs_strace
def test_at_every_system_call_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    bench = asyncio.run(Bench.make(tmp_path))
    made = made_calls(bench)
    stride = 1 if KILLS >= 200 else 13
    places = [(call, n) for call, most in made.items() for n in range(1, most + 1, stride)]
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda place: bench.fault_of(*place), places))
    print(dict(made), len(places), sum(killed for killed, _ in ends))
    assert [fault for _, fault in ends if fault] == []
    assert made["pwrite64"] > 50
    assert made["fdatasync"] > 10
    assert made["write"] == len(bench.course.told)
    # Whether a page is written once more depends on when threads wake: the very last may not come.
    assert sum(killed for killed, _ in ends) >= len(places) - 3


@needs_strace
def test_what_is_told_too_early_is_found(tmp_path: Path) -> None:
    bench = asyncio.run(Bench.make(tmp_path))
    for number in range(1, 20):
        _, fault = bench.fault_of("fdatasync", number, "boast")
        if fault is not None:
            assert "was told and is not stored" in fault
            return
    pytest.fail("a process that tells too early went unnoticed")
