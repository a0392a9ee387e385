"""What a store is asked without changing it, by the process that writes it or beside that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

import polars as pl

from screenerd.clock import Clock
from screenerd.model import MINUTE_MS, Alert, Candle, DeadLetter, RuleScore, RuleSwitch
from screenerd.store.audit import whole_hours
from screenerd.store.port import (
    AlertFilter,
    AlertPage,
    AuditRow,
    Delivery,
    JournalPage,
    MinuteRow,
    Settings,
)
from screenerd.store.postgres import queries, scorecard
from screenerd.store.postgres.connect import Address
from screenerd.store.postgres.readers import Readers
from screenerd.store.totals import Totals


class PostgresReader:
    """Reads a store's database; changes nothing.

    Example:
        async with PostgresReader("postgresql://…", SystemClock()) as store:
            holes = await store.audit("binance", start, end)
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        connections: int = 4,
        longest: float = 60.0,
        wait: float = 5.0,
    ) -> None:
        """Names the database; it is connected to when something is asked.

        Args:
            url: `postgresql://user:password@host:port/database`, or libpq's key = value.
            clock: tells which minutes are over.
            connections: how many queries may run at once.
            longest: seconds a query may take.
            wait: seconds it may wait for a connection.

        Raises:
            ValueError: the url is none.
        """
        self._address = Address(url)
        self._clock = clock
        self._totals = Totals(clock)
        self._readers = Readers(self._address, connections=connections, longest=longest, wait=wait)

    async def __aenter__(self) -> Self:
        """Nothing to do: the database is connected to when something is asked."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the queries that run and closes the connections."""
        await self._readers.close()

    async def candles(
        self, exchange: str, symbol: str | None, start: int, end: int
    ) -> list[Candle]:
        """Closed candles that open in [start, end), ordered by time, symbol."""
        return await self._readers.run(
            partial(queries.candles, exchange=exchange, symbol=symbol, start=start, end=end)
        )

    async def judged_from(self, exchange: str) -> dict[str, int]:
        """The first minute that is judged of each symbol that was listed later than others, ms.

        What it has of older minutes is its history, and nobody's to judge.
        """
        return await self._readers.run(partial(queries.judged_from, exchange=exchange))

    async def oldest_arrival(self, exchange: str, since: int, *, opens_from: int) -> int | None:
        """The oldest minute from `opens_from` on of which a version was received since a time.

        The history of symbols that were listed later is left out.
        """
        return await self._readers.run(
            partial(queries.oldest_arrival, exchange=exchange, since=since, opens_from=opens_from)
        )

    async def tracked(self, exchange: str) -> dict[str, int]:
        """Since when minutes of the symbols that are followed are expected, ms."""
        return await self._readers.run(partial(queries.tracked, exchange=exchange))

    async def minutes(
        self, exchange: str, symbols: Sequence[str], start: int, end: int
    ) -> pl.DataFrame:
        """Closed candles of some symbols that open in [start, end), as `Engine.warm_up` takes them.

        By symbol in the order given, and by time.
        """
        return await self._readers.run(
            partial(queries.minutes, exchange=exchange, symbols=symbols, start=start, end=end)
        )

    async def page(
        self, exchange: str, symbol: str, start: int | None, end: int | None, limit: int
    ) -> list[MinuteRow]:
        """At most `limit` closed candles of a symbol that open in [start, end), oldest first.

        The first of them, or where `start` is `None` the last.
        """
        return await self._readers.run(
            partial(
                queries.page, exchange=exchange, symbol=symbol, start=start, end=end, limit=limit
            )
        )

    async def held(self, exchange: str, start: int, end: int) -> dict[str, list[tuple[int, int]]]:
        """The runs of minutes of every symbol that are held, as [first, end) in ms."""
        return await self._readers.run(
            partial(queries.held, exchange=exchange, start=start, end=end)
        )

    async def journal(
        self,
        exchange: str,
        start: int,
        end: int,
        *,
        opens_from: int = 0,
        symbols: Sequence[str] | None = None,
        after: int = 0,
        limit: int,
    ) -> JournalPage:
        """Closed versions that were taken and received in [start, end), as they arrived.

        Of minutes that open at `opens_from` or later, and of these symbols, where they are given;
        `limit` at most, those after a mark, where the page before gave one.
        """
        return await self._readers.run(
            partial(
                queries.journal,
                exchange=exchange,
                start=start,
                end=end,
                opens_from=opens_from,
                symbols=symbols,
                after=after,
                limit=limit,
            )
        )

    async def marks(self, exchange: str) -> tuple[int, int]:
        """Up to where the journal and the alerts go now, for `journalled_after`, `alerts_after`."""
        return await self._readers.run(partial(queries.marks, exchange=exchange))

    async def journalled_after(
        self, exchange: str, mark: int, limit: int
    ) -> tuple[list[Candle], int]:
        """At most so many versions journalled after a mark, in order, and the next mark."""
        return await self._readers.run(
            partial(queries.journalled_after, exchange=exchange, mark=mark, limit=limit)
        )

    async def alerts_after(self, mark: int, limit: int) -> tuple[list[Alert], int]:
        """At most so many alerts stored after a mark, in order, and the next mark."""
        return await self._readers.run(partial(queries.alerts_after, mark=mark, limit=limit))

    async def bars(
        self, exchange: str, timeframe: str, *, symbols: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """All stored bars of a length: symbol, open_time in ms, close; by symbol and time.

        Of these symbols, where they are given.
        """
        return await self._readers.run(
            partial(queries.bars, exchange=exchange, timeframe=timeframe, symbols=symbols)
        )

    async def newest_bars(self, exchange: str) -> dict[tuple[str, str], int]:
        """The newest stored bar of every (symbol, timeframe), its open_time in ms."""
        return await self._readers.run(partial(queries.newest_bars, exchange=exchange))

    async def newest(self, exchange: str) -> dict[str, int]:
        """The newest stored minute of every symbol, ms."""
        return await self._readers.run(partial(queries.newest_minutes, exchange=exchange))

    async def alerts(self, since: int, *, symbols: Sequence[str] | None = None) -> list[Alert]:
        """Alerts triggered at `since` or later, oldest first; of these symbols, where given."""
        return await self._readers.run(partial(queries.alerts, since=since, symbols=symbols))

    async def alert_page(
        self, wanted: AlertFilter, limit: int, offset: int, named: Sequence[str] = ()
    ) -> AlertPage:
        """A page of alerts, newest first; and which of the ids that are named are stored."""
        before = self._totals.known(wanted)
        page, counted = await self._readers.run(
            partial(
                queries.alert_page,
                wanted=wanted,
                limit=limit,
                offset=offset,
                named=named,
                counted=before,
            )
        )
        self._totals.keep(wanted, before, counted)
        return page

    async def rule_switches(self) -> dict[str, RuleSwitch]:
        """What was changed of the rules for everybody, by rule."""
        return await self._readers.run(queries.rule_switches)

    async def user_switches(self) -> dict[str, dict[str, RuleSwitch]]:
        """What users have changed of the rules for themselves, by user and rule."""
        return await self._readers.run(queries.user_switches)

    async def settings(self, user: str) -> Settings:
        """What a user has chosen; the defaults if nothing."""
        found = await self._readers.run(partial(queries.settings, user=user))
        return found.get(user, Settings())

    async def all_settings(self) -> dict[str, Settings]:
        """What every user has chosen."""
        return await self._readers.run(queries.settings)

    async def unclaimed(self, channel: str, since: int) -> list[Alert]:
        """Alerts triggered at `since` or later that are not in a channel's outbox, oldest first."""
        return await self._readers.run(partial(queries.unclaimed, channel=channel, since=since))

    async def unscored(
        self, exchange: str, after: tuple[int, str], until: int, limit: int
    ) -> list[Alert]:
        """The first alerts behind one, as (triggered_at, id), up to a time, that have no score."""
        return await self._readers.run(
            partial(queries.unscored, exchange=exchange, after=after, until=until, limit=limit)
        )

    async def stretches(self, exchange: str, spans: Sequence[tuple[str, int, int]]) -> pl.DataFrame:
        """Prices of the minutes of symbols that open in [start, end): symbol, open_time, …, close.

        In the order of the spans, each by time.
        """
        return await self._readers.run(partial(queries.stretches, exchange=exchange, spans=spans))

    async def scorecard(self, since: int = 0, rule: str | None = None) -> dict[str, RuleScore]:
        """How each rule, or one, did since a time in ms, by rule."""
        return await self._readers.run(partial(scorecard.scorecard, since=since, rule=rule))

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest frames that could not be read, newest first."""
        return await self._readers.run(partial(queries.dead_letters, limit=limit))

    async def due(self, now: int, limit: int = 100) -> list[tuple[Delivery, Alert]]:
        """Deliveries to try now, oldest first."""
        return await self._readers.run(partial(queries.due, now=now, limit=limit))

    async def dead(self, channel: str) -> list[Delivery]:
        """Deliveries of a channel that were given up, oldest first."""
        return await self._readers.run(partial(queries.dead, channel=channel))

    async def audit(self, exchange: str, start: int, end: int) -> list[AuditRow]:
        """What is expected and what is held in the hours that cover [start, end).

        A minute is expected once it is over by the clock. Hours whose candles have been dropped
        are told as they were before.
        """
        first, last = whole_hours(start, end)
        over = min(last, self._clock.now_ms() - MINUTE_MS + 1)
        return await self._readers.run(
            partial(queries.audit, exchange=exchange, start=first, end=over)
        )
