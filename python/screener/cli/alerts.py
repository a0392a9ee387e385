"""What a replay has to tell: its alerts with their reasons, counts, and why there are none."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from screener._core import Engine
from screener.cli.output import iso, minute, percent, print_lines, print_table, said, short, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl
    from rich.console import Console

    from screener._core import Clause, RuleSet
    from screener.quality import KlineReport
    from screener.replay import Replay
    from screener.types import Gaps

__all__ = ["Replayed", "alert_objects", "document", "hints", "print_replayed", "reason"]

_MINUTE = 60_000
_HEADINGS = ("time (UTC)", "symbol", "rule", "price", "change", "volume")
_OF_ALL = ("members", "absent")
_NUMBERS = (3, 4, 5)

# Reasons name few metrics often; the legend below the table tells these two.
_SHORT_NAMES = {r"\bchange_(?=\d)": "c", r"\bquote_volume_(?=\d)": "q", r" ([*/]) ": r"\1"}
_LEGEND = "c = change_ in %, q = quote_volume_"
_LITERAL = re.compile(r"-?[\d.]+")


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay, what it was given and how long it took."""

    rules: RuleSet
    report: KlineReport
    result: Replay
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        """Alerts of each rule: what comes twice under one id is one alert."""
        alerts = self.result.alerts.unique("id")
        found = Counter(alerts["rule"])
        return {name: found[name] for name in self.rules.names}

    @property
    def withdrawn(self) -> int:
        """Alerts that their minute's close took back."""
        return int((self.result.alerts["state"] == "withdrawn").sum())

    @property
    def candles_per_second(self) -> int:
        """How fast it was."""
        return round(self.report.rows / max(self.seconds, 1e-9))


# -- one alert -----------------------------------------------------------------------------------


def alert_objects(alerts: pl.DataFrame, rules: RuleSet) -> Iterator[dict[str, Any]]:
    """Alerts as JSON has them: the evidence holds what the alert's own rule names.

    With how many symbols there were (`members`) and who was missing (`absent`), where it asks that.
    """
    for alert in alerts.iter_rows(named=True):
        rule, seen = rules[alert["rule"]].for_symbol(alert["symbol"]), alert["evidence"]
        names = [*rule.metrics, *(_OF_ALL if rule.among_all else ())]
        yield {**alert, "evidence": {name: seen[name] for name in names}}


def reason(clause: Clause) -> str:
    """A clause with its values, as `c5m 1.65 >= 1`."""
    if clause.operator is None:
        return _abbreviated(clause.text)
    names = _sides(clause.text, f" {clause.operator} ")
    values = said(clause.left, clause.right)
    left, right = map(_side, names, values)
    return f"{left} {clause.operator} {right}"


def _sides(text: str, operator: str) -> list[str]:
    """The two sides of a comparison; one within brackets is not meant."""
    parts = text.split(operator)
    for count in range(1, len(parts)):
        left, right = operator.join(parts[:count]), operator.join(parts[count:])
        if left.count("(") == left.count(")"):
            return [left, right]
    return [text, ""]


def _side(name: str, value: str) -> str:
    return value if _LITERAL.fullmatch(name) else f"{_abbreviated(name)} {value}"


def _abbreviated(text: str) -> str:
    for pattern, replacement in _SHORT_NAMES.items():
        text = re.sub(pattern, replacement, text)
    return text


# -- for programs --------------------------------------------------------------------------------


def document(replayed: Replayed, limit: int | None, advice: list[str]) -> dict[str, object]:
    """Everything as JSON knows it; all alerts unless a limit was asked for."""
    rules, alerts = replayed.rules, replayed.result.alerts
    shown = alert_objects(alerts.tail(limit) if limit else alerts, rules)
    return {
        "alerts": [_explained(alert, rules) for alert in shown],
        "counts": replayed.counts,
        "total": sum(replayed.counts.values()),
        "withdrawn": replayed.withdrawn,
        "stats": replayed.result.stats,
        "candles": replayed.report.rows,
        "symbols": len(replayed.report.symbols),
        "seconds": replayed.seconds,
        "candles_per_second": replayed.candles_per_second,
        "quality": replayed.report.to_dict(),
        "hints": advice,
    }


def _explained(alert: dict[str, Any], rules: RuleSet) -> dict[str, object]:
    name, evidence, time = alert["rule"], alert["evidence"], alert["triggered_at"]
    clauses = rules.explain(name, evidence, symbol=alert["symbol"]).clauses
    told = [{"clause": c.text, "left": c.left, "right": c.right} for c in clauses]
    return {**alert, "time": iso(time), "title": rules[name].title, "reason": told}


# -- for people ----------------------------------------------------------------------------------


