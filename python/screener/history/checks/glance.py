"""One look at a symbol's rows, in one pass: where it finds nothing there is nothing to find.

What follows is then asked only where something was seen. The core looks; it may doubt what is
well, as it does where a value is unknown. Bounds of `outliers` are never below their fixed part,
so a row within that needs no median.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from screener._core import glance as look
from screener.history.checks.outliers import (
    LEAST_JUMP,
    LEAST_RANGE,
    LEAST_ZERO_RUN,
    MANY_VOLUMES,
    spread,
    stride_of,
)
from screener.history.checks.values import numbers

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
    usual = rows.select(spread("volume", stride_of(rows.height)).median()).item()
    if usual is None:
        return Glance(are_minutes=False, are_sound=False, are_plausible=False)
    columns = rows.select("open_time", *numbers(rows.columns))
    are_minutes, are_sound, are_usual, quiet = look(
        columns, LEAST_JUMP, LEAST_RANGE, MANY_VOLUMES * usual
    )
    return Glance(are_minutes, are_sound, are_usual and quiet < LEAST_ZERO_RUN)
