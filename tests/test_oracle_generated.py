"""Generated candles of every kind, one by one through the engine and the oracle.

What SPEC 2 to 5 say about gaps, corrections, ranks, running minutes, late and stale candles is
proved here: after each candle the alerts are equal, and wherever a scenario looks (and at its
end) so are metrics, candles and counters.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

import screener
from oracle import OracleEngine
from oracle.compare import alert_dict, candle_rows, metric_differences
from oracle.rules import PRESETS, Rule
from oracle.scenario import (
    AMOUNTS,
    OPTIONAL,
    Absent,
    Again,
    Hole,
    Late,
    Look,
    Market,
    Mixed,
    Run,
    Running,
    Shape,
    Stale,
    Step,
)

MIDNIGHT = 28_972_800  # 2025-02-01, in minutes
OPTIONAL_FIELDS = ("trades", "taker_buy_volume", "taker_buy_quote_volume")
WINDOWS = ("1m", "7m", "10m", "90m", "12h", "1d")


@dataclass(frozen=True)
class Settings:
    """How both engines are made, and what they have seen before the scenario begins."""

    rules: str = "futures"
    floors: bool = False
    evaluate: str = "close"
    gaps: str = "pending"
    windows: tuple[str, ...] = ()
    symbols: int = 1
    minute: int = 0  # of the day, of the first candle
    warm_up: int = 0
    drift: float = 0.0
    volume: str = "usual"


shapes = st.builds(
    Shape,
    step=st.sampled_from([0, 1, -1, 20, -20, 60, -60, 120, -120, 300, -300]),
    wick=st.sampled_from([0, 0, 1, 30, 5000]),
    volume=st.sampled_from(["usual", "heavy", *AMOUNTS, "odd", "paid"]),
    known=st.sampled_from(["all", "all", "all", *OPTIONAL]),
)
symbols = st.integers(0, 2)
sources = st.sampled_from(["stream", "stream", "rest", "archive", "synthetic"])
backs = st.sampled_from([0, 0, 1, 1, 2, 3, 5, 10, 30, 59, 100, 719, 1438, 1439, 1440, 1441, 3000])
seconds = st.sampled_from([0, 1, 20, 40, 59, 60, -1])
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Run, symbols, st.integers(1, 8), shapes, sources),
    st.builds(Run, symbols, st.integers(1, 3), shapes),
    st.builds(
        Running,
        symbols,
        st.lists(st.tuples(seconds, shapes), min_size=1, max_size=4).map(tuple),
        st.booleans(),
        st.sampled_from(["stream", "rest"]),
    ),
    st.builds(Hole, symbols, st.sampled_from([1, 1, 2, 4, 9, 30, 200, 1438, 1439, 1440, 1441])),
    st.builds(Late, symbols, backs, shapes, sources),
    st.builds(Again, symbols, backs, sources),
    st.builds(Absent, symbols, backs),
    st.builds(Stale, symbols, backs, shapes),
    st.builds(Mixed, symbols, st.integers(2, 40), shapes, st.integers(0, 99)),
    st.builds(Look),
)
any_settings = st.builds(
    Settings,
    rules=st.sampled_from(["futures", "classic"]),
    floors=st.booleans(),
    evaluate=st.sampled_from(["close", "update"]),
    gaps=st.sampled_from(["pending", "absent"]),
    windows=st.lists(st.sampled_from(WINDOWS), unique=True, max_size=3).map(tuple),
    symbols=st.integers(1, 3),
    minute=st.sampled_from([0, 1, 7, 719, 1435]),
    warm_up=st.sampled_from([0, 20, 70, 500, 1500, 3000]),
    drift=st.sampled_from([0.0, 0.4, -0.4]),
    volume=st.sampled_from(["usual", "thin", "heavy"]),
)


def candle_frame(candles: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Candles as a frame with the columns of SPEC 1, unknown values null."""
    rows = [{**dict.fromkeys(OPTIONAL_FIELDS), **candle} for candle in candles]
    types = {"trades": pl.Int64, "taker_buy_volume": pl.Float64}
    types["taker_buy_quote_volume"] = pl.Float64
    return pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None)


def compare(engine: screener.Engine, oracle: OracleEngine) -> None:
    """Everything that can be seen of both is equal."""
    assert sorted(engine.symbols) == oracle.symbols
    assert dict(engine.stats) == oracle.stats
    for symbol in oracle.symbols:
        assert candle_rows(engine.candles(symbol, 1440)) == oracle.candles(symbol)
        assert metric_differences(dict(engine.metrics(symbol)), oracle.metrics(symbol)) == []


