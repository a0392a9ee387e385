"""The built-in market: every candle is a function of (seed, symbol, minute).

The price at the start of a minute is known by itself, without the minutes before it: noise between
random knots (a week apart, a day, four hours, ... a minute), and on top of it a script of moves
that repeats. So a bar of any length costs as little as a minute, any time in the past can be
asked for, and nothing is stored.

Only sums, products and rounding are used, which IEEE 754 defines: a candle has the same digits
whether it was made alone or with a thousand others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from screenerd.demo.contracts import (
    CLOSE,
    COLUMNS,
    HIGH,
    LOW,
    OPEN,
    QUOTE,
    TAKER,
    TAKER_QUOTE,
    TRADES,
    VOLUME,
    Contract,
    Floats,
    listing,
)
from screenerd.model import MINUTE_MS, Candle

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]

SCRIPTED = 40
"""How many symbols run the script of moves all the time; those beyond are mostly calm."""

_DAY = 1440
_FIRST_MINUTE = 26_297_280  # 2020-01-01

# Knots of the noise: minutes apart, and how far off a knot may be (0.01 % of the price). The slow
# ones are small enough to leave the order of the script's changes over hours and days alone.
_OCTAVES = ((7 * _DAY, 200.0), (_DAY, 25.0), (240, 20.0), (60, 8.0), (15, 5.0), (5, 4.0), (1, 3.0))
_COMMON = 0.75
"""How much of the noise of the whole market each symbol takes."""

# Percent of the usual volume at each full hour, UTC: quiet nights, busy when New York opens.
_TIDE = np.array(
    [
        *(95, 90, 85, 80, 75, 72, 75, 85, 95, 100, 100, 102),
        *(110, 125, 130, 130, 125, 115, 108, 104, 102, 100, 100, 98, 95),
    ],
    dtype=np.float64,
)

_LONGEST_EXACT_BAR = 60
_STRIDE = 15
"""Longer bars look at every 15th minute for their extremes and volumes."""


class MinuteSource(Protocol):
    """What the demo exchange takes its candles from.

    Arrays have the columns of `COLUMNS` in the units of their contract; a row of NaN says that
    there is no such minute. A minute is counted since the epoch.
    """

    @property
    def contracts(self) -> Sequence[Contract]:
        """The contracts; their place is their index everywhere else."""
        ...

    @property
    def first_minute(self) -> int:
        """The oldest minute there is."""
        ...

    def at(self, minute: int) -> Floats:
        """The final candles of a minute, a row a symbol."""
        ...

    def running(self, minute: int, fraction: float) -> Floats:
        """The candles of a minute after a fraction of it, a row a symbol; at 1 the final ones."""
        ...

    def bars(self, symbol: int, length: int, first: int, count: int) -> Floats:
        """Whole bars of `length` minutes; bar `n` begins at minute `n * length`."""
        ...


def running_candles(final: Floats, fraction: float, luck: Bits) -> Floats:
    """What final candles looked like after a fraction of their minute.

    The price walks from the open to one extreme, to the other, to the close; `luck` decides which
    comes first and when. Volumes grow evenly.

    Args:
        final: the final candles, a row each.
        fraction: how much of the minute has passed, in [0, 1].
        luck: random bits, one number a row.
    """
    rising = (luck & np.uint64(1)) == 1
    first_at = 0.15 + (luck >> np.uint64(8) & np.uint64(255)).astype(np.float64) / 850
    second_at = 0.55 + (luck >> np.uint64(16) & np.uint64(255)).astype(np.float64) / 850
    first = np.where(rising, final[:, HIGH], final[:, LOW])
    second = np.where(rising, final[:, LOW], final[:, HIGH])
    price = np.rint(
        np.where(
            fraction < first_at,
            _between(final[:, OPEN], first, fraction / first_at),
            np.where(
                fraction < second_at,
                _between(first, second, (fraction - first_at) / (second_at - first_at)),
                _between(second, final[:, CLOSE], (fraction - second_at) / (1 - second_at)),
            ),
        )
    )
    high_at, low_at = np.where(rising, (first_at, second_at), (second_at, first_at))
    out = np.empty_like(final)
    out[:, OPEN] = final[:, OPEN]
    out[:, CLOSE] = price
    out[:, HIGH] = np.where(fraction >= high_at, final[:, HIGH], np.maximum(final[:, OPEN], price))
    out[:, LOW] = np.where(fraction >= low_at, final[:, LOW], np.minimum(final[:, OPEN], price))
    out[:, TRADES] = np.floor(final[:, TRADES] * fraction)
    out[:, VOLUME] = np.floor(final[:, VOLUME] * fraction)
    out[:, TAKER] = np.floor(final[:, TAKER] * fraction)
    # The average price follows the candle, so it stays between its low and its high.
    dearer = _typical(out) / _typical(final)
    for amount, quote in ((VOLUME, QUOTE), (TAKER, TAKER_QUOTE)):
        share = out[:, amount] / np.maximum(final[:, amount], 1.0)
        out[:, quote] = np.rint(final[:, quote] * share * dearer)
    return out


def _between(begin: Floats, end: Floats, fraction: Floats) -> Floats:
    return begin + (end - begin) * fraction


def _typical(candles: Floats) -> Floats:
    prices: Floats = candles[:, OPEN] + candles[:, HIGH] + candles[:, LOW] + candles[:, CLOSE]
    return prices / 4


def merge(candles: Floats) -> Floats:
    """One bar of candles in order, as an array of one row; NaN where there is none."""
    known = candles[~np.isnan(candles[:, OPEN])]
    if not len(known):
        return np.full((1, len(COLUMNS)), np.nan)
    return _merged(known[np.newaxis])


def _merged(blocks: Floats) -> Floats:
    """A bar for each block of candles: the axes are bar, candle, column."""
    out: Floats = blocks.sum(axis=1)
    out[:, OPEN] = blocks[:, 0, OPEN]
    out[:, HIGH] = blocks[:, :, HIGH].max(axis=1)
    out[:, LOW] = blocks[:, :, LOW].min(axis=1)
    out[:, CLOSE] = blocks[:, -1, CLOSE]
    return out


def candle_of(contract: Contract, minute: int, row: Floats, *, closed: bool) -> Candle | None:
    """A row as a candle; `None` where there is none."""
    if np.isnan(row[OPEN]):
        return None
    values = dict(zip(COLUMNS, (row / contract.scales).tolist(), strict=True))
    trades = int(values.pop("trades"))
    return Candle(contract.symbol, minute * MINUTE_MS, **values, trades=trades, closed=closed)


def minutes_frame(source: MinuteSource, first: int, count: int) -> pl.DataFrame:
    """The candles of `count` minutes from `first` on, in the library's columns, sorted by time."""
    import polars as pl

    frames = []
    for index, contract in enumerate(source.contracts):
        values = source.bars(index, 1, first, count) / contract.scales
        columns = {name: values[:, column] for column, name in enumerate(COLUMNS)}
        times = np.arange(first, first + count, dtype=np.int64) * MINUTE_MS
        frame = pl.DataFrame({"open_time": times, **columns})
        frame = frame.select(pl.lit(contract.symbol).alias("symbol"), pl.all())
        frames.append(frame.filter(pl.col("open").is_not_nan()))
    return pl.concat(frames).sort("open_time", maintain_order=True)


