"""What is read: each function sees one snapshot of the file, and changes nothing."""

from __future__ import annotations

import sqlite3
from typing import Final

from screenerd.model import Alert, Candle
from screenerd.store.audit import Held, Span, audit_symbol
from screenerd.store.port import AuditRow, Bar, DeadLetter, Delivery
from screenerd.store.rows import (
    ALERT_COLUMNS,
    ANY_EXCHANGE,
    CANDLE_COLUMNS,
    DELIVERY_COLUMNS,
    alert_from,
    audit_from,
    candle_from,
    delivery_from,
)

# One seek a name, where DISTINCT would walk the whole table.
_NAMES = (
    "WITH RECURSIVE held (name) AS ("
    "SELECT min({column}) FROM {table} WHERE {where} UNION ALL "
    "SELECT (SELECT min({column}) FROM {table} WHERE {where} AND {column} > held.name) "
    "FROM held WHERE held.name IS NOT NULL)"
)
_SYMBOLS = _NAMES.format(column="symbol", table="candles_1m", where="exchange = ?1")


def _qualified(columns: str, table: str) -> str:
    return ", ".join(f"{table}.{column}" for column in columns.split(", "))


_CANDLES_OF_ALL = (
    f"{_SYMBOLS} SELECT {_qualified(CANDLE_COLUMNS, 'c')} FROM held "  # noqa: S608
    "CROSS JOIN candles_1m AS c ON c.exchange = ?1 AND c.symbol = held.name "
    "AND c.time >= ?2 AND c.time < ?3 ORDER BY c.time, c.symbol"
)
_CANDLES_OF_ONE = (
    f"SELECT {CANDLE_COLUMNS} FROM candles_1m "  # noqa: S608
    "WHERE exchange = ?1 AND time >= ?2 AND time < ?3 AND symbol = ?4 ORDER BY time"
)
_JOURNAL = (
    f"SELECT {CANDLE_COLUMNS} FROM candle_journal "  # noqa: S608
    "WHERE exchange = ? AND received_at >= ? AND received_at < ? ORDER BY id"
)
_ALERTS = (
    f"SELECT {ALERT_COLUMNS} FROM alert_history "  # noqa: S608
    "WHERE triggered_at >= ? ORDER BY triggered_at, symbol, alert_type, id"
)
_DUE = (
    f"SELECT {_qualified(DELIVERY_COLUMNS, 'o')}, {_qualified(ALERT_COLUMNS, 'a')} "  # noqa: S608
    "FROM outbox AS o JOIN alert_history AS a ON a.id = o.alert_id "
    "WHERE o.state = 'pending' AND o.next_try <= ? ORDER BY o.next_try, o.id LIMIT ?"
)
_DELIVERY_WIDTH: Final = DELIVERY_COLUMNS.count(",") + 1


def exchanges(connection: sqlite3.Connection) -> list[str]:
    """The exchanges of which minutes are held."""
    return _exchanges(connection, "candles_1m")


def journalled(connection: sqlite3.Connection) -> list[str]:
    """The exchanges that have a journal."""
    return _exchanges(connection, "candle_journal")


def oldest_minutes(connection: sqlite3.Connection, exchange: str) -> dict[str, int]:
    """The oldest stored minute of every symbol."""
    return _edge_minutes(connection, exchange, "min")


def newest_minutes(connection: sqlite3.Connection, exchange: str) -> dict[str, int]:
    """The newest stored minute of every symbol."""
    return _edge_minutes(connection, exchange, "max")


def candles(
    connection: sqlite3.Connection, exchange: str, symbol: str | None, start: int, end: int
) -> list[Candle]:
    """Candles that open in [start, end), of one symbol or of all, by time and symbol."""
    if symbol is None:
        found = connection.execute(_CANDLES_OF_ALL, (exchange, start, end))
    else:
        found = connection.execute(_CANDLES_OF_ONE, (exchange, start, end, symbol))
    return [candle_from(row) for row in found]


def journal(connection: sqlite3.Connection, exchange: str, start: int, end: int) -> list[Candle]:
    """Every version received in [start, end), in order of arrival."""
    return [candle_from(row) for row in connection.execute(_JOURNAL, (exchange, start, end))]


