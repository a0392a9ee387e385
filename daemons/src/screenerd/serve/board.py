"""The newest of everything, as those who ask get it: from memory, encoded once."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson
import polars as pl

from screenerd import outside
from screenerd.model import Candle, Metrics

SPARKLINE_MINUTES = 60
LATENCIES = 1_000
MOST_FRESH = 8_000
"""Rows that wait until somebody asks; more of them become one a symbol."""


@dataclass(slots=True)
class _Closes:
    """The newest closes of a symbol, oldest first, and when the newest minute opened, ms."""

    newest: int = 0
    closes: array[float] = field(default_factory=lambda: array("d"))


class Board:
    """Newest metrics and closes of every symbol, and how late alerts were."""

    def __init__(self) -> None:
        """Starts empty."""
        self._rows: pl.DataFrame | None = None
        self._fresh: list[pl.DataFrame] = []
        self._told: dict[str, bytes] = {}
        self._encoding = asyncio.Lock()
        self._closes: dict[str, _Closes] = {}
        self._lines: dict[str, bytes] = {}
        self._latencies: deque[float] = deque(maxlen=LATENCIES)

    def take_metrics(self, message: Metrics) -> None:
        """Metrics of symbols that have just closed; encoded when somebody asks."""
        self._fresh.append(message.frame)
        if sum(frame.height for frame in self._fresh) > MOST_FRESH:
            self._fresh = [_newest(self._fresh)]

    def take_candles(self, candles: Iterable[Candle]) -> None:
        """Closed candles, in any order."""
        for candle in candles:
            self._take_close(candle.symbol, candle.open_time, candle.close)

    def take_history(self, frame: pl.DataFrame) -> None:
        """Candles of the last hour, as the store gives them."""
        for symbol, at, close in frame.select("symbol", "open_time", "close").iter_rows():
            self._take_close(symbol, at, close)

    def take_latency(self, real_ms: float) -> None:
        """An alert took so long from its frame's receipt, in ms of the machine."""
        self._latencies.append(real_ms)

    def forget(self, symbols: Iterable[str]) -> None:
        """Symbols that have left."""
        gone = set(symbols)
        for symbol in gone:
            self._told.pop(symbol, None)
            self._closes.pop(symbol, None)
            self._lines.pop(symbol, None)
        self._fresh = [frame.filter(~pl.col("symbol").is_in(gone)) for frame in self._fresh]
        if self._rows is not None:
            self._rows = self._rows.filter(~pl.col("symbol").is_in(gone))

    async def fresh_metrics(self) -> Mapping[str, bytes]:
        """Encodes what has come since the last time, beside the loop; gives just that."""
        async with self._encoding:
            if not self._fresh:
                return {}
            fresh, self._fresh = _newest(self._fresh), []
            told = await asyncio.to_thread(outside.metrics, fresh)
            self._told |= told
            self._rows = fresh if self._rows is None else _newest([self._rows, fresh])
            return told

    async def metrics(self) -> Mapping[str, bytes]:
        """The metrics of every symbol as JSON, by symbol."""
        await self.fresh_metrics()
        return self._told

    async def rows(self, symbol: str | None = None) -> pl.DataFrame | None:
        """The metrics of a symbol, or of every one, as a frame; `None` before there are any."""
        await self.fresh_metrics()
        if self._rows is None or symbol is None:
            return self._rows
        return self._rows.filter(pl.col("symbol") == symbol)

    def sparklines(self) -> bytes:
        """The newest closes of every symbol, oldest first, as a JSON object."""
        for symbol, its in self._closes.items():
            if symbol not in self._lines:
                line = orjson.dumps(its.closes.tolist())
                self._lines[symbol] = b"%b:%b" % (orjson.dumps(symbol), line)
        return b"{%b}" % b",".join(self._lines.values())

    def latency(self, share: float) -> float | None:
        """The time below which such a share of the newest alerts lies, ms."""
        ordered = sorted(self._latencies)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None

    def _take_close(self, symbol: str, at: int, close: float) -> None:
        its = self._closes.get(symbol)
        if its is None:
            its = self._closes[symbol] = _Closes()
        if at > its.newest:
            its.newest = at
            its.closes.append(close)
            del its.closes[:-SPARKLINE_MINUTES]
            self._lines.pop(symbol, None)


def _newest(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """One row a symbol, from the last frame that has it."""
    together = pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
    return together.unique("symbol", keep="last", maintain_order=True).sort("symbol")
