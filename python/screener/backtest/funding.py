"""Funding payments of each symbol, summed so that a position's share is one subtraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from screener.backtest.candles import columns_of, refuse_repeats
from screener.backtest.options import MINUTE_MS
from screener.errors import DataError

if TYPE_CHECKING:
    from screener.backtest.candles import Floats, Ints, Minutes
    from screener.types import ArrowFrame

__all__ = ["Payments", "payments_by_symbol"]


@dataclass(frozen=True, slots=True)
class Payments:
    """What one unit of a symbol, held long, pays at each funding.

    Attributes:
        time: The minutes of the payments, ms, ascending.
        paid: Rate times price, in quote; below 0 where longs receive.
    """

    time: Ints
    paid: Floats

    def between(self, entry: int, end: int) -> slice:
        """The payments after `entry` and up to `end` (ms): a position opened at one pays it not."""
        first, last = self.time.searchsorted((entry, end), side="right")
        return slice(int(first), int(last))


_NONE = Payments(np.empty(0, dtype=np.int64), np.empty(0))


def payments_by_symbol(
    funding: ArrowFrame | None, minutes: dict[str, Minutes]
) -> dict[str, Payments]:
    """The payments of every symbol that has minutes; those before its first minute are left out.

    The exchange stamps a payment some milliseconds late, so that times are rounded down to the
    minute. The price is the open of that minute, or the last close before it where it is missing.

    Raises:
        DataError: A column is missing, a rate is not finite, or a symbol has two in a minute.
    """
    found = dict.fromkeys(minutes, _NONE)
    if funding is None:
        return found
    types = {"symbol": pl.String, "time": pl.Int64, "rate": pl.Float64}
    frame = columns_of(funding, types, "funding rates")
    is_wrong = ~frame["rate"].is_finite()
    if is_wrong.any():
        raise DataError(reason="rate not finite", column="rate", row=is_wrong.arg_max())
    frame = frame.with_columns(pl.col("time") // MINUTE_MS * MINUTE_MS)
    refuse_repeats(frame, ["symbol", "time"], "funding rates")
    for (symbol,), part in frame.sort("time").partition_by("symbol", as_dict=True).items():
        if held := minutes.get(str(symbol)):
            part = part.filter(pl.col("time") >= int(held.time[0]))
            time = part["time"].to_numpy()
            found[str(symbol)] = Payments(time, part["rate"].to_numpy() * held.price(time))
    return found
