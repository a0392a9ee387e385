"""`demo_market`: valid, the same everywhere, and all ten `futures` rules fire in it.

The rules are written out here once more, in plain polars over SPEC 5.1, so that this proof needs
neither the engine nor the rule compiler.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screener.demo import demo_market
from screener.errors import DataError
from screener.quality import inspect_klines

WINDOWS = {"5m": 5, "15m": 15, "1h": 60, "8h": 480, "1d": 1440}
MOVERS = 8
TEN = [
    "big_bull_60m",
    "big_bear_60m",
    "pioneer_bull",
    "pioneer_bear",
    "big_bull_5m",
    "big_bear_5m",
    "big_bull_15m",
    "big_bear_15m",
    "bottom_hunter",
    "top_hunter",
]


def change(window: str) -> pl.Expr:
    first_open = pl.col("open").shift(WINDOWS[window] - 1)
    return ((pl.col("close") / first_open - 1) * 100).over("symbol")


def quote(window: str) -> pl.Expr:
    return pl.col("quote_volume").rolling_sum(WINDOWS[window]).over("symbol")


def rules(way: int) -> dict[str, pl.Expr]:
    """The five rules of one direction with their floors; `way` is 1 (up) or -1 (down)."""
    c5, c15, c1h, c8h, c1d = (way * change(window) for window in WINDOWS)
    q5, q15, q1h, q8h, q1d = (quote(window) for window in WINDOWS)
    animal, hunted = ("bull", "top") if way > 0 else ("bear", "bottom")
    when = {
        f"big_{animal}_60m": [c1h >= 1.6, c8h > c1h, c1d > c8h, 6 * q1h >= q8h, 16 * q1h >= q1d],
        f"pioneer_{animal}": [c5 >= 1, c15 >= 1, 3 * c5 >= c15, 2 * q5 >= q15],
        f"big_{animal}_5m": [c5 >= 0.6, c15 > c5, c1h > c15, 3 * q5 >= q15, 6 * q5 >= q1h],
        f"big_{animal}_15m": [c15 >= 1, c1h > c15, c8h > c1h, 3 * q15 >= q1h, 26 * q15 >= q8h],
        f"{hunted}_hunter": [c1h >= 0.7, c15 >= 0.6, c5 <= -0.5, 2 * q5 >= q15, 8 * q5 >= q1h],
    }
    floor = {
        f"big_{animal}_60m": [c1d < 15, q1h > 500e3, q8h > 5e6],
        f"big_{animal}_5m": [c1d < 15, q5 > 100e3, q1h > 1e6, 66 * q5 > q8h],
        f"big_{animal}_15m": [c1d < 15, q15 > 400e3, q1h > 1e6],
    }
    return {
        name: pl.all_horizontal(*clauses, *floor.get(name, ()), q5 > 0)
        for name, clauses in when.items()
    }


def minutes_that_fire(market: pl.DataFrame) -> pl.DataFrame:
    """One row a symbol, one column a rule: at how many minutes it holds, floors on."""
    held = [
        held.fill_null(value=False).alias(name) for name, held in (rules(1) | rules(-1)).items()
    ]
    return (
        market.select("symbol", *held)
        .group_by("symbol", maintain_order=True)
        .agg(pl.col(name).sum() for name in TEN)
    )


def test_all_ten_rules_fire_and_calm_symbols_are_quiet() -> None:
    fired = minutes_that_fire(demo_market())
    movers, calm = fired.head(MOVERS), fired.tail(-MOVERS)
    assert all(movers[name].sum() > 0 for name in TEN)
    assert all(calm[name].sum() == 0 for name in TEN)
    assert calm.height == 4


@settings(max_examples=15)
@given(
    seed=st.integers(),
    minute=st.integers(21_000_000, 50_000_000),
    symbols=st.integers(MOVERS, 20),
    days=st.integers(2, 3),
)
def test_any_seed_at_any_time_will_do(seed: int, minute: int, symbols: int, days: int) -> None:
    market = demo_market(symbols, days, seed, start=minute * 60_000)
    fired = minutes_that_fire(market)
    assert all(fired.head(MOVERS)[name].sum() > 0 for name in TEN)
    assert all(fired.slice(MOVERS)[name].sum() == 0 for name in TEN)
    assert inspect_klines(market).clean


def test_the_candles_are_valid_and_complete() -> None:
    market = demo_market()
    report = inspect_klines(market)
    assert report.clean
    assert report.zero_volume == 0
    assert market.columns[:2] == ["symbol", "open_time"]
    assert market.null_count().sum_horizontal().item() == 0
    vwap = market["quote_volume"] / market["volume"]
    assert ((vwap > market["low"] * 0.9999) & (vwap < market["high"] * 1.0001)).all()


def test_names_are_like_real_ones_and_made_up() -> None:
    names = demo_market(symbols=30, days=1)["symbol"].unique(maintain_order=True).to_list()
    assert len(set(names)) == 30
    assert all(name.endswith("USDT") for name in names)
    assert any(name[0].isdigit() for name in names[:MOVERS])
    assert any(not name.isascii() for name in names[:MOVERS])


def test_the_same_seed_is_the_same_market_on_every_platform() -> None:
    rows = demo_market(symbols=12, days=1).rows()
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()
    assert digest == "ee347447b4ac3b6dd7375e07d68ce1c0420dfcdd11d8c9bdbfef193f16ef716c"


def test_another_seed_is_another_market() -> None:
    assert not demo_market(days=1).equals(demo_market(days=1, seed=8))


def test_a_symbol_does_not_depend_on_the_others() -> None:
    few, many = demo_market(symbols=3, days=1), demo_market(symbols=13, days=1)
    assert many.filter(pl.col("symbol").is_in(few["symbol"].unique().to_list())).equals(few)


def test_rows_come_as_a_live_market_sends_them() -> None:
    market = demo_market(symbols=5, days=1)
    assert market["open_time"].is_sorted()
    symbols = market["symbol"].to_list()
    assert symbols == symbols[:5] * 1440


@pytest.mark.parametrize(
    "start",
    [
        1_700_000_040_000,
        datetime(2023, 11, 14, 22, 14, tzinfo=UTC),
        datetime.fromisoformat("2023-11-14T22:14"),
        datetime(2023, 11, 15, 0, 14, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_the_start_is_a_datetime_or_milliseconds(start: datetime | int) -> None:
    assert demo_market(symbols=1, days=1, start=start)["open_time"].min() == 1_700_000_040_000


@pytest.mark.parametrize(
    "arguments",
    [
        {"symbols": 0},
        {"days": 0},
        {"start": 1},
        {"start": datetime.fromisoformat("2025-01-01T00:00:01")},
    ],
)
def test_arguments_that_make_no_market(arguments: dict[str, int]) -> None:
    with pytest.raises(DataError) as caught:
        demo_market(**arguments)
    assert caught.value.remedy is not None


def test_it_is_made_in_a_moment() -> None:
    started = time.perf_counter()
    demo_market()
    assert time.perf_counter() - started < 3
