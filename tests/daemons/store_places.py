"""The stores that the same tests are run on, each empty."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from databases import ask
from store_values import HandClock

from screenerd.clock import Clock
from screenerd.store.postgres import PostgresStore
from screenerd.store.postgres import writes as postgres_writes
from screenerd.store.postgres.reader import PostgresReader
from screenerd.store.sqlite import SqliteStore
from screenerd.store.sqlite import writes as sqlite_writes
from screenerd.store.sqlite.connect import open_reader
from screenerd.store.sqlite.reader import SqliteReader

KINDS = ("sqlite", "postgres")


class Place(Protocol):
    """Where a store is."""

    writes: ModuleType

    def opened(self, clock: Clock | None = None, **options: Any) -> SqliteStore | PostgresStore:
        """A store there, with a clock that stands unless another is given."""
        ...

    def reader(self, clock: Clock) -> SqliteReader | PostgresReader:
        """What reads there, beside the store."""
        ...

    async def rows(self, sql: str) -> list[Any]:
        """What a query finds there."""
        ...


class SqlitePlace:
    """A file."""

    writes = sqlite_writes

    def __init__(self, path: Path) -> None:
        """Names it."""
        self.path = path

    def opened(self, clock: Clock | None = None, **options: Any) -> SqliteStore:
        """A store there."""
        return SqliteStore(self.path, clock or HandClock(), **{"commit_after": 0.005, **options})

    def reader(self, clock: Clock) -> SqliteReader:
        """What reads there, beside the store."""
        return SqliteReader(self.path, clock)

    async def rows(self, sql: str) -> list[Any]:
        """What a query finds there."""
        with closing(open_reader(self.path)) as connection:
            return connection.execute(sql).fetchall()


class PostgresPlace:
    """A database."""

    writes = postgres_writes

    def __init__(self, url: str) -> None:
        """Names it."""
        self.url = url

    def opened(self, clock: Clock | None = None, **options: Any) -> PostgresStore:
        """A store there."""
        return PostgresStore(self.url, clock or HandClock(), **{"commit_after": 0.005, **options})

    def reader(self, clock: Clock) -> PostgresReader:
        """What reads there, beside the store."""
        return PostgresReader(self.url, clock)

    async def rows(self, sql: str) -> list[Any]:
        """What a query finds there; instants as ms, as the other store has them."""
        return ask(self.url, sql)
