"""The triple barrier: target, stop and the end of the holding, whichever is touched first."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from screener.errors import DataError
from screener.outcomes.paths import Floats, Ints

__all__ = ["Barriers", "average_true_range"]


@dataclass(frozen=True, slots=True)
class Barriers:
    """Where the barriers lie.

    Attributes:
        target: Average true ranges from the entry to the favourable barrier.
        stop: Average true ranges from the entry to the adverse one.
        atr: Minutes of the average true range.

    Raises:
        DataError: A distance is not above 0, or the minutes are not a whole number above 0.
    """

    target: float
    stop: float
    atr: int

    def __post_init__(self) -> None:
        """Refuse what makes no barrier."""
        for name in ("target", "stop"):
            distance = getattr(self, name)
            if not (math.isfinite(distance) and distance > 0):
                raise DataError(
                    reason=f"{name}={distance!r} is no distance",
                    remedy="give average true ranges, above 0",
                )
        if self.atr < 1 or self.atr != int(self.atr):
            raise DataError(
                reason=f"atr={self.atr!r} is no number of minutes", remedy="it is at least 1"
            )


def average_true_range(
    high: Floats, low: Floats, close: Floats, run_start: Ints, period: int
) -> Floats:
    """Wilder's average true range at the close of each minute, afresh in each run.

    The first true range of a run is that of its second minute; the average is ready, as the mean
    of `period` of them, at the run's minute number `period` from 0, and NaN before.

    Args:
        high: Highest prices, sorted by time.
        low: Lowest prices.
        close: Last prices.
        run_start: For each row the first row of its run.
        period: Minutes to look back.
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
