"""Counts of alerts: by rule, hour and symbol, moves, storms, overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from screener._core import Rule, RuleSet
    from screener.preview.judged import Judge

__all__ = ["NEAR_MS", "by_hour", "by_rule", "count_moves", "find_storms", "overlaps"]

NEAR_MS: Final = 5 * 60_000
"""Alerts of two rules that are not further apart overlap."""

_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
_DAY_MINUTES: Final = 1440
_BUSIEST: Final = 3
_TIME_BITS: Final = 42
_RULES: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "rule": pl.String,
    "title": pl.String,
    "direction": pl.String,
    "alerts": pl.Int64,
    "per_symbol_day": pl.Float64,
    "symbols": pl.Int64,
    "busiest": pl.List(pl.Struct({"symbol": pl.String, "alerts": pl.Int64})),
    "moves": pl.Int64,
    "told_already": pl.Float64,
    "storms": pl.Int64,
    "longest_silence": pl.Int64,
    "silent_from": pl.Int64,
    "judged": pl.Int64,
    "judged_symbols": pl.Int64,
    "unjudged": pl.Int64,
}
_OVERLAP: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "rule": pl.String,
    "other": pl.String,
    "of": pl.String,
    "alerts": pl.Int64,
    "near": pl.Int64,
    "share": pl.Float64,
}


def by_rule(
    alerts: pl.DataFrame, rules: RuleSet, judge: Judge, storms: pl.DataFrame, quiet: int
) -> pl.DataFrame:
    """A row a rule, in the set's order; `Preview.rules` tells the columns."""
    told = _with_news(alerts, rules, quiet)
    rows = []
    for rule in rules:
        own = told.filter(rule=rule.name)
        count, spans = own.height, judge.of(rule.name)
        gaps = own.sort("symbol", "triggered_at")
        silence, since = _longest_silence(own, spans.first, spans.last)
        rows.append(
            {
                "rule": rule.name,
                "title": rule.title,
                "direction": rule.direction,
                "alerts": count,
                "per_symbol_day": count * _DAY_MINUTES / spans.minutes if spans.minutes else None,
                "symbols": own["symbol"].n_unique(),
                "busiest": _busiest(own),
                "moves": int(gaps.select(_begins(quiet, "symbol").sum()).item()),
                "told_already": 1 - int(own["news"].sum()) / count if count else None,
                "storms": storms.filter(rule=rule.name).height,
                "longest_silence": silence,
                "silent_from": since,
                "judged": spans.minutes,
                "judged_symbols": spans.symbols,
                "unjudged": judge.unjudged(rule.name),
            }
        )
    return pl.DataFrame(rows, schema=_RULES)


def count_moves(alerts: pl.DataFrame, rules: RuleSet, quiet: int) -> int:
    """How many messages remain of all rules together, a move told once."""
    return int(_with_news(alerts, rules, quiet)["news"].sum())


def _with_news(alerts: pl.DataFrame, rules: RuleSet, quiet: int) -> pl.DataFrame:
    """The alerts; `news` is whether one begins a move of its symbol and direction."""
    known = pl.DataFrame(
        [(rule.name, rule.direction, place) for place, rule in enumerate(rules)],
        schema={"rule": pl.String, "direction": pl.String, "place": pl.Int64},
        orient="row",
    )
    plain = alerts.select("symbol", "rule", "triggered_at")
    ordered = plain.join(known, on="rule").sort("symbol", "triggered_at", "place")
    return ordered.with_columns(_begins(quiet, "symbol", "direction").alias("news"))


def _begins(quiet: int, *group: str) -> pl.Expr:
    """Whether nothing came within `quiet` ms before; rows are in order of time in each group."""
    return (pl.col("triggered_at").diff().over(*group) >= quiet).fill_null(value=True)


def _busiest(alerts: pl.DataFrame) -> list[dict[str, Any]]:
    counts = alerts.group_by("symbol").agg(pl.len().cast(pl.Int64).alias("alerts"))
    return counts.sort("alerts", "symbol", descending=[True, False]).head(_BUSIEST).to_dicts()


