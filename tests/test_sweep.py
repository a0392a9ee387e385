"""`sweep` against the definition: each set replayed, and traded, alone."""

from __future__ import annotations

import io
import random
import sys
import uuid
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import screener
from screener import DataError, RuleError, fill_rules, sweep
from screener.sweep.passes import alerts_of, distinct_rules, share

MINUTE = 60_000
DAY = 1440 * MINUTE

SURGE = """
[[rule]]
name = "surge"
timeframe = "5m"
direction = "up"
when = "change_5m >= {up} and volume_ratio_5m >= {ratio}"
"""

SEVERAL = """
[[rule]]
name = "jump-{window}"
timeframe = "{window}"
direction = "up"
cooldown = "{rest}"
when = "{low} < change_{window} <= {low} + 2 and not volume_ratio_5m < 1.0"
floor = "quote_volume_5m > {least}"

[[rule]]
name = "share"
timeframe = "15m"
direction = "down"
cooldown = "{rest}"
when = "change_5m / (change_15m - {low}) > {ratio} or default(rsi_1h, {low}) - {low} < 30"

[[rule]]
name = "still"
timeframe = "1h"
when = "range_1h < 0.6 and max(abs(change_5m), 0.1) / quote_volume_5m * 1e6 > 1"
"""


def holed(symbols: int = 3, days: int = 2, share_lost: float = 0.002) -> pl.DataFrame:
    """The demo market without some of its minutes, single ones and runs of them."""
    market = screener.demo_market(symbols=symbols, days=days)
    chance = random.Random(5)
    rows, row = [], 0
    while row < market.height // symbols:
        if chance.random() < share_lost:
            row += chance.choice([1, 2, 7, 30])
        rows.append(row)
        row += 1
    first = int(market["open_time"][0])
    kept = pl.Series([first + MINUTE * row for row in rows])
    one = market["symbol"][0]
    return market.filter((pl.col("symbol") == one) | pl.col("open_time").is_in(kept.implode()))


MARKET = holed()
FIRST = int(MARKET["open_time"][0])


def alone(
    template: str, values: dict[str, Any], frame: pl.DataFrame, **options: Any
) -> pl.DataFrame:
    rules = fill_rules(template, values, floors=True)
    return screener.replay(frame, rules, **options).alerts


def identity(symbol: str, rule: str, time: int) -> str:
    """The id of SPEC 5.4."""
    space = uuid.uuid5(uuid.NAMESPACE_URL, "screener")
    return str(uuid.uuid5(space, f"binance:{symbol}:{rule}:{time}"))


