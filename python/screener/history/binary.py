"""Columns as PostgreSQL's COPY reads them in binary: rows of one shape at a time, by numpy."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

__all__ = ["END", "HEADER", "blocks"]

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
"""What comes before the rows."""

END: Final = struct.pack("!h", -1)
"""What comes after them."""

_NULL: Final = -1


def blocks(frame: pl.DataFrame, texts: dict[str, str] | None = None) -> Iterator[bytes]:
    """The rows of a frame, those of one shape together: in another order than the frame's.

    Args:
        frame: columns of whole numbers, doubles and texts; null is null.
        texts: columns before them that are the same in every row.
    """
    import polars as pl

    nulls = [name for name in frame.columns if frame[name].null_count()]
    written = [name for name in frame.columns if frame.schema[name] == pl.String]
    shape = [pl.col(name).is_null() for name in nulls]
    shape += [pl.col(name).str.len_bytes().alias(f"{name}:size") for name in written]
    if not shape:
        yield _block(frame, texts or {}, ())
        return
    for _, rows in frame.group_by(shape):
        absent = tuple(name for name in nulls if rows[name].null_count())
        yield _block(rows, texts or {}, absent)


def _block(rows: pl.DataFrame, texts: dict[str, str], absent: Sequence[str]) -> bytes:
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    values: dict[str, Any] = {name: text.encode() for name, text in texts.items()}
    values |= {name: None if name in absent else _values(rows[name]) for name in rows.columns}
    types = {name: _type(value) for name, value in values.items()}
    for name, kind in types.items():
        fields.append((f"{name}:size", ">i4"))
        if kind is not None:
            fields.append((name, kind))
    out = np.empty(rows.height, dtype=np.dtype(fields))
    out["fields"] = len(values)
    for name, value in values.items():
        kind = types[name]
        out[f"{name}:size"] = _NULL if kind is None else np.dtype(kind).itemsize
        if kind is not None:
            out[name] = value
    return out.tobytes()


def _values(column: pl.Series) -> np.ndarray[Any, Any]:
    import polars as pl

    if column.dtype == pl.String:
        # Of one length in bytes, which numpy is told: it would not count zeros at the end.
        size = column.str.len_bytes()[0]
        return np.array(column.cast(pl.Binary).to_list(), dtype=f"S{size}")
    return column.to_numpy()


def _type(value: bytes | np.ndarray[Any, Any] | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        return f"S{len(value)}"
    if value.dtype.kind == "S":
        return f"S{value.dtype.itemsize}"
    return ">f8" if value.dtype.kind == "f" else ">i8"
