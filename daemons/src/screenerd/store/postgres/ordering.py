"""Days of candles that are over, put in the order in which they are read.

Minutes come with all symbols together, so that a page of one symbol's minutes is spread over as
many pages of the table. Once a day is over it is written anew, symbol by symbol, beside what is
there, and takes its place in a moment. Who reads is not held up, and who writes only where a minute
of that very day comes late.
"""

from __future__ import annotations

from typing import Final

import psycopg
import structlog

from screenerd.store.audit import HOUR_MS
from screenerd.store.postgres.connect import Connection, told
from screenerd.store.postgres.divided import day_of, partition
from screenerd.store.postgres.writer import WRITERS_LOCK

TABLE: Final = "candles_1m"
"""What is put in order: of the tables that are divided, the one that is read by symbol."""

KEY: Final = "exchange, symbol, time"
"""The order."""

_LOG = structlog.get_logger(__name__)
_LATE_MS: Final = HOUR_MS
_PATIENCE: Final = "SET LOCAL lock_timeout = '500ms'"
_UNORDERED: Final = (
    "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), pg_get_partition_constraintdef(c.oid) "
    "FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
    "JOIN pg_index AS x ON x.indrelid = c.oid AND x.indisprimary "
    "WHERE i.inhparent = to_regclass(%s) AND NOT x.indisclustered ORDER BY c.relname"
)


async def order_days(connection: Connection, now: int) -> list[str]:
    """Orders the days that have been over for an hour, each once; gives which it has.

    One that somebody reads for long, or that cannot be written anew, is left for the next time.

    Args:
        connection: one that is in no transaction.
        now: ms.

    Raises:
        psycopg.Error: the connection is lost.
    """
    current = partition(TABLE, day_of(now - _LATE_MS))
    found = await connection.execute(_UNORDERED.encode(), (TABLE,))
    done: list[str] = []
    for name, bounds, within in await found.fetchall():
        if name >= current:
            break
        try:
            async with connection.transaction():
                await _order(connection, name, bounds, within)
            # With this the server knows how much of what there is.
            await connection.execute(f"VACUUM (ANALYZE) {name}".encode())
        except psycopg.Error as error:
            if connection.broken:
                raise
            _LOG.info("store_day_not_ordered", table=name, reason=told(error))
            break
        done.append(name)
    return done


async def _order(connection: Connection, name: str, bounds: str, within: str) -> None:
    new, key = f"{name}_ordered", f"{name}_pkey"
    for statement in (
        _PATIENCE,
        f"LOCK TABLE {name} IN SHARE MODE",  # who reads does not mind
        f"CREATE TABLE {new} (LIKE {name} INCLUDING ALL EXCLUDING INDEXES, "
        f"CONSTRAINT of_the_day CHECK ({within}))",
        f"INSERT INTO {new} SELECT * FROM {name} ORDER BY {KEY}",  # noqa: S608
        f"ALTER TABLE {new} ADD PRIMARY KEY ({KEY})",
        # From here on whoever reads or writes would wait.
        f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})",
        f"LOCK TABLE ONLY {TABLE} IN ACCESS EXCLUSIVE MODE",
        f"ALTER TABLE {TABLE} DETACH PARTITION {name}",
        f"DROP TABLE {name}",
        f"ALTER TABLE {new} RENAME TO {name}",
        f"ALTER INDEX {new}_pkey RENAME TO {key}",
        # Nothing has to be looked through, as the rows are known to be the day's.
        f"ALTER TABLE {TABLE} ATTACH PARTITION {name} {bounds}",
        f"ALTER TABLE {name} DROP CONSTRAINT of_the_day",
        # What it is in the order of; it says, too, that this has been done.
        f"ALTER TABLE {name} CLUSTER ON {key}",
    ):
        await connection.execute(statement.encode())