numbers = st.one_of(
    st.floats(-1.5, 1.5, allow_nan=False), st.integers(-1, 1), st.sampled_from([0.0, -0.0, 1e-7])
)
several = st.fixed_dictionaries(
    {
        "window": st.sampled_from(["5m", "7m", "15m", "1h", "4h"]),
        "rest": st.sampled_from(["1m", "5m", "1h"]),
        "low": numbers,
        "ratio": numbers,
        "least": st.floats(0, 1e6),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sets=st.lists(several, min_size=1, max_size=5),
    gaps=st.sampled_from(["pending", "absent"]),
    parts=st.integers(1, 4),
)
def test_each_set_raises_what_replay_gives_for_it_alone(
    sets: list[dict[str, Any]], gaps: Any, parts: int
) -> None:
    start = FIRST + DAY // 2
    rules = distinct_rules([fill_rules(SEVERAL, values, floors=True) for values in sets])
    found = pl.concat(
        alerts_of(MARKET, rules, part, gaps=gaps, start=start)
        for part in share(rules, MARKET.height, parts)
    )
    for values, numbers_of_set in zip(sets, rules.sets, strict=True):
        own = found.filter(pl.col("number").is_in(numbers_of_set))
        ids = sorted(
            identity(symbol, rules.names[number], time) for symbol, number, time in own.iter_rows()
        )
        assert ids == sorted(alone(SEVERAL, values, MARKET, gaps=gaps, start=start)["id"])


def test_the_generated_rules_are_about_something() -> None:
    values = {"window": "5m", "rest": "5m", "low": 0.1, "ratio": 0.3, "least": 10.0}
    raised = alone(SEVERAL, values, MARKET)["rule"].value_counts()
    assert set(raised["rule"]) == {"jump-5m", "share", "still"}
    assert min(raised["count"].to_list()) > 3
    lost = alone(SEVERAL, values, MARKET, gaps="absent")
    assert lost.height > raised["count"].sum()


def test_a_row_a_set_in_the_order_of_the_grid() -> None:
    grid = {"ratio": [1.0, 2.0], "up": [0.2, 0.5, 1]}
    found = sweep(SURGE, grid, MARKET, floors=True)
    assert found["set"].to_list() == list(range(6))
    assert found.select("ratio", "up").rows() == [
        (1.0, 0.2), (1.0, 0.5), (1.0, 1.0), (2.0, 0.2), (2.0, 0.5), (2.0, 1.0)
    ]  # fmt: skip
    for row in found.iter_rows(named=True):
        values = {name: row[name] for name in grid}
        assert row["alerts"] == alone(SURGE, values, MARKET).height
        assert row["alerts_a_symbol_day"] == row["alerts"] * 1440 / MARKET.height
    assert found["alerts"].n_unique() > 3


@pytest.mark.parametrize("given_as", ["sorted", "mixed", "lazy", "arrow"])
def test_how_candles_are_given_and_by_how_many_workers_changes_nothing(given_as: str) -> None:
    grid = {"up": [0.2, 0.5, 0.5, 1], "ratio": [1, 2.0]}
    ways = {
        "sorted": MARKET.sort("symbol", "open_time"),
        "mixed": MARKET.sample(fraction=1, shuffle=True, seed=3),
        "lazy": MARKET.lazy(),
        "arrow": MARKET.to_arrow(),
    }
    options: dict[str, Any] = {"trade": {"hold": 30, "stop": 0.01}}
    expected = sweep(SURGE, grid, MARKET, workers=1, **options)
    for workers in (2, 5):
        found = sweep(SURGE, iter(sets_of(grid)), ways[given_as], workers=workers, **options)
        assert found.equals(expected)


def sets_of(grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [{"ratio": ratio, "up": up} for up in grid["up"] for ratio in grid["ratio"]]


def test_measures_are_those_of_a_backtest_of_the_set() -> None:
    start = FIRST + DAY
    end = start + DAY * 3 // 4
    trade: dict[str, Any] = {
        "hold": 45,
        "stop": 0.005,
        "take": screener.Atr(2),
        "bar": "15m",
        "sides": "long",
    }
    sets = [{"up": up, "ratio": 1.2} for up in (0.2, 0.4, 50)]
    found = sweep(SURGE, sets, MARKET, start=start, end=end, trade=trade)
    past = MARKET.filter(pl.col("open_time") < end)
    judged = past.filter(pl.col("open_time") >= start)
    for values, row in zip(sets, found.iter_rows(named=True), strict=True):
        alerts = alone(SURGE, values, past, start=start)
        rules = fill_rules(SURGE, values)
        expected = screener.backtest(alerts, judged, rules=rules, **trade).measures
        assert {name: row[name] for name in asdict(expected)} == asdict(expected)
        assert row["alerts"] == alerts.height
        assert row["alerts_a_symbol_day"] == row["alerts"] * 1440 / judged.height
    assert found["trades"].to_list()[0] > 5
    assert found["trades"].to_list()[2] == 0


def test_nothing_from_the_end_on_is_seen() -> None:
    end = FIRST + DAY * 3 // 2
    is_later = pl.col("open_time") >= end
    prices = ["open", "high", "low", "close"]
    altered = MARKET.with_columns(
        pl.when(is_later).then(pl.col(prices) * 1.5).otherwise(pl.col(prices))
    )
    grid = {"up": [0.1, 0.2], "ratio": [1.0]}
    whole = sweep(SURGE, grid, MARKET, trade={})
    assert not whole.equals(sweep(SURGE, grid, altered, trade={}))
    expected = sweep(SURGE, grid, MARKET, end=end, trade={})
    assert expected["trades"][0] >= 3
    assert sweep(SURGE, grid, altered, end=end, trade={}).equals(expected)
    assert sweep(SURGE, grid, MARKET.filter(~is_later), end=end, trade={}).equals(expected)


def test_choosing_on_the_past_sees_nothing_of_the_range_it_is_judged_on() -> None:
    (split, *_) = screener.walk_forward(
        FIRST, FIRST + 2 * DAY, train="24h", test="6h", embargo="1h"
    )
    grid = {"up": [0.1, 0.2, 0.5, 1.0], "ratio": [1.0, 2.0]}

    def chosen(candles: pl.DataFrame) -> dict[str, Any]:
        tried = sweep(
            SURGE, grid, candles, start=split.train_start, end=split.train_end, trade={"hold": 30}
        )
        return tried.sort("total_return", descending=True).row(0, named=True)

    bent = pl.when(pl.col("open_time") >= split.train_end).then(3.0).otherwise(1.0)
    prices = ["open", "high", "low", "close", "volume", "quote_volume"]
    assert chosen(MARKET) == chosen(MARKET.with_columns(pl.col(prices) * bent))


def test_a_rule_no_parameter_touches_is_judged_once() -> None:
    both = SURGE + '[[rule]]\nname = "calm"\ntimeframe = "1h"\nwhen = "range_1h < 0.5"\n'
    sets = [fill_rules(both, {"up": up, "ratio": 2}) for up in range(20)]
    assert len(distinct_rules(sets).texts) == 21
    assert [len(part) for part in share(distinct_rules(sets), 1000, 2)] == [11, 10]


MANNER = """
[[rule]]
name = "r"
timeframe = "5m"
cooldown = "0m"
when = "change_5m >= {up} and change_5m[15m] < {up}"
clear_when = "change_5m < 0"
max_per_hour = {most}

[[rule.override]]
symbols = ["M*"]
when = "change_15m >= {up}"
"""


def test_rules_of_any_manner_and_overrides() -> None:
    market = screener.demo_market(symbols=6, days=1)
    tried = screener.sweep(MANNER, {"up": [0.2, 0.4], "most": [1, 4]}, market)
    for row in tried.iter_rows(named=True):
        rules = screener.fill_rules(MANNER, {"up": row["up"], "most": row["most"]})
        assert row["alerts"] == screener.replay(market, rules).alerts.height > 0


@pytest.mark.parametrize("place", ["when = 'rank(change_5m) <= {n}'", "when = 'change_5m > {n}'\n"
    "[[rule.override]]\nsymbols = ['A*']\nwhen = 'breadth(change_5m > 0) > {n}'"])  # fmt: skip
def test_what_is_asked_of_all_symbols_is_refused_before_any_work(place: str) -> None:
    text = f'[[rule]]\nname = "leads"\ntimeframe = "5m"\n{place}'
    with pytest.raises(screener.RuleError, match="asks something of all symbols") as told:
        screener.sweep(text, {"n": [1, 2]}, None)  # type: ignore[arg-type]
    assert told.value.rule == "leads"
    assert "fill_rules" in str(told.value)


def test_values_of_numpy_and_polars() -> None:
    plain = sweep(SURGE, {"up": [1, 2], "ratio": [0.5, 1.0]}, MARKET)
    assert sweep(SURGE, {"up": np.arange(1, 3), "ratio": pl.Series([0.5, 1])}, MARKET).equals(plain)
    assert fill_rules(SURGE, {"up": np.float32(0.5), "ratio": -1e-7})["surge"].when == (
        "change_5m >= 0.5 and volume_ratio_5m >= -1e-7"
    )


def test_a_template_in_a_file(tmp_path: Any) -> None:
    path = tmp_path / "surge.toml"
    path.write_text(SURGE, encoding="utf-8")
    sets = [{"up": 0.5, "ratio": 2}]
    assert sweep(path, sets, MARKET).equals(sweep(SURGE, sets, MARKET))
    with pytest.raises(DataError, match="cannot be read"):
        sweep(str(tmp_path / "no.toml"), sets, MARKET)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"up": [1]}, r"names \{ratio\}, which has no value"),
        ({"up": [1], "ratio": [1], "upp": [1]}, r"no place for parameter 'upp'\nit names \{up\}"),
        ({"up": [1], "ratio": []}, "'ratio' has no values"),
        ({"up": [1], "ratio": 2}, "'ratio' has 2, which is no list"),
        ({"up": [1], "ratio": "12"}, "'ratio' has '12', which is no list"),
        ({"up": [1], "ratio": [float("nan")]}, "'ratio' cannot be nan"),
        ({"up": [1], "ratio": [True]}, "'ratio' cannot be True"),
        ({"up": [1], "ratio": ['1"\n']}, "'ratio' cannot be"),
        ({"up": range(101), "ratio": range(100)}, "10100 sets are too many: at most 10000"),
        (({"up": n, "ratio": 1} for n in range(10**9)), "more than 10000 sets are too many"),
        ([], "there is no set of values"),
        ([{"up": 1}], r"names \{ratio\}"),
        ([1], "1 is no set of values"),
    ],
)
def test_parameters_that_do_not_fit(parameters: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        sweep(SURGE, parameters, MARKET)


def test_a_value_that_makes_no_rule_tells_the_set_and_the_place() -> None:
    sets: list[dict[str, Any]] = [{"up": 1, "ratio": 1}, {"up": 1, "ratio": "banana"}]
    with pytest.raises(RuleError, match=r"set 1: up=1, ratio='banana'") as caught:
        sweep(SURGE, sets, MARKET)
    error = caught.value
    assert (error.rule, error.field, error.line) == ("surge", "when", 6)
    assert SURGE.replace("{up}", "1").splitlines()[5][error.column - 1 :].startswith("{ratio}")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"trade": {"hodl": 3}}, "'hodl', which is no option of backtest"),
        ({"trade": {"rules": "futures"}}, "'rules', which is no option"),
        ({"trade": {"hold": 0}}, "hold=0 cannot be"),
        ({"workers": 0}, "workers=0 cannot be"),
        ({"start": "soon"}, "start='soon' is no time"),
        ({"end": 0}, "no minute of the candles is judged"),
        ({"start": "2100-01-01"}, "no minute of the candles is judged"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        sweep(SURGE, {"up": [1], "ratio": [1]}, MARKET, **options)


@pytest.mark.parametrize(
    ("template", "parameters", "told"),
    [
        (SURGE.replace("{up}", "1").replace("{ratio}", "1"), {}, "leaves no value open"),
        (SURGE.replace("{up}", "{sharpe}"), {"sharpe": [1], "ratio": [1]}, "called 'sharpe'"),
    ],
)
def test_templates_that_cannot_be(template: str, parameters: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        sweep(template, parameters, MARKET)


@pytest.mark.parametrize("column", ["symbol", "open_time"])
def test_candles_without_a_column(column: str) -> None:
    with pytest.raises(DataError, match="no such column"):
        sweep(SURGE, {"up": [1], "ratio": [1]}, MARKET.drop(column))
    timed = MARKET.with_columns(pl.from_epoch("open_time", "ms"))
    with pytest.raises(DataError, match="not Int64"):
        sweep(SURGE, {"up": [1], "ratio": [1]}, timed)


def test_progress_is_told_step_by_step_and_may_stop_it() -> None:
    told: list[tuple[int, int]] = []
    grid = {"up": [1, 2], "ratio": [1.0]}
    sweep(SURGE, grid, MARKET, trade={}, progress=lambda *step: told.append(step))
    assert told == [(done, 5) for done in range(1, 6)]

    def stop(_done: int, _steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(SURGE, grid, MARKET, progress=stop)


def test_a_line_of_progress_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    grid = {"up": [1], "ratio": [1.0]}
    for stream, shown in ((Terminal(), "sweep: 3 of 3 steps, 100 %\n"), (io.StringIO(), "")):
        monkeypatch.setattr(sys, "stderr", stream)
        sweep(SURGE, grid, MARKET, progress=True)
        assert stream.getvalue().split("\r")[-1] == shown
