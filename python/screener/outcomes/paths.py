"""Candles as sorted minutes, in which entries are found and holes are known."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from screener.errors import CandleError, DataError
from screener.outcomes.frames import as_polars, milliseconds, refuse_missing
from screener.quality import YEARS, utc

if TYPE_CHECKING:
    from screener.types import ArrowFrame

__all__ = ["Floats", "Ints", "Paths", "read_paths"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_MINUTE: Final = 60_000
_PRICES: Final = ("open", "high", "low", "close")
_REMEDY: Final = "read_klines gives the columns this needs"
# A key is a symbol's number times this, plus the minute since the epoch.
_SYMBOL: Final = 1 << 32
# Enough rows that the cost of a call on arrays is none, few enough for the memory of a notebook.
_SLAB: Final = 1 << 19


@dataclass(frozen=True, slots=True)
class Paths:
    """The minutes of all symbols, sorted by symbol and time, each once.

    Attributes:
        names: The symbols; the number of a symbol is its place in them.
        keys: Symbol and minute as one number, increasing.
        code: The number of each row's symbol.
        minute: Open time of each row, in minutes since the epoch.
        open: First prices.
        high: Highest prices.
        low: Lowest prices.
        close: Last prices.
        run_start: For each row the first row of its run: minutes of a symbol without a hole.
        run_end: For each row the end of its run.
    """

    names: pl.Series
    keys: Ints
    code: Ints
    minute: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    run_start: Ints
    run_end: Ints

    def slabs(self) -> Ints:
        """Rows to cut at, so that whole symbols lie together, about `_SLAB` rows of them."""
        edges = [0]
        starts = np.flatnonzero(np.diff(self.code, prepend=-1))
        for start, end in pairwise([*starts.tolist(), len(self.keys)]):
            if end - edges[-1] > _SLAB and start > edges[-1]:
                edges.append(start)
        return np.array([*edges, len(self.keys)])

    def codes(self, symbols: pl.Series) -> Ints:
        """The number of each symbol; -1 where it has no candles."""
        known = pl.DataFrame({"symbol": self.names, "code": range(self.names.len())})
        wanted = symbols.alias("symbol").to_frame()
        found = wanted.join(known, on="symbol", how="left", maintain_order="left")["code"]
        return found.cast(pl.Int64).fill_null(-1).to_numpy()

    def find(self, codes: Ints, minutes: Ints) -> Ints:
        """The row of each symbol's minute; -1 where there is none."""
        if not len(self.keys):
            return np.full(len(codes), -1)
        wanted = codes * _SYMBOL + minutes
        rows = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where((self.keys[rows] == wanted) & (codes >= 0), rows, -1)

    def returns(self, rows: Ints, horizon: int) -> Floats:
        """From the open of each row to the close that ends the horizon, %.

        NaN where the row is -1, or its run ends before the horizon does.
        """
        found = np.full(len(rows), np.nan)
        there = np.flatnonzero(rows >= 0)
        first = rows[there]
        whole = self.run_end[first] - first >= horizon
        there, first = there[whole], first[whole]
        found[there] = (self.close[first + horizon - 1] / self.open[first] - 1) * 100
        return found


def read_paths(candles: ArrowFrame) -> Paths:
    """Take candles out of a frame.

    Raises:
        CandleError: A row has no symbol, no time or no price that can be.
        DataError: A column is missing or of a wrong type, or a minute is told twice and
            differently.
    """
    given = as_polars(candles)
    refuse_missing(given, ("symbol", "open_time", *_PRICES), _REMEDY)
    for name in _PRICES:
        dtype = given[name].dtype
        if not dtype.is_numeric() and dtype != pl.Null:
            raise DataError(reason=f"holds {dtype}, not numbers", column=name, remedy=_REMEDY)
    symbols = given["symbol"].cast(pl.String)
    times = milliseconds(given, "open_time")
    prices = {name: given[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in _PRICES}
    _refuse_invalid(symbols, times, prices)
    names = symbols.unique().sort()
    codes = symbols.cast(pl.Enum(names)).to_physical().cast(pl.Int64).to_numpy()
    keys = codes * _SYMBOL + times.to_numpy() // _MINUTE
    kept = _kept(given, keys, prices)
    if kept is not None:
        keys = keys[kept]
        prices = {name: values[kept] for name, values in prices.items()}
    # Within a run each key is one more than the one before; between symbols none is.
    starts = np.flatnonzero(np.diff(keys, prepend=-2) != 1)
    lengths = np.diff(starts, append=len(keys))
    run_start, run_end = (np.repeat(edge, lengths) for edge in (starts, starts + lengths))
    return Paths(
        names=names,
        keys=keys,
        code=keys // _SYMBOL,
        minute=keys % _SYMBOL,
        run_start=run_start,
        run_end=run_end,
        **prices,
    )


def _refuse_invalid(symbols: pl.Series, times: pl.Series, prices: dict[str, Floats]) -> None:
    """Refuses the first row without a symbol, a whole minute or prices that can be."""
    time = times.fill_null(-1).to_numpy()
    wild = (time % _MINUTE != 0) | (time < YEARS[0]) | (time >= YEARS[1])
    checks = [
        ("value missing", "symbol", symbols.is_null().to_numpy()),
        ("no whole minute of the years 2009 to 2100", "open_time", wild),
    ]
    for name, values in prices.items():
        right = (values > 0) & (values < np.inf)
        checks.append(("price not above 0, or not finite", name, ~right))
    for name in ("open", "close"):
        outside = (prices[name] < prices["low"]) | (prices[name] > prices["high"])
        checks.append((f"{name} outside low to high", name, outside))
    firsts = [(int(bad.argmax()), at) for at, (_, _, bad) in enumerate(checks) if bad.any()]
    if not firsts:
        return
    row, at = min(firsts)
    reason, field, _ = checks[at]
    raise CandleError(
        reason=reason,
        row=row,
        symbol=symbols[row],
        open_time=times[row],
        field=field,
        value=float(prices[field][row]) if field in prices else None,
    )


def _kept(given: pl.DataFrame, keys: Ints, prices: dict[str, Floats]) -> Ints | None:
    """The rows to keep, sorted; None where they are all of them as they are.

    Left out are running minutes, and rows that say again what a row before says.
    """
    running = "closed" in given.columns and (given["closed"] == False).any()  # noqa: E712
    if not running and (np.diff(keys) > 0).all():
        return None
    rows: Ints = np.argsort(keys, kind="stable")
    if running:
        rows = rows[given["closed"].fill_null(value=True).to_numpy()[rows]]
    again = np.flatnonzero(np.diff(keys[rows]) == 0) + 1
    for values in prices.values():
        differs = values[rows[again]] != values[rows[again - 1]]
        if differs.any():
            row = int(rows[again[differs.argmax()]])
            time = utc(int(keys[row] % _SYMBOL) * _MINUTE)
            raise DataError(
                reason=f"{given['symbol'][row]} has another candle at {time} in a row before",
                row=row,
                remedy="keep one version of each minute; inspect_klines counts the others",
            )
    return np.delete(rows, again)
