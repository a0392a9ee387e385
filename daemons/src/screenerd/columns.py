"""Candles as the engine takes many of them at once: a column each. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from screenerd.model import Candle

CANDLE_COLUMNS = (
    "symbol", "open_time", "open", "high", "low", "close", "volume", "quote_volume",
    "trades", "taker_buy_volume", "taker_buy_quote_volume", "source",
)  # fmt: skip


def candles_frame(candles: Sequence[Candle]) -> pl.DataFrame:
    """A row a candle, in their order."""
    return pl.DataFrame(
        {name: [getattr(candle, name) for candle in candles] for name in CANDLE_COLUMNS}
    )
