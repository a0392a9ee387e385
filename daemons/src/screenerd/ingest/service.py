"""The role: warms up from the store and by request, follows the feed, fills what is missing."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from screenerd import timings
from screenerd.backoff import Backoff
from screenerd.bus.port import Bus
from screenerd.clock import Clock, seconds_until
from screenerd.exchange.port import (
    Exchange,
    ExchangeError,
    Feed,
    RefusedError,
    UnknownSymbolError,
)
from screenerd.ingest.bursts import Bursts
from screenerd.ingest.gaps import DAY_MS, Known, minute_of
from screenerd.ingest.quality import fault
from screenerd.model import (
    MINUTE_MS,
    Bars,
    Candle,
    DeadLetter,
    FeedLost,
    Followed,
    Prices,
    Reconnected,
    SymbolStatus,
    Unfollowed,
)
from screenerd.store.port import Span, Store, StoreError

log = structlog.get_logger("ingest")

CLOSE_DEADLINE_MS = 5_000
ROOM_SECONDS = 0.002
MOST_PENDING = 5_000
"""Rows the store may have to write before the history of another symbol is asked for."""

MOST_WAITING = 50_000
"""Candles that may wait for the bus before that."""

ABSENT_AFTER_MS = 120_000
"""A minute that neither the feed nor a request has after so long does not exist."""

REREAD_MINUTES = 30
REMEMBERED_MINUTES = 2 * REREAD_MINUTES
"""Values of so many minutes at least are kept, to tell corrections from repetitions."""

FORGOTTEN_AT_ONCE = 10

TIMEFRAMES = {"5m": 5, "15m": 15, "1h": 60, "4h": 240, "8h": 480, "1d": 1440}
"""Minutes of the longer bars that indicators need."""

BARS_WANTED = 500

PRICES_SECONDS = 1.0
"""How often the prices of running minutes are told, in seconds of the machine; candles go first."""


@dataclass(slots=True)
class IngestStatus:
    """What health asks of this role."""

    symbols: int = 0
    warmed: int = 0
    closed: int = 0
    filled: int = 0
    absent: int = 0
    corrected: int = 0
    duplicates: int = 0
    rejected: int = 0
    dead_letters: int = 0
    missing: int = 0
    last_close: int = 0
    trouble: str = ""
    started: bool = False
    bars_ready: bool = False


@dataclass(slots=True)
class _Followed:
    """One symbol: what is known of it, and the newest version of its newest minutes."""

    known: Known
    warm: bool = False
    early: list[Candle] = field(default_factory=list)
    newest: dict[int, Candle] = field(default_factory=dict)
    last_open: int | None = None
    reread_at: int = 0
    reread_from: int = 0


class Ingest:
    """Every closed minute of every followed symbol goes onto the bus, once a version."""

    def __init__(
        self,
        exchange: Exchange,
        bus: Bus,
        store: Store,
        clock: Clock,
        *,
        history_ms: int = DAY_MS,
        keep_ms: int = 2 * DAY_MS,
    ) -> None:
        """Takes its ports; `feed` is set before it runs, as the feed needs this one's sinks.

        Args:
            exchange: symbols and history.
            bus: where closed minutes go to.
            store: what is held already.
            clock: what tells the time.
            history_ms: what a symbol needs of the past to be warm.
            keep_ms: how far back holes of earlier runs are filled.
        """
        self.status = IngestStatus()
        self.feed: Feed | None = None
        self._exchange, self._bus, self._store, self._clock = exchange, bus, store, clock
        self._history_ms, self._keep_ms = history_ms, max(keep_ms, history_ms)
        self._followed: dict[str, _Followed] = {}
        self._bursts = Bursts(bus, exchange.name)
        self._repair_wanted = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many candles wait for the bus."""
        return self._bursts.waiting

    def known_until(self) -> dict[str, int]:
        """For every symbol the time before which no minute is missing, ms."""
        return {symbol: one.known.complete_until for symbol, one in self._followed.items()}

    def symbols(self) -> tuple[SymbolStatus, ...]:
        """How fresh each symbol is, by name."""
        end = minute_of(self._clock.now_ms() - CLOSE_DEADLINE_MS)
        return tuple(
            SymbolStatus(
                symbol,
                last_close=0 if one.last_open is None else one.last_open + MINUTE_MS,
                warm=one.warm,
                missing=sum((last - first) // MINUTE_MS for first, last in one.known.missing(end)),
            )
            for symbol, one in sorted(self._followed.items())
        )

    # What the feed calls: none of these may wait.

    def take(self, candle: Candle) -> None:
        """Takes a candle from the feed."""
        followed = self._followed.get(candle.symbol)
        if followed is None or not candle.closed:
            return
        if trouble := fault(candle, self._clock.now_ms()):
            self.status.rejected += 1
            self._letter(repr(candle).encode(), trouble, candle.received_at)
        elif followed.warm:
            self._accept(followed, candle)
        else:
            # Minutes are judged in their order: what came before has to be asked for first.
            followed.early.append(candle)

    def take_event(self, event: FeedLost | Reconnected) -> None:
        """Takes what became of a connection."""
        self._bursts.note(event)
        if isinstance(event, Reconnected):
            self._repair_wanted.set()

    def take_letter(self, frame: bytes, reason: str) -> None:
        """Takes a frame that could not be read."""
        self._letter(frame, reason, self._clock.now_ms())

    async def flush(self) -> None:
        """Puts onto the bus what waits for the end of its burst; a clean stop needs it at once."""
        await self._bursts.flush()

    async def quiet(self) -> None:
        """Waits, if not for long, until no minutes are coming in."""
        await self._bursts.quiet()

    # What runs.

    async def run(self) -> None:
        """Warms up, then follows the exchange until cancelled."""
        if self.feed is None:
            raise ValueError("Ingest.feed has to be set before it runs")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bursts.run())
            await self._await_symbols()
            group.create_task(self.feed.run())
            group.create_task(self._tell_prices(self.feed))
            await self._warm_up()
            self.status.started = True
            group.create_task(self._watch_closes())
            group.create_task(self._warm_bars())
            group.create_task(self._reread())
            group.create_task(self._follow_listings())

    async def _tell_prices(self, feed: Feed) -> None:
        """What moves within the minute; people look, so the seconds are theirs at any speed."""
        while True:
            await asyncio.sleep(PRICES_SECONDS)
            await self._bursts.quiet()
            told = {name: at for name, at in feed.prices().items() if name in self._followed}
            if told:
                await self._bus.publish(Prices(self._exchange.name, self._clock.now_ms(), told))

    async def _await_symbols(self) -> None:
        """The first list of symbols; without one there is nothing to do but to ask again.

        Raises:
            RefusedError: the exchange does not serve this address.
        """
        backoff = Backoff()
        while True:
            try:
                await self._refresh_symbols()
            except RefusedError:
                raise
            except (ExchangeError, StoreError) as error:
                self.status.trouble = str(error)
                log.warning("no list of symbols, trying again", error=str(error))
                await self._clock.sleep(backoff.failed())
            else:
                self.status.trouble = ""
                return

    async def _refresh_symbols(self) -> None:
        symbols = await self._exchange.symbols()
        now = self._clock.now_ms()
        if new := sorted(set(symbols) - self._followed.keys()):
            await self._follow(new, now)
        if left := sorted(self._followed.keys() - set(symbols)):
            await self._unfollow(left, now)
        self.status.symbols = len(self._followed)
        if self.feed is not None:
            self.feed.follow(symbols)

    async def _follow(self, symbols: Sequence[str], now: int) -> None:
        """Begins with symbols; of strangers among others it is told what nobody is to judge.

        That is stored before anything else of them is, and told again at every start: who dies
        between the two must not leave their history to be judged.
        """
        name, minute = self._exchange.name, minute_of(now)
        start, kept_from = minute - self._history_ms, minute - self._keep_ms
        tracked = await self._store.tracked(name)
        begun = bool(tracked) or self.status.started
        spans = {
            # What an earlier run was to fetch and did not is still expected, as long as it is kept.
            symbol: Span(
                max(min(start, tracked.get(symbol, start)), kept_from),
                None,
                judged_from=minute if begun and symbol not in tracked else None,
            )
            for symbol in symbols
        }
        await self._store.set_tracking(name, spans)
        await self._tell_listed(symbols, kept_from)
        for number, (symbol, span) in enumerate(spans.items(), 1):
            spread = REREAD_MINUTES * MINUTE_MS * number // len(symbols)
            self._followed[symbol] = _Followed(
                Known(span.start), reread_at=now + spread, reread_from=minute
            )

    async def _tell_listed(self, symbols: Sequence[str], since: int) -> None:
        """Which of the symbols were listed later than others, and from when they are judged."""
        name, moments = self._exchange.name, defaultdict[int, list[str]](list)
        listed = await self._store.judged_from(name)
        for symbol in symbols:
            if (moment := listed.get(symbol, 0)) > since:
                moments[moment].append(symbol)
        for moment, its in sorted(moments.items()):
            await self._bus.publish(Followed(name, tuple(its), moment))

    async def _unfollow(self, symbols: Sequence[str], now: int) -> None:
        # Told first: what could not be stored is tried again, and told again.
        await self._bus.publish(Unfollowed(self._exchange.name, tuple(symbols), now))
        span = Span(minute_of(now) - self._history_ms, minute_of(now))
        await self._store.set_tracking(self._exchange.name, dict.fromkeys(symbols, span))
        for symbol in symbols:
            self.status.warmed -= self._followed.pop(symbol).warm
        log.info("symbols left", symbols=list(symbols))

    async def _warm_up(self) -> None:
        """What the store holds is known; the rest is asked for."""
        now = self._clock.now_ms()
        name = self._exchange.name
        for symbol, runs in (await self._store.held(name, now - self._keep_ms, now)).items():
            if followed := self._followed.get(symbol):
                followed.known.add_runs(runs)
        newest = minute_of(now) - REMEMBERED_MINUTES * MINUTE_MS
        for candle in await self._store.candles(name, None, newest, now):
            if followed := self._followed.get(candle.symbol):
                self._remember(followed, candle)
        await self._warm_symbols()

    async def _warm_symbols(self) -> None:
        cold = [symbol for symbol, followed in self._followed.items() if not followed.warm]
        await self._for_each(cold, self._warm_symbol)

    async def _warm_symbol(self, symbol: str) -> None:
        """Fills a symbol's day, then lets in what its stream delivered meanwhile."""
        followed = self._followed.get(symbol)
        if followed is None:
            return
        try:
            await self._room()
            await self._fill(symbol, minute_of(self._clock.now_ms()))
        except ExchangeError:
            self._let_in(symbol, followed)  # what is missing is asked for again, and comes late
            raise
        # Cancelled, it stays cold: let in behind a hole, the stream's minutes would make those of
        # the hole late for ever.
        self._let_in(symbol, followed)

    def _let_in(self, symbol: str, followed: _Followed) -> None:
        followed.warm = True
        # It may have left meanwhile.
        self.status.warmed += self._followed.get(symbol) is followed
        early, followed.early = followed.early, []
        self._accept_now(followed, early)

    async def _room(self) -> None:
        """Waits while bus or store have much to take: not all days need be in memory at once."""
        while self.waiting > MOST_WAITING or self._store_is_busy():
            await asyncio.sleep(ROOM_SECONDS)

    def _store_is_busy(self) -> bool:
        health = self._store.health
        return health.state == "up" and health.pending > MOST_PENDING

    async def _warm_bars(self) -> None:
        """Asks for the longer bars that the store lacks, or that end before its minutes begin."""
        held = await self._store.newest_bars(self._exchange.name)
        begin = minute_of(self._clock.now_ms()) - self._history_ms

        async def fetch(symbol: str) -> None:
            for timeframe, minutes in TIMEFRAMES.items():
                newest = held.get((symbol, timeframe), 0)
                if newest + minutes * MINUTE_MS <= begin:
                    await self._room()
                    closes = await self._exchange.bars(symbol, timeframe, BARS_WANTED)
                    if closes:
                        bars = Bars(self._exchange.name, symbol, timeframe, tuple(closes))
                        await self._bus.publish(bars)

        await self._for_each([*self._followed], fetch)
        self.status.bars_ready = True

    async def _for_each(self, symbols: Sequence[str], work: _Work) -> None:
        """Works on many symbols at once; a symbol's failure is told and tried again later."""
        waiting = iter(symbols)

        async def worker() -> None:
            for symbol in waiting:
                try:
                    await work(symbol)
                    self.status.trouble = ""
                except UnknownSymbolError:
                    log.info("symbol unknown to the exchange", symbol=symbol)
                except ExchangeError as error:
                    self.status.trouble = str(error)
                    log.warning("request failed", symbol=symbol, error=str(error))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(8, len(symbols))):
                group.create_task(worker())

    async def _watch_closes(self) -> None:
        """Five seconds after every minute, and after every reconnection: is anything missing?"""
        while True:
            wait = seconds_until(CLOSE_DEADLINE_MS, MINUTE_MS, self._clock.now_ms())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._clock.real(wait)):
                    await self._repair_wanted.wait()
            self._repair_wanted.clear()
            await self._repair()

    async def _repair(self) -> None:
        end = minute_of(self._clock.now_ms())
        lacking = [
            symbol for symbol, followed in self._followed.items() if followed.known.missing(end)
        ]
        self.status.missing = len(lacking)
        if lacking:
            await self._for_each(lacking, lambda symbol: self._fill(symbol, end))
            self.status.missing = sum(
                bool(followed.known.missing(end)) for followed in self._followed.values()
            )

    async def _fill(self, symbol: str, end: int) -> None:
        """Asks for what is missing before `end`; what the exchange has not is marked absent."""
        followed = self._followed.get(symbol)
        if followed is None:
            return
        # An answer may be long in coming: it tells nothing of minutes that closed meanwhile.
        asked = self._clock.now_ms()
        for first, last in followed.known.missing(end):
            candles = await self._exchange.minutes(symbol, first, last)
            self.status.filled += len(candles)
            self._accept_now(followed, candles)
            if candles:
                self._mark_absent(followed, candles[-1].open_time)
        oldest = followed.known.complete_until
        if not followed.newest and end - oldest > ABSENT_AFTER_MS:
            # Nothing at all: the symbol is younger than the history that was asked for.
            followed.known.give_up_before(end)
        self._mark_absent(followed, min(end, asked - ABSENT_AFTER_MS))

    def _mark_absent(self, followed: _Followed, before: int) -> None:
        """Minutes before a known one that were asked for and did not come do not exist."""
        known = followed.known
        for first, last in known.missing(minute_of(before)):
            previous = followed.newest.get(first - MINUTE_MS)
            if previous is None:
                known.give_up_before(last)
                continue
            for open_time in range(first, last, MINUTE_MS):
                self.status.absent += 1
                self._accept(followed, _absent(previous, open_time, self._clock.now_ms()))

    async def _reread(self) -> None:
        """Every closed minute is read once more by request, some symbols at a time."""
        while True:
            await self._clock.sleep(5)
            now = self._clock.now_ms()
            due = [s for s, one in self._followed.items() if one.warm and one.reread_at <= now]
            await self._for_each(due[:40], self._reread_symbol)

    async def _reread_symbol(self, symbol: str) -> None:
        followed = self._followed.get(symbol)
        if followed is None:
            return
        now = self._clock.now_ms()
        end = minute_of(now) - MINUTE_MS
        followed.reread_at = now + REREAD_MINUTES * MINUTE_MS
        candles = await self._exchange.minutes(symbol, followed.reread_from, end)
        self._accept_now(followed, candles)
        followed.reread_from = end

    async def _follow_listings(self) -> None:
        """Listings and delistings are followed without a restart."""
        while True:
            await self._clock.sleep(300)
            try:
                await self._refresh_symbols()
            except (ExchangeError, StoreError) as error:
                self.status.trouble = str(error)
                log.warning("symbols could not be refreshed", error=str(error))
            await self._warm_symbols()

    # What is known.

    def _accept_now(self, followed: _Followed, candles: Iterable[Candle]) -> None:
        """Candles that waited count as received now: the journal tells the order of judging."""
        now = self._clock.now_ms()
        for candle in candles:
            self._accept(followed, replace(candle, received_at=now))

    def _accept(self, followed: _Followed, candle: Candle) -> None:
        """A closed version: new minutes and better values go on, what is known already does not."""
        held = followed.newest.get(candle.open_time)
        if held is not None and held.same_values(candle):
            self.status.duplicates += 1
            return
        if held is not None and not _outranks(candle, held):
            self.status.duplicates += 1
            return
        if held is None and followed.known.knows(candle.open_time):
            self.status.duplicates += 1
            return
        if held is not None and held.source != "synthetic":
            self.status.corrected += 1
            candle = replace(candle, revision=held.revision + 1)
        followed.known.add(candle.open_time)
        self._remember(followed, candle)
        self.status.closed += 1
        self.status.last_close = max(self.status.last_close, candle.open_time)
        timings.received(candle, self._clock)
        self._bursts.add(candle)

    def _remember(self, followed: _Followed, candle: Candle) -> None:
        followed.newest[candle.open_time] = candle
        followed.last_open = max(followed.last_open or candle.open_time, candle.open_time)
        if len(followed.newest) > REMEMBERED_MINUTES + FORGOTTEN_AT_ONCE:
            for old in sorted(followed.newest)[:FORGOTTEN_AT_ONCE]:
                del followed.newest[old]

    def _letter(self, frame: bytes, reason: str, at: int) -> None:
        self.status.dead_letters += 1
        # One for which there is no room is counted only.
        self._bursts.note(DeadLetter(self._exchange.name, at, reason, frame[:4096]))


_Work = Callable[[str], Awaitable[None]]

_RANK = {"synthetic": 0, "stream": 1, "rest": 2, "archive": 3}


def _outranks(candle: Candle, held: Candle) -> bool:
    return _RANK[candle.source] >= _RANK[held.source]


def _absent(previous: Candle, open_time: int, now: int) -> Candle:
    """A minute the exchange does not have: flat, and marked as made up."""
    price = previous.close
    return Candle(
        symbol=previous.symbol,
        open_time=open_time,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=0.0,
        quote_volume=0.0,
        trades=0,
        taker_buy_volume=0.0,
        taker_buy_quote_volume=0.0,
        source="synthetic",
        received_at=now,
    )
