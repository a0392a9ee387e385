"""Many rule sets in one pass of the engine: each metric is computed once for all of them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from screener._core import RuleSet
from screener.conditions import variants
from screener.replay import replay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from screener.types import Gaps

__all__ = ["Distinct", "alerts_of", "counted", "distinct_rules", "share"]

_MOST_ALERTS: Final = 6_000_000
_NAME: Final = re.compile(r'^name = "[^"]*"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Distinct:
    """The rules of all sets, each once.

    Attributes:
        texts: The rules as TOML.
        names: What each is called.
        cooldown: The shortest one, ms.
        sets: The numbers of the rules of each set.
        floors: Whether floors are on.
    """

    texts: list[str]
    names: list[str]
    cooldown: int
    sets: list[list[int]]
    floors: bool


def distinct_rules(rule_sets: Sequence[RuleSet]) -> Distinct:
    """The rules of all sets; one that a parameter leaves alone is judged once for all."""
    numbers: dict[str, int] = {}
    sets = [
        [numbers.setdefault(rule.to_toml(), len(numbers)) for rule in rules] for rules in rule_sets
    ]
    by_text = {rule.to_toml(): rule for rules in rule_sets for rule in rules}
    return Distinct(
        texts=list(numbers),
        names=[by_text[text].name for text in numbers],
        cooldown=min(one.cooldown for rule in by_text.values() for one in variants(rule)),
        sets=sets,
        floors=rule_sets[0].floors,
    )


def share(rules: Distinct, minutes: int, at_least: int) -> list[range]:
    """Rule numbers in parts of about the same size, one for each pass over a symbol.

    Args:
        rules: All of them.
        minutes: Of the longest symbol: no pass can raise more than some million alerts of it.
        at_least: There are as many parts as this or a multiple, if there are as many rules.
    """
    worst = max(1, minutes * 60_000 // max(rules.cooldown, 60_000))
    count = len(rules.texts)
    parts = at_least * math.ceil(count * worst / (_MOST_ALERTS * at_least))
    size = math.ceil(count / min(parts, count))
    return [range(at, min(at + size, count)) for at in range(0, count, size)]


def alerts_of(
    frame: pl.DataFrame, rules: Distinct, part: range, *, gaps: Gaps, start: int | None
) -> pl.DataFrame:
    """The alerts of some of the rules: symbol, number (that of the rule), triggered_at.

    A rule is judged under a name of its own, and nothing else of it is changed: neither conditions
    nor cooldown know of other rules, so that the alerts are those of a pass with it alone.
    """
    texts = (_NAME.sub(f'name = "{number}"', rules.texts[number], count=1) for number in part)
    named = RuleSet.parse("\n".join(texts), floors=rules.floors)
    alerts = replay(frame, named, gaps=gaps, start=start).alerts
    return alerts.select("symbol", "rule", "triggered_at").select(
        pl.col("symbol").cast(pl.String),
        pl.col("rule").cast(pl.String).cast(pl.UInt32).alias("number"),
        pl.col("triggered_at").cast(pl.Int64),
    )


def counted(alerts: pl.DataFrame) -> pl.DataFrame:
    """How many alerts there are of each rule that raised any: number, alerts."""
    return alerts.group_by("number").agg(alerts=pl.len())
