"""The threads that read, each with a connection that cannot write."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from screenerd.store.port import StoreError
from screenerd.store.sqlite.connect import damaged, is_damage, open_reader

T = TypeVar("T")

_THREADS: Final = 2
_STEPS_BETWEEN_LOOKS: Final = 10_000


class Readers:
    """Runs queries beside the writer, which they neither wait for nor hold up.

    A query ends after `longest` seconds, because the log cannot shrink while one of them looks at
    an old state.
    """

    def __init__(self, path: Path, *, longest: float = 60.0) -> None:
        """Opens nothing yet."""
        self._path = path
        self._longest = longest
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="store-reader")

    async def run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a query on one snapshot of the file.

        Raises:
            StoreError: the file cannot be read, or the query took too long.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, self._query, query)
        except RuntimeError as error:
            raise StoreError("the store is closed") from error

    async def close(self) -> None:
        """Waits for the queries that run, and closes the connections."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._executor.shutdown)
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def _query(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._take()
            result = self._look(connection, query)
        except sqlite3.Error as error:
            raise self._explain(error) from error
        self._idle.put(connection)
        return result

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.get_nowait()
        except Empty:
            return open_reader(self._path)

    def _look(self, connection: sqlite3.Connection, query: Callable[[sqlite3.Connection], T]) -> T:
        end = time.monotonic() + self._longest
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
        try:
            connection.execute("BEGIN")
            result = query(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()  # whatever ails it, the next query has a new one
            raise
        return result

    def _explain(self, error: sqlite3.Error) -> StoreError:
        if is_damage(error):
            return damaged(self._path, str(error))
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            return StoreError(f"a query took more than {self._longest:g} s: ask for less at once")
        return StoreError(f"{self._path} could not be read: {error}")
