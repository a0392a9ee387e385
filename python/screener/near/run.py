"""The call: frame by frame, symbol by symbol; the nearest of all are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from screener._core import RuleSet
from screener.errors import DataError
from screener.history.times import EARLIEST, LATEST, opening, range_ms
from screener.near.margins import margins
from screener.near.result import NearMisses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import polars as pl

    from screener.history.store import Store
    from screener.history.times import Moment as Time
    from screener.near.moments import Moment
    from screener.types import ArrowFrame, Gaps, Rules

__all__ = ["near_misses"]

_MOST: Final = 100_000


def near_misses(
    candles: ArrowFrame | pl.LazyFrame | Iterable[ArrowFrame] | Store,
    rules: Rules = "futures",
    start: Time | None = None,
    end: Time | None = None,
    limit: int = 20,
    *,
    floors: bool = False,
    only: Sequence[str] | None = None,
    apart: str = "15m",
    gaps: Gaps = "pending",
    on_symbol: Callable[[str], None] | None = None,
) -> NearMisses:
    """List the moments at which rules came nearest to firing without it.

    A moment is near by its worst clause: by how much that falls short, as a share of the larger of
    its two values. Minutes at which a rule could not be judged are left out.

    Args:
        candles: As in `preview`: a frame as for `replay`, frames one after the other, or a
            `screener.history.Store`.
        rules: A `RuleSet`, a preset's name, or the path of a ``.toml`` file.
        start: Rows that open before it only warm up; by default nothing does.
        end: Rows that open at it or later are not asked for.
        limit: How many moments at most.
        floors: Whether floors are on, where `rules` is a name or a path.
        only: The rules that are looked at; by default all.
        apart: Minutes of a symbol and rule that are closer than this are one moment, and those
            so close to a minute at which the rule held are none: whole minutes, hours or days.
        gaps: As in `replay`.
        on_symbol: Told of each symbol before it is looked at.

    Returns:
        The moments, nearest first; print it.

    Raises:
        CandleError: For the first row of a frame that is not valid.
        DataError: A frame cannot be used, the range cannot be, or an option is none.
        RuleError: For rules that cannot be, or that have a clause whose margin cannot be told.

    Example:
        >>> import screener
        >>> found = screener.near_misses(screener.demo_market(), "classic", limit=3)
        >>> found.frame.columns[:4]
        ['symbol', 'rule', 'time', 'distance']
    """
    from screener.near.clauses import read
    from screener.near.moments import looked_at, nearest
    from screener.preview.run import length_ms
    from screener.preview.sources import frames_of

    low, high = opening(*range_ms(start, end))
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _MOST:
        raise DataError(
            reason=f"limit={limit!r} is no number of moments", remedy=f"give 1 to {_MOST:,}"
        )
    separate = length_ms(apart, "apart")
    named = rules if isinstance(rules, RuleSet) else RuleSet.load(rules, floors=floors)
    names = list(dict.fromkeys(named.names if only is None else only))
    for name in names:
        for clause in named.explain(name, {}).clauses:
            read(clause.text)
    metrics = list(dict.fromkeys(one for name in names for one in named[name].metrics))
    found: list[Moment] = []
    for frame in frames_of(candles, low, high):
        for part in frame.partition_by("symbol", maintain_order=True):
            if on_symbol is not None:
                on_symbol(part["symbol"][0])
            looked = looked_at(part, metrics, gaps)
            ends = EARLIEST if low is None else low, LATEST if high is None else high
            for name in names:
                found += nearest(looked, named, name, *ends, separate, limit)
            found.sort(key=lambda one: (one.distance, one.time, one.symbol, one.rule))
            del found[limit:]
    return NearMisses(_frame([_row(named, one) for one in found]))


def _row(rules: RuleSet, moment: Moment) -> dict[str, Any]:
    table = margins(rules, moment.rule, moment.metrics)
    failing = [clause for clause in table.clauses if clause.held is False]
    worst = min(failing, key=lambda clause: clause.share or 0.0)
    return {
        "symbol": moment.symbol,
        "rule": moment.rule,
        "time": moment.time,
        "distance": moment.distance,
        "failing": moment.failing,
        "clause": worst.clause,
        "left": worst.left,
        "right": worst.right,
        "told": table.told,
    }


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    texts = dict.fromkeys(("symbol", "rule", "clause", "told"), pl.String())
    order = ("symbol", "rule", "time", "distance", "failing", "clause", "left", "right", "told")
    kinds: dict[str, pl.DataType] = texts | {"time": pl.Int64(), "failing": pl.Int64()}
    return pl.DataFrame(rows, schema={name: kinds.get(name, pl.Float64()) for name in order})
