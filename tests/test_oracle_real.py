"""Every minute of every real data set: the engine equals the recomputation (SPEC 6).

The files of `spot_dirty` have holes and repeated rows. The engine gets them as they are: it must
count the repetitions and fill the holes itself. The recomputation gets what `fill_holes` makes of
them (one row a minute, holes flat and pending), so each file is one contiguous run for both, and
the minutes in and behind the holes are proved like all others.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import screener
from oracle import fill_holes, recompute, recompute_alerts
from oracle.compare import alert_rows, column_differences
from oracle.names import DEFAULT_WINDOWS

FOLDERS = {
    "um_full_2025-02": ("ALGO", "AVAX", "FIL", "NEAR"),
    "um_ohlcv_2025-05": (
        *("ADA", "AVAX", "BCH", "BNB", "BTC", "ENA", "ETC", "ETH"),
        *("LAYER", "LINK", "LTC", "SOL", "SUI", "XLM", "XMR", "XRP"),
    ),
    "spot_dirty": ("BRDBTC", "BTCRUB", "SNGLSBTC"),
}

FILES = [
    f"{folder}/{name}.parquet" if folder == "spot_dirty" else f"{folder}/{name}USDT.parquet"
    for folder, names in FOLDERS.items()
    for name in names
]

# What the classic rules name beside the default set.
EXTRA_WINDOW = "10m"


class Series(NamedTuple):
    """A file as it is, the same with one row a minute, and every metric of it."""

    given: pl.DataFrame
    whole: pl.DataFrame
    metrics: dict[str, NDArray[np.float64]]


def read(path: Path) -> pl.DataFrame:
    """The candles of a file, quote volume estimated where the file has none."""
    if path.parent.name == "um_ohlcv_2025-05":
        return pl.DataFrame(screener.read_klines(path, quote_volume="typical"))
    if path.parent.name == "um_full_2025-02":
        return pl.DataFrame(screener.read_klines(path))
    typical = pl.col("volume") * (pl.col("high") + pl.col("low") + pl.col("close")) / 3
    return pl.read_parquet(path).with_columns(quote_volume=typical)


@pytest.fixture(scope="module", params=FILES)
def series(request: pytest.FixtureRequest, shared_data: Path) -> Series:
    """One file and its recomputation, made once for the tests of this module."""
    given = read(shared_data / "klines" / request.param)
    whole = fill_holes(given)
    return Series(given, whole, recompute(whole, [*DEFAULT_WINDOWS, EXTRA_WINDOW]))


def test_no_file_is_left_out(shared_data: Path) -> None:
    """The list of files is the folder."""
    klines = shared_data / "klines"
    assert sorted(FILES) == sorted(
        path.relative_to(klines).as_posix() for path in klines.glob("*/*.parquet")
    )


def test_estimated_quote_volume_is_the_typical_price(shared_data: Path) -> None:
    """`quote_volume="typical"` is volume times (H+L+C)/3."""
    path = shared_data / "klines" / "um_ohlcv_2025-05" / "BTCUSDT.parquet"
    frame = read(path)
    typical = frame["volume"] * (frame["high"] + frame["low"] + frame["close"]) / 3
    assert frame["quote_volume"].to_list() == pytest.approx(typical.to_list(), rel=1e-15)


def at_the_minutes_of(series: Series, frame: pl.DataFrame) -> tuple[pl.DataFrame, Series]:
    """The rows of `screener.windows` and the rows of the arrays for the same minutes.

    A row for every minute that was given is asked for; rows for filled minutes are compared too
    where the frame has them.
    """
    frame = frame.sort("open_time")
    assert frame["open_time"].is_unique().all()
    assert series.given["open_time"].is_in(frame["open_time"].to_list()).all()
    open_time = series.whole["open_time"].to_numpy()
    rows = np.searchsorted(open_time, frame["open_time"].to_numpy())
    assert (open_time[rows] == frame["open_time"].to_numpy()).all()
    metrics = {name: values[rows] for name, values in series.metrics.items()}
    return frame, series._replace(metrics=metrics)


def test_windows_equal_the_recomputation(series: Series) -> None:
    """Every default metric at every minute: windows bit for bit, indicators within SPEC 4."""
    frame, expected = at_the_minutes_of(series, screener.windows(series.given))
    default = [name for name in series.metrics if not name.endswith(f"_{EXTRA_WINDOW}")]
    price = expected.metrics["price"]
    assert column_differences(frame, expected.metrics, price, names=default) == []
    assert set(frame.columns) - {"symbol", "open_time", "market_cap"} == set(default)
    assert frame["symbol"].unique().to_list() == series.whole["symbol"].unique().to_list()


def test_another_window_equals_the_recomputation(series: Series) -> None:
    """A window that is named gets its metrics."""
    named = [name for name in series.metrics if name.endswith(f"_{EXTRA_WINDOW}")]
    asked = screener.windows(series.given, metrics=named)
    frame, expected = at_the_minutes_of(series, asked)
    assert set(frame.columns) == {"symbol", "open_time", *named}
    price = expected.metrics["price"]
    assert column_differences(frame, expected.metrics, price, names=named) == []


@pytest.mark.parametrize(
    ("rules", "floors"), [("futures", False), ("futures", True), ("classic", False)]
)
def test_replay_raises_the_recomputed_alerts(series: Series, rules: str, floors: bool) -> None:
    """The same alerts in the same order, ids and values included."""
    result = screener.replay(series.given, rules=rules, floors=floors)
    expected = recompute_alerts(series.whole, series.metrics, rules=rules, floors=floors)
    assert alert_rows(result.alerts) == expected
    repeated = series.given.height - series.given["open_time"].n_unique()
    filled = int(series.whole["filled"].sum())
    stats = dict(result.stats)
    assert stats["duplicate"] == repeated
    assert stats["filled"] == filled
    assert stats["appended"] == series.given.height - repeated
    for other in ("updated", "corrected", "outranked", "stale", "too_old", "restarted"):
        assert stats[other] == 0
