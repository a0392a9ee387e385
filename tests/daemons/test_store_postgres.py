"""The PostgreSQL store's own: steps, days, and a server that is killed, away, locked or full."""

from __future__ import annotations

import asyncio
import itertools
import math
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest
from databases import ask, empty, fresh_database
from postgres_server import Postgres
from store_values import NOW, HandClock, alert, batch, candle, journalled, until

from screenerd.model import MINUTE_MS, Candle
from screenerd.store.audit import HOUR_MS
from screenerd.store.frames import BARS
from screenerd.store.items import Counts, Item
from screenerd.store.port import StoreError
from screenerd.store.postgres import (
    PostgresStore,
    candles,
    connect,
    divided,
    gathered,
    ordering,
)
from screenerd.store.postgres import store as store_module
from screenerd.store.postgres.copy import copy_frame
from screenerd.store.postgres.migrations import applied_numbers, migrate
from screenerd.store.postgres.migrations import sql as as_sql
from screenerd.store.postgres.values import adapt
from screenerd.store.postgres.writer import WRITERS_LOCK
from screenerd.store.postgres.writes import Writing
from screenerd.store.schema import MIGRATIONS, TABLES, Migration
from screenerd.store.sqlite.migrations import migrate as migrate_file

pytestmark = pytest.mark.asyncio

ALL = [step.number for step in MIGRATIONS]
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def url() -> Iterator[str]:
    """A database of this test's own, as some make their tables."""
    with fresh_database() as one:
        yield one


def opened(url: str, **options: Any) -> PostgresStore:
    return PostgresStore(url, HandClock(), **{"commit_after": 0.005, **options})


# Steps of the schema.


class Killed(BaseException):
    """Stands for the end of the process."""


class Mortal(psycopg.AsyncConnection[Any]):
    """Breaks off before its n-th statement that changes something."""

    left: int | None = None

    async def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        """Counts what changes something."""
        text = query.decode() if isinstance(query, bytes) else str(query)
        if self.left is not None and not text.startswith("SELECT"):
            if self.left == 0:
                self.pgconn.finish()
                raise Killed
            self.left -= 1
        return await super().execute(query, *arguments, **options)


async def connected(url: str) -> Mortal:
    connection = await Mortal.connect(url, autocommit=True)
    adapt(connection)
    return connection


async def test_killed_before_any_statement_it_can_be_run_again(url: str) -> None:
    kills, left, done = 0, 0, 0
    while done < len(ALL):
        async with await connected(url) as connection:
            connection.left = left
            try:
                await migrate(connection, 0)
            except Killed:
                kills += 1
        async with await connected(url) as looking:
            numbers = await applied_numbers(looking)
        assert numbers == set(ALL[: len(numbers)])
        left = 0 if len(numbers) > done else left + 1
        done = len(numbers)
    assert kills > sum(len(step.statements) for step in MIGRATIONS)
    with fresh_database() as other:
        async with await connected(other) as connection:
            assert await migrate(connection, 0) == ALL
        assert columns(other) == columns(url)


async def test_two_processes_may_start_at_once(url: str) -> None:
    async with opened(url) as one, opened(url) as two:
        await asyncio.gather(one.write(batch(candle("A"))), two.write(batch(candle("B"))))
        assert set(await one.newest("x")) == {"A", "B"}
    async with await connected(url) as connection:
        await connection.execute("DROP SCHEMA public CASCADE")
        await connection.execute("CREATE SCHEMA public")
    stores = [opened(url) for _ in range(3)]
    await asyncio.gather(*(store.__aenter__() for store in stores))
    await asyncio.gather(*(store.__aexit__(None, None, None) for store in stores))
    assert ask(url, "SELECT count(*) FROM schema_migrations") == [(len(ALL),)]


