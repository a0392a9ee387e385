"""Flat candles where the source has none: made up on request only, and marked as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screener.history.absent import absent_spans
from screener.history.plan import within
from screener.history.times import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from screener.history.plan import Span
    from screener.history.store import Store

__all__ = ["make_up"]


def make_up(store: Store, spans: Mapping[str, Span | None]) -> int:
    """Stores flat candles at the last close where minutes are confirmed absent.

    Args:
        store: Where to.
        spans: Of each symbol the minutes that are looked at, [start, end) ms; None for none.

    Returns:
        How many were made up.

    Raises:
        DataError: The store cannot be read or written.
    """
    made = 0
    for name, span in spans.items():
        for low, high in within(absent_spans(store, name), *(span or (0, 0))):
            rows = _flat(store, name, low, high)
            if rows is not None:
                made += store.merge(rows, source="synthetic").inserted
    return made


def _flat(store: Store, symbol: str, low: int, high: int) -> pl.DataFrame | None:
    """The minutes of [low, high) that are not held, at the close before; None before the first."""
    import polars as pl

    before = store.scan(symbol, None, low).select("open_time", "close").last().collect()
    held = store.scan(symbol, low, high).select("open_time").collect()["open_time"]
    if before.is_empty():
        return None
    times = pl.Series("open_time", range(low, high, MINUTE_MS), dtype=pl.Int64)
    close = float(before["close"][0])
    return pl.DataFrame({"open_time": times.filter(~times.is_in(held.implode()))}).select(
        pl.lit(symbol).alias("symbol"),
        "open_time",
        *(pl.lit(close).alias(name) for name in ("open", "high", "low", "close")),
        *(
            pl.lit(0.0).alias(name)
            for name in ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
        ),
        pl.lit(0).alias("trades"),
        pl.lit("synthetic").alias("source"),
    )
