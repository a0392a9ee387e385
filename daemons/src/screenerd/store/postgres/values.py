"""How values travel: an instant is ms since the epoch on this side and `timestamptz` on the other.

The driver is told once for a connection, so that rows are the same as those of the other store.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import polars as pl
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
    """Teaches a connection these values: JSON comes as its bytes, times as ms."""
    adapters = context.adapters
    dumper = type("MsDumper", (_MsDumper,), {"oid": adapters.types["timestamptz"].oid})
    adapters.register_dumper(Ms, dumper)
    adapters.register_loader("timestamptz", _MsLoader)
    adapters.register_loader("jsonb", _JsonLoader)


def optional(ms: int | None) -> Ms | None:
    """An instant that may be unknown, as a parameter."""
    return None if ms is None else Ms(ms)


def timed(row: tuple[Any, ...], *places: int) -> tuple[Any, ...]:
    """A row with the values at these places as instants."""
    out = list(row)
    for place in places:
        out[place] = optional(out[place])
    return tuple(out)