async def test_a_newer_schema_is_refused_and_left_alone(url: str) -> None:
    later = Migration(len(ALL) + 1, "later", ("CREATE TABLE later (a int)",))
    async with await connected(url) as connection:
        await migrate(connection, 0, (*MIGRATIONS, later))
    before = columns(url)
    with pytest.raises(StoreError, match=f"at step {later.number}.*up to {len(ALL)}.*newer"):
        await opened(url).__aenter__()
    assert columns(url) == before


def columns(url: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for table, column in ask(
        url,
        "SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a "
        "ON a.attrelid = c.oid WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition "
        "AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 ORDER BY 1, a.attnum",
    ):
        found.setdefault(table, []).append(column)
    return found


async def test_both_stores_have_the_same_tables_and_columns(url: str) -> None:
    async with await connected(url) as connection:
        await migrate(connection, 0)
    mine = columns(url)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as file:
        migrate_file(file, 0)
        others = {
            table: [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
            for (table,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
    for table in TABLES:
        if table.followed:
            mine[table.name].remove("number")  # what SQLite has without saying
    assert {name: sorted(its) for name, its in mine.items()} == {
        name: sorted(its) for name, its in others.items()
    }


async def test_types_are_the_servers_own(url: str) -> None:
    async with await connected(url) as connection:
        await migrate(connection, 0)
    types = dict(
        ask(
            url,
            "SELECT table_name || '.' || column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'public'",
        )
    )
    assert types["candles_1m.time"] == "timestamp with time zone"
    assert types["user_settings.selected_alerts"] == "ARRAY"
    assert types["user_settings.notification_enabled"] == "boolean"
    assert types["alert_rules.config"] == "jsonb"


# Days.


async def test_old_days_go_as_a_whole_and_new_ones_are_there_before(url: str) -> None:
    clock = HandClock()
    async with PostgresStore(url, clock, commit_after=0.0) as store:
        old = [replace(candle(minute=-1440 * n), received_at=NOW - n * DAY_MS) for n in range(6)]
        await store.write(batch(*old))
        parts = set(days(url, "candles_1m"))
        assert {divided.partition("candles_1m", NOW // DAY_MS + n) for n in range(-5, 3)} == parts
        await store.prune(NOW)
        kept = {divided.partition("candles_1m", NOW // DAY_MS + n) for n in range(-2, 3)}
        assert set(days(url, "candles_1m")) == kept
        assert len(await store.candles("x", None, 0, NOW * 2)) == 3
        clock.now += DAY_MS
        await store.prune(clock.now)
        assert divided.partition("candle_journal", NOW // DAY_MS + 3) in days(url, "candle_journal")


async def test_a_day_that_somebody_reads_stays_and_nobody_is_held_up(url: str) -> None:
    async with opened(url) as store:
        await store.write(batch(candle(minute=-1440 * 5)))
        with psycopg.connect(url) as reading:
            reading.execute("SELECT count(*) FROM candles_1m").fetchall()
            async with asyncio.timeout(20):
                await store.prune(NOW)
                await store.write(batch(candle()))
            assert len(days(url, "candles_1m")) == 4
        await store.prune(NOW)
        assert len(days(url, "candles_1m")) == 3


YESTERDAY = NOW // DAY_MS * DAY_MS - DAY_MS
SYMBOLS = tuple("CAB")
IN_ORDER = [(symbol, number) for symbol in sorted(SYMBOLS) for number in range(4)]


def of_yesterday(symbol: str, number: int) -> Candle:
    return candle(symbol, (YESTERDAY - NOW) // MINUTE_MS + number)


async def write_yesterday(store: PostgresStore) -> None:
    """As minutes come: of all symbols together."""
    for number in range(4):
        await store.write(batch(*(of_yesterday(symbol, number) for symbol in SYMBOLS)))


def lying(url: str) -> list[tuple[str, int]]:
    """Symbols and minutes of yesterday as they lie in the table, the first page after the other."""
    name = divided.partition("candles_1m", YESTERDAY // DAY_MS)
    return [
        (symbol, (time - YESTERDAY) // MINUTE_MS)
        for symbol, time in ask(url, f"SELECT symbol, time FROM {name} ORDER BY ctid")  # noqa: S608
    ]


async def test_a_day_that_is_over_is_put_in_order_once(url: str) -> None:
    async with opened(url) as store:
        await write_yesterday(store)
        held = await store.candles("x", None, 0, NOW)
        definitions = "SELECT tablename, indexname, indexdef FROM pg_indexes ORDER BY 1, 2"
        checks = "SELECT conrelid::regclass::text, conname FROM pg_constraint ORDER BY 1, 2"
        before = ask(url, definitions), ask(url, checks), days(url, "candles_1m")
        assert lying(url) != IN_ORDER
        await store.prune(YESTERDAY + DAY_MS + HOUR_MS - 1)
        assert lying(url) != IN_ORDER
        await store.prune(YESTERDAY + DAY_MS + HOUR_MS)
        assert lying(url) == IN_ORDER
        assert (ask(url, definitions), ask(url, checks)) == before[:2]
        assert sorted(days(url, "candles_1m")) == sorted(before[2])
        assert await store.candles("x", None, 0, NOW) == held
        # What comes late lies at the end, and there it stays.
        await store.write(batch(of_yesterday("A", 4)))
        await store.prune(NOW)
        assert lying(url) == [*IN_ORDER, ("A", 4)]


async def test_a_day_that_somebody_reads_is_not_put_in_order_yet(url: str) -> None:
    async with opened(url) as store:
        await write_yesterday(store)
        with psycopg.connect(url) as reading:
            reading.execute("SELECT count(*) FROM candles_1m").fetchall()
            async with asyncio.timeout(20):
                await store.prune(NOW)
                await store.write(batch(candle()))
            assert len(lying(url)) == len(IN_ORDER)
            assert lying(url) != IN_ORDER
        await store.prune(NOW)
        assert lying(url) == IN_ORDER


class Halting(psycopg.AsyncConnection[Any]):
    """Does something else behind one of its statements."""

    behind: bytes
    between: Callable[[], Awaitable[None]]

    async def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        """Halts there."""
        found = await super().execute(query, *arguments, **options)
        text = query if isinstance(query, bytes) else str(query).encode()
        if self.behind in text:
            await self.between()
        return found


async def halting(url: str, behind: bytes, between: Callable[[], Awaitable[None]]) -> Halting:
    connection = await Halting.connect(url, autocommit=True)
    adapt(connection)
    connection.behind, connection.between = behind, between
    return connection


async def somebody_waits(url: str) -> None:
    """Until a statement in this database is kept from what another one holds."""
    waiting = (
        "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while not ask(url, waiting):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("change", ["new", "another", "gone"])
async def test_a_day_that_changes_while_it_is_ordered_is_ordered_the_next_time(
    url: str, change: str
) -> None:
    expected = set(IN_ORDER) | ({("A", 4)} if change == "new" else set())
    expected -= {("A", 0)} if change == "gone" else set()

    async def come_late() -> None:
        assert len(await store.page("x", "A", YESTERDAY, None, 10)) == 4
        late = of_yesterday("A", 4 if change == "new" else 0)
        async with asyncio.timeout(20):  # nobody is held up
            await store.write(batch(replace(late, close=99.0, source="rest")))
        if change == "gone":
            with psycopg.connect(url, autocommit=True) as other:
                other.execute("DELETE FROM candles_1m WHERE close = 99")

    async with opened(url) as store:
        await write_yesterday(store)
        async with await halting(url, b"_ordered SELECT", come_late) as connection:
            assert await ordering.order_days(connection, NOW) == []
            assert set(lying(url)) == expected
            assert not unfinished(url)
            connection.between = quiet
            held = await store.candles("x", None, 0, NOW)
            assert len(await ordering.order_days(connection, NOW)) == 1
            assert lying(url) == sorted(expected)
            assert await store.candles("x", None, 0, NOW) == held


async def test_a_writer_at_work_when_a_day_is_begun_is_waited_for(url: str) -> None:
    async with opened(url) as store, await connected(url) as connection:
        await write_yesterday(store)
        with psycopg.connect(url) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS_LOCK,))
            other.execute(
                "UPDATE candles_1m SET close = 99 WHERE symbol = 'A' AND time = "
                "(SELECT min(time) FROM candles_1m)"
            )
            ordered = asyncio.create_task(ordering.order_days(connection, NOW))
            await somebody_waits(url)
            assert not ordered.done()
        assert len(await ordered) == 1
        assert lying(url) == IN_ORDER
        assert [one.close for one in await store.candles("x", "A", 0, NOW)].count(99) == 1


async def test_who_waits_while_a_day_takes_its_place_sees_all_of_it(url: str) -> None:
    tasks: list[asyncio.Task[list[Any]]] = []

    async def begin_to_read() -> None:
        tasks.append(asyncio.create_task(store.page("x", "A", YESTERDAY, None, 10)))
        await somebody_waits(url)

    async with opened(url) as store:
        await write_yesterday(store)
        async with await halting(url, b"ATTACH", begin_to_read) as connection:
            assert len(await ordering.order_days(connection, NOW)) == 1
            assert len(await tasks[0]) == 4


@pytest.mark.parametrize("careful", [True, False])
async def test_who_looks_at_an_earlier_moment_sees_the_day(
    url: str, monkeypatch: pytest.MonkeyPatch, careful: bool
) -> None:
    """Its day is ordered once that is over; if it were before, there would be none to be seen."""
    if not careful:
        monkeypatch.setattr(ordering, "_FROZEN", "SELECT true WHERE %s <> %s")
    async with opened(url) as store:
        await write_yesterday(store)
        with psycopg.connect(url) as reading:
            reading.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reading.execute("SELECT 1").fetchall()
            await store.prune(NOW)
            assert (lying(url) == IN_ORDER) is not careful
            seen = reading.execute("SELECT count(*) FROM candles_1m").fetchone()
            assert seen == (len(IN_ORDER) if careful else 0,)
        await store.prune(NOW)
        assert lying(url) == IN_ORDER
        assert not unfinished(url)


def unfinished(url: str) -> list[str]:
    """Tables of days that did not take their place."""
    return [name for (name,) in ask(url, "SELECT relname FROM pg_class") if "_ordered" in name]


async def quiet() -> None:
    """Does nothing."""


async def test_a_day_that_cannot_be_ordered_keeps_nobody_from_what_else_is_old(url: str) -> None:
    async with opened(url) as store:
        await write_yesterday(store)
        with psycopg.connect(url, autocommit=True) as other:
            name = divided.partition("candles_1m", YESTERDAY // DAY_MS)
            other.execute(f"ALTER TABLE {name} ADD CONSTRAINT of_the_day CHECK (true)".encode())
            other.execute(f"CREATE TABLE {name}_ordered (of_one_that_was_killed int)".encode())
        await store.write(batch(candle(minute=-1440 * 5)))
        assert await store.prune(NOW) == 2  # and its line of the journal
        assert lying(url) != IN_ORDER
        assert not unfinished(url)


def cut_off(url: str, connection: psycopg.AsyncConnection[Any]) -> None:
    """The server ends a connection."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))


async def test_a_lost_connection_is_told_while_days_are_ordered(url: str) -> None:
    async def lose() -> None:
        cut_off(url, connection)

    async with opened(url) as store:
        await write_yesterday(store)
        async with await halting(url, b"_ordered SELECT", lose) as connection:
            with pytest.raises(psycopg.OperationalError):
                await ordering.order_days(connection, NOW)
        assert len(lying(url)) == len(IN_ORDER)
        await store.prune(NOW)
        assert lying(url) == IN_ORDER
        assert not unfinished(url)


async def test_a_lost_connection_ends_the_ordering_of_days_and_no_more(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(connection: Any, now: int) -> list[str]:
        cut_off(url, connection)
        return await ordering.order_days(connection, now)

    async with opened(url) as store:
        await write_yesterday(store)
        await store.write(batch(candle(minute=-1440 * 5)))
        monkeypatch.setattr(store_module, "order_days", lost)
        assert await store.prune(NOW) == 2  # and its line of the journal
        assert lying(url) != IN_ORDER


def days(url: str, table: str) -> list[str]:
    return [
        name
        for name, of in ask(
            url,
            "SELECT c.relname, i.inhparent::regclass::text FROM pg_inherits AS i "
            "JOIN pg_class AS c ON c.oid = i.inhrelid WHERE c.relkind = 'r'",
        )
        if of == table
    ]


async def test_the_extension_is_used_as_far_as_its_edition_goes() -> None:
    first = TABLES[0]
    (made,) = [text for text in as_sql(first, timescale=True) if "hypertable" in text]
    assert "'candles_1m', 'time'" in made
    assert not any("PARTITION BY" in text for text in as_sql(first, timescale=True))
    assert any("PARTITION BY RANGE (time)" in text for text in as_sql(first))
    assert divided.compression(divided.Extension()) == []
    assert divided.compression(divided.Extension(True, True, "apache")) == []
    assert len(divided.compression(divided.Extension(True, True, "timescale"))) == 6


async def test_the_server_is_asked_for_the_extension(url: str) -> None:
    async with await connected(url) as connection:
        told = await divided.ask(connection)
    ((there,),) = ask(
        url, "SELECT count(*) > 0 FROM pg_available_extensions WHERE name = 'timescaledb'"
    )
    assert told.available == there
    assert not told.divides


# What the server may do.


@pytest.fixture(scope="module")
def running() -> Iterator[Postgres]:
    """A server that tests stop and start again."""
    with Postgres.running(max_connections="8", superuser_reserved_connections="0") as one:
        yield one


@pytest.fixture
def server(running: Postgres) -> Postgres:
    """The same, with nothing in it."""
    empty(running.url)
    return running


async def hammer(store: PostgresStore, first: int, acknowledged: set[str]) -> None:
    for number in itertools.count(first, 4):
        await store.write(batch(*(candle(f"S{number}", minute) for minute in range(5))))
        acknowledged.add(f"S{number}")


async def killed_while_writing(server: Postgres) -> tuple[set[str], dict[str, int]]:
    """What was acknowledged before a kill, and what is there after it, in candles.

    The server's own writer of its log stands still, so that only who waits for the disk has it.
    """
    acknowledged: set[str] = set()
    store = await opened(server.url).__aenter__()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    server.freeze("walwriter")
    tasks = [asyncio.create_task(hammer(store, n, acknowledged)) for n in range(4)]
    await until(lambda: len(acknowledged) > 40)
    await asyncio.to_thread(server.kill)
    told = set(acknowledged)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.to_thread(server.start)
    await until(lambda: store.health.state == "up")
    await store.__aexit__(None, None, None)
    found = ask(server.url, "SELECT symbol, count(*) FROM candles_1m GROUP BY symbol")
    return told, dict(found)


async def test_what_was_acknowledged_survives_a_kill_of_the_server() -> None:
    # A server that would lose commits by itself: the writer asks for more.
    with Postgres.running(synchronous_commit="off") as server:
        told, there = await killed_while_writing(server)
        assert told <= there.keys()
        assert set(there.values()) == {5}  # a batch is there or it is not
        assert ask(server.url, "SELECT count(*) FROM candle_journal") == [(5 * len(there),)]


async def test_lists_of_numbers_and_times_come_as_arrays(url: str) -> None:
    async with await connected(url) as connection:

        async def read(sql: str) -> Any:
            found = await connection.execute(sql.encode(), binary=True)
            return await found.fetchone()

        times = "ARRAY[to_timestamp(0.001), to_timestamp(1e9), '1969-12-31 23:59:59.999Z']"
        numbers = "ARRAY[1e300, -0.5, 'NaN']::float8[], ARRAY[-1, 2], '{}'::float8[]"
        row = await read(f"SELECT {times}, {numbers}")
        wanted = [[1, 10**12, -1], [1e300, -0.5, math.nan], [-1, 2], []]
        assert [one.dtype.str for one in row] == ["<i8", "<f8", "<i4", "<f8"]
        for one, values in zip(row, wanted, strict=True):
            np.testing.assert_array_equal(one, values)
        for sql in ("SELECT ARRAY[1.5, NULL]::float8[]", "SELECT ARRAY[[1], [2]]"):
            with pytest.raises(psycopg.DataError, match="one dimension, and no NULL"):
                await read(sql)


async def test_lists_that_come_in_no_order_make_a_frame_that_is() -> None:
    """As the server gives them where it reads a table from one end to the other."""
    rows = [
        ("A", np.array([7, 5, 6]), np.array([0.7, 0.5, 0.6])),
        ("C", np.array([1]), np.array([0.1])),
        ("B", np.array([3, 4]), np.array([0.3, 0.4])),
    ]
    assert gathered.frame(rows, BARS, ["B", "D", "A", "C"]).rows() == [
        ("B", 3, 0.3),
        ("B", 4, 0.4),
        ("A", 5, 0.5),
        ("A", 6, 0.6),
        ("A", 7, 0.7),
        ("C", 1, 0.1),
    ]
    assert gathered.frame([], BARS, []).schema == BARS


async def test_without_waiting_for_the_disk_a_kill_loses_commits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connect, "DURABLE", "off")
    with Postgres.running(synchronous_commit="off") as server:
        told, there = await killed_while_writing(server)
        assert told - there.keys()


async def test_candles_of_many_writes_are_told_apart(url: str) -> None:
    async with opened(url, commit_after=0.1) as store:
        await store.write(batch(candle("HELD", source="rest")))
        given = [
            batch(candle("HELD", close=99.0), candle("A")),
            batch(candle("A", close=99.0)),
            batch(replace(candle("OPEN"), closed=False)),
            batch(candle("A"), exchange="y"),
            batch(candle("A", close=98.0), candle("B")),
            batch(candle("B", close=99.0)),
        ]
        before = store.commits
        tasks = [asyncio.create_task(store._writer.run(writing(one))) for one in given]
        told = await asyncio.gather(*tasks)
        assert store.commits == before + 1
        assert told == [
            Counts(new=1, outranked=1),
            Counts(revised=1),
            Counts(),
            Counts(new=1),
            Counts(new=1, revised=1),
            Counts(revised=1),
        ]
        journal = await journalled(store, "x", 0, NOW * 2)
        assert [(c.symbol, c.close, c.revision) for c in journal] == [
            ("HELD", 100.5, 0), ("A", 100.5, 0), ("A", 99.0, 1), ("A", 98.0, 2), ("B", 100.5, 0),
            ("B", 99.0, 1),
        ]  # fmt: skip


def writing(*items: Item) -> Writing:
    return Writing(items, HandClock(), by_day=True)


async def test_candles_of_many_writes_are_copied_once(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = 0

    async def counting(*arguments: Any) -> None:
        nonlocal copies
        copies += 1
        await copy_frame(*arguments)

    monkeypatch.setattr(candles, "copy_frame", counting)
    async with opened(url, commit_after=0.2) as store:
        await asyncio.gather(*(store.write(batch(candle(f"S{n}"))) for n in range(100)))
        assert store.counts.new == 100
        assert copies == store.commits <= 2


async def test_a_server_that_is_away_is_told_and_waited_for(server: Postgres) -> None:
    async with opened(server.url, wait=1.0) as store:
        await store.write(batch(candle("BEFORE")))
        await store.newest("x")
        await asyncio.to_thread(server.stop)
        began = time.monotonic()
        await until(lambda: store.health.state == "down")
        assert time.monotonic() - began < 15
        async with asyncio.TaskGroup() as tasks:
            for n in range(20):
                tasks.create_task(store.write(batch(candle(f"S{n}")), alert(n)))
            await until(lambda: store.health.pending == 40)
            with pytest.raises(StoreError, match=r"postgresql://127\.0\.0\.1:\d+/postgres"):
                await store.newest("x")
            await asyncio.to_thread(server.start)
        assert store.health.state == "up"
        assert store.health.pending == 0
        for _ in range(3):
            try:
                newest = await store.newest("x")
                break
            except StoreError:
                continue
        assert len(newest) == 21
        assert len(await store.alerts(0)) == 20


async def test_what_cannot_be_stored_at_the_end_is_told(server: Postgres) -> None:
    store = await opened(server.url).__aenter__()
    await asyncio.to_thread(server.stop)
    try:
        writing = asyncio.create_task(store.write(batch(candle("LATE"))))
        await until(lambda: store.health.state == "down")
        with pytest.raises(StoreError, match="not stored"):
            await store.__aexit__(None, None, None)
        with pytest.raises(StoreError, match="not stored"):
            await writing
    finally:
        await asyncio.to_thread(server.start)


async def test_without_a_free_connection_a_query_ends_in_time(server: Postgres) -> None:
    async with opened(server.url, wait=1.0) as store:
        taken = []
        with pytest.raises(psycopg.OperationalError, match="too many"):  # noqa: PT012
            while True:
                taken.append(psycopg.connect(server.url))
        try:
            async with asyncio.timeout(20):
                told = await asyncio.gather(
                    *(store.newest("x") for _ in range(10)), return_exceptions=True
                )
            assert all(isinstance(one, StoreError) for one in told)
            assert "too many" in str(told[0])
            await store.write(batch(candle("STILL")))  # the writer has its own
        finally:
            for connection in taken:
                connection.close()
        async with asyncio.timeout(20):
            while True:
                try:
                    assert "STILL" in await store.newest("x")
                    break
                except StoreError:
                    await asyncio.sleep(0.05)


async def test_a_lock_that_somebody_holds_is_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "LOCK_SECONDS", 1)
    async with opened(url) as store:
        with psycopg.connect(url) as holder:
            holder.execute("LOCK TABLE alert_history IN ACCESS EXCLUSIVE MODE")
            writing = asyncio.create_task(store.write(alert()))
            await until(lambda: store.health.state == "down")
            assert "lock timeout" in (store.health.error or "")
            with pytest.raises(StoreError, match="lock timeout"):
                await store.alerts(0)
        await writing
        assert store.health.state == "up"
        assert await store.alerts(0) == [alert()]


async def test_a_query_that_takes_too_long_is_ended(url: str) -> None:
    async with opened(url, longest=2) as store:
        with pytest.raises(StoreError, match="took more than 2 s"):
            await store._readers.run(lambda c: c.execute("SELECT pg_sleep(30)"))
        assert await store.newest("x") == {}


async def test_readers_cannot_write(url: str) -> None:
    async with opened(url) as store:
        with pytest.raises(StoreError, match="read-only"):
            await store._readers.run(lambda c: c.execute("DELETE FROM candles_1m"))


async def test_a_server_that_does_not_sync_is_refused() -> None:
    refused = pytest.raises(StoreError, match=r"fsync = off.*set fsync = on")
    with Postgres.running(fsync="off") as server, refused:
        await opened(server.url).__aenter__()


async def test_no_secret_is_told() -> None:
    store = opened("postgresql://me:pa55word@127.0.0.1:1/x")
    assert "pa55word" not in repr(store._address)
    with pytest.raises(StoreError, match="cannot be opened") as raised:
        await store.__aenter__()
    assert "pa55word" not in str(raised.value)
    with pytest.raises(ValueError, match="is not one of PostgreSQL") as wrong:
        opened("postgresql://me:pa55word@[x")
    assert "pa55word" not in str(wrong.value)
