"""The store of one machine: a SQLite file, a thread that writes it, threads that read it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from screenerd.clock import Clock
from screenerd.model import Alert, AlertScore, Metrics, RuleSwitch
from screenerd.store.audit import HOUR_MS, hour_of
from screenerd.store.items import Counts, Item, weight
from screenerd.store.port import Delivery, Settings, Span, StoreError, StoreHealth
from screenerd.store.sqlite import queries, writes
from screenerd.store.sqlite.connect import (
    Connect,
    damaged,
    is_damage,
    open_again,
    open_checked,
    open_writer,
)
from screenerd.store.sqlite.lock import FileLock
from screenerd.store.sqlite.reader import SqliteReader
from screenerd.store.sqlite.retention import STEP_ROWS, delete_some, outdated
from screenerd.store.sqlite.writer import Files, GroupWriter

_AUDIT_STEP_MS: Final = 6 * HOUR_MS


class SqliteStore(SqliteReader):
    """Keeps candles, alerts and deliveries in one file; implements `screenerd.store.port.Store`.

    Every write has reached the disk when it returns. Writes of many tasks share a transaction:
    the first waits `commit_after` seconds for others. While the disk fails they wait, up to
    `queue_rows` rows, and are committed once it works again; `health` tells.

    Example:
        async with SqliteStore("screener.db", SystemClock()) as store:
            await store.write(CandleBatch("binance", candles))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        clock: Clock,
        *,
        retention_hours: float = 48,
        scores_days: float = 30,
        metrics: bool = False,
        commit_after: float = 0.025,
        queue_rows: int = 100_000,
        connect: Connect = open_writer,
    ) -> None:
        """Names the file; `async with` opens it.

        Args:
            path: the database; made, with its folder, if it is not there.
            clock: tells which minutes are over, and when something happened.
            retention_hours: how old candles, alerts and the like grow before `prune` drops them.
            scores_days: how old scores of alerts grow before `prune` drops them.
            metrics: whether metrics are kept, which can be computed again from candles.
            commit_after: seconds the first pending row waits for others, at least 0.
            queue_rows: rows that may wait for a commit; a write beyond that waits to be queued.
            connect: opens the file for writing.

        Raises:
            ValueError: a number is out of its range.
        """
        if not retention_hours >= 1:
            raise ValueError(f"retention_hours = {retention_hours} is below 1")
        if not scores_days >= 1:
            raise ValueError(f"scores_days = {scores_days} is below 1")
        if not commit_after >= 0:
            raise ValueError(f"commit_after = {commit_after} is below 0")
        if queue_rows < 1:
            raise ValueError(f"queue_rows = {queue_rows} is below 1")
        super().__init__(path, clock)
        self._connect = connect
        self._retention_ms = round(retention_hours * HOUR_MS)
        self._scores_ms = round(scores_days * 24 * HOUR_MS)
        self._metrics = metrics
        self._counts = Counts()
        self._lock = FileLock(self._path)
        self._writer = GroupWriter(
            Files(
                self._open,
                self._lock.release,
                partial(open_again, self._path, connect=connect),
            ),
            clock,
            commit_after=commit_after,
            queue_rows=queue_rows,
        )

    async def __aenter__(self) -> Self:
        """Locks, checks and opens the file, and brings its schema up to date.

        Raises:
            StoreError: another process uses it, it is damaged, or it is of a newer version.
        """
        async with AsyncExitStack() as stack:
            await self._writer.start()
            stack.push_async_callback(self._writer.stop)
            stack.push_async_callback(self._readers.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commits what is pending and closes the file.

        Raises:
            StoreError: something pending could not be committed.
        """
        await self._stack.__aexit__(kind, error, traceback)

    @property
    def health(self) -> StoreHealth:
        """Whether writes are being committed, and how many rows wait."""
        return self._writer.health

    @property
    def counts(self) -> Counts:
        """What became of the candles written since the start."""
        return replace(self._counts)

    @property
    def commits(self) -> int:
        """Transactions committed since the start."""
        return self._writer.commits

    async def write(self, *items: Item) -> None:
        """Stores items; returns when they are committed.

        Of two closed versions of a minute the one from the better source stays (archive, rest,
        stream, synthetic), the later one if they are of one source. Equal versions are one.

        Raises:
            StoreError: an item is refused, or the store has stopped; none of the items is stored.
        """
        kept = [item for item in items if self._metrics or not isinstance(item, Metrics)]
        rows = weight(kept)
        if rows:
            counts = await self._writer.run(partial(self._write, items=kept), rows=rows)
            self._counts.add(counts)

    def _write(self, connection: sqlite3.Connection, items: Sequence[Item]) -> Counts:
        return writes.write_items(connection, items, self._clock.now_ms())

    async def enqueue(self, alert: Alert, channels: Sequence[str], now: int) -> None:
        """Stores an alert and puts it into the outbox, once a channel however often it is asked."""
        names = tuple(channels)
        await self._writer.run(
            partial(writes.enqueue, alert=alert, channels=names, now=now),
            rows=len(names) + 1,
        )

    async def write_scores(self, scores: Sequence[AlertScore]) -> None:
        """Keeps what came after alerts; of an alert that has a score the first stands."""
        if scores:
            await self._writer.run(
                partial(writes.write_scores, scores=tuple(scores)), rows=len(scores)
            )

    async def first_seen(self, names: Sequence[str], now: int) -> list[int]:
        """When each thing was first heard of, ms: now, which is kept, if it never was."""
        return await self._writer.run(partial(writes.first_seen, names=names, now=now))

    async def set_rule_switch(self, switch: RuleSwitch) -> None:
        """Changes a rule for everybody."""
        await self._writer.run(partial(writes.set_rule_switch, switch=switch))

    async def set_user_switch(self, user: str, switch: RuleSwitch) -> None:
        """Changes a rule for one user."""
        await self._writer.run(partial(writes.set_user_switch, user=user, switch=switch))

    async def set_settings(self, user: str, settings: Settings, now: int) -> None:
        """Keeps what a user has chosen."""
        await self._writer.run(partial(writes.set_settings, user=user, settings=settings, now=now))

    async def delivered(self, delivery: Delivery, at: int) -> None:
        """Records that a delivery was made; sets `webhook_sent` of its alert."""
        await self._writer.run(partial(writes.delivered, delivery=delivery, at=at))

    async def delivered_to(self, alert_id: str, channel: str, at: int) -> None:
        """Records that an alert was delivered to a channel, if it is to be and was not."""
        await self._writer.run(
            partial(writes.delivered_to, alert_id=alert_id, channel=channel, at=at)
        )

    async def postponed(self, delivery: Delivery) -> None:
        """Records a failed try: attempts, next_try, last_error, state."""
        await self._writer.run(partial(writes.postponed, delivery=delivery))

    async def set_tracking(self, exchange: str, spans: Mapping[str, Span]) -> None:
        """When minutes of symbols are expected, of all of these or, if it fails, of none.

        Said again with another end, or from another time on, the later word holds from its start;
        of `judged_from` the first holds, until the symbol has an end.
        """
        await self._writer.run(
            partial(writes.set_tracking, exchange=exchange, spans=dict(spans)), rows=len(spans)
        )

    async def prune(self, now: int) -> int:
        """Drops what is older than the retention; gives how many rows.

        The audit of hours that lose candles is recorded first.
        """
        cutoff = now - self._retention_ms
        for exchange in await self._readers.run(queries.exchanges):
            await self._record_audit(exchange, cutoff)
        deletions = await self._readers.run(
            partial(outdated, cutoff=cutoff, scores_cutoff=now - self._scores_ms)
        )
        deleted = 0
        while deletions:
            step = await self._writer.run(
                partial(delete_some, deletions=deletions), rows=STEP_ROWS, patient=False
            )
            deleted += step.deleted
            deletions = deletions[step.finished :]
        self._totals.forget()
        return deleted

    async def _record_audit(self, exchange: str, cutoff: int) -> None:
        hour = await self._readers.run(partial(_first_unrecorded, exchange=exchange))
        while hour is not None and hour < cutoff:
            end = min(hour + _AUDIT_STEP_MS, hour_of(cutoff) + HOUR_MS)
            rows = await self.audit(exchange, hour, end)
            record = partial(writes.record_audit, exchange=exchange, rows=rows)
            await self._writer.run(record, rows=max(len(rows), 1), patient=False)
            hour = end

    def _open(self) -> sqlite3.Connection:
        try:
            self._lock.acquire()
            return open_checked(self._path, self._clock.now_ms(), self._connect)
        except StoreError:
            self._lock.release()
            raise
        except (sqlite3.Error, OSError) as error:
            self._lock.release()
            raise _opening_failed(self._path, error) from error


def _opening_failed(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    if isinstance(error, sqlite3.Error) and is_damage(error):
        return damaged(path, str(error))
    return StoreError(
        f"{path} cannot be opened ({error}): see that the folder is there, may be written and has "
        "room"
    )


def _first_unrecorded(connection: sqlite3.Connection, exchange: str) -> int | None:
    recorded = queries.last_recorded_hour(connection, exchange)
    if recorded is not None:
        return recorded + HOUR_MS
    oldest = queries.oldest_minutes(connection, exchange)
    return hour_of(min(oldest.values())) if oldest else None
