"""Bytes to a table of cells: CSV, JSON, parquet and Arrow, told apart by their content."""

from __future__ import annotations

import io
import json
import math
import re
from typing import TYPE_CHECKING

from screener.klines.table import (
    ARCHIVE_COLUMNS,
    OHLCV_COLUMNS,
    Origin,
    Table,
    excerpt,
    named,
    select,
    snake_case,
)
from screener.klines.unpack import GZIP, ZIP

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

__all__ = ["parse"]

_PARQUET = b"PAR1"
_ARROW_FILE = b"ARROW1"
_ARROW_STREAM = b"\xff\xff\xff\xff"
_UNSUPPORTED = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
    b"FEA1": "Feather version 1",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    **dict.fromkeys((GZIP, *ZIP), "compressed (twice)"),
}

_BLANKS = re.compile(r"\s*")
_READ_FORMATS = "known are CSV, JSON, parquet and Arrow, the first two also as zip and gz"
_LOOK = 80


def parse(origin: Origin, data: bytes) -> Table:
    """The cells of a file under our names, still of the types they have in it."""
    if data.startswith(_PARQUET):
        return _columnar(origin, data, "parquet")
    if data.startswith(_ARROW_FILE):
        return _columnar(origin, data, "Arrow")
    if data.startswith(_ARROW_STREAM):
        return _columnar(origin, data, "Arrow stream")
    for magic, name in _UNSUPPORTED.items():
        if data.startswith(magic):
            raise origin.error(
                f"the file is {name}, which is not read",
                remedy=f"unpack or convert it: {_READ_FORMATS}",
            )
    return _text_table(origin, data)


