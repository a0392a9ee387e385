"""What candles raise, of one symbol or of all: as they arrived, or the final ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import polars as pl

from screener._core import Engine
from screener.conditions import asks_all, variants
from screener.cooldowns import with_cooldowns
from screener.drift.snapshot import Raised
from screener.history.precedence import VALUES
from screener.moments import length_in_minutes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from screener._core import Alert, Rule, RuleSet
    from screener.drift.snapshot import Switch

__all__ = ["GRACE", "Replays", "Versions", "final_of", "together", "versions", "with_switches"]

MINUTE: Final = 60_000
GRACE: Final = 5_000
"""So long after its end a minute is judged among all symbols, whoever has not closed it, ms."""


_BARS_OF: Final = re.compile(r"\b(?:rsi|macd|bb)_(?:[a-z]+_)?([0-9]+[mhd])\b")


@dataclass(frozen=True, slots=True)
class Versions:
    """Minutes as they arrived, and as they are now: those of one symbol, or of all.

    Attributes:
        rows: Every version, in order of arrival, with `judged` (whether anybody was to judge it),
            `unjournalled` (it is in the table of minutes alone) and `kind` (``late``,
            ``corrected``, ``pending``; null where it came in time).
        final: The last version of each minute, by time.
    """

    rows: pl.DataFrame
    final: pl.DataFrame


def versions(
    journal: pl.DataFrame, candles: pl.DataFrame, judged: Sequence[tuple[int, int]]
) -> Versions:
    """One symbol's versions.

    A minute whose newest journalled version is another than the table's, or that the journal does
    not have, came by another way (`screener load`), or its arrival is no longer kept: that version
    counts as arrived when the table says so, and is not judged.

    Args:
        journal: Its versions in order of arrival.
        candles: Its minutes as they are now.
        judged: The minutes that were judged, as [first, end) in ms.
    """
    newest = journal.unique("open_time", keep="last", maintain_order=True)
    # A source that was improved leaves the numbers as they are.
    other = candles.join(newest, on=["open_time", *VALUES], how="anti", nulls_equal=True)
    arrived = pl.max_horizontal("received_at", "open_time")
    rows = pl.concat(
        [
            other.with_columns(event_time=arrived, unjournalled=True),
            # The journal's order is that of judging, whatever the clock said.
            journal.with_columns(event_time=arrived.cum_max(), unjournalled=False),
        ]
    ).sort("event_time", maintain_order=True)
    is_judged = pl.any_horizontal(
        pl.col("open_time").is_between(first, end, closed="left") for first, end in judged
    )
    rows = rows.with_columns(kind=_kind())
    return Versions(
        rows.with_columns(judged=is_judged & ~pl.col("unjournalled")),
        final_of(rows).with_columns(judged=is_judged),
    )


def _kind() -> pl.Expr:
    """What keeps a version of one symbol from having come in time."""
    is_real = pl.col("source") != "synthetic"
    came_before = is_real.cum_sum().over("open_time") > 1
    is_late = (
        pl.col("unjournalled")
        | (pl.col("open_time") < pl.col("open_time").cum_max())
        | (pl.col("event_time") >= pl.col("open_time") + MINUTE + GRACE)
    )
    return (
        pl.when(~is_real)
        .then(pl.lit("pending"))
        .when(came_before)
        .then(pl.lit("corrected"))
        .when(is_late)
        .then(pl.lit("late"))
    )


def together(parts: Sequence[Versions]) -> Versions:
    """The versions of several symbols as they arrived."""
    rows, final = (
        pl.concat(sides) for sides in ([p.rows for p in parts], [p.final for p in parts])
    )
    return Versions(
        rows.sort("event_time", maintain_order=True), final.sort("event_time", maintain_order=True)
    )


def final_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The last version of each minute, by time, known when it closed."""
    keys = ["symbol", "open_time"]
    last = rows.unique(keys, keep="last", maintain_order=True).sort(
        "open_time", maintain_order=True
    )
    return last.with_columns(event_time=pl.col("open_time") + MINUTE)


