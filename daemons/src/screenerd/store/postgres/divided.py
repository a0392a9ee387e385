"""The tables that grow by the minute, divided by day, so that what is old goes without a trace.

Where the server has the TimescaleDB extension they are its hypertables, and it makes the days and,
where its edition may, compresses them. Otherwise they are partitions that are made here.

What needs the extension has been written from its documentation and not been run: the statements
that are chosen are tested, what the extension makes of them is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from screenerd.model import MINUTE_MS
from screenerd.store.postgres.connect import Connection
from screenerd.store.schema import TABLES

DAY_MS: Final = 24 * 60 * MINUTE_MS
"""Length of a day in milliseconds."""

BY_DAY: Final = {table.name: table.by_time for table in TABLES if table.by_time is not None}
"""The tables that are divided, and by which column."""

_AHEAD: Final = 2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COMPRESSED_AFTER: Final = "INTERVAL '1 day'"
_SEGMENT: Final = "exchange, symbol"


@dataclass(frozen=True, slots=True)
class Extension:
    """What the server has of TimescaleDB.

    Attributes:
        available: whether it could be made.
        made: whether the database has it.
        edition: `apache` or `timescale`, which may compress and aggregate; `None` where unknown.
    """

    available: bool = False
    made: bool = False
    edition: str | None = None

    @property
    def divides(self) -> bool:
        """Whether tables can be made its hypertables."""
        return self.made

    @property
    def compresses(self) -> bool:
        """Whether its edition has compression, retention policies and continuous aggregates."""
        return self.made and self.edition == "timescale"


async def ask(connection: Connection) -> Extension:
    """What the server says of the extension."""
    found = await connection.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'), "
        "EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'), "
        "current_setting('timescaledb.license', true)"
    )
    (row,) = await found.fetchall()
    return Extension(*row)


async def is_hypertable(connection: Connection) -> bool | None:
    """Whether the tables that are there are the extension's; `None` if there are none yet."""
    found = await connection.execute(
        "SELECT relkind <> 'p' FROM pg_class WHERE oid = to_regclass('candles_1m')"
    )
    row = await found.fetchone()
    return None if row is None else bool(row[0])


def compression(extension: Extension) -> list[str]:
    """The statements by which old days are compressed, where the edition may; may be repeated."""
    if not extension.compresses:
        return []
    made = []
    for table, column in BY_DAY.items():
        made += [
            f"ALTER TABLE {table} SET (timescaledb.compress, "
            f"timescaledb.compress_segmentby = '{_SEGMENT}', "
            f"timescaledb.compress_orderby = '{column}')",
            f"SELECT add_compression_policy('{table}', {_COMPRESSED_AFTER}, if_not_exists => true)",
        ]
    return made


def day_of(ms: int) -> int:
    """The number of the day that holds an instant, from 1970-01-01."""
    return ms // DAY_MS


def partition(table: str, day: int) -> str:
    """The name of a day's part of a table."""
    return f"{table}_{_date(day):%Y%m%d}"


def days_ahead(now: int) -> range:
    """The days that should be there before anything of them comes."""
    today = day_of(now)
    return range(today, today + _AHEAD + 1)


async def make_days(connection: Connection, table: str, days: Collection[int]) -> None:
    """Makes the parts of a table that are not there, without holding up who reads the others.

    The caller holds the lock of the writers, so that no other makes or drops them.
    """
    names = {partition(table, day): day for day in days}
    found = await connection.execute(
        "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND pg_table_is_visible(oid)",
        (list(names),),
    )
    held = {name for (name,) in await found.fetchall()}
    for name in sorted(names.keys() - held):
        for statement in _making(table, name, names[name]):
            await connection.execute(statement.encode())


async def old_days(connection: Connection, table: str, cutoff: int) -> list[str]:
    """The parts of a table that hold nothing as new as a time, ms; the oldest first."""
    found = await connection.execute(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = to_regclass(%s) ORDER BY c.relname",
        (table,),
    )
    last = partition(table, day_of(cutoff))
    return [name for (name,) in await found.fetchall() if name < last]


def _making(table: str, name: str, day: int) -> Iterable[str]:
    low, high = (f"{_date(n):%Y-%m-%d} 00:00:00+00" for n in (day, day + 1))
    return (
        f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)",
        # Attached it is under a lock that readers do not mind; made as a part it would not be.
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')",
    )


def _date(day: int) -> datetime:
    return _EPOCH + timedelta(days=day)
