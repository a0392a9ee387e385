"""The backtest's definition, minute by minute in plain Python: slow, and shares no code with it.

It walks the clock where the package walks the orders: in each minute funding is paid, then ordered
exits are filled at the open, then entries, then stops and takes within the minute, then positions
are marked to the close.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

MINUTE = 60_000
Candle = tuple[float, float, float, float]
Candles = dict[str, dict[int, Candle]]


@dataclass(frozen=True)
class Range:
    """A multiple of Wilder's average true range."""

    multiple: float
    minutes: int
    bars: int


@dataclass(frozen=True)
class Order:
    """Sorting orders serves them: time, symbol, rule."""

    time: int
    symbol: str
    rule: str
    side: int
    until: int | None = None


@dataclass(frozen=True)
class Terms:
    """Costs, sizes and exits."""

    fee: float = 0.0
    slippage: float = 0.0
    capital: float = 1000.0
    size: float = 0.5
    most: int | None = None
    stop: float | Range | None = None
    take: float | Range | None = None
    hold: int | None = None


@dataclass
class Position:
    """An open or closed position; the fields of a trade."""

    order: Order
    entry: float
    size: float
    stop: float | None
    take: float | None
    fee: float
    funding: float = 0.0
    low: float = 0.0
    high: float = 0.0
    exit_time: int = 0
    exit: float = 0.0
    reason: str = ""

    @property
    def pnl(self) -> float:
        """After costs."""
        return self.order.side * self.size * (self.exit - self.entry) - self.fee - self.funding


@dataclass
class Run:
    """What came of it; `equity` has a value a minute from the first candle to the last."""

    trades: list[Position] = field(default_factory=list)
    equity: list[float] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    late: int = 0


def simulate(
    candles: Candles, orders: list[Order], rates: dict[str, dict[int, float]], terms: Terms
) -> Run:
    """Walk every minute from the first candle to the last."""
    run, held, last_close = Run(), dict[str, Position](), dict[str, float]()
    balance = terms.capital
    times = [time for minutes in candles.values() for time in minutes]
    ordered = sorted(orders, key=lambda order: (order.time, order.symbol, order.rule))

    def drop(why: str) -> None:
        run.dropped[why] = run.dropped.get(why, 0) + 1

    def close(symbol: str, time: int, price: float, reason: str) -> None:
        nonlocal balance
        position = held.pop(symbol)
        position.low, position.high = min(position.low, price), max(position.high, price)
        position.exit = price * (1 - position.order.side * terms.slippage)
        position.exit_time, position.reason = time, reason
        position.fee += terms.fee * position.size * position.exit
        balance += position.pnl

    def pay(symbol: str, time: int, price: float) -> None:
        position, rate = held[symbol], rates.get(symbol, {}).get(time, 0.0)
        position.funding += position.order.side * position.size * rate * price

    for time in range(min(times), max(times) + MINUTE, MINUTE):
        now = {symbol: minutes[time] for symbol, minutes in candles.items() if time in minutes}
        for symbol in held:
            pay(symbol, time, now[symbol][0] if symbol in now else last_close[symbol])
        for symbol in [symbol for symbol in held if symbol in now]:
            due, reason = _due(held[symbol].order, terms.hold)
            if due is not None and time >= due:
                run.late += time > due
                close(symbol, time, now[symbol][0], reason)
        for order in [order for order in ordered if order.time == time]:
            if order.symbol not in candles:
                drop("unknown symbol")
            elif order.symbol not in now:
                drop("minute missing")
            elif order.symbol in held:
                drop("position open")
            elif terms.most is not None and len(held) >= terms.most:
                drop("most positions open")
            elif balance <= 0:
                drop("no equity")
            else:
                price = now[order.symbol][0] * (1 + order.side * terms.slippage)
                stop = _distance(terms.stop, candles[order.symbol], time, price)
                take = _distance(terms.take, candles[order.symbol], time, price)
                if "unknown" in (stop, take):
                    drop("range unknown")
                    continue
                size = terms.size * balance / price
                position = Position(
                    order, price, size,
                    None if stop is None else price - order.side * float(stop),
                    None if take is None else price + order.side * float(take),
                    fee=terms.fee * size * price, low=price, high=price,
                )  # fmt: skip
                held[order.symbol] = position
                run.trades.append(position)
        for symbol, (opened, high, low, _) in now.items():
            if symbol not in held:
                continue
            position = held[symbol]
            stop, take = position.stop, position.take
            if position.order.side > 0:
                stopped, taken = stop is not None and low <= stop, take is not None and high >= take
            else:
                stopped, taken = stop is not None and high >= stop, take is not None and low <= take
            if stopped and stop is not None:
                worse = min if position.order.side > 0 else max
                close(symbol, time, worse(opened, stop), "stop")
            elif taken and take is not None:
                close(symbol, time, take, "take")
            else:
                position.low, position.high = min(position.low, low), max(position.high, high)
        last_close |= {symbol: candle[3] for symbol, candle in now.items()}
        for symbol in list(held) if time == max(times) else ():
            pay(symbol, time + MINUTE, last_close[symbol])
            close(symbol, time + MINUTE, last_close[symbol], "end")
        worth = sum(
            p.order.side * p.size * (last_close[symbol] - p.entry) - p.fee - p.funding
            for symbol, p in held.items()
        )
        run.equity.append(balance + worth)
        run.open.append(len(held))
    for order in ordered:
        if not min(times) <= order.time <= max(times):
            drop("minute missing" if order.symbol in candles else "unknown symbol")
    return run


def target_orders(targets: dict[str, dict[int, int]]) -> list[Order]:
    """An order at each change to long or short, until the next change."""
    orders = []
    for symbol, signals in targets.items():
        now, start = 0, 0
        for time in sorted(signals):
            if signals[time] != now:
                if now:
                    orders.append(Order(start, symbol, "", now, time + MINUTE))
                now, start = signals[time], time + MINUTE
        if now:
            orders.append(Order(start, symbol, "", now))
    return orders


def _due(order: Order, hold: int | None) -> tuple[int | None, str]:
    limit = None if hold is None else order.time + hold * MINUTE
    if order.until is None or (limit is not None and limit > order.until):
        signal = order.until
        return (limit, "time") if signal is None else (signal, "signal")
    if limit is None or order.until <= limit:
        return order.until, "signal"
    return limit, "time"


def _distance(
    given: float | Range | None, minutes: dict[int, Candle], time: int, price: float
) -> float | str | None:
    if not isinstance(given, Range):
        return None if given is None else price * given
    length = given.minutes * MINUTE
    bars: dict[int, list[Candle]] = {}
    for start in sorted(minutes):
        if (start // length + 1) * length <= time:
            bars.setdefault(start // length, []).append(minutes[start])
    known = list(bars.values())
    if len(known) <= given.bars:
        return "unknown"
    ranges = []
    for before, bar in pairwise(known):
        high, low, last = max(c[1] for c in bar), min(c[2] for c in bar), before[-1][3]
        ranges.append(max(high - low, abs(high - last), abs(low - last)))
    average = sum(ranges[: given.bars]) / given.bars
    for newest in ranges[given.bars :]:
        average = ((given.bars - 1) * average + newest) / given.bars
    return given.multiple * average
