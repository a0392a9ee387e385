"""Margins and near misses, held against `RuleSet.explain` at every minute and the engine itself."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import screener
from screener import DataError, RuleError, RuleSet
from screener.cli import main
from screener.history import Store
from screener.near.clauses import margin, read, share, truth
from screener.reach import reach

MINUTE = 60_000
START = 1_767_571_200_000  # of the made-up market
ODD = RuleSet.parse(
    """
[[rule]]
name = "odd"
timeframe = "15m"
when = '''
  (change_5m > 0.1 or not range_15m <= 0.2)
  and max(change_15m, abs(change_5m)) - 0.5 >= min(0.1, default(rsi_1h, 50) / 100)
  and trades_5m != 0
  and 3 * change_1h >= -change_15m
'''

[[rule]]
name = "even"
timeframe = "5m"
cooldown = "0m"
when = "volume_ratio_5m >= 2 and -0.5 * change_5m < 0 and up_streak == 3"
floor = "price / quote_volume_5m < 1 and change_1d < 15"
""",
    floors=True,
)
FUTURES = RuleSet.load("futures", floors=True)


@cache
def market() -> pl.DataFrame:
    return screener.demo_market()


def of(symbol: str) -> pl.DataFrame:
    return market().filter(pl.col("symbol") == symbol)


def with_holes(frame: pl.DataFrame) -> pl.DataFrame:
    """A market in which minutes are missing, and some are found to be absent."""
    dice = random.Random(7)
    holes = {START + dice.randrange(1500, 2880) * MINUTE for _ in range(12)}
    absent = {at for at in holes if dice.random() < 0.5}
    at = pl.col("open_time")
    flat = frame.filter(at.is_in(list(absent))).with_columns(
        pl.lit(0.0).alias(name)
        for name in (
            "volume",
            "quote_volume",
            "trades",
            "taker_buy_volume",
            "taker_buy_quote_volume",
        )
    )
    flat = flat.with_columns(pl.col("close").alias(n) for n in ("open", "high", "low"))
    real = frame.filter(~at.is_in(list(holes))).with_columns(source=pl.lit("stream"))
    return pl.concat(
        [real, flat.select(frame.columns).with_columns(source=pl.lit("synthetic"))],
        how="vertical_relaxed",
    )


def by_hand(frame: pl.DataFrame, rules: RuleSet, name: str) -> tuple[dict[int, float], set[int]]:
    """Minute by minute: distances where the rule does not hold, and where it does, by close."""
    metrics = rules[name].metrics
    opened = {
        row["open_time"]: row["source"]
        for row in frame.with_columns(
            pl.lit("stream").alias("source") if "source" not in frame.columns else pl.col("source")
        ).iter_rows(named=True)
    }
    misses: dict[int, float] = {}
    held: set[int] = set()
    missing = -math.inf
    for row in screener.windows(frame, metrics).iter_rows(named=True):
        at = row["open_time"]
        if at not in opened:
            missing = at
        if at not in opened or opened[at] == "synthetic":
            continue
        table = rules.explain(name, row)
        if table.not_ready or any(clause.held is None for clause in table.clauses):
            continue
        if (at - missing) / MINUTE < reach(metrics):
            continue
        if table.holds:
            held.add(at + MINUTE)
        elif all(clause.operator for clause in table.clauses):
            misses[at + MINUTE] = max(
                shortfall(clause.left, clause.operator, clause.right)
                for clause in table.clauses
                if not clause.held
            )
        else:
            misses[at + MINUTE] = math.nan
    return misses, held


def shortfall(left: float | None, sign: str | None, right: float | None) -> float:
    assert left is not None
    assert right is not None
    if left == right:
        return 0.0
    size = max(abs(left), abs(right))
    return 0.0 if sign == "!=" else abs(left - right) / size


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize(
    ("rules", "name"),
    [(FUTURES, "big_bull_5m"), (FUTURES, "top_hunter"), (ODD, "odd"), (ODD, "even")],
)
def test_every_minute_is_as_explain_has_it(rules: RuleSet, name: str, holes: bool) -> None:
    frame = of("TEACUPUSDT")
    frame = with_holes(frame) if holes else frame
    misses, held = by_hand(frame, rules, name)
    assert misses
    found = screener.near_misses(frame, rules, only=[name], apart="1m", limit=100_000).frame
    assert dict.fromkeys(found["time"]).keys() == misses.keys()
    for time, distance in found.select("time", "distance").iter_rows():
        if not math.isnan(misses[time]):
            assert distance == pytest.approx(misses[time], rel=1e-12, abs=1e-15)
    assert found["distance"].is_sorted()
    # The engine, without cooldowns, fires at exactly the others.
    text = rules[name].to_toml()
    bare = RuleSet.parse(
        "\n".join(
            'cooldown = "0m"' if line.startswith("cooldown") else line for line in text.splitlines()
        ),
        floors=True,
    )
    fired = set(screener.replay(frame, bare).alerts["triggered_at"])
    assert fired == held


def test_the_nearest_of_each_moment() -> None:
    """Greedily by hand: the nearest, then the nearest apart from it and from every hit."""
    frame, name = of("NARWHALUSDT"), "big_bull_60m"
    misses, held = by_hand(frame, FUTURES, name)
    start, end = START + 1500 * MINUTE, START + 2800 * MINUTE
    picked: list[int] = []
    for time in sorted(misses, key=lambda at: (misses[at], at)):
        is_in = start < time <= end
        if is_in and all(abs(time - other) >= 15 * MINUTE for other in [*picked, *held]):
            picked.append(time)
    found = screener.near_misses(frame, FUTURES, start, end, 10, only=[name]).frame
    assert found["time"].to_list() == picked[:10]
    assert held


def test_the_nearest_of_all_symbols_and_rules() -> None:
    whole = screener.near_misses(market(), FUTURES, limit=15).frame
    parts = [
        screener.near_misses(part, FUTURES, limit=15).frame
        for part in market().partition_by("symbol")
    ]
    joined = pl.concat(parts).sort("distance", "time", "symbol", "rule").head(15)
    assert whole.equals(joined)
    again = screener.near_misses(iter(market().partition_by("symbol")), FUTURES, limit=15)
    assert again.frame.equals(whole)
    assert len(again) == 15


def test_a_store_is_read_with_the_day_before(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.merge(of("TEACUPUSDT"))
    start = START + 2000 * MINUTE
    found = screener.near_misses(store, FUTURES, start, limit=5)
    expected = screener.near_misses(of("TEACUPUSDT"), FUTURES, start, limit=5)
    assert found.frame.equals(expected.frame)


def test_what_is_told_makes_the_rule_hold() -> None:
    told = 0
    for name in FUTURES.names:
        found = screener.near_misses(of("TEACUPUSDT"), FUTURES, only=[name], limit=40).frame
        metrics = FUTURES[name].metrics
        rows = screener.windows(of("TEACUPUSDT"), metrics).with_columns(
            pl.col("open_time") + MINUTE
        )
        for miss in found.iter_rows(named=True):
            seen = rows.row(by_predicate=pl.col("open_time") == miss["time"], named=True)
            table = screener.margins(FUTURES, name, seen)
            assert table.told == miss["told"]
            assert table.distance == miss["distance"]
            if table.needs:
                told += 1
                needed = {need.metric: need.needed for need in table.needs}
                assert name in FUTURES.evaluate(seen | needed)
                for need in table.needs:  # and each of them is the nearest such value
                    closer = need.needed + (need.value - need.needed) * 1e-9 or 1e-300
                    assert name not in FUTURES.evaluate(seen | needed | {need.metric: closer})
    assert told > 100


# -- one minute ----------------------------------------------------------------------------------


def jump(when: str) -> RuleSet:
    return RuleSet.parse(f'[[rule]]\nname = "r"\ntimeframe = "5m"\nwhen = "{when}"\n')


@pytest.mark.parametrize(
    ("when", "metrics", "told"),
    [
        ("change_5m >= 1", {"change_5m": 0.92}, "change_5m +0.08 % (1 instead of 0.92)"),
        ("change_5m <= -1", {"change_5m": -0.92}, "change_5m -0.08 % (-1 instead of -0.92)"),
        ("1 <= change_5m", {"change_5m": 0.92}, "change_5m +0.08 % (1 instead of 0.92)"),
        ("-2 * rsi_1h > -60", {"rsi_1h": 40.0}, "rsi_1h -10 (30 instead of 40)"),
        ("rsi_1h > 30", {"rsi_1h": 30.0}, "rsi_1h just above 30"),
        ("rsi_1h != 30", {"rsi_1h": 30.0}, "rsi_1h just below 30"),
        ("rsi_1h == 30", {"rsi_1h": 29.0}, "rsi_1h +1 (30 instead of 29)"),
        ("3 * change_5m >= change_15m", {"change_5m": 0.2, "change_15m": 0.9},
         "change_5m +0.1 % (0.3 instead of 0.2)"),
        ("change_15m > 1 and change_1h > change_15m", {"change_15m": 0.5, "change_1h": 0.25},
         "change_15m +0.5 % (1 instead of 0.5) and change_1h +0.75 % (1 instead of 0.25)"),
    ],
)  # fmt: skip
def test_the_nearest_miss_in_words(when: str, metrics: dict[str, float], told: str) -> None:
    found = screener.margins(jump(when), "r", metrics)
    assert found.told == f"would have fired with {told}"
    assert str(found).endswith(found.told)
    assert not found.holds


@pytest.mark.parametrize(
    ("when", "metrics"),
    [
        ("abs(change_5m) >= 1", {"change_5m": 0.5}),
        ("change_5m > 1 or rsi_1h > 70", {"change_5m": 0.5, "rsi_1h": 3.0}),
        ("change_5m > 1 and change_5m < 0.5", {"change_5m": 0.7}),
        ("2 * change_5m > 3 * change_5m", {"change_5m": 0.7}),
        ("0 * change_5m > 1", {"change_5m": 0.7}),
        ("change_5m > 1 and rsi_1h > 1", {"change_5m": 0.7}),
    ],
)
def test_no_miss_is_told_where_none_follows(when: str, metrics: dict[str, float]) -> None:
    found = screener.margins(jump(when), "r", metrics)
    assert (found.holds, found.needs, found.told) == (False, (), "")


def test_margins_of_each_kind_of_clause() -> None:
    when = "change_5m >= 1 and not rsi_1h > 50 and (change_5m > 4 or rsi_1h < 80) and price == 5"
    seen = {"change_5m": 2.0, "rsi_1h": 60.0, "price": 5.0}
    first, second, third, last = screener.margins(jump(when), "r", seen).clauses
    assert (first.margin, first.share, first.held) == (1.0, 0.5, True)
    assert (second.margin, second.held) == (None, False)
    assert second.share == pytest.approx(-10 / 60)
    assert (third.share, third.held) == (0.25, True)
    assert (last.margin, last.share, last.held) == (0.0, 0.0, True)
    cold = screener.margins(jump(when), "r", {"change_5m": 2.0})
    assert cold.not_ready == ("rsi_1h", "price")
    assert (cold.distance, cold.clauses[1].share) == (None, None)
    assert "not ready: rsi_1h, price" in str(cold)
    assert json.loads(json.dumps(cold.to_dict()))["clauses"][0]["margin"] == 1.0


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.0, -1.0])


@pytest.mark.hypothesis
@given(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS, NUMBERS)
def test_signs_and_bounds(sign: str, left: float, right: float) -> None:
    tree = read(f"price {sign} rsi_1h")
    row = {"price": np.asarray(left), "rsi_1h": np.asarray(right)}
    part = float(share(tree, row))
    assert -2 <= part <= 2
    assert (truth(tree, row) == 1.0) == eval(f"{left!r} {sign} {right!r}")  # noqa: S307
    if part != 0:
        assert (part > 0) == (truth(tree, row) == 1.0)
    own = float(margin(tree, row))
    assert math.isnan(own) or math.copysign(1, own) == math.copysign(1, part) or part == 0


@pytest.mark.parametrize(
    "text",
    [
        "change_5m[15m] > 1",
        "vs('BTCUSDT', change_1h) > 0",
        "f(x) > 1",
        "a < b < c",
        "1 +",
        "(" * 500,
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RuleError, match="margins cannot be told of the clause"):
        read(text)


def test_what_is_refused() -> None:
    frame = of("TEACUPUSDT")
    for limit in (0, -1, True, 1.5, 10**9):
        with pytest.raises(DataError, match="no number of moments"):
            screener.near_misses(frame, limit=limit)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="apart"):
        screener.near_misses(frame, apart="soon")
    with pytest.raises(DataError, match="the range is empty"):
        screener.near_misses(frame, start=START + MINUTE, end=START)
    with pytest.raises(RuleError, match="pioner"):
        screener.near_misses(frame, only=["pioner_bull"])
    with pytest.raises(DataError, match="these candles are a int"):
        screener.near_misses(5)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no such column"):
        screener.near_misses(frame.drop("symbol"))
    empty = screener.near_misses(frame.clear())
    assert len(empty) == 0
    assert str(empty).startswith("No rule could be judged")
    assert len(screener.near_misses(frame.head(3))) == 0
    running = frame.head(3).with_columns(closed=pl.lit(value=False))
    assert len(screener.near_misses(running)) == 0


# -- the command ---------------------------------------------------------------------------------

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["screener", "explain", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


def test_the_command_lists_what_came_near(run: Command, tmp_path: Path) -> None:
    code, out, _ = run("--near", "--demo", "--floors", "--limit", 5)
    assert code == 0
    found = screener.near_misses(market(), FUTURES, limit=5)
    assert out.strip() == str(found)
    options = ("--near", "--floors", "--symbol", "TEACUPUSDT", "--rule", "top_hunter", "--json")
    code, out, _ = run(*options, "--demo", "--last", "20h")
    told: dict[str, Any] = json.loads(out)
    assert code == 0
    assert {one["rule"] for one in told["moments"]} == {"top_hunter"}
    assert {one["symbol"] for one in told["moments"]} == {"TEACUPUSDT"}
    store = Store(tmp_path / "store")
    store.merge(of("TEACUPUSDT"))
    code, out, _ = run(*options, "--store", tmp_path / "store", "--last", "20h")
    assert (code, json.loads(out)) == (0, told)


def test_the_command_explains_out_of_the_store(run: Command, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.merge(of("TEACUPUSDT"))
    options = (
        "--symbol",
        "TEACUPUSDT",
        "--rule",
        "top_hunter",
        "--at",
        "2026-01-06T10:15",
        "--json",
    )
    code, out, _ = run(*options, "--demo")
    assert code == 0
    told = json.loads(out)
    again, stored, _ = run(*options, "--store", tmp_path / "store")
    assert (again, json.loads(stored)) == (0, told)
    assert {"margin", "share"} <= told["clauses"][0].keys()
    assert told["told"] == "" or told["told"].startswith("would have fired with")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--demo",), "--symbol and --rule"),
        (("--near", "--demo", "--at", "2026-01-06"), "--at"),
        (("--demo", "--symbol", "A", "--rule", "top_hunter", "--limit", "3"), "--near"),
        (("--near", "--demo", "--store", "x"), "not both"),
    ],
)
def test_the_command_refuses(run: Command, options: tuple[str, ...], words: str) -> None:
    code, _, err = run(*options)
    assert code == 2
    assert words in err
