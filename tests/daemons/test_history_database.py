"""History into the daemons' database and out again, by the same rules as the daemons write it."""

from __future__ import annotations

import random
import resource
import sqlite3
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import pytest_asyncio

from history_faults import MINUTE, START, at, clean, with_cell
from screener.cli.kept import Minutes
from screener.errors import DataError, StateError
from screener.history import Store
from screener.history.database import (
    Loaded,
    database_frames,
    database_symbols,
    load,
    read_database,
)
from screener.history.export import export_parquet
from screener.history.precedence import RANKS, VALUES, Source
from screenerd.clock import SystemClock
from screenerd.model import Candle, CandleBatch
from screenerd.store.sqlite import SqliteStore
from screenerd.store.sqlite.lock import FileLock

pytestmark = pytest.mark.asyncio

NOW = START + 10 * 1440 * MINUTE


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> Path:
    """A database as a daemon leaves it."""
    path = tmp_path / "screener.db"
    async with SqliteStore(path, SystemClock()):
        pass
    return path


def table(path: Path) -> list[tuple[object, ...]]:
    columns = ", ".join(("exchange", "symbol", "time", *VALUES, "source", "revision"))
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            f"SELECT {columns} FROM candles_1m ORDER BY 1, 2, 3"  # noqa: S608
        ).fetchall()


async def written(path: Path, candles: list[Candle]) -> None:
    """What a daemon has written."""
    async with SqliteStore(path, SystemClock()) as daemon:
        await daemon.write(CandleBatch("binance", tuple(candles)))


def candles(rows: pl.DataFrame) -> list[Candle]:
    wanted = rows.select("symbol", "open_time", *VALUES, "source")
    return [Candle(**row) for row in wanted.iter_rows(named=True)]


async def test_history_there_and_back(store: Store, database: Path) -> None:
    store.merge(clean(3, 2), source="archive")
    done = load(store, database, now=NOW)
    rows = 3 * 2880
    assert done == Loaded(rows=rows, inserted=rows, held=rows)
    assert database_symbols(database) == store.symbols
    for symbol in store.symbols:
        assert read_database(database, symbol).equals(store.scan(symbol).collect())
    again = load(store, database, now=NOW)
    assert again == Loaded(rows=rows, duplicate=rows, held=rows)


async def test_parts_of_it(store: Store, database: Path) -> None:
    store.merge(clean(2, 2), source="rest")
    name = store.symbols[1]
    load(store, database, [name], at(100), at(200), now=NOW)
    assert database_symbols(database) == [name]
    got = read_database(database, name, at(150), at(160))
    assert got.equals(store.scan(name, at(150), at(160)).collect())
    assert database_symbols(database, exchange="other") == []