def _columnar(origin: Origin, data: bytes, kind: str) -> Table:
    import polars as pl
    from polars.exceptions import PanicException, PolarsError

    readers: dict[str, Callable[[io.BytesIO], pl.DataFrame]] = {
        "parquet": pl.read_parquet,
        "Arrow": pl.read_ipc,
        "Arrow stream": pl.read_ipc_stream,
    }
    try:
        frame = readers[kind](io.BytesIO(data))
    # The panic is no Exception, yet a damaged file is all it takes to cause it.
    except (PolarsError, PanicException, OSError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        raise origin.error(f"the {kind} file cannot be read: {first_line}") from error
    return _table(origin, frame, frame.columns, kind)


def _table(
    origin: Origin,
    cells: pl.DataFrame,
    names: list[str],
    kind: str,
    lines: pl.Series | None = None,
) -> Table:
    return Table(origin, select(origin, cells, names), lines, kind, named(origin, names))


def _text_table(origin: Origin, data: bytes) -> Table:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise origin.error(
            f"neither a known binary format nor text in UTF-8 (byte {error.start})",
            remedy=_READ_FORMATS,
        ) from error
    start = text.lstrip()[:_LOOK]
    if start.startswith("<"):
        raise origin.error(f"a web page, not candles; it starts with {start!r}")
    if start.startswith(("[", "{")):
        return _json_table(origin, text)
    return _csv_table(origin, text)


# -- CSV -----------------------------------------------------------------------------------------


def _csv_table(origin: Origin, text: str) -> Table:
    lines = _csv_lines(text)
    if lines.is_empty():
        raise origin.error("the file is empty")
    first: str = lines["text"][0]
    separator = max(",;\t", key=first.count)
    names = [cell.strip() for cell in first.split(separator)]
    if len(names) == 1:
        reason = f"neither CSV nor JSON; it starts with {excerpt(first)!r}"
        raise origin.error(reason, remedy=_READ_FORMATS)
    kind = "CSV"
    if _is_number(names[0]):
        kind = "CSV without a header"
        names = _archive_names(origin, len(names))
    else:
        lines = lines.slice(1)
    _refuse_ragged(origin, lines, separator, len(names))
    cells = lines["text"].str.split_exact(separator, len(names) - 1).struct.unnest()
    return _table(origin, cells, names, kind, lines["line"])


def _csv_lines(text: str) -> pl.DataFrame:
    """The lines that are not blank, without quotes: no cell of ours holds a separator."""
    import polars as pl

    if '"' in text:
        text = text.replace('"', "")
    lines = pl.DataFrame({"text": [text]}).select(pl.col("text").str.split("\n").explode())
    numbered = lines.with_row_index("line", offset=1)
    stripped = numbered.with_columns(pl.col("text").str.strip_chars_end("\r "))
    return stripped.filter(pl.col("text") != "")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _archive_names(origin: Origin, width: int) -> list[str]:
    if width != len(ARCHIVE_COLUMNS):
        raise origin.error(
            f"{width} columns without a header; the archive's files have {len(ARCHIVE_COLUMNS)}",
            remedy="add a first line with the names of the columns",
        )
    return list(ARCHIVE_COLUMNS)


def _refuse_ragged(origin: Origin, lines: pl.DataFrame, separator: str, width: int) -> None:
    widths = lines["text"].str.count_matches(separator, literal=True) + 1
    wrong = (widths != width).arg_true()
    if len(wrong):
        row = wrong[0]
        raise origin.error(f"{widths[row]} columns instead of {width}", line=lines["line"][row])


# -- JSON ----------------------------------------------------------------------------------------


def _json_table(origin: Origin, text: str) -> Table:
    rows = _json_rows(_json_values(origin, text))
    lists = [row for row in rows if isinstance(row, list)]
    objects = [row for row in rows if isinstance(row, dict)]
    kind = "JSON objects"
    if lists and len(lists) == len(rows):
        columns = _list_columns(origin, lists)
        kind = f"JSON rows of {len(columns)}"
        frame = _cells(origin, columns)
    elif objects and len(objects) == len(rows) and "open" in map(snake_case, objects[0]):
        frame = _cells(origin, _object_columns(objects))
    else:
        reason = f"JSON, but no list of candles: {excerpt(text.strip())}"
        raise origin.error(
            reason,
            remedy="what is read is the answer of the klines route, or rows as ccxt gives them",
        )
    return _table(origin, frame, frame.columns, kind)


def _json_values(origin: Origin, text: str) -> list[object]:
    """All JSON values in a row: a `.json` file has one, a `.jsonl` file one a line."""
    decode = json.JSONDecoder().raw_decode
    values: list[object] = []
    end = 0
    try:
        while (start := _after_blanks(text, end)) < len(text):
            value, end = decode(text, start)
            values.append(value)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise origin.error(f"the JSON text cannot be read: {error}", line=line) from error
    return values


def _after_blanks(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return start if blanks is None else blanks.end()


def _json_rows(values: list[object]) -> list[object]:
    """The rows of all pages; a value that is no list of rows is a row itself."""
    rows: list[object] = []
    for value in values:
        if isinstance(value, list) and all(isinstance(item, list | dict) for item in value):
            rows.extend(value)
        else:
            rows.append(value)
    return rows


def _list_columns(origin: Origin, rows: list[list[object]]) -> dict[str, list[object]]:
    names = OHLCV_COLUMNS if len(rows[0]) == len(OHLCV_COLUMNS) else ARCHIVE_COLUMNS
    for number, row in enumerate(rows):
        if len(row) != len(names):
            expected = f"{len(names)}" if number else f"{len(OHLCV_COLUMNS)} or {len(names)}"
            raise origin.error(f"{len(row)} items instead of {expected}", row=number)
    columns = list(map(list, zip(*rows, strict=True)))
    if names is OHLCV_COLUMNS:
        _refuse_other_order(origin, columns)
    return dict(zip(names, columns, strict=True))


def _refuse_other_order(origin: Origin, columns: list[list[object]]) -> None:
    """Six items are also Coinbase's time, low, high, open, close, volume: the prices tell."""
    second, third, fourth, fifth = (list(map(_float, column)) for column in columns[1:5])
    prices = list(zip(second, third, fourth, fifth, strict=True))
    as_ours = sum(low <= min(open_, close) and max(open_, close) <= high
                  for open_, high, low, close in prices)  # fmt: skip
    as_theirs = sum(low <= min(open_, close) and max(open_, close) <= high
                    for low, high, open_, close in prices)  # fmt: skip
    if as_theirs > as_ours:
        raise origin.error(
            "the rows look like time, low, high, open, close, volume, which is Coinbase's order",
            remedy="give them names: a list of objects, or CSV with a header",
        )


def _float(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def _object_columns(rows: list[dict[str, object]]) -> dict[str, list[object]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _cells(origin: Origin, columns: dict[str, list[object]]) -> pl.DataFrame:
    import polars as pl

    texts = {name: [_cell(value) for value in values] for name, values in columns.items()}
    try:
        return pl.DataFrame(texts, schema=dict.fromkeys(texts, pl.String))
    except UnicodeEncodeError as error:
        raise origin.error(f"the JSON text holds half a character: {error}") from error


def _cell(value: object) -> str | None:
    """The value as a CSV file would have it."""
    return value if value is None or isinstance(value, str) else str(value)
