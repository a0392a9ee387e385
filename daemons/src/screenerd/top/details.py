"""All that is known of one symbol, as lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from screenerd.top.columns import ARROWS, CALM, Cell, heat_style, told_reason
from screenerd.top.rows import WINDOWS, FeedAlert, Row
from screenerd.top.text import (
    clock,
    compact,
    day_and_clock,
    decimals_of,
    fit,
    percent,
    plain,
    price,
    signed,
    sparkline,
)

Line = tuple[Cell, ...]

_NAME = 13
_VALUE = 10
_BANDS = ("bb_upper", "bb_middle", "bb_lower")
_PIVOTS = ("fib_r3", "fib_r2", "fib_r1", "fib_pivot", "fib_s1", "fib_s2", "fib_s3")
_PRICES = frozenset({"open", "high", "low", "close", "vwap", *_BANDS, *_PIVOTS})


def details(row: Row, alerts: Sequence[FeedAlert], note: str = "") -> list[Line]:
    """A symbol's price, its last hour, its last alerts and its metrics.

    Args:
        row: the symbol.
        alerts: its last ones, newest first.
        note: what is to be said of the alerts besides, if anything.
    """
    told = price(row.price, row.decimals, 20)
    head = (Cell(row.name, "head"), Cell(f"  {told}  {clock(row.time)} UTC"))
    shown = [line for alert in alerts for line in _alert(alert)]
    if note or not alerts:
        shown.append((Cell(note or "no alerts yet", "quiet"),))
    return [head, (_hour(row),), (), *shown, (), *_metrics(row)]


def _hour(row: Row) -> Cell:
    line = sparkline(row.closes, 60)
    return Cell(f"{line} {percent(row.hour_change)}" if line else "no closes yet", "quiet")


def _metrics(row: Row) -> list[Line]:
    names = [name for window in WINDOWS for name in row.frames.get(window, ())]
    if not names:
        return [(Cell("no metrics yet: its history is not in", "quiet"),)]
    head = fit("", _NAME) + "".join(fit(window, _VALUE) for window in WINDOWS)
    return [(Cell(head, "head"),), *(_metric(row, name) for name in dict.fromkeys(names))]


def _metric(row: Row, name: str) -> Line:
    cells = [Cell(fit(name, _NAME, left=True))]
    for window in WINDOWS:
        value = row.reading(window, name)
        style = heat_style(value, CALM[window]) if name == "change_pct" else ""
        cells.append(Cell(fit(_value(row, name, value), _VALUE), style))
    return tuple(cells)


def _value(row: Row, name: str, value: float | None) -> str:
    if name == "change_pct":
        return signed(value)
    if name in _PRICES:
        return price(value, row.decimals, _VALUE - 1)
    return compact(value) if name in {"volume", "quote_volume"} else plain(value)


def _alert(alert: FeedAlert) -> list[Line]:
    at = price(alert.price, decimals_of(alert.price), 14)
    told = f" {day_and_clock(alert.time)}  {alert.title}  {at}"
    change = Cell(f"  {percent(alert.change)}", f"{alert.direction}-2")
    arrow = Cell(ARROWS[alert.direction], f"{alert.direction}-2")
    reason = (Cell(f"    {told_reason(alert)}", "quiet"),)
    return [(arrow, Cell(told), change), reason]
