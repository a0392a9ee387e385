"""Why an alert is on one side only: each cause is looked for, none is assumed."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from screener.drift.replayed import at_any_time, final_of
from screener.drift.result import Difference
from screener.quality import utc
from screener.reach import is_indicator, reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from screener._core import Rule, RuleSet
    from screener.drift.replayed import Replays, Versions
    from screener.drift.result import Cause
    from screener.drift.snapshot import Raised, Switch

__all__ = ["History", "against_final", "against_journal"]

_MINUTE: Final = 60_000
_SETTLED: Final = 60_000
_SAME: Final = 1e-9
"""Indicators may differ by so much, relatively: they look back further than what is kept."""
_BARS_ASKED_FOR: Final = 60 * _MINUTE
_BARS: Final = "it is of bars from before the minutes that are kept"
_KINDS: Final[tuple[Cause, ...]] = ("late", "corrected", "pending")


@dataclass(slots=True)
class History:
    """What causes are looked for in, of all symbols.

    Attributes:
        rules: The rules of today, with the cooldowns of today.
        other: The same with floors the other way, to tell what another version was.
        switches: What is changed of them for everybody.
        newest: When the newest version arrived, ms.
        judged_from: The first minute that was judged, ms.
        kept_from: The oldest minute that is kept of any symbol, ms.
        versions: By rule the versions of the alerts that are stored, as (time, version), by time.
    """

    rules: RuleSet
    other: RuleSet
    switches: dict[str, Switch]
    newest: int
    judged_from: int
    kept_from: int
    versions: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))

    def take(self, alerts: Iterable[Raised]) -> None:
        """Remembers by which versions alerts were raised; they come by time."""
        for alert in alerts:
            self.versions[alert.rule].append((alert.triggered_at, alert.version))

    def rule_at(self, rule: Rule, at: int) -> str | None:
        """What says that another version of a rule was in force; None if nothing does."""
        switch = self.switches.get(rule.name)
        if switch is not None and not switch.enabled:
            return "the rule is switched off"
        known = self.versions.get(rule.name, [])
        place = bisect_right(known, (at, "~"))
        for time, version in known[max(place - 1, 0) : place + 1]:
            if version != rule.version:
                return f"{self.told_version(rule.name, version)} raised one at {utc(time)}"
        return None

    def told_version(self, name: str, version: str) -> str:
        """Another version than today's, in words."""
        if name not in self.rules:
            return "a rule that today's do not have"
        if name in self.other and self.other[name].version == version:
            return f"today's rule with floors {'on' if self.other.floors else 'off'}"
        return f"version {version} (today's is {self.rules[name].version})"


# -- what was raised, against a replay of what arrived -------------------------------------------


def against_journal(
    history: History,
    versions: Versions,
    raised: Sequence[Raised],
    replayed: Sequence[Raised],
    replays: Replays,
) -> list[Difference]:
    """The differences of one symbol between its stored alerts and the replayed ones."""
    live, again = ({alert.key: alert for alert in side} for side in (raised, replayed))
    found: list[Difference] = []
    for key in sorted(live.keys() | again.keys(), key=lambda one: (one[2], one[1])):
        mine, other = live.get(key), again.get(key)
        if mine is not None and other is not None:
            told = _other_values(history, versions, mine, other, replays)
        elif mine is not None:
            told = _not_replayed(history, versions, found, mine, replays)
        else:
            told = _not_raised(history, versions, found, key)
        if told is not None:
            has_both = mine is not None, other is not None
            found.append(Difference(*key, "journal", *has_both, *told))
    return found


def _other_values(
    history: History, versions: Versions, mine: Raised, other: Raised, replays: Replays
) -> tuple[Cause, str] | None:
    if mine.version != other.version:
        # Another version that raised the same alert: the alert itself does not differ.
        return None
    differing = _differing(mine.values, other.values)
    if not differing:
        return None
    name = differing[0]
    told = f"{name} was {mine.values.get(name)}, a replay has {other.values.get(name)}"
    if _are_of_lost_bars(differing, history, versions, mine.triggered_at, replays):
        return "outside", f"{told}: {_BARS}"
    return "unknown", told


def _differing(mine: Mapping[str, float | None], other: Mapping[str, float | None]) -> list[str]:
    """The names of values that are not the same; indicators last."""
    names = sorted(mine.keys() | other.keys(), key=lambda name: (is_indicator(name), name))
    return [name for name in names if not _is_same(name, mine.get(name), other.get(name))]


