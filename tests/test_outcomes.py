"""`outcomes` against hand-made paths, the slow oracle, cut-off futures and bad input."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import screener
from oracle.outcomes import outcome
from screener import CandleError, DataError, RuleSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MINUTE = 60_000
START = 1_738_368_000_000
HORIZONS = ("1m", "2m", "5m", "7m")
# Multiples that put no barrier exactly onto a price that can be.
BARRIERS: dict[str, Any] = {"target": 1.3717, "stop": 0.9173, "atr": 3}
PRICES = ("entry", "atr", "target", "stop")
RETURNS = ("return", "mfe", "mae", "against_benchmark", "against_market", "label_return")
EXACT = ("entry_time", "mfe_after", "mae_after", "label", "label_after", "reason")


def candles(rows: Sequence[Sequence[float]], symbol: str = "AUSDT", start: int = 0) -> pl.DataFrame:
    """Minutes of one symbol from (open, high, low, close)."""
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(rows),
            "open_time": [START + (start + number) * MINUTE for number in range(len(rows))],
            "open": [float(row[0]) for row in rows],
            "high": [float(row[1]) for row in rows],
            "low": [float(row[2]) for row in rows],
            "close": [float(row[3]) for row in rows],
        },
        schema_overrides={"symbol": pl.String, "open_time": pl.Int64},
    )


def alerts(*minutes: float, **columns: object) -> pl.DataFrame:
    """Alerts raised so many minutes after the start; of a rise where nothing else is said."""
    base = {
        "symbol": "AUSDT",
        "triggered_at": [int(START + minute * MINUTE) for minute in minutes],
        "direction": "up",
    }
    columns = {name: value for name, value in (base | columns).items() if value is not None}
    return pl.DataFrame(columns)


FLAT = [(100, 101, 99, 100)] * 4


def one(frame: pl.DataFrame) -> dict[str, Any]:
    (row,) = frame.to_dicts()
    return row


# -- by hand -------------------------------------------------------------------------------------


def test_a_rise() -> None:
    path = [*FLAT, (100, 102, 99.5, 101), (101, 104, 100.5, 103)]
    found = one(screener.outcomes(alerts(4), candles(path), ["2m"], target=1.5, stop=1, atr=3))
    assert (found["entry_time"], found["entry"]) == (START + 4 * MINUTE, 100.0)
    assert found["return"] == pytest.approx(3.0)
    assert (found["mfe"], found["mfe_after"]) == (pytest.approx(4.0), 1)
    assert (found["mae"], found["mae_after"]) == (pytest.approx(-0.5), 0)
    assert (found["atr"], found["target"], found["stop"]) == (2.0, 103.0, 98.0)
    assert (found["label"], found["label_after"]) == (1, 1)
    assert found["label_return"] == pytest.approx(3.0)
    assert found["reason"] is None


def test_the_same_path_for_who_hoped_for_a_fall() -> None:
    path = candles([*FLAT, (100, 102, 99.5, 101), (101, 104, 100.5, 103)])
    found = one(screener.outcomes(alerts(4, direction="down"), path, ["2m"], stop=1, atr=3))
    assert found["return"] == pytest.approx(-3.0)
    assert (found["mfe"], found["mae"]) == (pytest.approx(0.5), pytest.approx(-4.0))
    assert (found["target"], found["stop"]) == (90.0, 102.0)
    assert (found["label"], found["label_after"]) == (-1, 0)


def test_the_stop_counts_where_one_minute_touches_both() -> None:
    path = candles([*FLAT, (100, 104, 96, 100)])
    found = one(screener.outcomes(alerts(4), path, ["1m"], target=1, stop=1, atr=3))
    assert (found["label"], found["label_return"]) == (-1, pytest.approx(-2.0))


def test_a_stop_that_is_jumped_over_costs_the_jump() -> None:
    path = candles([*FLAT, (100, 101, 99, 100), (95, 96, 94, 95)])
    found = one(screener.outcomes(alerts(4), path, ["2m"], target=2, stop=2, atr=3))
    assert (found["stop"], found["label"], found["label_after"]) == (96.0, -1, 1)
    assert found["label_return"] == pytest.approx(-5.0)


def test_no_touch_leaves_at_the_last_close() -> None:
    path = candles([*FLAT, (100, 101, 99, 100.5)])
    found = one(screener.outcomes(alerts(4), path, ["1m"], target=2, stop=2, atr=3))
    assert (found["label"], found["label_after"]) == (0, 0)
    assert found["label_return"] == pytest.approx(0.5)


def test_an_alert_within_a_minute_enters_at_the_next() -> None:
    found = screener.outcomes(alerts(1.001, 1.999, 2), candles(FLAT), ["1m"])
    assert found["entry_time"].to_list() == [START + 2 * MINUTE] * 3


def test_reasons() -> None:
    holed = pl.concat([candles(FLAT), candles(FLAT, start=6)])
    raised = pl.concat(
        [alerts(3, 4, 5, 8, 9, 10, -5), alerts(2, symbol="BUSDT"), alerts(6, 7).head(1)]
    )
    found = screener.outcomes(raised, holed, ["2m"])
    assert found["reason"].to_list() == [
        *("hole", "no_entry", "no_entry", None, "unfinished", "no_entry", "no_entry"),
        *("no_candles", None),
    ]
    told = found.filter(pl.col("reason").is_not_null())
    assert told["return"].null_count() == told.height
    assert found["entry"].is_null().to_list() == [
        *(False, True, True, False, False, True, True, True, False)
    ]


def test_the_range_starts_afresh_after_a_hole() -> None:
    holed = pl.concat([candles(FLAT), candles(FLAT, start=6)])
    found = screener.outcomes(alerts(2, 3, 6, 8, 9), holed, ["1m"], atr=2)
    assert found["atr"].to_list() == [None, 2.0, None, None, 2.0]
    assert found["label"].is_null().to_list() == [True, False, True, True, False]
    assert found["return"].null_count() == 0


def test_no_range_no_label() -> None:
    found = one(screener.outcomes(alerts(3), candles([(5, 5, 5, 5)] * 4), ["1m"], atr=2))
    assert (found["atr"], found["label"], found["return"]) == (0.0, None, 0.0)


def test_against_the_benchmark_and_the_market() -> None:
    rise, fall = [(100, 111, 99, 110)], [(100, 101, 94, 95)]
    frame = pl.concat([candles(rise), candles(fall, "BTCUSDT"), candles(FLAT, "LATEUSDT", 1)])
    for direction, sign in (("up", 1), ("down", -1)):
        found = one(screener.outcomes(alerts(0, direction=direction), frame, ["1m"]))
        assert found["return"] == pytest.approx(sign * 10.0)
        assert found["against_benchmark"] == pytest.approx(sign * 15.0)
        assert found["against_market"] == pytest.approx(sign * 7.5)
    alone = one(screener.outcomes(alerts(0), frame, ["1m"], benchmark="NOUSDT"))
    assert alone["against_benchmark"] is None
    assert one(screener.outcomes(alerts(0), frame, ["1m"], benchmark=None)) == alone


# -- which way -----------------------------------------------------------------------------------


def test_rules_tell_the_direction() -> None:
    raised = alerts(0, 0, 0, direction=None, rule=["pioneer_bear", "flat_8h", "bull_whale"])
    found = screener.outcomes(raised, candles([(100, 111, 99, 110)]), ["1m"])
    assert found["direction"].to_list() == ["down", "flat", "up"]
    assert found["return"].to_list() == pytest.approx([-10.0, 10.0, 10.0])


def test_rules_of_ones_own() -> None:
    rules = RuleSet.parse(
        '[[rule]]\nname = "mine"\ntimeframe = "5m"\nwhen = "change_5m > 3"\ndirection = "down"'
    )
    raised = alerts(0, direction=None, rule="mine")
    path = candles([(100, 111, 99, 110)])
    assert one(screener.outcomes(raised, path, ["1m"], rules=rules))["direction"] == "down"
    with pytest.raises(DataError, match="'mine'") as caught:
        screener.outcomes(raised, path, ["1m"])
    assert caught.value.column == "rule"
    own = raised.with_columns(direction=pl.lit("up"))
    assert one(screener.outcomes(own, path, ["1m"], rules=rules))["direction"] == "up"


def test_an_alert_without_a_rule_hopes_for_a_rise() -> None:
    found = one(screener.outcomes(alerts(0, direction=None), candles(FLAT), ["1m"]))
    assert (found["rule"], found["direction"]) == (None, "up")


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


@dataclass(frozen=True)
class Step:
    """A minute: how far it goes, how far it reaches beyond, and how many are missing before it."""

    jump: int
    move: int
    above: int
    below: int
    missing: int


steps = st.builds(
    Step,
    jump=st.sampled_from([0, 0, 0, -40, 25]),
    move=st.sampled_from([0, 1, -1, 7, -7, 40, -40]),
    above=st.sampled_from([0, 0, 2, 30]),
    below=st.sampled_from([0, 0, 2, 30]),
    missing=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1, 2]),
)


def walked(symbol: str, steps: Sequence[Step]) -> pl.DataFrame:
    price, time, rows, times = 10_000, START, [], []
    for step in steps:
        time += step.missing * MINUTE
        first = price + step.jump
        price = first + step.move
        high, low = max(first, price) + step.above, min(first, price) - step.below
        rows.append([value / 64 for value in (first, high, low, price)])
        times.append(time)
        time += MINUTE
    return candles(rows, symbol).with_columns(open_time=pl.Series(times, dtype=pl.Int64))


markets = st.tuples(
    st.lists(steps, min_size=1, max_size=40),
    st.lists(steps, max_size=40),
    st.lists(steps, max_size=20),
).map(
    lambda paths: pl.concat(
        walked(symbol, path)
        for symbol, path in zip(("AUSDT", "BTCUSDT", "月饼USDT"), paths, strict=True)
    )
)
raised_alerts = st.lists(
    st.tuples(
        st.sampled_from(["AUSDT", "AUSDT", "BTCUSDT", "月饼USDT", "NOUSDT"]),
        st.integers(-2, 44),
        st.sampled_from([0, 0, 0, 1, 59_999]),
        st.sampled_from(["up", "down", "flat"]),
    ),
    max_size=8,
    unique_by=lambda alert: alert[:3],
).map(
    lambda rows: pl.DataFrame(
        {
            "symbol": [row[0] for row in rows],
            "triggered_at": [START + row[1] * MINUTE + row[2] for row in rows],
            "direction": [row[3] for row in rows],
        },
        schema={"symbol": pl.String, "triggered_at": pl.Int64, "direction": pl.String},
    )
)


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


# -- alerts and candles as people have them ------------------------------------------------------


def test_an_alert_told_twice_counts_once() -> None:
    raised = alerts(
        1.5, 1.5, 2, id=["a", "a", "b"], state=["provisional", "withdrawn", "confirmed"]
    )
    found = screener.outcomes(raised, candles(FLAT), ["1m"])
    assert found["id"].to_list() == ["a", "b"]
    assert found["alert"].to_list() == [0, 2]


def test_running_minutes_are_left_out() -> None:
    frame = candles(FLAT).with_columns(closed=pl.Series([True, None, True, False]))
    found = screener.outcomes(alerts(2, 3), frame, ["1m"])
    assert found["reason"].to_list() == [None, "no_entry"]


def test_timestamps_are_times_too() -> None:
    stamp = pl.col("open_time").cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC"))
    raised = alerts(2)
    path = candles(FLAT)
    found = screener.outcomes(
        raised.with_columns(pl.col("triggered_at").cast(pl.Datetime("ms"))),
        path.with_columns(stamp),
        ["1m"],
    )
    assert_frame_equal(found, screener.outcomes(raised, path, ["1m"]))


def test_empty_frames_have_the_same_columns() -> None:
    schema = screener.outcomes(alerts(1), candles(FLAT)).schema
    for raised, frame in (
        (alerts(1).clear(), candles(FLAT)),
        (alerts(1), candles(FLAT).clear()),
        (alerts(1).clear(), candles(FLAT).clear()),
    ):
        found = screener.outcomes(raised, frame)
        assert found.schema == schema
        assert found.height == 4 * raised.height


@pytest.mark.parametrize(
    "horizons", [["5"], ["0m"], ["31d"], ["5 m"], ["1w"], [""], [5], ["60m", "1h"], [], ["-1m"]]
)
def test_horizons_that_are_none(horizons: list[str]) -> None:
    with pytest.raises(DataError, match="horizon") as caught:
        screener.outcomes(alerts(1), candles(FLAT), horizons)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "value"),
    [("target", 0.0), ("target", math.nan), ("stop", -1.0), ("stop", math.inf), ("atr", 0)],
)
def test_barriers_that_are_none(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(DataError, match=name):
        screener.outcomes(alerts(1), candles(FLAT), **options)


@pytest.mark.parametrize(
    ("column", "row", "raised"),
    [
        ("symbol", None, alerts(1, symbol=None)),
        ("triggered_at", None, alerts(1, triggered_at=None)),
        ("symbol", None, alerts(1, symbol=[3])),
        ("triggered_at", None, alerts(1, triggered_at=["noon"])),
        ("symbol", 1, alerts(1, 2, symbol=["AUSDT", None])),
        ("triggered_at", 0, alerts(1, triggered_at=[START // 1000])),
        ("direction", 1, alerts(1, 2, direction=["up", "long"])),
        ("id", 2, alerts(1, 2, 3, id=["a", "b", "a"])),
    ],
)
def test_alerts_that_cannot_be(column: str, row: int | None, raised: pl.DataFrame) -> None:
    with pytest.raises(DataError) as caught:
        screener.outcomes(raised, candles(FLAT))
    assert (caught.value.column, caught.value.row) == (column, row)
    assert caught.value.remedy


@pytest.mark.parametrize("value", [None, math.nan, math.inf, 0.0, -1.0, 102.0])
def test_candles_that_cannot_be(value: float | None) -> None:
    frame = candles(FLAT).with_columns(close=pl.Series([100.0, 100.0, value, 100.0]))
    with pytest.raises(CandleError) as caught:
        screener.outcomes(alerts(1), frame)
    assert (caught.value.row, caught.value.symbol) == (2, "AUSDT")
    assert (caught.value.field, caught.value.open_time) == ("close", START + 2 * MINUTE)


@pytest.mark.parametrize("time", [None, START + 1, START // 1000 // 60 * 60])
def test_candles_at_no_minute(time: int | None) -> None:
    frame = candles(FLAT).with_columns(open_time=pl.Series([START, time, None, None]))
    with pytest.raises(CandleError) as caught:
        screener.outcomes(alerts(1), frame)
    assert (caught.value.row, caught.value.field) == (1, "open_time")


@pytest.mark.parametrize("column", ["symbol", "open_time", "open", "high", "low", "close"])
def test_candles_without_a_column(column: str) -> None:
    with pytest.raises(DataError) as caught:
        screener.outcomes(alerts(1), candles(FLAT).drop(column))
    assert caught.value.column == column
    if column not in ("symbol", "open_time"):
        with pytest.raises(DataError, match="not numbers"):
            screener.outcomes(alerts(1), candles(FLAT).with_columns(pl.lit("1").alias(column)))


def test_two_candles_of_one_minute() -> None:
    other = candles([(100, 101, 99, 100.5)], start=2)
    with pytest.raises(DataError, match="AUSDT has another candle at 2025-02-01 00:02") as caught:
        screener.outcomes(alerts(1), pl.concat([candles(FLAT), other]))
    assert caught.value.row == 4
