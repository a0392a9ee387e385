"""How sure a figure is: intervals, p-values, and p-values of many tests."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from screener.outcomes.paths import Floats, Ints

__all__ = ["benjamini_hochberg", "bootstrap", "p_value", "profit_factor", "wilson"]

# Numbers worked on at a time: what fits into a processor's cache.
_AT_ONCE = 1 << 17


def wilson(hits: int, count: int, level: float) -> tuple[float, float]:
    """The interval of a share.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.

    Args:
        hits: How many of `count`, at least 1.
        count: How many there are.
        level: Of confidence, such as 0.95.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, square = hits / count, z * z / count
    middle = share + square / 2
    reach = z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    low, high = ((middle + side * reach) / (1 + square) for side in (-1, 1))
    return max(low, 0.0), min(high, 1.0)


def profit_factor(gains: Floats, losses: Floats) -> Floats:
    """Sums of gains by sums of losses (positive); infinite without loss, 1 without both."""
    ratio = np.full_like(gains, np.inf)
    np.divide(gains, losses, out=ratio, where=losses > 0)
    ratio[(gains == 0) & (losses == 0)] = 1.0
    return ratio


def bootstrap(
    returns: Floats, block: Ints, resamples: int, level: float, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of mean, median and profit factor, resampled by blocks.

    B. Efron, Bootstrap Methods: Another Look at the Jackknife, 1979. Whole blocks are drawn, as
    alerts that come together are not independent.

    Args:
        returns: At least one.
        block: The block of each, from 0.
        resamples: How many.
        level: Of confidence.
        rng: Where chance comes from.
    """
    order = np.argsort(returns, kind="stable")
    returns, block = returns[order], block[order]
    blocks = int(block.max()) + 1
    sizes = np.bincount(block)
    total, gained, lost = (
        np.bincount(block, values).astype(np.float64)
        for values in (returns, np.maximum(returns, 0), np.maximum(-returns, 0))
    )
    found = {name: np.empty(resamples) for name in ("mean", "median", "profit_factor")}
    step = max(1, _AT_ONCE // len(returns))
    for begin in range(0, resamples, step):
        part = slice(begin, min(begin + step, resamples))
        rows = part.stop - part.start
        drawn = rng.integers(blocks, size=(rows, blocks)) + np.arange(rows)[:, np.newaxis] * blocks
        times = np.bincount(drawn.ravel(), minlength=rows * blocks).reshape(rows, blocks)
        found["mean"][part] = (times @ total) / (times @ sizes)
        found["profit_factor"][part] = profit_factor(times @ gained, times @ lost)
        upto = np.cumsum(times.astype(np.int32).take(block, axis=1), axis=1, dtype=np.int32)
        drawn_count = upto[:, -1:]
        lower = (upto >= (drawn_count + 1) // 2).argmax(axis=1)
        upper = (upto > drawn_count // 2).argmax(axis=1)
        found["median"][part] = (returns[lower] + returns[upper]) / 2
    tails = ((1 - level) / 2, (1 + level) / 2)
    # No mean of two values: one of them may be infinite.
    return {
        name: tuple(np.quantile(values, tails, method="inverted_cdf").tolist())
        for name, values in found.items()
    }


def p_value(observed: float, random: Floats) -> float:
    """How often chance does at least as well, the observed one counted with chance.

    B. Phipson and G. K. Smyth, Permutation P-values Should Never Be Zero, 2010.
    """
    return (1 + int((random >= observed).sum())) / (1 + len(random))


def benjamini_hochberg(p: Floats) -> Floats:
    """P-values of many tests, so that of those at or below q a share of q is false at most.

    Y. Benjamini and Y. Hochberg, Controlling the False Discovery Rate, 1995.
    """
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
