"""The archive's files into the store, and out of it again, beside polars and DuckDB in one run.

Each does the same work on the same files: a month's zip to a sorted Parquet file of the same
columns, compressed with zstd; real months to such files, and out of them again; and a year of one
symbol out of such files. One thread each, so that a figure is that of one core.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

import screener
from screener._core import parquet_bytes
from screener.history import Store
from screener.history.archive import checksum, read_archive, verify
from screener.history.precedence import conform
from screener.history.times import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

DAYS = 31
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore"
)
FLOATS = [
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
]


@pytest.fixture(scope="session")
def month() -> pl.DataFrame:
    """A symbol's January of 2026."""
    market = screener.demo_market(symbols=1, days=DAYS, start=1_767_225_600_000)
    return market.sort("open_time")


@pytest.fixture(scope="session")
def archive_file(month: pl.DataFrame) -> bytes:
    """The same as the archive has it."""
    ends = (pl.col("open_time") + MINUTE_MS - 1).alias("close_time")
    table = month.select(
        "open_time", "open", "high", "low", "close", "volume", ends, "quote_volume", "trades",
        "taker_buy_volume", "taker_buy_quote_volume", pl.lit(0),
    )  # fmt: skip
    text = HEADER + "\n" + table.write_csv(include_header=False)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("NARWHALUSDT-1m-2026-01.csv", text)
    return buffer.getvalue()


def _told(benchmark: BenchmarkFixture, figures: dict[str, float], name: str, rows: int) -> None:
    stats: Any = benchmark.stats
    if stats is not None:
        figures[f"{name}, per minute"] = stats.stats.median * 1e9 / rows


def into_store(root: Path, data: bytes, said: str) -> Path:
    """As fetching does it: checksum, minutes, precedence, a file that is synced and renamed."""
    verify(data, checksum(said, "file.zip"), "file.zip")
    store = Store(root)
    store.merge(read_archive(data, "NARWHALUSDT"), source="archive")
    return store.path("NARWHALUSDT", "2026-01")


def by_polars(root: Path, data: bytes, _: str) -> Path:
    """zipfile, read_csv and write_parquet, into a file that is neither synced nor renamed."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        text = file.read(file.namelist()[0])
    whole = {"open_time": pl.Int64, "count": pl.Int64}
    table = pl.read_csv(text, schema_overrides=whole | dict.fromkeys(FLOATS, pl.Float64))
    path = root / "polars.parquet"
    table.select(
        pl.lit("NARWHALUSDT").alias("symbol"),
        "open_time",
        *FLOATS[:6],
        pl.col("count").alias("trades"),
        *FLOATS[6:],
        pl.lit("archive").alias("source"),
        pl.lit(0, dtype=pl.Int32).alias("revision"),
    ).sort("open_time").write_parquet(path)
    return path


def by_duckdb(root: Path, data: bytes, _: str) -> Path:
    """The CSV out of the zip into a file, which DuckDB copies to Parquet."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        (root / "month.csv").write_bytes(file.read(file.namelist()[0]))
    path = root / "duckdb.parquet"
    columns = ", ".join(f"{name}::DOUBLE AS {name}" for name in FLOATS)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(
            f"COPY (SELECT 'NARWHALUSDT' AS symbol, open_time, {columns}, count AS trades, "  # noqa: S608
            "'archive' AS source, 0 AS revision "
            f"FROM read_csv('{root}/month.csv') ORDER BY open_time) "
            f"TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
        )
    return path


@pytest.mark.parametrize("way", [into_store, by_polars, by_duckdb])
def test_archive_to_parquet(
    benchmark: BenchmarkFixture,
    figures: dict[str, float],
    tmp_path: Path,
    month: pl.DataFrame,
    archive_file: bytes,
    way: Callable[[Path, bytes, str], Path],
) -> None:
    """A month's zip file to a Parquet file with the same minutes."""
    folders = (tmp_path / str(number) for number in range(1_000_000))
    said = f"{hashlib.sha256(archive_file).hexdigest()}  file.zip"

    def fresh() -> tuple[tuple[Path, bytes, str], dict[str, Any]]:
        folder = next(folders)
        folder.mkdir()
        return (folder, archive_file, said), {}

    run: Any = benchmark.pedantic
    path = run(way, setup=fresh, rounds=20, warmup_rounds=2)
    assert pl.read_parquet(path, hive_partitioning=False).select(month.columns).equals(month)
    _told(benchmark, figures, f"archive zip to Parquet: {way.__name__}", month.height)


