"""The local store: minutes as Parquet, a file a symbol and month.

```
<root>/exchange=binance/symbol=BTCUSDT/2025-02.parquet
```

Each file is sorted by `open_time`, has one row a minute, all columns of `precedence.COLUMNS`, and
the version of this schema in its metadata. Files are replaced whole, so a reader never sees half a
write. polars, DuckDB and pandas read the folder as it is.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from screener._core import parquet_bytes
from screener.errors import DataError
from screener.history import layout
from screener.history.atomic import file_error, lock, remove_scratch, replace_file
from screener.history.precedence import COLUMNS, Merged, Source, conform, empty, merge, winners
from screener.history.times import Moment, month_of, range_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import polars as pl

__all__ = ["SCHEMA_VERSION", "Store", "scan"]

SCHEMA_VERSION: Final = "1"
_SCHEMA_KEY = "screener.schema"


class Store:
    """Minutes on the local disk.

    Several threads and processes may use one folder: writes to a symbol wait for each other.

    Args:
        root: The folder; by default `$SCREENER_HISTORY`, else `screener/history` in the
            platform's folder for data. It is made when something is first written.
        exchange: Whose minutes.

    Example:
        >>> from screener.history import Store
        >>> store = Store("history")
        >>> store.months("BTCUSDT")
        []
    """

    def __init__(
        self, root: str | os.PathLike[str] | None = None, exchange: str = "binance"
    ) -> None:
        """Names the folder; touches nothing."""
        self.root = layout.default_root() if root is None else Path(root)
        self.exchange = exchange

    def __repr__(self) -> str:
        """The call that makes this store."""
        return f"Store({os.fspath(self.root)!r}, exchange={self.exchange!r})"

    # -- reading ---------------------------------------------------------------------------------

    @property
    def symbols(self) -> list[str]:
        """Symbols that have a file, sorted."""
        folder = layout.exchange_folder(self.root, self.exchange)
        try:
            found = [path for path in folder.iterdir() if layout.file_months(path)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (layout.symbol_of(path) for path in found)
        return sorted(name for name in names if name is not None)

    def folder(self, symbol: str) -> Path:
        """The folder of a symbol, whether it is there or not."""
        return layout.symbol_folder(self.root, self.exchange, symbol)

    def path(self, symbol: str, month: str) -> Path:
        """The file of a month such as `2025-02`, whether it is there or not."""
        return layout.month_path(self.root, self.exchange, symbol, month)

    def months(self, symbol: str) -> list[str]:
        """The months of a symbol that have a file, such as `2025-02`, in order."""
        return layout.file_months(self.folder(symbol))

    def read(self, symbol: str, month: str) -> pl.DataFrame:
        """A month of a symbol, sorted by time; an empty frame where nothing is stored.

        Returns:
            The columns of `precedence.COLUMNS`: `symbol, open_time` (int64 ms, UTC)`, open …
            taker_buy_quote_volume, source` (text)`, revision` (int32).

        Raises:
            DataError: The file is damaged or of another schema.
        """
        import polars as pl
        from polars.exceptions import PanicException, PolarsError

        path = self.path(symbol, month)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return empty()
        except OSError as error:
            raise file_error(error, path, "the file cannot be read") from error
        try:
            version = pl.read_parquet_metadata(io.BytesIO(content)).get(_SCHEMA_KEY)
            frame = pl.read_parquet(io.BytesIO(content))
        # The panic is no Exception, yet a damaged file is all it takes to cause it.
        except (PolarsError, PanicException, OSError, ValueError) as error:
            raise _damaged(error, path) from error
        if version != SCHEMA_VERSION or tuple(frame.columns) != COLUMNS:
            raise DataError(
                reason=f"the file is of schema {version}, and this version reads {SCHEMA_VERSION}",
                path=path,
                remedy="move it away and fetch the month again, or update screener",
            )
        return frame

    def times(self, symbol: str, month: str) -> pl.Series:
        """The open times (int64 ms) of a month's minutes, ascending; none where none is stored.

        Raises:
            DataError: The file is damaged.
        """
        import polars as pl
        from polars.exceptions import PanicException, PolarsError

        path = self.path(symbol, month)
        try:
            return pl.read_parquet(path, columns=["open_time"], glob=False).to_series()
        except FileNotFoundError:
            return pl.Series("open_time", [], dtype=pl.Int64)
        except (PolarsError, PanicException, OSError, ValueError) as error:
            raise _damaged(error, path) from error

    def scan(
        self,
        symbols: str | Iterable[str] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> pl.LazyFrame:
        """The minutes of symbols that open in [start, end), symbol by symbol in order of time.

        Args:
            symbols: A symbol, several, or all (`None`).
            start: The first moment: ms, ISO text or a datetime (UTC where it names no zone).
            end: The first moment that is not wanted.

        Returns:
            A lazy frame with the columns of `read`; only the files and columns that a query needs
            are read.

        Raises:
            DataError: A moment is no time of 2009 to 2100, or the start does not come before the
                end.

        Example:
            >>> store = Store("history")
            >>> store.scan("BTCUSDT", "2025-02", "2025-03").collect().height
            0
        """
        import polars as pl

        low, high = range_ms(start, end)
        first = "" if low is None else month_of(low)
        named = self.symbols if symbols is None else symbols
        names = [named] if isinstance(named, str) else list(named)
        paths = [
            self.path(symbol, month)
            for symbol in names
            for month in self.months(symbol)
            if month >= first and (high is None or month <= month_of(high))
        ]
        if not paths:
            return empty().lazy()
        frame = pl.scan_parquet(paths, glob=False, hive_partitioning=False)
        if low is not None:
            frame = frame.filter(pl.col("open_time") >= low)
        if high is not None:
            frame = frame.filter(pl.col("open_time") < high)
        return frame

    # -- writing ---------------------------------------------------------------------------------

    def replace(self, symbol: str, month: str, frame: pl.DataFrame) -> None:
        """Stores a month as it is given, in place of what was there; an empty frame removes it.

        Of several rows of one minute the last from the best source is kept.

        Raises:
            DataError: A row lies in another month or is of another symbol, or the file cannot be
                written; what was there before still is.
        """
        rows = conform(frame, symbol=symbol)
        self._refuse_strangers(symbol, month, rows)
        with self.writing(symbol):
            self._write(symbol, month, winners(rows, Merged()))

    def merge(self, frame: pl.DataFrame, *, source: Source = "stream") -> Merged:
        """Adds minutes of any symbols and months; a better version takes the place of a worse.

        A version from a source that ranks at least as high replaces a different one (archive >
        rest > stream > synthetic); the revision rises only where values change. Merging the same
        rows again changes nothing.

        Args:
            frame: Columns as `screener.read_klines` gives them, and `source` and `revision` where
                they are known.
            source: Where the minutes came from, where the frame does not say.

        Raises:
            DataError: The frame cannot be used, or a file cannot be read or written. Months come
                one after the other: those before it are stored, the others are as they were.
        """
        counts = Merged()
        rows = conform(frame, source=source)
        for (symbol, month), part in _by_month(rows):
            with self.writing(symbol):
                held = self.read(symbol, month)
                told = Merged()
                merged = merge(held, part, told)
                if told.changed:
                    self._write(symbol, month, merged)
            counts.add(told)
        return counts

    def change(self, symbol: str, month: str, how: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Stores what a function makes of a month; nobody else writes to the symbol meanwhile.

        Raises:
            DataError: The file cannot be read or written; what was there before still is.
        """
        with self.writing(symbol):
            held = self.read(symbol, month)
            changed = how(held)
            if not changed.equals(held):
                self._write(symbol, month, changed)

    @contextmanager
    def writing(self, symbol: str) -> Iterator[Path]:
        """Holds the lock of a symbol, and makes its folder if it is not there; gives the folder.

        Not to be nested: a second lock of the same symbol waits for the first for ever.

        Raises:
            DataError: The folder cannot be made or written.
        """
        folder = self.folder(symbol)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with lock(folder / ".lock"):
                remove_scratch(folder)
                yield folder
        except OSError as error:
            raise file_error(error, folder, "the store cannot be written") from error

    def _write(self, symbol: str, month: str, rows: pl.DataFrame) -> None:
        path = self.path(symbol, month)
        if rows.is_empty():
            path.unlink(missing_ok=True)
            return
        replace_file(path, parquet_bytes(rows, [(_SCHEMA_KEY, SCHEMA_VERSION)]))

    def _refuse_strangers(self, symbol: str, month: str, rows: pl.DataFrame) -> None:
        for (found, lies_in), _ in _by_month(rows):
            if (found, lies_in) != (symbol, month):
                raise DataError(
                    reason=f"a minute of {found} in {lies_in} among those of {symbol} in {month}",
                    remedy="call merge, which takes minutes of any symbol and month",
                )


def _damaged(error: BaseException, path: Path) -> DataError:
    return DataError(
        reason=f"the file is damaged: {str(error).partition(chr(10))[0]}",
        path=path,
        remedy="remove it and fetch the month again",
    )


def _by_month(rows: pl.DataFrame) -> Iterator[tuple[tuple[str, str], pl.DataFrame]]:
    """The rows of each symbol and month, in the order they have."""
    import polars as pl

    if rows.is_empty():
        return
    low, high = rows["open_time"].min(), rows["open_time"].max()
    symbol = rows["symbol"][0]
    month = month_of(int(low))  # type: ignore[arg-type]
    if month == month_of(int(high)) and bool((rows["symbol"] == symbol).all()):  # type: ignore[arg-type]
        yield (symbol, month), rows
        return
    months = pl.from_epoch("open_time", time_unit="ms").dt.strftime("%Y-%m").alias("month")
    parts = rows.with_columns(months).partition_by(
        "symbol", "month", as_dict=True, maintain_order=True, include_key=True
    )
    for (name, month), part in parts.items():
        yield (name, month), part.drop("month")


def scan(
    symbols: str | Iterable[str] | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    store: str | os.PathLike[str] | None = None,
    exchange: str = "binance",
) -> pl.LazyFrame:
    """The stored minutes of symbols that open in [start, end), as a polars LazyFrame.

    Args:
        symbols: A symbol, several, or all (`None`).
        start: The first moment: ms, ISO text (`2025-02` too) or a datetime, UTC by default.
        end: The first moment that is not wanted.
        store: The folder; by default the one of `Store()`.
        exchange: Whose minutes.

    Example:
        >>> from screener.history import scan
        >>> frame = scan("BTCUSDT", "2025-02-01", "2025-02-03", store="history").collect()
        >>> frame.columns[:4]
        ['symbol', 'open_time', 'open', 'high']
    """
    return Store(store, exchange).scan(symbols, start, end)
