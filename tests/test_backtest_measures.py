"""The measures against empyrical-reloaded, and by hand where it has none."""

from __future__ import annotations

import math

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screener.backtest import measures

RETURNS = st.lists(st.floats(-0.2, 0.2).map(lambda x: round(x, 6)), min_size=3, max_size=60)
YEAR = 365 * 24
CAPITAL = 5_000.0


@given(RETURNS)
def test_ratios_and_drawdown_are_those_of_empyrical(values: list[float]) -> None:
    given_returns = np.array(values)
    equity = CAPITAL * np.cumprod(1 + given_returns)
    returns = measures.returns_of(equity, CAPITAL)
    assert returns == pytest.approx(given_returns, abs=1e-12)
    total = float(equity[-1] / CAPITAL - 1)
    assert total == pytest.approx(empyrical.cum_returns_final(given_returns), abs=1e-9)
    fall, _ = measures.drawdown(equity, CAPITAL)
    assert fall == pytest.approx(empyrical.max_drawdown(given_returns), abs=1e-9)
    if np.ptp(given_returns) > 1e-9:
        expected = empyrical.sharpe_ratio(given_returns, annualization=YEAR)
        assert measures.sharpe(returns, YEAR) == pytest.approx(expected, rel=1e-6, abs=1e-7)
    if given_returns.min() < 0:
        expected = empyrical.sortino_ratio(given_returns, annualization=YEAR)
        assert measures.sortino(given_returns, YEAR) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(-0.05, 0.05), min_size=40, max_size=90))
def test_cagr_is_that_of_empyrical(values: list[float]) -> None:
    total = math.prod(1 + value for value in values) - 1
    expected = empyrical.cagr(np.array(values), annualization=365)
    assert measures.cagr(total, len(values)) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_what_cannot_be_told_is_none() -> None:
    flat, gains = np.zeros(5), np.array([0.01, 0.02, 0.0])
    assert measures.sharpe(flat, YEAR) is None
    assert measures.sharpe(gains[:1], YEAR) is None
    assert measures.sortino(gains, YEAR) is None
    assert measures.cagr(0.1, 29.9) is None
    assert measures.cagr(-1.0, 400) is None
    assert measures.profit_factor(np.array([1.0, 2.0])) is None
    assert measures.returns_of(np.array([1.0, 0.0, -2.0]), 1.0).size == 0


@pytest.mark.parametrize(
    ("equity", "expected"),
    [
        ([100.0, 101.0, 102.0], (0.0, 0)),
        ([110.0, 99.0, 104.5, 110.0, 109.0], (-0.1, 3)),
        ([90.0, 95.0], (-0.1, 2)),
        ([120.0, 120.0, 60.0, 121.0], (-0.5, 2)),
    ],
)
def test_drawdown_and_its_length(equity: list[float], expected: tuple[float, int]) -> None:
    fall, bars = measures.drawdown(np.array(equity), 100.0)
    assert fall == pytest.approx(expected[0])
    assert bars == expected[1]


def test_profit_factor() -> None:
    assert measures.profit_factor(np.array([3.0, -1.0, 0.0, -0.5])) == 2.0
