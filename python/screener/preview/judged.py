"""Which minutes rules could be judged at: the engine itself says so.

For each set of metrics that rules name there is a rule of the same metrics that holds whenever it
can be judged. So warm-up, missing minutes and late candles are what they are to the rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from screener._core import RuleSet
from screener.replay import replay

if TYPE_CHECKING:
    import polars as pl

    from screener._core import Rule
    from screener.types import Gaps

__all__ = ["Judge", "Spans"]

_MINUTE: Final = 60_000
_ALWAYS: Final = "0 * price == 0"
_RULE: Final = '[[rule]]\nname = "{}"\ntimeframe = "5m"\ncooldown = "0m"\nwhen = "{}"\n'


@dataclass(slots=True)
class Spans:
    """The minutes something was judged at.

    Attributes:
        minutes: How many, of all symbols together.
        symbols: Of how many symbols.
        first: The open of the earliest, ms.
        last: The close of the latest, ms.
    """

    minutes: int = 0
    symbols: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, minutes: int, first: int, last: int) -> None:
        """Adds those of another symbol."""
        self.minutes += minutes
        self.symbols += 1
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


@dataclass(slots=True)
class Judge:
    """Counts, symbol by symbol, the minutes that a set's rules could be judged at.

    Args:
        rules: The set.
        gaps: As in `replay`.
        end: Minutes that close later are not counted, ms.
    """

    rules: RuleSet
    gaps: Gaps
    end: int | None = None
    _found: dict[str, Spans] = field(init=False)
    _when: dict[str, str] = field(init=False)
    _always: RuleSet = field(init=False)

    def __post_init__(self) -> None:
        """Makes the rules that always hold."""
        self._when = {rule.name: _ready(self.rules, rule) for rule in self.rules}
        self._found = {when: Spans() for when in dict.fromkeys([_ALWAYS, *self._when.values()])}
        texts = (_RULE.format(f"ready_{n}", when) for n, when in enumerate(self._found))
        self._always = RuleSet.parse("\n".join(texts))

    @property
    def candles(self) -> Spans:
        """The closed minutes there are, whether a rule could be judged at them or not."""
        return self._found[_ALWAYS]

    def of(self, rule: str) -> Spans:
        """The minutes a rule could be judged at."""
        return self._found[self._when[rule]]

    def look(self, frame: pl.DataFrame, start: int | None) -> None:
        """Takes all minutes of one symbol; those that open before `start` only warm up."""
        import polars as pl

        held = replay(frame, self._always, gaps=self.gaps, start=start).alerts
        time = pl.col("triggered_at")
        if self.end is not None:
            held = held.filter(time <= self.end)
        found = held.group_by("rule").agg(
            time.len().alias("minutes"), time.min().alias("first"), time.max().alias("last")
        )
        spans = list(self._found.values())
        for name, minutes, first, last in found.iter_rows():
            spans[int(name.removeprefix("ready_"))].add(minutes, first - _MINUTE, last)


def _ready(rules: RuleSet, rule: Rule) -> str:
    """Holds whenever the rule's metrics are ready; those inside `default` need not be."""
    needed = rules.explain(rule.name, {}).not_ready
    sides = sorted(name if name in needed else f"default({name}, 0)" for name in rule.metrics)
    return " and ".join(f"0 * {side} == 0" for side in sides)
