"""Signals become orders: a symbol, a side, the minute at whose open it is to be filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from screener._core import RuleSet
from screener.backtest.candles import columns_of, refuse_repeats
from screener.backtest.options import MINUTE_MS
from screener.errors import DataError

if TYPE_CHECKING:
    from screener.backtest.options import Side, Sides
    from screener.types import ArrowFrame, Rules

__all__ = ["Orders", "orders_of_alerts", "orders_of_targets", "wanted"]

_SIDES = {"long": 1, "short": -1}
_DIRECTIONS = {"up": 1, "down": -1, "flat": 0}


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders to enter, in the order in which they are served.

    Attributes:
        frame: symbol, rule (null for targets), time (open time of the minute to be filled at, ms),
            side (1 or -1), until (when the signal orders the exit, ms; null where it never does).
        signals: How many signals there were.
        ignored: How many of them became no order, by reason.
    """

    frame: pl.DataFrame
    signals: int
    ignored: dict[str, int]


def orders_of_alerts(
    alerts: ArrowFrame, rules: Rules, direction: Side | Mapping[str, Side] | None
) -> Orders:
    """An order for each alert that is confirmed and has a direction.

    An alert of the close of a minute is filled at the open of the next, one of a running minute
    at the open of the minute after that one.

    Raises:
        DataError: A column is missing, an alert comes twice, or the direction of a rule is unknown.
    """
    frame = alerts if isinstance(alerts, pl.DataFrame) else pl.DataFrame(alerts)
    signals, ignored = frame.height, {"not confirmed": 0, "no direction": 0}
    if "state" in frame.columns:
        frame = frame.filter(pl.col("state") == "confirmed")
        ignored["not confirmed"] = signals - frame.height
    types = {"symbol": pl.String, "rule": pl.String, "triggered_at": pl.Int64}
    frame = columns_of(frame, types, "alerts")
    refuse_repeats(frame, ["symbol", "rule", "triggered_at"], "alerts")
    sides = _sides(frame["rule"].unique(maintain_order=True).to_list(), rules, direction)
    time = -(-pl.col("triggered_at") // MINUTE_MS) * MINUTE_MS
    side = pl.col("rule").replace_strict(sides, return_dtype=pl.Int64) if sides else pl.lit(0)
    frame = frame.select(
        "symbol", "rule", time=time, side=side.cast(pl.Int64), until=pl.lit(None, pl.Int64)
    )
    known = frame.filter(pl.col("side") != 0)
    ignored["no direction"] = frame.height - known.height
    return Orders(known.sort("time", "symbol", "rule", maintain_order=True), signals, ignored)


def orders_of_targets(targets: ArrowFrame) -> Orders:
    """An order wherever a symbol's target changes to long or short, until it changes again.

    Raises:
        DataError: A column is missing, a target is none of 1, -1 and 0, a time is no whole minute
            or comes twice.
    """
    types = {"symbol": pl.String, "open_time": pl.Int64, "signal": pl.Float64}
    frame = columns_of(targets, types, "signals")
    for column, is_wrong, reason in (
        ("signal", ~pl.col("signal").is_in([1.0, -1.0, 0.0]), "is none of 1, -1 and 0"),
        ("open_time", pl.col("open_time") % MINUTE_MS != 0, "is no whole minute"),
    ):
        if frame.select(is_wrong.any()).item():
            row = frame.select(is_wrong.arg_max()).item()
            value = frame[column][row]
            raise DataError(reason=f"{value} {reason}", column=column, row=row)
    refuse_repeats(frame, ["symbol", "open_time"], "signals")
    before = pl.col("signal").shift(1, fill_value=0).over("symbol")
    closes = pl.col("open_time") + MINUTE_MS
    changes = frame.sort("symbol", "open_time").filter(pl.col("signal") != before)
    orders = changes.select(
        "symbol",
        rule=pl.lit(None, pl.String),
        time=closes,
        side=pl.col("signal").cast(pl.Int64),
        until=closes.shift(-1).over("symbol"),
    )
    entries = orders.filter(pl.col("side") != 0).sort("time", "symbol")
    return Orders(entries, entries.height, {})


def wanted(orders: Orders, sides: Sides) -> Orders:
    """The orders of the sides that are traded; the others are counted."""
    if sides == "both":
        return orders
    frame = orders.frame.filter(pl.col("side") == _SIDES[sides])
    ignored = orders.ignored | {"other side": orders.frame.height - frame.height}
    return Orders(frame, orders.signals, ignored)


def _sides(
    names: list[str], rules: Rules, direction: Side | Mapping[str, Side] | None
) -> dict[str, int]:
    """The side of each rule that alerts name."""
    given = dict.fromkeys(names, direction) if isinstance(direction, str) else direction or {}
    for rule, side in given.items():
        if side not in _SIDES:
            raise DataError(reason=f"direction {side!r} of {rule} is neither long nor short")
    sides = {rule: _SIDES[side] for rule, side in given.items() if side is not None}
    if set(names) <= set(sides):
        return sides
    known = rules if isinstance(rules, RuleSet) else RuleSet.load(rules)
    found = {rule.name: _DIRECTIONS[rule.direction] for rule in known} | sides
    if unknown := [name for name in names if name not in found]:
        raise DataError(
            reason=f"the direction of rule {unknown[0]!r} is unknown",
            column="rule",
            remedy="give the rules that raised the alerts, or direction=",
        )
    return found