def _longest_silence(
    alerts: pl.DataFrame, first: int | None, last: int | None
) -> tuple[int | None, int | None]:
    """Minutes, and since when (ms): the longest time without an alert of any symbol."""
    if first is None or last is None:
        return None, None
    times = np.array([first, *alerts["triggered_at"].sort(), last])
    gaps = np.diff(times)
    longest = int(gaps.argmax())
    return int(gaps[longest]) // _MINUTE_MS, int(times[longest])


def by_hour(alerts: pl.DataFrame, rules: RuleSet) -> pl.DataFrame:
    """A row a rule and hour of the day (UTC) in which its judged minutes close."""
    hour = (pl.col("triggered_at") // _HOUR_MS % 24).alias("hour")
    found = alerts.group_by("rule", hour).agg(pl.len().cast(pl.Int64).alias("alerts"))
    grid = pl.DataFrame(
        [(rule.name, number) for rule in rules for number in range(24)],
        schema={"rule": pl.String, "hour": pl.Int64},
        orient="row",
    )
    counted = grid.join(found, on=["rule", "hour"], how="left", maintain_order="left")
    return counted.with_columns(pl.col("alerts").fill_null(0))


def find_storms(alerts: pl.DataFrame, rules: RuleSet, least: int) -> pl.DataFrame:
    """Minutes in which `least` symbols fire: of all rules together, and of each.

    Of all together `rule` is null.
    """
    plain = alerts.select("symbol", "rule", "triggered_at")
    together = _crowds(plain.with_columns(rule=pl.lit(None, dtype=pl.String)), least)
    each = [_crowds(plain.filter(rule=rule.name), least) for rule in rules]
    return pl.concat([together, *each])


def _crowds(alerts: pl.DataFrame, least: int) -> pl.DataFrame:
    counted = alerts.group_by("rule", time="triggered_at").agg(
        pl.col("symbol").n_unique().cast(pl.Int64).alias("symbols"),
        pl.len().cast(pl.Int64).alias("alerts"),
    )
    return counted.filter(pl.col("symbols") >= least).sort("time")


def overlaps(
    alerts: pl.DataFrame, rules: RuleSet, others: pl.DataFrame, against: RuleSet | None
) -> pl.DataFrame:
    """A row a rule and other rule: how many of its alerts have one of the other's near.

    A rule of `against` that is the very same as one of the set is left out.
    """
    rows = [
        (name, other, whose, len(mine), near, near / len(mine) if len(mine) else None)
        for name, mine, other, whose, theirs in _pairs(alerts, rules, others, against)
        for near in [_near(mine, theirs)]
    ]
    return pl.DataFrame(rows, schema=_OVERLAP, orient="row")


def _pairs(
    alerts: pl.DataFrame, rules: RuleSet, others: pl.DataFrame, against: RuleSet | None
) -> Iterator[tuple[str, np.ndarray, str, str, np.ndarray]]:
    symbols = pl.concat([alerts["symbol"], others["symbol"]]).unique().sort()
    own = {rule.name: _keys(alerts.filter(rule=rule.name), symbols) for rule in rules}
    same = [_identity(rule) for rule in rules]
    foreign = {
        rule.name: _keys(others.filter(rule=rule.name), symbols)
        for rule in against or ()
        if _identity(rule) not in same
    }
    for name, mine in own.items():
        for other, theirs in own.items():
            if other != name:
                yield name, mine, other, "set", theirs
        for other, theirs in foreign.items():
            yield name, mine, other, "against", theirs


def _identity(rule: Rule) -> tuple[object, ...]:
    """What is the same of two rules that raise the same alerts."""
    others = (([*patterns], one.version, one.enabled) for patterns, one in rule.overrides)
    return rule.version, rule.enabled, *others


def _keys(alerts: pl.DataFrame, symbols: pl.Series) -> np.ndarray:
    """Symbol and time in one number, ascending; symbols lie much further apart than times."""
    codes = symbols.search_sorted(alerts["symbol"]).to_numpy().astype(np.int64)
    keys = (codes << _TIME_BITS) + alerts["triggered_at"].to_numpy()
    return np.sort(keys)


def _near(mine: np.ndarray, theirs: np.ndarray) -> int:
    """How many of `mine` have one of `theirs` within `NEAR_MS`."""
    low = np.searchsorted(theirs, mine - NEAR_MS, side="left")
    high = np.searchsorted(theirs, mine + NEAR_MS, side="right")
    return int((high > low).sum())
