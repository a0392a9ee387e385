"""Values as those outside see them: JSON and Arrow. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from typing import Any

import orjson
import polars as pl

from screener import Rule, RuleSet, margins
from screenerd import outside
from screenerd.columns import TIMEFRAMES, metrics_of
from screenerd.model import HORIZONS, MINUTE_MS, Alert, HorizonScore, RuleScore
from screenerd.outside import ISO, iso
from screenerd.switches import is_shadow


def reason(alert: Alert, rules: RuleSet) -> list[dict[str, Any]] | None:
    """Each clause of an alert's rule with its values then; `None` if the rule is another now."""
    if alert.rule not in rules:
        return None
    if rules[alert.rule].for_symbol(alert.symbol).version != alert.rule_version:
        return None
    return [
        {"clause": clause.text, "left": clause.left, "right": clause.right}
        for clause in rules.explain(alert.rule, alert.evidence, symbol=alert.symbol).clauses
    ]


def alert_value(alert: Alert, rules: RuleSet) -> dict[str, Any]:
    """An alert as REST and WebSocket tell it."""
    told = outside.alert_value(alert)
    told["metadata"]["reason"] = reason(alert, rules)
    return told


def scorecard_value(
    scores: Mapping[str, RuleScore], rules: RuleSet, only: str | None = None
) -> dict[str, Any]:
    """The scores of the rules in force, in their order, then of those that are not any more."""
    in_force = {rule.name: rule for rule in rules}
    asked = [name for name in in_force if only in (None, name)]
    return {
        "horizons": list(HORIZONS),
        "first": iso(min(one.first for one in scores.values())) if scores else None,
        "last": iso(max(one.last for one in scores.values())) if scores else None,
        "rules": [
            _score_value(name, scores.get(name), in_force.get(name))
            for name in dict.fromkeys([*asked, *sorted(scores)])
        ],
    }


def _score_value(name: str, score: RuleScore | None, rule: Rule | None) -> dict[str, Any]:
    none = HorizonScore(0, 0)
    return {
        "rule": name,
        "title": None if rule is None else rule.title,
        "direction": None if rule is None else rule.direction,
        "shadow": None if rule is None else is_shadow(rule),
        "alerts": 0 if score is None else score.alerts,
        "versions": 0 if score is None else score.versions,
        "horizons": {
            horizon: asdict(none if score is None else score.horizons[horizon])
            for horizon in HORIZONS
        },
    }


def metrics_table(frame: pl.DataFrame) -> pl.DataFrame:
    """The same as a table: a row a symbol and timeframe."""
    return pl.concat(
        frame.select(
            "symbol",
            (pl.col("open_time") + MINUTE_MS).cast(pl.Datetime("ms", "UTC")).alias("timestamp"),
            "price",
            pl.lit(timeframe).alias("timeframe"),
            *metrics_of(frame, timeframe),
        )
        for timeframe in TIMEFRAMES
    ).sort("symbol", maintain_order=True)


def explained(seen: Mapping[str, Any], rule: Rule, rules: RuleSet) -> dict[str, Any]:
    """What a rule sees in a row of a snapshot, with margins, as it is for the symbol."""
    symbol = seen["symbol"]
    rule = rule.for_symbol(symbol)
    metrics = {name: seen.get(name) for name in rule.metrics}
    return {
        "symbol": symbol,
        "timestamp": iso(seen["open_time"] + MINUTE_MS),
        "price": seen["price"],
        "title": rule.title,
        "version": rule.version,
        **margins(rules, rule.name, metrics, symbol=symbol).to_dict(),
    }


def arrow(frame: pl.DataFrame) -> bytes:
    """A frame as an Arrow stream."""
    out = BytesIO()
    frame.write_ipc_stream(out)
    return out.getvalue()


def alerts_table(alerts: list[dict[str, Any]]) -> pl.DataFrame:
    """Alerts as a table; their metadata as JSON text."""
    names = ("id", "triggered_at", "exchange", "symbol", "alert_type", "timeframe")
    columns: dict[str, list[Any]] = {name: [one[name] for one in alerts] for name in names}
    for name in ("price", "volume", "change_pct"):
        columns[name] = [one[name] for one in alerts]
    for name in ("state", "rule_version"):
        columns[name] = [one[name] for one in alerts]
    columns["shadow"] = [one["shadow"] for one in alerts]
    columns["metadata"] = [orjson.dumps(one["metadata"]).decode() for one in alerts]
    schema: Mapping[str, Any] = {
        name: pl.Float64 if name in {"price", "volume", "change_pct"} else pl.String
        for name in columns
    } | {"shadow": pl.Boolean}
    frame = pl.DataFrame(columns, schema=schema)
    return frame.with_columns(
        pl.col("triggered_at").str.to_datetime(ISO, time_unit="ms", time_zone="UTC")
    )
