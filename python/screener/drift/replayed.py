"""What one symbol's candles raise: those that arrived in their order, or the final ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import polars as pl

from screener._core import Engine
from screener.cooldowns import with_cooldowns
from screener.drift.snapshot import Raised
from screener.history.precedence import VALUES
from screener.moments import length_in_minutes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from screener._core import Alert, Rule, RuleSet
    from screener.drift.snapshot import Switch

__all__ = ["Replays", "Versions", "at_any_time", "final_of", "versions", "with_switches"]

MINUTE: Final = 60_000


@dataclass(frozen=True, slots=True)
class Versions:
    """One symbol's minutes as they arrived, and as they are now.

    Attributes:
        rows: Every version, in order of arrival, with `judged` (whether anybody was to judge it)
            and `unjournalled` (it is in the table of minutes alone).
        final: The last version of each minute, by time.
    """

    rows: pl.DataFrame
    final: pl.DataFrame


def versions(journal: pl.DataFrame, candles: pl.DataFrame, judged_from: int) -> Versions:
    """One symbol's versions.

    A minute whose newest journalled version is another than the table's, or that the journal does
    not have, came by another way (`screener load`), or its arrival is no longer kept: that version
    counts as arrived when the table says so, and is not judged.

    Args:
        journal: Its versions in order of arrival.
        candles: Its minutes as they are now.
        judged_from: The first minute that was judged, ms.
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
    is_late_enough = pl.col("open_time") >= judged_from
    return Versions(
        rows.with_columns(judged=is_late_enough & ~pl.col("unjournalled")),
        final_of(rows).with_columns(judged=is_late_enough),
    )


def final_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The last version of each minute, by time, known when it closed."""
    last = rows.unique("open_time", keep="last", maintain_order=True).sort("open_time")
    return last.with_columns(event_time=pl.col("open_time") + MINUTE)


@dataclass(frozen=True, slots=True)
class Replays:
    """Replays versions of one symbol by some rules.

    Attributes:
        exchange: Part of every alert's id.
        bars: Closed bars from before the minutes, by their length.
        before: Alerts from before, for their cooldowns.
    """

    exchange: str
    bars: dict[str, pl.DataFrame]
    before: pl.DataFrame

    def alerts(self, rows: pl.DataFrame, rules: RuleSet) -> list[Raised]:
        """What rows raise, in their order; those that are not `judged` warm up."""
        engine = self._engine(rules)
        if self.before.height:
            engine.restore_alerts(self.before)
        return [_raised(alert) for alert in chain.from_iterable(_fed(engine, rows))]

    def seen(self, rows: pl.DataFrame, rules: RuleSet, rule: Rule) -> dict[str, float | None]:
        """What a rule saw after these rows: the values of an alert, by name."""
        engine = self._engine(rules)
        engine.warm_up(rows)
        metrics = engine.metrics(rows["symbol"][0])
        told = ("quote_volume", "change", "vcp")
        return {
            "price": metrics["price"],
            **{name: metrics[f"{name}_{rule.timeframe}"] for name in told},
            **{name: metrics.get(name) for name in rule.metrics},
        }

    def reach_to(self, indicator: str, minute: object) -> bool:
        """Whether the bars that an indicator is of go on until a minute, ms."""
        timeframe = indicator.rpartition("_")[2]
        closes = self.bars.get(timeframe)
        if closes is None or not isinstance(minute, int):
            return False
        return bool(closes["open_time"][-1] + length_in_minutes(timeframe) * MINUTE >= minute)

    def _engine(self, rules: RuleSet) -> Engine:
        engine = Engine(rules, exchange=self.exchange)
        for timeframe, closes in self.bars.items():
            engine.warm_up_bars(closes, timeframe)
        return engine


def _fed(engine: Engine, rows: pl.DataFrame) -> Iterator[list[Alert]]:
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


def at_any_time(rules: RuleSet, names: Sequence[str]) -> RuleSet:
    """Some of the rules, without cooldowns: they fire whenever they hold."""
    return with_cooldowns(rules, dict.fromkeys(names, 0), names)


def _raised(alert: Alert) -> Raised:
    values = {
        "price": alert.price,
        "quote_volume": alert.quote_volume,
        "change": alert.change,
        "vcp": alert.vcp,
        **alert.evidence,
    }
    return Raised(alert.symbol, alert.rule, alert.triggered_at, alert.rule_version, values)
