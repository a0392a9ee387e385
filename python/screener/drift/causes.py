"""Why an alert is on one side only: each cause is looked for, none is assumed."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from screener.drift.replayed import GRACE
from screener.drift.result import Difference
from screener.drift.trials import KINDS
from screener.quality import utc
from screener.reach import is_indicator, reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from screener._core import Rule, RuleSet
    from screener.drift.replayed import Replays
    from screener.drift.result import Cause
    from screener.drift.snapshot import Raised, Switch
    from screener.drift.trials import Key, Part, Trials

__all__ = ["History", "against_final", "against_journal"]

_MINUTE: Final = 60_000
_SETTLED: Final = 60_000
_SAME: Final = 1e-9
"""Indicators may differ by so much, relatively: they look back further than what is kept."""
_BARS_ASKED_FOR: Final = 60 * _MINUTE
_BARS: Final = "it is of bars from before the minutes that are kept"
_DID: Final[dict[Part, str]] = {"holds": "held", "fails": "failed", "ends": "ended"}
_HOUR: Final = 60 * _MINUTE


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
        in_force: Since when rules are in force that are not those of the start, by name and
            version, ms.
        versions: By rule the versions of the alerts that are stored, as (time, symbol, version),
            by time.
    """

    rules: RuleSet
    other: RuleSet
    switches: dict[str, Switch]
    newest: int
    judged_from: int
    kept_from: int
    in_force: dict[tuple[str, str], int] = field(default_factory=dict)
    versions: dict[str, list[tuple[int, str, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def take(self, alerts: Iterable[Raised]) -> None:
        """Remembers by which versions alerts were raised; they come by time."""
        for alert in alerts:
            self.versions[alert.rule].append((alert.triggered_at, alert.symbol, alert.version))

    def rule_at(self, name: str, at: int) -> str | None:
        """What says that another version of a rule was in force; None if nothing does."""
        switch = self.switches.get(name)
        if switch is not None and not switch.enabled:
            return "the rule is switched off"
        known = self.versions.get(name, [])
        place = bisect_right(known, (at, "~", ""))
        for time, symbol, version in known[max(place - 1, 0) : place + 1]:
            if version != self.rules[name].for_symbol(symbol).version:
                return f"{self.told_version(name, symbol, version)} raised one at {utc(time)}"
        since = self.in_force.get((name, self.rules[name].version))
        if since is not None and at < since:
            return f"today's is in force since {utc(since)}"
        return None

    def is_todays(self, alert: Raised) -> bool:
        """Whether a rule of today raised an alert."""
        if alert.rule not in self.rules:
            return False
        rule = self.rules[alert.rule].for_symbol(alert.symbol)
        return rule.enabled and rule.version == alert.version

    def told_version(self, name: str, symbol: str, version: str) -> str:
        """Another version than today's, in words."""
        if name not in self.rules:
            return "a rule that today's do not have"
        if name in self.other and self.other[name].for_symbol(symbol).version == version:
            return f"today's rule with floors {'on' if self.other.floors else 'off'}"
        rule = self.rules[name].for_symbol(symbol)
        if not rule.enabled:
            return f"version {version} (today it is off for {symbol})"
        return f"version {version} (today's is {rule.version})"


# -- what was raised, against a replay of what arrived -------------------------------------------


def against_journal(
    history: History,
    trials: Trials,
    rows: pl.DataFrame,
    raised: Sequence[Raised],
    replayed: Sequence[Raised],
) -> list[Difference]:
    """The differences of one symbol between its stored alerts and the replayed ones.

    Args:
        history: What causes are looked for in.
        trials: Of the symbol, or of all.
        rows: The symbol's versions, in order of arrival.
        raised: Its alerts that are stored.
        replayed: Those of a replay.
    """
    live, again = ({alert.key: alert for alert in side} for side in (raised, replayed))
    found: list[Difference] = []
    for key in sorted(live.keys() | again.keys(), key=lambda one: (one[2], one[1])):
        mine, other = live.get(key), again.get(key)
        if mine is not None and other is not None:
            told = _other_values(history, rows, mine, other, trials.replays)
        elif mine is not None:
            told = _not_replayed(history, trials, rows, found, mine)
        else:
            told = _not_raised(history, trials, rows, found, key)
        if told is not None:
            has_both = mine is not None, other is not None
            found.append(Difference(*key, "journal", *has_both, *told))
    return found


def _other_values(
    history: History, rows: pl.DataFrame, mine: Raised, other: Raised, replays: Replays
) -> tuple[Cause, str] | None:
    if mine.version != other.version:
        # Another version that raised the same alert: the alert itself does not differ.
        return None
    differing = _differing(mine.values, other.values)
    if not differing:
        return None
    name = differing[0]
    told = f"{name} was {mine.values.get(name)}, a replay has {other.values.get(name)}"
    if _are_of_lost_bars(differing, history, rows, mine.triggered_at, replays):
        return "outside", f"{told}: {_BARS}"
    return "unknown", told


def _differing(mine: Mapping[str, float | None], other: Mapping[str, float | None]) -> list[str]:
    """The names of values that are not the same; indicators last."""
    names = sorted(mine.keys() | other.keys(), key=lambda name: (is_indicator(name), name))
    return [name for name in names if not _is_same(name, mine.get(name), other.get(name))]


def _are_of_lost_bars(
    names: Sequence[str], history: History, rows: pl.DataFrame, at: int, replays: Replays
) -> bool:
    """Whether these are indicators over bars that a replay cannot have as live had them.

    After a start bars are asked for while minutes are judged already; later they are kept as they
    were then, and end before the minutes that are kept.
    """
    oldest = rows["open_time"].min()
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
    trials: Trials,
    rows: pl.DataFrame,
    found: Sequence[Difference],
    mine: Raised,
) -> tuple[Cause, str]:
    if not history.is_todays(mine):
        told = history.told_version(mine.rule, mine.symbol, mine.version)
        return "rule changed", f"{told} raised it"
    rule = history.rules[mine.rule].for_symbol(mine.symbol)
    if earlier := _shifts(found, trials, rule, mine.key, live=True, sides=(False,)):
        return earlier
    minute = mine.triggered_at - _MINUTE
    oldest = rows["open_time"].min()
    if not isinstance(oldest, int):
        return "outside", "the database has no minute of the symbol"
    if minute < oldest:
        return "outside", f"the database has minutes from {utc(oldest)} on"
    judged = _first_judged(rows, minute)
    if judged is None:
        return "unknown", "no version of its minute is journalled that could have raised it"
    again = trials.replays.seen(
        _known(trials, rule, rows, judged), history.rules, mine.symbol, rule
    )
    other = [name for name in _differing(mine.values, again) if name != "members"]
    cold = [
        name
        for name in other
        if again.get(name) is None and minute - reach([name]) * _MINUTE < oldest - _MINUTE
    ]
    if cold:
        return "outside", f"{cold[0]} needs more than the minutes from {utc(oldest)} on"
    if other and _are_of_lost_bars(other, history, rows, mine.triggered_at, trials.replays):
        return "outside", f"{other[0]} differs: {_BARS}"
    holds = mine.key in trials.at("holds", mine.rule, final=False)
    told = f"over what had arrived the rule {'holds' if holds else 'does not hold'}"
    if other:
        name = other[0]
        told = f"{name} was {mine.values.get(name)}, a replay has {again.get(name)}"
    if mine.decided_after >= _SETTLED:
        minutes = mine.decided_after // _MINUTE
        told += f"; it was decided {minutes:,} minutes after its arrival, as after a restart"
    return "unknown", told


def _known(trials: Trials, rule: Rule, rows: pl.DataFrame, judged: int) -> pl.DataFrame:
    """What had arrived when a row was judged, of all symbols where the rule asks that."""
    if not rule.among_all:
        return rows[: judged + 1]
    closes = rows["open_time"][judged] + _MINUTE
    return trials.versions.rows.filter(
        pl.col("event_time") < closes + GRACE, pl.col("open_time") < closes
    )


def _not_raised(
    history: History,
    trials: Trials,
    rows: pl.DataFrame,
    found: Sequence[Difference],
    key: Key,
) -> tuple[Cause, str]:
    symbol, name, at = key
    rule = history.rules[name].for_symbol(symbol)
    if told := history.rule_at(name, at):
        return "rule changed", told
    if earlier := _shifts(found, trials, rule, key, live=False, sides=(False,)):
        return earlier
    kept = history.kept_from
    if max(at - _memory(rule), history.judged_from) < kept:
        return "outside", f"alerts from before {utc(kept)} may be gone, and this was its cooldown"
    judged = _first_judged(rows, at - _MINUTE)
    if judged is not None and rows["received_at"][judged] > history.newest - _SETTLED:
        return "unsettled", "its minute is among the newest arrivals: it may not be stored yet"
    if (
        rule.trigger == "edge"
        and history.judged_from < kept
        and trials.begins_after(key, sides=(False,)) is None
    ):
        return "outside", f"it lasts since before {utc(kept)}: it may have been told then"
    if not history.versions.get(name):
        return "unknown", "no alert of this rule is stored at all: was it loaded then?"
    return "unknown", "no such alert is stored"


# -- a replay of what arrived, against the final minutes -----------------------------------------


def against_final(
    trials: Trials, rows: pl.DataFrame, replayed: Sequence[Raised], final: Sequence[Raised]
) -> list[Difference]:
    """The differences of one symbol between replays of what arrived and of the final minutes.

    Args:
        trials: Of the symbol, or of all.
        rows: The symbol's versions, in order of arrival.
        replayed: Its alerts as it arrived.
        final: Those over the final minutes.
    """
    live, later = ({alert.key for alert in side} for side in (replayed, final))
    trials.look(sorted({rule for _, rule, _ in live ^ later}))
    found: list[Difference] = []
    for key in sorted(live ^ later, key=lambda one: (one[2], one[1])):
        symbol, name, _ = key
        rule, is_live = trials.rules[name].for_symbol(symbol), key in live
        held, holds = (key in trials.at("holds", name, final=side) for side in (False, True))
        told: tuple[Cause, str] | None
        if held == holds:
            told = _shifts(found, trials, rule, key, live=is_live, sides=(False, True))
            told = told or _parted(trials, rows, rule, key)
        else:
            told = _changed(trials, rows, "holds", key, after=holds)
        cause, detail = told or ("unknown", "nothing that came later changes what it saw")
        found.append(Difference(*key, "final", is_live, not is_live, cause, detail))
    return found


def _parted(trials: Trials, rows: pl.DataFrame, rule: Rule, key: Key) -> tuple[Cause, str] | None:
    """What made a rule hold or end at an earlier minute, where it tells of more than the newest."""
    if rule.trigger != "edge" and not rule.hold:
        return None
    since = trials.begins_after(key, sides=(False, True))
    for part, earlier in trials.parted(key, since or 0):
        after = earlier in trials.at(part, rule.name, final=True)
        if told := _changed(trials, rows, part, earlier, after=after):
            cause, detail = told
            return (
                cause,
                f"it {_DID[part]} at {utc(earlier[2])} {'now' if after else 'then'}: {detail}",
            )
    return None


def _changed(
    trials: Trials, rows: pl.DataFrame, part: Part, key: Key, *, after: bool
) -> tuple[Cause, str] | None:
    """Which minutes, that did not come in time, make the difference.

    Args:
        trials: What tries it.
        rows: The symbol's versions, in order of arrival.
        part: Whether it is about the rule that holds, or that ends.
        key: The symbol, the rule and the moment.
        after: Whether it does so over the final minutes.
    """
    minute = key[2] - _MINUTE
    judged = _first_judged(rows, minute)
    if judged is None:
        return _never_judged(rows, minute)
    looked_at = trials.later(key)
    arrived = rows["event_time"][judged]
    # What came after it was judged goes first; what it was made of may have come late as well.
    for later in (looked_at.filter(pl.col("event_time") > arrived), looked_at):
        kinds = [kind for kind in KINDS if kind in later["kind"]]
        for kind in kinds:
            its = later.filter(kind=kind)
            if trials.would(part, key, its) == after:
                return kind, _told(kind, its, key[0])
        if len(kinds) > 1 and trials.would(part, key, later) == after:
            # Only together they make the difference.
            told = (_told(kind, later.filter(kind=kind), key[0]) for kind in kinds)
            return kinds[0], "; ".join(told)
    return None


def _never_judged(rows: pl.DataFrame, minute: int) -> tuple[Cause, str] | None:
    its = rows.filter(pl.col("open_time") == minute, pl.col("source") != "synthetic")
    if its.is_empty():
        return None
    if its["unjournalled"][0]:
        return "late", f"its minute {utc(minute)} was loaded at {utc(its['received_at'][0])}"
    came = its["received_at"][0]
    return "late", f"its minute came {_after(came - minute - _MINUTE)} late, after a newer one"


def _told(kind: Cause, rows: pl.DataFrame, symbol: str) -> str:
    own = rows.filter(symbol=symbol)
    row = (own if own.height else rows).row(0, named=True)
    whose = "" if row["symbol"] == symbol else f"{row['symbol']} "
    minute, came = f"{whose}{utc(row['open_time'])}", row["received_at"]
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
    found: Sequence[Difference],
    trials: Trials,
    rule: Rule,
    key: Key,
    *,
    live: bool,
    sides: Sequence[bool],
) -> tuple[Cause, str] | None:
    """An alert that the other side alone has, and that kept this one silent there."""
    at = key[2]
    others = [
        one
        for one in reversed(found)
        if one.rule == rule.name and one.live != live and one.replay == live
    ]
    for one in others:
        if at - rule.cooldown < one.triggered_at < at:
            return "cooldown", f"shifted by the difference at {utc(one.triggered_at)}"
    since: int | None = at - _memory(rule)
    if others and rule.trigger == "edge":
        began = trials.begins_after(key, sides=sides)
        since = None if began is None or since is None else min(began, since)
    for one in others:
        if one.triggered_at < at and (since is None or one.triggered_at >= since):
            return "follows", f"follows the difference at {utc(one.triggered_at)}"
    return None


def _memory(rule: Rule) -> int:
    """For how long an alert may keep a rule silent that does not last, ms."""
    hour = _HOUR if rule.max_per_hour is not None else 0
    return max(rule.cooldown, rule.repeat or 0, hour)


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