def run(chosen: Settings, scenario: Iterable[Step]) -> list[dict[str, Any]]:
    """Feed both engines and compare; gives the alerts."""
    made: dict[str, Any] = {
        "rules": chosen.rules,
        "floors": chosen.floors and chosen.rules == "futures",
        "evaluate": chosen.evaluate,
        "gaps": chosen.gaps,
        "windows": chosen.windows,
    }
    engine = screener.Engine(**made)
    oracle = OracleEngine(**made)
    market = Market(chosen.symbols, MIDNIGHT + chosen.minute - 1, timed=chosen.evaluate == "update")
    for index in range(chosen.symbols if chosen.warm_up else 0):
        # A symbol listed later than the others has less behind it.
        minutes = chosen.warm_up // (1 + index)
        candles = market.warm_up(index, minutes, chosen.drift, chosen.volume)
        engine.warm_up(candle_frame(candles))
        oracle.warm_up(candles)

    raised: list[dict[str, Any]] = []
    for step in scenario:
        if isinstance(step, Look):
            compare(engine, oracle)
        for candle in market.candles(step):
            expected = oracle.update(candle)
            assert [alert_dict(alert) for alert in engine.update(candle)] == expected
            raised += expected
    compare(engine, oracle)
    return raised


@given(
    chosen=any_settings,
    scenario=st.one_of(st.lists(steps, max_size=10), st.lists(steps, min_size=12, max_size=40)),
)
def test_any_candles(chosen: Settings, scenario: list[Step]) -> None:
    """Everything SPEC 2 knows, in any sequence."""
    raised = run(chosen, scenario)
    event(f"alerts raised: {'some' if raised else 'none'}")


@given(
    chosen=st.builds(
        Settings,
        rules=st.sampled_from(["futures", "classic"]),
        floors=st.booleans(),
        evaluate=st.sampled_from(["close", "update"]),
        gaps=st.sampled_from(["absent", "pending"]),
        minute=st.just(3),
        warm_up=st.sampled_from([1500, 30]),
        drift=st.sampled_from([0.4, -0.4, 0.0]),
    ),
    scenario=st.lists(
        st.one_of(
            st.builds(
                Run,
                st.just(0),
                st.integers(1, 6),
                st.builds(
                    Shape,
                    st.sampled_from([40, -40, 100, -100, 160, -160]),
                    volume=st.sampled_from(["heavy", "usual", "thin"]),
                ),
            ),
            st.builds(
                Running,
                st.just(0),
                st.lists(
                    st.tuples(
                        st.sampled_from([0, 20, 40, 60]),
                        st.builds(
                            Shape,
                            st.sampled_from([0, 80, -80, 200, -200]),
                            volume=st.just("heavy"),
                        ),
                    ),
                    min_size=1,
                    max_size=4,
                ).map(tuple),
                st.booleans(),
            ),
            st.builds(
                Late,
                st.just(0),
                st.sampled_from([0, 1, 2]),
                st.builds(Shape, st.sampled_from([0, 200, -200]), volume=st.just("heavy")),
                st.sampled_from(["stream", "rest"]),
            ),
            st.builds(Hole, st.just(0), st.integers(1, 3)),
        ),
        min_size=8,
        max_size=30,
    ),
)
def test_markets_that_move(chosen: Settings, scenario: list[Step]) -> None:
    """Prices and volumes of the size that fires rules, so that many alerts are compared."""
    raised = run(chosen, scenario)
    event(f"alerts raised: {min(len(raised) // 5 * 5, 20)} or more")


HEAVY = Shape(150, 0, "heavy")
QUIET = Shape(0, 0, "thin")


@given(gaps=st.sampled_from(["pending", "absent"]), evaluate=st.sampled_from(["close", "update"]))
@example(gaps="pending", evaluate="update")
def test_a_spike_leaves_no_trace(gaps: str, evaluate: str) -> None:
    """A volume of 1e22 among dust: the sums before, in and behind its window."""
    chosen = Settings(evaluate=evaluate, gaps=gaps, windows=("1m", "7m"), warm_up=70, minute=7)
    dust = Shape(1, 0, "dust")
    scenario: list[Step] = [Run(0, 6, dust), Run(0, 1, Shape(20, 5000, "vast"))]
    for minutes in (1, 4, 1, 1, 1, 8, 45, 1):
        scenario += [Run(0, minutes, dust), Look()]
    scenario += [Hole(0, 1300), Run(0, 3, dust), Look(), Run(0, 100, dust), Look()]
    run(chosen, scenario)


