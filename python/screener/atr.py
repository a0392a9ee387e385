"""The average true range (J. W. Wilder, New Concepts in Technical Trading Systems, 1978). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]

__all__ = ["average_true_range"]


def average_true_range(
    high: Floats, low: Floats, close: Floats, run_start: Ints, period: int
) -> Floats:
    """The average true range at the close of each bar, afresh in each run.

    The first true range of a run is that of its second bar; the average is ready, as the mean of
    `period` of them, at the run's bar number `period` from 0, and NaN before. From there on it is
    `((period - 1) * average + true range) / period`.

    Args:
        high: Highest prices, sorted by time.
        low: Lowest prices.
        close: Last prices.
        run_start: For each row the first row of its run, bars that follow each other.
        period: Bars to look back, at least 1.
    """
    if not len(close):
        return close
    before = np.roll(close, 1)
    ranges = np.maximum(high, before) - np.minimum(low, before)
    place = np.arange(len(close)) - run_start
    seeds = np.flatnonzero(place == period)
    ranges[seeds] = ranges[seeds[:, np.newaxis] - np.arange(period)].mean(axis=1)
    ranges[place < period] = np.nan
    rows = pl.DataFrame({"run": run_start, "range": ranges}).with_columns(
        pl.col("range").fill_nan(None)
    )
    # Not adjusted, the exponential mean begins with its first value: the seed.
    smooth = pl.col("range").ewm_mean(alpha=1 / period, adjust=False)
    if run_start[0] != run_start[-1]:
        smooth = smooth.over("run")
    return rows.select(smooth.fill_null(np.nan)).to_series().to_numpy()
