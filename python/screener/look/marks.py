"""Alerts as marks on a chart: of which rule, when, and which way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from screener import _core
from screener.errors import DataError
from screener.outcomes import frames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from screener._core import Alert
    from screener.types import ArrowFrame, Rules

__all__ = ["DIRECTIONS", "Lane", "Marks", "marks_of"]

DIRECTIONS: Final = ("up", "down", "flat")
_MOST_LANES: Final = 16
_TYPES: Final = {
    "symbol": pl.String,
    "rule": pl.String,
    "triggered_at": pl.Int64,
    "state": pl.String,
}
_REMEDY: Final = "Replay.alerts has the columns this needs"


@dataclass(frozen=True, slots=True)
class Lane:
    """The alerts of a rule, or of all rules that have no lane of their own.

    Attributes:
        name: What to call it.
        alerts: `time` (ms) and `direction` of each, in the order of time.
    """

    name: str
    alerts: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Marks:
    """The alerts of one symbol.

    Attributes:
        alerts: `rule`, `time` (ms) and `direction` (up, down, flat), in the order of time.
        lanes: The same by rule: rules that expect a rise before those that expect a fall.
        outside: How many are not within the range.
    """

    alerts: pl.DataFrame
    lanes: tuple[Lane, ...]
    outside: int


def marks_of(
    alerts: ArrowFrame | Iterable[Alert], symbol: str, start: int, end: int, rules: Rules | None
) -> Marks:
    """The alerts of a symbol that were raised by the close of a minute within [start, end).

    Raises:
        DataError: They are no alerts, or a column is missing or of a wrong type.
        RuleError: The rules cannot be loaded.
    """
    frame, told = _read(alerts)
    frame = frame.filter(pl.col("symbol") == symbol, pl.col("state").ne_missing("withdrawn"))
    # An alert of a running minute comes again when the minute closes.
    frame = frame.unique(["rule", "time"], keep="last").sort("time", "rule")
    if not told:
        frame = frame.with_columns(_directions(frame["rule"], rules))
    is_known = pl.col("direction").is_in(DIRECTIONS)
    frame = frame.with_columns(pl.when(is_known).then("direction").otherwise(pl.lit("flat")))
    within = frame.filter((pl.col("time") > start) & (pl.col("time") <= end))
    within = within.select("rule", "time", "direction")
    return Marks(within, tuple(_lanes(within)), frame.height - within.height)


def _read(alerts: ArrowFrame | Iterable[Alert]) -> tuple[pl.DataFrame, bool]:
    """Alerts with `symbol, rule, time, state`, and whether they tell their direction too."""
    if isinstance(alerts, (str, bytes)):
        raise DataError(reason="a text is no alerts", remedy="give Replay.alerts, or a list")
    if hasattr(alerts, "__arrow_c_stream__"):
        frame = frames.as_polars(alerts)  # type: ignore[arg-type]
    else:
        frame = _of_objects(alerts)
    frames.refuse_missing(frame, ("symbol", "triggered_at"), _REMEDY)
    columns = [frames.milliseconds(frame, "triggered_at").alias("time")]
    columns += [_texts(frame, name) for name in ("symbol", "rule", "state", "direction")]
    read = pl.DataFrame(columns).with_columns(pl.col("rule").fill_null("alert"))
    if read["time"].null_count():
        row = read["time"].is_null().arg_max()
        raise DataError(reason="an alert has no time", column="triggered_at", row=row)
    return read, "direction" in frame.columns


def _of_objects(alerts: Iterable[Alert]) -> pl.DataFrame:
    rows = []
    for number, alert in enumerate(alerts):
        if not isinstance(alert, _core.Alert):
            raise DataError(
                reason=f"number {number} is a {type(alert).__name__}, not an Alert",
                remedy="give Replay.alerts, or what engine.update gave",
            )
        rows.append((alert.symbol, alert.rule, alert.triggered_at, alert.state))
    return pl.DataFrame(rows, schema=_TYPES, orient="row")


def _texts(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        return pl.Series(name, [None], dtype=pl.String).new_from_index(0, frame.height)
    texts = frame[name]
    if texts.dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        raise DataError(reason=f"holds {texts.dtype}, not text", column=name, remedy=_REMEDY)
    return texts.cast(pl.String)


def _directions(names: pl.Series, rules: Rules | None) -> pl.Series:
    """The direction of each rule; null where no set has it."""
    if isinstance(rules, _core.RuleSet):
        sets = [rules]
    else:
        sets = [_core.RuleSet.load(one) for one in (_core.presets() if rules is None else [rules])]
    known = {rule.name: rule.direction for group in reversed(sets) for rule in group}
    return names.replace_strict(
        list(known), list(known.values()), default=None, return_dtype=pl.String
    ).alias("direction")


def _lanes(alerts: pl.DataFrame) -> list[Lane]:
    """A lane a rule; where they are many the rarer ones share one."""
    counts = (
        alerts.group_by("rule")
        .agg(pl.len(), pl.col("direction").mode().sort().first())
        .sort(["len", "rule"], descending=[True, False])
    )
    own = counts if counts.height <= _MOST_LANES else counts.head(_MOST_LANES - 1)
    ranks = dict(zip(DIRECTIONS, range(len(DIRECTIONS)), strict=True))
    rank = pl.col("direction").replace_strict(ranks, return_dtype=pl.Int64)
    names = own.sort(rank, "rule")["rule"]
    lanes = [Lane(name, alerts.filter(pl.col("rule") == name)) for name in names]
    rest = alerts.filter(~pl.col("rule").is_in(names.implode()))
    if rest.height:
        lanes.append(Lane(f"{counts.height - own.height:,} other rules", rest))
    return lanes
