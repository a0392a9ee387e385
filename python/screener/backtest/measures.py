"""Measures of a series of returns or of an equity curve; each is a pure function.

A ratio that cannot be (no return varies, or none is a loss) is None, never 0 or infinite.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from screener.backtest.candles import Floats

__all__ = ["cagr", "drawdown", "profit_factor", "returns_of", "sharpe", "sortino"]

DAYS_A_YEAR = 365
_FEWEST_DAYS = 30


def returns_of(equity: Floats, capital: float) -> Floats:
    """The return of each bar, the first one from `capital`; none where the equity falls to 0.

    Args:
        equity: The equity at the end of each bar.
        capital: The equity before the first bar.
    """
    path = np.concatenate(([capital], equity))
    return path[1:] / path[:-1] - 1 if (path > 0).all() else np.empty(0)


def sharpe(returns: Floats, bars_a_year: float) -> float | None:
    """The mean return over its sample standard deviation, times the root of the bars a year."""
    if returns.size < 2 or np.ptp(returns) == 0:
        return None
    return float(returns.mean() / returns.std(ddof=1) * math.sqrt(bars_a_year))


def sortino(returns: Floats, bars_a_year: float) -> float | None:
    """As `sharpe`, over the root mean square of the losses, where a gain counts as 0."""
    losses = np.minimum(returns, 0.0)
    if returns.size < 2 or not losses.any():
        return None
    downside = math.sqrt(float(np.mean(losses**2)))
    return float(returns.mean() / downside * math.sqrt(bars_a_year))


def drawdown(equity: Floats, capital: float) -> tuple[float, int]:
    """The deepest fall below an earlier peak, at most 0, and its length.

    Returns:
        The fall as a fraction of the peak, and the bars from the peak until the equity is back
        there, or until the end.
    """
    path = np.concatenate(([capital], equity))
    peaks = np.maximum.accumulate(path)
    falls = path / peaks - 1
    deepest = int(falls.argmin())
    if falls[deepest] == 0:
        return 0.0, 0
    peak = int(np.flatnonzero(path[: deepest + 1] == peaks[deepest])[-1])
    back = np.flatnonzero(path[deepest:] >= peaks[deepest])
    end = deepest + int(back[0]) if back.size else path.size - 1
    return float(falls[deepest]), end - peak


def cagr(total_return: float, days: float) -> float | None:
    """The return a year of 365 days would have; None for less than 30 days or a total loss."""
    if days < _FEWEST_DAYS or total_return <= -1:
        return None
    try:
        return float((1 + total_return) ** (DAYS_A_YEAR / days) - 1)
    except OverflowError:
        return None


def profit_factor(pnl: Floats) -> float | None:
    """What the winning trades made over what the losing ones lost; None where none lost."""
    lost = -float(pnl[pnl < 0].sum())
    return float(pnl[pnl > 0].sum()) / lost if lost > 0 else None
