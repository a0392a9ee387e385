"""The columns of what is read as frames, the same from every store."""

from __future__ import annotations

from typing import Final

import polars as pl

MINUTES: Final = {
    "symbol": pl.String,
    "open_time": pl.Int64,
    **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), pl.Float64),
    "trades": pl.Float64,
    **dict.fromkeys(("taker_buy_volume", "taker_buy_quote_volume"), pl.Float64),
    "source": pl.String,
}
"""Candles, as `Engine.warm_up` takes them."""

STRETCHES: Final = dict(list(MINUTES.items())[:6])
"""Prices of minutes, as `screener.outcomes` takes them."""

BARS: Final = {"symbol": pl.String, "open_time": pl.Int64, "close": pl.Float64}
"""Bars, as `Engine.warm_up_bars` takes them."""
