"""Which symbols are fetched, and since when each is there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from screener.errors import DataError, SourceError
from screener.history.forgotten import Folders, forgotten
from screener.history.times import DAY_MS, MINUTE_MS, iso, range_ms, whole_minutes

if TYPE_CHECKING:
    from screener.history.rest import Universe

__all__ = ["Chosen", "Listings", "Target", "choose", "span"]

_REFUSED: Final = (403, 451)
_SETTLED_MS: Final = MINUTE_MS
"""How long after its end a minute may still change at the exchange."""


class Listings(Folders, Protocol):
    """Who tells what is traded."""

    async def universe(self) -> Universe:
        """What is traded, and was."""
        ...

    async def turnovers(self) -> dict[str, float]:
        """What each symbol traded in the last day, in its quote asset."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Symbols to choose.

    Attributes:
        symbols: These, by name.
        all: All perpetuals.
        top: Of all perpetuals the so many with the most turnover of the last day.
        quote: With `all` and `top`: only those quoted in this asset.
        include_delisted: Also those that no longer trade; by name and with `all` also those that
            the exchange has forgotten, whose files the archive may have.
    """

    symbols: tuple[str, ...] = ()
    all: bool = False
    top: int | None = None
    quote: str = "USDT"
    include_delisted: bool = False

    def refuse_wrong(self) -> None:
        """Refuses what means no symbols, or means them twice.

        Raises:
            DataError: Neither names nor `all` nor `top` are given, or names and one of them.
        """
        if bool(self.symbols) == (self.all or self.top is not None):
            raise DataError(
                reason="symbols by name and all of them" if self.symbols else "no symbols",
                remedy="name symbols such as BTCUSDT, or pass --all, or --top 150",
            )
        if self.top is not None and self.top < 1:
            raise DataError(reason=f"the top {self.top} is nothing", remedy="ask for at least 1")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Symbols, in the order they are fetched.

    Attributes:
        symbols: Their names.
        listed: For each whose listing is known, when it began and ended, ms (`None`: not yet).
        by_rest: Whether REST can be asked for minutes.
        remarks: What was left out, in sentences.
    """

    symbols: tuple[str, ...]
    listed: Mapping[str, tuple[int | None, int | None]]
    by_rest: bool = True
    remarks: tuple[str, ...] = ()


def span(start: int, end: int | None, now: int) -> tuple[int, int]:
    """The whole minutes of [start, end) that are over, ms; the very last may still change.

    A start within a minute is rounded up, an end within one down.

    Raises:
        DataError: There is none, or an end is no time of 2009 to 2100.
    """
    range_ms(start, end)
    latest = now - _SETTLED_MS
    first, last = whole_minutes(start, latest if end is None else min(end, latest))
    if first >= last:
        said = "now" if end is None else iso(end)
        raise DataError(
            reason=f"from {iso(first)} to {said} there is no minute that is over "
            f"(it is {iso(now - now % 1000)})",
            remedy="let the start come before the end, and both before now",
        )
    return first, last


async def choose(source: Listings, target: Target) -> Chosen:
    """The symbols that a target means.

    Where the exchange refuses this location, symbols that are named are fetched from the archive
    alone.

    Raises:
        DataError: One is named that the exchange does not know, or none is found.
        SourceError: The exchange does not answer.
    """
    named = tuple(dict.fromkeys(target.symbols))
    try:
        universe = await source.universe()
    except SourceError as error:
        if not named or error.status not in _REFUSED:
            raise
        return Chosen(named, {}, by_rest=False)
    listed: dict[str, tuple[int | None, int | None]] = {
        each.symbol: (_day(each.since), each.until) for each in universe.contracts
    }
    if named:
        _refuse_unknown(named, listed, target)
        return Chosen(named, listed)
    found: Sequence[str] = universe.symbols(quote=target.quote, delisted=target.include_delisted)
    if target.top is not None:
        turnover = await source.turnovers()
        found = sorted(found, key=lambda symbol: -turnover.get(symbol, 0.0))[: target.top]
    remarks: tuple[str, ...] = ()
    if target.all and target.include_delisted:
        more = await forgotten(source, listed, target.quote)
        found, remarks = sorted([*found, *more.spans]), more.remarks
        listed |= more.spans
    if not found:
        raise DataError(
            reason=f"no perpetual is quoted in {target.quote}", remedy="pass --quote USDT"
        )
    return Chosen(tuple(found), listed, remarks=remarks)


def _day(since: int | None) -> int | None:
    """The day of a listing: its first minutes may come before the time that is told."""
    return None if since is None else since - since % DAY_MS


def _refuse_unknown(named: Sequence[str], listed: Mapping[str, object], target: Target) -> None:
    unknown = [symbol for symbol in named if symbol not in listed]
    if not unknown or target.include_delisted:
        return
    upper = {symbol.upper(): symbol for symbol in listed}
    near = difflib.get_close_matches(unknown[0].upper(), upper, n=1)
    meant = f"did you mean {upper[near[0]]!r}? " if near else ""
    raise DataError(
        reason=f"the exchange lists no {unknown[0]!r}",
        remedy=f"{meant}--include-delisted asks the archive for what is no longer listed",
    )
