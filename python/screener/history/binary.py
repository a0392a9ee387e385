"""Columns as PostgreSQL's COPY reads them in binary: rows of one shape at a time, by numpy."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

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


def blocks(frame: pl.DataFrame, texts: dict[str, str]) -> Iterator[bytes]:
    """The rows of a frame, those of one shape together: in another order than the frame's.

    Args:
        frame: columns of whole numbers and doubles; null is null.
        texts: columns before them that are the same in every row.
    """
    import polars as pl

    nulls = [name for name in frame.columns if frame[name].null_count()]
    if not nulls:
        yield _block(frame, texts, ())
        return
    for _, rows in frame.group_by([pl.col(name).is_null() for name in nulls]):
        absent = tuple(name for name in nulls if rows[name].null_count())
        yield _block(rows, texts, absent)


def _block(rows: pl.DataFrame, texts: dict[str, str], absent: Sequence[str]) -> bytes:
    given = [name for name in rows.columns if name not in absent]
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, text in texts.items():
        size = len(text.encode())
        fields += [(f"{name}:size", ">i4"), (name, f"S{size}")]
    for name in rows.columns:
        fields.append((f"{name}:size", ">i4"))
        if name in given:
            fields.append((name, ">f8" if rows.schema[name].is_float() else ">i8"))
    out = np.empty(rows.height, dtype=np.dtype(fields))
    out["fields"] = len(texts) + rows.width
    for name, text in texts.items():
        out[f"{name}:size"] = len(text.encode())
        out[name] = text.encode()
    for name in rows.columns:
        out[f"{name}:size"] = 8 if name in given else _NULL
        if name in given:
            out[name] = rows[name].to_numpy()
    return out.tobytes()