REAL = Path(__file__).parents[2] / "shared/data/klines/um_full_2025-02"


@pytest.fixture(scope="session")
def real_months() -> list[pl.DataFrame]:
    """February of 2025 of four real perpetuals, as the store holds it."""
    if not REAL.is_dir():
        pytest.skip(f"the real candles of {REAL} are not here")
    return [conform(pl.read_parquet(path), source="archive") for path in REAL.glob("*.parquet")]


def stored(month: pl.DataFrame) -> bytes:
    """The bytes of the store's file."""
    return parquet_bytes(month, [("screener.schema", "1")])


def stored_by_polars(month: pl.DataFrame) -> bytes:
    """The same columns, at the same level, by write_parquet."""
    buffer = io.BytesIO()
    month.write_parquet(buffer, compression="zstd", compression_level=1)
    return buffer.getvalue()


@pytest.mark.parametrize("way", [stored, stored_by_polars])
def test_real_months(
    benchmark: BenchmarkFixture,
    figures: dict[str, float],
    real_months: list[pl.DataFrame],
    way: Callable[[pl.DataFrame], bytes],
) -> None:
    """Real months to the bytes of Parquet files, and how many they are."""
    files: list[bytes] = benchmark(lambda: [way(month) for month in real_months])
    rows = sum(month.height for month in real_months)
    for month, file in zip(real_months, files, strict=True):
        assert pl.read_parquet(io.BytesIO(file)).equals(month)
    _told(benchmark, figures, f"real months to Parquet: {way.__name__}", rows)
    figures[f"real months in bytes, per minute: {way.__name__}"] = sum(map(len, files)) / rows


@pytest.mark.parametrize("way", [stored, stored_by_polars])
def test_real_months_read(
    benchmark: BenchmarkFixture,
    figures: dict[str, float],
    real_months: list[pl.DataFrame],
    way: Callable[[pl.DataFrame], bytes],
) -> None:
    """Those files read by polars."""
    files = [way(month) for month in real_months]
    frames = benchmark(lambda: [pl.read_parquet(io.BytesIO(file)) for file in files])
    assert frames[0].equals(real_months[0])
    rows = sum(month.height for month in real_months)
    _told(benchmark, figures, f"real months read: {way.__name__}", rows)


@pytest.fixture(scope="session")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a year of a symbol."""
    root = tmp_path_factory.mktemp("year")
    market = screener.demo_market(symbols=1, days=365, start=1_767_225_600_000)
    Store(root).merge(market, source="archive")
    return root


def scanned(root: Path) -> int:
    """All columns of a symbol's year, collected."""
    frame = Store(root).scan("NARWHALUSDT", "2026-01", "2027-01").collect()
    return frame.height


def scanned_by_polars(root: Path) -> int:
    """The same files by name."""
    frame = pl.scan_parquet(f"{root}/**/*.parquet", hive_partitioning=False)
    return frame.filter(pl.col("open_time") >= 1_767_225_600_000).collect().height


def scanned_by_duckdb(root: Path) -> int:
    """The same files by DuckDB, fetched as Arrow."""
    with duckdb.connect(config={"threads": 1}) as connection:
        table = connection.sql(
            f"SELECT * FROM read_parquet('{root}/**/*.parquet') "  # noqa: S608
            "WHERE open_time >= 1767225600000"
        ).arrow()
        return int(table.read_all().num_rows)


@pytest.mark.parametrize("way", [scanned, scanned_by_polars, scanned_by_duckdb])
def test_scan_of_a_symbol_year(
    benchmark: BenchmarkFixture,
    figures: dict[str, float],
    year: Path,
    way: Callable[[Path], int],
) -> None:
    """A year of a symbol's minutes into memory."""
    rows = benchmark(way, year)
    assert rows == 365 * 1440
    stats: Any = benchmark.stats
    if stats is not None:
        figures[f"a symbol's year: {way.__name__}"] = stats.stats.median * 1e9


def test_scan_of_one_column(
    benchmark: BenchmarkFixture, figures: dict[str, float], year: Path
) -> None:
    """The closes of a day out of the year."""
    day = Store(year).scan("NARWHALUSDT", "2026-07-01", "2026-07-02").select("close")
    frame = benchmark(day.collect)
    assert frame.height == 1440
    stats: Any = benchmark.stats
    if stats is not None:
        figures["closes of a day out of it"] = stats.stats.median * 1e9
