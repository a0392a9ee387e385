"""A table of cells to candles: symbols, types, times in ms, the quote volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screener.klines.table import REQUIRED, Table, excerpt

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

__all__ = ["TYPICAL", "to_candles"]

TYPICAL = "typical"
_MINUTE = 60_000
# Fewer steps may be those of a market in which hardly anybody trades.
_ENOUGH_STEPS = 10
_LEAST_OTHER = 3 * _MINUTE


def to_candles(table: Table, symbol: str | None, *, fill: bool) -> pl.DataFrame:
    """The rows as candles; `symbol` names those that name none, `fill` a missing quote volume."""
    import polars as pl

    if table.cells.is_empty():
        raise table.origin.error("the file holds no candle", remedy="leave it out")
    named = table.origin.symbol()
    columns = {"symbol": _symbols(table, symbol or named)}
    for name, (convert, meaning) in _converters().items():
        if name in table.cells.columns:
            columns[name] = _converted(table, name, convert, meaning)
    _refuse_other_interval(table, columns)
    candles = pl.DataFrame(columns)
    _refuse_missing(table, candles)
    return _with_quote_volume(table, candles, fill=fill)


def _converters() -> dict[str, tuple[Callable[[pl.Series], pl.Series | None], str]]:
    """For each column how its cells are read, and what they have to be."""
    number = (_floats, "a number")
    time = (_times, "a time: a whole number of ms since 1970, UTC")
    return {
        "open_time": time,
        **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), number),
        "trades": (_whole, "a whole number"),
        "taker_buy_volume": number,
        "taker_buy_quote_volume": number,
        "closed": (_flags, "true or false"),
        "event_time": time,
        "source": (_texts, "a text"),
    }


def _converted(
    table: Table, name: str, convert: Callable[[pl.Series], pl.Series | None], meaning: str
) -> pl.Series:
    """The column with its type, or an error at the first cell that is lost in the reading."""
    cells = _stripped(table.cells[name])
    column = convert(cells)
    if column is None:
        raise table.origin.error(
            f"holds {cells.dtype}, not {meaning}", column=name, remedy="convert the column"
        )
    if column.null_count() > cells.null_count():
        row = (column.is_null() & cells.is_not_null()).arg_true()[0]
        raise table.error(
            f"{excerpt(str(cells[row]))!r} is not {meaning}",
            column=name,
            row=row,
            remedy="correct the cell or fetch the file again",
        )
    return column


def _stripped(cells: pl.Series) -> pl.Series:
    """Texts without blanks around, null where nothing is left."""
    import polars as pl

    if isinstance(cells.dtype, pl.Categorical | pl.Enum):
        cells = cells.cast(pl.String)
    if cells.dtype != pl.String:
        return cells
    stripped = cells.str.strip_chars()
    return stripped.set(stripped == "", None)


def _is_number_type(cells: pl.Series) -> bool:
    import polars as pl

    return cells.dtype.is_numeric() or cells.dtype in (pl.String, pl.Null)


def _floats(cells: pl.Series) -> pl.Series | None:
    import polars as pl

    return cells.cast(pl.Float64, strict=False) if _is_number_type(cells) else None


def _whole(cells: pl.Series) -> pl.Series | None:
    """Whole numbers, also those that another tool wrote as `1000.0`."""
    import polars as pl

    if not _is_number_type(cells):
        return None
    if cells.dtype.is_integer() or cells.dtype == pl.Null:
        return cells.cast(pl.Int64, strict=False)
    value = pl.col("cell").cast(pl.Float64, strict=False)
    is_whole = (value == value.floor()) & (value.abs() < 2.0**63)
    exact = pl.col("cell").cast(pl.Int64, strict=False)
    # A text such as 1e3 is no integer to the cast, but a float that is one.
    reading = pl.when(is_whole).then(pl.coalesce(exact, value.cast(pl.Int64, strict=False)))
    return cells.to_frame("cell").select(reading.alias("cell")).to_series()


def _times(cells: pl.Series) -> pl.Series | None:
    """Milliseconds; the unit of a stamp shows in its size (2009 to 2100 never overlap)."""
    import polars as pl

    if isinstance(cells.dtype, pl.Datetime):
        return cells.dt.epoch("ms")
    stamps = _whole(cells)
    if stamps is None:
        return None
    stamp = pl.col("stamp")
    milliseconds = (
        pl.when(stamp >= 10**18)
        .then(stamp // 1_000_000)
        .when(stamp >= 10**15)
        .then(stamp // 1_000)
        .when(stamp.is_between(10**9, 10**10))
        .then(stamp * 1_000)
        .otherwise(stamp)
    )
    return stamps.to_frame("stamp").select(milliseconds).to_series()


def _flags(cells: pl.Series) -> pl.Series | None:
    import polars as pl

    if cells.dtype == pl.String:
        words = {"true": True, "1": True, "false": False, "0": False}
        return cells.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    is_flag = cells.dtype == pl.Boolean or cells.dtype.is_integer() or cells.dtype == pl.Null
    return cells.cast(pl.Boolean) if is_flag else None


def _texts(cells: pl.Series) -> pl.Series | None:
    import polars as pl

    return cells.cast(pl.String) if cells.dtype in (pl.String, pl.Null) else None


def _symbols(table: Table, fallback: str | None) -> pl.Series:
    import polars as pl

    if "symbol" in table.cells.columns:
        symbols = _converted(table, "symbol", _texts, "a text")
    else:
        symbols = pl.repeat(None, table.cells.height, dtype=pl.String, eager=True)
    if symbols.null_count() and fallback is None:
        raise table.origin.error(
            "the symbol is not known",
            column="symbol",
            remedy='pass symbol="BTCUSDT", or name the file as the archive does: '
            "BTCUSDT-1m-2025-02.zip",
        )
    return symbols.fill_null(fallback) if symbols.null_count() else symbols


def _refuse_other_interval(table: Table, columns: dict[str, pl.Series]) -> None:
    """Candles of another interval look like one-minute candles with holes, so the end tells."""
    if "close_time" not in table.cells.columns:
        _refuse_other_steps(table, columns)
        return
    ends = _times(_stripped(table.cells["close_time"]))
    if ends is None:
        return
    length = (ends - columns["open_time"]).median()
    # Ends are given as the last second or ms of the minute, or as the start of the next.
    if isinstance(length, float) and not _MINUTE - 1_000 <= length <= _MINUTE:
        raise table.origin.error(
            f"the candles last {length / _MINUTE:.4g} minutes (close_time - open_time)",
            column="close_time",
            remedy="read candles of interval 1m: longer windows are made from them",
        )


def _refuse_other_steps(table: Table, columns: dict[str, pl.Series]) -> None:
    """Without an end the distance of the rows tells: all of them whole steps of several minutes."""
    steps = columns["open_time"].diff().drop_nulls()
    if len(steps) < _ENOUGH_STEPS or "symbol" in table.cells.columns:
        return
    shortest = steps.min()
    if isinstance(shortest, int) and shortest >= _LEAST_OTHER and (steps % shortest == 0).all():
        raise table.origin.error(
            f"the candles are {shortest / _MINUTE:.4g} minutes apart",
            column="open_time",
            remedy="read candles of interval 1m: longer windows are made from them",
        )


def _refuse_missing(table: Table, candles: pl.DataFrame) -> None:
    for name in REQUIRED:
        if candles[name].null_count():
            raise table.error(
                "the value is missing",
                column=name,
                row=candles[name].is_null().arg_true()[0],
                remedy="correct the row or leave it out",
            )


def _with_quote_volume(table: Table, candles: pl.DataFrame, *, fill: bool) -> pl.DataFrame:
    import polars as pl

    remedy = (
        f'pass quote_volume="{TYPICAL}" to fill it with volume * (high + low + close) / 3, '
        "or read a source that has it"
    )
    if "quote_volume" not in candles.columns:
        if not fill:
            raise table.origin.error("no such column", column="quote_volume", remedy=remedy)
        candles = candles.with_columns(quote_volume=pl.lit(None, dtype=pl.Float64))
    missing = candles["quote_volume"].is_null()
    if missing.any() and not fill:
        row = missing.arg_true()[0]
        raise table.error("the value is missing", column="quote_volume", row=row, remedy=remedy)
    # Divided by a column: by a scalar polars multiplies with the rounded 1/3, which differs from
    # the formula in the last bit.
    threes = pl.repeat(3.0, candles.height, eager=True)
    typical = candles["volume"] * (candles["high"] + candles["low"] + candles["close"]) / threes
    return candles.with_columns(pl.col("quote_volume").fill_null(typical))
