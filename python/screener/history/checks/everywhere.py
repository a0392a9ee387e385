"""Minutes that most symbols lack: the exchange had none, whatever became of a single symbol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screener.history.checks.minutes import joined, make_runs, no_runs
from screener.history.times import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

__all__ = ["LEAST_SYMBOLS", "missing_in_most"]

LEAST_SYMBOLS = 2
"""With fewer symbols nothing can be said of the exchange."""


def missing_in_most(symbols: Iterable[tuple[int, int, pl.DataFrame]]) -> pl.DataFrame:
    """The minutes that more than half of the symbols lack, of those whose span holds them.

    Args:
        symbols: For each symbol its first minute, the end of its last (ms), and its missing runs.

    Returns:
        Runs, as in `minutes`.
    """
    import polars as pl

    parts = [(start, end, holes) for start, end, holes in symbols if start < end]
    if len(parts) < LEAST_SYMBOLS or all(holes.is_empty() for _, _, holes in parts):
        return no_runs()
    spans = make_runs((start, (end - start) // MINUTE_MS) for start, end, _ in parts)
    holes = pl.concat([holes for _, _, holes in parts])
    changes = pl.concat([_changes(spans, 1, 0), _changes(holes, 0, 1)])
    steps = (
        changes.group_by("time")
        .sum()
        .sort("time")
        .with_columns(pl.col("covering", "missing").cum_sum(), until=pl.col("time").shift(-1))
        .drop_nulls()
    )
    covering, missing = pl.col("covering"), pl.col("missing")
    most = steps.filter((covering >= LEAST_SYMBOLS) & (missing * 2 > covering))
    minutes = (pl.col("until") - pl.col("time")) // MINUTE_MS
    return joined(most.select(first="time", minutes=minutes))


def _changes(runs: pl.DataFrame, covering: int, missing: int) -> pl.DataFrame:
    """What begins and ends where."""
    import polars as pl

    end = pl.col("first") + pl.col("minutes") * MINUTE_MS
    counts = {"covering": covering, "missing": missing}
    starts = runs.select(time="first", **{name: pl.lit(n) for name, n in counts.items()})
    ends = runs.select(time=end, **{name: pl.lit(-n) for name, n in counts.items()})
    return pl.concat([starts, ends])
