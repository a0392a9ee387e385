"""Days of candles that are over, put in the order in which they are read.

Minutes come with all symbols together, so that a page of one symbol's minutes is spread over as
many pages of the table. Once a day is over it is written anew, symbol by symbol, beside what is
there, and takes its place in a moment. Who reads is not held up, and who writes only where a minute
of that very day comes late.
"""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
import structlog

from screenerd.store.audit import HOUR_MS
from screenerd.store.port import StoreError
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
# Whether all that a transaction wrote is frozen: the oldest that is not is younger.
_FROZEN: Final = "SELECT age(relfrozenxid) < age(%s::xid) FROM pg_class WHERE oid = to_regclass(%s)"
_TRIES: Final = 10
_TRY_SECONDS: Final = 0.2


async def order_days(connection: Connection, beside: Connection, now: int) -> list[str]:
    """Orders the days that have been over for an hour, each once; gives which it has.

    One that somebody reads for long, or that cannot be written anew, is left for the next time.

    Args:
        connection: one that is in no transaction; keeps writers off, and puts a day in its place.
        beside: another one, which writes it anew.
        now: ms.

    Raises:
        psycopg.Error: a connection is lost.
    """
    await _drop_unfinished(beside)
    current = partition(TABLE, day_of(now - _LATE_MS))
    found = await connection.execute(_UNORDERED.encode(), (TABLE,))
    done: list[str] = []
    for name, bounds, within in await found.fetchall():
        if name >= current:
            break
        try:
            async with connection.transaction():
                await _run(connection, _PATIENCE, f"LOCK TABLE {name} IN SHARE MODE")
                await _write_anew(beside, name, within)
                await _take_over(connection, name, bounds)
        except (psycopg.Error, StoreError) as error:
            if connection.broken or beside.broken:
                raise
            _LOG.info("store_day_not_ordered", table=name, reason=told(error))
            await _drop_unfinished(beside)
            break
        done.append(name)
    return done


async def _drop_unfinished(connection: Connection) -> None:
    """What was written anew and did not take its place: this process was killed, or held up."""
    found = await connection.execute(
        "SELECT relname FROM pg_class WHERE relname ~ %s AND relkind = 'r' "
        "AND pg_table_is_visible(oid)",
        (f"^{TABLE}_[0-9]{{8}}_ordered$",),
    )
    for (name,) in await found.fetchall():
        await _run(connection, f"DROP TABLE {name}")


async def _write_anew(connection: Connection, name: str, within: str) -> None:
    """The rows in their order, in a table that all see alike, whenever they began to look.

    A statement that waits for the day to be put in its place has begun before it was written:
    it sees rows that are frozen, and would see no others.
    """
    new = _new(name)
    async with connection.transaction():
        await _run(
            connection,
            f"CREATE TABLE {new} (LIKE {name} INCLUDING ALL EXCLUDING INDEXES, "
            f"CONSTRAINT of_the_day CHECK ({within}))",
            f"INSERT INTO {new} SELECT * FROM {name} ORDER BY {KEY}",  # noqa: S608
            f"ALTER TABLE {new} ADD PRIMARY KEY ({KEY})",
        )
        found = await connection.execute("SELECT pg_current_xact_id()::xid::text")
        ((writing,),) = await found.fetchall()
    for _ in range(_TRIES):
        await _run(connection, f"VACUUM (FREEZE, ANALYZE) {new}")
        found = await connection.execute(_FROZEN.encode(), (writing, new))
        if await found.fetchone() == (True,):
            return
        await asyncio.sleep(_TRY_SECONDS)
    raise StoreError(f"somebody has read or written since before {new} was written")


async def _take_over(connection: Connection, name: str, bounds: str) -> None:
    new, key = _new(name), f"{name}_pkey"
    await _run(
        connection,
        # From here on whoever reads or writes waits.
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
    )


async def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        await connection.execute(statement.encode())


def _new(name: str) -> str:
    return f"{name}_ordered"
