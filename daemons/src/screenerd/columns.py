"""Candles as the engine takes many of them at once, and metrics as it gives them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from screenerd.model import Candle

CANDLE_COLUMNS = (
    "symbol", "open_time", "open", "high", "low", "close", "volume", "quote_volume",
    "trades", "taker_buy_volume", "taker_buy_quote_volume", "source",
)  # fmt: skip

TIMEFRAMES = ("5m", "15m", "1h", "4h", "8h", "1d")

METRICS = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
    "quote_volume": "quote_volume",
    "change_pct": "change",
    "vwap": "vwap",
    "vcp": "vcp",
    "volume_ratio": "volume_ratio",
    "rsi_14": "rsi",
    "macd": "macd",
    "macd_signal": "macd_signal",
    "bb_upper": "bb_upper",
    "bb_middle": "bb_middle",
    "bb_lower": "bb_lower",
    "fib_r3": "fib_r3",
    "fib_r2": "fib_r2",
    "fib_r1": "fib_r1",
    "fib_pivot": "fib_pivot",
    "fib_s1": "fib_s1",
    "fib_s2": "fib_s2",
    "fib_s3": "fib_s3",
}
"""What a timeframe's metrics are called outside, and in the engine."""


def candles_frame(candles: Sequence[Candle]) -> pl.DataFrame:
    """A row a candle, in their order."""
    return pl.DataFrame(
        {name: [getattr(candle, name) for candle in candles] for name in CANDLE_COLUMNS}
    )


def metrics_of(frame: pl.DataFrame, timeframe: str) -> Iterator[pl.Expr]:
    """The metrics of a timeframe, called as outside; others are never ready."""
    there = set(frame.columns)
    for outside, inside in METRICS.items():
        column = f"{inside}_{timeframe}"
        value = pl.col(column) if column in there else pl.lit(None)
        yield value.cast(pl.Float64).alias(outside)


def metric_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """A snapshot as rows: symbol, open_time, timeframe, and the metrics as they are called outside.

    A row a symbol and timeframe.
    """
    return pl.concat(
        frame.select(
            "symbol",
            "open_time",
            pl.lit(timeframe).alias("timeframe"),
            *metrics_of(frame, timeframe),
        )
        for timeframe in TIMEFRAMES
    )