def _are_of_lost_bars(
    names: Sequence[str], history: History, versions: Versions, at: int, replays: Replays
) -> bool:
    """Whether these are indicators over bars that a replay cannot have as live had them.

    After a start bars are asked for while minutes are judged already; later they are kept as they
    were then, and end before the minutes that are kept.
    """
    oldest = versions.rows["open_time"].min()
    has_just_begun = at < history.judged_from + _BARS_ASKED_FOR
    return all(
        is_indicator(name) and (has_just_begun or not replays.reach_to(name, oldest))
        for name in names
    )


def _is_same(name: str, mine: float | None, other: float | None) -> bool:
    if mine is None or other is None or not is_indicator(name):
        return mine == other
    return math.isclose(mine, other, rel_tol=_SAME, abs_tol=1e-12)


def _not_replayed(
    history: History,
    versions: Versions,
    found: Sequence[Difference],
    mine: Raised,
    replays: Replays,
) -> tuple[Cause, str]:
    if mine.rule not in history.rules or history.rules[mine.rule].version != mine.version:
        return "rule changed", f"{history.told_version(mine.rule, mine.version)} raised it"
    rule = history.rules[mine.rule]
    if earlier := _shifts(found, rule, mine.triggered_at, live=True):
        return earlier
    rows, minute = versions.rows, mine.triggered_at - _MINUTE
    oldest = rows["open_time"].min()
    if not isinstance(oldest, int):
        return "outside", "the database has no minute of the symbol"
    if minute < oldest:
        return "outside", f"the database has minutes from {utc(oldest)} on"
    judged = _first_judged(rows, minute)
    if judged is None:
        return "unknown", "no version of its minute is journalled that could have raised it"
    known = rows[: judged + 1]
    again = replays.seen(known, history.rules, rule)
    other = _differing(mine.values, again)
    cold = [
        name
        for name in other
        if again.get(name) is None and minute - reach([name]) * _MINUTE < oldest - _MINUTE
    ]
    if cold:
        return "outside", f"{cold[0]} needs more than the minutes from {utc(oldest)} on"
    if other and _are_of_lost_bars(other, history, versions, mine.triggered_at, replays):
        return "outside", f"{other[0]} differs: {_BARS}"
    holds = _holds(known, history.rules, mine.rule, minute, replays)
    told = f"over what had arrived the rule {'holds' if holds else 'does not hold'}"
    if other:
        name = other[0]
        told = f"{name} was {mine.values[name]}, a replay has {again.get(name)}"
    if mine.decided_after >= _SETTLED:
        minutes = mine.decided_after // _MINUTE
        told += f"; it was decided {minutes:,} minutes after its arrival, as after a restart"
    return "unknown", told


def _not_raised(
    history: History,
    versions: Versions,
    found: Sequence[Difference],
    key: tuple[str, str, int],
) -> tuple[Cause, str]:
    _, name, at = key
    rule = history.rules[name]
    if told := history.rule_at(rule, at):
        return "rule changed", told
    if earlier := _shifts(found, rule, at, live=False):
        return earlier
    kept = history.kept_from
    if max(at - rule.cooldown, history.judged_from) < kept:
        return "outside", f"alerts from before {utc(kept)} may be gone, and this was its cooldown"
    judged = _first_judged(versions.rows, at - _MINUTE)
    if judged is not None and versions.rows["received_at"][judged] > history.newest - _SETTLED:
        return "unsettled", "its minute is among the newest arrivals: it may not be stored yet"
    if not history.versions.get(name):
        return "unknown", "no alert of this rule is stored at all: was it loaded then?"
    return "unknown", "no such alert is stored"


# -- a replay of what arrived, against the final minutes -----------------------------------------


def against_final(
    rules: RuleSet,
    versions: Versions,
    replayed: Sequence[Raised],
    final: Sequence[Raised],
    replays: Replays,
) -> list[Difference]:
    """The differences of one symbol between replays of what arrived and of the final minutes."""
    live, later = ({alert.key for alert in side} for side in (replayed, final))
    if live == later:
        return []
    bare = at_any_time(rules, sorted({rule for _, rule, _ in live ^ later}))
    held, holds = (
        {alert.key for alert in replays.alerts(rows, bare)}
        for rows in (versions.rows, versions.final)
    )
    found: list[Difference] = []
    for key in sorted(live ^ later, key=lambda one: (one[2], one[1])):
        _, name, at = key
        rule, is_live = rules[name], key in live
        told: tuple[Cause, str] | None
        if key in held and key in holds:
            told = _shifts(found, rule, at, live=is_live)
        else:
            told = _changed(versions, rules, name, at, replays, after=key in holds)
        cause, detail = told or ("unknown", "nothing that came later changes what it saw")
        found.append(Difference(*key, "final", is_live, not is_live, cause, detail))
    return found


