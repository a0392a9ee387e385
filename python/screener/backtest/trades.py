"""Orders become trades: served in their order, a loop over orders and never over minutes."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from screener.backtest.exits import Ranges, exit_of
from screener.backtest.options import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from screener.backtest.candles import Minutes
    from screener.backtest.exits import Exit, Reason
    from screener.backtest.funding import Payments
    from screener.backtest.options import Options

__all__ = ["Filled", "Order", "Trade", "by_symbol", "fill", "trades_frame"]


class Order(NamedTuple):
    """An order to enter, as `Orders` has them."""

    symbol: str
    rule: str | None
    time: int
    side: int
    until: int | None


class Trade(NamedTuple):
    """A position from its entry to its exit; the columns of `Backtest.trades`."""

    symbol: str
    rule: str | None
    side: int
    entry_time: int
    entry_price: float
    exit_time: int
    exit_price: float
    size: float
    fee: float
    funding: float
    pnl: float
    trade_return: float
    reason: Reason
    mae: float
    mfe: float


@dataclass(slots=True)
class Filled:
    """What became of the orders.

    Attributes:
        trades: In the order of their entries.
        dropped: Orders that were not filled, by reason.
        unknown: The symbols without candles.
        late_exits: Exits at a later open than ordered, because that minute is missing.
    """

    trades: list[Trade] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)
    late_exits: int = 0


class _Account:
    """The money of closed trades, and the positions that are open."""

    def __init__(self, capital: float, most: int | None) -> None:
        self.equity = capital
        self._most = math.inf if most is None else most
        self._held: set[str] = set()
        self._ends: list[tuple[int, str, float]] = []

    def advance(self, time: int) -> None:
        """Close what has ended by `time`."""
        while self._ends and self._ends[0][0] <= time:
            _, symbol, pnl = heapq.heappop(self._ends)
            self._held.remove(symbol)
            self.equity += pnl

    def refusal(self, symbol: str) -> str | None:
        """Why no position can be opened, if so."""
        if symbol in self._held:
            return "position open"
        if len(self._held) >= self._most:
            return "most positions open"
        return None if self.equity > 0 else "no equity"

    def hold(self, symbol: str, until: int, pnl: float) -> None:
        """Open a position that ends at `until` with `pnl`."""
        self._held.add(symbol)
        heapq.heappush(self._ends, (until, symbol, pnl))


def fill(
    orders: Iterable[Order],
    minutes: dict[str, Minutes],
    payments: dict[str, Payments],
    options: Options,
) -> Filled:
    """Serve the orders one after the other; what is open at the end is closed then."""
    last = max(int(held.time[-1]) for held in minutes.values()) + MINUTE_MS
    filled, account = Filled(), _Account(options.capital, options.max_positions)
    stops, takes = Ranges(options.stop), Ranges(options.take)
    for order in orders:
        held = minutes.get(order.symbol)
        if held is None:
            filled.unknown.add(order.symbol)
            filled.dropped["unknown symbol"] += 1
            continue
        row = held.row(order.time)
        if row == held.time.size or held.time[row] != order.time:
            filled.dropped["minute missing"] += 1
            continue
        account.advance(order.time)
        if refusal := account.refusal(order.symbol):
            filled.dropped[refusal] += 1
            continue
        price = float(held.open[row]) * (1 + order.side * options.slippage)
        stop = stops.at(order.symbol, held, order.time, price)
        take = takes.at(order.symbol, held, order.time, price)
        if any(distance is not None and math.isnan(distance) for distance in (stop, take)):
            filled.dropped["range unknown"] += 1
            continue
        levels = (
            None if stop is None else price - order.side * stop,
            None if take is None else price + order.side * take,
        )
        end = exit_of(held, row, order.side, levels, _due(order, options.hold))
        trade = _trade(order, row, price, end, last, account.equity, held, payments, options)
        filled.trades.append(trade)
        filled.late_exits += end.late
        within = end.reason in ("stop", "take")
        account.hold(order.symbol, trade.exit_time + within * MINUTE_MS, trade.pnl)
    return filled


def _due(order: Order, hold: int | None) -> tuple[int, Reason] | None:
    """The exit that is ordered at entry, the earlier of time and signal."""
    dues: list[tuple[int, Reason]] = []
    if order.until is not None:
        dues.append((order.until, "signal"))
    if hold is not None:
        dues.append((order.time + hold * MINUTE_MS, "time"))
    return min(dues, default=None)


def _trade(
    order: Order,
    row: int,
    price: float,
    end: Exit,
    last: int,
    equity: float,
    held: Minutes,
    payments: dict[str, Payments],
    options: Options,
) -> Trade:
    side = order.side
    exit_time = last if end.reason == "end" else int(held.time[end.row])
    exit_price = end.price * (1 - side * options.slippage)
    size = equity * options.size / price
    fee = options.fee * size * (price + exit_price)
    paid = payments[order.symbol]
    funding = side * size * float(paid.paid[paid.between(order.time, exit_time)].sum())
    pnl = side * size * (exit_price - price) - fee - funding
    mae, mfe = _excursions(held, slice(row, end.row + (end.reason == "end")), side, price, end)
    return Trade(
        order.symbol, order.rule, side, order.time, price, exit_time, exit_price, size, fee,
        funding, pnl, pnl / (size * price), end.reason, mae, mfe,
    )  # fmt: skip


def _excursions(
    held: Minutes, rows: slice, side: int, price: float, end: Exit
) -> tuple[float, float]:
    """The worst and best way from the entry price, as fractions: whole minutes and the exit."""
    low = min(price, end.price, float(held.low[rows].min(initial=math.inf)))
    high = max(price, end.price, float(held.high[rows].max(initial=0.0)))
    worst, best = (low, high) if side > 0 else (high, low)
    return side * (worst - price) / price + 0.0, side * (best - price) / price + 0.0


_TYPES: dict[str, type[pl.DataType]] = {
    "symbol": pl.String,
    "rule": pl.String,
    "side": pl.Int64,
    "entry_time": pl.Int64,
    "entry_price": pl.Float64,
    "exit_time": pl.Int64,
    "exit_price": pl.Float64,
    **dict.fromkeys(("size", "fee", "funding", "pnl", "return"), pl.Float64),
    "reason": pl.String,
    **dict.fromkeys(("mae", "mfe"), pl.Float64),
}


def trades_frame(trades: list[Trade]) -> pl.DataFrame:
    """The trades, a row each, as `Backtest.trades` tells the columns."""
    frame = pl.DataFrame(trades, schema=_TYPES, orient="row")
    side = pl.col("side").replace_strict({1: "long", -1: "short"}, return_dtype=pl.String)
    return frame.with_columns(side)


def by_symbol(trades: Iterable[Trade]) -> Iterator[tuple[str, list[Trade]]]:
    """The trades of each symbol."""
    groups: dict[str, list[Trade]] = {}
    for trade in trades:
        groups.setdefault(trade.symbol, []).append(trade)
    yield from groups.items()
