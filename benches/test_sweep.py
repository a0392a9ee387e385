"""A sweep of 100 sets of thresholds over a symbol-year, beside vectorbt's in the same run.

Both look for a move of five minutes with its share of the day's volume, enter at the next open,
leave by stop or take, and give the same five measures of every set. vectorbt's knows no cooldown
and no holes. It is left out where it is not installed; the session `bench` brings it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import screener

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

MINUTE = 60_000
YEAR = 365 * 1440
START = 1_735_689_600_000
TEMPLATE = """
[[rule]]
name = "surge"
timeframe = "5m"
direction = "up"
when = "change_5m >= {up} and 288 * quote_volume_5m >= {ratio} * quote_volume_1d"
"""
GRID = {
    "up": [round(0.5 + 0.02 * step, 2) for step in range(10)],
    "ratio": [round(1 + 0.2 * step, 1) for step in range(10)],
}
MEASURES = ["total_return", "sharpe", "max_drawdown", "win_rate", "profit_factor"]


@pytest.fixture(scope="module")
def year() -> pl.DataFrame:
    """A random walk of 525,600 minutes, seeded."""
    chance = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(chance.normal(0, 0.0012, YEAR)))
    opened = np.concatenate([[100.0], close[:-1]])
    volume = chance.lognormal(3, 1, YEAR)
    return pl.DataFrame(
        {
            "symbol": ["WALKUSDT"] * YEAR,
            "open_time": START + MINUTE * np.arange(YEAR),
            "open": opened,
            "high": np.maximum(opened, close) * 1.0005,
            "low": np.minimum(opened, close) * 0.9995,
            "close": close,
            "volume": volume,
            "quote_volume": volume * close,
        }
    )


def _entries(close: Any, volume: Any, up: float, ratio: float) -> Any:
    """The signals of one set; vectorbt asks for each by itself."""
    change = np.full_like(close, np.nan)
    change[5:] = (close[5:] / close[:-5] - 1) * 100
    total = np.cumsum(volume, axis=0)
    short, day = total.copy(), np.full_like(total, np.nan)
    short[5:] -= total[:-5]
    day[1440:] = total[1440:] - total[:-1440]
    return (change >= up) & (288 * short >= ratio * day)


def _pandas(year: pl.DataFrame) -> Any:
    columns = year.to_pandas().set_index("open_time")
    columns.index = columns.index.astype("datetime64[ms]")
    return columns


def _signals(vbt: Any, columns: Any, grid: dict[str, list[float]]) -> Any:
    factory = vbt.IndicatorFactory(
        input_names=["close", "volume"], param_names=list(grid), output_names=["entry"]
    ).from_apply_func(_entries)
    found = factory.run(columns["close"], columns["quote_volume"], **grid, param_product=True)
    return found.entry


def _by_vectorbt(vbt: Any, year: pl.DataFrame, grid: dict[str, list[float]]) -> dict[str, Any]:
    columns = _pandas(year)
    prices = {name: columns[name] for name in ("open", "high", "low", "close")}
    result = vbt.Portfolio.from_signals(
        **prices, price=prices["open"], exits=False,
        entries=_signals(vbt, columns, grid).vbt.signals.fshift(1),
        sl_stop=0.01, tp_stop=0.02, size=0.1, size_type="percent", fees=0.0005, freq="1min",
        init_cash=10_000.0,
    )  # fmt: skip
    return {
        "total_return": result.total_return(),
        "sharpe": result.sharpe_ratio(),
        "max_drawdown": result.max_drawdown(),
        "win_rate": result.trades.win_rate(),
        "profit_factor": result.trades.profit_factor(),
    }


def _once(benchmark: Any, run: Any) -> tuple[Any, float]:
    result = benchmark.pedantic(run, rounds=1)
    stats: Any = benchmark.stats
    return result, float("nan") if stats is None else stats.stats.median * 1e9


def test_sweep_counted(
    benchmark: BenchmarkFixture, year: pl.DataFrame, figures: dict[str, float]
) -> None:
    """Alerts counted, nothing traded."""
    tried, figure = _once(benchmark, lambda: screener.sweep(TEMPLATE, GRID, year))
    assert tried.height == 100
    figures["sweep of 100 sets, a symbol-year, alerts counted"] = figure


def test_sweep_traded(
    benchmark: BenchmarkFixture, year: pl.DataFrame, figures: dict[str, float]
) -> None:
    """Alerts traded, eleven measures of each set."""
    trade = {"stop": 0.01, "take": 0.02}
    tried, figure = _once(benchmark, lambda: screener.sweep(TEMPLATE, GRID, year, trade=trade))
    assert tried.select(MEASURES).null_count().row(0) == (0,) * 5
    figures["sweep of 100 sets, a symbol-year, traded"] = figure


@pytest.mark.filterwarnings("ignore")
def test_signals_by_vectorbt(
    benchmark: BenchmarkFixture, year: pl.DataFrame, figures: dict[str, float]
) -> None:
    """The minutes at which each set holds, counted; without a cooldown."""
    vbt: Any = pytest.importorskip("vectorbt")
    counts, figure = _once(benchmark, lambda: _signals(vbt, _pandas(year), GRID).sum())
    assert counts.min() > 0
    figures["signals of 100 sets, a symbol-year, counted by vectorbt"] = figure


@pytest.mark.filterwarnings("ignore")
def test_sweep_by_vectorbt(
    benchmark: BenchmarkFixture, year: pl.DataFrame, figures: dict[str, float]
) -> None:
    """The same by vectorbt, which has compiled what it compiles before."""
    vbt: Any = pytest.importorskip("vectorbt")
    _by_vectorbt(vbt, year.head(5000), {"up": [0.5, 0.7], "ratio": [1.0, 2.0]})
    result, figure = _once(benchmark, lambda: _by_vectorbt(vbt, year, GRID))
    own = screener.sweep(TEMPLATE, GRID, year, trade={"stop": 0.01, "take": 0.02})
    apart = np.abs(result["win_rate"].to_numpy() - own["win_rate"].to_numpy())
    assert apart.mean() < 0.02
    assert apart.max() < 0.1
    figures["sweep of 100 sets, a symbol-year, traded by vectorbt"] = figure
