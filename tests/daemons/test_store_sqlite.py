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
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from screener.history import precedence
from screenerd.clock import SystemClock
from screenerd.model import (
    MINUTE_MS,
    Alert,
    Bars,
    Candle,
    CandleBatch,
    DeadLetter,
    Source,
    Stamps,
)
from screenerd.store import group
from screenerd.store.audit import HOUR_MS
from screenerd.store.kept import BARS_KEPT
from screenerd.store.port import AuditRow, Delivery, Store, StoreError
from screenerd.store.sqlite import SqliteStore, writes
from screenerd.store.sqlite.connect import open_reader, open_writer
from screenerd.store.sqlite.readers import Readers

pytestmark = pytest.mark.asyncio

NOW = 1_732_190_400_000  # 2024-11-21T12:00:00Z
SECONDS = 20.0


@dataclass
class HandClock:
    """A clock that stands until it is moved."""

    now: int = NOW

    def now_ms(self) -> int:
        """Where it stands."""
        return self.now

    def monotonic(self) -> float:
        """The same in seconds."""
        return self.now / 1000

    def real(self, seconds: float) -> float:
        """As long as they are."""
        return seconds

    async def sleep(self, seconds: float) -> None:
        """Moves itself."""
        self.now += round(seconds * 1000)


def candle(
    symbol: str = "BTCUSDT", minute: int = 0, close: float = 100.5, source: Source = "stream"
) -> Candle:
    time_ = NOW + minute * MINUTE_MS
    return Candle(
        symbol=symbol,
        open_time=time_,
        open=100.0,
        high=110.0,
        low=90.0,
        close=close,
        volume=3.25,
        quote_volume=325.5,
        trades=17,
        taker_buy_volume=1.5,
        taker_buy_quote_volume=None,
        event_time=time_ + MINUTE_MS + 5,
        source=source,
        received_at=time_ + MINUTE_MS + 40,
    )


def batch(*candles: Candle, exchange: str = "x") -> CandleBatch:
    return CandleBatch(exchange, candles)


