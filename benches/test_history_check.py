"""What a check costs, beside polars and DuckDB that count the same on the same rows in one run.

All three count, by symbol: missing minutes, runs of them, duplicates, misaligned times, rows that
break SPEC section 1, steps of the price and ranges and volumes beyond 20, 50 and 1000 medians,
quote volumes that do not fit, and minutes without a trade. The check also says which rows they
are, in which runs, and which holes are the exchange's; the peers do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import duckdb
import polars as pl
import pytest

import screener
from screener.history import Store
from screener.history.checks import check
from screener.history.stored import check_stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

MINUTE = 60_000
COPIES = 10
"""Of a market of 4 symbols: 40 symbols of 28 days, 1.6 million rows."""

Counts = dict[str, int]


@pytest.fixture(scope="session")
def history(market: pl.DataFrame) -> pl.DataFrame:
    """Symbol by symbol, with the holes and duplicates that real files have."""
    symbols = market.sort("symbol", "open_time")
    frames = [symbols.with_columns(pl.col("symbol") + str(n)) for n in range(COPIES)]
    first = cast("int", market["open_time"].min())
    hole = pl.col("open_time").is_between(first + 5_000 * MINUTE, first + 5_353 * MINUTE)
    frames[0] = frames[0].filter(~hole)
    frames[1] = pl.concat([frames[1], frames[1].head(500)])
    return pl.concat(frames).sort("symbol", "open_time", maintain_order=True).rechunk()


def by_check(frame: pl.DataFrame) -> Counts:
    """Everything the check has to tell, of which some is counted here."""
    report = check(frame)
    missing = report.count("missing") + report.count("exchange_hole")
    return {"missing": missing, "duplicates": report.count("duplicate_same"),
            "invalid": report.count("ohlc"), "misfits": report.count("quote_misfit")}  # fmt: skip


def by_polars(frame: pl.DataFrame) -> Counts:
    """One group_by, and a second one for what needs medians."""
    time, volume = pl.col("open_time"), pl.col("volume")
    low, high = pl.col("low"), pl.col("high")
    quote = pl.col("quote_volume")
    after = time.diff()
    step = (pl.col("open") / pl.col("close").shift(1) - 1).abs()
    wide = high / low - 1

    def beyond(values: pl.Expr, factor: float) -> pl.Expr:
        return (values > factor * values.filter(values > 0).median()).sum()

    amounts = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
    is_invalid = ~(
        (low >= 1e-30) & (low <= pl.min_horizontal("open", "close"))
        & (pl.max_horizontal("open", "close") <= high) & (high <= 1e30)
        & pl.all_horizontal(pl.col(name).is_between(0, 1e30) for name in amounts)
        & (pl.col("taker_buy_volume") <= volume * (1 + 1e-9))
        & (pl.col("taker_buy_quote_volume") <= quote * (1 + 1e-9))
    )  # fmt: skip
    found = frame.group_by("symbol").agg(
        missing=((after // MINUTE - 1).clip(lower_bound=0)).sum(),
        runs=(after > MINUTE).sum(),
        duplicates=(after == 0).sum(),
        misaligned=(time % MINUTE != 0).sum(),
        invalid=is_invalid.sum(),
        steps=beyond(step, 20),
        ranges=beyond(wide, 50),
        volumes=beyond(volume, 1000),
        misfits=(~quote.is_between(volume * low * (1 - 1e-6), volume * high * (1 + 1e-6))).sum(),
        quiet=(volume == 0).sum(),
    )
    sums = found.select(pl.exclude("symbol").sum()).row(0, named=True)
    return {name: sums[name] for name in ("missing", "duplicates", "invalid", "misfits")}


SQL = """
WITH after AS (
    SELECT *, open_time - lag(open_time) OVER w AS after,
        abs(open / lag(close) OVER w - 1) AS step, high / low - 1 AS wide
    FROM frame WINDOW w AS (PARTITION BY symbol ORDER BY open_time)
), medians AS (
    SELECT symbol, median(step) FILTER (step > 0) AS step, median(wide) FILTER (wide > 0) AS wide,
        median(volume) FILTER (volume > 0) AS volume FROM after GROUP BY symbol
)
SELECT sum(greatest(a.after // 60000 - 1, 0)), count(*) FILTER (a.after > 60000),
    count(*) FILTER (a.after = 0), count(*) FILTER (open_time % 60000 <> 0),
    count(*) FILTER (NOT (low >= 1e-30 AND low <= least(open, close)
        AND greatest(open, close) <= high AND high <= 1e30
        AND a.volume BETWEEN 0 AND 1e30 AND quote_volume BETWEEN 0 AND 1e30
        AND trades BETWEEN 0 AND 1e30 AND taker_buy_volume BETWEEN 0 AND 1e30
        AND taker_buy_quote_volume BETWEEN 0 AND 1e30
        AND taker_buy_volume <= a.volume * (1 + 1e-9)
        AND taker_buy_quote_volume <= quote_volume * (1 + 1e-9))),
    count(*) FILTER (a.step > 20 * m.step), count(*) FILTER (a.wide > 50 * m.wide),
    count(*) FILTER (a.volume > 1000 * m.volume),
    count(*) FILTER (quote_volume NOT BETWEEN a.volume * low * (1 - 1e-6)
        AND a.volume * high * (1 + 1e-6)),
    count(*) FILTER (a.volume = 0)
FROM after AS a JOIN medians AS m USING (symbol)
"""


def by_duckdb(frame: pl.DataFrame) -> Counts:
    """One query over the frame."""
    with duckdb.connect() as connection:
        connection.register("frame", frame)
        row = connection.execute(SQL).fetchone()
    assert row is not None
    return {"missing": int(row[0]), "duplicates": row[2], "invalid": row[4], "misfits": row[8]}


@pytest.mark.parametrize("way", [by_check, by_polars, by_duckdb])
def test_check(
    benchmark: BenchmarkFixture,
    figures: dict[str, float],
    history: pl.DataFrame,
    way: Callable[[pl.DataFrame], Counts],
) -> None:
    """Faults by kind, over rows in memory."""
    found = benchmark(way, history)
    assert found == {"missing": 4 * 354, "duplicates": 500, "invalid": 0, "misfits": 0}
    stats: Any = benchmark.stats
    if stats is not None:
        figures[f"check: {way.__name__}, per minute"] = stats.stats.median * 1e9 / history.height


@pytest.fixture(scope="session")
def stored(history: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same as Parquet, a file a symbol and month."""
    store = Store(tmp_path_factory.mktemp("history"))
    store.merge(history, source="archive")
    return store


def stored_by_check(store: Store) -> int:
    """Read and checked, symbol by symbol."""
    report = check_stored(store)
    return report.count("missing") + report.count("exchange_hole")


def stored_by_polars(store: Store) -> int:
    """The same files read whole, and counted as above."""
    return by_polars(pl.read_parquet(f"{store.root}/**/*.parquet"))["missing"]


def stored_by_duckdb(store: Store) -> int:
    """The same files by the same query."""
    with duckdb.connect() as connection:
        files = f"read_parquet('{store.root}/**/*.parquet', hive_partitioning = false)"
        row = connection.execute(SQL.replace("FROM frame", f"FROM {files}")).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("way", [stored_by_check, stored_by_polars, stored_by_duckdb])
def test_check_of_a_store(
    benchmark: BenchmarkFixture,
    figures: dict[str, float],
    stored: Store,
    history: pl.DataFrame,
    way: Callable[[Store], int],
) -> None:
    """The same out of the store's files, reading included."""
    assert benchmark(way, stored) == 4 * 354
    stats: Any = benchmark.stats
    if stats is not None:
        figures[f"check: {way.__name__}, per minute"] = stats.stats.median * 1e9 / history.height


def test_page_of_a_market(benchmark: BenchmarkFixture, figures: dict[str, float]) -> None:
    """The HTML page of a report, of 12 symbols and four weeks with a hole each."""
    market = screener.demo_market(symbols=12, days=28)
    first = cast("int", market["open_time"].min())
    report = check(market.filter((pl.col("open_time") - first) // MINUTE % 9_973 > 30))
    page = benchmark(report.to_html)
    assert page.count("<g>") == 12
    stats: Any = benchmark.stats
    if stats is not None:
        figures["the page of 12 symbols and four weeks"] = stats.stats.median * 1e9
