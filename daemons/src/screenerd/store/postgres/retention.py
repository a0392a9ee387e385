"""What is dropped when it is old: whole days where there are such, and the rest row by row.

It runs beside the writer, which it does not hold up: a day that somebody reads is left for the next
time.
"""

from __future__ import annotations

from typing import Final

import psycopg
import structlog

from screenerd.store.audit import HOUR_MS, hour_of
from screenerd.store.kept import AUDIT_HOURS, BARS_KEPT
from screenerd.store.postgres.connect import Connection
from screenerd.store.postgres.divided import BY_DAY, DAY_MS, days_ahead, make_days, old_days
from screenerd.store.postgres.values import Ms
from screenerd.store.postgres.writer import WRITERS_LOCK

_LOG = structlog.get_logger(__name__)

_PATIENCE: Final = "SET LOCAL lock_timeout = '1s'"
_BUSY: Final = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

# The time from which on the bars of each crowded key stay is looked up first, by the key, and not
# joined: the planner might walk a key's bars once for each of them.
_OLD_BARS = (
    "WITH crowded AS MATERIALIZED (SELECT k.*, (SELECT time FROM bars AS o "
    "WHERE o.exchange = k.exchange AND o.timeframe = k.timeframe AND o.symbol = k.symbol "
    "ORDER BY time DESC OFFSET %(kept)s - 1 LIMIT 1) AS kept FROM ("
    "SELECT exchange, timeframe, symbol FROM bars GROUP BY exchange, timeframe, symbol "
    "HAVING count(*) > %(kept)s) AS k) DELETE FROM bars AS b USING crowded AS c "
    "WHERE b.exchange = c.exchange AND b.timeframe = c.timeframe AND b.symbol = c.symbol "
    "AND b.time < c.kept"
)
# An alert that is still to be delivered stays, or its delivery would have nothing to say.
_OLD_ALERTS = (
    "DELETE FROM alert_history AS a WHERE a.triggered_at < %s AND NOT EXISTS ("
    "SELECT 1 FROM outbox AS o WHERE o.alert_id = a.id AND o.state = 'pending')"
)
_OLD_DELIVERIES = (
    "DELETE FROM outbox WHERE state <> 'pending' "
    "AND created_at < %(cutoff)s AND coalesce(sent_at, created_at) < %(cutoff)s"
)


async def drop_old(connection: Connection, cutoff: int, scores_cutoff: int, *, by_day: bool) -> int:
    """Leaves what is not older than `cutoff`, ms, and scores from `scores_cutoff` on.

    Gives how many rows went.
    """
    gone = 0
    for table, column in BY_DAY.items():
        if by_day:
            gone += await _drop_days(connection, table, cutoff)
        else:
            gone += await _drop_chunks(connection, table, column, cutoff)
        # Of the day that holds the cutoff: the days before are gone, or somebody reads them.
        since = cutoff // DAY_MS * DAY_MS
        gone += await _delete(
            connection,
            f"DELETE FROM {table} WHERE {column} >= %s AND {column} < %s",  # noqa: S608
            (Ms(since), Ms(cutoff)),
        )
    hour, audited = hour_of(cutoff), cutoff - AUDIT_HOURS * HOUR_MS
    gone += await _delete(connection, _OLD_BARS, {"kept": BARS_KEPT})
    gone += await _delete(connection, _OLD_ALERTS, (Ms(cutoff),))
    gone += await _delete(connection, _OLD_DELIVERIES, {"cutoff": Ms(cutoff)})
    for table, column, before in (
        ("dead_letters", "received_at", cutoff),
        ("tracking", "until", hour + 1),
        ("alert_scores", "triggered_at", scores_cutoff),
        ("audit", "time", audited),
    ):
        sql = f"DELETE FROM {table} WHERE {column} < %s"  # noqa: S608
        gone += await _delete(connection, sql, (Ms(before),))
    return gone


async def make_ahead(connection: Connection, now: int) -> None:
    """Makes the days that come next, so that no candle has to wait for them."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS_LOCK,))
        for table in BY_DAY:
            await make_days(connection, table, days_ahead(now))


async def _drop_days(connection: Connection, table: str, cutoff: int) -> int:
    gone = 0
    for name in await old_days(connection, table, cutoff):
        try:
            async with connection.transaction():
                await connection.execute(_PATIENCE)
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS_LOCK,))
                await connection.execute(
                    f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE".encode()
                )
                found = await connection.execute(f"SELECT count(*) FROM {name}".encode())  # noqa: S608
                row = await found.fetchone()
                await connection.execute(f"DROP TABLE {name}".encode())
                gone += int(row[0]) if row else 0
        except _BUSY as error:
            _LOG.info("store_day_kept", table=name, reason=str(error))
            break
    return gone


async def _drop_chunks(connection: Connection, table: str, column: str, cutoff: int) -> int:
    """Drops the extension's days, which every edition of it can."""
    before = Ms(cutoff // DAY_MS * DAY_MS)
    found = await connection.execute(
        f"SELECT count(*) FROM {table} WHERE {column} < %s".encode(),  # noqa: S608
        (before,),
    )
    row = await found.fetchone()
    await connection.execute("SELECT drop_chunks(%s::regclass, %s)", (table, before))
    return int(row[0]) if row else 0


async def _delete(
    connection: Connection, sql: str, asked: tuple[object, ...] | dict[str, object]
) -> int:
    done = await connection.execute(sql.encode(), asked)
    return done.rowcount
