"""What came after an alert, minute by minute in plain Python, from its description alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MINUTE_MS = 60_000

Row = Mapping[str, Any]


def outcome(
    alert: Row,
    minutes: int,
    candles: Sequence[Row],
    *,
    benchmark: str | None,
    target: float,
    stop: float,
    atr: int,
) -> dict[str, Any]:
    """One alert over one horizon; what cannot be told is left out.

    Args:
        alert: symbol, triggered_at, direction.
        minutes: The horizon.
        candles: Of all symbols, each minute once, in any order.
        benchmark: A symbol.
        target: Average true ranges.
        stop: Average true ranges.
        atr: Minutes of the average true range.
    """
    by_symbol: dict[str, dict[int, Row]] = {}
    for candle in candles:
        by_symbol.setdefault(candle["symbol"], {})[candle["open_time"]] = candle
    time = alert["triggered_at"]
    while time % MINUTE_MS:
        time += 1
    told: dict[str, Any] = {"entry_time": time}
    if alert["symbol"] not in by_symbol:
        return {**told, "reason": "no_candles"}
    known = by_symbol[alert["symbol"]]
    if time not in known:
        return {**told, "reason": "no_entry"}
    up = alert["direction"] != "down"
    entry = known[time]["open"]
    told["entry"] = entry
    before = true_range_before(known, time, atr)
    if before is not None:
        told["atr"] = before
        told["target"] = entry + target * before if up else entry - target * before
        told["stop"] = entry - stop * before if up else entry + stop * before
    path = path_from(known, time, minutes)
    if path is None:
        gap = time
        while gap in known:
            gap += MINUTE_MS
        return {**told, "reason": "hole" if gap < max(known) else "unfinished"}
    told["return"] = gain(entry, path[-1]["close"], up)
    best = [gain(entry, minute["high"] if up else minute["low"], up) for minute in path]
    worst = [gain(entry, minute["low"] if up else minute["high"], up) for minute in path]
    told["mfe"], told["mfe_after"] = max(best), best.index(max(best))
    told["mae"], told["mae_after"] = min(worst), worst.index(min(worst))
    if benchmark in by_symbol:
        other = path_from(by_symbol[benchmark], time, minutes)
        if other is not None:
            told["against_benchmark"] = told["return"] - gain_of(other, up)
    paths = (path_from(candles, time, minutes) for candles in by_symbol.values())
    gains = [gain_of(path, up) for path in paths if path is not None]
    told["against_market"] = told["return"] - sum(gains) / len(gains)
    if before:
        told |= label(path, entry, told["target"], told["stop"], up)
    return told


def gain(entry: float, price: float, up: bool) -> float:
    """In %, positive where the price went the right way."""
    return (price / entry - 1) * 100 if up else -(price / entry - 1) * 100


def gain_of(path: Sequence[Row], up: bool) -> float:
    """From the first open to the last close."""
    return gain(path[0]["open"], path[-1]["close"], up)


def path_from(known: Mapping[int, Row], time: int, minutes: int) -> list[Row] | None:
    """So many minutes in a row, or None where one is missing."""
    times = [time + number * MINUTE_MS for number in range(minutes)]
    return [known[one] for one in times] if all(one in known for one in times) else None


def true_range_before(known: Mapping[int, Row], time: int, period: int) -> float | None:
    """Wilder's average true range over the unbroken minutes before a time."""
    begin = time
    while begin - MINUTE_MS in known:
        begin -= MINUTE_MS
    ranges = []
    for at in range(begin + MINUTE_MS, time, MINUTE_MS):
        minute, close = known[at], known[at - MINUTE_MS]["close"]
        high, low = minute["high"], minute["low"]
        ranges.append(max(high - low, abs(high - close), abs(low - close)))
    if len(ranges) < period:
        return None
    average: float = sum(ranges[:period]) / period
    for one in ranges[period:]:
        average = ((period - 1) * average + one) / period
    return average


def label(
    path: Sequence[Row], entry: float, target: float, stop: float, up: bool
) -> dict[str, float]:
    """The barrier that is touched first; the stop where one minute touches both."""
    for number, minute in enumerate(path):
        if minute["low"] <= stop if up else minute["high"] >= stop:
            price = min(stop, minute["open"]) if up else max(stop, minute["open"])
            return {"label": -1, "label_after": number, "label_return": gain(entry, price, up)}
        if minute["high"] >= target if up else minute["low"] <= target:
            return {"label": 1, "label_after": number, "label_return": gain(entry, target, up)}
    last = gain(entry, path[-1]["close"], up)
    return {"label": 0, "label_after": len(path) - 1, "label_return": last}
