"""The columns: where a value comes from, how it is written, coloured and how wide it is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from screenerd.top import text
from screenerd.top.rows import SPARK_MINUTES, WINDOWS, Clause, FeedAlert, Row

T = TypeVar("T")

GAP = 1
"""Cells before each column."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Text, and the name of its style."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column.

    Attributes:
        key: its name.
        title: its head.
        width: cells it takes at least.
        cell: what stands in it, for a row and a width.
        value: what it is sorted by: a number, a text, or `None` while there is none.
        widest: cells it takes where there is room.
        left: whether its text begins at the left.
    """

    key: str
    title: str
    width: int
    cell: Callable[[T, int], Cell]
    value: Callable[[T], float | str | None]
    widest: int = 0
    left: bool = False


def widths(columns: Sequence[Column[T]], room: int) -> list[int]:
    """How wide each column is in so many cells; what is left over goes to those that may grow.

    The first that may grow takes what it can use, then the next.
    """
    made = [column.width for column in columns]
    spare = room - sum(made) - GAP * len(made)
    for place, column in enumerate(columns):
        more = max(0, min(spare, column.widest - column.width))
        made[place] += more
        spare -= more
    return made


CALM = {"5m": 0.3, "15m": 0.5, "1h": 0.8, "4h": 1.5, "8h": 2.0, "1d": 3.0}
"""Changes below this, in percent, are an ordinary window's."""


def heat(value: float | None, calm: float) -> int:
    """How strongly a change is coloured: 0 to 3, below zero for a fall."""
    if not value:
        return 0
    size = abs(value) / calm
    strength = 1 if size < 1 else 2 if size < 3 else 3
    return strength if value > 0 else -strength


def heat_style(value: float | None, calm: float) -> str:
    """The name of a change's style."""
    strength = heat(value, calm)
    if not strength:
        return ""
    return f"{'up' if strength > 0 else 'down'}-{abs(strength)}"


def _symbol(row: Row, _width: int) -> Cell:
    return Cell(row.name)


def _price(row: Row, width: int) -> Cell:
    return Cell(text.price(row.price, row.decimals, width))


def _change(window: str) -> Column[Row]:
    def cell(row: Row, _width: int) -> Cell:
        value = row.reading(window, "change_pct")
        return Cell(text.signed(value), heat_style(value, CALM[window]))

    return Column(
        f"change_{window}", window, 5, cell, lambda row: row.reading(window, "change_pct")
    )


def _volume_ratio(row: Row) -> float | None:
    return row.reading("15m", "volume_ratio")


def _volume_ratio_cell(row: Row, _width: int) -> Cell:
    value = _volume_ratio(row)
    return Cell(text.compact(value), "hot" if value is not None and value >= 2.5 else "")


def _volume(row: Row) -> float | None:
    return row.reading("1h", "quote_volume")


def _rsi(row: Row) -> float | None:
    return row.reading("1h", "rsi_14")


def _rsi_cell(row: Row, _width: int) -> Cell:
    value = _rsi(row)
    far = value is not None and not 30 < value < 70
    return Cell(text.whole(value), "hot" if far else "")


def _hour(row: Row, width: int) -> Cell:
    return Cell(text.sparkline(row.closes, width), heat_style(row.hour_change, CALM["1h"]))


# Wide enough for 80 cells, the scroll bar being one of them.
SYMBOLS: tuple[Column[Row], ...] = (
    Column("symbol", "Symbol", 12, _symbol, lambda row: row.symbol, widest=18, left=True),
    Column("price", "Price", 9, _price, lambda row: row.price, widest=13),
    *(_change(window) for window in WINDOWS),
    Column("volume_ratio_15m", "×15m", 4, _volume_ratio_cell, _volume_ratio, widest=5),
    Column(
        "quote_volume_1h",
        "Vol1h",
        5,
        lambda row, _width: Cell(text.compact(_volume(row))),
        _volume,
        widest=7,
    ),
    Column("rsi_1h", "RSI", 3, _rsi_cell, _rsi, widest=5),
    Column("hour", "Hour", 4, _hour, lambda row: row.hour_change, widest=SPARK_MINUTES),
)
"""The columns of the table."""

ARROWS = {"up": "▲", "down": "▼"}


def _arrow(alert: FeedAlert, _width: int) -> Cell:
    return Cell(ARROWS[alert.direction], f"{alert.direction}-2")


def _title(alert: FeedAlert, _width: int) -> Cell:
    told = "" if alert.state == "confirmed" else f" ({alert.state})"
    return Cell(alert.title + told)


def _alert_change(alert: FeedAlert, _width: int) -> Cell:
    return Cell(text.signed(alert.change), heat_style(alert.change, CALM.get(alert.timeframe, 1.0)))


ALERTS: tuple[Column[FeedAlert], ...] = (
    Column("time", "UTC", 5, lambda one, _: Cell(text.clock(one.time)), lambda one: one.time),
    Column("direction", "", 1, _arrow, lambda one: one.direction),
    Column("title", "Alert", 26, _title, lambda one: one.title, widest=40, left=True),
    Column(
        "symbol",
        "Symbol",
        12,
        lambda one, _: Cell(text.clean(one.symbol)),
        lambda one: one.symbol,
        widest=18,
        left=True,
    ),
    Column(
        "price",
        "Price",
        10,
        lambda one, width: Cell(text.price(one.price, text.decimals_of(one.price), width)),
        lambda one: one.price,
        widest=14,
    ),
    Column("change", "Change", 6, _alert_change, lambda one: one.change),
    Column("timeframe", "in", 3, lambda one, _: Cell(one.timeframe), lambda one: one.timeframe),
)
"""The columns of the feed."""


def told_clause(clause: Clause) -> str:
    """A condition and the values it was judged by: `change_5m ≥ 1 (1.92)`."""
    told = text.formula(clause.text)
    sign = next((letter for letter in told if letter in "≥≤<>="), "")
    bound = told.rpartition(sign)[2].strip() if sign else ""
    values = text.plain(clause.left)
    if sign and not _is_number(bound):
        values = f"{values} {sign} {text.plain(clause.right)}"
    return f"{told} ({values})"


def told_reason(alert: FeedAlert) -> str:
    """Why an alert was raised."""
    if alert.reason is None:
        return "the rule has changed since: its reason is not known any more"
    return " · ".join(told_clause(clause) for clause in alert.reason) or "no condition is told"


def _is_number(bound: str) -> bool:
    try:
        float(bound.replace(text.MINUS, "-"))
    except ValueError:
        return False
    return True
