"""The schema's steps in PostgreSQL's SQL, and how a database takes them.

Each runs in a transaction of its own together with its row in `schema_migrations`, so that a
process killed at any statement leaves the step either done or not begun. A lock lets one process
after the other do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from screenerd.store.postgres.connect import Connection
from screenerd.store.postgres.values import Ms
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

# By code points, as the other store orders them, whatever the language of the server.
_TYPES: Final = {
    Type.TEXT: 'text COLLATE "C"',
    Type.WHOLE: "bigint",
    Type.REAL: "double precision",
    Type.TIME: "timestamptz",
    Type.FLAG: "boolean",
    Type.JSON: "jsonb",
    Type.TEXTS: "text[]",
    Type.BYTES: "bytea",
    Type.NUMBER: "bigint",
}
_MIGRATIONS_LOCK: Final = 0x73637265_656E6573
_REGISTER: Final = """CREATE TABLE IF NOT EXISTS schema_migrations (
    number bigint PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL
)"""


async def migrate(
    connection: Connection,
    now: int,
    migrations: Sequence[Migration] = MIGRATIONS,
    *,
    timescale: bool = False,
) -> list[int]:
    """Takes the steps that have not been taken; gives their numbers.

    Args:
        connection: one that commits by itself.
        now: the time, ms.
        migrations: the steps.
        timescale: whether the tables that grow by the minute are the extension's to divide.

    Raises:
        StoreError: the database has steps that this program does not know.
        psycopg.Error: a step failed; it and those after it have not been taken.
    """
    taken: list[int] = []
    while True:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATIONS_LOCK,))
            todo = missing(await applied_numbers(connection), migrations)
            if not todo:
                return taken
            await _take(connection, todo[0], now, timescale=timescale)
        taken.append(todo[0].number)


async def applied_numbers(connection: Connection) -> set[int]:
    """The numbers of the steps that a database has."""
    found = await connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")
    if await found.fetchone() != (True,):
        return set()
    found = await connection.execute("SELECT number FROM schema_migrations")
    return {number for (number,) in await found.fetchall()}


async def _take(connection: Connection, step: Migration, now: int, *, timescale: bool) -> None:
    await connection.execute(_REGISTER)
    for change in step.statements:
        for statement in sql(change, timescale=timescale):
            await connection.execute(statement.encode())
    await connection.execute(
        "INSERT INTO schema_migrations (number, name, applied_at) VALUES (%s, %s, %s)",
        (step.number, step.name, Ms(now)),
    )


def sql(change: Change, *, timescale: bool = False) -> list[str]:
    """A statement of a step as PostgreSQL takes it: one, or several that belong together."""
    match change:
        case Table():
            return _table(change, timescale=timescale)
        case Index(name, table, columns, where):
            only = f" WHERE {where}" if where else ""
            return [f"CREATE INDEX {name} ON {table} ({listed(columns)}){only}"]
        case AddColumn(table, column):
            return [f"ALTER TABLE {table} ADD COLUMN {_column(column)}"]
        case DropIndex(name):
            return [f"DROP INDEX {name}"]
        case _:
            return [change]


def _table(table: Table, *, timescale: bool) -> list[str]:
    number = next((c.name for c in table.columns if c.type is Type.NUMBER), None)
    if table.followed:
        number = "number"
    parts = [_column(column) for column in table.columns if column.name != number]
    made = []
    if number is not None:
        made.append(f"CREATE SEQUENCE {table.name}_{number}")
        parts.insert(0, f"{number} bigint NOT NULL DEFAULT nextval('{table.name}_{number}')")
    parts += _keys(table, number)
    body = ",\n    ".join(parts)
    by_day = table.by_time is not None and not timescale
    tail = f" PARTITION BY RANGE ({table.by_time})" if by_day else ""
    made.append(f"CREATE TABLE {table.name} (\n    {body}\n){tail}")
    if number is not None:
        made.append(f"ALTER SEQUENCE {table.name}_{number} OWNED BY {table.name}.{number}")
    if table.by_time is not None and timescale:
        made.append(
            f"SELECT create_hypertable('{table.name}', '{table.by_time}', "
            "chunk_time_interval => INTERVAL '1 day')"
        )
    return made


def _keys(table: Table, number: str | None) -> list[str]:
    keys = []
    if table.key:
        keys.append(f"PRIMARY KEY ({listed(table.key)})")
    if table.followed:
        keys.append(f"UNIQUE ({number})")
    if not table.key:
        # A divided table's key holds what it is divided by.
        by = [name for name in (number, table.by_time) if name is not None]
        keys.append(f"PRIMARY KEY ({listed(by)})")
    if table.unique:
        keys.append(f"UNIQUE ({listed(table.unique)})")
    return keys


def _column(column: Column) -> str:
    parts = [column.name, _TYPES[column.type]]
    if not column.optional:
        parts.append("NOT NULL")
    if column.default is not None:
        parts.append(f"DEFAULT {_default(column)}")
    if column.among:
        values = listed(f"'{value}'" for value in column.among)
        parts.append(f"CHECK ({column.name} IN ({values}))")
    if column.type is Type.REAL and not column.optional:
        parts.append(f"CHECK ({column.name} <> 'NaN')")
    return " ".join(parts)


def _default(column: Column) -> str:
    if column.type is Type.TEXTS:
        return "'{}'"
    if isinstance(column.default, bool):
        return str(column.default).lower()
    return f"'{column.default}'"
