"""A small made-up market in which every one of the ten `futures` rules fires.

For a first look without a network, and for tests: calm random walks with a common factor and the
daily tide of volume, into which moves are planted on the last day. All arithmetic is on integers
(prices in ticks, volumes in lots, returns in ppm), so that a seed gives the same candles on every
platform; floats appear in the last division only, which IEEE 754 rounds in one way.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

__all__ = ["demo_market"]

_MINUTE = 60_000
_DAY = 1440
_PPM = 1_000_000
_START = datetime(2026, 1, 5, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Prices move in parts of a tick, or every small return would be rounded away.
_SUBTICKS = 1 << 20

# Percent of the usual volume at each full hour, UTC: quiet nights, busy when New York opens.
_TIDE = (
    *(95, 90, 85, 80, 75, 72, 75, 85, 95, 100, 100, 102),
    *(110, 125, 130, 130, 125, 115, 108, 104, 102, 100, 100, 98),
)

_COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)


@dataclass(frozen=True, slots=True)
class _Leg:
    """Part of a move: how long, how far (0.01 %), with how much of the usual volume (%)."""

    minutes: int
    basis_points: int
    volume: int


@dataclass(frozen=True, slots=True)
class _Move:
    """Legs one after the other; `start` counts minutes from the beginning of the last day."""

    start: int
    legs: tuple[_Leg, ...]

    def mirrored(self, start: int) -> _Move:
        """The same move the other way."""
        legs = (_Leg(leg.minutes, -leg.basis_points, leg.volume) for leg in self.legs)
        return _Move(start, tuple(legs))


# Each move is far clearer than its rules ask and than the noise is (0.02 % a minute).
_GRIND = _Move(-360, (_Leg(480, 450, 120), _Leg(300, 280, 150), _Leg(60, 260, 600)))
_PUMP = _Move(780, (_Leg(5, 260, 1500), _Leg(20, -50, 400), _Leg(120, -80, 150)))
_SURGE = _Move(
    240, (_Leg(300, 200, 110), _Leg(45, 130, 150), _Leg(10, 130, 400), _Leg(5, 130, 900))
)
_HOOK = _Move(
    1140, (_Leg(20, -80, 150), _Leg(10, -300, 200), _Leg(4, 120, 1200), _Leg(60, 60, 150))
)
_CALM = _Move(0, ())


@dataclass(frozen=True, slots=True)
class _Contract:
    """A made-up perpetual: ticks of `10**-decimals` USDT, lots of `10**-lot_decimals`."""

    base: str
    ticks: int
    decimals: int
    lot_decimals: int
    usdt_per_minute: int
    move: _Move = _CALM


_CONTRACTS = (
    _Contract("NARWHAL", 642_105, 1, 3, 180_000, _GRIND),
    _Contract("TURNIP", 31_846, 2, 2, 90_000, _GRIND.mirrored(-120)),
    _Contract("1000CRUMB", 21_737, 6, 0, 40_000, _PUMP),
    _Contract("OSTRICH", 46_190, 4, 1, 35_000, _PUMP.mirrored(900)),
    _Contract("TEACUP", 88_412, 5, 0, 50_000, _SURGE),
    _Contract("月饼", 13_579, 5, 0, 45_000, _SURGE.mirrored(660)),
    _Contract("BISCUIT", 27_182, 3, 1, 60_000, _HOOK),
    _Contract("MARMOT", 57_721, 4, 0, 30_000, _HOOK.mirrored(1260)),
    _Contract("LANTERN", 16_180, 2, 2, 70_000),
    _Contract("TADPOLE", 69_314, 6, 0, 30_000),
    _Contract("UMBRELLA", 14_142, 3, 1, 40_000),
    _Contract("GIRAFFE", 23_606, 4, 0, 35_000),
)


def demo_market(
    symbols: int = 12, days: int = 2, seed: int = 7, start: datetime | int = _START
) -> pl.DataFrame:
    """Make a market of one-minute candles in which every rule of `futures` fires.

    The last day of the first eight symbols holds a slow grind, a pump, an accelerating surge and
    a hook, each once upwards and once downwards; with `days >= 2` and `symbols >= 8` each of the
    ten rules fires at least once, floors on. All other symbols are calm and fire none. The
    candles of a symbol do not depend on how many symbols there are.

    Args:
        symbols: How many, at least 1.
        days: How many days of 1440 minutes, at least 1.
        seed: Another seed is another market; the same one is the same on every platform.
        start: Open time of the first minute: a datetime (a naive one is UTC) or ms since 1970.

    Returns:
        All columns of SPEC section 1 from `symbol` to `taker_buy_quote_volume`, in the order of
        time as a live market sends them.

    Raises:
        DataError: A count is below 1 or the start is no whole minute.

    Example:
        >>> from screener.demo import demo_market
        >>> demo_market(symbols=3, days=1).shape
        (4320, 11)
    """
    import polars as pl

    if symbols < 1 or days < 1:
        raise DataError(
            reason=f"symbols={symbols} and days={days} make no market",
            remedy="both are at least 1",
        )
    minutes = days * _DAY
    times = range(first := _first_minute(start), first + minutes * _MINUTE, _MINUTE)
    market = _noises(f"{seed}:market", minutes)
    frames = []
    for number in range(symbols):
        symbol, contract = _contract(number)
        rows = _candles(contract, times, market, _rng(f"{seed}:{symbol}"))
        columns = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True))
        frames.append(pl.DataFrame({"symbol": [symbol] * minutes, **columns}))
    return pl.concat(frames).sort("open_time", maintain_order=True)


def _first_minute(start: datetime | int) -> int:
    if isinstance(start, datetime):
        moment = start if start.tzinfo else start.replace(tzinfo=UTC)
        start = (moment - _EPOCH) // timedelta(milliseconds=1)
    if start % _MINUTE:
        raise DataError(reason=f"start={start} is no whole minute", remedy="round it down")
    return start


def _contract(number: int) -> tuple[str, _Contract]:
    """The symbol and its contract; beyond the list come calm ones under numbered names."""
    generation, index = divmod(number, len(_CONTRACTS))
    contract = _CONTRACTS[index]
    if generation == 0:
        return f"{contract.base}USDT", contract
    return f"{contract.base}{generation + 1}USDT", replace(contract, move=_CALM)


def _noise(bits: int) -> int:
    """Almost normal from 32 random bits: within 510 of 0, standard deviation 148."""
    return sum(bits.to_bytes(4, "little")) - 510


def _rng(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a market is no secret


def _noises(seed: str, count: int) -> list[int]:
    rng = _rng(seed)
    return [_noise(rng.getrandbits(32)) for _ in range(count)]


def _planned(move: _Move, minutes: int) -> list[tuple[int, int]]:
    """For each minute the planted return (ppm) and the volume (%)."""
    plan = [(0, 100)] * minutes
    minute = minutes - _DAY + move.start
    for leg in move.legs:
        way = leg.basis_points * 100
        for step in range(leg.minutes):
            # Differences of a running total: the leg goes exactly its way.
            stride = way * (step + 1) // leg.minutes - way * step // leg.minutes
            if minute >= 0:
                plan[minute] = (stride, leg.volume)
            minute += 1
    return plan


def _tide(time: int) -> int:
    """Percent of the usual volume at a time of day."""
    hour, minute = divmod(time // _MINUTE % _DAY, 60)
    return (_TIDE[hour] * (60 - minute) + _TIDE[(hour + 1) % 24] * minute) // 60


def _candles(
    contract: _Contract, times: range, market: list[int], rng: random.Random
) -> Iterator[tuple[float, ...]]:
    """The rows of a symbol from `open_time` on."""
    price = contract.ticks * _SUBTICKS
    plan = _planned(contract.move, len(times))
    for time, common, (drift, volume) in zip(times, market, plan, strict=True):
        luck = rng.getrandbits(64)
        change = drift + common * 3 // 4 + _noise(luck & 0xFFFF_FFFF)
        before, price = price, price * (_PPM + change) // _PPM
        usdt = contract.usdt_per_minute * _tide(time) * volume // 10_000
        ends = (before // _SUBTICKS, price // _SUBTICKS)
        yield (time, *_prices_and_volumes(contract, ends, usdt, change, luck >> 32))


def _prices_and_volumes(
    contract: _Contract, ends: tuple[int, int], usdt: int, change: int, luck: int
) -> tuple[float, ...]:
    """The columns after `open_time`, from the first and last tick of the minute."""
    upper_wick, lower_wick, size, side = luck.to_bytes(4, "little")
    high = max(ends) * (2 * _PPM + upper_wick) // (2 * _PPM)
    low = min(ends) * (2 * _PPM - lower_wick) // (2 * _PPM)
    mean = (sum(ends) + high + low) // 4
    tick, lot = 10**contract.decimals, 10**contract.lot_decimals
    lots = max(1, usdt * (40 + size * 120 // 255) * tick * lot // (100 * mean))
    # Who pushes the price is the taker: 136 to 863 of 1000.
    share = 500 + max(-300, min(300, change // 4)) + side // 2 - 64
    taker_lots = lots * share // 1000
    return (
        ends[0] / tick,
        high / tick,
        low / tick,
        ends[1] / tick,
        lots / lot,
        lots * mean / (tick * lot),
        1 + usdt // 400,
        taker_lots / lot,
        taker_lots * mean / (tick * lot),
    )
