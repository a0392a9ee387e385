"""What a worker's parts ask of the store when they are rebuilt, all at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import polars as pl

from screenerd.model import Alert, RuleSwitch
from screenerd.store.port import JournalPage, Past

T = TypeVar("T")

PATIENCE_SECONDS: Final = 2.0
"""So long an answer that is on its way is waited for before the next is asked for."""


class Together:
    """A store's past, of which what concerns every part is asked for all of them.

    Who asks while an answer is on its way waits for the next one, with all who do: what was stored
    before it asked is in its answer, as it would be if it asked alone.
    """

    def __init__(self, past: Past) -> None:
        """Takes the store that is asked."""
        self._past = past
        self._asked: dict[Hashable, asyncio.Task[Any]] = {}
        self._next: dict[Hashable, asyncio.Task[Any]] = {}
        self._wanted: dict[Hashable, set[str]] = {}

    async def newest(self, exchange: str) -> dict[str, int]:
        """The newest stored minute of every symbol, ms."""
        found = await self._together(("newest", exchange), lambda: self._past.newest(exchange))
        return dict(found)

    async def rule_switches(self) -> dict[str, RuleSwitch]:
        """What was changed of the rules for everybody, by rule."""
        return dict(await self._together("rule_switches", self._past.rule_switches))

    async def judged_from(self, exchange: str) -> dict[str, int]:
        """The first minute that is judged of each symbol that was listed later, ms."""
        question = ("judged_from", exchange)
        return dict(await self._together(question, lambda: self._past.judged_from(exchange)))

    async def oldest_arrival(self, exchange: str, since: int, *, opens_from: int) -> int | None:
        """The oldest minute from `opens_from` on of which a version was received since a time."""
        return await self._together(
            ("oldest_arrival", exchange, since, opens_from),
            lambda: self._past.oldest_arrival(exchange, since, opens_from=opens_from),
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
        """Closed versions received in [start, end) ms, in order of arrival, `limit` at most.

        They are read once for the symbols of all who ask for the same page together.
        """
        read = partial(
            self._past.journal,
            exchange,
            start,
            end,
            opens_from=opens_from,
            after=after,
            limit=limit,
        )
        if symbols is None:
            return await read()
        question = ("journal", exchange, start, end, opens_from, after, limit)
        self._wanted.setdefault(question, set()).update(symbols)

        def ask() -> Awaitable[JournalPage]:
            return read(symbols=sorted(self._wanted.pop(question)))

        page, own = await self._together(question, ask), frozenset(symbols)
        return JournalPage([one for one in page.candles if one.symbol in own], page.after)

    async def bars(
        self, exchange: str, timeframe: str, *, symbols: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """All stored bars of a length."""
        return await self._past.bars(exchange, timeframe, symbols=symbols)

    async def minutes(
        self, exchange: str, symbols: Sequence[str], start: int, end: int
    ) -> pl.DataFrame:
        """Closed candles of some symbols that open in [start, end)."""
        return await self._past.minutes(exchange, symbols, start, end)

    async def alerts(self, since: int, *, symbols: Sequence[str] | None = None) -> list[Alert]:
        """Alerts triggered at `since` or later, oldest first."""
        return await self._past.alerts(since, symbols=symbols)

    async def first_seen(self, names: Sequence[str], now: int) -> list[int]:
        """When each thing was first heard of, ms."""
        return await self._past.first_seen(names, now)

    async def _together(self, question: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        task = self._next.get(question)
        if task is None:
            before = self._asked.get(question)
            task = self._next[question] = asyncio.create_task(self._ask(question, ask, before))
        answer: T = await asyncio.shield(task)
        return answer

    async def _ask(
        self, question: Hashable, ask: Callable[[], Awaitable[T]], before: asyncio.Task[Any] | None
    ) -> T:
        if before is not None:
            await asyncio.wait({before}, timeout=PATIENCE_SECONDS)
        mine = self._asked[question] = self._next.pop(question)
        try:
            return await ask()
        finally:
            if self._asked.get(question) is mine:
                del self._asked[question]
