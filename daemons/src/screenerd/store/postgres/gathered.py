"""Many rows at once: a symbol's come as one, a list of numbers a column, and become a frame.

A day of five hundred symbols is 720,000 rows; made into objects one by one, they take many times as
long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from screener.history.precedence import RANKS
from screenerd.store.rows import OPTIONAL_VALUES, Row

_SOURCES: Final = tuple(RANKS)
_SOURCE: Final = "CASE source {} END".format(
    " ".join(f"WHEN '{name}' THEN {number}" for number, name in enumerate(_SOURCES))
)
_UNKNOWN: Final = "NaN"
"""What stands for a value that a source does not know; none is stored as such."""


def gather(table: str, columns: Mapping[str, object], where: str) -> str:
    """The statement that gives a row a symbol: it, and a list of each further column.

    Args:
        table: what is read.
        columns: those of the frame to be, from the symbol and the time on.
        where: which rows.
    """
    _, _, *values = columns
    lists = ", ".join(f"array_agg({_number(name)})" for name in ("time", *values))
    return f"SELECT symbol, {lists} FROM {table} WHERE {where} GROUP BY symbol"  # noqa: S608


def frame(rows: Sequence[Row], columns: Mapping[str, Any], order: Sequence[str]) -> pl.DataFrame:
    """What such a statement has given, by symbol in this order and by time.

    Args:
        rows: its rows, in whatever order.
        columns: those it was made of, with their types.
        order: all the symbols there may be.
    """
    if not rows:
        return pl.DataFrame(schema=columns)
    place = {symbol: number for number, symbol in enumerate(order)}
    names, *lists = zip(*sorted(rows, key=lambda row: place[row[0]]), strict=True)
    symbols = np.repeat(np.arange(len(names)), [len(times) for times in lists[0]])
    _, time, *values = columns
    found = [np.concatenate(one) for one in lists]
    times = found[0]
    if np.any((times[1:] <= times[:-1]) & (symbols[1:] == symbols[:-1])):
        in_order = np.lexsort((times, symbols))
        found = [one[in_order] for one in found]
    series = [pl.Series(names, dtype=pl.String).gather(symbols)]
    series += [_series(name, one) for name, one in zip((time, *values), found, strict=True)]
    return pl.DataFrame(series, schema=columns)


def _number(column: str) -> str:
    if column == "source":
        return _SOURCE
    if column in OPTIONAL_VALUES:
        return f"coalesce({column}::float8, '{_UNKNOWN}')"
    return column


def _series(column: str, values: npt.NDArray[Any]) -> pl.Series:
    if column == "source":
        return pl.Series(_SOURCES, dtype=pl.String).gather(values)
    return pl.Series(values, nan_to_null=column in OPTIONAL_VALUES)
