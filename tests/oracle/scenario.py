"""Candles of any kind out of a few small choices, so that a failing example shrinks to few lines.

A step is a small frozen value ("three minutes up 1 %, heavy volume"); a `Market` turns it into
the candles that arrive. Nothing here knows what the engine makes of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .ring import MINUTE_MS

Candle = dict[str, Any]

# Quote volume of a minute. The amounts span what SPEC 1 allows and what the rules ask for.
AMOUNTS = {
    "none": 0.0,
    "speck": 1e-23,
    "dust": 1e-8,
    "thin": 2e3,
    "usual": 3e4,
    "heavy": 6e5,
    "huge": 1e12,
    "vast": 1e22,
}

OPTIONAL = {
    "all": ("trades", "taker_buy_volume", "taker_buy_quote_volume"),
    "no trades": ("taker_buy_volume", "taker_buy_quote_volume"),
    "no taker": ("trades",),
    "nothing": (),
}


@dataclass(frozen=True)
class Shape:
    """What the candles of a step look like."""

    step: int = 0  # close against open, in hundredths of a percent
    wick: int = 0  # how far high and low reach beyond them, the same
    volume: str = "usual"  # of AMOUNTS, or "odd" or "paid": only base or only quote volume
    known: str = "all"  # of OPTIONAL


@dataclass(frozen=True)
class Run:
    """Closed candles, minute after minute."""

    symbol: int
    minutes: int
    shape: Shape
    source: str = "stream"


@dataclass(frozen=True)
class Running:
    """Updates of the next minute, in this order; then it is closed, or left to the next candle."""

    symbol: int
    updates: tuple[tuple[int, Shape], ...]  # second of the minute (-1: no event time), shape
    closes: bool
    source: str = "stream"


@dataclass(frozen=True)
class Hole:
    """Minutes for which nothing comes, for now."""

    symbol: int
    minutes: int


@dataclass(frozen=True)
class Late:
    """A closed candle for the minute `back` before the newest, whatever was there."""

    symbol: int
    back: int
    shape: Shape
    source: str = "rest"


@dataclass(frozen=True)
class Again:
    """The last version of a minute once more, perhaps from another source."""

    symbol: int
    back: int
    source: str = "stream"


@dataclass(frozen=True)
class Absent:
    """A synthetic candle: the source says it has nothing for the minute."""

    symbol: int
    back: int


@dataclass(frozen=True)
class Stale:
    """An open candle for a minute that is over."""

    symbol: int
    back: int
    shape: Shape


@dataclass(frozen=True)
class Mixed:
    """Closed candles for the next minutes in any order, some of them missing."""

    symbol: int
    minutes: int
    shape: Shape
    seed: int


@dataclass(frozen=True)
class Look:
    """Nothing arrives; whoever runs the scenario compares everything here."""


Step = Run | Running | Hole | Late | Again | Absent | Stale | Mixed | Look


@dataclass
class _Symbol:
    name: str
    newest: int
    price: float
    sent: dict[int, Candle] = field(default_factory=dict)


class Market:
    """Where the prices of up to three symbols stand, and what has been sent of them."""

    NAMES = ("BTCUSDT", "1000PEPEUSDT", "币安人生USDT")
    PRICES = (100.0, 9.0e-7, 61_234.5)

    def __init__(self, symbols: int, start: int, *, timed: bool) -> None:
        """Begin before any candle.

        Args:
            symbols: How many symbols, 1 to 3.
            start: The minute (since the epoch) before the first candle.
            timed: Whether every update of a running minute must carry its event time.
        """
        self._symbols = [
            _Symbol(name, start, price)
            for name, price in zip(self.NAMES[:symbols], self.PRICES, strict=False)
        ]
        self._timed = timed

    @property
    def names(self) -> list[str]:
        """The symbols."""
        return [symbol.name for symbol in self._symbols]

    def warm_up(self, index: int, minutes: int, drift: float, volume: str) -> list[Candle]:
        """Closed candles that drift by so many hundredths of a percent a minute."""
        symbol = self._symbols[index]
        found = []
        for count in range(minutes):
            noise = 8.0 * _mantissa(symbol.newest + 7919 * count) - 8.0
            candle = self._closed(symbol, symbol.newest + 1, Shape(0, 3, volume), drift + noise)
            found.append(candle)
        return found

    def candles(self, step: Step) -> Iterator[Candle]:
        """The candles of a step in the order they arrive."""
        if isinstance(step, Look):
            return
        symbol = self._symbols[step.symbol % len(self._symbols)]
        minute = symbol.newest - getattr(step, "back", 0)
        there = symbol.sent.get(minute)
        match step:
            case Run():
                for _ in range(step.minutes):
                    yield self._closed(symbol, symbol.newest + 1, step.shape, source=step.source)
            case Running():
                yield from self._running(symbol, step)
            case Hole():
                symbol.newest += step.minutes
            case Late():
                yield self._closed(symbol, minute, step.shape, source=step.source)
            case Again():
                # Whether a forced close may be confirmed by a synthetic candle is not settled.
                if there is not None and (there["closed"] or step.source != "synthetic"):
                    again = {**there, "closed": True, "source": step.source}
                    symbol.sent[minute] = again
                    yield again
            case Absent():
                before = symbol.sent.get(minute - 1)
                if there is None or there["closed"]:
                    price = symbol.price if before is None else before["close"]
                    flat = Shape(volume="none")
                    yield self._candle(symbol, minute, price, flat, 0.0, source="synthetic")
            case Stale():
                if step.back > 0 or (there is not None and there["closed"]):
                    candle = self._candle(symbol, minute, symbol.price, step.shape, 0.0, kept=False)
                    event_time = (minute + 1) * MINUTE_MS
                    yield {**candle, "closed": False, "event_time": event_time}
            case Mixed():
                chance = random.Random(step.seed)
                coming = [
                    self._closed(symbol, symbol.newest + 1, step.shape) for _ in range(step.minutes)
                ]
                coming = [candle for candle in coming if chance.random() < 0.9]
                chance.shuffle(coming)
                yield from coming

    def _running(self, symbol: _Symbol, step: Running) -> Iterator[Candle]:
        minute, price = symbol.newest + 1, symbol.price
        symbol.newest = minute
        for second, shape in step.updates:
            bend = self._bend(symbol, shape.step)
            candle = self._candle(symbol, minute, price, shape, bend, source=step.source)
            candle["closed"] = False
            if second >= 0 or self._timed:
                candle["event_time"] = minute * MINUTE_MS + abs(second) * 1000
            yield dict(candle)
        symbol.price = symbol.sent[minute]["close"]
        if step.closes:
            closed = {**symbol.sent[minute], "closed": True}
            closed.pop("event_time", None)
            symbol.sent[minute] = closed
            yield dict(closed)

    def _closed(
        self,
        symbol: _Symbol,
        minute: int,
        shape: Shape,
        noise: float = 0.0,
        *,
        source: str = "stream",
    ) -> Candle:
        before = symbol.sent.get(minute - 1)
        price = symbol.price if before is None else before["close"]
        bend = self._bend(symbol, shape.step + noise)
        candle = self._candle(symbol, minute, price, shape, bend, source=source)
        if minute >= symbol.newest:
            symbol.newest = minute
            symbol.price = candle["close"]
        return dict(candle)

    def _bend(self, symbol: _Symbol, step: float) -> float:
        """The step, turned round where the price has gone too far for indicators to be compared."""
        usual = self.PRICES[self.NAMES.index(symbol.name)]
        if symbol.price > 4 * usual:
            return -abs(step)
        return abs(step) if symbol.price < usual / 4 else step

    def _candle(
        self,
        symbol: _Symbol,
        minute: int,
        price: float,
        shape: Shape,
        step: float,
        *,
        source: str = "stream",
        kept: bool = True,
    ) -> Candle:
        close = float(f"{price * (1 + step / 1e4):.6g}")
        if shape.volume == "odd":
            volume, quote_volume = 5.0, 0.0
        elif shape.volume == "paid":
            volume, quote_volume = 0.0, 7.0
        else:
            quote_volume = AMOUNTS[shape.volume] * _mantissa(minute + round(step))
            volume = quote_volume / price
        optional: Candle = {
            "trades": 1 + minute % 1000 if volume else 0,
            "taker_buy_volume": volume * 0.37,
            "taker_buy_quote_volume": quote_volume * 0.37,
        }
        candle: Candle = {
            "symbol": symbol.name,
            "open_time": minute * MINUTE_MS,
            "open": price,
            "high": max(price, close) * (1 + shape.wick / 1e4),
            "low": min(price, close) / (1 + shape.wick / 1e4),
            "close": close,
            "volume": volume,
            "quote_volume": quote_volume,
            "closed": True,
            "source": source,
        }
        candle.update({name: optional[name] for name in OPTIONAL[shape.known]})
        if kept:
            symbol.sent[minute] = candle
        return candle


def _mantissa(number: int) -> float:
    """A number in [0.5, 1.5) with a full mantissa, always the same for the same argument."""
    return 0.5 + (number * 0.6180339887498949) % 1.0
