"""What prices did after entries, in whole arrays: a row an entry, a column a horizon."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from screener.atr import average_true_range
from screener.outcomes.extremes import Peaks
from screener.outcomes.paths import Floats, Ints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from screener.outcomes.barriers import Barriers
    from screener.outcomes.paths import Paths

__all__ = ["Measures", "measure"]


@dataclass(frozen=True, slots=True)
class Measures:
    """Numbers of entries by horizon; NaN, or -1 of minutes, where there is none.

    `atr`, `target` and `stop` have no horizon: arrays of one dimension, the others of two.
    Columns as in `outcomes`.
    """

    mfe: Floats
    mae: Floats
    mfe_after: Ints
    mae_after: Ints
    label: Ints
    label_after: Ints
    label_return: Floats
    atr: Floats
    target: Floats
    stop: Floats

    @classmethod
    def empty(cls, entries: int, horizons: int) -> Measures:
        """Nothing measured yet."""
        table = (entries, horizons)
        return cls(
            mfe=np.full(table, np.nan),
            mae=np.full(table, np.nan),
            mfe_after=np.full(table, -1),
            mae_after=np.full(table, -1),
            label=np.full(table, -1),
            label_after=np.full(table, -1),
            label_return=np.full(table, np.nan),
            atr=np.full(entries, np.nan),
            target=np.full(entries, np.nan),
            stop=np.full(entries, np.nan),
        )

    def put(self, entries: Ints, part: Measures) -> None:
        """Write the measures of some entries into their places."""
        for field in fields(self):
            getattr(self, field.name)[entries] = getattr(part, field.name)


def measure(
    paths: Paths, rows: Ints, signs: Floats, horizons: Sequence[int], barriers: Barriers
) -> Measures:
    """Measure entries.

    Args:
        paths: Minutes.
        rows: The row of each entry; -1 where there is none.
        signs: 1 where a rise is favourable, -1 where a fall is.
        horizons: In minutes.
        barriers: Where they lie.
    """
    found = Measures.empty(len(rows), len(horizons))
    order = np.argsort(rows, kind="stable")
    cuts = np.searchsorted(rows[order], edges := paths.slabs())
    for (first, end), (begin, until) in zip(pairwise(cuts), pairwise(edges), strict=True):
        if first == end:
            continue
        slab = _slab(paths, slice(begin, until), max(horizons), barriers.atr)
        for sign in (1.0, -1.0):
            entries = order[first:end]
            entries = entries[signs[entries] == sign]
            part = _one_way(slab, rows[entries] - begin, sign, horizons, barriers)
            found.put(entries, part)
    return found


@dataclass(frozen=True, slots=True)
class _Slab:
    """The minutes of some symbols; `lows` are negated, so that both are peaks."""

    open: Floats
    close: Floats
    run_end: Ints
    atr: Floats
    highs: Peaks
    lows: Peaks


def _slab(paths: Paths, cut: slice, longest: int, period: int) -> _Slab:
    high, low = paths.high[cut], paths.low[cut]
    run_start = paths.run_start[cut] - cut.start
    atr = average_true_range(high, low, paths.close[cut], run_start, period)
    return _Slab(
        open=paths.open[cut],
        close=paths.close[cut],
        run_end=paths.run_end[cut] - cut.start,
        # What is known as a minute opens is of the minute before, in the same run.
        atr=np.where(run_start < np.arange(len(atr)), np.roll(atr, 1), np.nan),
        highs=Peaks(high, longest),
        lows=Peaks(-low, longest),
    )


def _one_way(
    slab: _Slab, rows: Ints, sign: float, horizons: Sequence[int], barriers: Barriers
) -> Measures:
    """Measure entries that all hope for a rise, or all for a fall.

    Prices are looked at with the sign: then the favourable side is always up.
    """
    favourable, adverse = (slab.highs, slab.lows) if sign > 0 else (slab.lows, slab.highs)
    found = Measures.empty(len(rows), len(horizons))
    entry = slab.open[rows]
    found.atr[:] = slab.atr[rows]
    found.target[:] = entry + sign * barriers.target * found.atr
    found.stop[:] = entry - sign * barriers.stop * found.atr
    room = np.minimum(slab.run_end[rows] - rows, max(horizons))
    to_target = favourable.first(rows, sign * found.target, room)
    to_stop = adverse.first(rows, -sign * found.stop, room)
    for column, minutes in enumerate(horizons):
        whole = np.flatnonzero(room >= minutes)
        if not len(whole):
            continue
        start, price = rows[whole], entry[whole]
        lengths = np.full(len(whole), minutes)
        best = favourable.highest(start, minutes)
        worst = adverse.highest(start, minutes)
        found.mfe[whole, column] = (best - sign * price) / price * 100
        found.mae[whole, column] = -(worst + sign * price) / price * 100
        found.mfe_after[whole, column] = favourable.first(start, best, lengths)
        found.mae_after[whole, column] = adverse.first(start, worst, lengths)

        ready = whole[found.atr[whole] > 0]
        won = (to_target[ready] < minutes) & (to_target[ready] < to_stop[ready])
        lost = ~won & (to_stop[ready] < minutes)
        after = np.minimum(np.minimum(to_target[ready], to_stop[ready]), minutes - 1)
        at = rows[ready] + after
        stopped = sign * np.minimum(sign * found.stop[ready], sign * slab.open[at])
        leaving = np.select([won, lost], [found.target[ready], stopped], slab.close[at])
        found.label[ready, column] = won.astype(np.int64) - lost
        found.label_after[ready, column] = after
        found.label_return[ready, column] = sign * (leaving / entry[ready] - 1) * 100
    return found
