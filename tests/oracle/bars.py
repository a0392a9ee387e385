"""SPEC 4 from the whole list of closes, each time from the beginning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from .ring import Stored


def bar_closes(minutes: Sequence[Stored], length: int) -> list[float]:
    """Closes of the clock-aligned bars of `length` minutes, the running bar's close last.

    Args:
        minutes: Every minute followed since the start, contiguous, oldest first.
        length: Minutes of a bar. A bar that was not followed from its first minute is left out.
    """
    bars: dict[int, list[Stored]] = {}
    for candle in minutes:
        bars.setdefault(candle.minute // length, []).append(candle)
    return [
        bar[-1].close for number, bar in sorted(bars.items()) if bar[0].minute == number * length
    ]


def rsi(closes: Sequence[float]) -> float | None:
    """Wilder's relative strength index of 14."""
    if len(closes) < 15:
        return None
    changes = [after - before for before, after in pairwise(closes)]
    gains = [max(change, 0.0) for change in changes]
    losses = [max(-change, 0.0) for change in changes]
    average_gain = sum(gains[:14]) / 14
    average_loss = sum(losses[:14]) / 14
    for gain, loss in zip(gains[14:], losses[14:], strict=True):
        average_gain = (13 * average_gain + gain) / 14
        average_loss = (13 * average_loss + loss) / 14
    if average_loss == 0:
        return 50.0 if average_gain == 0 else 100.0
    # Not as 100 - 100/(1 + gain/loss), which loses its digits to cancellation near 0.
    return average_gain / (average_gain + average_loss) * 100


def _ema(seed: float, values: Sequence[float], period: int) -> list[float]:
    """The seed and after it one exponential average a value."""
    weight = 2 / (period + 1)
    averages = [seed]
    for value in values:
        averages.append(weight * value + (1 - weight) * averages[-1])
    return averages


def macd(closes: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """MACD 12/26/9, its signal and its histogram."""
    if len(closes) < 26:
        return None, None, None
    slow = _ema(sum(closes[:26]) / 26, closes[26:], 26)
    fast = _ema(sum(closes[14:26]) / 12, closes[26:], 12)
    line = [quick - late for quick, late in zip(fast, slow, strict=True)]
    if len(line) < 9:
        return line[-1], None, None
    signal = _ema(sum(line[:9]) / 9, line[9:], 9)
    return line[-1], signal[-1], line[-1] - signal[-1]


def bollinger(closes: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Upper, middle and lower band: 20 closes, two population standard deviations."""
    if len(closes) < 20:
        return None, None, None
    newest = closes[-20:]
    mean = math.fsum(newest) / 20
    deviation = math.sqrt(math.fsum((close - mean) ** 2 for close in newest) / 20)
    return mean + 2 * deviation, mean, mean - 2 * deviation


def indicators(closes: Sequence[float]) -> dict[str, float | None]:
    """Every indicator (without the timeframe's name) of one timeframe."""
    line, signal, hist = macd(closes)
    upper, middle, lower = bollinger(closes)
    return {
        "rsi": rsi(closes),
        "macd": line,
        "macd_signal": signal,
        "macd_hist": hist,
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
    }