def alert(number: int = 0, state: str = "confirmed", at: int = NOW) -> Alert:
    return Alert(
        id=f"00000000-0000-5000-8000-{number:012d}",
        triggered_at=at,
        exchange="x",
        symbol="币安USDT",
        rule="big_bull_60m",
        title="Big Bull 60m",
        direction="up",
        timeframe="1h",
        price=0.1,
        quote_volume=None if number % 2 else 5e6,
        change=1.625,
        vcp=-0.3,
        state=state,
        rule_version="0123456789abcdef",
        evidence={"change_1h": 1.625, "rsi_1h": None, "trades_5m": 12},
        stamps=Stamps(at, at + 5, at + 40, at + 41, stored=NOW),
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


def rows(path: Path, sql: str) -> list[Any]:
    with closing(open_reader(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


def opened(path: Path, **options: Any) -> SqliteStore:
    return SqliteStore(path, HandClock(), commit_after=0.005, **options)


# What is written is read.


async def test_is_the_store_of_the_port(path: Path) -> None:
    async with opened(path) as store:
        port: Store = store
        assert await port.newest("x") == {}


async def test_gives_back_what_was_written(path: Path) -> None:
    given = [candle("币安人生USDT", 1), candle("1000PEPEUSDT", 0), candle("éUSDT", 0)]
    async with opened(path) as store:
        await store.write(batch(*given), batch(candle("OTHER"), exchange="y"))
        wanted = sorted(given, key=lambda c: (c.open_time, c.symbol))
        assert await store.candles("x", None, NOW, NOW + HOUR_MS) == wanted
        assert await store.candles("x", "币安人生USDT", NOW, NOW + HOUR_MS) == [given[0]]
        assert await store.candles("x", "OTHER", NOW, NOW + HOUR_MS) == []
        assert await store.candles("x", None, NOW, NOW + MINUTE_MS) == wanted[:2]
        assert await store.newest("x") == {c.symbol: c.open_time for c in given}
        assert await store.newest("z") == {}


async def test_an_open_candle_is_not_stored(path: Path) -> None:
    async with opened(path) as store:
        await store.write(batch(replace(candle(), closed=False)))
        await store.write()
        assert await store.candles("x", None, 0, NOW * 2) == []
        assert await store.journal("x", 0, NOW * 2) == []


async def test_the_journal_is_in_order_of_arrival(path: Path) -> None:
    first, late = candle(minute=1), replace(candle(minute=0), received_at=NOW + 5 * HOUR_MS)
    fixed = replace(candle(minute=1, close=101.0), received_at=NOW + 4 * HOUR_MS)
    async with opened(path) as store:
        for version in (first, late, fixed, fixed):
            await store.write(batch(version))
        told = [first, late, replace(fixed, revision=1)]
        assert await store.journal("x", 0, NOW * 2) == told
        assert await store.journal("x", NOW, NOW + 4 * HOUR_MS) == [first]
        assert await store.journal("x", NOW + 4 * HOUR_MS, NOW + 5 * HOUR_MS) == told[2:]
        assert await store.journal("y", 0, NOW * 2) == []


SOURCES: tuple[Source, ...] = ("synthetic", "stream", "rest", "archive")
PAIRS = list(itertools.product(SOURCES, SOURCES))


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_the_better_source_stays(path: Path, first: Source, second: Source) -> None:
    held, other = candle(source=first), candle(close=99.0, source=second)
    taken = SOURCES.index(second) >= SOURCES.index(first)
    async with opened(path) as store:
        await store.write(batch(held))
        await store.write(batch(other))
        (stored,) = await store.candles("x", None, 0, NOW * 2)
        journal = await store.journal("x", 0, NOW * 2)
        counts = store.counts
    revised = replace(other, revision=0 if first == "synthetic" else 1)
    assert stored == (revised if taken else held)
    assert journal == ([held, revised] if taken else [held])
    assert (counts.new, counts.revised, counts.outranked) == (1, int(taken), int(not taken))


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_equal_values_are_no_new_version(path: Path, first: Source, second: Source) -> None:
    held = candle(source=first)
    async with opened(path) as store:
        await store.write(batch(held, replace(held, source=second, received_at=NOW * 2)))
        (stored,) = await store.candles("x", None, 0, NOW * 2)
        journal = await store.journal("x", 0, NOW * 3)
        counts = store.counts
    best = max(first, second, key=SOURCES.index)
    assert stored == replace(held, source=best)
    assert journal == [held]
    improved = int(best != first)
    assert (counts.new, counts.improved, counts.duplicate) == (1, improved, 1 - improved)


KNOWN: tuple[dict[str, Any], ...] = (
    {"trades": 17, "taker_buy_volume": 1.5},
    {"trades": 17, "taker_buy_volume": None},
    {"trades": None, "taker_buy_volume": None},
    {"trades": 18, "taker_buy_volume": None},
    {"trades": None, "taker_buy_volume": None, "close": 99.0},
)


def row_of(stored: Candle) -> dict[str, Any]:
    """A candle as the library's store knows it."""
    return {name: getattr(stored, name) for name in precedence.COLUMNS}


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_minutes_are_kept_as_the_librarys_store_keeps_them(
    path: Path, first: Source, second: Source
) -> None:
    pairs = list(itertools.product(KNOWN, KNOWN))
    held = [replace(candle(minute=n, source=first), **one) for n, (one, _) in enumerate(pairs)]
    others = [replace(candle(minute=n, source=second), **two) for n, (_, two) in enumerate(pairs)]
    async with opened(path) as store:
        await store.write(batch(*held))
        await store.write(batch(*others))
        stored = await store.candles("x", None, 0, NOW * 2)
        counts = store.counts
    expected, told = precedence.empty(), precedence.Merged()
    for versions in (held, others):
        frame = precedence.conform(pl.DataFrame([row_of(each) for each in versions]))
        expected = precedence.merge(expected, frame, told)
    assert [row_of(each) for each in stored] == expected.to_dicts()
    assert (counts.revised, counts.improved) == (told.corrected, told.improved)
    assert (counts.duplicate, counts.outranked) == (told.duplicate, told.outranked)


async def test_what_an_arriving_version_does_not_know_stays_as_it_was(path: Path) -> None:
    first = candle()
    fixed = replace(first, close=101.0, trades=None, taker_buy_volume=None, received_at=NOW * 2)
    kept = replace(fixed, trades=17, taker_buy_volume=1.5, revision=1)
    last = replace(first, close=102.0, received_at=NOW * 2 + 1)
    async with opened(path) as store:
        await store.write(batch(first))
        await store.write(batch(fixed))
        assert await store.candles("x", None, 0, NOW * 2) == [kept]
        assert await store.journal("x", 0, NOW * 3) == [first, kept]
        # Delivered twice it undoes nothing, though the journal knows more of it than it did.
        await store.write(batch(last))
        await store.write(batch(fixed))
        assert await store.candles("x", None, 0, NOW * 2) == [replace(last, revision=2)]
        assert store.counts.duplicate == 1


async def test_revisions_rise_with_every_change_of_values(path: Path) -> None:
    async with opened(path) as store:
        for at, close in enumerate((99.0, 100.0, 100.0, 99.0)):
            await store.write(batch(replace(candle(close=close), received_at=at)))
        told = await store.journal("x", 0, NOW * 2)
        assert [(c.revision, c.close) for c in told] == [(0, 99.0), (1, 100.0), (2, 99.0)]


async def test_what_a_bus_delivers_twice_is_stored_once(path: Path) -> None:
    first, fixed = batch(candle(close=99.0)), batch(candle(close=100.0))
    async with opened(path) as store:
        for arrived in (first, fixed, first, fixed):
            await store.write(arrived)
        assert [c.revision for c in await store.journal("x", 0, NOW * 2)] == [0, 1]
        assert [c.close for c in await store.candles("x", None, 0, NOW * 2)] == [100.0]
        assert store.counts.duplicate == 2


# Alerts and deliveries.


async def test_alerts_come_back_equal(path: Path) -> None:
    given = [alert(n, at=NOW + n) for n in range(3)]
    async with opened(path) as store:
        await store.write(*reversed(given))
        assert await store.alerts(0) == given
        assert await store.alerts(NOW + 1) == given[1:]


@pytest.mark.parametrize("final", ["confirmed", "withdrawn"])
async def test_an_alert_changes_its_state_and_nothing_else(path: Path, final: str) -> None:
    first = alert(state="provisional")
    async with opened(path) as store:
        await store.write(first)
        await store.enqueue(first, ["discord"], NOW)
        ((delivery, _),) = await store.due(NOW)
        await store.delivered(delivery, NOW + 7)
        await store.write(replace(first, state=final, price=7.0, evidence={}))
        await store.write(first)  # told again, late
        assert await store.alerts(0) == [replace(first, state=final).at(sent=NOW + 7)]
    assert rows(path, "SELECT webhook_sent, webhook_sent_at FROM alert_history") == [(1, NOW + 7)]


async def test_the_outbox_has_one_row_an_alert_and_channel(path: Path) -> None:
    async with opened(path) as store:
        await store.write(alert(1), alert(2))
        await store.enqueue(alert(2), ["a", "b"], NOW + 1)
        await store.enqueue(alert(1), ["a"], NOW)
        await store.enqueue(alert(1), ["a", "b", "b"], NOW + 2)
        due = await store.due(NOW + 2)
        pairs = [(d.alert_id, d.channel) for d, _ in due]
        wanted = [(alert(1), "a"), (alert(2), "a"), (alert(2), "b"), (alert(1), "b")]
        assert pairs == [(a.id, channel) for a, channel in wanted]
        assert [a for _, a in due] == [a for a, _ in wanted]
        assert await store.due(NOW + 2, limit=2) == due[:2]
        assert await store.due(NOW) == due[:1]
        assert await store.due(NOW - 1) == []


async def test_a_delivery_fails_is_tried_again_and_dies(path: Path) -> None:
    async with opened(path) as store:
        await store.write(alert())
        await store.enqueue(alert(), ["a", "b"], NOW)
        (one, _), (two, _) = await store.due(NOW)
        later = replace(one, attempts=1, next_try=NOW + 500, last_error="503")
        await store.postponed(later)
        await store.postponed(replace(two, state="dead", attempts=9, last_error="410"))
        assert await store.due(NOW + 499) == []
        assert await store.due(NOW + 500) == [(later, alert())]
        assert rows(path, "SELECT webhook_sent FROM alert_history") == [(0,)]
        await store.delivered(later, NOW + 600)
        await store.delivered(later, NOW + 700)
        await store.postponed(later)  # a late answer does not undo it
        assert await store.due(NOW * 2) == []
    assert rows(path, "SELECT webhook_sent_at FROM alert_history") == [(NOW + 600,)]
    assert rows(path, "SELECT state, sent_at FROM outbox ORDER BY id") == [
        ("sent", NOW + 600),
        ("dead", None),
    ]


async def test_a_delivery_that_is_not_there_is_an_error(path: Path) -> None:
    stray = Delivery(7, "a", "discord", "pending", 0, NOW)
    async with opened(path) as store:
        with pytest.raises(StoreError, match=r"delivery 7 .* not in the outbox"):
            await store.delivered(stray, NOW)


async def test_dead_letters_are_kept_once_and_bounded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "DEAD_LETTERS_KEPT", 3)
    letters = [DeadLetter("x", NOW + n, "no JSON", b"\x00\xff" * n) for n in range(5)]
    async with opened(path) as store:
        await store.write(*letters[:3], letters[2])
        assert await store.dead_letters() == letters[2::-1]
        await store.write(*letters[3:])
        assert await store.dead_letters() == letters[:1:-1]


async def test_bars_are_by_symbol_and_time(path: Path) -> None:
    async with opened(path) as store:
        for symbol in ("币", "A"):
            await store.write(Bars("x", symbol, "4h", ((NOW, 0.0), (NOW + 1, 1.0))))
        await store.write(
            Bars("x", "A", "1d", ((NOW, 5.0),)),
            Bars("x", "A", "4h", ((NOW, 9.0),)),
            Bars("y", "A", "4h", ((NOW, 7.0),)),
        )
        assert (await store.bars("x", "4h")).rows() == [
            ("A", NOW, 9.0),
            ("A", NOW + 1, 1.0),
            ("币", NOW, 0.0),
            ("币", NOW + 1, 1.0),
        ]
        newest = {("A", "4h"): NOW + 1, ("币", "4h"): NOW + 1, ("A", "1d"): NOW}
        assert await store.newest_bars("x") == newest


async def test_minutes_come_as_a_frame_and_as_runs(path: Path) -> None:
    held = [candle("A", n) for n in (0, 1, 2, 5, 6)] + [candle("币", 1), candle("C", 3)]
    async with opened(path) as store:
        await store.write(batch(*held))
        start, end = held[0].open_time, held[0].open_time + 6 * MINUTE_MS
        frame = await store.minutes("x", ["币", "A"], start, end)
        assert frame["symbol"].to_list() == ["币", "A", "A", "A", "A"]
        assert frame["open_time"].to_list() == [start + n * MINUTE_MS for n in (1, 0, 1, 2, 5)]
        assert frame["close"].to_list() == [
            next(c.close for c in held if (c.symbol, c.open_time) == key)
            for key in frame.select("symbol", "open_time").rows()
        ]
        at = {n: start + n * MINUTE_MS for n in range(8)}
        assert await store.held("x", start, end) == {
            "A": [(at[0], at[3]), (at[5], at[6])],
            "C": [(at[3], at[4])],
            "币": [(at[1], at[2])],
        }
        assert await store.minutes("x", [], start, end) is not None


async def test_what_was_seen_first_stays(path: Path) -> None:
    async with opened(path) as store:
        assert await store.first_seen("a", NOW) == NOW
        assert await store.first_seen("a", NOW + 5) == NOW
    async with opened(path) as store:
        assert await store.first_seen("a", NOW + 9) == NOW
        assert await store.first_seen("b", NOW + 9) == NOW + 9


async def test_alerts_that_no_outbox_holds_are_found(path: Path) -> None:
    async with opened(path) as store:
        one, two, three = (alert(n, at=NOW + n) for n in (1, 2, 3))
        await store.write(one, two, three)
        await store.enqueue(two, ["a"], NOW)
        assert await store.unclaimed("a", two.triggered_at) == [three]
        assert await store.unclaimed("a", 0) == [one, three]
        assert len(await store.unclaimed("b", 0)) == 3


async def test_given_up_deliveries_are_listed(path: Path) -> None:
    async with opened(path) as store:
        await store.enqueue(alert(1), ["a", "b"], NOW)
        for delivery, _ in await store.due(NOW):
            await store.postponed(replace(delivery, state="dead"))
        [dead] = await store.dead("a")
        assert (dead.alert_id, dead.state) == (alert(1).id, "dead")


# Transactions.


async def test_many_writes_share_few_transactions(path: Path) -> None:
    async with SqliteStore(path, HandClock(), commit_after=0.2) as store:
        async with asyncio.TaskGroup() as tasks:
            for n in range(200):
                tasks.create_task(store.write(batch(candle(f"S{n}"))))
        assert store.commits <= 2
        assert len(await store.newest("x")) == 200


async def test_a_full_queue_makes_writers_wait_and_loses_nothing(path: Path) -> None:
    async with opened(path, queue_rows=10) as store:
        highest = 0
        async with asyncio.TaskGroup() as tasks:
            for n in range(100):
                tasks.create_task(store.write(batch(*(candle(f"S{n}", m) for m in range(3)))))
            tasks.create_task(store.write(batch(*(candle("BIG", m) for m in range(50)))))
            while len(await store.newest("x")) < 101:
                highest = max(highest, store.health.pending)
        assert 0 < highest <= 50
        assert len(await store.candles("x", None, 0, NOW * 2)) == 350
        assert [c.symbol for c in await store.journal("x", 0, NOW * 2)][::3][:100] == [
            f"S{n}" for n in range(100)
        ]


async def test_a_write_that_is_refused_takes_no_other_with_it(path: Path) -> None:
    bad = replace(candle("BAD", 1), close=float("nan"))
    async with SqliteStore(path, HandClock(), commit_after=0.1) as store:
        good, refused, huge = await asyncio.gather(
            store.write(batch(candle("GOOD"))),
            store.write(batch(candle("BAD", 0), bad)),
            store.write(batch(replace(candle("HUGE"), trades=2**70))),
            return_exceptions=True,
        )
        assert good is None
        assert isinstance(refused, StoreError)
        assert isinstance(huge, StoreError)
        assert "close" in str(refused)
        assert set(await store.newest("x")) == {"GOOD"}
        assert store.commits == 1
        assert store.counts.new == 1


async def test_a_cancelled_write_leaves_the_store_working(path: Path) -> None:
    async with SqliteStore(path, HandClock(), commit_after=0.1) as store:
        task = asyncio.create_task(store.write(batch(candle("A"))))
        await until(lambda: store.health.pending == 1)
        task.cancel()
        await store.write(batch(candle("B")))
        assert task.cancelled()
        assert store.health.pending == 0


async def test_reads_go_on_while_writing(path: Path) -> None:
    async with opened(path) as store:
        seen = [0]

        async def write() -> None:
            for minute in range(40):
                await store.write(batch(*(candle(f"S{n}", minute) for n in range(50))))

        writing = asyncio.create_task(write())
        while not writing.done():
            found = len(await store.candles("x", None, 0, NOW * 2))
            assert found % 50 == 0  # a transaction is seen whole or not at all
            assert found >= seen[-1]
            seen.append(found)
        await writing
        assert len(set(seen)) > 2


async def test_the_loop_goes_on_while_the_disk_hangs(path: Path) -> None:
    disk = Disk()
    async with opened(path, connect=disk.connect) as store:
        disk.delay = 0.5
        writing = asyncio.create_task(store.write(batch(candle())))
        turns = 0
        while not writing.done():
            began = time.monotonic()
            await asyncio.sleep(0)
            assert time.monotonic() - began < 0.25
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


async def test_a_closed_store_refuses(path: Path) -> None:
    async with opened(path) as store:
        pass
    with pytest.raises(StoreError, match="closed"):
        await store.write(batch(candle()))
    with pytest.raises(StoreError, match="closed"):
        await store.newest("x")


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


@pytest.mark.parametrize(
    "options", [{"retention_hours": 0.5}, {"commit_after": -1.0}, {"queue_rows": 0}]
)
async def test_a_number_out_of_range_is_named(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SqliteStore(path, HandClock(), **options)


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
        assert len(await store.journal("x", 0, NOW * 2)) == 2401
        assert disk.opened > 1
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


async def test_a_commit_that_was_said_to_fail_is_repeated_without_harm(path: Path) -> None:
    disk = Disk()
    letter = DeadLetter("x", NOW, "no JSON", b"{")
    async with opened(path, connect=disk.connect) as store:
        disk.failing_commits = 2
        await store.write(batch(candle(), candle(close=99.0)), alert(), letter)
        assert disk.opened == 3
        assert [c.revision for c in await store.journal("x", 0, NOW * 2)] == [0, 1]
        assert await store.alerts(0) == [alert()]
        assert await store.dead_letters() == [letter]


async def test_a_commit_that_hangs_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_HANGS_AFTER", 0.05)
    disk = Disk()
    async with opened(path, connect=disk.connect) as store:
        disk.delay = 0.5
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


async def test_the_audit_tells_held_absent_and_holes(path: Path) -> None:
    clock = HandClock(NOW + 2 * HOUR_MS)
    async with SqliteStore(path, clock, commit_after=0.0) as store:
        await store.set_tracking("x", "A", NOW + 10 * MINUTE_MS, None)
        await store.set_tracking("x", "B", NOW, NOW + 2 * MINUTE_MS)
        minutes = [candle("A", m) for m in range(60) if m not in {20, 21, 59}]
        await store.write(batch(*minutes, candle("A", 59, source="synthetic")))
        wanted = [
            AuditRow("A", NOW, 50, 47, 1, ((NOW + 20 * MINUTE_MS, 2),)),
            AuditRow("B", NOW, 2, 0, 0, ((NOW, 2),)),
        ]
        assert await store.audit("x", NOW, NOW + HOUR_MS) == wanted
        assert await store.audit("x", NOW + 5, NOW + 6) == wanted
        assert await store.audit("y", NOW, NOW + HOUR_MS) == []
        await store.write(batch(candle("A", 59), candle("A", 20)))
        (row, _) = await store.audit("x", NOW, NOW + HOUR_MS)
        assert (row.held, row.absent, row.holes) == (49, 0, ((NOW + 21 * MINUTE_MS, 1),))


async def test_a_minute_is_expected_once_it_is_over(path: Path) -> None:
    clock = HandClock(NOW + MINUTE_MS - 1)
    async with SqliteStore(path, clock, commit_after=0.0) as store:
        await store.set_tracking("x", "A", NOW, None)
        assert await store.audit("x", NOW, NOW + HOUR_MS) == []
        clock.now += 1
        assert [r.expected for r in await store.audit("x", NOW, NOW + HOUR_MS)] == [1]


async def test_tracking_is_what_was_said_last(path: Path) -> None:
    hour = MINUTE_MS * 60
    async with SqliteStore(path, HandClock(NOW + 9 * hour), commit_after=0.0) as store:

        async def expected() -> list[int]:
            told = {r.hour: r.expected for r in await store.audit("x", NOW, NOW + 4 * hour)}
            return [told.get(NOW + n * hour, 0) for n in range(4)]

        await store.set_tracking("x", "A", NOW, None)
        await store.set_tracking("x", "A", NOW + hour, None)  # a restart
        assert await expected() == [60, 60, 60, 60]
        await store.set_tracking("x", "A", NOW + hour, NOW + 2 * hour)  # delisted
        assert await expected() == [60, 60, 0, 0]
        await store.set_tracking("x", "A", NOW + 3 * hour, None)  # listed again
        assert await expected() == [60, 60, 0, 60]
        await store.set_tracking("x", "A", NOW, NOW + hour)
        assert await expected() == [60, 60, 0, 60]


@pytest.mark.parametrize(("hours", "days"), [(48, 2), (168, 7)])
async def test_retention_is_exact_to_the_minute(path: Path, hours: int, days: int) -> None:
    edge = NOW - days * 24 * HOUR_MS
    minutes = [(edge - NOW) // MINUTE_MS + n for n in (-2, -1, 0, 1)]
    async with opened(path, retention_hours=hours) as store:
        old = [replace(candle("A", m), received_at=NOW + m * MINUTE_MS) for m in minutes]
        await store.write(batch(*old), batch(*old, exchange="y"))
        await store.write(*(alert(n, at=NOW + m * MINUTE_MS) for n, m in enumerate(minutes)))
        await store.write(*(DeadLetter("x", NOW + m * MINUTE_MS, "", b"") for m in minutes))
        assert await store.prune(NOW) == 2 * 6
        assert await store.candles("x", None, 0, NOW) == old[2:]
        assert await store.candles("y", None, 0, NOW) == old[2:]
        assert await store.journal("x", 0, NOW) == old[2:]
        assert [a.triggered_at for a in await store.alerts(0)] == [edge, edge + MINUTE_MS]
        assert len(await store.dead_letters()) == 2
        assert await store.prune(NOW) == 0
        assert await store.prune(NOW + MINUTE_MS) == 6


async def test_an_alert_that_is_not_delivered_stays(path: Path) -> None:
    async with opened(path) as store:
        await store.write(alert(1), alert(2))
        await store.enqueue(alert(1), ["a"], NOW)
        await store.enqueue(alert(2), ["a"], NOW)
        (_, (done, _)) = await store.due(NOW)
        await store.delivered(done, NOW + 1)
        assert await store.prune(NOW + 49 * HOUR_MS) == 2
        assert [a for _, a in await store.due(NOW)] == [alert(1)]
        assert rows(path, "SELECT alert_id FROM outbox") == [(alert(1).id,)]


async def test_the_newest_bars_stay_however_old(path: Path) -> None:
    many = tuple((n * 300_000, float(n)) for n in range(BARS_KEPT + 2_700))
    few = many[:BARS_KEPT]
    async with opened(path) as store:
        await store.write(Bars("x", "A", "5m", many), Bars("x", "B", "5m", few))
        assert await store.prune(NOW) == 2_700
        kept = [("A", *bar) for bar in many[2_700:]] + [("B", *bar) for bar in few]
        assert (await store.bars("x", "5m")).rows() == kept


async def test_pruning_goes_in_small_transactions(path: Path) -> None:
    async with opened(path) as store:
        await store.write(
            batch(*(candle(f"S{s}", m) for s in range(3) for m in range(-4000, -1000)))
        )
        before = store.commits
        assert await store.prune(NOW + 48 * HOUR_MS) == 18_000
        assert store.commits - before >= 9
        assert await store.newest("x") == {}


async def test_the_audit_outlives_the_candles(path: Path) -> None:
    clock = HandClock(NOW + HOUR_MS)
    async with SqliteStore(path, clock, commit_after=0.0, retention_hours=2) as store:
        await store.set_tracking("x", "A", NOW, None)
        await store.write(batch(*(candle("A", m) for m in range(60) if m != 7)))
        before = await store.audit("x", NOW, NOW + HOUR_MS)
        assert [r.holes for r in before] == [((NOW + 7 * MINUTE_MS, 1),)]
        for minutes in (150, 240):  # half of the hour, then all of it
            clock.now = NOW + minutes * MINUTE_MS
            assert await store.prune(clock.now) > 0
            assert await store.audit("x", NOW, NOW + HOUR_MS) == before


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
        assert len(await store.journal("x", 0, NOW * 2)) == len(whole)
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
