"""Is a candle to be believed? Faults are told with their field, and nothing odd goes further."""

from __future__ import annotations

from math import isfinite

from screenerd.model import MINUTE_MS, Candle

SKEW_MS = 5_000
"""How far a minute may open in the future."""


def fault(candle: Candle, now: int) -> str | None:
    """What is wrong with a candle that has just come, if anything.

    Args:
        candle: the candle.
        now: the time now, ms.
    """
    if candle.open_time % MINUTE_MS:
        return f"open_time = {candle.open_time} is not the start of a minute"
    if candle.open_time > now + SKEW_MS:
        return f"open_time = {candle.open_time} lies {candle.open_time - now} ms in the future"
    for name in ("open", "high", "low", "close"):
        price = getattr(candle, name)
        if not (isfinite(price) and price > 0):
            return f"{name} = {price} is no price"
    for name in ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"):
        amount = getattr(candle, name)
        if amount is not None and not (isfinite(amount) and amount >= 0):
            return f"{name} = {amount} is no amount"
    if not candle.low <= min(candle.open, candle.close):
        return f"low = {candle.low} is above open or close"
    if not candle.high >= max(candle.open, candle.close):
        return f"high = {candle.high} is below open or close"
    return None
