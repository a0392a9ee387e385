"""Processes that are stopped, disks that fail, and what must be in the store after that.

Run as a program it is the process: `machine_faults.py follow ORDERS` runs every role against an
exchange elsewhere, `machine_faults.py broken ERROR …` is `screenerd …` with a task that fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from killing import COUNTING_RULES, Left, Orders, Promise, compare, first_minutes, integrity
from rig import drifted

import screener
from screenerd import cli, logs
from screenerd.clock import SystemClock
from screenerd.config import Config, ExchangeConfig, LogConfig, RulesConfig, StoreConfig
from screenerd.demo.market import Market
from screenerd.model import MINUTE_MS
from screenerd.persist.service import Persist
from screenerd.run import up
from screenerd.serve.settings import ServeConfig
from screenerd.store.port import StoreError
from screenerd.store.sqlite import SqliteStore
from screenerd.store.sqlite.connect import open_writer

SECONDS = 40.0
"""What takes longer hangs."""

RULES = screener.RuleSet.load("futures").to_toml() + COUNTING_RULES
"""Every minute of every symbol raises an alert, so one that is lost or doubled shows."""

SCREENERD = Path(sys.executable).with_name("screenerd")
Event = dict[str, Any]


async def until(condition: Callable[[], object], told: str, seconds: float = SECONDS) -> None:
    """Waits for a condition; says what it waited for if it never came."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never: {told}") from None


# What is left.


@dataclass(frozen=True, slots=True)
class Verdict:
    """A store held against the market.

    Attributes:
        candles: how many it has.
        alerts: ids of its alerts.
        wrong: everything that is not as it must be, told in words.
    """

    candles: int
    alerts: frozenset[str]
    wrong: list[str]


async def verdict(path: Path, market: Market) -> Verdict:
    """Minutes are the market's, each once; alerts are those of a replay of the journal."""
    left = await Left.read(path)
    async with SqliteStore(path, SystemClock()) as store:
        [judged_from] = await store.first_seen(["screen:binance"], 0)
        newest = await store.newest("binance")
    first = first_minutes(path)
    promise = Promise(first, judged_from, min(newest.values()) + MINUTE_MS)
    found = compare(left, market, RULES, promise)
    stored = [alert.id for alert in left.alerts]
    drift = drifted(path, screener.RuleSet.parse(RULES))
    wrong = [
        *found.minutes,
        *(f"{key}: stored twice" for key in found.doubled),
        *(f"{key}: not in both tables" for key in sorted(found.unjournalled)),
        *(f"{symbol}: missing" for symbol in _symbols(market) ^ first.keys()),
        *(
            f"{one.symbol} {one.rule} {one.triggered_at}: {'never was' if one.live else 'lost'}"
            for one in drift.of("journal")
        ),
        *(f"file: {line}" for line in integrity(path) if line != "ok"),
    ]
    if not found.late:  # then the order of arrival excuses nothing
        wrong += [f"alert {id_}: not as the market has it" for id_ in found.lost | found.extra]
    assert len(set(first.values())) == 1, first
    return Verdict(len(left.candles), frozenset(stored), wrong)


def _symbols(market: Market) -> set[str]:
    return {contract.symbol for contract in market.contracts}


# Processes.


@dataclass(eq=False)
class Child:
    """A process that tells its events in JSON, a line each.

    Attributes:
        process: itself.
        events: what it has told.
        other: lines of its standard error that are no events.
    """

    process: asyncio.subprocess.Process
    events: list[Event] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    _reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, *command: object) -> Child:
        """Starts a command."""
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        child = cls(process)
        child._reading = asyncio.create_task(child._read())
        return child

    @classmethod
    async def up(cls, db: Path, *more: object) -> Child:
        """Starts `screenerd up --demo`."""
        told = ("--db", db, "--port", 0, "--log", "json")
        return await cls.start(SCREENERD, "up", "--demo", *told, *more)

    def named(self, name: str) -> list[Event]:
        """The events of a name."""
        return [event for event in self.events if event["event"] == name]

    @property
    def alerts(self) -> list[str]:
        """Ids of the alerts it has told, in their order."""
        return [event["id"] for event in self.named("alert")]

    @property
    def states(self) -> list[str]:
        """The states of health it has told."""
        return [event["state"] for event in self.named("health")]

    def troubles(self, where: str) -> list[str]:
        """What it has told of a trouble."""
        return [one["told"] for one in self.named("trouble") if one["where"] == where]

    async def end_or(self, condition: Callable[[], object], told: str = "its end") -> None:
        """Waits for its end or a condition."""
        assert self._reading is not None
        reading = self._reading
        await until(lambda: condition() or reading.done(), told)

    async def until(self, condition: Callable[[], object], told: str) -> None:
        """Waits for a condition while it runs."""
        await self.end_or(condition, told)
        assert condition(), f"ended before: {told}: {self.other} {self.events[-5:]}"

    async def tells(self, name: str, least: int = 1) -> None:
        """Waits until it has told so many events of a name."""
        await self.until(lambda: len(self.named(name)) >= least, f"{least} x {name}")

    def signal(self, *numbers: signal.Signals) -> None:
        """Sends signals, one right after the other."""
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def ended(self) -> int:
        """Waits for its end; gives the exit code."""
        assert self._reading is not None
        _, late = await asyncio.wait([self._reading], timeout=SECONDS)
        assert not late, f"still runs: {self.other} {self.events[-5:]}"
        return await self.process.wait()

    async def kill(self) -> None:
        """Ends it whatever it does."""
        self.signal(signal.SIGCONT, signal.SIGKILL)
        await self.ended()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.other.append(line.decode().rstrip())


