"""What is wrong with history. Frames in, findings out: nothing is changed, no clock is read.

The way of a frame: `symbol` looks at one symbol's rows (`glance` once at all of them, and where
something is to be found `minutes` at their times, `values` at what SPEC section 1 asks, `outliers`
at what is hard to believe) -> `everywhere` tells minutes that most
symbols lack -> `conclude` makes findings of it all. `kinds`, beside this, lists what can be found.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from screener.history.checks.everywhere import missing_in_most
from screener.history.checks.findings import conclude
from screener.history.checks.symbol import Fault, SymbolCheck, check_symbol
from screener.history.checks.values import as_numbers
from screener.history.kinds import KINDS, Kind, Severity
from screener.history.report import Finding, HistoryReport
from screener.history.times import as_ms, opening, range_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl

    from screener.history.times import Moment
    from screener.types import ArrowFrame

__all__ = [
    "KINDS",
    "Fault",
    "Finding",
    "HistoryReport",
    "Kind",
    "Severity",
    "SymbolCheck",
    "as_numbers",
    "by_symbol",
    "check",
    "check_symbol",
    "conclude",
    "missing_in_most",
]

# polars has threads of its own: two callers are enough to keep them busy.
_THREADS: Final = 2


def check(
    frame: ArrowFrame,
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    now: Moment | None = None,
    against: ArrowFrame | None = None,
    absent: Mapping[str, pl.DataFrame] | None = None,
) -> HistoryReport:
    """Find what is wrong with minutes.

    Args:
        frame: Columns as `read_klines` and `Store.read` give them: symbol, open_time (int64 ms,
            UTC), open, high, low, close, volume, and what there is of quote_volume, trades,
            taker_buy_volume, taker_buy_quote_volume, source. In any order; symbols in one piece
            each are the fastest.
        start: The first moment every symbol should have; by default the first it has.
        end: The end of what every symbol should have; by default of the last it has.
        now: The time; minutes that open later are findings. Without it none is.
        against: The same minutes as another source has them.
        absent: Runs of minutes by symbol that the source was found not to have.

    Returns:
        The report: print it, or take `to_dict`, `to_frame` or `to_html`.

    Raises:
        DataError: A column is missing or of a type that holds no numbers; a moment is no time, or
            the start does not come before the end.

    Example:
        >>> from screener.demo import demo_market
        >>> from screener.history import check
        >>> check(demo_market(symbols=2, days=1)).clean
        True
    """
    low, high = opening(*range_ms(start, end))
    others = {} if against is None else dict(by_symbol(as_numbers(against)))
    time = None if now is None else as_ms(now)

    def look(part: tuple[str, pl.DataFrame]) -> SymbolCheck:
        symbol, rows = part
        return check_symbol(symbol, rows, start=low, end=high, now=time, other=others.get(symbol))

    with ThreadPoolExecutor(_THREADS) as pool:
        checked = list(pool.map(look, by_symbol(as_numbers(frame))))
    return conclude(checked, absent=absent)


def by_symbol(rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of each symbol, in the order they have; no copy where symbols are in one piece."""
    if rows.is_empty():
        return
    symbol = rows["symbol"]
    starts = [0, *(symbol != symbol.shift(1)).arg_true().to_list(), rows.height]
    names = symbol.gather(starts[:-1]).to_list()
    if len(set(names)) < len(names):
        for (name,), part in rows.partition_by("symbol", as_dict=True, maintain_order=True).items():
            yield str(name), part
        return
    for name, begin, end in zip(names, starts, starts[1:], strict=False):
        yield name, rows.slice(begin, end - begin)
