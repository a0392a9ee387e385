"""History into the daemons' SQLite file and out of it again: the table `candles_1m`.

The rules are the store's own (SPEC section 2): a better source takes the place of a worse one, a
revision rises where values change, loading twice changes nothing. A symbol is one transaction.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from screener.errors import DataError, StateError
from screener.history.atomic import file_error, try_lock
from screener.history.checks.values import as_numbers, broken_rows
from screener.history.precedence import RANKS, VALUES, empty, schema
from screener.history.stored import minutes_of, named_symbols
from screener.history.times import LATEST, iso, range_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import polars as pl

    from screener.history.store import Store
    from screener.history.times import Moment

__all__ = [
    "Loaded",
    "database_frames",
    "database_symbols",
    "load",
    "newest_minute",
    "read_database",
    "reading",
]

_BUSY_MS: Final = 5_000
FRAME_ROWS: Final = 50_000
"""Rows that are read at once: more than a month of a symbol, and about 25 MB as Python's values."""
_TABLE_COLUMNS: Final = (
    "exchange", "symbol", "time", *VALUES, "source", "revision", "event_time", "received_at",
)  # fmt: skip
_STAGED: Final = ("time", *VALUES, "source", "revision")
_RANK = "CASE {}.source " + " ".join(f"WHEN '{s}' THEN {r}" for s, r in RANKS.items()) + " END"
# What an arriving version does not know contradicts nothing.
_DIFFERS = (
    "("
    + " OR ".join(f"(s.{name} IS NOT NULL AND s.{name} IS NOT c.{name})" for name in VALUES)
    + ")"
)
_KEY = "c.exchange = :exchange AND c.symbol = :symbol AND c.time = s.time"
_BETTER = f"{_RANK.format('s')} - {_RANK.format('c')}"
_JOIN = f"FROM temp.staged AS s JOIN candles_1m AS c ON {_KEY}"

_OUTRANKED = f"SELECT count(*) {_JOIN} WHERE {_DIFFERS} AND {_BETTER} < 0"
_CORRECT = (
    "UPDATE candles_1m AS c SET "  # noqa: S608
    + ", ".join(f"{name} = coalesce(s.{name}, c.{name})" for name in VALUES)
    + ", source = s.source, revision = c.revision + (c.source <> 'synthetic'), event_time = NULL, "
    f"received_at = :now FROM temp.staged AS s WHERE {_KEY} AND {_DIFFERS} AND {_BETTER} >= 0"
)
_IMPROVE = (
    f"UPDATE candles_1m AS c SET source = s.source FROM temp.staged AS s "  # noqa: S608
    f"WHERE {_KEY} AND NOT {_DIFFERS} AND {_BETTER} > 0"
)
_INSERT = (
    f"INSERT INTO candles_1m ({', '.join(_TABLE_COLUMNS)}) "  # noqa: S608
    f"SELECT :exchange, :symbol, {', '.join(_STAGED)}, NULL, :now FROM temp.staged WHERE true "
    "ON CONFLICT (exchange, symbol, time) DO NOTHING"
)
_STAGE = f"INSERT INTO temp.staged VALUES ({', '.join('?' * len(_STAGED))})"  # noqa: S608
_HELD = f"SELECT count(*) {_JOIN}"
_COUNT = "SELECT count(*) FROM candles_1m WHERE exchange = :exchange AND symbol = :symbol"
_READ = (
    f"SELECT symbol, time, {', '.join(VALUES)}, source, revision FROM candles_1m "  # noqa: S608
    "WHERE exchange = ? AND symbol = ? AND time >= ? AND time < ? ORDER BY time"
)


