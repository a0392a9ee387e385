"""Indicators are those of TA-Lib on the bars of a chart (SPEC 4)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import talib
from numpy.typing import NDArray

import screener
from oracle.compare import allowed
from oracle.names import DEFAULT_WINDOWS, INDICATORS

FILES = (
    *(f"um_full_2025-02/{name}USDT.parquet" for name in ("ALGO", "AVAX", "FIL", "NEAR")),
    *(f"um_ohlcv_2025-05/{name}USDT.parquet" for name in ("BTC", "ETH", "XRP", "LAYER")),
)
MINUTE_MS = 60_000
READY = {"rsi": 15, "macd": 26, "macd_signal": 34, "macd_hist": 34}
Floats = NDArray[np.float64]


def reference(closes: Floats) -> dict[str, Floats]:
    """TA-Lib's values at every close; MACD for closes 26 to 33 with a signal period of 1."""
    line, signal, hist = talib.MACD(closes, fastperiod=12, slowperiod=26, signalperiod=9)
    early = talib.MACD(closes, fastperiod=12, slowperiod=26, signalperiod=1)[0]
    upper, middle, lower = talib.BBANDS(closes, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    return {
        "rsi": talib.RSI(closes, timeperiod=14),
        "macd": np.where(np.isnan(line), early, line),
        "macd_signal": signal,
        "macd_hist": hist,
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
    }


def whole_bars(frame: pl.DataFrame, length: int) -> pl.DataFrame:
    """Open time and close of every clock-aligned bar that is in the frame from its first minute."""
    bar = pl.col("open_time") // (length * MINUTE_MS) * (length * MINUTE_MS)
    return (
        frame.group_by(bar.alias("bar"), maintain_order=True)
        .agg(pl.col("open_time").first().alias("begins"), pl.col("close").last())
        .filter(pl.col("begins") == pl.col("bar"))
        .select("bar", "close")
    )


def same(ours: float | None, theirs: float, close: float) -> bool:
    """Whether a value is TA-Lib's within SPEC 4, not ready where TA-Lib has none."""
    if ours is None or math.isnan(theirs):
        return ours is None and math.isnan(theirs)
    return abs(ours - theirs) <= allowed(theirs, close)


@pytest.fixture(scope="module", params=FILES)
def candles(request: pytest.FixtureRequest, shared_data: Path) -> pl.DataFrame:
    """The candles of one file; some begin in the middle of every bar."""
    frame = pl.read_parquet(shared_data / "klines" / request.param)
    return frame.with_columns(quote_volume=pl.col("volume") * pl.col("close"))


@pytest.mark.parametrize("window", list(DEFAULT_WINDOWS))
def test_indicators_of_real_bars(candles: pl.DataFrame, window: str) -> None:
    """At the end of every bar, and with the bar running at some minutes."""
    length = DEFAULT_WINDOWS[window]
    bars = whole_bars(candles, length)
    assert bars.height >= 15, "too few bars to prove anything"
    names = [f"{kind}_{window}" for kind in INDICATORS]
    found = screener.windows(candles, metrics=names)
    closes = bars["close"].to_numpy()

    # At the last minute of a bar its close is known: TA-Lib on the closes so far.
    expected = reference(closes)
    last_minutes = bars.select(open_time=pl.col("bar") + (length - 1) * MINUTE_MS)
    at_ends = last_minutes.join(found, on="open_time", how="left", maintain_order="left")
    ended = at_ends["open_time"].is_in(candles["open_time"].to_list()).to_list()
    assert ended[:-1] == [True] * (bars.height - 1)
    for kind in INDICATORS:
        for row, value in enumerate(at_ends[f"{kind}_{window}"].to_list()):
            if ended[row]:
                theirs = float(expected[kind][row])
                assert same(value, theirs, closes[row]), (kind, row, value, theirs)

    # Before that the bar runs at its current close.
    first = int(bars["bar"][0])
    rows = range(7, candles.height, max(1, candles.height // 60))
    for row in rows:
        open_time, close = candles["open_time"][row], candles["close"][row]
        before = (open_time - first) // (length * MINUTE_MS)
        known = np.array([]) if before < 0 else np.append(closes[:before], close)
        theirs_now = reference(known) if len(known) > 1 else {}
        for kind in INDICATORS:
            theirs = float(theirs_now[kind][-1]) if kind in theirs_now else math.nan
            value = found[f"{kind}_{window}"][row]
            assert same(value, theirs, close), (kind, open_time, value, theirs)


@pytest.mark.parametrize("window", ["5m", "4h", "1d"])
def test_bars_given_before_the_minutes(shared_data: Path, window: str) -> None:
    """Indicators go on from `warm_up_bars` as if the minutes had been followed all along."""
    length = DEFAULT_WINDOWS[window]
    path = shared_data / "klines" / "um_full_2025-02" / "NEARUSDT.parquet"
    candles = pl.read_parquet(path)
    bars = whole_bars(candles, length)
    count = bars.height - 3
    cut = int(bars["bar"][count])
    older = bars.head(count).select(symbol=pl.lit("NEARUSDT"), open_time="bar", close="close")
    engine = screener.Engine()
    engine.warm_up_bars(older, window)
    newer = candles.filter(pl.col("open_time") >= cut).head(length + length // 2)
    for row, candle in enumerate(newer.to_dicts()):
        engine.update(candle)
        if row % (length // 5) == 0 or row == newer.height - 1:
            closed = newer["close"][length - 1 : row : length].to_list()
            closes = np.array([*bars["close"][:count].to_list(), *closed, candle["close"]])
            metrics = engine.metrics("NEARUSDT")
            for kind, theirs in reference(closes).items():
                value = metrics[f"{kind}_{window}"]
                assert same(value, float(theirs[-1]), candle["close"]), (kind, row)


def flat_candles(count: int, closes: list[float] | None = None) -> pl.DataFrame:
    """Minutes from a midnight on that do not move, or end at the closes given."""
    price = np.full(count, 5.0) if closes is None else np.array(closes)
    return pl.DataFrame(
        {
            "symbol": pl.repeat("FLATUSDT", count, eager=True),
            "open_time": 1_738_368_000_000 + MINUTE_MS * np.arange(count, dtype=np.int64),
            "open": price,
            "high": price,
            "low": price,
            "close": price,
            "volume": np.zeros(count),
            "quote_volume": np.zeros(count),
        }
    )


def test_rsi_of_a_flat_price_is_the_one_difference() -> None:
    """50 where TA-Lib says 0."""
    found = screener.windows(flat_candles(600), metrics=["rsi_5m", "rsi_15m", "rsi_1d"])
    assert found["rsi_5m"].to_list() == [None] * 70 + [50.0] * 530
    assert found["rsi_15m"].to_list() == [None] * 210 + [50.0] * 390
    assert found["rsi_1d"].to_list() == [None] * 600
    assert talib.RSI(np.full(15, 5.0))[-1] == 0.0


def test_rsi_without_a_loss_is_100_and_without_a_gain_0() -> None:
    """The two ends of the scale are reached exactly."""
    rising = [5.0 + 0.01 * count for count in range(120)]
    found = screener.windows(flat_candles(120, rising), metrics=["rsi_5m"])
    assert found["rsi_5m"].drop_nulls().to_list() == [100.0] * 50
    falling = screener.windows(flat_candles(120, rising[::-1]), metrics=["rsi_5m"])
    assert falling["rsi_5m"].drop_nulls().to_list() == [0.0] * 50


def test_an_indicator_is_ready_after_so_many_closes() -> None:
    """Null for as long as SPEC 4 says, the running bar counted."""
    names = [f"{kind}_5m" for kind in INDICATORS]
    found = screener.windows(flat_candles(200), metrics=names)
    for kind in INDICATORS:
        closes = READY.get(kind, 20)
        missing = 5 * (closes - 1)
        column = found[f"{kind}_5m"]
        assert column.null_count() == missing
        assert column.head(missing).null_count() == missing
