"""The minutes of one symbol as bars: so many as a figure can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from screener.backtest.candles import columns_of
from screener.errors import CandleError, DataError
from screener.moments import length_in_minutes, milliseconds
from screener.outcomes import frames

if TYPE_CHECKING:
    from screener.moments import Moment
    from screener.types import ArrowFrame

__all__ = ["MINUTE_MS", "Bars", "bars_of", "length_for"]

MINUTE_MS: Final = 60_000
_DAY: Final = 1440
_MOST_BARS: Final = 240
"""Of more no one could be seen in a figure of a usual width."""
_MOST_ASKED_FOR: Final = 2_000
_LENGTHS: Final = (1, 2, 3, 5, 10, 15, 30, 60, 120, 240, 480, 720, _DAY)
_PRICES: Final = ("open", "high", "low", "close")
_VOLUMES: Final = ("quote_volume", "volume")


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of the clock, in the order of time; one without a minute is not there.

    Attributes:
        symbol: Whose.
        frame: `time` (of the open, ms), `open, high, low, close, volume`, and `filled`, which is
            true where every minute was filled.
        minutes: The length of a bar.
        start: The first moment, ms.
        end: The first after the last, ms.
        volume: The column the volume was taken from; None where there is none.
    """

    symbol: str
    frame: pl.DataFrame
    minutes: int
    start: int
    end: int
    volume: str | None


def bars_of(
    candles: ArrowFrame,
    symbol: str,
    start: Moment | None = None,
    end: Moment | None = None,
    bar: str | None = None,
) -> Bars:
    """The bars of a symbol's minutes within [start, end).

    Raises:
        CandleError: A minute has no price that can be.
        DataError: A column is missing or of a wrong type, there is no such minute, or the bars
            would be too many.
    """
    minutes, volume = _minutes(candles, symbol)
    low = None if start is None else milliseconds(start, "start")
    high = None if end is None else milliseconds(end, "end")
    time = pl.col("open_time")
    if low is not None:
        minutes = minutes.filter(time >= low)
    if high is not None:
        minutes = minutes.filter(time < high)
    if minutes.is_empty():
        raise DataError(
            reason=f"there is no candle of {symbol!r} to show",
            remedy="give a range in which it has some",
        )
    _refuse_invalid(minutes, symbol)
    first, last = int(minutes["open_time"][0]), int(minutes["open_time"][-1]) + MINUTE_MS
    length = length_for((last - first) // MINUTE_MS) if bar is None else _asked_for(bar)
    opens = time // (length * MINUTE_MS) * (length * MINUTE_MS)
    bars = minutes.group_by(opens.alias("time"), maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
        pl.col("filled").all(),
    )
    if bars.height > _MOST_ASKED_FOR:
        raise DataError(
            reason=f"{bars.height:,} candles of {bar} are too many to be seen",
            remedy=f"leave bar out, or show a range of at most {_MOST_ASKED_FOR:,} of them",
        )
    return Bars(symbol, bars, length, low or first, high or last, volume)


def length_for(minutes: int, most: int = _MOST_BARS) -> int:
    """The shortest usual length of which at most so many cover this many minutes.

    Example:
        >>> [length_for(minutes) for minutes in (1, 240, 241, 1440, 40_320, 500_000)]
        [1, 1, 2, 10, 240, 4320]
    """
    length = next((one for one in _LENGTHS if one * most >= minutes), _DAY)
    while length * most < minutes:
        length += _DAY
    return length


def _asked_for(bar: str) -> int:
    length = length_in_minutes(bar)
    if not length:
        raise DataError(
            reason=f"bar={bar!r} is no length of time",
            remedy='write whole minutes, hours or days, such as "15m"',
        )
    return length


def _minutes(candles: ArrowFrame, symbol: str) -> tuple[pl.DataFrame, str | None]:
    """The symbol's minutes in order, each once, and the column that is their volume."""
    if not hasattr(candles, "__arrow_c_stream__"):
        raise DataError(
            reason=f"these candles are a {type(candles).__name__}, not a frame",
            remedy="give a polars, pyarrow or pandas frame; collect() a LazyFrame",
        )
    frame = frames.as_polars(candles)
    frames.refuse_missing(
        frame, ("symbol", "open_time"), "read_klines gives the columns this needs"
    )
    frame = frame.with_columns(frames.milliseconds(frame, "open_time"))
    volume = next((name for name in _VOLUMES if name in frame.columns), None)
    types = {"symbol": pl.String, "open_time": pl.Int64, **dict.fromkeys(_PRICES, pl.Float64)}
    known = columns_of(frame, types, "candles").with_columns(
        _numbers(frame, volume), _truths(frame, "synthetic")
    )
    own = known.filter(pl.col("symbol") == symbol)
    if own.is_empty():
        _refuse_unknown(known, symbol)
    return own.unique("open_time", keep="last").sort("open_time"), volume


def _numbers(frame: pl.DataFrame, volume: str | None) -> pl.Expr | pl.Series:
    if volume is None:
        return pl.lit(0.0).alias("volume")
    values = frame[volume]
    if not (values.dtype.is_numeric() or values.dtype == pl.Null):
        raise DataError(reason=f"candles hold {values.dtype} there, not numbers", column=volume)
    return values.cast(pl.Float64).fill_nan(0).fill_null(0).alias("volume")


def _truths(frame: pl.DataFrame, name: str) -> pl.Expr | pl.Series:
    if name in frame.columns and frame[name].dtype == pl.Boolean:
        return frame[name].fill_null(value=False).alias("filled")
    return pl.lit(value=False).alias("filled")


def _refuse_unknown(known: pl.DataFrame, symbol: str) -> None:
    import difflib

    names = known["symbol"].unique().to_list()
    near = difflib.get_close_matches(str(symbol), names, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"they are of {len(names):,} other symbols"
    raise DataError(reason=f"there is no candle of {symbol!r}", column="symbol", remedy=remedy)


def _refuse_invalid(minutes: pl.DataFrame, symbol: str) -> None:
    for price in _PRICES:
        is_price = pl.col(price).is_finite() & (pl.col(price) > 0)
        wrong = minutes.filter(~is_price)
        if wrong.height:
            raise CandleError(
                reason="is no price", symbol=symbol, open_time=wrong["open_time"][0], field=price,
                value=wrong[price][0],
            )  # fmt: skip
