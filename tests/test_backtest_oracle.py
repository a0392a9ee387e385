"""`backtest` against the minute-by-minute oracle, and laws that any backtest must obey."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from oracle.backtest import MINUTE, Candle, Candles, Order, Range, Run, Terms, simulate
from oracle.backtest import target_orders as oracle_orders
from screener import Atr, Backtest, backtest

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_738_368_000_000
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")
LONGEST = 40


@dataclass(frozen=True)
class Case:
    """A small market, what is signalled in it, and the terms."""

    candles: Candles
    orders: list[Order]
    rates: dict[str, dict[int, float]]
    terms: Terms


def candle(opened: float, moves: tuple[int, int, int]) -> Candle:
    move, up, down = moves
    closed = opened * (1 + move / 1000)
    high, low = max(opened, closed) * (1 + up / 1000), min(opened, closed) * (1 - down / 1000)
    return opened, high, low, closed


# Uniform numbers from a seed: hypothesis's own prefer calm markets, in which little is stopped.
SEEDS = st.integers(0, 2**32)


@st.composite
def markets(draw: st.DrawFn) -> Candles:
    rng = Random(draw(SEEDS))
    candles: Candles = {}
    for symbol in SYMBOLS[: rng.randint(1, 3)]:
        price, first = 100.0, rng.randint(0, 5)
        minutes: dict[int, Candle] = {}
        for minute in range(first, first + rng.randint(2, LONGEST)):
            opened = price * (1 + rng.choice([0, 0, rng.randint(-15, 15)]) / 1000)
            moves = (rng.randint(-9, 9), rng.randint(0, 6), rng.randint(0, 6))
            made = minutes[START + minute * MINUTE] = candle(opened, moves)
            price = made[3]
        for missing in rng.sample(sorted(minutes), min(len(minutes) - 1, rng.randint(0, 5))):
            del minutes[missing]
        candles[symbol] = minutes
    return candles


DISTANCES = st.sampled_from([0.004, 0.012, Range(1.5, 1, 2), Range(0.7, 5, 1)])
TERMS = st.builds(
    Terms,
    fee=st.sampled_from([0.0, 0.0005, 0.01]),
    slippage=st.sampled_from([0.0, 0.002]),
    size=st.sampled_from([0.1, 0.5, 3.0]),
    most=st.sampled_from([None, 1, 2]),
    stop=DISTANCES | st.none(),
    take=DISTANCES | st.none(),
    hold=st.sampled_from([1, 3, 10, None]),
)
EVERY_ALERT = [
    Order(START + minute * MINUTE, symbol, rule, side)
    for minute in range(-1, LONGEST + 6)
    for symbol in (*SYMBOLS, "XUSDT")
    for rule, side in (("fall", -1), ("rise", 1))
]


@st.composite
def funding(draw: st.DrawFn) -> dict[str, dict[int, float]]:
    rng = Random(draw(SEEDS))
    minutes = rng.sample(range(-1, LONGEST + 6), rng.choice([0, 5, 20]))
    return {
        symbol: {START + minute * MINUTE: rng.choice([0.01, -0.004]) for minute in minutes}
        for symbol in SYMBOLS[:2]
    }


@st.composite
def target_frames(draw: st.DrawFn) -> dict[str, dict[int, int]]:
    rng = Random(draw(SEEDS))
    return {
        symbol: {
            START + minute * MINUTE: rng.choice([1, -1, 0])
            for minute in rng.sample(range(-1, LONGEST + 6), rng.randint(0, 20))
        }
        for symbol in SYMBOLS
    }


@st.composite
def alert_cases(draw: st.DrawFn) -> Case:
    """Mostly alerts whose minute is there, the last one first."""
    rng, candles = Random(draw(SEEDS)), draw(markets())
    there = [o for o in EVERY_ALERT if o.time in candles.get(o.symbol, ())]
    orders = set(rng.sample(there, rng.randint(1, len(there)))) | set(rng.sample(EVERY_ALERT, 5))
    return Case(candles, sorted(orders, key=repr, reverse=True), draw(funding()), draw(TERMS))


def candles_frame(candles: Candles) -> pl.DataFrame:
    rows = [(s, time, *c) for s, minutes in candles.items() for time, c in minutes.items()]
    names = ["symbol", "open_time", "open", "high", "low", "close"]
    return pl.DataFrame(rows[::-1], schema=names, orient="row")


def alerts_frame(orders: list[Order]) -> pl.DataFrame:
    types = {"symbol": pl.String, "rule": pl.String, "triggered_at": pl.Int64}
    return pl.DataFrame([(o.symbol, o.rule, o.time) for o in orders], schema=types, orient="row")


def distance(given: float | Range | None) -> float | Atr | None:
    if not isinstance(given, Range):
        return given
    return Atr(given.multiple, "1m" if given.minutes == 1 else "5m", given.bars)


def run(case: Case, signals: pl.DataFrame) -> Backtest:
    terms = case.terms
    rows = [(s, t + 7, rate) for s, rates in case.rates.items() for t, rate in rates.items()]
    types = {"symbol": pl.String, "time": pl.Int64, "rate": pl.Float64}
    return backtest(
        signals,
        candles_frame(case.candles),
        direction={"rise": "long", "fall": "short"},
        fee=terms.fee,
        slippage=terms.slippage,
        funding=pl.DataFrame(rows, schema=types, orient="row"),
        capital=terms.capital,
        size=terms.size,
        max_positions=terms.most,
        stop=distance(terms.stop),
        take=distance(terms.take),
        hold=terms.hold,
    )


def near(left: float, right: float, scale: float = 1.0) -> bool:
    return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9 * scale)


def assert_same(result: Backtest, truth: Run, case: Case) -> None:
    capital = case.terms.capital
    assert result.trades.height == len(truth.trades)
    for got, want in zip(result.trades.iter_rows(named=True), truth.trades, strict=True):
        side = want.order.side
        assert (got["symbol"], got["rule"] or "") == (want.order.symbol, want.order.rule)
        assert got["side"] == ("long" if side > 0 else "short")
        times = (got["entry_time"], got["exit_time"], got["reason"])
        assert times == (want.order.time, want.exit_time, want.reason)
        worst, best = (want.low, want.high) if side > 0 else (want.high, want.low)
        for name, value, scale in (
            ("entry_price", want.entry, 1.0),
            ("exit_price", want.exit, 1.0),
            ("size", want.size, 1.0),
            ("fee", want.fee, capital),
            ("funding", want.funding, capital),
            ("pnl", want.pnl, capital),
            ("return", want.pnl / (want.size * want.entry), 1.0),
            ("mae", side * (worst / want.entry - 1), 1.0),
            ("mfe", side * (best / want.entry - 1), 1.0),
        ):
            assert near(got[name], value, scale), (name, got[name], value)
    assert result.dropped == truth.dropped
    assert result.late_exits == truth.late
    assert result.equity["positions"].to_list() == truth.open
    for got_equity, want_equity in zip(result.equity["equity"], truth.equity, strict=True):
        assert near(got_equity, want_equity, capital)


@given(alert_cases())
def test_alerts_trade_as_the_oracle_says(case: Case) -> None:
    result = run(case, alerts_frame(case.orders))
    assert_same(result, simulate(case.candles, case.orders, case.rates, case.terms), case)


@given(markets(), target_frames(), funding(), TERMS)
def test_targets_trade_as_the_oracle_says(
    candles: Candles,
    targets: dict[str, dict[int, int]],
    rates: dict[str, dict[int, float]],
    terms: Terms,
) -> None:
    rows = [(s, time, signal) for s, own in targets.items() for time, signal in own.items()]
    types = {"symbol": pl.String, "open_time": pl.Int64, "signal": pl.Int64}
    case = Case(candles, oracle_orders(targets), rates, terms)
    result = run(case, pl.DataFrame(rows, schema=types, orient="row"))
    assert_same(result, simulate(candles, case.orders, rates, terms), case)


@given(alert_cases())
def test_the_last_equity_is_the_capital_and_every_pnl(case: Case) -> None:
    result = run(case, alerts_frame(case.orders))
    last = result.equity["equity"][-1]
    assert near(last, case.terms.capital + math.fsum(result.trades["pnl"]), case.terms.capital)


def changed_after(candles: Candles, time: int, change: Callable[[Candle], Candle]) -> Candles:
    return {
        symbol: {t: change(c) if t >= time else c for t, c in minutes.items()}
        for symbol, minutes in candles.items()
    }


@given(alert_cases(), st.integers(1, LONGEST))
def test_what_comes_later_changes_nothing_before_it(case: Case, minute: int) -> None:
    time = START + minute * MINUTE
    changed = changed_after(case.candles, time, lambda c: (c[0] * 3, c[1] * 4, c[2] / 2, c[3] * 2))
    results = [
        run(replace(case, candles=candles), alerts_frame(case.orders))
        for candles in (case.candles, changed)
    ]
    (trades, equity), (other_trades, other_equity) = (
        (r.trades.filter(pl.col("exit_time") < time), r.equity.filter(pl.col("time") <= time))
        for r in results
    )
    assert trades.equals(other_trades)
    assert equity.equals(other_equity)


@given(alert_cases(), st.integers(1, LONGEST))
def test_cutting_off_the_future_changes_no_trade_before_it(case: Case, minute: int) -> None:
    time = START + minute * MINUTE
    cut = {s: {t: c for t, c in own.items() if t < time} for s, own in case.candles.items()}
    held = {symbol: minutes for symbol, minutes in cut.items() if minutes}
    if not held:
        return
    whole = run(case, alerts_frame(case.orders)).trades
    part = run(replace(case, candles=held), alerts_frame(case.orders)).trades
    done = pl.col("exit_time") < time
    assert part.filter(done & (pl.col("reason") != "end")).equals(
        whole.filter(done & (pl.col("reason") != "end"))
    )
    # What was open is closed at the last close, and was entered at the same time and price.
    entered = ["symbol", "rule", "side", "entry_time", "entry_price", "size"]
    assert part.select(entered).equals(whole.filter(pl.col("entry_time") < time).select(entered))
