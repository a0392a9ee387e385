"""`outcomes` of paths made by hand, of alerts and candles as people have them, and of bad input."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import screener
from alert_paths import FLAT, MINUTE, START, alerts, candles, one
from screener import CandleError, DataError, RuleSet

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