def _changed(
    versions: Versions, rules: RuleSet, name: str, at: int, replays: Replays, *, after: bool
) -> tuple[Cause, str] | None:
    """Which minutes, that came after the alert's own had been judged, make the difference.

    Args:
        versions: The symbol's.
        rules: The rules.
        name: Which of them.
        at: Close of the alert's minute, ms.
        replays: What replays them.
        after: Whether the rule holds over the final minutes.
    """
    minute = at - _MINUTE
    judged = _first_judged(versions.rows, minute)
    if judged is None:
        return _never_judged(versions.rows, minute)
    later = _later(versions.rows, judged, rules[name], minute)
    kinds = [kind for kind in _KINDS if kind in later["kind"]]
    if not kinds:
        return None
    known = versions.rows[: judged + 1]
    for kind in kinds:
        its = later.filter(kind=kind)
        if _holds(_with(known, its), rules, name, minute, replays) == after:
            return kind, _told(kind, its)
    if _holds(_with(known, later), rules, name, minute, replays) == after:
        # Only together they make the difference.
        return kinds[0], "; ".join(_told(kind, later.filter(kind=kind)) for kind in kinds)
    return None


def _never_judged(rows: pl.DataFrame, minute: int) -> tuple[Cause, str] | None:
    its = rows.filter(pl.col("open_time") == minute, pl.col("source") != "synthetic")
    if its.is_empty():
        return None
    if its["unjournalled"][0]:
        return "late", f"its minute {utc(minute)} was loaded at {utc(its['received_at'][0])}"
    came = its["received_at"][0]
    return "late", f"its minute came {_after(came - minute - _MINUTE)} late, after a newer one"


def _later(rows: pl.DataFrame, judged: int, rule: Rule, minute: int) -> pl.DataFrame:
    """What arrived after a row, of the minutes a rule looks at, with its `kind`."""
    looks = reach(rule.metrics)
    if any(map(is_indicator, rule.metrics)):
        looks = rows.height
    low = minute - (looks - 1) * _MINUTE
    is_real = pl.col("source") != "synthetic"
    came_before = is_real.cum_sum().over("open_time") > 1
    kind = (
        pl.when(~is_real)
        .then(pl.lit("pending"))
        .when(came_before)
        .then(pl.lit("corrected"))
        .otherwise(pl.lit("late"))
    )
    marked = rows.with_columns(kind=kind)[judged + 1 :]
    return marked.filter(pl.col("open_time").is_between(low, minute))


def _told(kind: Cause, rows: pl.DataFrame) -> str:
    row = rows.row(0, named=True)
    minute, came = utc(row["open_time"]), row["received_at"]
    others = f", and {rows.height - 1:,} more" if rows.height > 1 else ""
    if kind == "pending":
        return f"{minute} was missing, and found to be absent at {utc(came)}{others}"
    after = _after(came - row["open_time"] - _MINUTE)
    if kind == "late":
        return f"{minute} came {after} late{others}"
    return f"{minute} was corrected {after} after its close, by {row['source']}{others}"


def _after(ms: int) -> str:
    seconds = max(ms, 0) // 1000
    return f"{seconds:,} s" if seconds < 120 else f"{seconds // 60:,} min"


# -- both ----------------------------------------------------------------------------------------


def _shifts(
    found: Sequence[Difference], rule: Rule, at: int, *, live: bool
) -> tuple[Cause, str] | None:
    """An alert that the other side alone has, and whose cooldown kept it silent here."""
    for one in reversed(found):
        is_other = one.rule == rule.name and one.live != live and one.replay == live
        if is_other and at - rule.cooldown < one.triggered_at < at:
            return "cooldown", f"shifted by the difference at {utc(one.triggered_at)}"
    return None


def _first_judged(rows: pl.DataFrame, minute: int) -> int | None:
    """The number of the row that had a minute judged first: the newest one, and real."""
    newest = pl.col("open_time").cum_max()
    is_judged = (
        pl.col("judged")
        & (pl.col("source") != "synthetic")
        & (pl.col("open_time") == minute)
        & (newest == minute)
    )
    found = rows.select(is_judged.alias("judged"))["judged"].arg_true()
    return int(found[0]) if len(found) else None


def _with(known: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([known, more.select(known.columns)])


def _holds(rows: pl.DataFrame, rules: RuleSet, name: str, minute: int, replays: Replays) -> bool:
    """Whether a rule holds at a minute, with the last versions among these rows."""
    until = final_of(rows).filter(pl.col("open_time") <= minute)
    only = until.with_columns(judged=pl.col("open_time") == minute)
    return bool(replays.alerts(only, at_any_time(rules, [name])))
