"""Columns of frames that others made: are they there, and what do they hold?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from screener.types import ArrowFrame

__all__ = ["as_polars", "milliseconds", "refuse_missing"]


def as_polars(frame: ArrowFrame) -> pl.DataFrame:
    """The same rows as a polars frame."""
    return frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)


def refuse_missing(frame: pl.DataFrame, names: Sequence[str], remedy: str) -> None:
    """Refuses a frame without these columns.

    Raises:
        DataError: For the first that is missing.
    """
    for name in names:
        if name not in frame.columns:
            raise DataError(reason="no such column", column=name, remedy=remedy)


def milliseconds(frame: pl.DataFrame, name: str) -> pl.Series:
    """A column of times as int64 ms since the epoch; timestamps without a zone are UTC.

    Raises:
        DataError: It holds neither whole numbers nor timestamps.
    """
    times = frame[name]
    if isinstance(times.dtype, pl.Datetime):
        return times.dt.epoch("ms")
    if times.dtype.is_integer() or times.dtype == pl.Null:
        return times.cast(pl.Int64)
    raise DataError(
        reason=f"holds {times.dtype}, not int64 ms",
        column=name,
        remedy="give milliseconds since 1970 (UTC) or timestamps",
    )
