"""Minutes from the exchange into the store: in parallel, and again where it was cut off.

Nothing but the store is remembered. Each month of a symbol is planned from what is held, one batch
of pieces is fetched and stored, and it is planned again; so a process may be killed at any moment,
and the next one goes on with what is still missing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from screener.errors import DataError, ScreenerError, SourceError
from screener.history.absent import absent_spans, confirm_absent, forget_absent, join
from screener.history.archive import read_archive
from screener.history.layout import file_name
from screener.history.pieces import Got, clean, tell_refused
from screener.history.plan import Cost, Piece, Span, holes, minutes_in, plan_month, within, without
from screener.history.progress import Event, Fetched, Note, OnEvent
from screener.history.rest import klines_frame
from screener.history.times import (
    MINUTE_MS,
    month_end,
    month_start,
    months_between,
    next_minute,
    range_ms,
    whole_minutes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from screener.history.choose import Chosen
    from screener.history.store import Store

__all__ = ["Event", "Fetched", "Note", "OnEvent", "Source", "cost_of", "fetch_into"]

BATCH: Final = 8
"""Pieces of a month that are fetched together, and stored together."""

MONTHS_AT_ONCE: Final = 6
"""Months that are worked on together."""

_SURE_AFTER: Final = 3_600_000
"""What REST lacks so long after its minute is absent for good, ms."""

_REFUSED: Final = (403, 451)


class Source(Protocol):
    """Who has the minutes."""

    async def klines(self, symbol: str, start: int, end: int) -> list[object] | None:
        """Rows of the minutes that open in [start, end) ms; `None` for an unknown symbol."""
        ...

    async def archive_file(self, symbol: str, period: str) -> bytes | None:
        """The zip file of a month or day, its checksum verified; `None` if there is none."""
        ...


def work(chosen: Chosen, start: int, end: int) -> Iterator[tuple[str, str, int, int]]:
    """The symbol, month, start and end (ms) of each piece of work, month by month.

    All are whole minutes. A listing may begin and end within one: both minutes may have traded.
    """
    start, end = whole_minutes(start, end)
    for month in months_between(start, end):
        for symbol in chosen.symbols:
            since, until = chosen.listed.get(symbol, (None, None))
            first = max(start, month_start(month), (since or 0) // MINUTE_MS * MINUTE_MS)
            last = min(end, month_end(month), end if until is None else next_minute(until))
            if first < last:
                yield symbol, month, first, last


def missing_in(store: Store, symbol: str, month: str, start: int, end: int) -> list[Span]:
    """What is neither stored nor known to be absent in [start, end) of a month."""
    found = holes(store.times(symbol, month), start, end)
    return without(found, absent_spans(store, symbol)) if found else []


def cost_of(
    store: Store, chosen: Chosen, start: int, end: int, now: int, *, ask_again: bool = False
) -> Cost:
    """What fetching would take, as far as can be known without asking: nothing is fetched.

    Args:
        store: What is held.
        chosen: The symbols.
        start: The first minute, ms.
        end: The end of the last, ms.
        now: The time, ms.
        ask_again: Whether what is known to be absent counts as missing.
    """
    total = Cost()
    for symbol, month, first, last in work(chosen, start, end):
        if ask_again:
            missing = holes(store.times(symbol, month), first, last)
        else:
            missing = missing_in(store, symbol, month, first, last)
        for piece in plan_month(symbol, month, missing, now=now, by_rest=chosen.by_rest):
            total += piece.cost
    return total


async def fetch_into(
    store: Store,
    source: Source,
    chosen: Chosen,
    start: int,
    end: int,
    *,
    now: int,
    on_event: OnEvent | None = None,
    checked: bool = False,
    ask_again: bool = False,
) -> Fetched:
    """Fetches what the store lacks of [start, end).

    Args:
        store: Where to.
        source: Where from.
        chosen: The symbols.
        start: The first minute, ms; one within a minute is rounded up.
        end: The end of the last, ms, closed by `now`; one within a minute is rounded down.
        now: The exchange's time, ms.
        on_event: Told of every step.
        checked: Whether rows that cannot be are noted and left out, and their minutes stay missing
            without being absent; by default they are stored as the source tells them.
        ask_again: Whether what is known to be absent is forgotten, and asked for like the rest.

    Raises:
        DataError: The range cannot be, or the store cannot be read or written.
        SourceError: The source does not answer. What has come until then is stored.
    """
    range_ms(start, end)
    done = Fetched(by_rest=chosen.by_rest)
    todo = work(chosen, start, end)
    run = _Run(store, source, now, done, on_event or (lambda _: None), checked, ask_again)

    failures: list[ScreenerError] = []

    async def worker() -> None:
        for symbol, month, first, last in todo:
            try:
                await run.month(symbol, month, first, last)
            except ScreenerError as error:
                failures.append(error)
            # Others finish the month they are at; nobody begins another.
            if failures:
                return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(MONTHS_AT_ONCE):
            tasks.create_task(worker())
    if failures:
        raise failures[0]
    return done


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@dataclass(slots=True)
class _Run:
    """A run: its ends, and its counts."""

    store: Store
    source: Source
    now: int
    done: Fetched
    told: OnEvent
    checked: bool = False
    ask_again: bool = False

    async def month(self, symbol: str, month: str, start: int, end: int) -> None:
        """Fetches what is missing of a month, until nothing is left to try."""
        import polars as pl

        if self.ask_again:
            await asyncio.to_thread(_forget, self.store, symbol, start, end)
        missing = await asyncio.to_thread(missing_in, self.store, symbol, month, start, end)
        wanted, lacking = minutes_in([(start, end)]), minutes_in(missing)
        self.done.wanted += wanted
        self.done.held += wanted - lacking
        self.told(Event(symbol, month, wanted - lacking, fetched=False))
        tried: set[str] = set()
        asked: list[Span] = []
        read: list[Span] = []
        unusable: list[Span] = []
        spare: list[pl.DataFrame] = []
        refused: list[Span] = []
        by_rest = self.done.by_rest
        while pieces := plan_month(
            symbol, month, without(missing, asked), now=self.now, tried=tried, by_rest=by_rest
        ):
            got = await self._batch(pieces[:BATCH])
            tried |= {each.piece.period for each in got if each.piece.kind != "rest"}
            by_rest = by_rest and self.done.by_rest and not any(each.unanswered for each in got)
            # What REST was asked for is settled, unless it turned out that it cannot be asked.
            asked += [_span(each) for each in got if each.piece.kind == "rest" and by_rest]
            files = [each for each in got if each.piece.kind != "rest"]
            read += [_span(each) for each in files if each.rows is not None]
            unusable += [_span(each) for each in files if each.unusable]
            spare += [each.spare for each in got if each.spare is not None]
            refused += self._refused(got)
            missing = await self._keep(symbol, month, (start, end), got)
            left = minutes_in(missing)
            self.told(Event(symbol, got[-1].piece.period, lacking - left, fetched=True))
            lacking = left
        if spare and missing:
            missing = await self._keep_spare(pl.concat(spare, how="diagonal"), missing)
        if self.done.by_rest and not by_rest:
            # The exchange has forgotten the symbol: nobody can know more than its files.
            gone = without(join(read), join([*unusable, *refused]))
            await self._settle(symbol, missing, gone, "archive")
        else:
            await self._settle(symbol, missing, without(asked, join(refused)), "rest")
        if lacking:
            self.told(Event(symbol, month, lacking, fetched=True))

    async def _batch(self, pieces: list[Piece]) -> list[Got]:
        try:
            async with asyncio.TaskGroup() as tasks:
                jobs = [tasks.create_task(self._piece(piece)) for piece in pieces]
        except BaseExceptionGroup as group:
            raise _first(group) from None
        return [job.result() for job in jobs]

    async def _piece(self, piece: Piece) -> Got:
        if piece.kind == "rest":
            return await self._by_rest(piece)
        try:
            data = await self.source.archive_file(piece.symbol, piece.period)
            if data is None:
                self.done.notes.append(Note(piece.symbol, piece.period, "missing"))
                return Got(piece)
            name = file_name(piece.symbol, piece.period)
            frame = await asyncio.to_thread(read_archive, data, piece.symbol, name)
        except SourceError:
            raise
        except DataError as error:
            self.done.notes.append(Note(piece.symbol, piece.period, error.reason))
            return Got(piece, unusable=True)
        self.done.files += 1
        return self._clean(piece, frame)

    async def _by_rest(self, piece: Piece) -> Got:
        import polars as pl

        frames = []
        for start, end in piece.pages:
            try:
                rows = await self.source.klines(piece.symbol, start, end)
            except SourceError as error:
                if error.status not in _REFUSED:
                    raise
                rows, self.done.by_rest = None, False
            if rows is None:
                return Got(piece, unanswered=True)
            frames.append(klines_frame(rows, piece.symbol, now=self.now))
        return self._clean(piece, pl.concat(frames, how="diagonal"))

    def _clean(self, piece: Piece, frame: pl.DataFrame) -> Got:
        return clean(piece, frame, now=self.now if self.checked else None)

    def _refused(self, got: list[Got]) -> list[Span]:
        """Notes the rows that were left out; their minutes: the source has them, so to say."""
        spans: list[Span] = []
        for each in got:
            if each.refused is not None and each.refused.height:
                piece = each.piece
                note = Note(piece.symbol, piece.period, tell_refused(each.refused))
                self.done.notes.append(note)
                spans += [(at, at + MINUTE_MS) for at in each.refused["open_time"].to_list()]
        return spans

    async def _keep(self, symbol: str, month: str, wanted: Span, got: list[Got]) -> list[Span]:
        """Stores what has come; what is missing now."""
        import polars as pl

        self.done.misplaced += sum(each.misplaced for each in got)
        frames = [each.rows for each in got if each.rows is not None]
        if frames:
            rows = pl.concat(frames, how="diagonal")
            self.done.merged.add(await asyncio.to_thread(self.store.merge, rows))
        return await asyncio.to_thread(missing_in, self.store, symbol, month, *wanted)

    async def _keep_spare(self, spare: pl.DataFrame, missing: list[Span]) -> list[Span]:
        """Of minutes that the archive told twice and differently, and REST has not, the last."""
        import polars as pl

        time = pl.col("open_time")
        wanted = [time.is_between(low, high, closed="left") for low, high in missing]
        rows = spare.filter(pl.any_horizontal(wanted))
        self.done.merged.add(await asyncio.to_thread(self.store.merge, rows))
        stored = [(at, at + MINUTE_MS) for at in rows["open_time"].unique().sort().to_list()]
        return without(missing, stored)

    async def _settle(
        self, symbol: str, missing: list[Span], asked: list[Span], source: str
    ) -> None:
        """What a source was asked for and has not is absent, once it is old enough."""
        # The minute that is not yet an hour old as a whole may still come.
        _, sure = whole_minutes(0, self.now - _SURE_AFTER)
        absent = [part for low, high in asked for part in within(missing, low, min(high, sure))]
        await asyncio.to_thread(
            confirm_absent, self.store, symbol, absent, source=source, asked_at=self.now
        )
        self.done.absent += minutes_in(absent)
        self.done.lacking += minutes_in(missing) - minutes_in(absent)


def _forget(store: Store, symbol: str, start: int, end: int) -> None:
    """Takes [start, end) out of what is absent; where nothing of it is, no file is touched."""
    if within(absent_spans(store, symbol), start, end):
        forget_absent(store, symbol, [(start, end)])


def _span(got: Got) -> Span:
    return got.piece.start, got.piece.end
