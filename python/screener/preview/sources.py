"""Minutes to preview, a symbol at a time: of a frame, the local store, the daemons' database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from screener.errors import DataError
from screener.history.times import DAY_MS, EARLIEST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    import polars as pl

    from screener.history.store import Store
    from screener.types import ArrowFrame

__all__ = ["WARM_UP_MS", "DatabaseMinutes", "StoredMinutes", "among", "frames_of"]

WARM_UP_MS: Final = DAY_MS
"""The longest window: so much is read before the start."""


class StoredMinutes:
    """The minutes of symbols in the local store.

    Args:
        store: The store.
        symbols: Whose; None is all.

    Raises:
        DataError: Nothing is stored of a symbol.
    """

    def __init__(self, store: Store, symbols: Collection[str] | None = None) -> None:
        """Finds the symbols; reads no minute."""
        from screener.history.stored import named_symbols

        self._store = store
        self.symbols = named_symbols(store, symbols)

    def newest(self) -> int | None:
        """The open of the newest minute of all, ms."""
        ends: list[int] = []
        for symbol in self.symbols:
            for month in self._store.months(symbol)[-1:]:
                ends.extend(self._store.times(symbol, month).tail(1))
        return max(ends, default=None)

    def frames(self, start: int | None, end: int | None) -> Iterator[pl.DataFrame]:
        """A frame a symbol: [start, end) and the day before, each read when it is asked for."""
        from screener.history.stored import minutes_of

        before = None if start is None else max(start - WARM_UP_MS, EARLIEST)
        for symbol in self.symbols:
            yield minutes_of(self._store, symbol, before, end)


class DatabaseMinutes:
    """The minutes of symbols in the daemons' database, which may be in use.

    Args:
        path: The file.
        symbols: Whose; None is all.
        exchange: Whose rows.

    Raises:
        DataError: It is no such file, or it has no minute of a symbol.
    """

    def __init__(
        self, path: Path, symbols: Collection[str] | None = None, *, exchange: str = "binance"
    ) -> None:
        """Finds the symbols; reads no minute."""
        from screener.history.database import database_symbols

        self._path, self._exchange = path, exchange
        known = database_symbols(path, exchange=exchange)
        self.symbols = known if symbols is None else among(known, symbols, path)
        if not known:
            raise DataError(
                reason="it has no minutes", path=path, remedy="screener load brings some"
            )

    def newest(self) -> int | None:
        """The open of the newest minute of all, ms."""
        from screener.history.database import newest_minute

        ends = (
            newest_minute(self._path, symbol, exchange=self._exchange) for symbol in self.symbols
        )
        return max((end for end in ends if end is not None), default=None)

    def frames(self, start: int | None, end: int | None) -> Iterator[pl.DataFrame]:
        """A frame a symbol: [start, end) and the day before, each read when it is asked for."""
        from screener.history.database import read_database

        before = None if start is None else max(start - WARM_UP_MS, EARLIEST)
        for symbol in self.symbols:
            yield read_database(self._path, symbol, before, end, exchange=self._exchange)


def among(known: Collection[str], symbols: Iterable[str], path: Path | None = None) -> list[str]:
    """The symbols, each once.

    Raises:
        DataError: One is not known; with the nearest that is.
    """
    import difflib

    named = list(dict.fromkeys(symbols))
    unknown = next((name for name in named if name not in known), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {len(known):,} symbols"
        raise DataError(reason=f"it has no minutes of {unknown!r}", path=path, remedy=hint)
    return named


def frames_of(
    candles: ArrowFrame | pl.LazyFrame | Iterable[ArrowFrame] | Store,
    start: int | None,
    end: int | None,
) -> Iterator[pl.DataFrame]:
    """The frames that a caller gives, each with all candles of its symbols.

    Args:
        candles: A frame, a lazy one, frames one after the other, or a store, of which every
            symbol is read with the day before the start.
        start: Of a store: the first minute, ms.
        end: Of a store: the first minute that is not wanted, ms.

    Raises:
        DataError: These are no frames.
    """
    import polars as pl

    from screener.history.store import Store
    from screener.outcomes.frames import as_polars, refuse_missing

    if isinstance(candles, Store):
        yield from StoredMinutes(candles).frames(start, end)
        return
    if isinstance(candles, pl.LazyFrame):
        candles = candles.collect()
    parts: Any = [candles] if hasattr(candles, "__arrow_c_stream__") else candles
    if isinstance(parts, (str, bytes)) or not hasattr(parts, "__iter__"):
        raise DataError(
            reason=f"these candles are a {type(candles).__name__}",
            remedy="give a frame, frames one after the other, or a Store",
        )
    for part in parts:
        if not hasattr(part, "__arrow_c_stream__"):
            raise DataError(
                reason=f"among the frames there is a {type(part).__name__}",
                remedy="give a frame, frames one after the other, or a Store",
            )
        frame = as_polars(part)
        refuse_missing(frame, ("symbol", "open_time"), "give candles as screener.replay takes them")
        yield frame
