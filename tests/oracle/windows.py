"""SPEC 3 for one window that ends with the newest minute, from its candles."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .ring import Stored

Value = float | int | None


def known_sum(values: Sequence[float | None]) -> float | None:
    """The exact sum, or unknown if one of the values is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def window_metrics(minutes: Sequence[Stored], length: int) -> dict[str, Value] | None:
    """Every metric (without the window's name) over the last `length` minutes.

    Args:
        minutes: The minutes followed, contiguous, oldest first.
        length: The window in minutes.

    Returns:
        `None` where the symbol has not been followed for so long; in it, `None` for not ready.
    """
    if len(minutes) < length:
        return None
    inside = minutes[-length:]
    first_open = inside[0].open
    close = inside[-1].close
    high = max(candle.high for candle in inside)
    low = min(candle.low for candle in inside)
    volume = math.fsum(candle.volume for candle in inside)
    quote_volume = math.fsum(candle.quote_volume for candle in inside)
    taker_buy_quote = known_sum([candle.taker_buy_quote_volume for candle in inside])

    vwap = close if volume == 0 or quote_volume == 0 else quote_volume / volume
    vcp = 0.0
    if high != low:
        vcp = (close / vwap) * ((close - low) - (high - close)) / (high - low)
    pivot = (high + low + close) / 3

    volume_ratio = None
    if len(minutes) >= 2 * length and length <= 720:
        before = math.fsum(candle.quote_volume for candle in minutes[-2 * length : -length])
        if before != 0:
            volume_ratio = quote_volume / before
    taker_ratio = None
    if taker_buy_quote is not None and quote_volume != 0:
        taker_ratio = taker_buy_quote / quote_volume

    return {
        "open": first_open,
        "high": high,
        "low": low,
        "close": close,
        "volume": volume,
        "quote_volume": quote_volume,
        "trades": known_sum([candle.trades for candle in inside]),
        "taker_buy_quote": taker_buy_quote,
        "change": (close / first_open - 1) * 100,
        "range": (high - low) / first_open * 100,
        "vwap": vwap,
        "vcp": vcp,
        "fib_pivot": pivot,
        "fib_r1": pivot + 0.382 * (high - low),
        "fib_r2": pivot + 0.618 * (high - low),
        "fib_r3": pivot + 1.0 * (high - low),
        "fib_s1": pivot - 0.382 * (high - low),
        "fib_s2": pivot - 0.618 * (high - low),
        "fib_s3": pivot - 1.0 * (high - low),
        "volume_ratio": volume_ratio,
        "taker_ratio": taker_ratio,
        "synthetic": sum(1 for candle in inside if candle.synthetic),
    }


def up_streak(ring: Sequence[Stored]) -> int:
    """Newest consecutive minutes with close > open."""
    count = 0
    for candle in reversed(ring):
        if not candle.close > candle.open:
            break
        count += 1
    return count


def down_streak(ring: Sequence[Stored]) -> int:
    """Newest consecutive minutes with close < open."""
    count = 0
    for candle in reversed(ring):
        if not candle.close < candle.open:
            break
        count += 1
    return count
