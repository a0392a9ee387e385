"""The task that writes: what is pending goes into one transaction, and is done with it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import polars as pl
import psycopg

from screenerd.backoff import Backoff
from screenerd.clock import Clock
from screenerd.store.group import TRANSACTION_ROWS, Outcome, Pending, Request, refusal
from screenerd.store.port import StoreError
from screenerd.store.postgres.connect import Connection, close, told
from screenerd.store.postgres.writes import Writing, write_together

T = TypeVar("T")

Operation = Callable[[Connection], Awaitable[T]]
"""Runs inside a transaction; may run again if the commit fails, and must then do the same."""

WRITERS_LOCK: Final = 0x73637265_656E6572
"""The advisory lock of whoever writes.

Numbers of rows are given in the order of commits only if one transaction follows the other, and
who reads on behind a number would otherwise miss the rows of a slower one.
"""

_COMMIT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 2.0

# Faults of what was to be written, not of the server: its request fails and the others do not.
_REQUEST_FAULTS: Final = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
    pl.exceptions.PolarsError,
    StoreError,
    OverflowError,
    TypeError,
    ValueError,
)
_OUTAGES: Final = (psycopg.Error, OSError, TimeoutError)


class GroupWriter(Pending):
    """Commits requests of many tasks together, on a connection of its own."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        clock: Clock,
        *,
        commit_after: float,
        queue_rows: int,
    ) -> None:
        """Takes what it needs; `start` begins.

        Args:
            connect: gives a connection that may write.
            clock: tells when the state changed.
            commit_after: seconds the first pending row waits for others.
            queue_rows: rows that may be pending; who brings more waits.
        """
        super().__init__(clock, commit_after=commit_after, queue_rows=queue_rows)
        self._connect = connect
        self._queue: asyncio.Queue[Request | None] = asyncio.Queue()
        self._backoff = Backoff(first=0.1, longest=5.0, limit=1 << 30)
        self._stopping = asyncio.Event()

    async def start(self, connection: Connection) -> None:
        """Begins to write on a connection, which is the writer's from now on."""
        self._task = asyncio.create_task(self._serve(connection), name="store-writer")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Commits what is pending, once more if the server fails, and ends.

        Raises:
            StoreError: something pending could not be committed.
        """
        self._stopping.set()
        self._queue.put_nowait(None)
        await asyncio.shield(self._task)

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
        """Hands a request to the task; the room for it bounds the queue."""
        self._queue.put_nowait(request)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.give_up(None if task.cancelled() else task.exception())

    async def _serve(self, connection: Connection) -> None:
        try:
            while True:
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        first = await self._queue.get()
                except TimeoutError:
                    connection = await self._look(connection)
                    continue
                if first is None:
                    return
                connection = await self._commit(connection, await self._gather(first))
        finally:
            await close(connection)

    async def _gather(self, first: Request) -> list[Request]:
        """Waits for others until the first of them has waited long enough."""
        group, rows, deadline = [first], first.rows, first.deadline
        while rows < TRANSACTION_ROWS:
            request = await self._next_before(deadline)
            if request is None:
                break
            group.append(request)
            rows += request.rows
            deadline = min(deadline, request.deadline)
        return group

    async def _next_before(self, deadline: float) -> Request | None:
        if self._queue.empty():
            wait = deadline - time.monotonic()
            if wait <= 0:
                return None
            try:
                async with asyncio.timeout(wait):
                    request = await self._queue.get()
            except TimeoutError:
                return None
        else:
            request = self._queue.get_nowait()
        if request is None:
            self._queue.put_nowait(None)  # the end is for the next turn to see
        return request

    async def _look(self, connection: Connection) -> Connection:
        """Whether the server is there, when nobody writes."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await connection.execute("SELECT 1")
        except _OUTAGES as error:
            connection = await self._recover(connection, error)
            self.changed(None)
        return connection

    async def _commit(self, connection: Connection, group: list[Request]) -> Connection:
        while True:
            try:
                async with asyncio.timeout(_COMMIT_SECONDS):
                    outcomes = await _transact(connection, group)
            except _OUTAGES as error:
                connection = await self._recover(connection, error)
            else:
                self._backoff.succeeded()
                self.settle(outcomes)
                return connection

    async def _recover(self, connection: Connection, error: BaseException) -> Connection:
        """Closes the connection and opens another, however long that takes.

        Raises:
            StoreError: the store is being closed and the server still cannot be written.
        """
        await close(connection)
        fault: BaseException = error
        while True:
            self.changed(told(fault))
            if self._stopping.is_set() and self._backoff.failures:
                raise StoreError(f"what was pending is not stored: {told(fault)}") from fault
            await self._pause(self._backoff.failed())
            try:
                return await self._connect()
            except (*_OUTAGES, StoreError) as again:
                fault = again

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


async def _transact(connection: Connection, group: list[Request]) -> list[Outcome]:
    """Runs requests in one transaction; if one is at fault, again with each by itself."""
    try:
        return await _together(connection, group, _run_all)
    except _REQUEST_FAULTS:
        if connection.broken:
            raise
    return await _together(connection, group, _attempt_each)


async def _together(
    connection: Connection,
    group: list[Request],
    run: Callable[[Connection, list[Request]], Awaitable[list[Outcome]]],
) -> list[Outcome]:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS_LOCK,))
        return await run(connection, group)


async def _run_all(connection: Connection, group: list[Request]) -> list[Outcome]:
    """In their order; candles or metrics of one exchange that follow one another at once."""
    outcomes: list[Outcome] = []
    for kind, some in itertools.groupby(group, _kind):
        requests = list(some)
        if kind is None:
            outcomes += [Outcome(one, await one.operation(connection)) for one in requests]
        else:
            counts = await write_together(connection, [one.operation for one in requests])
            outcomes += map(Outcome, requests, counts)
    return outcomes


def _kind(request: Request) -> tuple[type, str] | None:
    """What a request can be written together with, if with anything."""
    only = request.operation.only if isinstance(request.operation, Writing) else None
    return None if only is None else (type(only), only.exchange)


async def _attempt_each(connection: Connection, group: list[Request]) -> list[Outcome]:
    return [await _attempt(connection, request) for request in group]


async def _attempt(connection: Connection, request: Request) -> Outcome:
    try:
        async with connection.transaction():
            value: Any = await request.operation(connection)
    except _REQUEST_FAULTS as error:
        if connection.broken:
            raise
        return Outcome(request, error=refusal(error))
    return Outcome(request, value=value)