@dataclass(slots=True)
class Loaded:
    """What became of minutes that were loaded; counted again in the file afterwards.

    Attributes:
        rows: Minutes that were given.
        inserted: Those that were not in the table.
        corrected: Those whose values were replaced.
        improved: Equal ones for which a better source was recorded.
        duplicate: Equal ones that changed nothing.
        outranked: Different ones from a worse source, which were not taken.
        held: Minutes of these symbols that the table has now.
    """

    rows: int = 0
    inserted: int = 0
    corrected: int = 0
    improved: int = 0
    duplicate: int = 0
    outranked: int = 0
    held: int = 0

    def add(self, other: Loaded) -> None:
        """Adds what another one counted."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def load(
    store: Store,
    path: str | os.PathLike[str],
    symbols: Collection[str] | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    now: int,
    on_symbol: Callable[[str], None] | None = None,
) -> Loaded:
    """Moves stored minutes into the daemons' database, and counts them there.

    Args:
        store: Where they are.
        path: The database of `screenerd`, which must not be running on it.
        symbols: Whose minutes; by default of all that are stored.
        start: Only minutes that open at this moment or later.
        end: Only minutes that open before this moment.
        now: When, ms: the time of arrival of what changes.
        on_symbol: Told of each symbol before it is loaded.

    Raises:
        DataError: A row or the range cannot be, the file is no database of `screenerd`, or it
            cannot be written. Symbols come one after the other: those before are in it whole, this
            one and those after it not at all.
        StateError: A daemon uses the database.
    """
    file = Path(path)
    range_ms(start, end)
    names = named_symbols(store, symbols)
    total = Loaded()
    with _alone(file), _refusing(file), closing(_writer(file)) as connection:
        _refuse_foreign(connection, file)
        for name in names:
            if on_symbol is not None:
                on_symbol(name)
            rows = minutes_of(store, name, start, end)
            refuse_impossible(rows, name)
            total.add(_load_symbol(connection, file, store.exchange, name, rows, now))
    with _refusing(file), closing(_reader(file)) as connection:
        for name in names:
            key = {"exchange": store.exchange, "symbol": name}
            total.held += connection.execute(_COUNT, key).fetchone()[0]
    return total


def read_database(
    path: str | os.PathLike[str],
    symbol: str,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    exchange: str = "binance",
) -> pl.DataFrame:
    """The minutes of a symbol in the daemons' database, with the columns of `Store.read`.

    The database may be in use: what is read is one moment's state.

    Raises:
        DataError: The file is no database of `screenerd`, or it cannot be read.
    """
    import polars as pl

    frames = list(database_frames(path, symbol, start, end, exchange=exchange))
    return pl.concat(frames) if frames else empty()


def database_frames(
    path: str | os.PathLike[str],
    symbol: str,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    exchange: str = "binance",
) -> Iterator[pl.DataFrame]:
    """The same minutes as frames of at most `FRAME_ROWS` rows, in order, each read when asked for.

    All are one moment's state. Whoever writes is not held up, but until the last frame is read the
    log of what is written since grows.

    Raises:
        DataError: As `read_database`, when a frame is asked for.
    """
    import polars as pl

    low, high = range_ms(start, end)
    with reading(path) as connection:
        found = connection.execute(_READ, (exchange, symbol, low or 0, high or LATEST))
        while rows := found.fetchmany(FRAME_ROWS):
            yield pl.DataFrame(rows, schema=schema(), orient="row")


def database_symbols(path: str | os.PathLike[str], *, exchange: str = "binance") -> list[str]:
    """The symbols that the daemons' database has minutes of, sorted.

    Raises:
        DataError: The file is no database of `screenerd`, or it cannot be read.
    """
    with reading(path) as connection:
        found = connection.execute(
            "SELECT DISTINCT symbol FROM candles_1m WHERE exchange = ? ORDER BY symbol", (exchange,)
        )
        return [symbol for (symbol,) in found]


def newest_minute(
    path: str | os.PathLike[str], symbol: str, *, exchange: str = "binance"
) -> int | None:
    """The open time (ms) of a symbol's newest minute in the daemons' database, if it has one.

    Raises:
        DataError: The file is no database of `screenerd`, or it cannot be read.
    """
    with reading(path) as connection:
        found: int | None = connection.execute(
            "SELECT MAX(time) FROM candles_1m WHERE exchange = ? AND symbol = ?", (exchange, symbol)
        ).fetchone()[0]
        return found


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[sqlite3.Connection]:
    """A connection to the daemons' database that only reads; the database may be in use.

    Raises:
        DataError: The file is no database of `screenerd`, or it cannot be read.
    """
    file = Path(path)
    with _refusing(file), closing(_reader(file)) as connection:
        _refuse_foreign(connection, file)
        yield connection


# -- one symbol ----------------------------------------------------------------------------------


def _load_symbol(
    connection: sqlite3.Connection,
    file: Path,
    exchange: str,
    symbol: str,
    rows: pl.DataFrame,
    now: int,
) -> Loaded:
    """One transaction: all rows of a symbol, or none."""
    key = {"exchange": exchange, "symbol": symbol}
    staged = rows.select("open_time", *VALUES, "source", "revision")
    connection.execute("DELETE FROM temp.staged")
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(_STAGE, staged.iter_rows())
        before = connection.execute(_COUNT, key).fetchone()[0]
        outranked = connection.execute(_OUTRANKED, key).fetchone()[0]
        done = Loaded(
            rows=rows.height,
            corrected=connection.execute(_CORRECT, {**key, "now": now}).rowcount,
            improved=connection.execute(_IMPROVE, key).rowcount,
            inserted=connection.execute(_INSERT, {**key, "now": now}).rowcount,
            outranked=outranked,
        )
        done.duplicate = done.rows - (
            done.corrected + done.improved + done.inserted + done.outranked
        )
        _verify(connection, file, key, before + done.inserted, done.rows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise
    return done


def _verify(
    connection: sqlite3.Connection, file: Path, key: dict[str, str], expected: int, given: int
) -> None:
    """Counts what the table has now, before it is made final."""
    counted = connection.execute(_COUNT, key).fetchone()[0]
    found = connection.execute(_HELD, key).fetchone()[0]
    if (counted, found) != (expected, given):
        raise DataError(
            reason=f"{key['symbol']}: {counted:,} minutes are in the table where {expected:,} "
            f"should be, {found:,} of the {given:,} that were loaded; nothing of it was kept",
            path=file,
            remedy="check the disk, and the file with `screenerd doctor`",
        )


def refuse_impossible(rows: pl.DataFrame, symbol: str) -> None:
    """Refuses rows that no store may hold."""
    if rows["quote_volume"].null_count():
        raise DataError(
            reason=f"{symbol}: the quote volume of some minutes is unknown",
            column="quote_volume",
            remedy='read the files with quote_volume="typical", or fetch the minutes',
        )
    broken = broken_rows(as_numbers(rows))
    if broken.height:
        row = broken.row(0, named=True)
        raise DataError(
            reason=f"{symbol}: {broken.height:,} rows cannot be, such as {row['field']} = "
            f"{row['value']} at {iso(row['open_time'])}",
            remedy="screener check tells all of them, screener repair mends them",
        )


# -- the file ------------------------------------------------------------------------------------


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Holds the lock that a daemon holds while it uses the database."""
    path = file.with_name(file.name + ".lock")
    if not file.exists():
        raise _no_database(file, "there is no such file")
    try:
        with try_lock(path) as is_ours:
            if not is_ours:
                holder = path.read_text(encoding="utf-8", errors="replace").strip() or "unknown"
                raise StateError(
                    reason=f"a daemon uses {file} (process {holder})",
                    remedy="stop it, load, and start it again",
                )
            yield
    except OSError as error:
        raise file_error(error, path, "the database cannot be locked") from error


