"""The store under `check`: symbol by symbol, so that it needs the memory of two."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from screener.errors import DataError
from screener.history.absent import absent_spans
from screener.history.checks import as_numbers, by_symbol, check_symbol, conclude
from screener.history.checks.minutes import make_runs
from screener.history.precedence import COLUMNS
from screener.history.times import MINUTE_MS, as_ms, opening, range_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import polars as pl

    from screener.history.checks import SymbolCheck
    from screener.history.report import HistoryReport
    from screener.history.store import Store
    from screener.history.times import Moment
    from screener.types import ArrowFrame

# The name of the symbol is known, and costs as much to read as a column of numbers.
_LOOKED_AT: Final = tuple(name for name in COLUMNS if name not in ("symbol", "revision"))
# One symbol is read while another is looked at.
_THREADS: Final = 2

__all__ = ["absent_runs", "check_stored", "minutes_of", "named_symbols"]


def check_stored(
    store: Store,
    symbols: Collection[str] | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    whole: bool = False,
    now: Moment | None = None,
    against: ArrowFrame | None = None,
    on_symbol: Callable[[str], None] | None = None,
) -> HistoryReport:
    """Find what is wrong with stored minutes; nothing is changed.

    Args:
        store: What is looked at.
        symbols: Whose minutes; by default of all that are stored.
        start: Only minutes that open at this moment or later.
        end: Only minutes that open before this moment.
        whole: Whether every symbol should have all minutes from `start` to `end`; by default
            those between its first and its last.
        now: The time; minutes that open later are findings. Without it none is.
        against: The same minutes as another source has them.
        on_symbol: Told of each symbol before it is read.

    Returns:
        The report.

    Raises:
        DataError: Nothing is stored of a symbol, a file is damaged, a moment is no time, or the
            start does not come before the end.
    """
    ends = range_ms(start, end)
    names = named_symbols(store, symbols)
    low, high = opening(*ends) if whole else (None, None)
    others = {} if against is None else dict(by_symbol(as_numbers(against)))

    def look(name: str) -> SymbolCheck:
        if on_symbol is not None:
            on_symbol(name)
        return check_symbol(
            name,
            minutes_of(store, name, start, end, columns=_LOOKED_AT),
            start=low,
            end=high,
            now=None if now is None else as_ms(now),
            other=others.get(name),
        )

    with ThreadPoolExecutor(_THREADS) as pool:
        checked = list(pool.map(look, names))
    return conclude(checked, absent={name: absent_runs(store, name) for name in names})


def named_symbols(store: Store, symbols: Collection[str] | None) -> list[str]:
    """The symbols that are meant: those named, or all that are stored.

    Raises:
        DataError: Nothing is stored of one of them, or nothing at all.
    """
    import difflib

    stored = store.symbols
    if not stored:
        raise DataError(
            reason="nothing is stored here",
            path=store.root,
            remedy="screener fetch brings minutes; --store names another folder",
        )
    unknown = next((name for name in symbols or () if name not in stored), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, stored, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"{len(stored):,} symbols are stored"
        raise DataError(reason=f"nothing is stored of {unknown!r}", path=store.root, remedy=hint)
    return stored if symbols is None else list(dict.fromkeys(symbols))


def minutes_of(
    store: Store,
    symbol: str,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    columns: Sequence[str] = COLUMNS,
) -> pl.DataFrame:
    """The stored minutes of a symbol that open in [start, end).

    Raises:
        DataError: A file is damaged, of another schema, or cannot be read; it is named.
    """
    from polars.exceptions import PanicException, PolarsError

    frame = store.scan(symbol, start, end).select(columns)
    try:
        return frame.collect()
    # The panic is no Exception, yet a damaged file is all it takes to cause it.
    except (PolarsError, PanicException, OSError):
        for month in store.months(symbol):
            store.read(symbol, month)
        raise


def absent_runs(store: Store, symbol: str) -> pl.DataFrame:
    """What the registry says a symbol's source has not, as runs."""
    spans = absent_spans(store, symbol)
    return make_runs((start, (end - start) // MINUTE_MS) for start, end in spans)
