"""One symbol's minutes: what is held, what lacks, and every faulty minute by kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from screener.history.checks.glance import Glance, glance
from screener.history.checks.minutes import (
    count_after,
    gaps,
    joined,
    make_runs,
    minute_of,
    no_runs,
    runs_of,
)
from screener.history.checks.outliers import doubts
from screener.history.checks.values import broken_rows, numbers
from screener.history.times import MINUTE_MS, iso
from screener.quality import YEARS, in_years, repeats

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

__all__ = ["Fault", "SymbolCheck", "check_symbol"]


@dataclass(frozen=True, slots=True)
class Fault:
    """The rows of a symbol that are wrong in one way.

    Attributes:
        kind: A name of `KINDS`.
        count: How many rows.
        runs: Their minutes, as in `minutes`; a row without a time is in none.
        told: The first of them, in words.
    """

    kind: str
    count: int
    runs: pl.DataFrame
    told: str


@dataclass(frozen=True, slots=True)
class SymbolCheck:
    """What is known of one symbol after its rows were looked at once.

    Attributes:
        symbol: Its name.
        rows: Rows, bad ones included.
        start: The first minute it should have, ms.
        end: The end of the last minute it should have, ms.
        held: Different minutes that are held.
        missing: Runs of minutes between `start` and `end` without a row, whatever the reason.
        faults: What is wrong with the rows that are there.
        sources: Rows by source; empty where the rows tell none.
    """

    symbol: str
    rows: int
    start: int
    end: int
    held: int
    missing: pl.DataFrame
    faults: tuple[Fault, ...]
    sources: dict[str, int]


def check_symbol(
    symbol: str,
    rows: pl.DataFrame,
    *,
    start: int | None = None,
    end: int | None = None,
    now: int | None = None,
    other: pl.DataFrame | None = None,
) -> SymbolCheck:
    """Looks at the rows of one symbol; numbers are floats or integers, times int64.

    Args:
        symbol: Its name.
        rows: Its candles, in any order.
        start: The first minute it should have; by default the first it has.
        end: The end of the last minute it should have; by default of the last it has.
        now: The time, ms; minutes that open later are faults. Without it none is.
        other: The same minutes as another source has them.
    """
    import polars as pl

    seen = glance(rows)
    timed, runs = _timed(rows, seen)
    is_sound = seen.are_sound and timed.height == rows.height
    broken = rows.clear() if is_sound else broken_rows(rows)
    held = joined(_aligned(runs))
    faults = [*_broken(broken), *_time_faults(runs, now)]
    ordered = timed
    if _is_repeated(runs):
        faults += _repeated(timed.with_columns(symbol=pl.lit(symbol)))
        ordered = _first_of_each_minute(timed)
    if ordered is not timed or not seen.are_plausible:
        faults += _doubts(ordered, broken)
    sources = _sources(rows)
    if "synthetic" in sources:
        faults += _synthetic(timed)
    if other is not None:
        faults += _against(ordered, other)
    first, last = _ends(held)
    asked = (first if start is None else start, last if end is None else end)
    return SymbolCheck(
        symbol=symbol,
        rows=rows.height,
        start=asked[0],
        end=asked[1],
        held=int(held["minutes"].sum()),
        missing=_missing(held, *asked),
        faults=tuple(faults),
        sources=sources,
    )


# -- times ---------------------------------------------------------------------------------------


def _timed(rows: pl.DataFrame, seen: Glance) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows whose time a calendar has, and their runs."""
    times = rows["open_time"]
    if not times.null_count():
        runs = make_runs([(times[0], len(times))]) if seen.are_minutes else runs_of(times)
        if _all_in_years(runs):
            return rows, runs
    rows = rows.filter(in_years())
    return rows, runs_of(rows["open_time"])


def _all_in_years(runs: pl.DataFrame) -> bool:
    if runs.is_empty():
        return True
    first, last = runs["first"], runs["first"] + (runs["minutes"] - 1) * MINUTE_MS
    return YEARS[0] <= cast("int", first.min()) and cast("int", last.max()) < YEARS[1]