@contextmanager
def _refusing(file: Path) -> Iterator[None]:
    """What SQLite says, as what to do about it."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
            raise _no_database(file, "this is no database") from error
        raise DataError(
            reason=f"the database refuses: {error}", path=file, remedy=_remedy(error)
        ) from error


def _remedy(error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return "make room on the disk: this symbol was not loaded, those before it were"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return "check who may write to the file and its folder"
        case sqlite3.SQLITE_CORRUPT:
            return "screenerd doctor says what can be saved of it"
        case _:
            return "check the file and its disk; this symbol was not loaded, those before it were"


def _writer(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(
            f"CREATE TEMP TABLE staged ({', '.join(_STAGED)}, PRIMARY KEY (time)) WITHOUT ROWID"
        )
    except BaseException:
        connection.close()
        raise
    return connection


def _reader(file: Path) -> sqlite3.Connection:
    if not file.exists():
        raise _no_database(file, "there is no such file")
    uri = f"{file.absolute().as_uri()}?mode=ro"
    # Frames may be asked for by another thread than the one before, never by two at once.
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    return connection


def _refuse_foreign(connection: sqlite3.Connection, file: Path) -> None:
    found = {row[1] for row in connection.execute("PRAGMA table_info(candles_1m)")}
    missing = [name for name in _TABLE_COLUMNS if name not in found]
    if missing:
        reason = "it has no table candles_1m" if not found else f"candles_1m lacks {missing[0]}"
        raise _no_database(file, reason)


def _no_database(file: Path, reason: str) -> DataError:
    return DataError(
        reason=reason,
        path=file,
        remedy="start screenerd once with this database: it makes the file and its tables",
    )
