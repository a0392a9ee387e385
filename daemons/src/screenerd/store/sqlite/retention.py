"""What is dropped when it is old: found by a reader, deleted by the writer a little at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from screenerd.store.audit import HOUR_MS, hour_of
from screenerd.store.kept import AUDIT_HOURS, BARS_KEPT
from screenerd.store.rows import Row
from screenerd.store.sqlite.queries import exchanges, journalled, oldest_minutes

STEP_ROWS: Final = 2_000
"""Rows that one transaction deletes: a few milliseconds, so that candles need not wait."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A statement whose last parameter, added when it runs, limits how many rows it deletes."""

    sql: str
    parameters: Row


_OLD_CANDLES = (
    "DELETE FROM candles_1m WHERE exchange = ?1 AND symbol = ?2 AND time IN (SELECT time "
    "FROM candles_1m WHERE exchange = ?1 AND symbol = ?2 AND time < ?3 ORDER BY time LIMIT ?4)"
)
_OLD_METRICS = (
    "DELETE FROM metrics_calculated WHERE (exchange, symbol, time, timeframe) IN "
    "(SELECT exchange, symbol, time, timeframe FROM metrics_calculated WHERE time < ?1 LIMIT ?2)"
)
_OLD_JOURNAL = (
    "DELETE FROM candle_journal WHERE id IN (SELECT id FROM candle_journal "
    "WHERE exchange = ?1 AND received_at < ?2 ORDER BY received_at LIMIT ?3)"
)
_OLD_BARS = (
    "DELETE FROM bars WHERE exchange = ?1 AND timeframe = ?2 AND symbol = ?3 AND time IN ("
    "SELECT time FROM bars WHERE exchange = ?1 AND timeframe = ?2 AND symbol = ?3 "
    "AND time < ?4 ORDER BY time LIMIT ?5)"
)
# An alert that is still to be delivered stays, or its delivery would have nothing to say.
_OLD_ALERTS = (
    "DELETE FROM alert_history WHERE id IN (SELECT id FROM alert_history AS a "
    "WHERE a.triggered_at < ?1 AND NOT EXISTS (SELECT 1 FROM outbox AS o "
    "WHERE o.alert_id = a.id AND o.state = 'pending') LIMIT ?2)"
)
_OLD_DELIVERIES = (
    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE state <> 'pending' "
    "AND created_at < ?1 AND coalesce(sent_at, created_at) < ?1 LIMIT ?2)"
)
_OLD_LETTERS = (
    "DELETE FROM dead_letters WHERE id IN "
    "(SELECT id FROM dead_letters WHERE received_at < ?1 LIMIT ?2)"
)
_OLD_SCORES = (
    "DELETE FROM alert_scores WHERE alert_id IN "
    "(SELECT alert_id FROM alert_scores WHERE triggered_at < ?1 LIMIT ?2)"
)
_OLD_TRACKING = (
    "DELETE FROM tracking WHERE (exchange, symbol, since) IN "
    "(SELECT exchange, symbol, since FROM tracking WHERE until <= ?1 LIMIT ?2)"
)
_OLD_AUDIT = (
    "DELETE FROM audit WHERE (exchange, time, symbol) IN "
    "(SELECT exchange, time, symbol FROM audit WHERE time < ?1 LIMIT ?2)"
)


def outdated(connection: sqlite3.Connection, cutoff: int, scores_cutoff: int) -> list[Deletion]:
    """The deletions that leave what is not older than `cutoff`, ms; reads only.

    Scores are kept from `scores_cutoff` on.
    """
    return [
        *_candle_deletions(connection, cutoff),
        *(Deletion(_OLD_JOURNAL, (e, cutoff)) for e in journalled(connection)),
        *_bar_deletions(connection),
        Deletion(_OLD_METRICS, (cutoff,)),
        Deletion(_OLD_ALERTS, (cutoff,)),
        Deletion(_OLD_DELIVERIES, (cutoff,)),
        Deletion(_OLD_LETTERS, (cutoff,)),
        Deletion(_OLD_TRACKING, (hour_of(cutoff),)),
        Deletion(_OLD_SCORES, (scores_cutoff,)),
        Deletion(_OLD_AUDIT, (cutoff - AUDIT_HOURS * HOUR_MS,)),
    ]


@dataclass(frozen=True, slots=True)
class Step:
    """What one transaction of a prune did: rows deleted, deletions that found no more."""

    deleted: int
    finished: int


def delete_some(
    connection: sqlite3.Connection, deletions: Iterable[Deletion], rows: int = STEP_ROWS
) -> Step:
    """Runs deletions in their order until so many rows are gone."""
    deleted = finished = 0
    for deletion in deletions:
        room = rows - deleted
        gone = connection.execute(deletion.sql, (*deletion.parameters, room)).rowcount
        deleted += gone
        if gone == room:
            break
        finished += 1
    return Step(deleted, finished)


def _candle_deletions(connection: sqlite3.Connection, cutoff: int) -> list[Deletion]:
    return [
        Deletion(_OLD_CANDLES, (exchange, symbol, cutoff))
        for exchange in exchanges(connection)
        for symbol, oldest in oldest_minutes(connection, exchange).items()
        if oldest < cutoff
    ]


def _bar_deletions(connection: sqlite3.Connection) -> list[Deletion]:
    crowded = connection.execute(
        "SELECT exchange, timeframe, symbol FROM bars "
        "GROUP BY exchange, timeframe, symbol HAVING count(*) > ?",
        (BARS_KEPT,),
    ).fetchall()
    return [Deletion(_OLD_BARS, (*key, _first_kept(connection, key))) for key in crowded]


def _first_kept(connection: sqlite3.Connection, key: Row) -> int:
    newest = "SELECT time FROM bars WHERE exchange = ? AND timeframe = ? AND symbol = ?"
    row = connection.execute(f"{newest} ORDER BY time DESC LIMIT 1 OFFSET ?", (*key, BARS_KEPT - 1))
    return int(row.fetchone()[0])