@dataclass(frozen=True, slots=True)
class Replays:
    """Replays versions of one symbol, or of all, by some rules.

    Attributes:
        exchange: Part of every alert's id.
        bars: Closed bars from before the minutes, by their length.
        before: Alerts from before with `known_at`, by that, for cooldowns.
    """

    exchange: str
    bars: dict[str, pl.DataFrame]
    before: pl.DataFrame

    def alerts(self, rows: pl.DataFrame, rules: RuleSet) -> list[Raised]:
        """What rows raise, in their order; those that are not `judged` warm up."""
        engine = self._engine(rules)
        fed = self._fed(engine, rows, rules)
        return [_raised(alert) for alert in chain.from_iterable(fed)]

    def _fed(self, engine: Engine, rows: pl.DataFrame, rules: RuleSet) -> Iterator[list[Alert]]:
        """Feeds rows; alerts from before are known at once, or where edges are when they came.

        An edge that was told while warming up is one that its cooldown let be told.
        """
        edges = [rule.name for rule in rules if any(o.trigger == "edge" for o in variants(rule))]
        is_edge = pl.col("rule").is_in(edges)
        plain = self.before.filter(~is_edge)
        if plain.height:
            engine.restore_alerts(plain)
        among_all = asks_all(rules)
        known = pl.max_horizontal("known_at", pl.col("triggered_at") + GRACE)
        done = 0
        steps = self.before.filter(is_edge).with_columns(known=known).sort("known")
        for (at,), alerts in steps.group_by("known", maintain_order=True):
            until = int(rows["event_time"].search_sorted(at, side="right"))
            if until > done:
                yield from _runs(engine, rows[done:until])
                done = until
            if among_all and done:
                yield engine.advance(at)
            engine.restore_alerts(alerts)
        yield from _runs(engine, rows[done:])
        if among_all and rows.height:
            yield engine.advance(_newest_close(rows) + GRACE)

    def seen(
        self, rows: pl.DataFrame, rules: RuleSet, symbol: str, rule: Rule
    ) -> dict[str, float | None]:
        """What a rule saw of a symbol after these rows: the values of an alert, by name."""
        engine = self._engine(rules)
        engine.warm_up(rows)
        if rule.among_all:
            engine.advance(_newest_close(rows.filter(symbol=symbol)) + GRACE)
        metrics = engine.metrics(symbol)
        told = ("quote_volume", "change", "vcp")
        return {
            "price": metrics["price"],
            **{name: metrics[f"{name}_{rule.timeframe}"] for name in told},
            **{name: metrics.get(name) for name in rule.metrics},
        }

    def reach_to(self, indicator: str, minute: object) -> bool:
        """Whether the bars that an indicator is of go on until a minute, ms."""
        lengths = [found[1] for found in _BARS_OF.finditer(indicator)]
        if not isinstance(minute, int) or any(length not in self.bars for length in lengths):
            return False
        ends = (
            _newest_of_all(self.bars[length]) + length_in_minutes(length) * MINUTE
            for length in lengths
        )
        return all(end >= minute for end in ends)

    def _engine(self, rules: RuleSet) -> Engine:
        engine = Engine(rules, exchange=self.exchange)
        for timeframe, closes in self.bars.items():
            engine.warm_up_bars(closes, timeframe)
        return engine


def _newest_of_all(rows: pl.DataFrame) -> int:
    """Until when rows of every symbol go on."""
    return int(rows.group_by("symbol").max()["open_time"].min())  # type: ignore[arg-type]


def _newest_close(rows: pl.DataFrame) -> int:
    return int(rows["open_time"].max()) + MINUTE  # type: ignore[arg-type]


def _runs(engine: Engine, rows: pl.DataFrame) -> Iterator[list[Alert]]:
    """Feeds rows run by run: those that are judged, and those that are not."""
    runs = rows.with_columns(run=pl.col("judged").rle_id())
    for run in runs.partition_by("run", maintain_order=True):
        if run["judged"][0]:
            yield engine.update_many(run)
        else:
            engine.warm_up(run)


def with_switches(rules: RuleSet, switches: dict[str, Switch]) -> RuleSet:
    """The same rules with the cooldowns that are set for everybody."""
    set_for_all = {name: one.cooldown for name, one in switches.items()}
    return with_cooldowns(rules, {name: ms for name, ms in set_for_all.items() if ms is not None})


def _raised(alert: Alert) -> Raised:
    values = {
        "price": alert.price,
        "quote_volume": alert.quote_volume,
        "change": alert.change,
        "vcp": alert.vcp,
        **alert.evidence,
    }
    return Raised(alert.symbol, alert.rule, alert.triggered_at, alert.rule_version, values)
