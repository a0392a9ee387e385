"""What a backtest is told beside signals and candles, checked before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BARS", "MINUTE_MS", "Atr", "Bar", "Distance", "Options", "Side", "Sides"]

MINUTE_MS = 60_000

Bar: TypeAlias = Literal["1m", "5m", "15m", "1h", "4h", "8h", "1d"]
BARS: dict[str, int] = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "8h": 480, "1d": 1440}
"""Minutes of each bar."""

Side: TypeAlias = Literal["long", "short"]
Sides: TypeAlias = Literal["both", "long", "short"]


@dataclass(frozen=True, slots=True)
class Atr:
    """A distance in average true ranges, as they are known when a position is entered.

    The average is Wilder's over bars of the clock that have ended by then, as `screener.outcomes`
    takes it over minutes; a true range reaches back to the close of the bar before it, so that one
    bar more than `bars` is needed. A bar without a minute is left out.

    Attributes:
        multiple: How many average true ranges, above 0.
        bar: The length of a bar.
        bars: How many bars it looks back, at least 1.

    Raises:
        DataError: One of them cannot be.
    """

    multiple: float
    bar: Bar = "15m"
    bars: int = 14

    def __post_init__(self) -> None:
        """Check the three."""
        _positive("multiple", self.multiple)
        _one_of("bar", self.bar, tuple(BARS))
        _count("bars", self.bars)


Distance: TypeAlias = float | Atr
"""How far from the entry price: a fraction of it, or a multiple of the average true range."""


@dataclass(frozen=True, slots=True)
class Options:
    """Costs, sizes and exits, as `screener.backtest` tells them.

    Raises:
        DataError: One of them cannot be.
    """

    sides: Sides
    fee: float
    slippage: float
    capital: float
    size: float
    max_positions: int | None
    stop: Distance | None
    take: Distance | None
    hold: int | None
    bar: Bar

    def __post_init__(self) -> None:
        """Check each."""
        _one_of("sides", self.sides, get_args(Sides))
        _one_of("bar", self.bar, tuple(BARS))
        for name in ("fee", "slippage"):
            _number(name, getattr(self, name), lambda value: 0 <= value < 1, "from 0 to below 1")
        _positive("capital", self.capital)
        _positive("size", self.size)
        for name in ("max_positions", "hold"):
            if getattr(self, name) is not None:
                _count(name, getattr(self, name))
        if self.stop is not None and not isinstance(self.stop, Atr):
            _number("stop", self.stop, lambda value: 0 < value < 1, "above 0 and below 1, or Atr")
        if self.take is not None and not isinstance(self.take, Atr):
            _number("take", self.take, lambda value: value > 0, "above 0, or Atr")


def _positive(name: str, value: object) -> None:
    _number(name, value, lambda number: number > 0, "above 0")


def _number(name: str, value: Any, holds: Callable[[float], bool], what: str) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not holds(value):
        raise DataError(reason=f"{name}={value!r} cannot be", remedy=f"give a number {what}")


def _count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DataError(reason=f"{name}={value!r} cannot be", remedy="give a whole number above 0")


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DataError(reason=f"{name}={value!r} is unknown", remedy=f"one of {', '.join(known)}")
