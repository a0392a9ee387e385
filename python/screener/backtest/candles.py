"""The minutes of each symbol as arrays, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from screener.backtest.options import MINUTE_MS
from screener.errors import DataError
from screener.quality import row_checks

if TYPE_CHECKING:
    from screener.types import ArrowFrame

__all__ = ["Floats", "Ints", "Minutes", "columns_of", "minutes_by_symbol", "refuse_repeats"]

Floats: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"
Ints: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"

_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Minutes:
    """The minutes of a symbol in the order of time, missing ones left out.

    Attributes:
        time: Open times, ms.
        open: First prices.
        high: Highest prices.
        low: Lowest prices.
        close: Last prices.
    """

    time: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats

    def row(self, time: int) -> int:
        """The first minute that opens at `time` or later; their number where there is none."""
        return int(self.time.searchsorted(time))

    def price(self, times: Ints) -> Floats:
        """The open of the minutes at these times; of a missing one, the last close before it."""
        rows = self.time.searchsorted(times, side="right") - 1
        return np.where(self.time[rows] == times, self.open[rows], self.close[rows])


def minutes_by_symbol(candles: ArrowFrame) -> dict[str, Minutes]:
    """The candles of each symbol, sorted by time; symbols in the order of their names.

    Raises:
        DataError: A column is missing or of a wrong type, a price or time cannot be, a minute
            comes twice, or there is none.
    """
    types = {"symbol": pl.String, "open_time": pl.Int64, **dict.fromkeys(_PRICES, pl.Float64)}
    frame = columns_of(candles, types, "candles")
    if frame.is_empty():
        raise DataError(reason="there are no candles", remedy="give those the signals are about")
    _refuse_invalid(frame)
    parts = frame.partition_by("symbol", as_dict=True)
    found = {str(symbol): _in_order(part) for (symbol,), part in parts.items()}
    if any((np.diff(held.time) == 0).any() for held in found.values()):
        refuse_repeats(frame, ["symbol", "open_time"], "candles")
    return dict(sorted(found.items()))


def _in_order(part: pl.DataFrame) -> Minutes:
    """The minutes of one symbol, sorted only where they are not."""
    if not part["open_time"].is_sorted():
        part = part.sort("open_time")
    return Minutes(part["open_time"].to_numpy(), *(part[price].to_numpy() for price in _PRICES))


def columns_of(given: ArrowFrame, types: dict[str, type[pl.DataType]], what: str) -> pl.DataFrame:
    """These columns of a frame, in these types and without nulls.

    Raises:
        DataError: One is missing, holds something else, or a value is null.
    """
    frame = given if isinstance(given, pl.DataFrame) else pl.DataFrame(given)
    for name, dtype in types.items():
        if name not in frame.columns:
            raise DataError(reason=f"{what} have no such column", column=name)
        held = frame.schema[name]
        is_right = {
            pl.String: held in (pl.String, pl.Categorical, pl.Enum),
            pl.Int64: held.is_integer(),
            pl.Float64: held.is_numeric(),
        }[dtype]
        if not is_right and held != pl.Null:
            raise DataError(reason=f"{what} hold {held} there, not {dtype.__name__}", column=name)
    frame = frame.select(pl.col(name).cast(dtype) for name, dtype in types.items())
    for name in types:
        if frame[name].null_count():
            row = frame[name].is_null().arg_max()
            raise DataError(reason=f"a value of the {what} is missing", column=name, row=row)
    return frame


def refuse_repeats(frame: pl.DataFrame, key: list[str], what: str) -> None:
    """Refuse a frame in which two rows have the same key.

    Raises:
        DataError: The second of them.
    """
    is_second = ~frame.select(pl.struct(key).is_first_distinct()).to_series()
    if is_second.any():
        row = is_second.arg_max()
        told = ", ".join(str(value) for value in frame.select(key).row(row or 0))
        remedy = f"keep one row for each {', '.join(key)}"
        raise DataError(reason=f"{told} comes twice in the {what}", row=row, remedy=remedy)


def _refuse_invalid(frame: pl.DataFrame) -> None:
    checks = [c for c in row_checks(frame.columns) if c.field in frame.columns]
    misaligned = pl.col("open_time") % MINUTE_MS != 0
    broken = frame.select(
        *(check.broken.any().alias(str(number)) for number, check in enumerate(checks)),
        misaligned.any().alias("misaligned"),
    ).row(0, named=True)
    if broken.pop("misaligned"):
        row = frame.select(misaligned.arg_max()).item()
        raise DataError(reason="no whole minute", column="open_time", row=row)
    for check, is_broken in zip(checks, broken.values(), strict=True):
        if is_broken:
            row = frame.select(check.broken.arg_max()).item()
            raise DataError(
                reason=f"{check.reason} ({frame[check.field][row]})", column=check.field, row=row,
                remedy="screener.inspect_klines tells every such row",
            )  # fmt: skip