@dataclass(frozen=True, slots=True)
class _Leg:
    """Part of a move: how long, how far (0.01 %), with how much of the usual volume."""

    minutes: int
    basis_points: float
    volume: float


class _Move:
    """Legs one after the other, as functions of the minutes since the first one began."""

    def __init__(self, *legs: _Leg) -> None:
        self._edges = np.cumsum([0, *(leg.minutes for leg in legs)]).astype(np.float64)
        self._levels = np.cumsum([0.0, *(leg.basis_points for leg in legs)])
        self._volumes = np.array([1.0, *(leg.volume for leg in legs), 1.0])
        self.minutes = int(self._edges[-1])
        self.way = float(self._levels[-1])

    def level(self, minute: Ints) -> Floats:
        """How far the price is from where the move began, 0.01 %."""
        levels: Floats = np.interp(minute, self._edges, self._levels)
        return levels

    def volume(self, minute: Ints) -> Floats:
        """How many times the usual volume is traded in a minute."""
        volumes: Floats = self._volumes[np.searchsorted(self._edges, minute, side="right")]
        return volumes


# An hour that gets faster and ends in a spike, then a sharp fall: with a slow rise before it, the
# four bull rules and then the top hunter hold. Turned over, the four bear rules and the bottom
# hunter. Every clause is met by a fifth at least, more than the noise takes away.
_SURGE = _Move(
    _Leg(45, 70, 1.5), _Leg(10, 50, 4), _Leg(5, 160, 20), _Leg(5, -90, 45), _Leg(15, 0, 3)
)
# A spike out of nothing, for the pioneers, that fades away.
_SPIKE = _Move(_Leg(5, 150, 12), _Leg(20, -40, 3), _Leg(120, -110, 1.2))

