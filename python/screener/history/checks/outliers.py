"""Minutes that can be and yet are hard to believe, by bounds that a few bad rows do not move.

| kind | bound |
|---|---|
| `jump` | the open is off the close before by 5 %, and 20 times the median step that is not 0 |
| `price_outlier` | high over low - 1 is above 20 %, and 50 times its median where it is not 0 |
| `volume_outlier` | ln(volume) is above its median by ln(1000), and 8 deviations (1.4826 MAD) |
| `quote_misfit` | quote volume / volume lies outside low to high |
| `zero_run` | an hour or more without a trade |

A candle opens where the one before closed, however wild the day: a jump is therefore a fault much
oftener than a wide minute is. Medians are taken of about 2,000 rows, evenly spread; one of what is
not 0 counts where at least 2 % are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from screener.history.checks.minutes import runs_of
from screener.history.times import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

__all__ = [
    "LEAST_JUMP",
    "LEAST_RANGE",
    "LEAST_ZERO_RUN",
    "MANY_VOLUMES",
    "Doubt",
    "derived",
    "doubts",
    "spread",
    "stride_of",
]

LEAST_ZERO_RUN: Final = 60
"""Minutes without a trade that are worth a notice."""

_SAMPLE = 2_000
_MOST_ZEROS = 50
"""Of so many values one has to be other than 0 for a median of those that are."""
LEAST_JUMP, _JUMP_FACTOR = 0.05, 20.0
LEAST_RANGE, _RANGE_FACTOR = 0.2, 50.0
MANY_VOLUMES, _VOLUME_DEVIATIONS = 1000.0, 8.0
_MAD_TO_DEVIATION = 1.4826
_LARGEST_LOG = 700.0
# The exchange rounds quote volumes to 1e-8.
_QUOTE_ROUNDING, _QUOTE_DIGIT = 1e-6, 1e-8


@dataclass(frozen=True, slots=True)
class Doubt:
    """The rows of one kind: their positions, what to tell of the first, and in which runs."""

    kind: str
    rows: pl.Series
    told: str


def doubts(rows: pl.DataFrame, bad: pl.Series) -> Iterator[Doubt]:
    """The rows that are hard to believe.

    Args:
        rows: Candles of one symbol in order of time, one a minute.
        bad: Open times of those that break SPEC section 1: nothing is concluded from them.
    """
    if rows.is_empty():
        return
    made = rows.select(derived("quote_volume" in rows.columns))
    most = _bounds(made)
    times = rows["open_time"]
    for name, kind, told in (
        ("step", "jump", "opens {:.1%} off the close before (bound {:.1%})"),
        ("range", "price_outlier", "high is {:.1%} above low (bound {:.1%})"),
        ("volume", "volume_outlier", "volume {:,.6g} (bound {:,.3g})"),
    ):
        is_beyond = made[name] > most[name]
        if is_beyond.any():
            at = _believable(times, is_beyond.arg_true(), bad, with_before=name == "step")
            if len(at):
                yield Doubt(kind, at, told.format(made[name][at[0]], most[name]))
    if "misfit" in made.columns and made["misfit"].any():
        yield from _misfits(rows, made["misfit"].arg_true(), bad)
    is_quiet = made["volume"] == 0
    if (is_quiet.sum() or 0) >= LEAST_ZERO_RUN:
        yield from _zero_runs(times, is_quiet.arg_true())


@cache
def derived(with_quotes: bool) -> list[pl.Expr]:
    """What bounds are set to, as step, range and volume; misfit: the quote volume cannot be."""
    import polars as pl

    volume, quote = pl.col("volume"), pl.col("quote_volume")
    least = volume * pl.col("low") * (1 - _QUOTE_ROUNDING) - _QUOTE_DIGIT
    most = volume * pl.col("high") * (1 + _QUOTE_ROUNDING) + _QUOTE_DIGIT
    misfit = ((quote < least) | (quote > most)).fill_null(value=False).alias("misfit")
    return [
        (pl.col("open") / pl.col("close").shift(1) - 1).abs().alias("step"),
        (pl.col("high") / pl.col("low") - 1).alias("range"),
        volume,
        *([misfit] if with_quotes else []),
    ]


def _bounds(made: pl.DataFrame) -> dict[str, float]:
    step, wide, middle, deviation = made.select(_medians(stride_of(made.height))).row(0)
    above = max(math.log(MANY_VOLUMES), _VOLUME_DEVIATIONS * _MAD_TO_DEVIATION * (deviation or 0.0))
    return {
        "step": max(LEAST_JUMP, _JUMP_FACTOR * (step or 0.0)),
        "range": max(LEAST_RANGE, _RANGE_FACTOR * (wide or 0.0)),
        "volume": math.inf if middle is None else math.exp(min(middle + above, _LARGEST_LOG)),
    }


@cache
def _medians(stride: int) -> list[pl.Expr]:
    """Of what is not 0: the medians of step, range and ln(volume), and the last one's MAD."""
    import polars as pl

    def median(name: str) -> pl.Expr:
        # Of a handful in thousands it would be the median of the faults.
        enough = spread(name, stride).len() * _MOST_ZEROS >= pl.col(name).gather_every(stride).len()
        return pl.when(enough).then(spread(name, stride).median()).alias(name)

    logs = spread("volume", stride).log()
    return [
        median("step"),
        median("range"),
        logs.median().alias("middle"),
        (logs - logs.median()).abs().median().alias("deviation"),
    ]


def spread(name: str, stride: int) -> pl.Expr:
    """Of every so manyth row what is above 0 and finite."""
    import polars as pl

    values = pl.col(name).gather_every(stride)
    return values.filter((values > 0) & values.is_finite())


def stride_of(rows: int) -> int:
    """Every so manyth row; never in step with the hours and their parts."""
    stride = max(1, rows // _SAMPLE)
    while math.gcd(stride, 60) > 1:
        stride += 1
    return stride


def _believable(times: pl.Series, at: pl.Series, bad: pl.Series, *, with_before: bool) -> pl.Series:
    """The positions whose row is sound; `with_before`, the minute before is held and sound too."""
    import polars as pl

    here = times.gather(at)
    fine = ~here.is_in(bad.implode())
    if with_before:
        before = times.gather(at.cast(pl.Int64) - 1)
        fine &= (here - before == MINUTE_MS) & ~before.is_in(bad.implode())
    return at.filter(fine)


def _misfits(rows: pl.DataFrame, at: pl.Series, bad: pl.Series) -> Iterator[Doubt]:
    at = _believable(rows["open_time"], at, bad, with_before=False)
    if len(at):
        row = rows.row(at[0], named=True)
        mean = row["quote_volume"] / row["volume"] if row["volume"] else math.inf
        told = f"mean price {mean:.6g} outside {row['low']:.6g} to {row['high']:.6g}"
        yield Doubt("quote_misfit", at, told)


def _zero_runs(times: pl.Series, at: pl.Series) -> Iterator[Doubt]:
    import polars as pl

    runs = runs_of(times.gather(at)).with_columns(end=pl.col("minutes").cum_sum())
    long = runs.filter(pl.col("minutes") >= LEAST_ZERO_RUN)
    if long.height:
        kept = [at.slice(end - count, count) for _, count, end in long.iter_rows()]
        longest = max(long["minutes"].to_list())
        yield Doubt("zero_run", pl.concat(kept), f"{longest:,} minutes at most")
