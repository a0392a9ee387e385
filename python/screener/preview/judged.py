"""Which minutes rules could be judged at: the engine itself says so.

For each set of metrics that rules name there is a rule of the same metrics that holds whenever it
can be judged. So warm-up, missing minutes and late candles are what they are to the rules, and
overrides for some symbols, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from screener._core import RuleSet
from screener.conditions import readiness, with_conditions
from screener.replay import replay

if TYPE_CHECKING:
    import polars as pl

    from screener.types import Gaps

__all__ = ["Judge", "Spans"]

_MINUTE: Final = 60_000
_ALL: Final = "there_is_a_minute"
_ALWAYS: Final = '"0m"\nwhen = "0 * price == 0"\n'
_NAMED: Final = '[[rule]]\nname = "{}"\ntimeframe = "5m"\ncooldown = {}\n'


@dataclass(slots=True)
class Spans:
    """The minutes something was judged at.

    Attributes:
        by_symbol: How many, of each symbol.
        first: The open of the earliest, ms.
        last: The close of the latest, ms.
    """

    by_symbol: dict[str, int] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None

    @property
    def minutes(self) -> int:
        """How many, of all symbols together."""
        return sum(self.by_symbol.values())

    @property
    def symbols(self) -> int:
        """Of how many symbols."""
        return len(self.by_symbol)

    def add(self, symbol: str, minutes: int, first: int, last: int) -> None:
        """Adds those of another symbol."""
        self.by_symbol[symbol] = minutes
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


@dataclass(slots=True)
class Judge:
    """Counts the minutes that a set's rules could be judged at.

    Args:
        rules: The set.
        gaps: As in `replay`.
        end: Minutes that close later are not counted, ms.
    """

    rules: RuleSet
    gaps: Gaps
    end: int | None = None
    _found: dict[str, Spans] = field(init=False)
    _asked: dict[str, str] = field(init=False)
    _always: RuleSet = field(init=False)

    def __post_init__(self) -> None:
        """Makes the rules that hold whenever others can be judged, those of the same kind once."""
        floors = self.rules.floors
        ready = with_conditions(self.rules, lambda one: readiness(one, floors=floors))
        texts: dict[str, str] = {_ALWAYS: _ALL}
        self._asked = {}
        for rule in ready:
            body = rule.to_toml().partition("\ncooldown = ")[2]
            self._asked[rule.name] = texts.setdefault(body, f"ready_{len(texts)}")
        named = (_NAMED.format(name, body) for body, name in texts.items())
        self._always = RuleSet.parse("\n".join(named))
        self._found = {name: Spans() for name in texts.values()}

    @property
    def candles(self) -> Spans:
        """The closed minutes there are, whether a rule could be judged at them or not."""
        return self._found[_ALL]

    def of(self, rule: str) -> Spans:
        """The minutes a rule could be judged at."""
        return self._found[self._asked[rule]]

    def unjudged(self, rule: str) -> int:
        """The minutes it could not be judged at, of the symbols for which it is on."""
        its = self.rules[rule]
        counts = self.candles.by_symbol.items()
        there = sum(minutes for symbol, minutes in counts if its.for_symbol(symbol).enabled)
        return there - self.of(rule).minutes

    def look(self, frame: pl.DataFrame, start: int | None) -> None:
        """Takes all minutes of some symbols; those that open before `start` only warm up.

        Of rules that ask something of all symbols it has to be all of them.
        """
        import polars as pl

        held = replay(frame, self._always, gaps=self.gaps, start=start).alerts
        time = pl.col("triggered_at")
        if self.end is not None:
            held = held.filter(time <= self.end)
        found = held.group_by("rule", "symbol").agg(
            time.len().alias("minutes"), time.min().alias("first"), time.max().alias("last")
        )
        for name, symbol, minutes, first, last in found.iter_rows():
            self._found[name].add(symbol, minutes, first - _MINUTE, last)
