"""How values travel: an instant is ms since the epoch on this side and `timestamptz` on the other.

The driver is told once for a connection, so that rows are the same as those of the other store.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from psycopg import DataError
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format

_EPOCH_MS: Final = 946_684_800_000
"""2000-01-01, from where the server counts."""
_INFINITY: Final = (1 << 63) - 1
_PACK: Final = struct.Struct("!q")
# Instants beyond what the server can hold are as good as its infinities.
_EARLIEST: Final = -210_866_803_200_000
_LATEST: Final = 9_224_318_016_000_000
_JSONB_HEADER: Final = 1
_LIST_HEADER: Final = struct.Struct("!iiI")
"""How many dimensions, whether there is a NULL in it, and what the elements are."""
_LIST_START: Final = _LIST_HEADER.size + 8


class Ms(int):
    """An instant in ms since the epoch, as a parameter."""


class _MsDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: int) -> bytes:
        return pack_ms(obj)


class _MsLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        micros: int = _PACK.unpack(data)[0]
        return micros // 1000 + _EPOCH_MS


class _JsonLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)[_JSONB_HEADER:]


class _Float8ListLoader(Loader):
    """A list of numbers, with each as long as it says; all of them at once."""

    format = Format.BINARY
    kind = ">f8"

    def load(self, data: Buffer) -> npt.NDArray[Any]:
        dimensions, nulls, _ = _LIST_HEADER.unpack_from(data)
        if dimensions > 1 or nulls:
            raise DataError("a list of numbers is read with one dimension, and no NULL in it")
        element = np.dtype([("size", ">i4"), ("value", self.kind)])
        found = np.frombuffer(data, element, offset=_LIST_START if dimensions else len(data))
        return found["value"].astype(element["value"].newbyteorder("="))


class _Int4ListLoader(_Float8ListLoader):
    kind = ">i4"


class _MsListLoader(_Float8ListLoader):
    kind = ">i8"

    def load(self, data: Buffer) -> npt.NDArray[Any]:
        return super().load(data) // 1000 + _EPOCH_MS


_LISTS: Final = {"float8": _Float8ListLoader, "int4": _Int4ListLoader, "timestamptz": _MsListLoader}


def pack_ms(ms: int) -> bytes:
    """An instant as the server reads it."""
    if ms < _EARLIEST:
        return _PACK.pack(-_INFINITY - 1)
    if ms >= _LATEST:
        return _PACK.pack(_INFINITY)
    return _PACK.pack((ms - _EPOCH_MS) * 1000)


def instant(column: str) -> pl.Expr:
    """A column of instants, ms, as the server reads them."""
    ms = pl.col(column)
    return (
        pl.when(ms < _EARLIEST)
        .then(pl.lit(-_INFINITY - 1, dtype=pl.Int64))
        .when(ms >= _LATEST)
        .then(pl.lit(_INFINITY, dtype=pl.Int64))
        .otherwise((ms - _EPOCH_MS) * 1000)
        .alias(column)
    )


def adapt(context: AdaptContext) -> None:
    """Teaches a connection these values: JSON comes as its bytes, times as ms.

    Lists of numbers and of times come as arrays.
    """
    adapters = context.adapters
    dumper = type("MsDumper", (_MsDumper,), {"oid": adapters.types["timestamptz"].oid})
    adapters.register_dumper(Ms, dumper)
    adapters.register_loader("timestamptz", _MsLoader)
    adapters.register_loader("jsonb", _JsonLoader)
    for name, loader in _LISTS.items():
        adapters.register_loader(adapters.types[name].array_oid, loader)


def optional(ms: int | None) -> Ms | None:
    """An instant that may be unknown, as a parameter."""
    return None if ms is None else Ms(ms)


def timed(row: tuple[Any, ...], *places: int) -> tuple[Any, ...]:
    """A row with the values at these places as instants."""
    out = list(row)
    for place in places:
        out[place] = optional(out[place])
    return tuple(out)
