"""What figures are drawn from: bars, marks and outlines, against plain Python."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import screener
from screener.look.marks import marks_of
from screener.look.minutes import bars_of, length_for

MINUTE = 60_000
START = 1_738_368_000_000


def minutes(count: int, symbol: str = "AUSDT", seed: int = 1) -> pl.DataFrame:
    rng = random.Random(seed)
    rows, price = [], 100.0
    for number in range(count):
        close = price * math.exp(rng.gauss(0, 0.001))
        high, low = max(price, close) * 1.0005, min(price, close) * 0.9995
        rows.append((symbol, START + number * MINUTE, price, high, low, close, rng.random()))
        price = close
    names = ["symbol", "open_time", "open", "high", "low", "close", "quote_volume"]
    return pl.DataFrame(rows, schema=names, orient="row")


# -- bars ----------------------------------------------------------------------------------------


def plain_bars(rows: list[dict[str, Any]], length: int) -> list[tuple[float, ...]]:
    bars: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(
        {row["open_time"]: row for row in rows}.values(), key=lambda r: r["open_time"]
    ):
        bars.setdefault(row["open_time"] // (length * MINUTE) * length * MINUTE, []).append(row)
    return [
        (
            time,
            held[0]["open"],
            max(row["high"] for row in held),
            min(row["low"] for row in held),
            held[-1]["close"],
            sum(row["quote_volume"] for row in held),
        )
        for time, held in bars.items()
    ]


@pytest.mark.parametrize("count", [1, 10, 240, 241, 1000])
@pytest.mark.parametrize("kept", [1.0, 0.6])
def test_bars_are_those_of_plain_python(count: int, kept: float) -> None:
    rng = random.Random(count)
    frame = minutes(count)
    rows = [row for row in frame.to_dicts() if rng.random() < kept] or frame.to_dicts()[:1]
    rng.shuffle(rows)
    given_rows = pl.DataFrame([*rows, *rows[:3]])  # three of them twice
    bars = bars_of(given_rows, "AUSDT")
    found = bars.frame.drop("filled").rows()
    expected = plain_bars(rows, bars.minutes)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-12)
    assert bars.frame.height <= 241
    assert (bars.start, bars.end) == (
        min(row["open_time"] for row in rows),
        max(row["open_time"] for row in rows) + MINUTE,
    )


@given(st.integers(1, 3_000_000))
def test_so_many_bars_as_can_be_seen(count: int) -> None:
    length = length_for(count)
    assert length * 240 >= count
    # The next shorter one of the usual lengths would be too many.
    usual = [1, 2, 3, 5, 10, 15, 30, 60, 120, 240, 480, 720, *range(1440, length + 1, 1440)]
    assert length in usual
    assert length == 1 or usual[usual.index(length) - 1] * 240 < count


def test_the_later_of_two_rows_of_a_minute_counts() -> None:
    frame = minutes(2)
    corrected = frame.head(1).with_columns(close=pl.col("high"))
    bars = bars_of(pl.concat([frame, corrected]), "AUSDT").frame
    assert bars["close"][0] == frame["high"][0]


def test_volume_is_quote_volume_then_volume_then_none() -> None:
    frame = minutes(3)
    assert bars_of(frame, "AUSDT").volume == "quote_volume"
    base = frame.rename({"quote_volume": "volume"})
    assert bars_of(base, "AUSDT").volume == "volume"
    assert bars_of(base.drop("volume"), "AUSDT").volume is None
    unknown = frame.with_columns(quote_volume=pl.Series([None, math.nan, 2.0]))
    assert bars_of(unknown, "AUSDT").frame["volume"].to_list() == [0, 0, 2]


def test_times_may_be_timestamps_and_frames_of_any_library() -> None:
    frame = minutes(20)
    stamped = frame.with_columns(pl.col("open_time").cast(pl.Datetime("ms", "UTC")))
    expected = bars_of(frame, "AUSDT").frame
    assert bars_of(stamped, "AUSDT").frame.equals(expected)
    assert bars_of(frame.to_arrow(), "AUSDT").frame.equals(expected)
    assert bars_of(frame.to_pandas(), "AUSDT").frame.equals(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop("high"), "high"),
        (lambda frame: frame.with_columns(low=pl.lit("cheap")), "low"),
        (lambda frame: frame.with_columns(quote_volume=pl.lit("much")), "quote_volume"),
        (lambda frame: frame.with_columns(close=pl.lit(None, pl.Float64)), "close"),
        (lambda frame: frame.with_columns(open_time=pl.lit("noon")), "open_time"),
        (lambda frame: frame.lazy(), "collect"),
        (lambda frame: frame.to_dicts(), "list"),
        (lambda _: "candles.csv", "str"),
        (lambda frame: frame.clear(), "no candle of 'AUSDT'"),
    ],
)
def test_frames_that_are_none_are_refused(change: Any, message: str) -> None:
    with pytest.raises(screener.DataError, match=message):
        bars_of(change(minutes(5)), "AUSDT")


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_a_price_that_is_none_is_told_with_its_minute(value: float) -> None:
    frame = minutes(5)
    wrong = frame.with_columns(
        pl.when(pl.col("open_time") == START + 2 * MINUTE).then(value).otherwise("low").alias("low")
    )
    with pytest.raises(screener.CandleError) as caught:
        bars_of(wrong, "AUSDT")
    assert (caught.value.field, caught.value.open_time) == ("low", START + 2 * MINUTE)
    assert bars_of(wrong, "AUSDT", end=START + 2 * MINUTE).frame.height == 2


def test_an_unknown_symbol_is_told_the_nearest() -> None:
    with pytest.raises(screener.DataError, match="did you mean 'AUSDT'"):
        bars_of(minutes(5), "AUSD")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bar": "0m"}, "no length"),
        ({"bar": 5}, "no length"),
        ({"bar": "1m"}, "too many"),
        ({"start": "2030-01-01"}, "no candle"),
        ({"start": "soon"}, "no time"),
        ({"end": START}, "no candle"),
    ],
)
def test_ranges_and_bars_that_cannot_be_are_refused(options: Any, message: str) -> None:
    with pytest.raises(screener.DataError, match=message):
        bars_of(minutes(2001), "AUSDT", **options)


# -- marks ---------------------------------------------------------------------------------------


def alerts(*rows: tuple[str, str, int], **more: list[str]) -> pl.DataFrame:
    names = ["symbol", "rule", "triggered_at"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        **{name: pl.Series(values) for name, values in more.items()}
    )


def test_marks_are_of_the_symbol_and_the_range() -> None:
    frame = alerts(
        ("A", "pioneer_bull", 60_000),  # the close of the minute before the range
        ("A", "pioneer_bull", 120_000),
        ("A", "pioneer_bear", 180_000),
        ("A", "pioneer_bear", 240_000),
        ("B", "pioneer_bear", 180_000),
    )
    marks = marks_of(frame, "A", 60_000, 180_000, None)
    assert marks.alerts.rows() == [
        ("pioneer_bull", 120_000, "up"),
        ("pioneer_bear", 180_000, "down"),
    ]
    assert marks.outside == 2
    assert [lane.name for lane in marks.lanes] == ["pioneer_bull", "pioneer_bear"]


def test_an_alert_told_again_counts_once_and_one_withdrawn_not() -> None:
    frame = alerts(
        ("A", "pioneer_bull", 90_000),
        ("A", "pioneer_bull", 90_000),
        ("A", "pioneer_bear", 90_000),
        state=["provisional", "confirmed", "withdrawn"],
    )
    assert marks_of(frame, "A", 0, 120_000, None).alerts.rows() == [("pioneer_bull", 90_000, "up")]


def test_directions_are_the_columns_then_the_rules_then_unknown() -> None:
    frame = alerts(("A", "pioneer_bull", 60_000), ("A", "mine", 60_000))
    told = frame.with_columns(direction=pl.Series(["down", "sideways"]))
    assert marks_of(told, "A", 0, 60_000, None).alerts["direction"].to_list() == ["flat", "down"]
    assert marks_of(frame, "A", 0, 60_000, None).alerts["direction"].to_list() == ["flat", "up"]
    mine = screener.RuleSet.parse(
        '[[rule]]\nname = "mine"\ntimeframe = "5m"\nwhen = "change_5m < 0"\ndirection = "down"'
    )
    assert marks_of(frame, "A", 0, 60_000, mine).alerts["direction"].to_list() == ["down", "flat"]


def test_alerts_of_an_engine_and_of_a_replay_are_the_same_marks() -> None:
    market = screener.demo_market()
    raised = screener.Engine().update_many(market)
    replayed = screener.replay(market).alerts
    assert raised
    for symbol in {alert.symbol for alert in raised}:
        one = marks_of(raised, symbol, 0, 2**50, None)
        other = marks_of(replayed, symbol, 0, 2**50, None)
        assert one.alerts.equals(other.alerts)


def test_of_many_rules_the_rarer_ones_share_a_lane() -> None:
    rows = [("A", f"rule_{n:02}", 60_000 * (k + 1)) for n in range(20) for k in range(n + 1)]
    marks = marks_of(alerts(*rows), "A", 0, 60_000 * 20, None)
    assert len(marks.lanes) == 16
    assert marks.lanes[-1].name == "5 other rules"
    assert marks.lanes[-1].alerts.height == 1 + 2 + 3 + 4 + 5
    assert sum(lane.alerts.height for lane in marks.lanes) == len(rows)


@pytest.mark.parametrize(
    ("given_alerts", "message"),
    [
        ("alerts", "text"),
        ([1, 2], "number 0 is a int"),
        (pl.DataFrame({"symbol": ["A"]}), "triggered_at"),
        (pl.DataFrame({"symbol": ["A"], "triggered_at": ["noon"]}), "triggered_at"),
        (pl.DataFrame({"symbol": ["A"], "triggered_at": [None]}), "no time"),
        (pl.DataFrame({"symbol": [1], "triggered_at": [60_000]}), "symbol"),
    ],
)
def test_what_are_no_alerts_is_refused(given_alerts: Any, message: str) -> None:
    with pytest.raises(screener.DataError, match=message):
        marks_of(given_alerts, "A", 0, 60_000, None)


# -- outlines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 50, 101, 5000])
def test_an_outline_keeps_ends_and_extremes_of_every_dot(count: int) -> None:
    pytest.importorskip("matplotlib")
    from screener.look.account import outline

    values = np.random.default_rng(count).normal(size=count).cumsum()
    rows = outline(values, 50)
    assert rows.size <= 102
    assert (rows[0], rows[-1]) == (0, count - 1)
    assert (np.diff(rows) > 0).all()
    edges = [count * dot // 50 for dot in range(51)]
    for start, end in itertools.pairwise(edges):
        if end > start:
            kept = values[rows[(rows >= start) & (rows < end)]]
            assert kept.min() == values[start:end].min()
            assert kept.max() == values[start:end].max()
