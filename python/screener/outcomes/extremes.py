"""The highest value of any range, and where a level is first reached, for many ranges at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from screener.outcomes.paths import Floats, Ints

__all__ = ["Peaks"]


class Peaks:
    """Highest values over all ranges whose length is a power of two (a sparse table).

    Making it costs O(n log longest) and so much memory; a highest value is then two look-ups, a
    first touch log2(length) of them (M. Bender and M. Farach-Colton, The LCA Problem Revisited,
    2000).

    Args:
        values: Any numbers but NaN.
        longest: Of the ranges that will be asked for, in values.
    """

    def __init__(self, values: Floats, longest: int) -> None:
        """Make the table."""
        self._levels = [values]
        length = 1
        while 2 * length <= min(longest, len(values)):
            below = self._levels[-1]
            self._levels.append(np.maximum(below[:-length], below[length:]))
            length *= 2

    def highest(self, starts: Ints, length: int) -> Floats:
        """The highest of the `length` values from each start on; they must be there."""
        level = length.bit_length() - 1
        values = self._levels[level]
        return np.maximum(values[starts], values[starts + (length - (1 << level))])

    def first(self, starts: Ints, levels: Floats, lengths: Ints) -> Ints:
        """How many of the values from each start on are below a level before one is not.

        Args:
            starts: Where each range begins.
            levels: What each must reach.
            lengths: Values of each range, at most the longest; they must be there.

        Returns:
            The distance from the start of the first value at or above the level; the length of
            the range where there is none.
        """
        passed = np.zeros_like(starts)
        longest = int(lengths.max(initial=0))
        for level in reversed(range(min(longest.bit_length(), len(self._levels)))):
            values, step = self._levels[level], 1 << level
            fits = passed + step <= lengths
            block = values[np.where(fits, starts + passed, 0)]
            passed += step * (fits & (block < levels))
        return passed