def test_corrections_of_the_newest_closed_minute_are_judged() -> None:
    """With the next minute running, on the metrics as they were without it.

    The window of a day then begins with a minute that the running one has pushed out of the ring.
    """
    jump = Shape(300, 0, "huge")
    for evaluate in ("close", "update"):
        for warm_up in (1438, 1439, 1440, 1600):
            chosen = Settings(evaluate=evaluate, warm_up=warm_up, drift=0.4)
            scenario: list[Step] = [
                Run(0, 1, QUIET),
                Running(0, ((5, QUIET),), closes=False),
                Late(0, 1, jump),
                Look(),
                Running(0, ((5, QUIET),), closes=True),
            ]
            fired = {alert["rule"] for alert in run(chosen, scenario)}
            assert "pioneer_bull" in fired
            assert ("big_bull_60m" in fired) == (warm_up >= 1439)


def counted(scenario: Iterable[Step], evaluate: str = "close") -> dict[str, int]:
    """The counters after a scenario that both engines agree on; one symbol, no warm-up."""
    engine = OracleEngine(evaluate=evaluate)
    market = Market(1, MIDNIGHT + 6, timed=evaluate == "update")
    scenario = list(scenario)
    for step in scenario:
        for candle in market.candles(step):
            engine.update(candle)
    run(Settings(evaluate=evaluate, minute=7), scenario)
    return {name: count for name, count in engine.stats.items() if count}


def test_a_minute_closed_by_force_ranks_below_everything() -> None:
    """Any closed version corrects it; an equal one makes it an ordinary closed minute."""
    left: list[Step] = [
        Run(0, 3, QUIET),
        Running(0, ((5, QUIET),), closes=False, source="rest"),
        Run(0, 1, QUIET),
    ]
    for source in ("synthetic", "stream", "rest", "archive"):
        stats = counted([*left, Late(0, 1, HEAVY, source), Look()])
        assert stats == {"appended": 5, "corrected": 1}
    for first, then, counter in [
        ("stream", "stream", "corrected"),
        ("stream", "synthetic", "outranked"),
        ("archive", "rest", "outranked"),
        ("rest", "archive", "corrected"),
    ]:
        stats = counted([*left, Again(0, 1, first), Late(0, 1, HEAVY, then), Look()])
        assert stats == {"appended": 5, "duplicate": 1, counter: 1}


def test_a_real_candle_ends_what_was_synthetic() -> None:
    """Even one with the same numbers; a fill likewise. A synthetic one ends only the waiting."""
    given_as_synthetic: list[Step] = [Run(0, 7, QUIET), Run(0, 1, QUIET, "synthetic")]
    for source, counter in [("stream", "corrected"), ("synthetic", "duplicate")]:
        stats = counted([*given_as_synthetic, Look(), Again(0, 0, source), Look()])
        assert stats == {"appended": 8, counter: 1}
    hole: list[Step] = [Run(0, 7, QUIET), Hole(0, 3), Run(0, 1, QUIET), Look(), Absent(0, 2)]
    for back in (1, 2, 3):
        flat = Late(0, back, Shape(0, 0, "none"), "stream")
        stats = counted([*hole, Look(), flat, Look()])
        assert stats == {"appended": 8, "filled": 3, "corrected": 2}


def test_a_correction_before_the_running_minute_settles_nothing() -> None:
    """What the running minute raised stays provisional until that minute itself is closed."""
    chosen = Settings(evaluate="update", warm_up=20, volume="thin")
    for step, state in [(250, "confirmed"), (0, "withdrawn")]:
        closing = Shape(step, 0, "heavy")
        alerts = run(
            chosen,
            [
                Run(0, 2, QUIET),
                Running(0, ((20, Shape(220, 0, "heavy")),), closes=False),
                Late(0, 1, Shape(1, 0, "thin")),
                Late(0, 0, closing, "stream"),
            ],
        )
        pioneer = [alert for alert in alerts if alert["rule"] == "pioneer_bull"]
        assert [alert["state"] for alert in pioneer] == ["provisional", state]


def test_the_longest_volume_ratio_needs_the_whole_ring() -> None:
    """720 minutes and the 720 before them are there; more than 720 never is."""
    for warm_up, ready in [(1439, False), (1440, True), (1441, True)]:
        chosen = Settings(windows=("12h", "721m"), warm_up=warm_up)
        run(chosen, [Look()])
        engine = screener.Engine(windows=chosen.windows)
        market = Market(1, MIDNIGHT, timed=False)
        engine.warm_up(candle_frame(market.warm_up(0, warm_up, 0.0, "usual")))
        metrics = engine.metrics("BTCUSDT")
        assert (metrics["volume_ratio_12h"] is not None) == ready
        assert metrics["volume_ratio_721m"] is None


