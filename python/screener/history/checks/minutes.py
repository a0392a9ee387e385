"""What the times alone tell. Minutes that follow each other are one run, so all is counted on runs.

Runs are frames of `first` (int64 ms) and `minutes` (how many), a row a run.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from screener.history.times import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

__all__ = [
    "common",
    "count_after",
    "gaps",
    "joined",
    "make_runs",
    "minute_of",
    "no_runs",
    "runs_of",
    "split",
    "without",
]

_RUN = ("first", "minutes")


def make_runs(runs: Iterable[tuple[int, int]]) -> pl.DataFrame:
    """Runs of pairs (first minute in ms, how many minutes)."""
    import polars as pl

    schema = {"first": pl.Int64, "minutes": pl.Int64}
    return pl.DataFrame(list(runs), schema=schema, orient="row")


@cache
def no_runs() -> pl.DataFrame:
    """No run at all."""
    return make_runs(())


def runs_of(times: pl.Series) -> pl.DataFrame:
    """The runs of rows that are a minute after the row before them, in the order of the rows.

    Args:
        times: Open times, int64 ms, none missing.
    """
    import polars as pl

    if times.is_empty():
        return no_runs()
    is_break = pl.col("time").diff() != MINUTE_MS
    breaks = times.to_frame("time").select(is_break.arg_true().cast(pl.Int64)).to_series()
    if breaks.is_empty():
        return make_runs([(times[0], len(times))])
    starts = pl.concat([pl.Series([0], dtype=pl.Int64), breaks])
    ends = pl.concat([breaks, pl.Series([len(times)], dtype=pl.Int64)])
    return pl.DataFrame({"first": times.gather(starts), "minutes": ends - starts})


def joined(runs: pl.DataFrame) -> pl.DataFrame:
    """The same minutes in order of time, each once, in as few runs as can be."""
    import polars as pl

    if runs.height < 2:
        return runs
    first, end = pl.col("first"), pl.col("first") + pl.col("minutes") * MINUTE_MS
    reach = end.cum_max().shift(1)
    return (
        runs.sort("first")
        .with_columns(end=end, group=(first > reach).fill_null(value=False).cum_sum())
        .group_by("group", maintain_order=True)
        .agg(first=first.first(), minutes=(pl.col("end").max() - first.first()) // MINUTE_MS)
        .select(_RUN)
    )


def gaps(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs of minutes between joined runs."""
    import polars as pl

    end = (pl.col("first") + pl.col("minutes") * MINUTE_MS).shift(1)
    between = runs.select(first=end, minutes=(pl.col("first") - end) // MINUTE_MS)
    return between.filter(pl.col("minutes") > 0)


def common(some: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The minutes that both of two joined runs hold."""
    if some.is_empty() or others.is_empty():
        return no_runs()
    found = []
    theirs = others.rows()
    position = 0
    for first, minutes in some.iter_rows():
        end = first + minutes * MINUTE_MS
        while position and theirs[position - 1][0] + theirs[position - 1][1] * MINUTE_MS > first:
            position -= 1
        while position < len(theirs) and theirs[position][0] < end:
            other, count = theirs[position]
            low, high = max(first, other), min(end, other + count * MINUTE_MS)
            if low < high:
                found.append((low, (high - low) // MINUTE_MS))
            position += 1
    return make_runs(found)


def without(some: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The minutes of joined runs that are not in others."""
    if some.is_empty() or others.is_empty():
        return some
    left = []
    taken = common(some, others).rows()
    position = 0
    for first, minutes in some.iter_rows():
        at, end = first, first + minutes * MINUTE_MS
        while position < len(taken) and taken[position][0] < end:
            low, count = taken[position]
            if at < low:
                left.append((at, (low - at) // MINUTE_MS))
            at = low + count * MINUTE_MS
            position += 1
        if at < end:
            left.append((at, (end - at) // MINUTE_MS))
    return make_runs(left)


def split(runs: pl.DataFrame, part: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The minutes of joined runs that are in `part`, and the others."""
    return common(runs, part), without(runs, part)


def count_after(moment: int) -> pl.Expr:
    """How many minutes of a run open after a moment."""
    import polars as pl

    last = pl.col("first") + (pl.col("minutes") - 1) * MINUTE_MS
    later = -((moment - last) // MINUTE_MS)
    return later.clip(0, pl.col("minutes"))


def minute_of(time: pl.Expr) -> pl.Expr:
    """The minute a time lies in."""
    return time // MINUTE_MS * MINUTE_MS
