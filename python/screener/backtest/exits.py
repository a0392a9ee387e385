"""Where a position ends: by stop, by take, by time, by the signal, or with the candles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from screener.atr import average_true_range
from screener.backtest.options import BARS, MINUTE_MS, Atr

if TYPE_CHECKING:
    from screener.backtest.candles import Floats, Ints, Minutes
    from screener.backtest.options import Distance

__all__ = ["Exit", "Ranges", "Reason", "exit_of"]

Reason: TypeAlias = Literal["stop", "take", "time", "signal", "end"]

_FIRST_LOOK = 64


class Exit(NamedTuple):
    """The end of a position.

    Attributes:
        row: The minute it falls in, a row of the symbol's minutes.
        price: Before slippage.
        reason: Why.
        late: Whether the minute it was ordered for is missing.
    """

    row: int
    price: float
    reason: Reason
    late: bool


def exit_of(
    minutes: Minutes,
    entry: int,
    side: int,
    levels: tuple[float | None, float | None],
    due: tuple[int, Reason] | None,
) -> Exit:
    """The first exit of a position that is entered at the open of row `entry`.

    A stop that the open is already beyond is filled at that open, any other stop and every take
    at its level. Of a stop and a take in one minute the stop is taken.

    Args:
        minutes: The symbol's minutes.
        entry: The row of the first minute held.
        side: 1 long, -1 short.
        levels: The prices of stop and take; None where there is none.
        due: When an exit is ordered at the latest (ms), and why.
    """
    last = minutes.time.size
    end = last if due is None else minutes.row(due[0])
    stop, take = levels
    row = last if stop is None and take is None else _touched(minutes, entry, end, side, levels)
    if row < end:
        opened, worst = minutes.open[row], (minutes.low if side > 0 else minutes.high)[row]
        if stop is not None and (worst - stop) * side <= 0:
            price = opened if (opened - stop) * side <= 0 else stop
            return Exit(row, float(price), "stop", late=False)
        assert take is not None  # noqa: S101 - one of the two was touched
        return Exit(row, take, "take", late=False)
    if due is None or end == last:
        return Exit(last - 1, float(minutes.close[-1]), "end", late=False)
    late = bool(minutes.time[end] != due[0])
    return Exit(end, float(minutes.open[end]), due[1], late=late)


def _touched(
    minutes: Minutes, start: int, end: int, side: int, levels: tuple[float | None, float | None]
) -> int:
    """The first row from `start` whose range touches a level; `end` where none before it does."""
    stop, take = levels
    worst, best = (minutes.low, minutes.high) if side > 0 else (minutes.high, minutes.low)
    look = _FIRST_LOOK
    while start < end:
        rows = slice(start, min(start + look, end))
        is_hit = np.zeros(rows.stop - rows.start, dtype=bool)
        if stop is not None:
            is_hit |= worst[rows] <= stop if side > 0 else worst[rows] >= stop
        if take is not None:
            is_hit |= best[rows] >= take if side > 0 else best[rows] <= take
        first = int(is_hit.argmax())
        if is_hit[first]:
            return start + first
        start, look = rows.stop, 2 * look
    return end


class Ranges:
    """How far a stop or take lies from an entry, in price; average true ranges are kept."""

    def __init__(self, distance: Distance | None) -> None:
        """Take the distance as it was given; None is no exit."""
        self._distance = distance
        self._kept: dict[str, tuple[Ints, Floats]] = {}

    def at(self, symbol: str, minutes: Minutes, time: int, price: float) -> float | None:
        """The distance from `price` at `time` (ms); None without one, NaN before it is known."""
        if self._distance is None:
            return None
        if not isinstance(self._distance, Atr):
            return price * self._distance
        if symbol not in self._kept:
            self._kept[symbol] = average_true_ranges(minutes, self._distance)
        ends, means = self._kept[symbol]
        known = int(ends.searchsorted(time, side="right")) - 1
        return self._distance.multiple * float(means[known]) if known >= 0 else float("nan")


def average_true_ranges(minutes: Minutes, atr: Atr) -> tuple[Ints, Floats]:
    """The ends of a symbol's bars (ms) and the average true range known from then on."""
    length = BARS[atr.bar] * MINUTE_MS
    bar = minutes.time // length
    starts = np.flatnonzero(np.diff(bar, prepend=bar[0] - 1))
    high = np.maximum.reduceat(minutes.high, starts)
    low = np.minimum.reduceat(minutes.low, starts)
    close = minutes.close[np.append(starts[1:], bar.size) - 1]
    one_run = np.zeros(starts.size, dtype=np.int64)
    means = average_true_range(high, low, close, one_run, atr.bars)
    return (bar[starts] + 1)[atr.bars :] * length, means[atr.bars :]
