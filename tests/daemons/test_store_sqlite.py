"""The SQLite store: what is acknowledged is there, whatever becomes of the process and the disk.

Run as a program it is the process that the tests kill, or whose disk they fill.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from store_values import NOW, SECONDS, HandClock, alert, batch, candle, journalled, until

from screenerd.clock import SystemClock
from screenerd.model import (
    DeadLetter,
)
from screenerd.store import group
from screenerd.store.audit import HOUR_MS
from screenerd.store.port import StoreError
from screenerd.store.sqlite import SqliteStore
from screenerd.store.sqlite.connect import open_reader, open_writer
from screenerd.store.sqlite.readers import Readers

pytestmark = pytest.mark.asyncio


def rows(path: Path, sql: str) -> list[Any]:
    with closing(open_reader(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


def opened(path: Path, **options: Any) -> SqliteStore:
    return SqliteStore(path, HandClock(), commit_after=0.005, **options)


# What is written is read.


# Alerts and deliveries.


# Transactions.


async def test_the_loop_goes_on_while_the_disk_hangs(path: Path) -> None:
    disk = Disk()
    async with opened(path, connect=disk.connect) as store:
        disk.delay = 3.0
        writing = asyncio.create_task(store.write(batch(candle())))
        turns = 0
        while not writing.done():
            began = time.monotonic()
            await asyncio.sleep(0)
            assert time.monotonic() - began < 1.5
            turns += 1
        await writing
        assert turns > 100


# A second process, a damaged file.


async def test_a_second_store_is_refused(path: Path) -> None:
    async with opened(path) as store:
        with pytest.raises(StoreError, match=r"s\.db is in use by process \d+: only one"):
            async with opened(path):
                pytest.fail("opened twice")
        await store.write(batch(candle()))
    async with opened(path) as store:
        assert len(await store.newest("x")) == 1


@pytest.mark.parametrize("damage", ["page", "header", "nonsense"])
async def test_a_damaged_file_is_refused_and_left_as_it_is(path: Path, damage: str) -> None:
    async with opened(path) as store:
        await store.write(batch(*(candle(f"S{n}") for n in range(500))))
    content = bytearray(path.read_bytes())
    match damage:
        case "page":
            (root,) = rows(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'candles_1m'")[0]
            content[(root - 1) * 4096 : root * 4096] = b"\xa5" * 4096
        case "header":
            content[:16] = b"not a database!!"
        case _:
            content = bytearray(b"prices go up" * 1000)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"s\.db is damaged .*Nothing was changed.*\.recover"):
        async with opened(path):
            pytest.fail("opened")
    assert path.read_bytes() == content


async def test_a_path_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        async with opened(tmp_path / "file" / "s.db"):
            pytest.fail("opened")


async def test_the_folder_is_made_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "s.db"
    async with opened(path) as store:
        await store.write(batch(candle()))
        modes = {f.name: f.stat().st_mode & 0o777 for f in path.parent.iterdir()}
    assert set(modes) >= {"s.db", "s.db-wal", "s.db.lock"}
    assert set(modes.values()) == {0o600}


async def test_the_connections_are_as_durability_needs_them(path: Path) -> None:
    with closing(open_writer(path)) as connection:
        pragmas = ("journal_mode", "synchronous", "wal_autocheckpoint", "mmap_size")
        told = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
        assert told == ["wal", 2, 0, 0]
        with closing(open_reader(path)) as reader:
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("CREATE TABLE a (b)")
            assert reader.execute("PRAGMA query_only").fetchone() == (1,)
            assert reader.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


# A disk that fails.


@dataclass
class Disk:
    """Opens connections whose disk can be full, slow, or tell lies about a commit."""

    pages: int | None = None
    delay: float = 0.0
    failing_commits: int = 0
    opened: int = 0
    newest: sqlite3.Connection | None = None

    def connect(self, path: Path) -> sqlite3.Connection:
        """Opens a file on this disk."""
        self.opened += 1
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                """Runs a statement on this disk."""
                if sql == "BEGIN IMMEDIATE" and disk.pages is not None:
                    super().execute(f"PRAGMA max_page_count = {disk.pages}")
                if sql != "COMMIT":
                    return super().execute(sql, *arguments)
                time.sleep(disk.delay)
                cursor = super().execute(sql)
                if disk.failing_commits:
                    disk.failing_commits -= 1
                    raise sqlite3.OperationalError("disk I/O error")
                return cursor

        with closing(open_writer(path)):
            connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, factory=Connection
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection


async def test_a_full_disk_loses_nothing(path: Path) -> None:
    disk, clock = Disk(), HandClock()
    async with SqliteStore(path, clock, commit_after=0.005, connect=disk.connect) as store:
        await store.write(batch(candle("BEFORE")))
        assert store.health.state == "up"
        disk.pages = 60
        clock.now += 1
        async with asyncio.TaskGroup() as tasks:
            for n in range(40):
                minutes = (candle(f"S{n}", m) for m in range(60))
                tasks.create_task(store.write(batch(*minutes)))
            await until(lambda: store.health.state == "down")
            health = store.health
            assert health.error is not None
            assert "full" in health.error
            assert health.pending > 0
            assert health.since == clock.now
            assert len(await store.candles("x", "BEFORE", 0, NOW * 2)) == 1  # reads go on
            disk.pages = 1_000_000
        assert store.health.state == "up"
        assert store.health.pending == 0
        assert len(await store.candles("x", None, 0, NOW * 2)) == 2401
        assert len(await journalled(store, "x", 0, NOW * 2)) == 2401
        assert disk.opened > 1
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


async def test_a_commit_that_was_said_to_fail_is_repeated_without_harm(path: Path) -> None:
    disk = Disk()
    letter = DeadLetter("x", NOW, "no JSON", b"{")
    async with opened(path, connect=disk.connect) as store:
        disk.failing_commits = 2
        await store.write(batch(candle(), candle(close=99.0)), alert(), letter)
        assert disk.opened == 3
        assert [c.revision for c in await journalled(store, "x", 0, NOW * 2)] == [0, 1]
        assert await store.alerts(0) == [alert()]
        assert await store.dead_letters() == [letter]


async def test_a_commit_that_hangs_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_HANGS_AFTER", 0.05)
    disk = Disk()
    async with opened(path, connect=disk.connect) as store:
        disk.delay = 3.0
        writing = asyncio.create_task(store.write(batch(candle())))
        await until(lambda: store.health.state == "down")
        assert "no commit for" in (store.health.error or "")
        await writing
        assert store.health.state == "up"


async def test_an_opening_that_is_cancelled_gives_the_file_back(path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def connect(path: Path) -> sqlite3.Connection:
        begun.set()
        go_on.wait(SECONDS)
        return open_writer(path)

    opening = asyncio.create_task(opened(path, connect=connect).__aenter__())
    await until(begun.is_set)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    with pytest.raises(StoreError, match="in use"):
        await opened(path).__aenter__()
    go_on.set()
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                async with opened(path) as store:
                    await store.write(batch(candle()))
                break
            except StoreError:
                await asyncio.sleep(0.005)


async def test_a_query_that_takes_too_long_is_ended(path: Path) -> None:
    async with opened(path) as store:
        await store.write(batch(*(candle(f"S{n}", m) for n in range(50) for m in range(50))))
        readers = Readers(path, longest=0.0)
        with pytest.raises(StoreError, match="took more than 0 s"):
            await readers.run(lambda c: c.execute(SLOW).fetchall())
        assert await readers.run(lambda c: c.execute("SELECT 1").fetchall()) == [(1,)]
        await readers.close()


SLOW = "SELECT count(*) FROM candles_1m AS a, candles_1m AS b WHERE a.close + b.close < 0"


async def test_what_cannot_be_stored_at_the_end_is_told(path: Path) -> None:
    disk = Disk()

    async def write_and_leave() -> None:
        async with opened(path, connect=disk.connect) as store:
            disk.failing_commits = 10**9
            writing.append(asyncio.create_task(store.write(batch(candle()))))
            await until(lambda: store.health.state == "down")

    writing: list[asyncio.Task[None]] = []
    async with asyncio.timeout(SECONDS):
        with pytest.raises(StoreError, match="not stored"):
            await write_and_leave()
        with pytest.raises(StoreError, match="not stored"):
            await writing[0]
    async with opened(path) as store:  # the lock was given back
        await store.newest("x")


# Audit and retention.


async def test_pruning_goes_in_small_transactions(path: Path) -> None:
    async with opened(path) as store:
        await store.write(
            batch(*(candle(f"S{s}", m) for s in range(3) for m in range(-4000, -1000)))
        )
        before = store.commits
        assert await store.prune(NOW + 48 * HOUR_MS) == 18_000
        assert store.commits - before >= 9
        assert await store.newest("x") == {}


# Processes that are killed, and real limits of a disk.


def child(role: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__)), role, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen[str], lines: int, delay: float) -> list[str]:
    """Kills a process that has told so many lines; gives all that it told."""
    assert process.stdout is not None
    with process, process.stdout as out:
        told = [out.readline() for _ in range(lines)]
        time.sleep(delay)  # the moment of the kill, not a wait for something
        process.send_signal(signal.SIGKILL)
        told += out.readlines()
    return [line.strip() for line in told if line.endswith("\n")]


@pytest.mark.parametrize("seed", range(6))
async def test_what_was_acknowledged_survives_a_kill(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: list[str] = []
    for _ in range(2):  # the second process finds what the first one left
        process = child("write", path)
        lines, delay = chance.randrange(1, 120), chance.uniform(0, 0.01)
        acknowledged += await asyncio.to_thread(kill_after, process, lines, delay)
    async with opened(path) as store:
        stored = set(await store.newest("x"))
        assert {f"S{line}" for line in acknowledged} <= stored
        whole = await store.candles("x", None, 0, NOW * 2)
        assert len(whole) == 5 * len(stored)  # a batch is there or it is not
        assert len(await journalled(store, "x", 0, NOW * 2)) == len(whole)
    assert len(acknowledged) == len(set(acknowledged)) > 1
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


async def test_a_write_that_breaks_off_half_way_loses_nothing(path: Path) -> None:
    process = child("limit", path)
    out, _ = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0
    assert [line for line in out.splitlines() if line in {"down", "up"}] == ["down", "up"]
    async with opened(path) as store:
        assert len(await store.candles("x", None, 0, NOW * 2)) == 3_000
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def write_for_ever(path: Path) -> None:
    async with SqliteStore(path, SystemClock(), commit_after=0.002) as store:
        taken = len(await store.newest("x"))

        async def write(first: int) -> None:
            for number in itertools.count(first, 8):
                await store.write(batch(*(candle(f"S{number}", m) for m in range(5))))
                tell(str(number))

        async with asyncio.TaskGroup() as tasks:
            for worker in range(8):
                # Beyond every name that an earlier process can have used.
                tasks.create_task(write(100_000 * taken + worker))


async def write_beyond_a_limit(path: Path) -> None:
    async with SqliteStore(path, SystemClock(), commit_after=0.002) as store:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_001, hard))
        async with asyncio.TaskGroup() as tasks:
            for n in range(50):
                tasks.create_task(store.write(batch(*(candle(f"S{n}", m) for m in range(60)))))
            await until(lambda: store.health.state == "down")
            tell(store.health.state)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        tell(store.health.state)


if __name__ == "__main__":
    roles = {"write": write_for_ever, "limit": write_beyond_a_limit}
    asyncio.run(roles[sys.argv[1]](Path(sys.argv[2])))
