"""History into the daemons' PostgreSQL database and out again, as it is with their file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import polars as pl
import pytest
import pytest_asyncio
from databases import ask, fresh_database

from history_faults import MINUTE, START, at, clean
from screener.errors import DataError
from screener.history import Store, database, postgres
from screener.history.binary import END, HEADER, blocks
from screener.history.database import Loaded
from screener.history.postgres import database_frames, database_symbols, load, read_database
from screener.history.precedence import RANKS
from screenerd.clock import SystemClock
from screenerd.store.postgres import PostgresStore
from screenerd.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio

NOW = START + 10 * 1440 * MINUTE


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    """A database as a daemon leaves it."""
    with fresh_database() as one:
        async with PostgresStore(one, SystemClock()):
            pass
        yield one


async def test_history_there_and_back(store: Store, url: str) -> None:
    store.merge(clean(3, 2), source="archive")
    rows = 3 * 2880
    assert load(store, url, now=NOW) == Loaded(rows=rows, inserted=rows, held=rows)
    assert database_symbols(url) == sorted(store.symbols)
    for name in store.symbols:
        assert read_database(url, name).equals(store.scan(name).collect())
    assert load(store, url, now=NOW) == Loaded(rows=rows, duplicate=rows, held=rows)


async def test_parts_of_it(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store.merge(clean(2, 1), source="archive")
    name = store.symbols[0]
    assert load(store, url, [name], at(100), at(200), now=NOW).held == 100
    monkeypatch.setattr(postgres, "FRAME_ROWS", 30)
    frames = list(database_frames(url, name, at(110), at(200)))
    assert [frame.height for frame in frames] == [30, 30, 30]
    assert pl.concat(frames).equals(store.scan(name, at(110), at(200)).collect())


async def test_it_decides_as_the_file_does(url: str, tmp_path: Path) -> None:
    file = tmp_path / "screener.db"
    async with SqliteStore(file, SystemClock()):
        pass
    minutes = clean(1, 1).head(7 * 32)
    place = pl.int_range(pl.len())
    names = pl.Series(list(RANKS))
    first = minutes.with_columns(source=pl.lit(names).gather(place % 4)).filter(place % 7 > 0)
    second = minutes.with_columns(
        source=pl.lit(names).gather(place // 4 % 4),
        quote_volume=pl.col("quote_volume") + place % 2,
        trades=pl.when(place % 3 > 0).then("trades"),
    )
    for number, rows in enumerate((first, second)):
        given = Store(tmp_path / str(number))
        given.merge(rows)
        done, other = load(given, url, now=NOW), database.load(given, file, now=NOW)
        assert done == other
    assert min(done.inserted, done.corrected, done.improved, done.duplicate, done.outranked) > 0
    name = minutes["symbol"][0]
    assert read_database(url, name).equals(database.read_database(file, name))


def minutes_of(name: str, rows: int = 20, dearer: int = 0) -> pl.DataFrame:
    """Minutes as a store gives them."""
    return (
        clean(1, 1)
        .head(rows)
        .with_columns(
            symbol=pl.lit(name),
            quote_volume=pl.col("quote_volume") + dearer,
            source=pl.lit("archive"),
            revision=pl.lit(0, dtype=pl.Int32),
        )
    )


async def test_a_group_may_have_new_symbols_and_known_ones(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_GROUP_ROWS", 40)
    postgres.copy_minutes(url, "binance", [minutes_of("AUSDT", 5)], NOW)
    frames = [
        minutes_of("AUSDT"),
        minutes_of("BUSDT"),
        minutes_of("CUSDT"),
        minutes_of("BUSDT", dearer=1),
        minutes_of("DUSDT", 0),
    ]
    done = postgres.copy_minutes(url, "binance", frames, NOW)
    assert done == Loaded(rows=80, inserted=55, corrected=20, duplicate=5, held=80)
    assert read_database(url, "AUSDT").equals(minutes_of("AUSDT"))
    assert read_database(url, "BUSDT").equals(
        minutes_of("BUSDT", dearer=1).with_columns(revision=pl.lit(1, dtype=pl.Int32))
    )


async def test_a_symbol_that_comes_twice_is_loaded_twice(url: str) -> None:
    frames = [minutes_of("AUSDT", 5), minutes_of("AUSDT", 20)]
    done = postgres.copy_minutes(url, "binance", frames, NOW)
    assert done == Loaded(rows=25, inserted=20, duplicate=5, held=25)


async def test_what_came_before_a_fault_is_loaded(url: str) -> None:
    def frames() -> Iterator[pl.DataFrame]:
        yield minutes_of("AUSDT")
        raise DataError(reason="the second cannot be read", remedy="none")

    with pytest.raises(DataError, match="the second cannot be read"):
        postgres.copy_minutes(url, "binance", frames(), NOW)
    assert ask(url, "SELECT count(*) FROM candles_1m") == [(20,)]


async def test_what_the_table_has_not_taken_is_told_and_nothing_kept(
    store: Store, url: str
) -> None:
    store.merge(clean(1, 1), source="archive")
    load(store, url, None, at(0), at(10), now=NOW)
    with postgres._connected(url) as connection:
        connection.execute(
            "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF NEW.trades % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER lose BEFORE INSERT ON candles_1m FOR EACH ROW EXECUTE FUNCTION lose()"
        )
        connection.execute("DELETE FROM candles_1m")
    with pytest.raises(DataError, match="should be; nothing of it was kept"):
        load(store, url, now=NOW)
    assert ask(url, "SELECT count(*) FROM candles_1m") == [(0,)]


async def test_texts_go_by_their_length_and_null_is_null() -> None:
    frame = pl.DataFrame({"a": ["x", "币", None, "yy"], "b": [1, None, 3, 4], "c": [0.5] * 4})
    with fresh_database() as empty, postgres._connected(empty) as connection:
        connection.execute("CREATE TABLE t (e text, a text, b bigint, c float8)")
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY t (e, a, b, c) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.write(HEADER + b"".join(blocks(frame, {"e": "é"})) + END)
        found = connection.execute("SELECT * FROM t").fetchall()
    assert sorted(found, key=str) == sorted((("é", *row) for row in frame.iter_rows()), key=str)


async def test_the_commands(store: Store, url: str, tmp_path: Path) -> None:
    store.merge(clean(2, 1), source="archive")
    secret = url.replace("postgres@", "postgres:pa55word@")

    def run(*arguments: object, into: Store = store) -> tuple[int, str]:
        command = [str(Path(sys.executable).with_name("screener")), *map(str, arguments)]
        done = subprocess.run(
            [*command, "--store", str(into.root)], capture_output=True, text=True, check=False
        )
        told = done.stdout + done.stderr
        assert "pa55word" not in told
        return done.returncode, told

    code, told = run("load", secret)
    assert code == 0, told
    assert "2,880 minutes: 2,880 added, 0 corrected" in told
    assert f"{postgres.named(url)} has 2,880 minutes of these symbols" in told
    other = Store(tmp_path / "other")
    code, told = run("export", "--database", secret, "--to-store", into=other)
    assert code == 0, told
    assert other.scan().collect().equals(store.scan().collect())
    one = tmp_path / "one.parquet"
    code, told = run("export", "NONE", "--database", secret, "--out", one)
    assert code == 1
    assert "it has no minutes of 'NONE'" in told
    code, told = run("load", "postgresql://me:pa55word%zz@127.0.0.1:1/x")
    assert code == 1
    assert "is not one of PostgreSQL" in told


async def test_a_server_that_is_not_there_and_a_database_without_tables(store: Store) -> None:
    store.merge(clean(1, 1), source="archive")
    with pytest.raises(DataError, match="the database refuses"):
        load(store, "postgresql://me:pa55word@127.0.0.1:1/x", now=NOW)
    with fresh_database() as empty, pytest.raises(DataError, match="no table candles_1m"):
        load(store, empty, now=NOW)
