"""What the package costs from Python, beside its peers in the same run.

The peers do less: RSI, MACD and Bollinger bands of one timeframe by TA-Lib over whole arrays, and
six rolling windows by bottleneck and numpy. Every result goes into a checksum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bottleneck as bn
import numpy as np
import polars as pl
import pytest
import talib

import screener

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

WINDOWS = (5, 15, 60, 240, 480, 1440)


def _median(benchmark: BenchmarkFixture, per: int = 1) -> float:
    stats: Any = benchmark.stats
    return float("nan") if stats is None else stats.stats.median * 1e9 / per


def test_replay(
    benchmark: BenchmarkFixture, market: pl.DataFrame, figures: dict[str, float]
) -> None:
    """All metrics, six timeframes of indicators, ten rules: from a frame to alerts."""
    result = benchmark(screener.replay, market, floors=True)
    assert result.stats["appended"] == market.height
    figures["replay, per row"] = _median(benchmark, market.height)


def test_windows(
    benchmark: BenchmarkFixture, market: pl.DataFrame, figures: dict[str, float]
) -> None:
    """Every metric of every minute, written to a frame that a checksum reads."""
    frame = benchmark(screener.windows, market)
    assert frame.height == market.height
    assert frame.select(pl.all().exclude("symbol").hash().sum()).width == frame.width - 1
    figures["windows, all metrics into a frame, per row"] = _median(benchmark, market.height)


@pytest.mark.parametrize(
    ("name", "amounts"),
    [
        ("peers per row", ["quote_volume"]),
        (
            "peers with the four sums and vwap per row",
            ["quote_volume", "volume", "trades", "taker_buy_quote_volume"],
        ),
    ],
)
def test_peers(
    benchmark: BenchmarkFixture,
    market: pl.DataFrame,
    figures: dict[str, float],
    name: str,
    amounts: list[str],
) -> None:
    """TA-Lib's three indicators of one timeframe and six rolling windows, over whole arrays."""
    symbols: list[Any] = [
        (
            *(part[price].to_numpy() for price in ("open", "high", "low", "close")),
            [part[amount].cast(pl.Float64).to_numpy() for amount in amounts],
        )
        for part in market.partition_by("symbol")
    ]

    def whole_arrays() -> float:
        total = 0.0
        for open_, high, low, close, summed in symbols:
            results = [talib.RSI(close), *talib.MACD(close), *talib.BBANDS(close, 20)]
            for width in WINDOWS:
                sums = [bn.move_sum(amount, width) for amount in summed]
                highest, lowest = bn.move_max(high, width), bn.move_min(low, width)
                first = np.full_like(open_, np.nan)
                first[width - 1 :] = open_[: open_.size - width + 1]
                results += [*sums, (close / first - 1) * 100, (highest - lowest) / first * 100]
                results += [sums[0] / sums[1]] if len(sums) > 1 else []
            total += sum(float(np.nansum(result)) for result in results)
        return total

    assert np.isfinite(benchmark(whole_arrays))
    figures[name] = _median(benchmark, market.height)


def test_update(
    benchmark: BenchmarkFixture, market: pl.DataFrame, figures: dict[str, float]
) -> None:
    """One candle from Python, ring full."""
    engine = screener.Engine(floors=True)
    first = market.filter(pl.col("symbol") == market["symbol"][0])
    engine.warm_up(first[:1500])
    candles = [screener.Candle(**row) for row in first[1500:].iter_rows(named=True)]
    step = _cycled(candles)
    rounds: Any = benchmark.pedantic
    rounds(engine.update, setup=lambda: ((next(step),), {}), rounds=len(candles))
    figures["engine.update(candle)"] = _median(benchmark)


def _cycled(candles: list[screener.Candle]) -> Any:
    while True:
        yield from candles


def test_closing_minute(benchmark: BenchmarkFixture, figures: dict[str, float]) -> None:
    """A closing minute of 500 symbols through update_many, rings full."""
    market = screener.demo_market(symbols=500, days=2).sort("open_time", maintain_order=True)
    minutes = market.partition_by("open_time")
    engine = screener.Engine(floors=True)
    engine.warm_up(pl.concat(minutes[:1500]))
    step = iter(minutes[1500:])
    rounds: Any = benchmark.pedantic
    rounds(engine.update_many, setup=lambda: ((next(step),), {}), rounds=1000)
    figures["update_many, a closing minute of 500 symbols"] = _median(benchmark)


def test_warm_up(benchmark: BenchmarkFixture, figures: dict[str, float]) -> None:
    """500 symbols with a day of minutes each, from one frame."""
    market = screener.demo_market(symbols=500, days=1)

    def warm_up() -> screener.Engine:
        engine = screener.Engine()
        engine.warm_up(market)
        return engine

    rounds: Any = benchmark.pedantic
    assert len(rounds(warm_up, rounds=5).symbols) == 500
    figures["warm_up, 500 symbols x 1440 minutes"] = _median(benchmark)


def test_rules(
    benchmark: BenchmarkFixture, market: pl.DataFrame, figures: dict[str, float]
) -> None:
    """The ten rules on a mapping of all metrics, reading the mapping included."""
    engine = screener.Engine()
    engine.warm_up(market)
    metrics = engine.metrics(market["symbol"][0])
    benchmark(engine.rules.evaluate, metrics)
    figures["rules.evaluate(metrics) of a mapping"] = _median(benchmark)
