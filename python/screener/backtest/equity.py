"""The account at the close of every minute, and at the end of every bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from screener.backtest.options import BARS, MINUTE_MS
from screener.backtest.trades import by_symbol

if TYPE_CHECKING:
    from screener.backtest.candles import Floats, Ints, Minutes
    from screener.backtest.funding import Payments
    from screener.backtest.options import Bar
    from screener.backtest.trades import Trade

__all__ = ["equity_by_minute", "of_bars"]


def equity_by_minute(
    trades: list[Trade],
    minutes: dict[str, Minutes],
    payments: dict[str, Payments],
    capital: float,
    fee: float,
) -> pl.DataFrame:
    """The account at the close of each minute from the first candle to the last.

    An open position is worth what its symbol closed at, or closed at last where the minute is
    missing; its entry fee and the funding of that minute and before are paid, its exit fee is not.

    Args:
        trades: All of them.
        minutes: The minutes of each symbol.
        payments: The funding of each symbol.
        capital: The equity before the first minute.
        fee: The fee of a side, as a fraction of its notional.

    Returns:
        A frame of time (the close of the minute, ms), equity (quote), positions (how many are
        open) and notional (the sum of what they are worth, both sides counted as positive).
    """
    first = min(int(held.time[0]) for held in minutes.values())
    last = max(int(held.time[-1]) for held in minutes.values())
    count = (last - first) // MINUTE_MS + 1
    closed, opened = np.zeros(count), np.zeros(count)
    notional, changes = np.zeros(count), np.zeros(count + 1, dtype=np.int64)
    for symbol, own in by_symbol(trades):
        held, paid = minutes[symbol], payments[symbol]
        marks, before = _marks(held, last), (int(held.time[0]) - first) // MINUTE_MS
        for trade in own:
            # An exit at the end is one at the close of the last minute, any other one at or after
            # the open of its own: at the close of either the position is gone.
            end = (trade.exit_time - first) // MINUTE_MS - (trade.reason == "end")
            here = slice((trade.entry_time - first) // MINUTE_MS, end)
            closed[here.stop] += trade.pnl
            changes[here.start] += 1
            changes[here.stop] -= 1
            worth = trade.size * marks[here.start - before : end - before]
            notional[here] += worth
            cost = trade.size * trade.entry_price
            opened[here] += trade.side * (worth - cost) - fee * cost
            _pay(opened[here], trade, paid)
    equity = capital + np.cumsum(closed) + opened
    times = first + MINUTE_MS * np.arange(1, count + 1)
    positions = np.cumsum(changes[:-1])
    columns = {"time": times, "equity": equity, "positions": positions, "notional": notional}
    return pl.DataFrame(columns)


def of_bars(equity: pl.DataFrame, bar: Bar) -> pl.DataFrame:
    """The last minute of each bar of the clock; the last bar may be shorter."""
    if BARS[bar] == 1:
        return equity
    length = BARS[bar] * MINUTE_MS
    number = (pl.col("time") - 1) // length
    return equity.filter((number != number.shift(-1)).fill_null(value=True))


def _marks(held: Minutes, last: int) -> Floats:
    """The last close at each minute from the symbol's first to the last of all."""
    grid: Ints = np.arange(held.time[0], last + 1, MINUTE_MS)
    if grid.size == held.time.size:
        return held.close
    return held.close[held.time.searchsorted(grid, side="right") - 1]


def _pay(opened: Floats, trade: Trade, paid: Payments) -> None:
    """Subtract the funding of an open position from the minute in which it is paid on."""
    due = paid.between(trade.entry_time, trade.exit_time)
    for time, amount in zip(paid.time[due], paid.paid[due], strict=True):
        opened[(time - trade.entry_time) // MINUTE_MS :] -= trade.side * trade.size * amount
