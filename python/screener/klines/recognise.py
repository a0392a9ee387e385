"""What files are taken for, before anything is done with them: format, columns, units, doubts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from screener.klines.candles import TYPICAL, to_candles
from screener.klines.parse import parse
from screener.klines.unpack import FilePath, expand, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import polars as pl

    from screener.klines.table import Table

__all__ = ["FileFacts", "recognise_klines"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = 60_000
_UNKNOWN = "trades", "taker_buy_volume", "taker_buy_quote_volume"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file, or a member of a zip, is taken for.

    Attributes:
        path: The file.
        member: The member of a zip, or None.
        format: What it is, in words.
        rows: How many candles.
        columns: Our columns, each with the name the file has for it.
        ignored: The file's columns that are left out.
        unit: What times are in: s, ms, µs, ns, datetime, or several.
        symbols: The symbols, up to five.
        first: The first open time, ms.
        last: The last, ms.
        doubts: What had to be assumed, and what is not known, a sentence each.
    """

    path: str
    member: str | None
    format: str
    rows: int
    columns: dict[str, str]
    ignored: tuple[str, ...]
    unit: str
    symbols: tuple[str, ...]
    first: int
    last: int
    doubts: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON knows it."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "ignored": list(self.ignored),
            "symbols": list(self.symbols),
            "doubts": list(self.doubts),
        }

    def __str__(self) -> str:
        """A line on what it is, then a line a doubt."""
        first, last = (f"{_EPOCH + timedelta(milliseconds=at):%Y-%m-%d %H:%M}" for at in
                       (self.first, self.last))  # fmt: skip
        where = self.path if self.member is None else f"{self.path} ({self.member})"
        what = f"{self.format}, {', '.join(self.symbols)}, {self.rows:,} rows, {first} to {last}"
        return "\n".join(
            [f"{where}: {what}, times in {self.unit}", *map("  {}".format, self.doubts)]
        )


def recognise_klines(
    paths: FilePath | Iterable[FilePath], *, symbol: str | None = None
) -> tuple[FileFacts, ...]:
    """Tell what files are taken for by `read_klines`, and what about them is doubtful.

    Args:
        paths: As for `read_klines`.
        symbol: Symbol of the rows that name none, as for `read_klines`.

    Raises:
        DataError: A file cannot be read, as for `read_klines`; a missing quote volume is a doubt
            here, and no error.

    Example:
        >>> from screener.klines import recognise_klines
        >>> for facts in recognise_klines("BTC_USDT_USDT-1m-futures.feather"):  # doctest: +SKIP
        ...     print(facts)
    """
    tables = (parse(origin, data) for path in expand(paths) for origin, data in unpack(path))
    return tuple(_facts(table, symbol) for table in tables)


def _facts(table: Table, symbol: str | None) -> FileFacts:
    candles = to_candles(table, symbol, fill=True)
    columns, ignored = table.theirs
    times = candles["open_time"]
    return FileFacts(
        path=table.origin.path,
        member=table.origin.member,
        format=_format(table),
        rows=candles.height,
        columns=columns,
        ignored=ignored,
        unit=_unit(table.cells["open_time"]),
        symbols=tuple(candles["symbol"].unique(maintain_order=True).head(5).to_list()),
        first=cast("int", times.min()),
        last=cast("int", times.max()),
        doubts=tuple(_doubts(table, candles, symbol)),
    )


def _format(table: Table) -> str:
    if table.origin.pair() is not None:
        return f"{table.kind} as freqtrade writes it"
    names = {"JSON rows of 6": "JSON rows as ccxt gives them",
             "JSON rows of 12": "JSON rows as the klines route gives them"}  # fmt: skip
    return names.get(table.kind, table.kind)


def _is_unknown(table: Table, name: str) -> bool:
    """Whether some rows have no such value."""
    return name not in table.cells.columns or bool(table.cells[name].null_count())


def _unit(cells: pl.Series) -> str:
    """What the stamps are in, by their type or their size."""
    import polars as pl

    if isinstance(cells.dtype, pl.Datetime):
        return "datetime" if cells.dtype.time_zone else "datetime without a zone"
    digits = cells.cast(pl.String).str.split(".").list.first().str.len_chars()
    units = {10: "s", 13: "ms", 16: "µs", 19: "ns"}
    found = [units.get(count, "ms") for count in digits.unique().drop_nulls().to_list()]
    return " and ".join(sorted(set(found)))


def _doubts(table: Table, candles: pl.DataFrame, symbol: str | None) -> Iterator[str]:
    import polars as pl

    pair = table.origin.pair()
    if pair is not None and symbol is None and "symbol" not in table.cells.columns:
        yield f"the symbol {''.join(pair)} was made of the pair {'/'.join(pair)} in the file's name"
    if table.kind == "JSON rows of 6":
        yield "six items without names are taken for time, open, high, low, close, volume"
    if pair is not None or table.kind == "JSON rows of 6":
        yield "the volume is taken for the base asset's: of some exchanges it counts contracts"
    if _is_unknown(table, "quote_volume"):
        yield f'there is no quote volume: quote_volume="{TYPICAL}" makes it of volume and prices'
    unknown = [name for name in _UNKNOWN if _is_unknown(table, name)]
    if unknown:
        yield f"unknown to every metric that needs it: {', '.join(unknown)}"
    unit = _unit(table.cells["open_time"])
    if unit == "datetime without a zone":
        yield "times without a zone are taken for UTC"
    if " and " in unit:
        yield f"times are in {unit}, told apart by their size"
    shifted = candles.select((pl.col("open_time") % _MINUTE != 0).sum()).item()
    if shifted:
        yield f"{shifted:,} times are no whole minute: they may be those of something else"