def _aligned(runs: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    if runs.height == 1 and runs["first"][0] % MINUTE_MS == 0:
        return runs
    return runs.with_columns(first=minute_of(pl.col("first")))


def _ends(held: pl.DataFrame) -> tuple[int, int]:
    if held.is_empty():
        return 0, 0
    first, minutes = held.row(-1)
    return int(held["first"][0]), first + minutes * MINUTE_MS


def _missing(held: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """The runs of [start, end) that are not held."""
    import polars as pl

    if held.height == 1 and _ends(held) == (start, end):
        return no_runs()
    edges = make_runs([(start, 0), (max(start, end), 0)])
    inside = held.filter(
        (pl.col("first") + pl.col("minutes") * MINUTE_MS > start) & (pl.col("first") < end)
    )
    return gaps(pl.concat([edges[:1], inside, edges[1:]]))


def _time_faults(runs: pl.DataFrame, now: int | None) -> Iterator[Fault]:
    import polars as pl

    if runs.height == 1 and runs["first"][0] % MINUTE_MS == 0:
        last = runs["first"][0] + (runs["minutes"][0] - 1) * MINUTE_MS
        if now is None or last <= now:
            return
    shifted = runs.filter(pl.col("first") % MINUTE_MS != 0)
    if shifted.height:
        told = f"{iso(shifted['first'][0])} is no whole minute"
        minutes = joined(_aligned(shifted))
        yield Fault("misaligned", int(shifted["minutes"].sum()), minutes, told)
    if now is not None:
        early = runs.with_columns(later=count_after(now))
        early = early.filter(pl.col("later") > 0)
        if early.height:
            skipped = (pl.col("minutes") - pl.col("later")) * MINUTE_MS
            first = minute_of(pl.col("first") + skipped)
            minutes = joined(early.select(first=first, minutes="later"))
            told = f"opens {(minutes['first'][0] - now) / 3_600_000:.1f} hours from now"
            yield Fault("future", int(early["later"].sum()), minutes, told)
    last = pl.col("first") + (pl.col("minutes") - 1) * MINUTE_MS
    before = last.cum_max().shift(1)
    older = pl.min_horizontal(
        pl.max_horizontal(-(-(before - pl.col("first")) // MINUTE_MS), pl.lit(0)), "minutes"
    )
    late = runs.with_columns(older=older).filter(pl.col("older") > 0)
    if late.height:
        minutes = joined(_aligned(late.select("first", minutes="older")))
        told = f"{iso(late['first'][0])} comes after a later minute"
        yield Fault("out_of_order", int(late["older"].sum()), minutes, told)


def _is_repeated(runs: pl.DataFrame) -> bool:
    """Whether a minute may be there twice, or rows out of order."""
    import polars as pl

    if runs.height < 2:
        return False
    end = minute_of(pl.col("first")) + pl.col("minutes") * MINUTE_MS
    overlaps = minute_of(pl.col("first")) < end.cum_max().shift(1)
    return bool(runs.select(overlaps.any()).item())


# -- rows ----------------------------------------------------------------------------------------


def _broken(broken: pl.DataFrame) -> Iterator[Fault]:
    if broken.is_empty():
        return
    for (kind,), part in broken.group_by("kind", maintain_order=True):
        row = part.row(0, named=True)
        time = row["open_time"]
        runs = no_runs() if kind == "out_of_years" else _runs_in(part)
        where = "a row without a time" if time is None else f"open_time {time}"
        where = iso(time) if runs.height and time is not None else where
        told = f"{row['field']} = {_number(row['value'])} at {where}"
        yield Fault(str(kind), part.height, runs, told)


def _number(value: float | None) -> str:
    if value is None:
        return "nothing"
    return f"{value:.10g}" if math.isfinite(value) else str(value)


def _runs_in(rows: pl.DataFrame) -> pl.DataFrame:
    """The minutes of these rows, in order, each once."""
    import polars as pl

    times = rows.select(minute_of(pl.col("open_time").drop_nulls())).to_series()
    return joined(runs_of(times.sort()))


def _repeated(timed: pl.DataFrame) -> Iterator[Fault]:
    """Rows beyond the first of a minute, from one source or from several."""
    import polars as pl

    said = ["open_time", *numbers(timed.columns)]
    rows = timed.with_columns(minute=minute_of(pl.col("open_time")))
    extras = repeats(rows, said)
    of_another = pl.lit(value=False)
    if "source" in timed.columns:
        of_another = (pl.col("source") != pl.col("source_first")).fill_null(value=False)
    kinds = {
        "duplicate_same": pl.col("is_same"),
        "source_difference": ~pl.col("is_same") & of_another,
        "duplicate_differing": ~pl.col("is_same") & ~of_another,
    }
    for kind, is_such in kinds.items():
        found = extras.filter(is_such)
        if found.height:
            runs = _runs_in(found)
            told = f"in {runs['minutes'].sum():,} minutes, from {iso(runs['first'][0])}"
            yield Fault(kind, found.height, runs, told)


def _first_of_each_minute(timed: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return (
        timed.with_columns(minute=minute_of(pl.col("open_time")))
        .unique("minute", keep="first", maintain_order=True)
        .sort("minute")
        .drop("minute")
    )


def _doubts(ordered: pl.DataFrame, broken: pl.DataFrame) -> Iterator[Fault]:
    bad = broken["open_time"]
    for doubt in doubts(ordered, bad.drop_nulls() if len(bad) else bad):
        found = ordered["open_time"].gather(doubt.rows).to_frame()
        runs = _runs_in(found)
        told = f"{doubt.told} at {iso(found['open_time'][0])}"
        yield Fault(doubt.kind, found.height, runs, told)


def _synthetic(timed: pl.DataFrame) -> Iterator[Fault]:
    import polars as pl

    made_up = timed.filter(pl.col("source") == "synthetic")
    if made_up.height:
        told = f"from {iso(made_up['open_time'][0])}"
        yield Fault("synthetic", made_up.height, _runs_in(made_up), told)


def _sources(rows: pl.DataFrame) -> dict[str, int]:
    if "source" not in rows.columns or rows.is_empty():
        return {}
    source = rows["source"]
    if not source.null_count() and bool((source == source[0]).all()):
        return {str(source[0]): rows.height}
    counts = source.fill_null("unknown").value_counts(sort=True)
    return dict(counts.iter_rows())


def _against(ordered: pl.DataFrame, other: pl.DataFrame) -> Iterator[Fault]:
    """Minutes of which another source says something else; what one does not know is no lie."""
    import polars as pl

    names = [name for name in numbers(ordered.columns) if name in other.columns]
    pairs = ordered.join(other, on="open_time", suffix="_other", maintain_order="left")
    differs = {name: pl.col(name) != pl.col(f"{name}_other") for name in names}
    found = pairs.filter(pl.any_horizontal(differs.values()))
    if found.height:
        row = found.row(0, named=True)
        name = next(n for n in names if _are_known_and_differ(row[n], row[f"{n}_other"]))
        told = (
            f"{name} = {_number(row[name])} here and {_number(row[f'{name}_other'])} there "
            f"at {iso(row['open_time'])}"
        )
        yield Fault("source_difference", found.height, _runs_in(found), told)


def _are_known_and_differ(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one != other
