"""How the alerts of each set would have traded."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from screener.backtest import backtest
from screener.backtest.candles import minutes_by_symbol
from screener.backtest.funding import payments_by_symbol
from screener.backtest.options import Options
from screener.backtest.run import orders_of, traded
from screener.errors import DataError

if TYPE_CHECKING:
    from screener._core import RuleSet
    from screener.backtest.candles import Minutes
    from screener.backtest.funding import Payments
    from screener.sweep.passes import Distinct

__all__ = ["COLUMNS", "Market", "arguments_of", "market_of", "measures_of"]

COLUMNS = ["symbol", "open_time", "open", "high", "low", "close"]


@dataclass(frozen=True, slots=True)
class Market:
    """What all sets are traded on.

    Attributes:
        minutes: The minutes of each symbol.
        payments: The funding of each symbol.
        options: Costs, sizes and exits.
        direction: The side of all alerts or of each rule; that of the rules where it is None.
    """

    minutes: dict[str, Minutes]
    payments: dict[str, Payments]
    options: Options
    direction: Any


def arguments_of(trade: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `backtest`, its defaults where they are not given.

    Raises:
        DataError: It has no such option, or one cannot be.
    """
    parameters = inspect.signature(backtest).parameters.values()
    known = {
        option.name: option.default
        for option in parameters
        if option.kind is option.KEYWORD_ONLY and option.name != "rules"
    }
    if unknown := [name for name in trade if name not in known]:
        raise DataError(
            reason=f"trade has {unknown[0]!r}, which is no option of backtest here",
            remedy=f"one of {', '.join(known)}",
        )
    arguments = known | dict(trade)
    _options(arguments)
    return arguments


def market_of(candles: pl.DataFrame, arguments: Mapping[str, Any]) -> Market:
    """The market of these minutes.

    Raises:
        DataError: Candles or funding cannot be used as they are.
    """
    minutes = minutes_by_symbol(candles)
    payments = payments_by_symbol(arguments["funding"], minutes)
    return Market(minutes, payments, _options(arguments), arguments["direction"])


def measures_of(
    market: Market, rules: RuleSet, numbers: list[int], distinct: Distinct, alerts: pl.DataFrame
) -> dict[str, Any]:
    """The measures of a backtest of one set.

    Args:
        market: What it is traded on.
        rules: The rules of the set.
        numbers: Their numbers among the distinct ones.
        distinct: The rules of all sets.
        alerts: The alerts of all sets, as `alerts_of` gives them.
    """
    names = {number: distinct.names[number] for number in numbers}
    own = alerts.filter(pl.col("number").is_in(numbers)).select(
        "symbol",
        pl.col("number").replace_strict(names, return_dtype=pl.String).alias("rule"),
        "triggered_at",
    )
    orders = orders_of(own, rules, market.direction, market.options.sides)
    return asdict(traded(orders, market.minutes, market.payments, market.options).measures)


def _options(arguments: Mapping[str, Any]) -> Options:
    names = (name for name in arguments if name not in ("direction", "funding"))
    return Options(**{name: arguments[name] for name in names})
