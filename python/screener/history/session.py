"""A whole run: what was asked for, with the exchange's own answers to what, when and how much."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from screener.errors import DataError, SourceError
from screener.history import layout, rest
from screener.history.choose import Chosen, Target, choose, span
from screener.history.fetch import Fetched, OnEvent, cost_of, fetch_into, work
from screener.history.plan import Cost, minutes_in
from screener.history.store import Store
from screener.history.times import Moment, as_ms

if TYPE_CHECKING:
    from screener.history.http import HttpSource, Traffic

__all__ = ["Order", "Prepared", "Run", "estimate", "fetch_minutes", "run"]

_REFUSED: Final = (403, 451)


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted, and where from.

    Attributes:
        target: Which symbols.
        start: The first moment, ms.
        end: The first that is not wanted, ms; `None` is now.
        rest_url: Where REST is.
        archive_url: Where the archive is.
        listing_url: Where its folders are listed; `None` is where `open_source` finds it.
        ask_again: Whether what is known to be absent is asked for again.
    """

    target: Target
    start: int
    end: int | None = None
    rest_url: str = rest.REST_URL
    archive_url: str = layout.ARCHIVE_URL
    listing_url: str | None = None
    ask_again: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """An order after the exchange was asked.

    Attributes:
        chosen: The symbols.
        start: The first minute, ms.
        end: The end of the last minute that is over, ms.
        now: The exchange's time, ms.
    """

    chosen: Chosen
    start: int
    end: int
    now: int

    @property
    def minutes(self) -> int:
        """How many minutes there are to have, those before a listing left out."""
        return sum(
            minutes_in([(first, last)])
            for _, _, first, last in work(self.chosen, self.start, self.end)
        )


@dataclass(frozen=True, slots=True)
class Run:
    """What a run has done, and what it took.

    Attributes:
        prepared: What was fetched.
        fetched: What came of it.
        traffic: What went over the wire.
        seconds: How long it took.
    """

    prepared: Prepared
    fetched: Fetched
    traffic: Traffic
    seconds: float


OnPrepared = Callable[[Prepared], None]


def estimate(store: Store, order: Order) -> tuple[Prepared, Cost]:
    """What fetching would take; the exchange is asked what is traded, and nothing is fetched.

    Raises:
        DataError: The order or the store cannot be used.
        SourceError: The exchange does not answer.
    """

    async def ask() -> tuple[Prepared, Cost]:
        async with _prepared(order) as (_, prepared):
            cost = await asyncio.to_thread(
                cost_of,
                store,
                prepared.chosen,
                prepared.start,
                prepared.end,
                prepared.now,
                ask_again=order.ask_again,
            )
            return prepared, cost

    return asyncio.run(ask())


def run(
    store: Store,
    order: Order,
    *,
    on_prepared: OnPrepared | None = None,
    on_event: OnEvent | None = None,
) -> Run:
    """Fetches what the store lacks; may be killed at any moment, and goes on where it was.

    Args:
        store: Where to.
        order: What, and where from.
        on_prepared: Told once, before anything is fetched.
        on_event: Told of every step.

    Raises:
        DataError: The order or the store cannot be used.
        SourceError: The exchange or its archive does not answer.
    """

    async def fetch() -> Run:
        began = time.perf_counter()
        async with _prepared(order) as (source, prepared):
            if on_prepared is not None:
                on_prepared(prepared)
            fetched = await fetch_into(
                store,
                source,
                prepared.chosen,
                prepared.start,
                prepared.end,
                now=prepared.now,
                on_event=on_event,
                ask_again=order.ask_again,
            )
            return Run(prepared, fetched, source.traffic, time.perf_counter() - began)

    return asyncio.run(fetch())


@asynccontextmanager
async def connected(
    rest_url: str, archive_url: str, listing_url: str | None = None
) -> AsyncIterator[tuple[HttpSource, int]]:
    """A source, and the exchange's time, ms.

    Raises:
        DataError: What fetching needs is not installed.
        SourceError: The exchange does not answer.
    """
    try:
        from screener.history.http import open_source
    except ImportError as error:
        raise DataError(
            reason=f"fetching needs {error.name}", remedy="pip install 'screener[history]'"
        ) from error
    async with open_source(
        rest_url=rest_url, archive_url=archive_url, listing_url=listing_url
    ) as source:
        try:
            now = await source.server_time()
        except SourceError as error:
            if error.status not in _REFUSED:
                raise
            # The archive may serve where REST does not.
            now = source.clock()
        yield source, now


@asynccontextmanager
async def _prepared(order: Order) -> AsyncIterator[tuple[HttpSource, Prepared]]:
    order.target.refuse_wrong()
    async with connected(order.rest_url, order.archive_url, order.listing_url) as (source, now):
        start, end = span(order.start, order.end, now)
        chosen = await choose(source, order.target)
        yield source, Prepared(chosen, start, end, now)


def fetch_minutes(
    symbols: str | Iterable[str],
    start: Moment,
    end: Moment | None = None,
    *,
    store: Store | None = None,
    include_delisted: bool = False,
    ask_again: bool = False,
    rest_url: str = rest.REST_URL,
    archive_url: str = layout.ARCHIVE_URL,
) -> Fetched:
    """Fetches minutes of Binance USDⓈ-M into the local store; what is there is not fetched again.

    Args:
        symbols: One or several.
        start: The first moment: ms, ISO text (`2025-02` too) or a datetime, UTC by default.
        end: The first moment that is not wanted; by default now.
        store: Where to; by default `Store()`.
        include_delisted: Also what the exchange no longer lists.
        ask_again: Also ask again for what an earlier run found to be absent.
        rest_url: Where REST is.
        archive_url: Where the archive is.

    Returns:
        What was fetched, what was held, and what could not be had.

    Raises:
        DataError: An argument or the store cannot be used.
        SourceError: The exchange or its archive does not answer; what came until then is stored.

    Example:
        >>> from screener.history import fetch_minutes
        >>> fetch_minutes("BTCUSDT", "2025-02", "2025-03").complete  # doctest: +SKIP
        True
    """
    names = (symbols,) if isinstance(symbols, str) else tuple(symbols)
    order = Order(
        Target(names, include_delisted=include_delisted),
        as_ms(start),
        None if end is None else as_ms(end),
        rest_url,
        archive_url,
        ask_again=ask_again,
    )
    return run(store or Store(), order).fetched