# A rise and a fall make a cycle, each with a surge at its end. The rise is longer by half the
# distance of neighbours, so that surges up and down take turns. A cycle is longer than a day by
# half, and most of the way between surges is made early: so a day before a surge the price was
# farther from the surge's end than eight hours before it, as the hour's rules demand.
_NEIGHBOURS = 54
_CYCLE = SCRIPTED * _NEIGHBOURS
_RISE = (_CYCLE + _NEIGHBOURS) // 2
_SLOPE = 300.0
"""How far from its usual level (0.01 %) a price is when a surge begins."""


class Market:
    """Symbols whose candles are made up from a seed.

    Every symbol of the first forty has a surge upwards and one downwards in each cycle of 36 hours,
    each symbol 54 minutes after its neighbour. So with forty symbols each of the ten futures rules
    holds at least once in any hour. The candles of a symbol do not depend on how many there are.

    Args:
        symbols: how many, at least 1.
        seed: another seed is another market.

    Raises:
        ValueError: `symbols` is below 1.
    """

    def __init__(self, symbols: int = 40, seed: int = 7) -> None:
        """Takes how many symbols, and the seed."""
        if symbols < 1:
            raise ValueError(f"symbols = {symbols} is no market: give at least 1")
        listings = [listing(index) for index in range(symbols)]
        self._contracts = tuple(each.contract for each in listings)
        self._ticks = np.array([[each.ticks] for each in listings], dtype=np.float64)
        self._lots = np.array(
            [
                [
                    each.usdt_per_minute
                    * 10.0 ** (each.contract.price_decimals + each.contract.lot_decimals)
                ]
                for each in listings
            ]
        )
        self._usdt = np.array([[each.usdt_per_minute] for each in listings], dtype=np.float64)
        self._keys = np.array(
            [[_key(f"{seed}:{each.contract.symbol}")] for each in listings], dtype=np.uint64
        )
        self._common = np.array([[_key(f"{seed}:market")]], dtype=np.uint64)
        offset = _key(f"{seed}:phase") % _CYCLE
        phases = (self._keys % np.uint64(_CYCLE)).astype(np.int64)
        scripted = np.arange(symbols)[:, np.newaxis] < SCRIPTED
        orders = np.arange(symbols)[:, np.newaxis] * _NEIGHBOURS + offset
        self._phases = np.where(scripted, orders, phases)
        self._moving = np.where(scripted, 1.0, 0.08)
        self._cached = lru_cache(maxsize=4)(self._at)

    @property
    def contracts(self) -> tuple[Contract, ...]:
        """The contracts; their place is their index everywhere else."""
        return self._contracts

    @property
    def first_minute(self) -> int:
        """The oldest minute there is: 2020 begins."""
        return _FIRST_MINUTE

    def minute(self, symbol: int, minute: int) -> Candle:
        """The final candle of a minute."""
        return self._candle(symbol, minute, self.bars(symbol, 1, minute, 1)[0], closed=True)

    def partial(self, symbol: int, minute: int, fraction: float) -> Candle:
        """The running candle after a fraction of the minute; at 1 its values are the final ones."""
        row = self.running(minute, fraction)[symbol]
        return self._candle(symbol, minute, row, closed=fraction >= 1)

    def at(self, minute: int) -> Floats:
        """The final candles of a minute, a row a symbol."""
        final: Floats = self._cached(minute)[0].copy()
        return final

    def running(self, minute: int, fraction: float) -> Floats:
        """The candles of a minute after a fraction of it, a row a symbol; at 1 the final ones."""
        final, luck = self._cached(minute)
        return running_candles(final, min(max(fraction, 0.0), 1.0), luck)

    def bars(self, symbol: int, length: int, first: int, count: int) -> Floats:
        """Whole bars of `length` minutes; bar `n` begins at minute `n * length`.

        Up to an hour they are made of all their minutes. In longer ones open and close are exact,
        extremes and volumes are those of every 15th minute.
        """
        if count < 1:
            return np.empty((0, len(COLUMNS)))
        step = 1 if length <= _LONGEST_EXACT_BAR else _STRIDE
        minutes = np.arange(first * length, (first + count) * length, step, dtype=np.int64)
        one = slice(symbol, symbol + 1)
        rows: Floats = self._candles(one, minutes[np.newaxis])[0]
        if length == 1:
            return rows
        out = _merged(rows.reshape(count, length // step, len(COLUMNS)))
        if step > 1:
            ends = np.arange(first + 1, first + count + 1, dtype=np.int64) * length
            out[:, CLOSE] = np.rint(self._price(one, ends[np.newaxis]))[0]
            out[:, HIGH] = np.maximum(out[:, HIGH], out[:, CLOSE])
            out[:, LOW] = np.minimum(out[:, LOW], out[:, CLOSE])
            out[:, VOLUME:] *= step
        return out

    def _candle(self, symbol: int, minute: int, row: Floats, *, closed: bool) -> Candle:
        candle = candle_of(self._contracts[symbol], minute, row, closed=closed)
        if candle is None:
            raise IndexError(f"minute {minute} of symbol {symbol} does not exist")
        return candle

    def _at(self, minute: int) -> tuple[Floats, Bits]:
        minutes = np.array([[minute]], dtype=np.int64)
        return self._candles(slice(None), minutes)[:, 0], self._luck(slice(None), minutes)[:, 0]

    def _luck(self, symbols: slice, minutes: Ints) -> Bits:
        return _mix(self._keys[symbols] ^ _mix(minutes.astype(np.uint64)))

    def _candles(self, symbols: slice, minutes: Ints) -> Floats:
        """Final candles of ascending minutes: the axes are symbol, minute, column."""
        open_, close = self._ends(symbols, minutes)
        luck = self._luck(symbols, minutes)
        upper, lower, size, side = (
            (luck >> np.uint64(shift) & np.uint64(255)).astype(np.float64) / 255
            for shift in (24, 32, 40, 48)
        )
        high = np.rint(np.maximum(open_, close) * (1 + upper * 4e-4))
        low = np.rint(np.minimum(open_, close) * (1 - lower * 4e-4))
        typical = np.rint((open_ + high + low + close) / 4)
        busy = self._busy(symbols, minutes) * (0.75 + 0.5 * size)
        lots = np.maximum(np.rint(self._lots[symbols] * busy / typical), 1.0)
        # Who pushes the price is the taker.
        push = np.clip((close - open_) / open_ * 100, -0.3, 0.3)
        taker = np.floor(lots * (0.5 + push + 0.2 * (side - 0.5)))
        trades = np.rint(1 + self._usdt[symbols] * busy / 400)
        columns = (open_, high, low, close, lots, lots * typical, trades, taker, taker * typical)
        return np.stack(columns, axis=-1)

    def _ends(self, symbols: slice, minutes: Ints) -> tuple[Floats, Floats]:
        """First and last price of minutes, in ticks."""
        first, last = int(minutes[0, 0]), int(minutes[0, -1])
        if last - first + 1 == minutes.shape[1]:
            bounds = np.arange(first, last + 2, dtype=np.int64)[np.newaxis]
            prices = np.rint(self._price(symbols, bounds))
            return prices[:, :-1], prices[:, 1:]
        open_ = np.rint(self._price(symbols, minutes))
        return open_, np.rint(self._price(symbols, minutes + 1))

    def _price(self, symbols: slice, minutes: Ints) -> Floats:
        """The price at the start of minutes, in ticks, not rounded."""
        own, common = self._keys[symbols], self._common
        points = self._level(symbols, minutes)
        for number, (period, size) in enumerate(_OCTAVES):
            noise = _between_knots(own, number, minutes, period)
            noise += _COMMON * _between_knots(common, number, minutes, period)
            points += noise * (size * 0.6)
        prices: Floats = self._ticks[symbols] * (1 + points / 10_000)
        return prices

    def _level(self, symbols: slice, minutes: Ints) -> Floats:
        """How far the script is from the usual level, 0.01 %."""
        half, since, length, way = self._halves(symbols, minutes)
        size, before = self._size(symbols, half), self._size(symbols, half - 1)
        begin = -way * (_SLOPE * (before > 0) + _SURGE.way * before)
        end = way * _SLOPE * (size > 0)
        drift = length - _SURGE.minutes
        left = 1 - np.minimum(since, drift) / drift
        slope = end + (begin - end) * (left * left)
        spike, spike_way = self._spike(symbols, half, since)
        levels: Floats = slope + way * size * _SURGE.level(since - drift)
        return levels + spike_way * _SPIKE.level(spike)

    def _busy(self, symbols: slice, minutes: Ints) -> Floats:
        """How many times its usual volume a symbol trades."""
        half, since, length, _ = self._halves(symbols, minutes)
        surge = _SURGE.volume(since - length + _SURGE.minutes)
        surge = np.where(self._size(symbols, half) > 0, surge, 1.0)
        spike, spike_way = self._spike(symbols, half, since)
        of_spike = np.where(spike_way != 0, _SPIKE.volume(spike), 1.0)
        tide = np.interp(minutes % _DAY / 60, np.arange(25), _TIDE) / 100
        return surge * of_spike * tide

    def _halves(self, symbols: slice, minutes: Ints) -> tuple[Ints, Ints, Ints, Floats]:
        """Number of the half cycle, minutes since it began, its length, 1 for a rise or -1."""
        cycle, since = np.divmod(minutes - self._phases[symbols], _CYCLE)
        falling = (since >= _RISE).astype(np.int64)
        length: Ints = np.where(falling == 1, _CYCLE - _RISE, _RISE)
        way = 1 - 2 * falling.astype(np.float64)
        return cycle * 2 + falling, since - falling * _RISE, length, way

    def _size(self, symbols: slice, half: Ints) -> Floats:
        """How large the surge of a half cycle is: 0 or 1 to 1.4."""
        chance = (_noise(self._keys[symbols], 101, half) + 1) / 2
        size = 1 + 0.2 * (_noise(self._keys[symbols], 102, half) + 1)
        return np.where(chance < self._moving[symbols], size, 0.0)

    def _spike(self, symbols: slice, half: Ints, since: Ints) -> tuple[Ints, Floats]:
        """Minutes since the spike of a half cycle began, and its way: 0 for none."""
        chance = _noise(self._keys[symbols], 103, half)
        way = np.where(np.abs(chance) < 0.4 * self._moving[symbols], np.sign(chance), 0.0)
        start = 120 + (250 * (_noise(self._keys[symbols], 104, half) + 1)).astype(np.int64)
        return since - start, way


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(bits: Bits) -> Bits:
    """Splitmix64's last steps: every bit of the result depends on every bit given."""
    bits = (bits ^ bits >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ bits >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return bits ^ bits >> np.uint64(31)


def _noise(keys: Bits, purpose: int, index: Ints) -> Floats:
    """A random number in [-1, 1) for each key and index."""
    salted = _mix(keys + np.array([[purpose + 1]], dtype=np.uint64) * _GOLDEN)
    bits = _mix(salted ^ index.astype(np.uint64) * _GOLDEN)
    noise: Floats = (bits >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1
    return noise


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _between_knots(keys: Bits, purpose: int, minutes: Ints, period: int) -> Floats:
    """Noise with a knot every `period` minutes and straight lines between."""
    if period == 1:
        return _noise(keys, purpose, minutes)
    knot: Ints
    since: Ints
    knot, since = np.divmod(minutes[0], period)
    first = int(knot[0])
    # Minutes ascend, so their knots are few: each is made once.
    knots = _noise(keys, purpose, np.arange(first, int(knot[-1]) + 2, dtype=np.int64)[np.newaxis])
    begin: Floats = knots[:, knot - first]
    way: Floats = knots[:, knot + 1 - first] - begin
    return begin + way * (since / period)
