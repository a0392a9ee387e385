"""What waits for a commit, and what is told of it: the part of a writer that every store has."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from screenerd.clock import Clock
from screenerd.store.port import StoreError, StoreHealth

TRANSACTION_ROWS: Final = 20_000
"""Rows after which a transaction takes no more requests."""

_HANGS_AFTER: Final = 5.0

_LOG = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Request:
    """An operation that is to run in a transaction, and who waits for it."""

    operation: Any
    rows: int
    deadline: float
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request in a transaction that is committed."""

    request: Request
    value: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class _Condition:
    since: int
    error: str | None = None
    ended: StoreError | None = None
    waiting: dict[Request, None] = field(default_factory=dict)


class Pending:
    """Requests of many tasks on their way into shared transactions, in order of arrival.

    The delays here are the disk's and not the market's, so they are real seconds whatever the
    clock; the clock only says when something happened.
    """

    def __init__(self, clock: Clock, *, commit_after: float, queue_rows: int) -> None:
        """Nothing waits.

        Args:
            clock: tells when the state changed.
            commit_after: seconds the first pending row waits for others.
            queue_rows: rows that may be pending; who brings more waits.
        """
        self._clock = clock
        self._commit_after = commit_after
        self._queue_rows = queue_rows
        self._gate = asyncio.Lock()
        self._room = asyncio.Event()
        self._pending = 0
        self._commits = 0
        self._condition: _Condition = _Condition(since=clock.now_ms())

    @property
    def commits(self) -> int:
        """Transactions committed since the start."""
        return self._commits

    @property
    def health(self) -> StoreHealth:
        """The state now; a commit that hangs counts as one that fails."""
        condition = self._condition
        late = self._lateness()
        if condition.error is not None:
            return StoreHealth("down", condition.error, self._pending, condition.since)
        if late > _HANGS_AFTER:
            since = self._clock.now_ms() - round(late * 1000)
            return StoreHealth("down", f"no commit for {late:.0f} s", self._pending, since)
        return StoreHealth("up", None, self._pending, condition.since)

    async def add(self, operation: Any, rows: int, *, patient: bool) -> Request:
        """Makes a request once there is room for it; first come, first served.

        Args:
            operation: what to do.
            rows: how many rows it comes to.
            patient: whether it waits for others to share its transaction.

        Raises:
            StoreError: the store has stopped.
        """
        async with self._gate:
            await self._wait_for_room(rows)
            if self._condition.ended is not None:
                raise self._condition.ended
            wait = self._commit_after if patient else 0.0
            done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            request = Request(operation, rows, time.monotonic() + wait, done)
            self._condition.waiting[request] = None
            self._pending += rows
            self.queue(request)
        return request

    def queue(self, request: Request) -> None:
        """Hands a request to what commits it."""
        raise NotImplementedError

    def settle(self, outcomes: list[Outcome]) -> None:
        """A transaction is committed: tells those who wait."""
        self._commits += 1
        self.changed(None)
        for outcome in outcomes:
            self._conclude(outcome)
        self._room.set()

    def changed(self, error: str | None) -> None:
        """Commits fail, for this reason, or work again."""
        if (error is None) != (self._condition.error is None):
            self._condition.since = self._clock.now_ms()
            if error is None:
                _LOG.info("store_up", pending=self._pending)
            else:
                _LOG.error("store_down", error=error, pending=self._pending)
        self._condition.error = error

    def give_up(self, cause: BaseException | None) -> None:
        """Nothing will be committed any more: tells those who wait, and who comes later."""
        reason = "the store is closed" if cause is None else f"the store has stopped: {cause}"
        self._condition.ended = StoreError(reason)
        self._condition.ended.__cause__ = cause
        if cause is not None:
            self.changed(str(cause))
        for request in tuple(self._condition.waiting):
            self._conclude(Outcome(request, error=StoreError(reason)))
        self._room.set()

    async def _wait_for_room(self, rows: int) -> None:
        while self._pending and self._pending + rows > self._queue_rows:
            self._room.clear()
            await self._room.wait()

    def _conclude(self, outcome: Outcome) -> None:
        request = outcome.request
        self._condition.waiting.pop(request, None)
        self._pending -= request.rows
        if request.done.done():
            return  # whoever asked was cancelled
        if outcome.error is None:
            request.done.set_result(outcome.value)
        else:
            request.done.set_exception(outcome.error)

    def _lateness(self) -> float:
        oldest = next(iter(self._condition.waiting), None)
        return 0.0 if oldest is None else time.monotonic() - oldest.deadline


def refusal(error: Exception) -> StoreError:
    """Says that a request was refused, which is its own fault."""
    if isinstance(error, StoreError):
        return error
    refused = StoreError(f"the store refuses what was written: {error}; nothing of it is stored")
    refused.__cause__ = error
    return refused