def bars(connection: sqlite3.Connection, exchange: str, timeframe: str) -> list[Bar]:
    """The bars of a length, by symbol and time."""
    found = connection.execute(
        "SELECT symbol, timeframe, time, close FROM bars "
        "WHERE exchange IN (?, ?) AND timeframe = ? ORDER BY symbol, time",
        (exchange, ANY_EXCHANGE, timeframe),
    )
    return [Bar(*row) for row in found]


def alerts(connection: sqlite3.Connection, since: int) -> list[Alert]:
    """Alerts triggered at `since` or later, oldest first."""
    return [alert_from(row) for row in connection.execute(_ALERTS, (since,))]


def due(connection: sqlite3.Connection, now: int, limit: int) -> list[tuple[Delivery, Alert]]:
    """Pending deliveries whose time has come, oldest first, each with its alert."""
    return [
        (delivery_from(row[:_DELIVERY_WIDTH]), alert_from(row[_DELIVERY_WIDTH:]))
        for row in connection.execute(_DUE, (now, limit))
    ]


def dead_letters(connection: sqlite3.Connection, limit: int) -> list[DeadLetter]:
    """The newest dead letters, newest first."""
    found = connection.execute(
        "SELECT exchange, received_at, reason, frame FROM dead_letters ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [DeadLetter(*row) for row in found]


def tracking(connection: sqlite3.Connection, exchange: str) -> dict[str, list[Span]]:
    """When each symbol was to be followed."""
    spans: dict[str, list[Span]] = {}
    for symbol, since, until in connection.execute(
        "SELECT symbol, since, until FROM tracking WHERE exchange = ? ORDER BY symbol, since",
        (exchange,),
    ):
        spans.setdefault(symbol, []).append(Span(since, until))
    return spans


def audit(connection: sqlite3.Connection, exchange: str, start: int, end: int) -> list[AuditRow]:
    """The audit of [start, end), by hour and symbol.

    An hour that was recorded before its candles were dropped is told as it was recorded.
    """
    found = {(row.hour, row.symbol): row for row in _counted(connection, exchange, start, end)}
    found.update(((r.hour, r.symbol), r) for r in _recorded(connection, exchange, start, end))
    return [found[key] for key in sorted(found)]


def last_recorded_hour(connection: sqlite3.Connection, exchange: str) -> int | None:
    """The newest hour that the table of the audit holds."""
    row = connection.execute("SELECT max(time) FROM audit WHERE exchange = ?", (exchange,))
    hour: int | None = row.fetchone()[0]
    return hour


def _counted(connection: sqlite3.Connection, exchange: str, start: int, end: int) -> list[AuditRow]:
    return [
        row
        for symbol, spans in tracking(connection, exchange).items()
        for row in audit_symbol(
            symbol, spans, _held(connection, exchange, symbol, start, end), start, end
        )
    ]


def _held(connection: sqlite3.Connection, exchange: str, symbol: str, start: int, end: int) -> Held:
    real: set[int] = set()
    absent: set[int] = set()
    for time, source in connection.execute(
        "SELECT time, source FROM candles_1m "
        "WHERE exchange = ? AND symbol = ? AND time >= ? AND time < ?",
        (exchange, symbol, start, end),
    ):
        (absent if source == "synthetic" else real).add(time)
    return Held(real, absent)


def _recorded(
    connection: sqlite3.Connection, exchange: str, start: int, end: int
) -> list[AuditRow]:
    found = connection.execute(
        "SELECT symbol, time, expected, held, absent, holes FROM audit "
        "WHERE exchange = ? AND time >= ? AND time < ?",
        (exchange, start, end),
    )
    return [audit_from(row) for row in found]


def _exchanges(connection: sqlite3.Connection, table: str) -> list[str]:
    names = _NAMES.format(column="exchange", table=table, where="TRUE")
    found = connection.execute(names + " SELECT name FROM held WHERE name IS NOT NULL")  # noqa: S608
    return [name for (name,) in found]


def _edge_minutes(connection: sqlite3.Connection, exchange: str, which: str) -> dict[str, int]:
    edges = (
        f"{_SYMBOLS} SELECT name, (SELECT {which}(time) FROM candles_1m "  # noqa: S608
        "WHERE exchange = ?1 AND symbol = name) FROM held WHERE name IS NOT NULL"
    )
    return dict(connection.execute(edges, (exchange,)).fetchall())
