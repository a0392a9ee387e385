"""One name for a candle and for all that comes of it, the same in every role's log. Pure.

Nothing has to be handed on for that: the name is of what is told.
"""

from __future__ import annotations

from screenerd.model import MINUTE_MS, Alert, Candle


def of_candle(candle: Candle) -> str:
    """The name of a symbol's minute."""
    return f"{candle.symbol}.{candle.open_time}"


def of_alert(alert: Alert) -> str:
    """The name of the minute whose close raised an alert."""
    return f"{alert.symbol}.{alert.triggered_at - MINUTE_MS}"
