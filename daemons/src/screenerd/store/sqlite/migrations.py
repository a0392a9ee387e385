"""The schema's steps in SQLite's SQL, and how a file takes them.

Each runs in a transaction of its own together with its row in `schema_migrations`, so that a
process killed at any statement leaves the step either done or not begun.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from screenerd.store.schema import (
    MIGRATIONS,
    AddColumn,
    Change,
    Column,
    DropIndex,
    Index,
    Migration,
    Table,
    Type,
    listed,
    missing,
)

_TYPES: Final = {
    Type.TEXT: "TEXT",
    Type.WHOLE: "INTEGER",
    Type.REAL: "REAL",
    Type.TIME: "INTEGER",
    Type.FLAG: "INTEGER",
    Type.JSON: "TEXT",
    Type.TEXTS: "TEXT",
    Type.BYTES: "BLOB",
    Type.NUMBER: "INTEGER",
}

_NUMBERED: Final = frozenset({"alert_rules", "user_settings"})
"""Tables that were released with numbered rows and do not need them."""

_REGISTER = """CREATE TABLE IF NOT EXISTS schema_migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT"""


def sql(change: Change) -> str:
    """A statement of a step as SQLite takes it."""
    match change:
        case Table():
            return _table(change)
        case Index(name, table, columns, where):
            only = f" WHERE {where}" if where else ""
            return f"CREATE INDEX {name} ON {table} ({listed(columns)}){only}"
        case AddColumn(table, column):
            return f"ALTER TABLE {table} ADD COLUMN {_column(column)}"
        case DropIndex(name):
            return f"DROP INDEX {name}"
        case _:
            return change


def _table(table: Table) -> str:
    parts = [_column(column) for column in table.columns]
    if table.key:
        parts.append(f"PRIMARY KEY ({listed(table.key)})")
    if table.unique:
        parts.append(f"UNIQUE ({listed(table.unique)})")
    body = ",\n    ".join(parts)
    # Without a number of its own a row cannot be read in the order it was stored.
    numbered = table.followed or not table.key or table.name in _NUMBERED
    options = "STRICT" if numbered else "WITHOUT ROWID, STRICT"
    return f"CREATE TABLE {table.name} (\n    {body}\n) {options}"


def _column(column: Column) -> str:
    parts = [column.name, _TYPES[column.type]]
    if column.type is Type.NUMBER:
        parts.append("PRIMARY KEY")
    elif not column.optional:
        parts.append("NOT NULL")
    if column.default is not None:
        value = column.default
        parts.append(f"DEFAULT '{value}'" if isinstance(value, str) else f"DEFAULT {int(value)}")
    if column.among:
        values = listed(f"'{value}'" for value in column.among)
        parts.append(f"CHECK ({column.name} IN ({values}))")
    return " ".join(parts)


def migrate(
    connection: sqlite3.Connection, now: int, migrations: Sequence[Migration] = MIGRATIONS
) -> list[int]:
    """Takes the steps that have not been taken; gives their numbers.

    The connection must not be in a transaction, and begin none by itself.

    Raises:
        StoreError: the file has steps that this program does not know.
        sqlite3.Error: a step failed; it and those after it have not been taken.
    """
    todo = missing(applied_numbers(connection), migrations)
    for step in todo:
        _take(connection, step, now)
    return [step.number for step in todo]


def applied_numbers(connection: sqlite3.Connection) -> set[int]:
    """The numbers of the steps that a file has."""
    known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'"
    if connection.execute(known).fetchone() is None:
        return set()
    return {number for (number,) in connection.execute("SELECT number FROM schema_migrations")}


def _take(connection: sqlite3.Connection, step: Migration, now: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_REGISTER)
        for statement in step.statements:
            connection.execute(sql(statement))
        connection.execute(
            "INSERT INTO schema_migrations (number, name, applied_at) VALUES (?, ?, ?)",
            (step.number, step.name, now),
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise
