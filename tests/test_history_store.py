"""The local store: precedence, revisions, files that are whole or not at all."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import screener
from screener.errors import DataError
from screener.history import Merged, Store, scan
from screener.history.absent import absent_spans, confirm_absent, forget_absent
from screener.history.precedence import COLUMNS, RANKS, VALUES, conform, merge, winners
from screener.history.times import MINUTE_MS, as_ms

if TYPE_CHECKING:
    from screener.history.precedence import Source

START = as_ms("2025-02-27")


def minutes(count: int, *, start: int = START, price: float = 100.0) -> pl.DataFrame:
    """Made-up minutes of one symbol, one after the other."""
    at = pl.int_range(count, eager=True)
    return pl.DataFrame(
        {
            "symbol": ["BTCUSDT"] * count,
            "open_time": start + at * MINUTE_MS,
            "open": price + at,
            "high": price + at + 2,
            "low": price + at - 2,
            "close": price + at + 1,
            "volume": at * 0.5,
            "quote_volume": at * 50.0,
            "trades": at,
            "taker_buy_volume": at * 0.25,
            "taker_buy_quote_volume": at * 25.0,
        },
        schema_overrides=dict.fromkeys(("open", "high", "low", "close"), pl.Float64),
    )


def test_what_is_stored_comes_back_as_it_was(tmp_path: Path) -> None:
    store, market = Store(tmp_path), screener.demo_market(symbols=6, days=2)
    counts = store.merge(market, source="archive")
    assert counts == Merged(inserted=market.height)
    assert store.symbols == sorted(market["symbol"].unique())
    found = store.scan().collect()
    assert found.columns == list(COLUMNS)
    key = ("symbol", "open_time")
    assert found.select(market.columns).sort(key).equals(market.sort(key))
    assert found["source"].unique().to_list() == ["archive"]
    assert found["revision"].unique().to_list() == [0]


def test_the_same_again_changes_no_byte(tmp_path: Path) -> None:
    store, frame = Store(tmp_path), minutes(3000)
    store.merge(frame, source="archive")
    files = {path: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.rglob("*.parquet")}
    assert len(files) == 2, "two months"
    assert store.merge(frame.reverse(), source="rest") == Merged(duplicate=3000)
    again = {path: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.rglob("*.parquet")}
    assert again == files


def test_scan_gives_the_range_that_was_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.merge(minutes(5 * 1440))
    low, high = START + 1000 * MINUTE_MS, START + 4000 * MINUTE_MS
    found = store.scan("BTCUSDT", low, high).collect()["open_time"]
    assert found.to_list() == list(range(low, high, MINUTE_MS))
    assert scan(["BTCUSDT"], "2025-02-27", "2025-03", store=tmp_path).collect().height == 2 * 1440
    assert store.scan("BTCUSDT", "2025-03").collect().height == 3 * 1440
    assert store.scan("BTCUSDT", end="2025-03").collect().height == 2 * 1440
    assert store.scan("NONE").collect().columns == list(COLUMNS)
    assert Store(tmp_path / "none").symbols == []


def test_other_tools_read_the_folder(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    store = Store(tmp_path)
    market = screener.demo_market(symbols=7, days=1)
    store.merge(market)
    rows = duckdb.sql(
        f"SELECT symbol, count(*), sum(trades) FROM '{tmp_path}/**/*.parquet' "  # noqa: S608
        "GROUP BY symbol ORDER BY symbol"
    ).fetchall()
    sums = market.group_by("symbol").agg(pl.len(), pl.col("trades").sum()).sort("symbol")
    assert rows == sums.rows()
    paths = [str(path) for path in tmp_path.rglob("*.parquet")]
    key = ("symbol", "open_time")
    read = screener.read_klines(sorted(paths)).select(market.columns)
    assert read.sort(key).equals(market.sort(key))


def test_a_file_is_made_as_it_is_told(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    store = Store(tmp_path)
    store.merge(minutes(1000), source="archive")
    file = parquet.ParquetFile(store.path("BTCUSDT", "2025-02"))
    assert file.metadata.metadata == {b"screener.schema": b"1"}
    group = file.metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert list(columns) == list(COLUMNS)
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert all(column.statistics.has_min_max for column in columns.values())
    others = {"DELTA_BINARY_PACKED", "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"}
    used = {name: [*others.intersection(one.encodings)] for name, one in columns.items()}
    encodings = {name: found[0] if found else "PLAIN" for name, found in used.items()}
    # Whole numbers and others, no two of them alike.
    assert encodings == (
        dict.fromkeys(("symbol", "source"), "RLE_DICTIONARY")
        | dict.fromkeys(("open_time", "trades", "revision"), "DELTA_BINARY_PACKED")
        | dict.fromkeys(("open", "high", "low", "close"), "BYTE_STREAM_SPLIT")
        | dict.fromkeys(("quote_volume", "taker_buy_quote_volume"), "BYTE_STREAM_SPLIT")
        | {"volume": "PLAIN", "taker_buy_volume": "PLAIN"}
    )
    assert pl.DataFrame(file.read()).equals(store.read("BTCUSDT", "2025-02"))


@pytest.mark.parametrize("held", RANKS)
@pytest.mark.parametrize("comes", RANKS)
def test_the_better_source_wins(tmp_path: Path, held: Source, comes: Source) -> None:
    store = Store(tmp_path)
    store.merge(minutes(10), source=held)
    counts = store.merge(minutes(10, price=200.0), source=comes)
    found = store.read("BTCUSDT", "2025-02")
    if RANKS[comes] >= RANKS[held]:
        assert counts == Merged(corrected=10)
        assert found["open"][0] == 200.0
        assert found["source"].unique().to_list() == [comes]
        # What was absent had no version before.
        assert found["revision"].unique().to_list() == [0 if held == "synthetic" else 1]
    else:
        assert counts == Merged(outranked=10)
        assert found["open"][0] == 100.0
        assert found["source"].unique().to_list() == [held]
        assert found["revision"].unique().to_list() == [0]


def test_equal_values_from_a_better_source_are_no_new_revision(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.merge(minutes(10), source="stream")
    assert store.merge(minutes(10), source="archive") == Merged(improved=10)
    found = store.read("BTCUSDT", "2025-02")
    assert found["source"].unique().to_list() == ["archive"]
    assert found["revision"].sum() == 0


def test_of_several_rows_of_a_minute_the_last_of_the_best_is_taken(tmp_path: Path) -> None:
    rows = [
        minutes(2).with_columns(source=pl.lit("rest")),
        minutes(1, price=200.0).with_columns(source=pl.lit("archive")),
        minutes(1, price=300.0).with_columns(source=pl.lit("archive")),
        minutes(1, price=300.0).with_columns(source=pl.lit("archive")),
        minutes(1, price=400.0).with_columns(source=pl.lit("stream")),
    ]
    frame = pl.concat(rows)
    store = Store(tmp_path)
    assert store.merge(frame) == Merged(inserted=2, duplicate=1, conflicting=3)
    assert store.read("BTCUSDT", "2025-02")["open"].to_list() == [300.0, 101.0]
    # And once more it is as it was, which needs the same row to win again.
    assert store.merge(frame) == Merged(duplicate=3, conflicting=3)


def test_unknown_values_are_kept_as_unknown(tmp_path: Path) -> None:
    store = Store(tmp_path)
    frame = minutes(3).drop("trades", "taker_buy_volume", "taker_buy_quote_volume")
    store.merge(frame)
    assert store.read("BTCUSDT", "2025-02")["trades"].null_count() == 3
    assert store.merge(frame) == Merged(duplicate=3)
    assert store.merge(minutes(3)) == Merged(corrected=3)


UNKNOWN = ("trades", "taker_buy_volume", "taker_buy_quote_volume")


@pytest.mark.parametrize("comes", ["rest", "archive"])
def test_what_is_unknown_takes_no_known_values_place(tmp_path: Path, comes: Source) -> None:
    store = Store(tmp_path)
    full = minutes(3)
    store.merge(full, source="rest")
    less = full.drop(UNKNOWN)
    same = Merged(improved=3) if comes == "archive" else Merged(duplicate=3)
    assert store.merge(less, source=comes) == same
    assert store.read("BTCUSDT", "2025-02")["revision"].sum() == 0
    # A minute that is corrected keeps what the correction does not know.
    other = pl.when(pl.col("open_time") == START).then(1e6).otherwise("volume").alias("volume")
    assert store.merge(less.with_columns(other), source=comes) == Merged(corrected=1, duplicate=2)
    found = store.read("BTCUSDT", "2025-02")
    assert found.select(UNKNOWN).equals(full.select(UNKNOWN))
    assert found["volume"].to_list() == [1e6, *full["volume"][1:]]
    assert found["revision"].to_list() == [1, 0, 0]


def test_what_is_unknown_in_one_row_of_a_frame_is_taken_from_another(tmp_path: Path) -> None:
    full, none = minutes(2), pl.lit(None, pl.Int64).alias("trades")
    for number, frames in enumerate(
        ((full, full.with_columns(none)), (full.with_columns(none), full))
    ):
        store = Store(tmp_path / str(number))
        frame = pl.concat(frames)
        told = store.merge(frame)
        assert (told.inserted, told.duplicate + told.conflicting) == (2, 2)
        assert store.read("BTCUSDT", "2025-02")["trades"].to_list() == full["trades"].to_list()
        assert not store.merge(frame).changed


def test_replace_stores_what_it_is_given(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.merge(minutes(100), source="archive")
    store.replace("BTCUSDT", "2025-02", minutes(10).drop("symbol").reverse())
    found = store.read("BTCUSDT", "2025-02")
    assert found["open_time"].to_list() == minutes(10)["open_time"].to_list()
    with pytest.raises(DataError, match="2025-02 among those of BTCUSDT in 2025-03"):
        store.replace("BTCUSDT", "2025-03", minutes(10))
    with pytest.raises(DataError, match="BTCUSDT in 2025-02 among those of ETHUSDT"):
        store.replace("ETHUSDT", "2025-02", minutes(10))
    store.replace("BTCUSDT", "2025-02", minutes(0))
    assert store.months("BTCUSDT") == store.symbols == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"open_time": pl.lit(1, dtype=pl.Int64)}, "1 is no time of the years 2009 to 2100"),
        ({"open_time": pl.lit(None, dtype=pl.Int64)}, "None is no time"),
        ({"open_time": pl.col("open_time") * 1000}, "is no time of the years"),
        ({"source": pl.lit("hearsay")}, "'hearsay' is no source"),
        ({"close": pl.lit("much")}, "not of its type"),
    ],
)
def test_what_cannot_be_stored_is_refused_whole(
    tmp_path: Path, change: dict[str, pl.Expr], told: str
) -> None:
    store = Store(tmp_path)
    with pytest.raises(DataError, match=told) as caught:
        store.merge(
            pl.concat([minutes(3), minutes(3).with_columns(**change)], how="diagonal_relaxed")
        )
    assert caught.value.remedy
    assert store.symbols == []
    with pytest.raises(DataError, match="no such column"):
        store.merge(minutes(3).drop("quote_volume"))


def test_a_damaged_file_and_another_schema_are_told_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.merge(minutes(3))
    path = store.path("BTCUSDT", "2025-02")
    minutes(3).write_parquet(path)
    with pytest.raises(DataError, match="of schema None, and this version reads 1") as caught:
        store.merge(minutes(3))
    assert caught.value.path == str(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="damaged"):
        store.read("BTCUSDT", "2025-02")
    with pytest.raises(DataError, match="damaged"):
        store.times("BTCUSDT", "2025-02")


# -- one after the other equals all at once -----------------------------------------------------

VERSIONS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 3), st.sampled_from(list(RANKS))), max_size=12
)


def naive(versions: list[tuple[int, int, str]]) -> dict[int, tuple[float, str, int]]:
    """SPEC section 2, one row after the other."""
    held: dict[int, tuple[float, str, int]] = {}
    for minute, price, source in versions:
        if minute not in held:
            held[minute] = (float(price), source, 0)
            continue
        value, before, revision = held[minute]
        better = RANKS[source] - RANKS[before]  # type: ignore[index]
        if value == price:
            held[minute] = (value, source if better > 0 else before, revision)
        elif better >= 0:
            held[minute] = (float(price), source, revision + (before != "synthetic"))
    return held


def version(minute: int, price: int, source: str) -> pl.DataFrame:
    row = minutes(1, start=START + minute * MINUTE_MS)
    return conform(row.with_columns(close=pl.lit(float(price)), source=pl.lit(source)))


@given(VERSIONS)
def test_merging_row_by_row_is_the_definition(versions: list[tuple[int, int, str]]) -> None:
    held, counts = conform(minutes(0)), Merged()
    for each in versions:
        held = merge(held, version(*each), counts)
    found = {
        (row["open_time"] - START) // MINUTE_MS: (row["close"], row["source"], row["revision"])
        for row in held.iter_rows(named=True)
    }
    assert found == naive(versions)
    told = counts.inserted + counts.corrected + counts.improved
    assert told + counts.duplicate + counts.outranked == len(versions)


@given(VERSIONS)
def test_merging_a_frame_twice_is_merging_it_once(versions: list[tuple[int, int, str]]) -> None:
    frame = pl.concat([conform(minutes(0)), *(version(*each) for each in versions)])
    once = merge(conform(minutes(0)), frame, Merged())
    counts = Merged()
    assert merge(once, frame, counts).equals(once)
    assert not counts.changed
    assert winners(once, Merged()).equals(once)


# -- many at once, and what goes wrong ----------------------------------------------------------


def _writes(root: Path, number: int) -> None:
    for step in range(10):
        Store(root).merge(minutes(5, start=START + (step * 4 + number) * 5 * MINUTE_MS))


def test_processes_do_not_undo_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_writes, args=(tmp_path, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    times = Store(tmp_path).read("BTCUSDT", "2025-02")["open_time"]
    assert times.to_list() == list(range(START, START + 200 * MINUTE_MS, MINUTE_MS))


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.merge(minutes(10))
    before = store.path("BTCUSDT", "2025-02").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DataError, match="cannot be written: File too large") as caught:
            store.merge(minutes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.remedy
    assert store.path("BTCUSDT", "2025-02").read_bytes() == before
    assert [path.name for path in store.folder("BTCUSDT").iterdir() if path.is_file()] != []
    assert not [*tmp_path.rglob("*.tmp")]


READ_ONLY = """
import os, sys, tempfile
import polars as pl
from screener.history import Store
frame = pl.read_parquet(sys.argv[2])
with tempfile.TemporaryDirectory() as elsewhere:
    Store(elsewhere).merge(frame)  # whatever is imported late is imported now
