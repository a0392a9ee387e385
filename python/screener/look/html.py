"""Rules, alerts and explanations as HTML for a notebook.

Colours are those of the page they are put into, dark or light. All text is escaped: names and
expressions may hold anything. Nothing is loaded, and no script is run.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from screener.quality import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from screener._core import Alert, Explanation, Rule, RuleSet
    from screener.replay import Replay

__all__ = ["alert_html", "explanation_html", "replay_html", "rule_html", "rules_html"]

_STYLE: Final = (
    ".screener table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.5em 0}"
    ".screener th,.screener td{padding:3px 10px;text-align:left;vertical-align:top}"
    ".screener td.number{text-align:right;white-space:nowrap}"
    ".screener thead th{border-bottom:1px solid currentColor}"
    ".screener p{margin:.3em 0}.screener small{opacity:.75}"
    ".screener code{background:none;color:inherit;white-space:pre-wrap}"
    ".screener pre{background:none;color:inherit;white-space:pre-wrap}"
)
_ARROWS: Final = {"up": "▲ up", "down": "▼ down", "flat": "◆ flat"}
_HELD: Final = {True: "✓ yes", False: "✗ no", None: "? not ready"}
_MINUTE: Final = 60_000
_MOST_ALERTS: Final = 10


def rule_html(rule: Rule) -> str:
    """A rule: what it is called, what it asks, and its TOML, folded up."""
    rows = [
        ("name", _code(rule.name)),
        ("direction", escape(_ARROWS.get(rule.direction, rule.direction))),
        ("timeframe", escape(rule.timeframe)),
        ("cooldown", escape(_length(rule.cooldown))),
        ("severity", escape(rule.severity)),
        ("when", _code(rule.when)),
        ("floor", _code(rule.floor) if rule.floor else "-"),
        *_manner(rule),
        ("version", _code(rule.version)),
    ]
    return _page(
        f"<p><b>{escape(rule.title)}</b></p>{_pairs(rows)}{_folded('TOML', rule.to_toml())}"
    )


def _manner(rule: Rule) -> Iterator[tuple[str, str]]:
    """When a rule is told, as far as that is not as usual."""
    if not rule.enabled:
        yield "enabled", "no"
    if rule.shadow:
        yield "shadow", "kept and scored, not delivered"
    if rule.hold:
        yield "hold", escape(_length(rule.hold))
    if rule.trigger != "cooldown":
        yield "trigger", escape(rule.trigger)
    if rule.clear_when is not None:
        yield "clear when", _code(rule.clear_when)
    if rule.repeat is not None:
        yield "repeat", escape(_length(rule.repeat))
    if rule.max_per_hour is not None:
        yield "max per hour", f"{rule.max_per_hour:,}"
    if rule.quiet_hours:
        yield "quiet hours", escape(", ".join(rule.quiet_hours))
    if rule.expires is not None:
        yield "expires", f"{escape(_moment(rule.expires))} UTC"
    for symbols, other in rule.overrides:
        yield f"for {', '.join(symbols)}", _code(other.when) if other.enabled else "off"


def rules_html(rules: RuleSet) -> str:
    """The rules of a set, a row each."""
    head = ("rule", "direction", "timeframe", "cooldown", "severity", "when", "floor")
    rows = [
        (
            f"<b>{escape(rule.title)}</b><br>{_code(rule.name)}{_state(rule)}",
            escape(_ARROWS.get(rule.direction, rule.direction)),
            escape(rule.timeframe),
            escape(_length(rule.cooldown)),
            escape(rule.severity),
            _code(rule.when),
            _code(rule.floor) if rule.floor else "-",
        )
        for rule in rules
    ]
    many = f"{len(rules):,} rule{'' if len(rules) == 1 else 's'}"
    floors = "on" if rules.floors else "off"
    return _page(
        f"<p>{many}, floors {floors}</p>{_table(head, rows)}{_folded('TOML', rules.to_toml())}"
    )


def _state(rule: Rule) -> str:
    states = [name for name, on in (("off", not rule.enabled), ("shadow", rule.shadow)) if on]
    return f"<br><small>{', '.join(states)}</small>" if states else ""


def alert_html(alert: Alert) -> str:
    """An alert: whose, when, at which price, and the values it was raised by."""
    rows = [
        ("time", f"{escape(_moment(alert.triggered_at))} UTC"),
        ("price", _number(alert.price)),
        (f"change {alert.timeframe}", _percent(alert.change)),
        (f"quote volume {alert.timeframe}", _number(alert.quote_volume)),
        (f"vcp {alert.timeframe}", _number(alert.vcp)),
        ("state", escape(alert.state)),
        ("id", _code(alert.id)),
    ]
    if alert.absent:
        rows.append(("not in time", escape(", ".join(alert.absent))))
    evidence = [(name, _number(value)) for name, value in alert.evidence.items()]
    where = f"<b>{escape(alert.symbol)}</b> {_code(alert.rule)} on {escape(alert.exchange)}"
    return _page(
        f"<p>{where}</p>{_pairs(rows)}<p><small>evidence</small></p>{_pairs(evidence, 'number')}"
    )


def explanation_html(explanation: Explanation) -> str:
    """A truth table: each clause, its two values, and whether it holds."""
    rows = [
        (
            _HELD[clause.held],
            escape(clause.part),
            _code(clause.text),
            "" if clause.operator is None else _number(clause.left),
            escape(clause.operator or ""),
            "" if clause.operator is None else _number(clause.right),
        )
        for clause in explanation.clauses
    ]
    verdict = "holds" if explanation.holds else "does not hold"
    missing = ", ".join(explanation.not_ready)
    note = f"<p><small>not ready: {escape(missing)}</small></p>" if missing else ""
    table = _table(("held", "part", "clause", "left", "", "right"), rows, numbers=(3, 5))
    return _page(f"<p>{_code(explanation.rule)} <b>{verdict}</b></p>{table}{note}")


def replay_html(replay: Replay) -> str:
    """How many alerts each rule raised, and the newest ones."""
    import polars as pl

    alerts = replay.alerts
    candles = sum(count for name, count in replay.stats.items() if name != "filled")
    many = f"{alerts.height:,} alert{'' if alerts.height == 1 else 's'}"
    headline = f"<p>{many} over {candles:,} candles</p>"
    if alerts.is_empty():
        return _page(headline)
    counts = alerts.group_by("rule").agg(
        pl.len().alias("alerts"),
        pl.col("symbol").n_unique(),
        pl.col("triggered_at").min().alias("first"),
        pl.col("triggered_at").max().alias("last"),
    )
    by_rule = [
        (_code(row["rule"]), f"{row['alerts']:,}", f"{row['symbol']:,}",
         escape(_moment(row["first"])), escape(_moment(row["last"])))
        for row in counts.sort("alerts", "rule", descending=[True, False]).iter_rows(named=True)
    ]  # fmt: skip
    newest = [
        (escape(_moment(row["triggered_at"])), escape(row["symbol"]), _code(row["rule"]),
         _number(row["price"]), _percent(row["change"]))
        for row in alerts.tail(_MOST_ALERTS).iter_rows(named=True)
    ]  # fmt: skip
    return _page(
        headline
        + _table(("rule", "alerts", "symbols", "first (UTC)", "last (UTC)"), by_rule, (1, 2))
        + f"<p><small>the last {len(newest)}</small></p>"
        + _table(("time (UTC)", "symbol", "rule", "price", "change"), newest, (3, 4))
    )


# -- parts: what they are given is HTML already, but for the names of columns and rows -------------


def _page(body: str) -> str:
    return f"<div class='screener'><style>{_STYLE}</style>{body}</div>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td class='number'>{cell}</td>" if column in numbers else f"<td>{cell}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _pairs(rows: Iterable[tuple[str, str]], kind: str = "") -> str:
    body = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td class='{kind}'>{cell}</td></tr>"
        for name, cell in rows
    )
    return f"<table><tbody>{body}</tbody></table>"


def _folded(name: str, text: str) -> str:
    return f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+z.2f}%"


def _number(value: float | None) -> str:
    """Six significant digits, as explanations print them."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    digits = max(0, 6 - len(str(int(abs(value)))))
    text = f"{value:,.{digits}f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.6g}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _moment(time: int) -> str:
    """To the minute, and to the ms for what an update raised."""
    seconds, rest = divmod(time % _MINUTE, 1000)
    return utc(time) + (f":{seconds:02}.{rest:03}" if time % _MINUTE else "")


def _length(milliseconds: int) -> str:
    minutes, rest = divmod(milliseconds, _MINUTE)
    if rest or not minutes:
        return f"{milliseconds / 1000:g}s"
    for size, letter in ((1440, "d"), (60, "h")):
        if minutes % size == 0:
            return f"{minutes // size}{letter}"
    return f"{minutes}m"
