"""The one public call: signals and candles in, trades, equity and measures out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screener.backtest.options import Options
from screener.backtest.result import Backtest, Measures
from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from screener.backtest.candles import Minutes
    from screener.backtest.funding import Payments
    from screener.backtest.options import Bar, Distance, Side, Sides
    from screener.backtest.signals import Orders
    from screener.backtest.trades import Trade
    from screener.types import ArrowFrame, Rules

__all__ = ["backtest", "orders_of", "traded"]


def backtest(
    signals: ArrowFrame,
    candles: ArrowFrame,
    *,
    rules: Rules = "futures",
    direction: Side | Mapping[str, Side] | None = None,
    sides: Sides = "both",
    fee: float = 0.0005,
    slippage: float = 0.0,
    funding: ArrowFrame | None = None,
    capital: float = 10_000.0,
    size: float = 0.1,
    max_positions: int | None = 10,
    stop: Distance | None = None,
    take: Distance | None = None,
    hold: int | None = None,
    bar: Bar = "1m",
) -> Backtest:
    """Trades signals over minutes of the past.

    A signal is known at the close of a minute and filled at the open of the next, never earlier
    and never later: where that minute is missing, the order is dropped and counted. Orders are
    served in the order of time, of symbol within a minute, of rule within a symbol. A symbol
    holds one position; a signal while it is open is dropped and counted.

    Args:
        signals: Either alerts (symbol, rule, triggered_at, and state where it is known) as
            ``replay(...).alerts`` has them; or targets (symbol, open_time, signal), where signal
            is 1 long, -1 short or 0 flat from the close of that minute until it changes.
        candles: Minutes: symbol, open_time (ms), open, high, low, close; in any order.
        rules: What raised the alerts: a rule that expects the price to go up is bought, one down
            sold, a flat one is not traded. Read only where `direction` does not tell.
        direction: The side of all alerts, or of the rules it names.
        sides: Which sides are traded.
        fee: Of a side's notional; the default is the exchange's usual taker fee.
        slippage: How much worse every fill is, as a fraction of its price.
        funding: Rates (symbol, time in ms, rate): a long position pays rate times its worth at
            each time after its entry and up to its exit, a short one receives it.
        capital: The equity before the first minute, in quote.
        size: The notional of a trade at entry, as a fraction of the capital plus the pnl of all
            trades that have ended; above 1 is leverage, and liquidation is not modelled.
        max_positions: Most positions at once, first come first served; None for any number.
        stop: How far against the position it is closed: a fraction of the entry price, or `Atr`.
            Filled at the stop, or at the open of a minute that opens beyond it.
        take: How far in favour it is closed, as `stop`; always filled at its level. Of a stop and
            a take in one minute the stop is taken.
        hold: Most minutes a position is held; it is closed at the open of the first minute then.
        bar: The bars of the equity frame and of the measures.

    Returns:
        The trades, the equity at the end of each bar, and the measures. Positions that are open
        at the end of all candles are closed at the last close of their symbol.

    Raises:
        DataError: A frame or an option cannot be used as it is.
        RuleError: `rules` is no set of rules.

    Example:
        >>> import screener
        >>> candles = screener.demo_market(symbols=8)
        >>> alerts = screener.replay(candles).alerts
        >>> result = screener.backtest(alerts, candles, stop=0.01, take=0.02, hold=60)
        >>> result.trades["reason"].unique().sort().to_list()
        ['stop', 'take', 'time']
    """
    from screener.backtest.candles import minutes_by_symbol
    from screener.backtest.funding import payments_by_symbol

    options = Options(
        sides, fee, slippage, capital, size, max_positions, stop, take, hold, bar
    )  # fmt: skip
    orders = orders_of(signals, rules, direction, sides)
    minutes = minutes_by_symbol(candles)
    return traded(orders, minutes, payments_by_symbol(funding, minutes), options)


def orders_of(
    signals: ArrowFrame, rules: Rules, direction: Side | Mapping[str, Side] | None, sides: Sides
) -> Orders:
    """The orders of alerts or of targets, whichever they are.

    Raises:
        DataError: They are neither, or cannot be used as they are.
    """
    import polars as pl

    from screener.backtest.signals import orders_of_alerts, orders_of_targets, wanted

    frame = signals if isinstance(signals, pl.DataFrame) else pl.DataFrame(signals)
    if "triggered_at" in frame.columns:
        return wanted(orders_of_alerts(frame, rules, direction), sides)
    if "signal" in frame.columns:
        return wanted(orders_of_targets(frame), sides)
    raise DataError(
        reason="signals have neither a column triggered_at nor one signal",
        remedy="give alerts, or targets with symbol, open_time and signal",
    )


def traded(
    orders: Orders, minutes: dict[str, Minutes], payments: dict[str, Payments], options: Options
) -> Backtest:
    """What orders come to; minutes and payments can be used again for others."""
    from screener.backtest.equity import equity_by_minute, of_bars
    from screener.backtest.trades import Order, fill, trades_frame

    filled = fill(map(Order._make, orders.frame.iter_rows()), minutes, payments, options)
    by_minute = equity_by_minute(filled.trades, minutes, payments, options.capital, options.fee)
    equity = of_bars(by_minute, options.bar)
    return Backtest(
        trades=trades_frame(filled.trades),
        equity=equity,
        measures=_measures(filled.trades, by_minute, equity, options),
        capital=options.capital,
        signals=orders.signals,
        dropped={why: count for why, count in (orders.ignored | filled.dropped).items() if count},
        unknown_symbols=tuple(sorted(filled.unknown)),
        late_exits=filled.late_exits,
    )


def _measures(
    trades: list[Trade], by_minute: pl.DataFrame, equity: pl.DataFrame, options: Options
) -> Measures:
    import numpy as np

    from screener.backtest import measures
    from screener.backtest.options import BARS

    path, length = equity["equity"].to_numpy(), BARS[options.bar]
    returns = measures.returns_of(path, options.capital)
    bars_a_year = measures.DAYS_A_YEAR * 1440 / length
    total = float(path[-1]) / options.capital - 1
    fall, bars = measures.drawdown(path, options.capital)
    pnl = np.array([trade.pnl for trade in trades])
    traded = sum(trade.size * (trade.entry_price + trade.exit_price) for trade in trades)
    mean = float(by_minute["equity"].to_numpy().mean())
    return Measures(
        total_return=total,
        cagr=measures.cagr(total, by_minute.height / 1440),
        sharpe=measures.sharpe(returns, bars_a_year),
        sortino=measures.sortino(returns, bars_a_year),
        max_drawdown=fall,
        drawdown_minutes=bars * length,
        exposure=float((by_minute["positions"].to_numpy() > 0).mean()),
        turnover=traded / mean,
        win_rate=float((pnl > 0).mean()) if trades else None,
        profit_factor=measures.profit_factor(pnl),
        trades=len(trades),
    )
