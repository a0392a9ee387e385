"""Minutes that can be and yet are hard to believe, by bounds that a few bad rows do not move.

| kind | bound |
|---|---|
| `jump` | the open is off the close before by 5 %, and 20 times the median step that is not 0 |
| `price_outlier` | high over low - 1 is above 20 %, and 50 times its median where it is not 0 |
| `volume_outlier` | ln(volume) is above its median by ln(1000), and 8 deviations (1.4826 MAD) |
| `quote_misfit` | quote volume / volume lies outside low to high |
| `zero_run` | an hour or more without a trade |

A candle opens where the one before closed, however wild the day: a jump is therefore a fault much
oftener than a wide minute is. Medians are taken of about 5,000 rows, evenly spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from screener.history.check.minutes import runs_of
from screener.history.times import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

__all__ = ["LEAST_ZERO_RUN", "Doubt", "doubts"]

LEAST_ZERO_RUN: Final = 60
"""Minutes without a trade that are worth a notice."""

_SAMPLE = 5_000
_LEAST_JUMP, _JUMP_FACTOR = 0.05, 20.0
_LEAST_RANGE, _RANGE_FACTOR = 0.2, 50.0
_LEAST_VOLUME, _VOLUME_DEVIATIONS = math.log(1000), 8.0
_MAD_TO_DEVIATION = 1.4826
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
    import polars as pl

    if rows.is_empty():
        return
    step = (pl.col("open") / pl.col("close").shift(1) - 1).abs()
    made = rows.select(
        "open_time", step=step, range=pl.col("high") / pl.col("low") - 1, volume=pl.col("volume")
    )
    most = _bounds(made)
    exprs = {name: (pl.col(name) > bound).arg_true().implode() for name, bound in most.items()}
    found = made.select(**exprs)
    if bad.is_empty() and not any(found[name].list.len()[0] for name in exprs):
        yield from _misfits(rows, bad)
        return
    for name, kind, told in (
        ("step", "jump", "opens {:.1%} off the close before"),
        ("range", "price_outlier", "high is {:.1%} above low"),
        ("volume", "volume_outlier", "volume {:,.6g}"),
    ):
        at = _believable(made["open_time"], found[name][0], bad, with_before=name == "step")
        if len(at):
            yield Doubt(kind, at, f"{told.format(made[name][at[0]])}, bound {most[name]:,.3g}")
    yield from _misfits(rows, bad)


def _bounds(made: pl.DataFrame) -> dict[str, float]:
    import polars as pl

    every = _stride(made.height)
    spread = made.select(pl.exclude("open_time").gather_every(every))

    def median(name: str) -> float:
        values = spread[name]
        return cast("float | None", values.filter(values > 0).median()) or 0.0

    logs = spread["volume"].filter(spread["volume"] > 0).log()
    middle = cast("float | None", logs.median()) or 0.0
    deviation = _MAD_TO_DEVIATION * (cast("float | None", (logs - middle).abs().median()) or 0.0)
    above = max(_LEAST_VOLUME, _VOLUME_DEVIATIONS * deviation)
    return {
        "step": max(_LEAST_JUMP, _JUMP_FACTOR * median("step")),
        "range": max(_LEAST_RANGE, _RANGE_FACTOR * median("range")),
        "volume": math.exp(min(middle + above, 700.0)) if len(logs) else math.inf,
    }


def _stride(rows: int) -> int:
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


def _misfits(rows: pl.DataFrame, bad: pl.Series) -> Iterator[Doubt]:
    import polars as pl

    if "quote_volume" in rows.columns:
        volume, quote = pl.col("volume"), pl.col("quote_volume")
        least = volume * pl.col("low") * (1 - _QUOTE_ROUNDING) - _QUOTE_DIGIT
        most = volume * pl.col("high") * (1 + _QUOTE_ROUNDING) + _QUOTE_DIGIT
        at = rows.select(((quote < least) | (quote > most)).arg_true()).to_series()
        at = _believable(rows["open_time"], at, bad, with_before=False) if len(at) else at
        if len(at):
            row = rows.row(at[0], named=True)
            mean = row["quote_volume"] / row["volume"] if row["volume"] else math.inf
            told = f"mean price {mean:.6g} outside {row['low']:.6g} to {row['high']:.6g}"
            yield Doubt("quote_misfit", at, told)
    at = rows.select((pl.col("volume") == 0).arg_true()).to_series()
    if len(at) >= LEAST_ZERO_RUN:
        quiet = rows["open_time"].gather(at)
        runs = runs_of(quiet).with_columns(end=pl.col("minutes").cum_sum())
        long = runs.filter(pl.col("minutes") >= LEAST_ZERO_RUN)
        if long.height:
            kept = [at.slice(end - count, count) for _, count, end in long.iter_rows()]
            longest = max(long["minutes"].to_list())
            yield Doubt("zero_run", pl.concat(kept), f"{longest:,} minutes at most")
