"""The one public call: a template, its parameters and candles in, a row for each set out."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from screener.backtest import Measures
from screener.conditions import asks_all
from screener.errors import DataError, RuleError
from screener.moments import milliseconds
from screener.sweep.progress import Steps, teller
from screener.sweep.template import filled_rules, sets_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from screener._core import RuleSet
    from screener.moments import Moment
    from screener.sweep.passes import Distinct
    from screener.sweep.progress import OnProgress
    from screener.sweep.template import Parameters, Value
    from screener.types import ArrowFrame, Gaps

__all__ = ["sweep"]

_COUNTS = ("set", "alerts", "alerts_a_symbol_day")


def sweep(
    template: str | os.PathLike[str],
    parameters: Parameters,
    candles: ArrowFrame | pl.LazyFrame,
    *,
    floors: bool = False,
    gaps: Gaps = "pending",
    start: Moment | None = None,
    end: Moment | None = None,
    trade: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: OnProgress | bool = False,
) -> pl.DataFrame:
    """Tries sets of thresholds over past minutes.

    Every set raises exactly the alerts that `replay` gives for its rules alone; yet the engine
    passes over a symbol once for many sets, symbols beside each other on all cores.

    Args:
        template: The TOML text of rules, or the path of a ``.toml`` file, with names in braces
            where a value is left open: ``when = "change_5m >= {up}"``.
        parameters: Either the values of each name, ``{"up": [1, 2], "ratio": [2, 3, 4]}``, of
            which all combinations are tried, the last name's values fastest; or the sets
            themselves, ``[{"up": 1, "ratio": 2}, …]``. Values are numbers, or words such as the
            ``5m`` of a cooldown. At most 10,000 sets.
        candles: Minutes as in `replay`, `open_time` in ms. A polars `LazyFrame`, such as that of
            `screener.history.scan`, is read a symbol at a time.
        floors: Whether the rules' floors are on.
        gaps: As in `replay`.
        start: Minutes that open before it only warm up, as in `replay`.
        end: Minutes that open at it or later are not looked at.
        trade: Also trade the alerts of each set: the options of `backtest`, such as
            ``{"hold": 60, "stop": 0.01}``; ``{}`` for its defaults. Trades see the minutes from
            `start` to `end` alone, each minute once.
        workers: How many threads; one a core by default. The result is the same with any number.
        progress: Called with the steps done and the steps there are; True for a line on stderr
            where that is a terminal.

    Returns:
        A row a set, in their order: ``set`` (from 0), a column for each parameter, ``alerts``,
        ``alerts_a_symbol_day`` (1,440 minutes of a symbol that were judged; null where there were
        none) and, with `trade`, the fields of `Backtest.measures`.

    Raises:
        DataError: The parameters do not fit the template, there are none or too many, or the
            candles or an option cannot be used.
        RuleError: A set makes no rules; the reason tells which, line and column are those of the
            text it is filled into. Or a rule asks something of all symbols, such as ``rank``.
        CandleError: For the first row of a symbol that is not valid, counted among its own rows.

    Example:
        >>> import screener
        >>> surge = '''
        ... [[rule]]
        ... name = "surge"
        ... timeframe = "5m"
        ... direction = "up"
        ... when = "change_5m >= {up} and volume_ratio_5m >= {ratio}"
        ... '''
        >>> tried = screener.sweep(
        ...     surge, {"up": [0.5, 1.0], "ratio": [1.5, 3]}, screener.demo_market(symbols=8)
        ... )
        >>> tried.columns
        ['set', 'up', 'ratio', 'alerts', 'alerts_a_symbol_day']
        >>> tried.height
        4
    """
    import polars as pl

    from screener.sweep.passes import alerts_of, counted, distinct_rules, share
    from screener.sweep.scores import COLUMNS, arguments_of, market_of, measures_of
    from screener.sweep.symbols import parts_of

    text = text_of(template)
    sets = sets_of(text, parameters)
    _check_columns(list(sets[0]))
    rule_sets = filled_rules(text, sets, floors=floors)
    _refuse_among_all(rule_sets)
    arguments = None if trade is None else arguments_of(trade)
    threads = _threads(workers)
    first = None if start is None else milliseconds(start, "start")
    last = None if end is None else milliseconds(end, "end")

    parts, rules = parts_of(candles, first, last), distinct_rules(rule_sets)
    ranges = share(rules, parts.most_rows, -(-threads // len(parts.symbols)))
    passes = [(symbol, numbers) for symbol in parts.symbols for numbers in ranges]
    steps = Steps(len(passes) + (0 if arguments is None else len(sets)), teller(progress))

    def judged(one: tuple[str, range]) -> pl.DataFrame:
        symbol, numbers = one
        alerts = alerts_of(parts.of(symbol), rules, numbers, gaps=gaps, start=first)
        return counted(alerts) if arguments is None else alerts

    with ThreadPoolExecutor(threads) as pool:
        found = pl.concat(steps.through(pool, judged, passes))
        counts = found if arguments is None else counted(found)
        result = _counts_frame(sets, rules, counts, parts.minutes)
        if arguments is None:
            return result
        market = market_of(parts.judged(COLUMNS), arguments)

        def scored(number: int) -> dict[str, Any]:
            return measures_of(market, rule_sets[number], rules.sets[number], rules, found)

        measures = steps.through(pool, scored, range(len(sets)))
    return result.hstack(pl.DataFrame(measures, schema=_measure_types()))


def _counts_frame(
    sets: list[dict[str, Value]], rules: Distinct, counts: pl.DataFrame, minutes: int
) -> pl.DataFrame:
    import polars as pl

    by_rule: Counter[int] = Counter()
    for number, alerts in counts.iter_rows():
        by_rule[number] += alerts
    by_set = [sum(by_rule[number] for number in numbers) for numbers in rules.sets]
    parameters = {name: [values[name] for values in sets] for name in sets[0]}
    return pl.DataFrame(
        {
            "set": range(len(sets)),
            **{name: pl.Series(values, strict=False) for name, values in parameters.items()},
            "alerts": by_set,
            "alerts_a_symbol_day": [alerts * 1440 / minutes for alerts in by_set],
        }
    )


def _measure_types() -> dict[str, pl.DataType]:
    import polars as pl

    return {
        field.name: pl.Int64() if field.type == "int" else pl.Float64()
        for field in fields(Measures)
    }


def _refuse_among_all(rule_sets: list[RuleSet]) -> None:
    name = next((rule.name for rules in rule_sets for rule in rules if asks_all([rule])), None)
    if name is not None:
        raise RuleError(
            reason="it asks something of all symbols, and a sweep sees one at a time",
            rule=name,
            suggestion="replay each set: screener.replay(candles, screener.fill_rules(...))",
        )


def _check_columns(names: list[str]) -> None:
    taken = {*_COUNTS, *(field.name for field in fields(Measures))}
    if wrong := [name for name in names if name in taken]:
        raise DataError(
            reason=f"a parameter cannot be called {wrong[0]!r}: a column of the result is",
            remedy="call it something else",
        )


def _threads(workers: int | None) -> int:
    if workers is None:
        return os.cpu_count() or 1
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise DataError(
            reason=f"workers={workers!r} cannot be", remedy="give a whole number above 0"
        )
    return workers
