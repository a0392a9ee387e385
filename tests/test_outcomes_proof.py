"""`outcomes` equals the slow oracle, knows no future, and obeys its laws."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import screener
from alert_paths import HORIZONS, MINUTE, START, markets, raised_alerts, steps, walked
from oracle.outcomes import outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Multiples that put no barrier exactly onto a price that can be.
BARRIERS: dict[str, Any] = {"target": 1.3717, "stop": 0.9173, "atr": 3}
PRICES = ("entry", "atr", "target", "stop")
RETURNS = ("return", "mfe", "mae", "against_benchmark", "against_market", "label_return")
EXACT = ("entry_time", "mfe_after", "mae_after", "label", "label_after", "reason")


# -- the oracle ----------------------------------------------------------------------------------


def assert_as_the_oracle(
    raised: pl.DataFrame, frame: pl.DataFrame, horizons: Sequence[str], **options: Any
) -> None:
    found = screener.outcomes(raised, frame, horizons, benchmark="BTCUSDT", **options)
    rows = frame.to_dicts()
    minutes = {name: int(name[:-1]) * {"m": 1, "h": 60}[name[-1]] for name in horizons}
    assert found.height == raised.height * len(horizons)
    for row in found.iter_rows(named=True):
        right = outcome(row, minutes[row["horizon"]], rows, benchmark="BTCUSDT", **options)
        for name in EXACT:
            assert row[name] == right.get(name), name
        for name in PRICES + RETURNS:
            expected = right.get(name)
            if expected is None:
                assert row[name] is None, name
            else:
                assert math.isclose(row[name], expected, rel_tol=1e-12, abs_tol=1e-12), name


@given(market=markets, raised=raised_alerts, atr=st.integers(1, 5))
def test_generated_paths_equal_the_oracle(
    market: pl.DataFrame, raised: pl.DataFrame, atr: int
) -> None:
    assert_as_the_oracle(raised, market, HORIZONS, **(BARRIERS | {"atr": atr}))


def test_the_demo_market_equals_the_oracle() -> None:
    market = screener.demo_market(symbols=4, days=2)
    renamed = pl.col("symbol").replace({"TURNIPUSDT": "BTCUSDT"})
    market = market.with_columns(renamed)
    raised = screener.replay(market).alerts.gather_every(3)
    assert raised.height >= 15
    last = market["open_time"].max()
    assert isinstance(last, int)
    prices = market.select("symbol", "open_time", "open", "high", "low", "close")
    recent = prices.filter(pl.col("open_time") > last - 1440 * MINUTE)
    assert_as_the_oracle(raised, recent, ["5m", "15m", "1h", "4h"], **(BARRIERS | {"atr": 14}))


def test_real_minutes_equal_the_oracle(shared_data: Path) -> None:
    """Three days around the crash of 2025-02-03, two symbols of which one is taken for BTC."""
    files = sorted((shared_data / "klines" / "um_full_2025-02").glob("*.parquet"))[:2]
    month = pl.concat(pl.read_parquet(file) for file in files)
    begin = START + 1440 * MINUTE
    market = month.filter(pl.col("open_time").is_between(begin, begin + 3 * 1440 * MINUTE))
    other = market["symbol"].unique().sort()[1]
    market = market.with_columns(pl.col("symbol").replace({other: "BTCUSDT"}))
    raised = screener.replay(market).alerts
    assert raised.height > 50
    prices = market.select("symbol", "open_time", "open", "high", "low", "close")
    few = raised.gather_every(max(1, raised.height // 100))
    assert_as_the_oracle(few, prices, ["5m", "4h"], **(BARRIERS | {"atr": 14}))


# -- no look-ahead -------------------------------------------------------------------------------


def assert_unchanged_before(time: int, before: pl.DataFrame, after: pl.DataFrame) -> int:
    """What was known, or over, by a time is the same; how many outcomes were over."""
    lengths = {name: int(name[:-1]) * MINUTE for name in HORIZONS}
    end = pl.col("entry_time") + pl.col("horizon").replace_strict(lengths)
    entered = pl.col("entry_time") < time
    assert_frame_equal(
        before.filter(entered).select(PRICES),
        after.filter(entered).select(PRICES),
        check_exact=True,
    )
    over, still = before.filter(end <= time), after.filter(end <= time)
    # Why there is none may be told otherwise: a hole at the end is not known to be one.
    assert_frame_equal(over.drop("reason"), still.drop("reason"), check_exact=True)
    return over["return"].count()


@given(market=markets, raised=raised_alerts, cut=st.integers(0, 45), data=st.data())
def test_no_future_changes_what_was(
    market: pl.DataFrame, raised: pl.DataFrame, cut: int, data: st.DataObject
) -> None:
    time = START + cut * MINUTE
    found = screener.outcomes(raised, market, HORIZONS, **BARRIERS)
    past = market.filter(pl.col("open_time") < time)
    assert_unchanged_before(time, found, screener.outcomes(raised, past, HORIZONS, **BARRIERS))
    longer = data.draw(st.lists(steps, max_size=10))
    other = walked("AUSDT", longer).with_columns(pl.col("open_time") + cut * MINUTE)
    stretched = market.filter(pl.col("open_time") >= time, pl.col("symbol") != "AUSDT")
    stretched = stretched.with_columns(pl.col("open", "high", "low", "close") * 3)
    changed = pl.concat([past, other, stretched])
    assert_unchanged_before(time, found, screener.outcomes(raised, changed, HORIZONS, **BARRIERS))


def test_of_the_minute_of_entry_only_the_open_is_known() -> None:
    market = screener.demo_market(symbols=3, days=2)
    raised = screener.replay(market).alerts
    found = screener.outcomes(raised, market, HORIZONS)
    assert found["atr"].null_count() == 0
    ends = {"high": pl.col("high") * 2, "low": pl.col("low") / 2, "close": pl.col("low")}
    for time in found["entry_time"].unique():
        later = pl.col("open_time") >= time
        changed = market.with_columns(
            pl.when(later).then(other).otherwise(pl.col(name)).alias(name)
            for name, other in ends.items()
        )
        again = screener.outcomes(raised, changed, HORIZONS)
        assert_frame_equal(
            *(
                frame.filter(pl.col("entry_time") <= time).select(PRICES)
                for frame in (found, again)
            ),
            check_exact=True,
        )


def test_every_cut_of_a_market_leaves_its_past() -> None:
    """Alerts of the engine, cut off at every minute of an hour: the very same numbers."""
    market = screener.demo_market(symbols=3, days=2)
    raised = screener.replay(market).alerts
    found = screener.outcomes(raised, market, HORIZONS)
    middle = raised["triggered_at"][raised.height // 2]
    over = [
        assert_unchanged_before(
            time,
            found,
            screener.outcomes(raised, market.filter(pl.col("open_time") < time), HORIZONS),
        )
        for time in range(middle - 30 * MINUTE, middle + 30 * MINUTE, MINUTE)
    ]
    assert over[0] > 0
    assert over[-1] > over[0]


def test_the_entry_is_after_the_judged_minute() -> None:
    """With the judged minute's close in the entry the return would be another."""
    market = screener.demo_market(symbols=3, days=2)
    raised = screener.replay(market).alerts
    found = screener.outcomes(raised, market, ["5m"])
    opens = market.select("symbol", entry_time="open_time", first="open")
    joined = found.join(opens, on=["symbol", "entry_time"], how="left", maintain_order="left")
    assert joined["entry"].equals(joined["first"], check_names=False)
    assert (found["entry_time"] >= found["triggered_at"]).all()