async def test_the_daemons_find_it(store: Store, database: Path) -> None:
    store.merge(clean(1, 1), source="archive")
    load(store, database, now=NOW)
    (name,) = store.symbols
    async with SqliteStore(database, SystemClock()) as daemon:
        found = await daemon.candles("binance", name, START, START + 1440 * MINUTE)
    assert found == [
        replace(candle, received_at=NOW) for candle in candles(store.scan(name).collect())
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_it_decides_as_a_daemon_would(
    tmp_path: Path, store: Store, database: Path, seed: int
) -> None:
    dice = random.Random(seed)
    base = clean(2, 1).filter(pl.col("open_time") < at(60))

    def version(share: float, unknown_share: float) -> pl.DataFrame:
        picked = base.sample(fraction=share, seed=dice.randrange(1000)).sort("symbol", "open_time")
        sources: list[Source] = [dice.choice(list(RANKS)) for _ in range(picked.height)]
        moved = [dice.choice([1.0, 1.0, 1.001]) for _ in range(picked.height)]
        unknown = pl.Series([dice.random() < unknown_share for _ in range(picked.height)])
        return picked.with_columns(
            quote_volume=pl.col("quote_volume") * pl.Series(moved),
            trades=pl.when(unknown).then(None).otherwise("trades"),
            source=pl.Series(sources, dtype=pl.String),
        )

    # A daemon's own minutes are always known whole, so what it makes of less is no matter.
    first, second = version(0.7, 0.2), version(0.8, 0.0)
    other = tmp_path / "other.db"
    for path in (database, other):
        await written(path, candles(first))
    store.merge(second)
    done = load(store, database, now=NOW)
    await written(other, candles(second))
    assert table(database) == table(other)
    assert done.rows == second.height
    assert done.rows == (
        done.inserted + done.corrected + done.improved + done.duplicate + done.outranked
    )
    assert min(done.inserted, done.corrected, done.improved, done.outranked) > 0


async def test_what_is_unknown_takes_no_known_values_place(store: Store, database: Path) -> None:
    rows = clean(1, 1).filter(pl.col("open_time") < at(3))
    (name,) = rows["symbol"].unique()
    await written(database, candles(rows.with_columns(source=pl.lit("rest"))))
    changed = pl.when(pl.col("open_time") == at(1)).then(1e6).otherwise("volume").alias("volume")
    store.merge(rows.with_columns(changed, trades=pl.lit(None, pl.Int64)), source="archive")
    done = load(store, database, now=NOW)
    assert (done.corrected, done.improved) == (1, 2)
    found = read_database(database, name)
    assert found["trades"].to_list() == rows["trades"].to_list()
    assert found["volume"][1] == 1e6
    assert found["revision"].to_list() == [0, 1, 0]
    assert load(store, database, now=NOW).duplicate == 3


async def test_a_minute_that_was_absent_begins_at_revision_0(store: Store, database: Path) -> None:
    rows = clean(1, 1).filter(pl.col("open_time") < at(3))
    made_up = rows.with_columns(pl.lit(1.0).alias("volume"), source=pl.lit("synthetic"))
    await written(database, candles(made_up))
    store.merge(rows, source="rest")
    assert load(store, database, now=NOW).corrected == 3
    assert read_database(database, rows["symbol"][0])["revision"].to_list() == [0, 0, 0]


# -- refusals ------------------------------------------------------------------------------------


async def test_a_running_daemon_is_not_disturbed(store: Store, database: Path) -> None:
    store.merge(clean(1, 1), source="rest")
    lock = FileLock(database)
    lock.acquire()
    try:
        with pytest.raises(StateError, match=r"a daemon uses .* \(process \d+\)"):
            load(store, database, now=NOW)
    finally:
        lock.release()
    assert table(database) == []
    assert load(store, database, now=NOW).inserted == 1440


async def test_files_that_are_no_database(store: Store, tmp_path: Path) -> None:
    store.merge(clean(1, 1), source="rest")
    missing, text, empty = (tmp_path / name for name in ("no.db", "text.db", "empty.db"))
    text.write_text("no database at all, but long enough to be read as one" * 100)
    empty.touch()
    for path, reason in ((missing, "no such file"), (text, "no database"), (empty, "no table")):
        for call in (lambda: load(store, path, now=NOW), lambda: read_database(path, "X")):  # noqa: B023
            with pytest.raises(DataError, match=reason) as refused:
                call()
            assert "start screenerd once" in str(refused.value)
    assert not missing.exists()


async def test_what_cannot_be_is_not_loaded(store: Store, database: Path) -> None:
    one, two = clean(2, 1).partition_by("symbol", maintain_order=True)
    store.merge(pl.concat([one, with_cell(50, high=1e40)(two)]), source="rest")
    with pytest.raises(DataError, match=r"1 rows cannot be, such as high = 1e\+40") as refused:
        load(store, database, now=NOW)
    assert "screener repair" in str(refused.value)
    assert {row[1] for row in table(database)} <= {one["symbol"][0]}


async def test_an_unknown_quote_volume_is_not_loaded(store: Store, database: Path) -> None:
    rows = clean(1, 1).with_columns(quote_volume=pl.lit(None, pl.Float64))
    store.merge(rows, source="rest")
    with pytest.raises(DataError, match="quote volume of some minutes is unknown"):
        load(store, database, now=NOW)


FILLING = """
import resource, sys
from screener.history import Store
from screener.history.database import load
from screener.errors import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    load(Store(sys.argv[1]), sys.argv[2], now=int(sys.argv[3]))
except DataError as error:
    print(error)
"""


async def test_a_disk_that_fills_leaves_whole_symbols(store: Store, database: Path) -> None:
    store.merge(clean(6, 2), source="rest")
    done = subprocess.run(
        [sys.executable, "-c", FILLING, str(store.root), str(database), str(NOW)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "the database refuses" in done.stdout
    assert "this symbol was not loaded" in done.stdout
    counts = {name: read_database(database, name).height for name in store.symbols}
    assert set(counts.values()) == {0, 2880}
    assert load(store, database, now=NOW).held == 6 * 2880
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 600_000


# -- how much is in memory -----------------------------------------------------------------------


@dataclass
class Held:
    """Frames on their way: how many rows were alive at most, and what was told when.

    Attributes:
        most: The most rows of all frames that were alive together.
        sizes: The rows of each frame.
        steps: The rows until then and the bytes of the unfinished file, at every frame.
    """

    folder: Path
    most: int = 0
    sizes: list[int] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)
    _alive: int = 0

    def __call__(self, *args: Any, **more: Any) -> Iterator[pl.DataFrame]:
        """In place of `database_frames`."""
        for frame in database_frames(*args, **more):
            self._alive += frame.height
            weakref.finalize(frame, self._gone, frame.height)
            self.most = max(self.most, self._alive)
            self.sizes.append(frame.height)
            written = sum(path.stat().st_size for path in self.folder.glob(".screener-*.tmp"))
            self.steps.append((sum(self.sizes), written))
            yield frame
            del frame

    def _gone(self, rows: int) -> None:
        self._alive -= rows


@pytest.fixture
def held(
    store: Store, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Held]:
    """A database of 8 symbols with two days each, read 300 rows at a time."""
    store.merge(clean(8, 2), source="archive")
    load(store, database, now=NOW)
    held = Held(tmp_path)
    monkeypatch.setattr("screener.history.database.FRAME_ROWS", 300)
    monkeypatch.setattr("screener.history.export.GROUP_ROWS", 600)
    with monkeypatch.context() as patch:
        patch.setattr("screener.history.database.database_frames", held)
        yield held
    assert sum(held.sizes) == 8 * 2880, "all of it"
    assert max(held.sizes) == 300


async def test_a_database_comes_into_the_store_part_by_part(
    held: Held, store: Store, database: Path, tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    done = Minutes(other, None, None, None, database).export(None, None)
    assert done["inserted"] == 8 * 2880
    assert held.most <= 2 * 300
    assert other.scan().collect().equals(store.scan().collect())


async def test_a_database_is_exported_as_an_archive_month_by_month(
    held: Held, store: Store, database: Path, tmp_path: Path
) -> None:
    done = Minutes(store, None, None, None, database).export(None, tmp_path / "out")
    assert (done["rows"], done["files"]) == (8 * 2880, 8)
    assert held.most <= 2 * 300


async def test_a_database_is_exported_as_one_file_part_by_part(
    held: Held, store: Store, database: Path, tmp_path: Path
) -> None:
    one = tmp_path / "one.parquet"
    done = Minutes(store, None, None, None, database).export(one, None)
    assert pl.read_parquet(one).equals(store.scan().collect())
    size = done["bytes"] / done["rows"]
    # polars keeps the rows out of Python's sight: what is read and not yet written is held.
    assert max(rows - written / size for rows, written in held.steps) < 8 * 600


async def test_what_goes_wrong_while_a_database_is_exported_is_told(
    store: Store, database: Path, tmp_path: Path
) -> None:
    store.merge(clean(1, 1), source="archive")
    load(store, database, now=NOW)
    one = tmp_path / "one.parquet"
    with pytest.raises(DataError, match="it has no minutes of 'NONE'"):
        Minutes(store, ["NONE"], None, None, database).export(one, None)
    with pytest.raises(DataError, match="there is no minute in this range"):
        Minutes(store, None, START - 5 * MINUTE, START, database).export(one, None)

    def torn() -> Iterator[pl.DataFrame]:
        yield from database_frames(database, store.symbols[0])
        raise DataError(reason="the disk is gone", path=database)

    with pytest.raises(DataError, match="the disk is gone") as caught:
        export_parquet(torn(), one)
    assert caught.value.path == str(database)
    assert not list(tmp_path.glob(".screener*"))
    assert not one.exists()


# -- the commands --------------------------------------------------------------------------------


async def test_the_commands(store: Store, database: Path, tmp_path: Path) -> None:
    store.merge(clean(2, 1), source="archive")

    def run(*arguments: object) -> tuple[int, str, str]:
        command = [str(Path(sys.executable).with_name("screener")), *map(str, arguments)]
        done = subprocess.run(
            [*command, "--store", str(store.root)], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    code, out, err = run("load", database)
    assert code == 0, err
    assert "2,880 minutes: 2,880 added, 0 corrected" in out
    assert "has 2,880 minutes of these symbols" in out
    assert "retention_hours" in err
    other = Store(tmp_path / "other")
    screener = str(Path(sys.executable).with_name("screener"))
    command = [screener, "export", "--database", str(database)]
    subprocess.run(
        [*command, "--to-store", "--store", str(other.root)], check=True, capture_output=True
    )
    assert other.scan().collect().equals(store.scan().collect())
    one = tmp_path / "one.parquet"
    code, out, err = run("export", "NARWHALUSDT", "--database", database, "--out", one)
    assert (code, err) == (0, "")
    assert pl.read_parquet(one).equals(store.scan("NARWHALUSDT").collect())
    code, _, err = run("export", "NONE", "--database", database, "--out", one)
    assert code == 1
    assert "it has no minutes of 'NONE'" in err
