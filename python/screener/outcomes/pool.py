"""Random entries: what any minute of the same symbol and hour of the day would have brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from screener.outcomes.paths import Floats, Ints, Paths

__all__ = ["Placed", "Pool", "pools"]

# Numbers worked on at a time: what fits into a processor's cache.
_AT_ONCE = 1 << 17


@dataclass(frozen=True, slots=True)
class Placed:
    """Alerts of one rule as a block an hour: those of one hour of one day, whatever their symbols.

    Attributes:
        group: Symbol and hour of the day of each alert, as `Pool` counts them.
        block: The block of each alert, from 0.
        shift: Minutes of each alert after the first of its block.
        sign: 1 where a rise is favourable, -1 where a fall is.
    """

    group: Ints
    block: Ints
    shift: Ints
    sign: Floats

    @classmethod
    def of(cls, codes: Ints, minutes: Ints, signs: Floats) -> Placed:
        """Place alerts by their symbols' numbers and minutes of entry."""
        hours, block = np.unique(minutes // 60, return_inverse=True)
        first = np.full(len(hours), np.iinfo(np.int64).max)
        np.minimum.at(first, block, minutes)
        return cls(codes * 24 + minutes // 60 % 24, block, minutes - first[block], signs)

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return int(self.block.max()) + 1


@dataclass(frozen=True, slots=True)
class Pool:
    """The returns over one horizon from every minute that has it whole.

    Attributes:
        returns: In %, by group (symbol and hour of the day), then by time.
        first: Where each group begins.
        count: How many minutes each has.
    """

    returns: Floats
    first: Ints
    count: Ints

    def lacks(self, placed: Placed) -> bool:
        """Whether an alert has no minute to be drawn for it."""
        known = (placed.group >= 0) & (placed.group < len(self.count))
        return not (known.all() and self.count[placed.group].all())

    def means(self, placed: Placed, draws: int, rng: np.random.Generator) -> Floats:
        """The mean return of a rule's alerts, placed at random, for each of many draws.

        Each block is moved to a random time of its hour of the day, its alerts together and as
        far apart as they were: what comes in a burst is as good as one, not as many.
        """
        count, first = self.count[placed.group], self.first[placed.group]
        shift, end_of = placed.shift % count, first + count
        found = np.empty(draws)
        for begin, end in _parts(draws, len(placed.group)):
            at = rng.random((end - begin, placed.blocks)).take(placed.block, axis=1)
            at *= count
            row = at.astype(np.int64)
            row += first + shift
            row -= count * (row >= end_of)
            found[begin:end] = (self.returns.take(row) * placed.sign).mean(axis=1)
        return found


def pools(paths: Paths, horizons: list[int]) -> Iterator[Pool]:
    """The pool of each horizon."""
    group = paths.code * 24 + paths.minute // 60 % 24
    order = np.argsort(group, kind="stable")
    group, room = group[order], (paths.run_end - np.arange(len(order)))[order]
    for horizon in horizons:
        whole = room >= horizon
        count = np.bincount(group[whole], minlength=paths.names.len() * 24)
        returns = paths.returns(order[whole], horizon)
        yield Pool(returns, np.cumsum(count) - count, count)


def _parts(count: int, width: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows so short that a table of them is not too large."""
    step = max(1, _AT_ONCE // max(width, 1))
    for begin in range(0, count, step):
        yield begin, min(begin + step, count)