# -- laws ----------------------------------------------------------------------------------------


@given(market=markets, raised=raised_alerts, seed=st.integers(0, 9))
def test_the_order_of_candles_does_not_matter(
    market: pl.DataFrame, raised: pl.DataFrame, seed: int
) -> None:
    found = screener.outcomes(raised, market, HORIZONS, **BARRIERS)
    twice = pl.concat([market, market.head(7)]).sample(fraction=1, shuffle=True, seed=seed)
    again = screener.outcomes(raised, twice.to_arrow(), HORIZONS, **BARRIERS)
    assert_frame_equal(found, again, check_exact=False, rel_tol=1e-12, abs_tol=1e-12)


def test_who_hopes_for_the_opposite_gets_the_opposite() -> None:
    market = screener.demo_market(symbols=3, days=2)
    raised = screener.replay(market).alerts.drop("rule")
    up, down = (
        screener.outcomes(raised.with_columns(direction=pl.lit(way)), market, ["15m"])
        for way in ("up", "down")
    )
    for left, right in (("return", "return"), ("mfe", "mae"), ("against_market",) * 2):
        sums = (up[left] + down[right]).drop_nulls()
        assert len(sums) > 10
        assert sums.abs().max() < 1e-12  # type: ignore[operator]
    assert up["mfe_after"].equals(down["mae_after"], check_names=False)


def test_many_symbols_are_measured_like_few(monkeypatch: pytest.MonkeyPatch) -> None:
    market = screener.demo_market(symbols=5, days=2)
    raised = screener.replay(market).alerts
    whole = screener.outcomes(raised, market)
    # By its name in full: `screener.outcomes` is the function.
    monkeypatch.setattr(importlib.import_module("screener.outcomes.paths"), "_SLAB", 5000)
    assert_frame_equal(whole, screener.outcomes(raised, market), check_exact=True)
