"""Mends what a check finds: takes out what cannot be, asks the source for what lacks.

The order makes every moment safe to be killed in: the journal keeps the files as they are, then
rows that cannot be go to its quarantine and out of their months, then the source is asked. What is
stored after a kill is whole; the next repair goes on, and either can be undone (the killed one with
force: it left no word of what it changed).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from screener.errors import DataError
from screener.history import journal
from screener.history.choose import Chosen
from screener.history.fetch import fetch_into
from screener.history.layout import ARCHIVE_URL
from screener.history.pieces import sort_out, tell_refused
from screener.history.plan import Span, minutes_in, within
from screener.history.precedence import Merged
from screener.history.quarantine import Added, impossible_stored, take_out
from screener.history.rest import PAGE, REST_URL, klines_frame
from screener.history.session import connected
from screener.history.store import Store
from screener.history.stored import check_stored, named_symbols
from screener.history.synthetic import make_up
from screener.history.times import (
    MINUTE_MS,
    Moment,
    as_ms,
    iso,
    month_of,
    months_between,
    range_ms,
    whole_minutes,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import polars as pl

    from screener.history.fetch import OnEvent, Source

__all__ = ["Repaired", "repair", "repair_minutes"]

_ABSENT = "absent.json"
# What can be and is hard to believe; the source is asked whether it says so too.
_DOUBTS = ("jump", "price_outlier", "volume_outlier", "quote_misfit")


@dataclass(slots=True)
class Repaired:
    """What a repair did.

    Attributes:
        entry: Its entry in the journal, which undoes it; None where nothing was changed.
        quarantined: Rows that cannot be, taken out.
        merged: What became of the rows of the source, and of files that were added.
        absent: Minutes that the source was found not to have.
        lacking: Minutes that are still missing, and nobody said that they do not exist.
        synthetic: Flat minutes made up for absent ones, marked as such.
        doubts: Rows that were hard to believe, and asked about again.
        notes: What the source has not as it should be and rows that were left out, a line each.
    """

    entry: str | None = None
    quarantined: int = 0
    merged: Merged = field(default_factory=Merged)
    absent: int = 0
    lacking: int = 0
    synthetic: int = 0
    doubts: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything is stored otherwise than before."""
        return bool(self.quarantined or self.synthetic or self.absent or self.merged.changed)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON knows it."""
        return asdict(self)


async def repair(
    store: Store,
    source: Source | None,
    symbols: Collection[str] | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    now: int,
    rows: pl.DataFrame | None = None,
    doubts: bool = False,
    synthetic: bool = False,
    on_event: OnEvent | None = None,
) -> Repaired:
    """Mend stored minutes; the journal keeps what they were.

    Args:
        store: What is mended.
        source: Who is asked for what lacks; None takes out what cannot be and asks nobody.
        symbols: Whose minutes; by default of all that are stored.
        start: From when on; by default, and at the earliest, from a symbol's first minute.
        end: Until when; by default until the end of a symbol's last minute.
        now: The time, ms.
        rows: Minutes to add first, such as `read_klines` gives: those of `symbols` that open in
            [start, end). Without `symbols` only theirs are mended.
        doubts: Also ask again for minutes that are hard to believe; the answer is kept where the
            source ranks as high as what is stored.
        synthetic: Put flat candles, marked `synthetic`, where the source was found to have none.
        on_event: Told of every step of fetching.

    Raises:
        DataError: The range cannot be, or the store or the journal cannot be read or written.
        StateError: Another repair of the store runs.
        SourceError: The source does not answer. What was mended until then stays and is in the
            journal: it can be undone, and the next repair goes on.
    """
    start, end = range_ms(start, end)
    new = Added(rows, now, symbols, start, end)
    if symbols is None and new.names:
        symbols = new.names
    names = list(dict.fromkeys(symbols or ())) if new.names else named_symbols(store, symbols)
    with journal.alone(store):
        entry = journal.begin(store, _files(store, names, start, end, new, now), now)
        done = Repaired(entry.id, notes=new.notes)
        try:
            broken = [impossible_stored(store, name, start, end, now) for name in names]
            done.quarantined = take_out(store, entry, new.refused, broken)
            if new.rows is not None:
                done.merged.add(store.merge(new.rows))
            spans = {name: _span(store, name, start, end, now) for name in names}
            if source is not None:
                await _ask(store, source, spans, now, done, on_event)
                asked = [*new.disputed, *(_doubted(store, spans) if doubts else [])]
                await _ask_again(store, source, asked, spans, now, done)
            if synthetic:
                done.synthetic = make_up(store, spans)
        except BaseException:
            _wait_for_writes(store, names)
            # What failed says more than that the journal could not be written either.
            with suppress(DataError):
                journal.finish(store, entry, done.to_dict())
            raise
        journal.finish(store, entry, done.to_dict())
    if not done.changed:
        done.entry = None
    return done


def _files(
    store: Store,
    names: Collection[str],
    start: int | None,
    end: int | None,
    new: Added,
    now: int,
) -> list[tuple[str, str]]:
    """Every file that may be changed: held months, those of added rows, those of holes between.

    Nothing is fetched that opens after now, yet what is held of such minutes is taken out.
    """
    low = None if start is None else month_of(start)
    high = None if end is None else month_of(end)
    files = []
    for name in names:
        months = set(store.months(name))
        if new.rows is not None:
            mine = new.rows.filter(symbol=name)["open_time"].to_list()
            months |= {month_of(at) for at in (min(mine), max(mine))} if mine else set()
        known = sorted(months)
        if known and end is not None:
            known.append(month_of(min(end, now)))
        inside = _months_through(known)
        files += [
            (name, f"{month}.parquet")
            for month in inside
            if (low is None or month >= low) and (high is None or month <= high)
        ]
        files.append((name, _ABSENT))
    return files


def _months_through(months: list[str]) -> list[str]:
    if not months:
        return []
    return list(months_between(as_ms(min(months)), as_ms(max(months)) + 1))


def _span(store: Store, symbol: str, start: int | None, end: int | None, now: int) -> Span | None:
    """The whole minutes a symbol should have: from its first on, to its last or to `end`."""
    months = store.months(symbol)
    if not months:
        return None
    first = cast("int", store.times(symbol, months[0]).min())
    last = cast("int", store.times(symbol, months[-1]).max())
    low = first if start is None else max(start, first)
    high = last + MINUTE_MS if end is None else end
    span = whole_minutes(low, min(high, now))
    return span if span[0] < span[1] else None


# -- the source ----------------------------------------------------------------------------------


def _wait_for_writes(store: Store, names: Collection[str]) -> None:
    """Where one write has failed another thread may be at one: the journal is held so long."""
    for name in names:
        with suppress(DataError), store.writing(name):
            pass


async def _ask(
    store: Store,
    source: Source,
    spans: dict[str, Span | None],
    now: int,
    done: Repaired,
    on_event: OnEvent | None,
) -> None:
    known = {name: span for name, span in spans.items() if span is not None}
    if not known:
        return
    first = min(low for low, _ in known.values())
    last = max(high for _, high in known.values())
    chosen = Chosen(tuple(known), dict(known))
    fetched = await fetch_into(
        store, source, chosen, first, last, now=now, on_event=on_event, checked=True
    )
    done.merged.add(fetched.merged)
    done.absent += fetched.absent
    done.lacking += fetched.lacking
    done.notes += [f"{note.symbol} {note.period}: {note.what}" for note in fetched.notes]


async def _ask_again(
    store: Store,
    source: Source,
    runs: Sequence[tuple[str, int, int]],
    spans: dict[str, Span | None],
    now: int,
    done: Repaired,
) -> None:
    """Asks REST what it says of minutes that are held, and takes its word as far as it ranks."""
    for symbol, first, minutes in dict.fromkeys(runs):
        for low, high in within([spans[symbol] or (0, 0)], first, first + minutes * MINUTE_MS):
            for at in range(low, high, PAGE * MINUTE_MS):
                until = min(high, at + PAGE * MINUTE_MS)
                rows = await source.klines(symbol, at, until)
                done.doubts += minutes_in([(at, until)])
                frame, refused = sort_out(klines_frame(rows or [], symbol, now=now), now)
                if refused.height:
                    done.notes.append(f"{symbol} {iso(at)[:16]}: {tell_refused(refused)}")
                done.merged.add(store.merge(frame, source="rest"))


def _doubted(store: Store, spans: dict[str, Span | None]) -> list[tuple[str, int, int]]:
    """Minutes that are hard to believe: symbol, first, how many."""
    report = check_stored(store, [name for name, span in spans.items() if span is not None])
    return [
        (entry.symbol, first, minutes)
        for entry in report.symbols
        for kind in _DOUBTS
        if kind in entry.runs
        for first, minutes in entry.runs[kind].iter_rows()
    ]


def repair_minutes(
    symbols: Collection[str] | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    store: Store | None = None,
    rows: pl.DataFrame | None = None,
    doubts: bool = False,
    synthetic: bool = False,
    rest_url: str = REST_URL,
    archive_url: str = ARCHIVE_URL,
    on_event: OnEvent | None = None,
) -> Repaired:
    """Mend stored minutes of Binance USDⓈ-M by its REST and archive; see `repair`.

    Args:
        symbols: Whose minutes; by default of all that are stored.
        start: From when on; by default from a symbol's first minute.
        end: Until when; by default until the end of a symbol's last minute.
        store: What is mended; by default `Store()`.
        rows: Minutes to add first.
        doubts: Also ask again for minutes that are hard to believe.
        synthetic: Put marked flat candles where the source has none.
        rest_url: Where REST is.
        archive_url: Where the archive is.
        on_event: Told of every step of fetching.

    Raises:
        DataError: The range cannot be, or the store or the journal cannot be read or written.
        SourceError: The exchange does not answer.
        StateError: Another repair of the store runs.

    Example:
        >>> from screener.history import repair_minutes, undo
        >>> done = repair_minutes(["BTCUSDT"])  # doctest: +SKIP
        >>> undo(Store(), done.entry)  # doctest: +SKIP
    """
    # A wrong range is told before the exchange is asked for anything.
    start, end = range_ms(start, end)
    kept = Store() if store is None else store

    async def mend() -> Repaired:
        async with connected(rest_url, archive_url) as (source, now):
            return await repair(
                kept,
                source,
                symbols,
                start,
                end,
                now=now,
                rows=rows,
                doubts=doubts,
                synthetic=synthetic,
                on_event=on_event,
            )

    return asyncio.run(mend())
