"""History into the daemons' PostgreSQL database and out of it again: the table `candles_1m`.

As `screener.history.database` does it with a SQLite file, by the same rules: a better source takes
the place of a worse one, a revision rises where values change, loading twice changes nothing.
Symbols are loaded some at a time, each group in one transaction and one COPY. Needs `psycopg`
(`pip install 'screener[postgres]'`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from screener.errors import DataError
from screener.history.binary import END, HEADER, blocks
from screener.history.database import (
    FRAME_ROWS,
    Loaded,
    refuse_impossible,
)
from screener.history.precedence import RANKS, VALUES, empty, schema
from screener.history.stored import minutes_of, named_symbols
from screener.history.times import LATEST, range_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    import polars as pl
    import psycopg

    from screener.history.store import Store
    from screener.history.times import Moment

    Minutes = tuple[str, pl.DataFrame]

__all__ = [
    "copy_minutes",
    "database_frames",
    "database_symbols",
    "is_url",
    "load",
    "named",
    "read_database",
]

_DAY_MS: Final = 86_400_000
_EPOCH_MS: Final = 946_684_800_000
_WRITERS_LOCK: Final = 0x73637265_656E6572
_COLUMNS: Final = ("time", *VALUES, "revision", "received_at")
_RANK: Final = "array_position(ARRAY[{}], {{}}.source)".format(
    ", ".join(f"'{source}'" for source in sorted(RANKS, key=RANKS.__getitem__))
)
_BETTER: Final = f"{_RANK.format('s')} - {_RANK.format('c')}"
_DIFFERS: Final = (
    "(" + " OR ".join(f"(s.{n} IS NOT NULL AND s.{n} IS DISTINCT FROM c.{n})" for n in VALUES) + ")"
)
_KEY: Final = "c.exchange = %(exchange)s AND c.symbol = s.symbol AND c.time = s.time"
_JOIN: Final = f"FROM staged_history AS s JOIN candles_1m AS c ON {_KEY}"
_OUTRANKED: Final = f"SELECT count(*) {_JOIN} WHERE {_DIFFERS} AND {_BETTER} < 0"
_CORRECT: Final = (
    "UPDATE candles_1m AS c SET "  # noqa: S608
    + ", ".join(f"{n} = coalesce(s.{n}, c.{n})" for n in VALUES)
    + ", source = s.source, revision = c.revision + (c.source <> 'synthetic')::int, "
    "event_time = NULL, received_at = s.received_at FROM staged_history AS s "
    f"WHERE {_KEY} AND {_DIFFERS} AND {_BETTER} >= 0"
)
_IMPROVE: Final = (
    "UPDATE candles_1m AS c SET source = s.source FROM staged_history AS s "  # noqa: S608
    f"WHERE {_KEY} AND NOT {_DIFFERS} AND {_BETTER} > 0"
)
_NAMES: Final = ", ".join(("exchange", "symbol", "source", *_COLUMNS))
_INSERT: Final = (
    f"INSERT INTO candles_1m ({_NAMES}) SELECT {_NAMES} FROM staged_history "  # noqa: S608
    "ON CONFLICT (exchange, symbol, time) DO NOTHING"
)
_COUNT: Final = (
    "SELECT symbol, count(*) FROM candles_1m WHERE exchange = %s AND symbol = ANY(%s) GROUP BY 1"
)
_GROUP_ROWS: Final = 100_000
"""Rows after which a COPY ends: the server needs some ms for every COPY and day."""
_MS: Final = "(extract(epoch FROM time) * 1000)::bigint"


def is_url(text: object) -> bool:
    """Whether a database is named by a PostgreSQL url, and not as a file."""
    return str(text).startswith(("postgresql://", "postgres://"))


def named(url: str) -> str:
    """A url without what only its user should know."""
    parts = urlsplit(url)
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


def load(
    store: Store,
    url: str,
    symbols: Collection[str] | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    now: int,
    on_symbol: Callable[[str], None] | None = None,
) -> Loaded:
    """Moves stored minutes into the daemons' database, and counts them there.

    Daemons may run on it meanwhile. Arguments and errors are those of
    `screener.history.database.load`.
    """
    range_ms(start, end)

    def minutes() -> Iterator[Minutes]:
        for name in named_symbols(store, symbols):
            if on_symbol is not None:
                on_symbol(name)
            rows = minutes_of(store, name, start, end)
            refuse_impossible(rows, name)
            yield name, rows

    return _load(url, store.exchange, minutes(), now)


def copy_minutes(url: str, exchange: str, frames: Iterable[pl.DataFrame], now: int) -> Loaded:
    """Loads minutes, a frame a symbol with the columns of `Store.read`, and counts them there.

    Where a frame cannot be had, those before it are loaded first.
    """
    minutes = ((rows["symbol"][0], rows) for rows in frames if not rows.is_empty())
    return _load(url, exchange, minutes, now)


def database_frames(
    url: str,
    symbol: str,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    exchange: str = "binance",
) -> Iterator[pl.DataFrame]:
    """The minutes of a symbol as frames of at most `FRAME_ROWS` rows, each read when asked for.

    All are one moment's state.

    Raises:
        DataError: The database cannot be read.
    """
    import polars as pl

    low, high = range_ms(start, end)
    at = low or 0
    with _connected(url) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        while True:
            rows = connection.execute(
                f"SELECT symbol, {_MS}, {', '.join(VALUES)}, source, revision FROM candles_1m "  # noqa: S608
                "WHERE exchange = %s AND symbol = %s "
                "AND time >= to_timestamp(%s::float8 / 1000) "
                "AND time < to_timestamp(%s::float8 / 1000) ORDER BY time LIMIT %s".encode(),
                (exchange, symbol, at, high or LATEST, FRAME_ROWS),
            ).fetchall()
            if not rows:
                return
            yield pl.DataFrame(rows, schema=schema(), orient="row")
            at = rows[-1][1] + 1


def read_database(
    url: str,
    symbol: str,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    exchange: str = "binance",
) -> pl.DataFrame:
    """The minutes of a symbol in the daemons' database, with the columns of `Store.read`.

    Raises:
        DataError: The database cannot be read.
    """
    import polars as pl

    frames = list(database_frames(url, symbol, start, end, exchange=exchange))
    return pl.concat(frames) if frames else empty()


def database_symbols(url: str, *, exchange: str = "binance") -> list[str]:
    """The symbols that the daemons' database has minutes of, sorted.

    Raises:
        DataError: The database cannot be read.
    """
    with _connected(url) as connection:
        found = connection.execute(
            "SELECT DISTINCT symbol FROM candles_1m WHERE exchange = %s ORDER BY symbol",
            (exchange,),
        )
        return [name for (name,) in found.fetchall()]


def _load(url: str, exchange: str, minutes: Iterable[Minutes], now: int) -> Loaded:
    total = Loaded()
    with _connected(url) as connection:
        for group in _groups(minutes):
            total.add(_load_group(connection, exchange, group, now))
    return total


def _groups(minutes: Iterable[Minutes]) -> Iterator[dict[str, pl.DataFrame]]:
    """Minutes by their symbols, so many at a time that there is something to copy."""
    group: dict[str, pl.DataFrame] = {}
    try:
        for name, rows in minutes:
            if name in group or sum(held.height for held in group.values()) >= _GROUP_ROWS:
                yield group
                group = {}
            group[name] = rows
    except DataError:
        if group:
            yield group
        raise
    if group:
        yield group


def _load_group(
    connection: psycopg.Connection[Any], exchange: str, group: dict[str, pl.DataFrame], now: int
) -> Loaded:
    """One transaction: all rows of these symbols, or none."""
    asked = (exchange, list(group))
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_WRITERS_LOCK,))
        _make_days(connection, group.values())
        before = dict(connection.execute(_COUNT.encode(), asked).fetchall())
        new = {name: rows for name, rows in group.items() if name not in before}
        done = Loaded()
        if new:
            _copy(connection, "candles_1m", exchange, new, now)
            done.rows = done.inserted = sum(rows.height for rows in new.values())
        if before:
            known = {name: rows for name, rows in group.items() if name in before}
            done.add(_merge(connection, exchange, known, now))
        done.held = sum(count for _, count in connection.execute(_COUNT.encode(), asked).fetchall())
        expected = sum(before.values()) + done.inserted
        if done.held != expected:
            raise DataError(
                reason=f"{_some(group)}: {done.held:,} minutes are in the table where "
                f"{expected:,} should be; nothing of it was kept",
                remedy="see the server's log, and load it again",
            )
    return done


def _merge(
    connection: psycopg.Connection[Any], exchange: str, group: dict[str, pl.DataFrame], now: int
) -> Loaded:
    """Rows of symbols that the table has minutes of."""
    connection.execute(
        "CREATE TEMP TABLE staged_history ON COMMIT DROP AS "  # noqa: S608
        f"SELECT {_NAMES} FROM candles_1m WITH NO DATA".encode()
    )
    _copy(connection, "staged_history", exchange, group, now)
    connection.execute("ANALYZE staged_history")
    key = {"exchange": exchange}
    (outranked,) = _one(connection, _OUTRANKED, key)
    done = Loaded(
        rows=sum(rows.height for rows in group.values()),
        corrected=connection.execute(_CORRECT.encode(), key).rowcount,
        improved=connection.execute(_IMPROVE.encode(), key).rowcount,
        inserted=connection.execute(_INSERT.encode()).rowcount,
        outranked=outranked,
    )
    done.duplicate = done.rows - (done.corrected + done.improved + done.inserted + done.outranked)
    return done


def _some(group: dict[str, pl.DataFrame]) -> str:
    """What symbols these are, in few words."""
    first, *others = group
    return f"{first} and {len(others)} more" if others else first


def _copy(
    connection: psycopg.Connection[Any],
    table: str,
    exchange: str,
    group: dict[str, pl.DataFrame],
    now: int,
) -> None:
    import polars as pl

    into = f"COPY {table} ({_NAMES}) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(into.encode()) as copy:
        copy.write(HEADER)
        for symbol, rows in group.items():
            for (source,), some in rows.group_by(["source"], maintain_order=True):
                columns = some.select(
                    ((pl.col("open_time") - _EPOCH_MS) * 1000).alias("time"),
                    *VALUES,
                    pl.col("revision").cast(pl.Int64),
                    pl.lit((now - _EPOCH_MS) * 1000, dtype=pl.Int64).alias("received_at"),
                )
                texts = {"exchange": exchange, "symbol": symbol, "source": str(source)}
                for block in blocks(columns, texts):
                    copy.write(block)
        copy.write(END)


def _make_days(connection: psycopg.Connection[Any], frames: Iterable[pl.DataFrame]) -> None:
    """Makes the days of the table that are not there, where it is divided by day."""
    import polars as pl

    (kind,) = _one(connection, "SELECT relkind FROM pg_class WHERE oid = 'candles_1m'::regclass")
    if kind not in ("p", b"p"):
        return
    times = pl.concat([(rows["open_time"] // _DAY_MS).unique() for rows in frames])
    dates = (times.unique().sort() * _DAY_MS).cast(schema()["open_time"])
    held = {
        name
        for (name,) in connection.execute(
            "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'candles_1m'::regclass"
        ).fetchall()
    }
    for day in dates.cast(_datetime()).to_list():
        name = f"candles_1m_{day:%Y%m%d}"
        if name in held:
            continue
        low = f"{day:%Y-%m-%d} 00:00:00+00"
        connection.execute(f"CREATE TABLE {name} (LIKE candles_1m INCLUDING ALL)".encode())
        connection.execute(
            f"ALTER TABLE candles_1m ATTACH PARTITION {name} FOR VALUES FROM ('{low}') "
            f"TO ('{_next(day):%Y-%m-%d} 00:00:00+00')".encode()
        )


def _datetime() -> pl.Datetime:
    import polars as pl

    return pl.Datetime("ms")


def _next(day: Any) -> Any:
    from datetime import timedelta

    return day + timedelta(days=1)


def _one(connection: psycopg.Connection[Any], sql: str, asked: Any = None) -> tuple[Any, ...]:
    row: tuple[Any, ...] = connection.execute(sql.encode(), asked).fetchall()[0]
    return row


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the daemons' database; what the server says, as what to do about it."""
    try:
        import psycopg
    except ImportError as error:
        raise DataError(
            reason="PostgreSQL's driver is not installed",
            remedy="pip install 'screener[postgres]'",
        ) from error
    try:
        psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        raise DataError(  # the driver would repeat it, password and all
            reason="the url is not one of PostgreSQL",
            remedy="write postgresql://user:password@host:5432/database",
        ) from None
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            connection.execute("SET synchronous_commit = on")
            connection.execute("SET lock_timeout = '30s'")
            yield connection
    except psycopg.errors.UndefinedTable as error:
        raise DataError(
            reason="the database has no table candles_1m",
            remedy="start screenerd once with this database: it makes its tables",
        ) from error
    except psycopg.Error as error:
        raise DataError(
            reason=f"the database refuses: {' '.join(str(error).split())}",
            remedy="see that the server runs and lets this user in; nothing half done is kept",
        ) from error