if os.getuid() == 0:
    os.setuid(65534)
try:
    Store(sys.argv[1]).merge(frame)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_folder_that_is_read_only_is_told(tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    minutes(3).write_parquet(source)
    # Not below `tmp_path`, which nobody else may enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        told = subprocess.run(
            [sys.executable, "-c", READ_ONLY, folder, str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert [*Path(folder).iterdir()] == []
    assert told.stdout.startswith("DataError"), told.stderr
    assert "Permission denied" in told.stdout
    assert "who may write to the folder" in told.stdout


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    store = Store(tmp_path / "store")
    assert store.symbols == store.months("BTCUSDT") == []
    with pytest.raises(DataError, match="cannot be written"):
        store.merge(minutes(3))
    assert (tmp_path / "store").read_text() == "mine"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.merge(minutes(3))
    left = store.folder("BTCUSDT") / ".screener-0123456789abcdef.tmp"
    left.write_bytes(b"half")
    assert store.months("BTCUSDT") == ["2025-02"]
    assert store.scan().collect().height == 3
    store.merge(minutes(4))
    assert not left.exists()


# -- absent minutes ----------------------------------------------------------------------------


def test_absent_minutes_are_remembered_and_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert absent_spans(store, "龙虾USDT") == []
    confirm_absent(store, "龙虾USDT", [(0, 60), (120, 180)], source="rest", asked_at=7)
    confirm_absent(store, "龙虾USDT", [(60, 120)], source="archive", asked_at=8)
    confirm_absent(store, "龙虾USDT", [], source="rest", asked_at=9)
    assert absent_spans(store, "龙虾USDT") == [(0, 180)]
    assert store.symbols == [], "nothing is stored"
    forget_absent(store, "龙虾USDT", [(30, 130)])
    assert absent_spans(store, "龙虾USDT") == [(0, 30), (130, 180)]
    (store.folder("龙虾USDT") / "absent.json").write_text("{")
    with pytest.raises(DataError, match="registry of absent minutes is damaged"):
        absent_spans(store, "龙虾USDT")


def test_values_are_the_numbers_of_a_minute() -> None:
    assert set(COLUMNS) == {"symbol", "open_time", *VALUES, "source", "revision"}
