"""Trials: whether a rule would have held if what came later had come in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import polars as pl

from screener.conditions import asks_all, bare, ended, failed
from screener.reach import is_indicator, reach

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from screener._core import Rule, RuleSet
    from screener.drift.replayed import Replays, Versions
    from screener.drift.result import Cause
    from screener.drift.snapshot import Raised

__all__ = ["KINDS", "Key", "Part", "Trials"]

Key: TypeAlias = tuple[str, str, int]
"""Symbol, rule and close of the minute, ms."""

Part: TypeAlias = Literal["holds", "fails", "ends"]
"""What is looked at of a rule: whether it holds, whether it is known that it does not, or that it
has ended. A minute that is corrected at once is judged twice, and may do more than one of them."""

KINDS: Final[tuple[Cause, ...]] = ("late", "corrected", "pending")

_MADE: Final = {"holds": bare, "fails": failed, "ends": ended}
_MINUTE: Final = 60_000
_AROUND: Final = 60
_ENDLESS: Final = frozenset({"up_streak", "down_streak"})


@dataclass(slots=True)
class Trials:
    """What rules hold over versions of one symbol, or of all, and over other orders of them.

    Attributes:
        rules: The rules.
        versions: The versions.
        replays: What replays them.
    """

    rules: RuleSet
    versions: Versions
    replays: Replays
    _raised: dict[bool, list[Raised]] = field(default_factory=dict)
    _held: dict[tuple[Part, str, bool], frozenset[Key]] = field(default_factory=dict)
    _tried: dict[tuple[object, ...], frozenset[Key]] = field(default_factory=dict)

    def raised(self, *, final: bool) -> list[Raised]:
        """The alerts of the rules as they are: as it arrived, or over the final minutes."""
        if final not in self._raised:
            rows = self.versions.final if final else self.versions.rows
            self._raised[final] = self.replays.alerts(rows, self.rules)
        return self._raised[final]

    def look(self, names: Collection[str]) -> None:
        """Looks at these rules at once, where they hold over both orders."""
        self._look("holds", [name for name in names if ("holds", name, True) not in self._held])

    def _look(self, part: Part, names: list[str]) -> None:
        if not names:
            return
        for is_final in (False, True):
            rows = self.versions.final if is_final else self.versions.rows
            keys = [one.key for one in self.replays.alerts(rows, self._of(part, names))]
            for name in names:
                found = frozenset(key for key in keys if key[1] == name)
                self._held[part, name, is_final] = found

    def at(self, part: Part, name: str, *, final: bool) -> frozenset[Key]:
        """Where a rule holds, or has ended: as it arrived, or over the final minutes."""
        if (part, name, final) not in self._held:
            self._look(part, [name])
        return self._held[part, name, final]

    def _of(self, part: Part, names: list[str]) -> RuleSet:
        return _MADE[part](self.rules, names)

    def begins_after(self, key: Key, *, sides: Collection[bool]) -> int | None:
        """The last moment before an alert's at which nothing of the rule lasted, ms.

        Args:
            key: The alert.
            sides: Whether that is asked of what arrived, of the final minutes, or of both.

        Returns:
            None where it lasted since the minutes begin, or where nothing of the rule does.
        """
        symbol, name, at = key
        rule = self.rules[name].for_symbol(symbol)
        if rule.trigger == "edge":
            ends = [self.at("ends", name, final=side) for side in sides]
            times = frozenset.intersection(*ends)
            return max((t for s, _, t in times if s == symbol and t < at), default=None)
        if not rule.hold:
            return None
        held = frozenset.union(*(self.at("holds", name, final=side) for side in sides))
        oldest = int(self.versions.rows["open_time"].min())  # type: ignore[arg-type]
        while at - _MINUTE > oldest and (symbol, name, at - _MINUTE) in held:
            at -= _MINUTE
        return at - _MINUTE

    def parted(self, key: Key, since: int) -> Iterator[tuple[Part, Key]]:
        """The moments from `since` to an alert's at which the two orders differ, by time."""
        symbol, name, at = key
        rule = self.rules[name].for_symbol(symbol)
        parts: list[Part] = ["holds"]
        parts += ["fails"] if rule.hold else []
        parts += ["ends"] if rule.trigger == "edge" else []
        found: list[tuple[int, Part]] = []
        for part in parts:
            one, other = (self.at(part, name, final=side) for side in (False, True))
            found += [(t, part) for s, _, t in one ^ other if s == symbol and since <= t <= at]
        for time, part in sorted(found):
            yield part, (symbol, name, time)

    def later(self, key: Key) -> pl.DataFrame:
        """What did not come in time of the minutes that a rule looks at, in order of arrival."""
        symbol, name, at = key
        rule = self.rules[name].for_symbol(symbol)
        rows = self.versions.rows.filter(pl.col("kind").is_not_null())
        if not rule.among_all:
            rows = rows.filter(symbol=symbol)
        minute = at - _MINUTE
        low = pl.lit(value=True)
        if (looks := _looks(rule)) is not None:
            low = pl.col("open_time") > minute - looks * _MINUTE
        return rows.filter(low, pl.col("open_time") <= minute)

    def would(self, part: Part, key: Key, mended: pl.DataFrame) -> bool:
        """Whether a rule would hold, or end, had these minutes come in time as they are now."""
        _, name, at = key
        minutes = mended.select("symbol", "open_time").unique()
        known = (part, name, at, minutes.hash_rows().sum(), minutes.height)
        if known not in self._tried:
            rows = self._ordered(self.rules[name], at, minutes)
            alerts = self.replays.alerts(rows, self._of(part, [name]))
            self._tried[known] = frozenset(one.key for one in alerts)
        return key in self._tried[known]

    def _ordered(self, rule: Rule, at: int, minutes: pl.DataFrame) -> pl.DataFrame:
        keys = ["symbol", "open_time"]
        rows = self.versions.rows.join(minutes, on=keys, how="anti", maintain_order="left")
        inserted = self.versions.final.join(minutes, on=keys, how="semi", maintain_order="left")
        # A row that comes in time stands before what came with the next minute.
        mended = pl.concat([inserted.select(rows.columns), rows])
        mended = mended.sort("event_time", maintain_order=True)
        looks = _looks(rule)
        if not asks_all([rule]) or looks is None:
            return mended
        # Of all symbols no more is replayed than is looked at, and what may overtake it.
        around = pl.col("open_time").is_between(
            at - (looks + _AROUND) * _MINUTE, at + _AROUND * _MINUTE
        )
        return mended.filter(around)


def _looks(rule: Rule) -> int | None:
    """How many of the newest minutes a rule looks at; None where nobody can tell."""
    named = [*rule.metrics, *([] if rule.clear_when is None else [rule.clear_when])]
    if any(is_indicator(name) for name in named) or any(
        endless in name for name in named for endless in _ENDLESS
    ):
        return None
    return max(1, reach(named))
