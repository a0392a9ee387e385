"""What the benchmark and the whole market did over the same minutes: a column a horizon, in %."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from screener.outcomes.paths import Floats, Ints, Paths

__all__ = ["benchmark_returns", "market_returns"]


def benchmark_returns(
    paths: Paths, symbol: str | None, minutes: Ints, horizons: Sequence[int]
) -> Floats:
    """The returns of one symbol from each minute on; NaN where it has no whole horizon."""
    code = paths.codes(pl.Series([symbol], dtype=pl.String))
    rows = paths.find(np.repeat(code, len(minutes)), minutes)
    return np.stack([paths.returns(rows, horizon) for horizon in horizons], axis=1)


def market_returns(paths: Paths, minutes: Ints, horizons: Sequence[int]) -> Floats:
    """The mean return of all symbols with a whole horizon from each minute on; else NaN."""
    if not len(minutes):
        return np.empty((0, len(horizons)))
    first, last = minutes.min(), minutes.max()
    asked = np.zeros(last - first + 1, dtype=bool)
    asked[minutes - first] = True
    near = np.flatnonzero((paths.minute >= first) & (paths.minute <= last))
    rows = near[asked[paths.minute[near] - first]]
    place, room = paths.minute[rows] - first, paths.run_end[rows] - rows
    means: Floats = np.full((len(asked), len(horizons)), np.nan)
    for column, horizon in enumerate(horizons):
        whole = room >= horizon
        start, at = rows[whole], place[whole]
        growth = paths.close[start + horizon - 1] / paths.open[start] - 1
        sums = np.bincount(at, growth * 100, minlength=len(asked))
        counts = np.bincount(at, minlength=len(asked))
        np.divide(sums, counts, out=means[:, column], where=counts > 0)
    found: Floats = means[minutes - first]
    return found
