"""Recorded candles as a market, so that the demo exchange plays them again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from screenerd.demo.contracts import COLUMNS, Contract, Floats
from screenerd.demo.market import Ints, candle_of, merge, running_candles
from screenerd.model import MINUTE_MS, Candle

if TYPE_CHECKING:
    import polars as pl

_MOST_DECIMALS = 10


@dataclass(frozen=True, slots=True)
class _Recording:
    """A symbol's candles in the units of its contract, NaN for minutes that are missing."""

    contract: Contract
    first: int
    rows: Floats

    def minutes(self, first: int, count: int) -> Floats:
        out = np.full((count, len(COLUMNS)), np.nan)
        begin, end = max(first, self.first), min(first + count, self.first + len(self.rows))
        if begin < end:
            out[begin - first : end - first] = self.rows[begin - self.first : end - self.first]
        return out


class RecordedMarket:
    """Candles of a frame in place of made-up ones; start the clock within them."""

    def __init__(self, recordings: tuple[_Recording, ...]) -> None:
        """Takes what `from_frame` has read."""
        self._recordings = recordings
        self._contracts = tuple(each.contract for each in recordings)
        self._cached = lru_cache(maxsize=4)(self._at)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> RecordedMarket:
        """Reads candles in the library's columns, in any order.

        Where `trades` is missing a minute with volume had a hundred; where the takers' part is
        missing it was half. Of two versions of a minute the later row counts.

        Args:
            frame: at least symbol, open_time, open, high, low, close, volume, quote_volume.

        Raises:
            ValueError: it has no rows, or lacks a column.
        """
        import polars as pl

        missing = [
            name for name in ("symbol", "open_time", *COLUMNS[:6]) if name not in frame.columns
        ]
        if missing or frame.is_empty():
            raise ValueError(
                f"no candles to play again: {frame.height} rows, missing columns {missing}"
            )
        guesses = {
            "trades": pl.when(pl.col("volume") > 0).then(100).otherwise(0),
            "taker_buy_volume": pl.col("volume") / 2,
            "taker_buy_quote_volume": pl.col("quote_volume") / 2,
        }
        frame = frame.with_columns(
            (pl.col(name).fill_null(guess) if name in frame.columns else guess.alias(name))
            for name, guess in guesses.items()
        )
        frame = frame.unique(["symbol", "open_time"], keep="last").sort("symbol", "open_time")
        parts = frame.partition_by("symbol", maintain_order=True)
        return cls(tuple(_record(part) for part in parts))

    @property
    def contracts(self) -> tuple[Contract, ...]:
        """The contracts; their place is their index everywhere else."""
        return self._contracts

    @property
    def first_minute(self) -> int:
        """The oldest minute there is."""
        return min(each.first for each in self._recordings)

    @property
    def last_minute(self) -> int:
        """The newest minute there is."""
        return max(each.first + len(each.rows) for each in self._recordings) - 1

    def minute(self, symbol: int, minute: int) -> Candle | None:
        """The final candle of a minute; `None` where it was not recorded."""
        row = self._recordings[symbol].minutes(minute, 1)[0]
        return candle_of(self._contracts[symbol], minute, row, closed=True)

    def partial(self, symbol: int, minute: int, fraction: float) -> Candle | None:
        """The running candle after a fraction of the minute; at 1 its values are the final ones."""
        row = self.running(minute, fraction)[symbol]
        return candle_of(self._contracts[symbol], minute, row, closed=fraction >= 1)

    def at(self, minute: int) -> Floats:
        """The final candles of a minute, a row a symbol."""
        return self._cached(minute).copy()

    def running(self, minute: int, fraction: float) -> Floats:
        """The candles of a minute after a fraction of it, a row a symbol; at 1 the final ones."""
        luck = np.arange(len(self._recordings), dtype=np.uint64) * np.uint64(0x9E3779B9)
        luck += np.full_like(luck, minute * 0x85EBCA6B)
        return running_candles(self._cached(minute), min(max(fraction, 0.0), 1.0), luck)

    def bars(self, symbol: int, length: int, first: int, count: int) -> Floats:
        """Whole bars of `length` minutes, of those minutes that were recorded."""
        minutes = self._recordings[symbol].minutes(first * length, count * length)
        if length == 1:
            return minutes
        blocks = minutes.reshape(count, length, len(COLUMNS))
        return np.concatenate([np.empty((0, len(COLUMNS))), *(merge(block) for block in blocks)])

    def _at(self, minute: int) -> Floats:
        return np.concatenate([each.minutes(minute, 1) for each in self._recordings])


def _record(part: pl.DataFrame) -> _Recording:
    values = part.select(COLUMNS).to_numpy().astype(np.float64)
    times: Ints = part["open_time"].to_numpy().astype(np.int64) // MINUTE_MS
    contract = Contract(
        symbol=part["symbol"][0],
        price_decimals=_decimals(values[:, 0:4]),
        lot_decimals=_decimals(values[:, [4, 7]]),
        quote_decimals=_decimals(values[:, [5, 8]]),
    )
    first = int(times[0])
    rows = np.full((int(times[-1]) - first + 1, len(COLUMNS)), np.nan)
    rows[times - first] = np.rint(values * contract.scales)
    return _Recording(contract, first, rows)


def _decimals(values: Floats) -> int:
    """The least decimals that give every value back."""
    for decimals in range(_MOST_DECIMALS):
        scale = 10.0**decimals
        if np.array_equal(np.rint(values * scale) / scale, values):
            return decimals
    return _MOST_DECIMALS