def print_replayed(out: Console, replayed: Replayed, limit: int, advice: list[str]) -> None:
    """The newest alerts with their reasons, the counts of all rules, the totals."""
    alerts = replayed.result.alerts
    shown = alerts.tail(limit) if limit else alerts
    if shown.height:
        _print_alerts(out, shown, replayed.rules)
        left_out = f"; the {shown.height} newest of {alerts.height:,}: --limit 0 shows all"
        legend = _LEGEND + (left_out if shown.height < alerts.height else "")
        print_lines(out, [Text(legend, style="dim"), Text()])
    _print_counts(out, replayed)
    print_lines(out, [Text(), Text(_totals(replayed), style="bold")])
    print_lines(out, [Text(line) for line in advice])


def _print_alerts(out: Console, alerts: pl.DataFrame, rules: RuleSet) -> None:
    times = alerts["triggered_at"]
    with_seconds = bool((times % _MINUTE != 0).any())
    with_state = bool((alerts["state"] != "confirmed").any())
    rows, notes = [], []
    for alert in alerts.iter_rows(named=True):
        rule = rules[alert["rule"]]
        rise = (alert["change"] or 0) >= 0
        cells = [
            Text(minute(alert["triggered_at"], seconds=with_seconds)),
            Text(alert["symbol"]),
            Text(rule.title),
            Text(whole(alert["price"])),
            Text(percent(alert["change"]), style="green" if rise else "red"),
            Text(short(alert["quote_volume"])),
        ]
        rows.append([*cells, Text(alert["state"])] if with_state else cells)
        seen = alert["evidence"]
        notes.append([*map(reason, rules.explain(rule.name, seen, symbol=alert["symbol"]).clauses)])
    headings = (*_HEADINGS, "state", "reason") if with_state else (*_HEADINGS, "reason")
    print_table(out, headings, rows, right=_NUMBERS, notes=notes)


def _print_counts(out: Console, replayed: Replayed) -> None:
    rows = [
        [Text(name), Text(f"{count:,}"), Text(replayed.rules[name].title)]
        for name, count in replayed.counts.items()
    ]
    print_table(out, ("rule", "alerts", "title"), rows, right=(1,))


def _totals(replayed: Replayed) -> str:
    total, withdrawn = sum(replayed.counts.values()), replayed.withdrawn
    taken_back = f" ({withdrawn:,} of them withdrawn)" if withdrawn else ""
    return (
        f"{total:,} alert{'' if total == 1 else 's'}{taken_back} of {replayed.report.rows:,} "
        f"candles in {replayed.seconds:.3f} s: {replayed.candles_per_second:,} candles/s"
    )


# -- why there is none ---------------------------------------------------------------------------


def hints(replayed: Replayed, frame: pl.DataFrame, *, gaps: Gaps, start: int | None) -> list[str]:
    """What keeps the rules silent, where nothing was raised at all."""
    if replayed.result.alerts.height:
        return []
    return [f"hint: {line}" for line in _silences(replayed, frame, gaps=gaps, start=start)]


def _silences(
    replayed: Replayed, frame: pl.DataFrame, *, gaps: Gaps, start: int | None
) -> Iterator[str]:
    report, rules = replayed.report, replayed.rules
    newest = max((symbol.last for symbol in report.symbols if symbol.last is not None), default=0)
    if start is not None and start > newest:
        yield f"--start lies after the newest candle ({minute(newest)}): all rows only warmed up"
    missing = _never_ready(rules, frame, gaps)
    if missing:
        metrics = list(dict.fromkeys(name for names in missing.values() for name in names))
        longest = max((_minutes(symbol.first, symbol.last) for symbol in report.symbols), default=0)
        yield (
            f"{len(missing)} of {len(rules)} rules lacked {', '.join(metrics)} at the end: no "
            f"symbol has more than {longest:,} minutes, and a window of 1d takes 1,440"
        )
    if report.missing and gaps == "pending":
        yield (
            f"{report.missing:,} minutes are missing, and rules over a missing minute are silent; "
            "--gaps absent judges them all the same"
        )
    if rules.floors:
        yield "the rules' floors are on: without --floors more may hold"
    yield "screener explain FILES --symbol S --rule R shows how far a rule is from holding"


def _never_ready(rules: RuleSet, frame: pl.DataFrame, gaps: Gaps) -> Mapping[str, list[str]]:
    """For each rule that no symbol is ready for at the end, the metrics that are not."""
    engine = Engine(rules, gaps=gaps)
    engine.warm_up(frame)
    metrics = engine.snapshot()
    # Of nothing at all every metric is missing that a rule needs.
    needed = {rule.name: rules.explain(rule.name, {}).not_ready for rule in rules}
    missing = {
        name: [metric for metric in names if metrics[metric].null_count() == metrics.height]
        for name, names in needed.items()
    }
    return {name: metrics for name, metrics in missing.items() if metrics}


def _minutes(first: int | None, last: int | None) -> int:
    return 0 if first is None or last is None else (last - first) // _MINUTE + 1
