"""What a preview counts, alert by alert in plain Python, from its description alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

MINUTE_MS = 60_000
NEAR_MS = 300_000


class Told(NamedTuple):
    """An alert."""

    symbol: str
    rule: str
    time: int


class Known(NamedTuple):
    """A rule."""

    name: str
    direction: str


def in_order(alerts: Sequence[Told], rules: Sequence[Known]) -> list[Told]:
    """By time; those of one minute in the order of the rules."""
    names = [rule.name for rule in rules]
    return sorted(alerts, key=lambda alert: (alert.time, names.index(alert.rule)))


def new_moves(alerts: Sequence[Told], rules: Sequence[Known], quiet: int) -> list[Told]:
    """The alerts before which a symbol was silent in their direction for `quiet` ms."""
    way = {rule.name: rule.direction for rule in rules}
    heard: dict[tuple[str, str], int] = {}
    found = []
    for alert in in_order(alerts, rules):
        key = (alert.symbol, way[alert.rule])
        if key not in heard or alert.time - heard[key] >= quiet:
            found.append(alert)
        heard[key] = alert.time
    return found


def rule_row(
    name: str,
    alerts: Sequence[Told],
    rules: Sequence[Known],
    *,
    quiet: int,
    storm: int,
    first: int,
    last: int,
) -> dict[str, Any]:
    """One rule: how often, which symbols, moves, storms, the longest silence."""
    own = [alert for alert in alerts if alert.rule == name]
    (rule,) = [known for known in rules if known.name == name]
    news = [alert for alert in new_moves(alerts, rules, quiet) if alert.rule == name]
    counts: dict[str, int] = {}
    for alert in own:
        counts[alert.symbol] = counts.get(alert.symbol, 0) + 1
    busiest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
    silence, since = -1, first
    before = first
    for time in [*sorted(alert.time for alert in own), last]:
        if time - before > silence:
            silence, since = time - before, before
        before = time
    return {
        "alerts": len(own),
        "symbols": len(counts),
        "busiest": [{"symbol": symbol, "alerts": count} for symbol, count in busiest],
        "moves": len(new_moves(own, [rule], quiet)),
        "told_already": (len(own) - len(news)) / len(own) if own else None,
        "storms": len(storms(own, storm)),
        "longest_silence": silence // MINUTE_MS,
        "silent_from": since,
    }


def hours(name: str, alerts: Sequence[Told]) -> list[int]:
    """Alerts of a rule at each hour of the day."""
    counts = [0] * 24
    for alert in alerts:
        if alert.rule == name:
            counts[alert.time % 86_400_000 // 3_600_000] += 1
    return counts


def storms(alerts: Sequence[Told], least: int) -> list[tuple[int, int, int]]:
    """Time, symbols and alerts of each minute in which so many symbols fire."""
    found = []
    for time in sorted({alert.time for alert in alerts}):
        now = [alert for alert in alerts if alert.time == time]
        symbols = {alert.symbol for alert in now}
        if len(symbols) >= least:
            found.append((time, len(symbols), len(now)))
    return found


def near(mine: Sequence[Told], theirs: Sequence[Told]) -> int:
    """How many of `mine` have one of `theirs` of the same symbol within five minutes."""
    return sum(
        any(
            other.symbol == alert.symbol and abs(other.time - alert.time) <= NEAR_MS
            for other in theirs
        )
        for alert in mine
    )


def judged(minutes: Sequence[int], window: int, start: int, *, wait: bool) -> list[int]:
    """The minutes at which a window of so many minutes is whole, of one symbol.

    Args:
        minutes: Numbers of the minutes that have a candle.
        window: Its length.
        start: Those before it only warm up.
        wait: Whether a missing minute may still come.
    """
    found = []
    for minute in minutes:
        needed = range(minute - window + 1, minute + 1)
        is_whole = needed[0] >= min(minutes) and (not wait or all(n in minutes for n in needed))
        if is_whole and minute >= start:
            found.append(minute)
    return found
