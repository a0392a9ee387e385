"""Days of candles that are over, put in the order in which they are read.

Minutes come with all symbols together, so that a page of one symbol's minutes is spread over as
many pages of the table. Once a day is over it is written anew, symbol by symbol, beside what is
there, and takes its place in a moment. Nobody is held up while it is written; a day of which a
minute comes late meanwhile is written again the next time.
"""

from __future__ import annotations

import asyncio
import time
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
_UNLOCK: Final = f"SELECT pg_advisory_unlock({WRITERS_LOCK})"
_PATIENCE: Final = "SET LOCAL lock_timeout = '500ms'"
_UNORDERED: Final = (
    "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), pg_get_partition_constraintdef(c.oid) "
    "FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
    "JOIN pg_index AS x ON x.indrelid = c.oid AND x.indisprimary "
    "WHERE i.inhparent = to_regclass(%s) AND NOT x.indisclustered ORDER BY c.relname"
)
# Whether all that a transaction wrote is frozen: the oldest that is not is younger.
_FROZEN: Final = "SELECT age(relfrozenxid) < age(%s::xid) FROM pg_class WHERE oid = to_regclass(%s)"
# What has been written since a transaction began, and how many rows there are.
_SINCE: Final = "SELECT count(*) FILTER (WHERE age(xmin) < age(%s::xid)), count(*) FROM {}"
_TRIES: Final = 10
_TRY_SECONDS: Final = 0.2


async def order_days(connection: Connection, now: int) -> list[str]:
    """Orders the days that have been over for an hour, each once; gives which it has.

    One that is written to meanwhile, that somebody reads for long, or that cannot be written anew
    is left for the next time.

    Args:
        connection: one that is in no transaction, and may be closed after.
        now: ms.

    Raises:
        psycopg.Error: the connection is lost.
    """
    await _drop_unfinished(connection)
    current = partition(TABLE, day_of(now - _LATE_MS))
    found = await connection.execute(_UNORDERED.encode(), (TABLE,))
    done: list[str] = []
    for name, bounds, within in await found.fetchall():
        if name >= current:
            break
        began = time.monotonic()
        try:
            writing, rows = await _write_anew(connection, name, within)
            await _freeze(connection, name, writing)
            async with connection.transaction():
                await _take_over(connection, name, bounds, writing, rows)
        except (psycopg.Error, StoreError) as error:
            _LOG.info("store_day_not_ordered", table=name, reason=told(error))
            await _drop_unfinished(connection)
        else:
            seconds = round(time.monotonic() - began, 2)
            _LOG.info("store_day_ordered", table=name, rows=rows, seconds=seconds)
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


async def _write_anew(connection: Connection, name: str, within: str) -> tuple[str, int]:
    """The rows in their order, in another table; gives the transaction, and how many they are.

    It begins while no writer is at work: what it does not see has been written later.
    """
    new = _new(name)
    await _run(connection, f"SELECT pg_advisory_lock({WRITERS_LOCK})")
    locked = True
    try:
        async with connection.transaction():
            await _run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = await connection.execute("SELECT pg_current_xact_id()::xid::text")
            ((writing,),) = await found.fetchall()
            await _run(connection, _UNLOCK)
            locked = False
            await _run(
                connection,
                f"CREATE TABLE {new} (LIKE {name} INCLUDING ALL EXCLUDING INDEXES, "
                f"CONSTRAINT of_the_day CHECK ({within}))",
            )
            done = await connection.execute(
                f"INSERT INTO {new} SELECT * FROM {name} ORDER BY {KEY}".encode()  # noqa: S608
            )
            await _run(connection, f"ALTER TABLE {new} ADD PRIMARY KEY ({KEY})")
            return writing, done.rowcount
    finally:
        if locked:
            await _run(connection, _UNLOCK)


async def _freeze(connection: Connection, name: str, writing: str) -> None:
    """Makes all see the rows alike, whenever they began to look.

    Who looks at an earlier moment would find the day empty: it was written later.
    """
    for _ in range(_TRIES):
        await _run(connection, f"VACUUM (FREEZE, ANALYZE) {_new(name)}")
        found = await connection.execute(_FROZEN.encode(), (writing, _new(name)))
        if await found.fetchone() == (True,):
            return
        await asyncio.sleep(_TRY_SECONDS)
    raise StoreError(f"somebody looks at a moment before {_new(name)} was written")


async def _take_over(
    connection: Connection, name: str, bounds: str, writing: str, rows: int
) -> None:
    new, key = _new(name), f"{name}_pkey"
    await _run(
        connection,
        _PATIENCE,
        f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})",  # from here on writers wait
        f"LOCK TABLE {name} IN SHARE MODE",
    )
    found = await connection.execute(_SINCE.format(name).encode(), (writing,))
    if await found.fetchone() != (0, rows):
        raise StoreError("it was written to meanwhile")
    await _run(
        connection,
        f"LOCK TABLE ONLY {TABLE} IN ACCESS EXCLUSIVE MODE",  # from here on readers wait, too
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
