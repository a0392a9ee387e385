"""The store of many machines: a PostgreSQL database, one connection that writes, some that read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Final, Self

import psycopg
import structlog

from screenerd.clock import Clock
from screenerd.model import Alert, AlertScore, Metrics, RuleSwitch
from screenerd.store.audit import HOUR_MS, hour_of
from screenerd.store.items import Counts, Item, weight
from screenerd.store.port import Delivery, Settings, Span, StoreError, StoreHealth
from screenerd.store.postgres import divided, queries, retention, writes
from screenerd.store.postgres.connect import Connection, close, connect_writer, told
from screenerd.store.postgres.migrations import migrate
from screenerd.store.postgres.ordering import order_days
from screenerd.store.postgres.reader import PostgresReader
from screenerd.store.postgres.writer import GroupWriter

_LOG = structlog.get_logger(__name__)
_AUDIT_STEP_MS: Final = 6 * HOUR_MS


class PostgresStore(PostgresReader):
    """Keeps candles, alerts and deliveries in a database; implements `screenerd.store.port.Store`.

    Every write is on the server's disk when it returns, whatever its own settings. Writes of many
    tasks share a transaction: the first waits `commit_after` seconds for others. While the server
    is away they wait, up to `queue_rows` rows, and are committed once it is back; `health` tells.
    Any number of processes may have the store open; their transactions follow one another.

    Connections must be the server's own, or a pooler's that keeps one for a session.

    Example:
        async with PostgresStore("postgresql://127.0.0.1/screener", SystemClock()) as store:
            await store.write(CandleBatch("binance", candles))
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        retention_hours: float = 48,
        scores_days: float = 30,
        metrics: bool = True,
        commit_after: float = 0.025,
        queue_rows: int = 100_000,
        connections: int = 4,
        longest: float = 60.0,
        wait: float = 5.0,
    ) -> None:
        """Names the database; `async with` opens it.

        Args:
            url: `postgresql://user:password@host:port/database`, or libpq's key = value.
            clock: tells which minutes are over, and when something happened.
            retention_hours: how old candles, alerts and the like grow before `prune` drops them.
            scores_days: how old scores of alerts grow before `prune` drops them.
            metrics: whether metrics are kept, which can be computed again from candles.
            commit_after: seconds the first pending row waits for others, at least 0.
            queue_rows: rows that may wait for a commit; a write beyond that waits to be queued.
            connections: how many queries may run at once.
            longest: seconds a query may take.
            wait: seconds it may wait for a connection.

        Raises:
            ValueError: a number is out of its range, or the url is none.
        """
        if not retention_hours >= 1:
            raise ValueError(f"retention_hours = {retention_hours} is below 1")
        if not scores_days >= 1:
            raise ValueError(f"scores_days = {scores_days} is below 1")
        if not commit_after >= 0:
            raise ValueError(f"commit_after = {commit_after} is below 0")
        if queue_rows < 1:
            raise ValueError(f"queue_rows = {queue_rows} is below 1")
        super().__init__(url, clock, connections=connections, longest=longest, wait=wait)
        self._retention_ms = round(retention_hours * HOUR_MS)
        self._scores_ms = round(scores_days * 24 * HOUR_MS)
        self._metrics = metrics
        self._counts = Counts()
        self._by_day = True
        self._writer = GroupWriter(
            self._connect, clock, commit_after=commit_after, queue_rows=queue_rows
        )

    async def __aenter__(self) -> Self:
        """Connects, and brings the schema up to date.

        Raises:
            StoreError: the server cannot be reached, would lose what it acknowledges, or its schema
                is of a newer version.
        """
        try:
            connection = await self._connect()
            try:
                await self._prepare(connection)
            except BaseException:
                await close(connection)
                raise
        except (psycopg.Error, OSError, TimeoutError) as error:
            raise StoreError(
                f"{self._address} cannot be opened ({told(error)}): see that the server runs and "
                "lets this user in"
            ) from error
        async with AsyncExitStack() as stack:
            await self._writer.start(connection)
            stack.push_async_callback(self._readers.close)
            stack.push_async_callback(self._writer.stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commits what is pending and closes the connections.

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
            writing = writes.Writing(kept, self._clock, self._by_day)
            self._counts.add(await self._writer.run(writing, rows=rows))

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

        The audit of hours that lose candles is recorded first. Days that somebody reads stay until
        the next time. Days that are over and stay are put in the order in which they are read.

        Raises:
            StoreError: the server cannot be reached, or took too long.
        """
        cutoff = now - self._retention_ms
        for exchange in await self._readers.run(queries.exchanges):
            await self._record_audit(exchange, cutoff)
        try:
            connection = await self._connect()
            try:
                if self._by_day:
                    await retention.make_ahead(connection, now)
                gone = await retention.drop_old(
                    connection, cutoff, now - self._scores_ms, by_day=self._by_day
                )
                self._totals.forget()
                if self._by_day:
                    await self._order_days(connection, now)
                return gone
            finally:
                await close(connection)
        except (psycopg.Error, OSError) as error:
            raise StoreError(f"what is old could not be dropped: {told(error)}") from error

    async def _order_days(self, connection: Connection, now: int) -> None:
        try:
            await order_days(connection, now)
        except (psycopg.Error, OSError) as error:
            # It makes reading faster, and nothing else: whoever prunes goes on.
            _LOG.warning("store_days_not_ordered", reason=told(error))

    async def _record_audit(self, exchange: str, cutoff: int) -> None:
        hour = await self._readers.run(partial(_first_unrecorded, exchange=exchange))
        while hour is not None and hour < cutoff:
            end = min(hour + _AUDIT_STEP_MS, hour_of(cutoff) + HOUR_MS)
            rows = await self.audit(exchange, hour, end)
            record = partial(writes.record_audit, exchange=exchange, rows=rows)
            await self._writer.run(record, rows=max(len(rows), 1), patient=False)
            hour = end

    async def _connect(self) -> Connection:
        return await connect_writer(self._address)

    async def _prepare(self, connection: Connection) -> None:
        extension = await divided.ask(connection)
        mine = await divided.is_hypertable(connection)
        self._by_day = not (extension.divides if mine is None else mine)
        now = self._clock.now_ms()
        await migrate(connection, now, timescale=not self._by_day)
        if self._by_day:
            await retention.make_ahead(connection, now)
            return
        for statement in divided.compression(extension):
            await connection.execute(statement.encode())


async def _first_unrecorded(connection: Connection, exchange: str) -> int | None:
    recorded = await queries.last_recorded_hour(connection, exchange)
    if recorded is not None:
        return recorded + HOUR_MS
    oldest = await queries.oldest_minutes(connection, exchange)
    return hour_of(min(oldest.values())) if oldest else None
