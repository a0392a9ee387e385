"""One look at a symbol's rows, in one pass: where it finds nothing there is nothing to find.

What follows is then asked only where something was seen. Bounds of `outliers` are never below
their fixed part, so a row within that needs no median.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from screener.history.checks.outliers import (
    LEAST_JUMP,
    LEAST_RANGE,
    LEAST_ZERO_RUN,
    MANY_VOLUMES,
    derived,
    spread,
    stride_of,
)
from screener.history.checks.values import REQUIRED, all_sound
from screener.history.times import MINUTE_MS

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Glance", "glance"]


@dataclass(frozen=True, slots=True)
class Glance:
    """What one look tells.

    Attributes:
        are_minutes: Whether each row is a minute after the one before it.
        are_sound: Whether no row breaks SPEC section 1 by its values.
        are_plausible: Whether no row can be hard to believe, as long as rows are in order.
    """

    are_minutes: bool
    are_sound: bool
    are_plausible: bool


def glance(rows: pl.DataFrame) -> Glance:
    """Looks at the rows of one symbol, numbers as floats or integers."""
    if rows.is_empty():
        return Glance(are_minutes=False, are_sound=False, are_plausible=False)
    nulls = any(rows[name].null_count() for name in ("open_time", *REQUIRED))
    facts = rows.select(_facts(tuple(rows.columns), stride_of(rows.height))).row(0, named=True)
    quiet = facts.pop("quiet")
    odd = [facts.pop(name) for name in ("step", "range", "volume", "misfit") if name in facts]
    breaks = facts.pop("breaks")
    return Glance(
        are_minutes=not nulls and breaks == 0,
        are_sound=not nulls and all(facts.values()),
        # A median of nothing is no number, and says nothing.
        are_plausible=quiet < LEAST_ZERO_RUN and all(fact is False for fact in odd),
    )


@cache
def _facts(columns: tuple[str, ...], stride: int) -> list[pl.Expr]:
    import polars as pl

    made = {expr.meta.output_name(): expr for expr in derived("quote_volume" in columns)}
    breaks = (pl.col("open_time").diff() != MINUTE_MS).sum()
    usual = spread("volume", stride).median()
    facts = [
        *all_sound(columns),
        breaks.alias("breaks"),
        (made["step"] > LEAST_JUMP).any().alias("step"),
        (made["range"] > LEAST_RANGE).any().alias("range"),
        (pl.col("volume").max() > MANY_VOLUMES * usual).alias("volume"),
        (pl.col("volume") == 0).sum().alias("quiet"),
    ]
    if "misfit" in made:
        facts.append(made["misfit"].any().alias("misfit"))
    return facts
