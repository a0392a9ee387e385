"""A replay of more than fits into memory: a store of years and symbols, a piece at a time."""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import TYPE_CHECKING, Final

from screener import _core
from screener.errors import DataError
from screener.history.times import DAY_MS, EARLIEST, opening, range_ms
from screener.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    import polars as pl

    from screener.history.store import Store
    from screener.history.times import Moment
    from screener.types import Gaps, Rules

    _Part = tuple[pl.DataFrame, dict[str, int]]

__all__ = ["replay_store"]

_COLUMNS: Final = (
    "symbol",
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_quote_volume",
    "source",
)
"""What an engine reads."""


def replay_store(
    store: Store,
    rules: Rules = "futures",
    *,
    symbols: Collection[str] | None = None,
    floors: bool = False,
    gaps: Gaps = "pending",
    start: Moment | None = None,
    end: Moment | None = None,
    workers: int | None = None,
    on_symbol: Callable[[str], None] | None = None,
) -> Replay:
    """Replay what is stored, as `replay` would all of it at once, in little memory.

    A symbol is read and replayed at a time, several side by side. With rules that ask something of
    all symbols (`Rule.among_all`) all minutes have to be held at once: 90 bytes each.

    Args:
        store: The local store.
        rules: A `RuleSet`, a preset's name, or the path of a ``.toml`` file.
        symbols: Whose minutes; all by default.
        floors: Whether the rules' floors are on, when `rules` is a name or a path.
        gaps: As in `replay`.
        start: Minutes that open before it only warm up; the day before it is read for that. By
            default everything stored is judged.
        end: Minutes that open at it or later are left out.
        workers: How many symbols side by side, each with 70 MB a year; by default one a core.
        on_symbol: Told of each symbol that is done, from this thread.

    Returns:
        The alerts and the counters.

    Raises:
        DataError: Nothing is stored of a symbol, a file is damaged, or an argument cannot be.
        CandleError: For a stored row that is not valid.
        RuleError: For rules that cannot be.

    Example:
        >>> import screener, tempfile
        >>> store = screener.history.Store(tempfile.mkdtemp())
        >>> _ = store.merge(screener.demo_market(symbols=2, days=1))
        >>> screener.replay_store(store).stats["appended"]
        2880
    """
    from screener.history.store import Store
    from screener.history.stored import named_symbols

    if not isinstance(store, Store):
        remedy = 'give screener.history.Store("folder"), or a frame to screener.replay'
        raise DataError(reason=f"{type(store).__name__} is no store", remedy=remedy)
    if workers is not None and (isinstance(workers, bool) or workers < 1):
        raise DataError(reason=f"workers={workers} is no number of them", remedy="give 1 or more")
    named = rules if isinstance(rules, _core.RuleSet) else _core.RuleSet.load(rules, floors=floors)
    low, high = opening(*range_ms(start, end))
    names = named_symbols(store, symbols)
    groups = [names] if _asks_all(named) else [[name] for name in names]
    count = min(workers or os.cpu_count() or 1, len(groups))

    def replayed(place: int) -> _Part:
        return _replayed(store, groups[place], named, gaps, low, high)

    done = {}
    with ThreadPoolExecutor(count, thread_name_prefix="replay") as pool:
        for place, part in _side_by_side(pool, replayed, len(groups), count):
            done[place] = part
            if on_symbol is not None:
                for name in groups[place]:
                    on_symbol(name)
    return _joined(part for _, part in sorted(done.items()))


def _asks_all(rules: _core.RuleSet) -> bool:
    return any(
        one.among_all for rule in rules for one in (rule, *(own for _, own in rule.overrides))
    )


def _replayed(
    store: Store,
    symbols: Sequence[str],
    rules: _core.RuleSet,
    gaps: Gaps,
    low: int | None,
    high: int | None,
) -> _Part:
    import polars as pl

    from screener.history.stored import minutes_of

    before = None if low is None else max(low - DAY_MS, EARLIEST)
    frames = [minutes_of(store, name, before, high, columns=_COLUMNS) for name in symbols]
    table, stats = _core.replay(
        pl.concat(frames),
        rules,
        floors=False,
        evaluate="close",
        exchange=store.exchange,
        gaps=gaps,
        start=low,
    )
    return pl.DataFrame(table), stats


def _side_by_side(
    pool: ThreadPoolExecutor, task: Callable[[int], _Part], tasks: int, count: int
) -> Iterator[tuple[int, _Part]]:
    """What each task gives, with its number, as they end; `count` at a time are begun."""
    running = {pool.submit(task, place): place for place in range(count)}
    upcoming = iter(range(count, tasks))
    try:
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                place = running.pop(future)
                yield place, future.result()
                for following in islice(upcoming, 1):
                    running[pool.submit(task, following)] = following
    finally:
        for future in running:
            future.cancel()


def _joined(parts: Iterable[_Part]) -> Replay:
    import polars as pl

    alerts, counted = zip(*parts, strict=True)
    stats = {name: sum(one[name] for one in counted) for name in counted[0]}
    return Replay(pl.concat(alerts).sort("triggered_at", "symbol", "rule"), stats)
