"""Which part of the work is one engine's: of which symbols, by which rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from screener import Rule, RuleSet
from screener.conditions import asks_all
from screenerd.shards import Shard
from screenerd.switches import without


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of the work.

    A rule that asks something of all symbols (rank, breadth, another symbol) is judged by an engine
    that hears of all of them; every other one wherever its symbol is.

    Attributes:
        shard: whose candles are heard; everybody's where there is none.
        rules: `every` rule, `own` ones that ask for nothing but their symbol, or `among` all.
    """

    shard: Shard | None = None
    rules: Literal["every", "own", "among"] = "every"

    @property
    def tells_metrics(self) -> bool:
        """Whether metrics of its symbols are its to tell."""
        return self.rules != "among"

    @property
    def name(self) -> str:
        """What it is called among the bus's subscribers."""
        part = "" if self.shard is None else f"-{self.shard.number}"
        return f"screen{part}" if self.rules != "among" else f"screen{part}-among"

    def owns(self, symbol: str) -> bool:
        """Whether a symbol's candles are its to hear."""
        return self.shard is None or self.shard.owns(symbol)

    def symbols(self, names: Iterable[str]) -> list[str]:
        """Those of some symbols that are its to hear, sorted."""
        return sorted(filter(self.owns, names))

    def judges(self, rule: Rule) -> bool:
        """Whether alerts of a rule are its to raise."""
        return self.rules == "every" or asks_all([rule]) == (self.rules == "among")

    def of(self, rules: RuleSet) -> RuleSet:
        """The rules an engine needs for it.

        One that hears only of its own symbols keeps those whose alerts it leaves to another: the
        metrics are then the same however the work is parted.
        """
        others = () if self.rules != "among" else {r.name for r in rules if not self.judges(r)}
        return without(rules, others) if others else rules


WHOLE: Final = Scope()
"""All of the work."""