# Disks.


def full() -> sqlite3.Error:
    """What SQLite says when there is no room left."""
    return _failure(sqlite3.SQLITE_FULL, "SQLITE_FULL", "database or disk is full")


def broken() -> sqlite3.Error:
    """What SQLite says when a write fails."""
    return _failure(sqlite3.SQLITE_IOERR_WRITE, "SQLITE_IOERR_WRITE", "disk I/O error")


def unsynced() -> sqlite3.Error:
    """What SQLite says when a sync fails."""
    return _failure(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC", "disk I/O error")


def _failure(code: int, name: str, told: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(told)
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


@dataclass
class Disk:
    """Opens connections whose disk fails or is slow for as long as it is told to.

    Attributes:
        before: what a commit fails with, nothing of it done.
        after: what a commit fails with although all of it is done.
        dead: what everything fails with, opening included.
        delay: seconds that the next commit takes.
        hung: commits wait for this.
        failed: how often it has failed.
        slow: seconds that each commit was held up.
        hanging: a commit waits now.
    """

    before: Callable[[], sqlite3.Error] | None = None
    after: Callable[[], sqlite3.Error] | None = None
    dead: Callable[[], sqlite3.Error] | None = None
    delay: Callable[[], float] = float
    hung: threading.Event = field(default_factory=threading.Event)
    failed: int = 0
    slow: list[float] = field(default_factory=list)
    hanging: bool = False

    def __post_init__(self) -> None:
        """Nothing hangs at first."""
        self.hung.set()

    def works(self) -> None:
        """Nothing fails any more."""
        self.before = self.after = self.dead = None

    def connect(self, path: Path) -> sqlite3.Connection:
        """Opens a file on this disk."""
        self._fail(self.dead)
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                """Runs a statement on this disk."""
                disk._fail(disk.dead)
                work = functools.partial(super().execute, sql, *arguments)
                return disk._commit(work) if sql == "COMMIT" else work()

        with closing(open_writer(path)):
            connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, factory=Connection
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def _commit(self, work: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        self.hanging = not self.hung.is_set()
        self.hung.wait(SECONDS)
        self.hanging = False
        if delay := self.delay():
            time.sleep(delay)
            self.slow.append(delay)
        self._fail(self.before)
        cursor = work()
        self._fail(self.after)
        return cursor

    def _fail(self, fault: Callable[[], sqlite3.Error] | None) -> None:
        if fault is not None:
            self.failed += 1
            raise fault()


# What runs in a process of its own.


async def follow(orders: Orders) -> None:
    """Every role, against an exchange elsewhere and by a clock that others share."""
    logs.set_up(LogConfig(format="json"))
    config = Config(
        exchange=ExchangeConfig(rest_url=orders.rest_url, stream_url=orders.stream_url),
        store=StoreConfig(path=orders.path),
        serve=ServeConfig(port=0),
        rules=RulesConfig(name=str(orders.rules), floors=False),
    )
    await up(config, clock=orders.clock)


def break_pruning(error: str) -> None:
    """Lets the task that prunes fail."""
    kinds = {"RuntimeError": RuntimeError, "StoreError": StoreError}

    async def fail(self: Persist) -> None:  # noqa: ARG001
        raise kinds[error]("the broom is broken")

    Persist._prune = fail  # type: ignore[method-assign]


def main(role: str, *arguments: str) -> None:
    """Runs as the first argument says."""
    if role == "follow":
        asyncio.run(follow(Orders.parse(arguments[0])))
    else:
        break_pruning(arguments[0])
        sys.argv = ["screenerd", *arguments[1:]]
        cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
