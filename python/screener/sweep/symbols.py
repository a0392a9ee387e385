"""The candles of one symbol after the other, of a frame or of a scan that is not read yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from screener.types import ArrowFrame

__all__ = ["Parts", "parts_of"]


@dataclass(frozen=True, slots=True)
class Parts:
    """The candles by symbol.

    Attributes:
        symbols: Those with minutes that are judged, sorted.
        minutes: How many minutes are judged, of all symbols.
        most_rows: The rows of the symbol that has the most.
        of: The rows of a symbol, those that only warm up among them.
        judged: The rows that are judged, of all symbols, these columns of them.
    """

    symbols: list[str]
    minutes: int
    most_rows: int
    of: Callable[[str], pl.DataFrame]
    judged: Callable[[list[str]], pl.DataFrame]


def parts_of(candles: ArrowFrame | pl.LazyFrame, start: int | None, end: int | None) -> Parts:
    """The candles that open before `end` by symbol; those that open before `start` warm up.

    Raises:
        DataError: A column is missing or of a wrong type, or no minute is judged.
    """
    if isinstance(candles, pl.LazyFrame):
        rows = _before(candles, end)
        of = _collecting(rows)
    else:
        frame = candles if isinstance(candles, pl.DataFrame) else pl.DataFrame(candles)
        rows = _before(frame.lazy(), end)
        of = _cutting(frame if end is None else rows.collect())
    judged = rows if start is None else rows.filter(pl.col("open_time") >= start)
    counts = (
        rows.group_by("symbol")
        .agg(
            rows=pl.len(),
            minutes=pl.col("open_time")
            .filter(pl.lit(value=True) if start is None else pl.col("open_time") >= start)
            .n_unique(),
        )
        .filter(pl.col("minutes") > 0)
        .sort("symbol")
        .collect()
    )
    if counts["symbol"].null_count():
        raise DataError(reason="a value of the candles is missing", column="symbol")
    if counts.is_empty():
        raise DataError(
            reason="no minute of the candles is judged",
            remedy="give candles that open from start to end",
        )
    most = counts.select(pl.col("rows").max()).item()
    minutes = counts.select(pl.col("minutes").sum()).item()
    names = counts["symbol"].cast(pl.String).to_list()
    return Parts(names, minutes, most, of, lambda columns: judged.select(columns).collect())


def _before(rows: pl.LazyFrame, end: int | None) -> pl.LazyFrame:
    schema = rows.collect_schema()
    for name in ("symbol", "open_time"):
        if name not in schema:
            raise DataError(reason="candles have no such column", column=name)
    if not schema["open_time"].is_integer():
        raise DataError(
            reason=f"candles hold {schema['open_time']} there, not Int64", column="open_time",
            remedy='give ms since 1970: pl.col("open_time").dt.epoch("ms")',
        )  # fmt: skip
    return rows if end is None else rows.filter(pl.col("open_time") < end)


def _collecting(rows: pl.LazyFrame) -> Callable[[str], pl.DataFrame]:
    return lambda symbol: rows.filter(pl.col("symbol") == symbol).collect()


def _cutting(frame: pl.DataFrame) -> Callable[[str], pl.DataFrame]:
    """Slices where each symbol's rows stand together, copies elsewhere."""
    runs = frame["symbol"].rle().struct.unnest()
    if runs["value"].n_unique() < runs.height:
        parts = frame.partition_by("symbol", as_dict=True)
        return lambda symbol: parts[(symbol,)]
    ends = runs["len"].cum_sum()
    rows = zip(runs["value"], ends, runs["len"], strict=True)
    slices = {str(symbol): (int(end) - int(size), int(size)) for symbol, end, size in rows}
    return lambda symbol: frame.slice(*slices[symbol])
