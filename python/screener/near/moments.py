"""One symbol's minutes: how far rules were from firing, and the moments they came nearest. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from screener.near.clauses import read, share, truth
from screener.outcomes.frames import milliseconds
from screener.reach import reach
from screener.replay import windows

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from screener._core import RuleSet
    from screener.near.clauses import Floats
    from screener.types import Gaps

    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

__all__ = ["Looked", "Moment", "looked_at", "nearest"]

_MINUTE: Final = 60_000


@dataclass(frozen=True, slots=True)
class Moment:
    """A minute at which a rule did not fire.

    Attributes:
        symbol: The symbol.
        rule: The rule.
        time: Close of the minute, ms.
        distance: The largest shortfall of a clause, as a share.
        failing: How many clauses fail.
        metrics: Those the rule names; None where they are not ready.
    """

    symbol: str
    rule: str
    time: int
    distance: float
    failing: int
    metrics: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Looked:
    """One symbol's minutes, filled ones among them.

    Attributes:
        symbol: The symbol.
        times: Close of each, ms.
        metrics: Values by name, NaN where they are not ready.
        is_real: Whether each traded: others are never judged.
        settled: Minutes since the newest one that is missing and may still come, itself excluded.
    """

    symbol: str
    times: Ints
    metrics: dict[str, Floats]
    is_real: Flags
    settled: Ints


def looked_at(frame: pl.DataFrame, names: list[str], gaps: Gaps) -> Looked:
    """The minutes of a frame of one symbol, with these metrics of each."""
    symbol = frame["symbol"][0]
    if "closed" in frame.columns:
        frame = frame.filter(pl.col("closed").fill_null(value=True))
    seen = windows(frame, names or None, gaps=gaps)
    opens = seen["open_time"].to_numpy()
    given = milliseconds(frame, "open_time")
    is_real = pl.lit(value=True)
    if "source" in frame.columns:
        is_real = pl.col("source").fill_null("stream") != "synthetic"
    real = frame.select(pl.lit(given).filter(is_real))
    has_real = np.isin(opens, real.to_series().to_numpy())
    is_pending = ~np.isin(opens, given.to_numpy()) & (gaps == "pending")
    numbers = opens // _MINUTE
    newest = np.maximum.accumulate(np.where(is_pending, numbers, np.iinfo(np.int64).min // 2))
    metrics = {
        name: seen[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names
    }
    return Looked(symbol, opens + _MINUTE, metrics, has_real, numbers - newest)


def nearest(
    looked: Looked, rules: RuleSet, name: str, low: int, high: int, apart: int, limit: int
) -> Iterator[Moment]:
    """The moments a rule came nearest, nearest first.

    Args:
        looked: The symbol's minutes.
        rules: The set.
        name: The rule.
        low: Minutes that open earlier are not asked for, ms.
        high: Nor are those that open later or then.
        apart: Minutes closer than this to each other or to one at which the rule held are one
            moment, ms.
        limit: How many at most.
    """
    table = rules.explain(name, {})
    trees = [read(clause.text) for clause in table.clauses]
    distance, failing = _distances(trees, looked)
    judged = looked.is_real & (looked.settled >= reach(rules[name].metrics))
    for metric in table.not_ready:
        judged &= ~np.isnan(looked.metrics[metric])
    judged &= ~np.isnan(distance)
    opens = looked.times - _MINUTE
    left = judged & (failing > 0) & (opens >= low) & (opens < high)
    left &= ~_near(looked.times, looked.times[judged & (failing == 0)], apart)
    remaining = np.where(left, distance, np.inf)
    for _ in range(limit):
        best = int(np.argmin(remaining)) if len(remaining) else -1
        if best < 0 or remaining[best] == np.inf:
            return
        metrics = {
            metric: None if np.isnan(value := looked.metrics[metric][best]) else float(value)
            for metric in rules[name].metrics
        }
        time = int(looked.times[best])
        yield Moment(looked.symbol, name, time, float(distance[best]), int(failing[best]), metrics)
        remaining[abs(looked.times - time) < apart] = np.inf


def _distances(trees: list[ast.expr], looked: Looked) -> tuple[Floats, Ints]:
    """The largest shortfall of each minute, NaN where a clause cannot be judged; how many fail."""
    distance = np.zeros(len(looked.times))
    failing = np.zeros(len(looked.times), dtype=np.int64)
    for tree in trees:
        holds = truth(tree, looked.metrics)
        short = np.where(holds == 1.0, 0.0, -share(tree, looked.metrics))
        distance = np.maximum(distance, short)
        failing += holds == 0.0
    return distance, failing


def _near(times: Ints, others: Ints, apart: int) -> Flags:
    """Whether each time is closer than so much to one of the others; both sorted."""
    if not len(others):
        return np.zeros(len(times), dtype=bool)
    after = np.searchsorted(others, times)
    before = others[np.maximum(after - 1, 0)]
    behind = others[np.minimum(after, len(others) - 1)]
    return np.asarray((abs(times - before) < apart) | (abs(behind - times) < apart))
