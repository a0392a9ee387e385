"""The thread that writes: what is pending goes into one transaction, and is done with it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event
from typing import Final, TypeVar, cast

from screenerd.backoff import Backoff
from screenerd.clock import Clock
from screenerd.store.group import TRANSACTION_ROWS, Outcome, Pending, Request, refusal
from screenerd.store.port import StoreError

T = TypeVar("T")

Operation = Callable[[sqlite3.Connection], T]
"""Runs inside a transaction; may run again if the commit fails, and must then do the same."""

_CHECKPOINT_ROWS: Final = 4_000

# Faults of what was to be written, not of the file: its request fails and the others do not.
_REQUEST_FAULTS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    StoreError,
    OverflowError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Files:
    """How the writer gets at its file.

    Attributes:
        first: opens it at the start, when no other process can.
        release: lets other processes have it.
        again: opens it after the error given, once it is known to be writable.
    """

    first: Callable[[], sqlite3.Connection]
    release: Callable[[], None]
    again: Callable[[sqlite3.Error], sqlite3.Connection]


class GroupWriter(Pending):
    """Commits requests of many tasks together, in a thread."""

    def __init__(self, files: Files, clock: Clock, *, commit_after: float, queue_rows: int) -> None:
        """Takes what it needs; `start` begins.

        Args:
            files: how to open the file.
            clock: tells when the state changed.
            commit_after: seconds the first pending row waits for others.
            queue_rows: rows that may be pending; who brings more waits.
        """
        super().__init__(clock, commit_after=commit_after, queue_rows=queue_rows)
        self._files = files
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self._backoff = Backoff(first=0.1, longest=5.0)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._stopping = Event()
        self._unchecked_rows = 0

    async def start(self) -> None:
        """Opens the file and starts the thread.

        Raises:
            StoreError: the file cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        opened: Future[None] = Future()
        self._thread = self._executor.submit(self._run, opened)
        try:
            await asyncio.wrap_future(opened)
        except BaseException:
            self._end()
            raise
        self._thread.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Commits what is pending, once more if the disk fails, and ends the thread.

        Raises:
            StoreError: something pending could not be committed.
        """
        self._end()
        await asyncio.shield(asyncio.wrap_future(self._thread))

    def _end(self) -> None:
        self._stopping.set()
        self._queue.put(None)
        self._executor.shutdown(wait=False)

    async def run(self, operation: Operation[T], *, rows: int = 1, patient: bool = True) -> T:
        """Runs an operation in a transaction; returns when it is committed.

        Args:
            operation: what to do.
            rows: how many rows it comes to.
            patient: whether it waits for others to share its transaction.

        Raises:
            StoreError: the operation is refused, or the store has stopped.
        """
        request = await self.add(operation, rows, patient=patient)
        return cast("T", await request.done)

    def queue(self, request: Request) -> None:
        """Hands a request to the thread."""
        self._queue.put(request)

    def _ended(self, thread: Future[None]) -> None:
        self._loop.call_soon_threadsafe(self.give_up, thread.exception())

    # The thread.

    def _run(self, opened: Future[None]) -> None:
        if not opened.set_running_or_notify_cancel():
            return  # whoever started it was cancelled before it began
        try:
            connection = self._files.first()
        except BaseException as error:
            opened.set_exception(error)
            raise
        opened.set_result(None)
        self._serve(connection)

    def _serve(self, connection: sqlite3.Connection) -> None:
        try:
            while group := self._gather():
                connection = self._commit(connection, group)
                connection = self._tend_log(connection, group)
        finally:
            with suppress(sqlite3.Error):
                connection.close()
            self._files.release()

    def _gather(self) -> list[Request]:
        """Waits for a request, and for others until the first of them has waited long enough."""
        first = self._queue.get()
        if first is None:
            return []
        group, rows, deadline = [first], first.rows, first.deadline
        while rows < TRANSACTION_ROWS:
            request = self._next_before(deadline)
            if request is None:
                break
            group.append(request)
            rows += request.rows
            deadline = min(deadline, request.deadline)
        return group

    def _next_before(self, deadline: float) -> Request | None:
        wait = deadline - time.monotonic()
        try:
            request = self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait()
        except Empty:
            return None
        if request is None:
            self._queue.put(None)  # the end is for the next turn to see
        return request

    def _commit(self, connection: sqlite3.Connection, group: list[Request]) -> sqlite3.Connection:
        while True:
            try:
                outcomes = _transact(connection, group)
            except sqlite3.Error as error:
                connection = self._recover(connection, error)
            else:
                self._backoff.succeeded()
                self._loop.call_soon_threadsafe(self.settle, outcomes)
                return connection

    def _tend_log(self, connection: sqlite3.Connection, group: list[Request]) -> sqlite3.Connection:
        self._unchecked_rows += sum(request.rows for request in group)
        if self._unchecked_rows < _CHECKPOINT_ROWS:
            return connection
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            connection = self._recover(connection, error)
            self._loop.call_soon_threadsafe(self.changed, None)
        self._unchecked_rows = 0
        return connection

    def _recover(self, connection: sqlite3.Connection, error: sqlite3.Error) -> sqlite3.Connection:
        """Closes the connection and opens another that works, however long that takes.

        Raises:
            StoreError: the store is being closed and the file still cannot be written.
        """
        with suppress(sqlite3.Error):
            connection.close()
        fault: Exception = error
        while True:
            self._loop.call_soon_threadsafe(self.changed, _describe(fault))
            last_try = self._stopping.is_set()
            if last_try and self._backoff.failures:
                raise StoreError(f"what was pending is not stored: {_describe(fault)}") from fault
            self._stopping.wait(self._backoff.failed())
            try:
                return self._files.again(error)
            except sqlite3.Error as again:
                error = fault = again
            except (StoreError, OSError) as again:
                fault = again


def _transact(connection: sqlite3.Connection, group: list[Request]) -> list[Outcome]:
    connection.execute("BEGIN IMMEDIATE")
    outcomes = [_attempt(connection, request) for request in group]
    connection.execute("COMMIT")
    return outcomes


def _attempt(connection: sqlite3.Connection, request: Request) -> Outcome:
    connection.execute("SAVEPOINT request")
    try:
        value = request.operation(connection)
    except _REQUEST_FAULTS as error:
        connection.execute("ROLLBACK TO request")
        connection.execute("RELEASE request")
        return Outcome(request, error=refusal(error))
    connection.execute("RELEASE request")
    return Outcome(request, value=value)


def _describe(fault: Exception) -> str:
    name = getattr(fault, "sqlite_errorname", None)
    return f"{fault} ({name})" if name else str(fault)
