"""Databases for tests: fresh ones on the machine's PostgreSQL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from screenerd.store.postgres.values import adapt
from screenerd.store.schema import TABLES

SERVER = "postgresql://postgres@127.0.0.1:5432"


@contextmanager
def fresh_database(server: str = SERVER) -> Iterator[str]:
    """The url of an empty database, which goes afterwards.

    Skips where no server answers, and fails where CI runs.
    """
    name = f"test_{uuid.uuid4().hex}"
    try:
        admin = psycopg.connect(f"{server}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.Error as error:
        why = f"no PostgreSQL answers at {server}: {error}"
        if os.environ.get("CI") or os.environ.get("NOX"):
            pytest.fail(why)
        pytest.skip(why)
    with admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield f"{server}/{name}"
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    admin.close()


def ask(url: str, sql: str) -> list[Any]:
    """The rows of a query; instants as ms, as the store has them."""
    with psycopg.connect(url, autocommit=True) as connection:
        adapt(connection)
        return connection.execute(sql.encode(), binary=True).fetchall()


def empty(url: str) -> None:
    """Takes all rows out of a store's database."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = [
            table.name
            for table in TABLES
            if connection.execute("SELECT to_regclass(%s)", (table.name,)).fetchone() != (None,)
        ]
        if tables:
            connection.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY".encode())