def held(rules: str, floors: bool, metrics: dict[str, float]) -> list[str]:
    """The rules of the oracle's table that hold for these metrics, sorted by name."""
    return sorted(
        rule.name
        for rule in PRESETS[rules]
        if all(name in metrics for name in rule.names(floors=floors))
        and all(clause.holds(metrics) for clause in rule.clauses(floors=floors))
    )


def holding(rule: Rule, floors: bool, chance: random.Random) -> dict[str, float]:
    """Some metrics for which a rule holds."""
    names = rule.names(floors=True)
    while True:
        sign = chance.choice([1.0, -1.0])
        metrics = {}
        for name in names:
            if name.startswith("quote"):
                metrics[name] = 1e5 * 1.7 ** chance.randrange(1, 14)
            elif name.startswith("change"):
                metrics[name] = sign * chance.choice(
                    [0.55, 0.7, 0.9, 1.3, 2.1, 3.3, 5.5, 9.0, -0.8]
                )
            else:
                metrics[name] = chance.choice([0.05, 1.0, 3.0, 4.0])
        if all(clause.holds(metrics) for clause in rule.clauses(floors=floors)):
            return metrics


@pytest.mark.parametrize(
    ("rules", "floors"), [("futures", False), ("futures", True), ("classic", False)]
)
def test_every_clause_at_its_threshold(rules: str, floors: bool) -> None:
    """Each clause of each rule at the tie and a hair beside it, the others holding."""
    chance = random.Random(5)
    loaded = screener.RuleSet.load(rules, floors=floors)
    assert [rule.name for rule in loaded] == [rule.name for rule in PRESETS[rules]]
    decided = 0
    for rule in PRESETS[rules]:
        for clause in rule.clauses(floors=floors):
            for _ in range(5):
                metrics = holding(rule, floors, chance)
                assert sorted(loaded.evaluate(metrics)) == held(rules, floors, metrics)
                right = metrics[clause.right] if clause.right else 1.0
                tie = clause.b * right / clause.a
                answers = set()
                for value in (tie, math.nextafter(tie, -math.inf), math.nextafter(tie, math.inf)):
                    near = {**metrics, clause.left: value}
                    expected = held(rules, floors, near)
                    assert sorted(loaded.evaluate(near)) == expected
                    answers.add(rule.name in expected)
                decided += len(answers) == 2
                missing = {name: metrics[name] for name in metrics if name != clause.left}
                assert sorted(loaded.evaluate(missing)) == held(rules, floors, missing)
    assert decided > 0.5 * 5 * sum(len(rule.clauses(floors=floors)) for rule in PRESETS[rules])


def test_a_restart_warms_up_again() -> None:
    """A hole of a whole ring starts the symbol afresh; it can fire again when it is ready."""
    scenario: list[Step] = [Run(0, 2, HEAVY), Hole(0, 1440), Run(0, 20, QUIET), Run(0, 3, HEAVY)]
    assert len(run(Settings(warm_up=30, volume="thin"), scenario)) >= 2


def test_a_streak_ends_with_the_ring() -> None:
    """Longer than 1440 minutes up (or down) are 1440."""
    for step, name in ((1, "up_streak"), (-1, "down_streak")):
        engine, oracle = screener.Engine(), OracleEngine()
        candles = Market(1, MIDNIGHT, timed=False).warm_up(0, 1500, 8 * step, "usual")
        for candle in candles:
            candle.update(open=100.0, close=100.0 + step, low=90.0, high=110.0)
        engine.warm_up(candle_frame(candles))
        oracle.warm_up(candles)
        compare(engine, oracle)
        assert engine.metrics("BTCUSDT")[name] == 1440


def test_market_cap_is_what_was_set() -> None:
    """Not ready until the caller gives it."""
    engine, oracle = screener.Engine(), OracleEngine()
    market = Market(1, MIDNIGHT, timed=False)
    for candle in market.candles(Run(0, 3, QUIET)):
        assert engine.update(candle) == oracle.update(candle) == []
    compare(engine, oracle)
    for each in (engine, oracle):
        each.set_market_cap("BTCUSDT", 1.2e12)
    compare(engine, oracle)
