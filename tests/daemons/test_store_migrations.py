"""Steps of the schema: once each, whole or not at all, and never backwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from screenerd.store.port import StoreError
from screenerd.store.schema import MIGRATIONS, Migration
from screenerd.store.sqlite.migrations import applied_numbers, migrate

TABLES = {
    "candles_1m",
    "candle_journal",
    "bars",
    "metrics_calculated",
    "alert_history",
    "alert_rules",
    "user_settings",
    "audit",
    "outbox",
    "dead_letters",
    "tracking",
    "schema_migrations",
}
ALL = [step.number for step in MIGRATIONS]
STATEMENTS = sum(4 + len(step.statements) for step in MIGRATIONS)


class Killed(BaseException):
    """Stands for the end of the process."""


class Mortal(sqlite3.Connection):
    """Dies before its n-th statement of the migration."""

    left: int | None = None

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """Counts what changes something."""
        if self.left is not None and not sql.startswith("SELECT"):
            if self.left == 0:
                raise Killed
            self.left -= 1
        return super().execute(sql, *arguments)


def opened(path: Path) -> closing[Mortal]:
    return closing(sqlite3.connect(path, isolation_level=None, factory=Mortal))


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture(scope="module")
def wanted() -> Iterator[list[tuple[str, str]]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, 0)
        yield schema(connection)


def test_numbers_rise_from_one() -> None:
    assert list(range(1, len(ALL) + 1)) == ALL


def test_makes_every_table_and_runs_once(path: Path) -> None:
    with opened(path) as connection:
        assert migrate(connection, 17) == ALL
        assert {name for name, _ in schema(connection)} >= TABLES
        assert migrate(connection, 18) == []
        times = connection.execute("SELECT DISTINCT applied_at FROM schema_migrations")
        assert times.fetchall() == [(17,)]


@pytest.mark.parametrize("statement", range(STATEMENTS))
def test_killed_before_any_statement_it_can_be_run_again(
    path: Path, statement: int, wanted: list[tuple[str, str]]
) -> None:
    with opened(path) as connection:
        connection.left = statement
        with pytest.raises(Killed):
            migrate(connection, 0)
    with opened(path) as connection:
        done = applied_numbers(connection)
        assert done == set(ALL[: len(done)])
        assert migrate(connection, 0) == ALL[len(done) :]
        assert schema(connection) == wanted


def test_the_count_of_statements_is_the_true_one(path: Path) -> None:
    with opened(path) as connection:
        connection.left = STATEMENTS
        assert migrate(connection, 0) == ALL
        assert connection.left == 0


def test_a_step_that_fails_leaves_nothing_of_it(path: Path) -> None:
    broken = Migration(len(ALL) + 1, "broken", ("CREATE TABLE half (a)", "CREATE NONSENSE"))
    with opened(path) as connection:
        with pytest.raises(sqlite3.OperationalError, match="NONSENSE"):
            migrate(connection, 0, (*MIGRATIONS, broken))
        assert applied_numbers(connection) == set(ALL)
        assert "half" not in {name for name, _ in schema(connection)}
        assert not connection.in_transaction


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    later = Migration(len(ALL) + 1, "later", ("CREATE TABLE later (a)",))
    with opened(path) as connection:
        migrate(connection, 0, (*MIGRATIONS, later))
        before = schema(connection)
        with pytest.raises(StoreError, match=f"at step {later.number}.*up to {len(ALL)}.*newer"):
            migrate(connection, 0)
        assert schema(connection) == before


def test_an_older_file_gets_what_it_lacks(path: Path, wanted: list[tuple[str, str]]) -> None:
    with opened(path) as connection:
        migrate(connection, 0, MIGRATIONS[:1])
    with opened(path) as connection:
        assert migrate(connection, 0) == ALL[1:]
        assert schema(connection) == wanted
