"""A file of rules to begin with: plain ones of one's own, or copies of those of the presets."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from screener._core import RuleSet, presets
from screener.cli.formatting import format_rules
from screener.cli.rule_fields import FIELDS
from screener.cli.rulesets import unknown_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from screener._core import Rule

__all__ = ["SCHEMA_FILE", "starter"]

SCHEMA_FILE = "rules.schema.json"
"""What the first line of a new file names, for editors."""

_HEAD = f"""\
#:schema ./{SCHEMA_FILE}
# Rules to be told by. Editors complete and check them once the file above is there:
#   screener rules schema --out {SCHEMA_FILE}
# After a change (--rules and screenerd take the file under a name that ends with .toml):
#   screener rules check FILE                  is it right?
#   screener rules preview FILE --last 48h     how often would it have fired?
#   screener rules fmt FILE                    in the usual layout
"""

_OWN = (
    """\
# One percent up within ten minutes, on three times the usual volume, and not overbought yet. The
# floor asks for liquidity; it counts where floors are on (--floors).
[[rule]]
name = "waking_up"
title = "Waking up"
timeframe = "10m"
direction = "up"
severity = "medium"
cooldown = "15m"
when = "change_10m >= 1 and volume_ratio_10m >= 3 and default(rsi_1h, 50) < 70"
floor = "quote_volume_1h > 1e6"
""",
    """\
# Two percent down within a quarter of an hour, and half of that in the last five minutes.
[[rule]]
name = "falling_fast"
title = "Falling fast"
timeframe = "15m"
direction = "down"
severity = "high"
cooldown = "15m"
when = "change_15m <= -2 and 2 * change_5m <= change_15m"
floor = "quote_volume_1h > 1e6"
""",
)

_QUIET = """\
# The quiet profile: each rule is told once, and again only after clear_when has held; there half
# of the first threshold is given back. Remove trigger and clear_when to be told at every cooldown.
"""

_FOR_SOME = """\
# And what may be otherwise for some symbols, below the rule:
#   [[rule.override]]
#   symbols = ["BTCUSDT", "ETH*"]
#   cooldown = "1h"
"""

_THRESHOLD = re.compile(r"(\w+) (<=?|>=?) (-?[\d.]+(?:e-?\d+)?)")


def starter(names: Sequence[str], *, quiet: bool) -> str:
    """The text of a new file of rules.

    Args:
        names: Presets and rules of presets to copy; none for rules of one's own.
        quiet: Whether each rule is told once until it has ended.

    Raises:
        RuleError: There is no preset and no rule of a name.
    """
    rules = [rule.to_toml() for rule in _copies(names)] if names else list(_OWN)
    head = _HEAD
    if quiet:
        head += f"#\n{_QUIET}"
        rules = [rule + _told_once(rule) for rule in rules]
    return format_rules("\n".join([head, *rules, _more(rules[-1]), _FOR_SOME]))


def _copies(names: Iterable[str]) -> list[Rule]:
    """Rules of presets, by the name of a preset or of a rule, each once.

    Raises:
        RuleError: There is no preset and no rule of that name.
    """
    sets = {preset: [*RuleSet.load(preset)] for preset in presets()}
    named = sets | {rule.name: [rule] for rules in sets.values() for rule in rules}
    found: dict[str, Rule] = {}
    for name in names:
        if name not in named:
            raise unknown_rule(name, presets())
        found |= {rule.name: rule for rule in named[name]}
    return [*found.values()]


def _told_once(text: str) -> str:
    """The lines that have a rule told once, until half of its first threshold is given back."""
    (rule,) = RuleSet.parse(text)
    lines = ['trigger = "edge"']
    clauses = RuleSet.parse(text).explain(rule.name, {}).clauses
    found = filter(None, (_THRESHOLD.fullmatch(clause.text) for clause in clauses))
    for metric, comparison, number in (match.groups() for match in found):
        threshold = float(number)
        above = comparison.startswith(">")
        if threshold == 0:
            continue
        back = threshold * (0.5 if (threshold > 0) == above else 1.5)
        lines.append(f'clear_when = "{metric} {"<" if above else ">"} {back:g}"')
        break
    return "\n".join([*lines, ""])


def _more(text: str) -> str:
    """The fields that a rule does not have, as comments, each with a value to try."""
    has = tomllib.loads(text)["rule"][0]
    fields = [field for field in FIELDS if field.in_rule and field.name not in has]
    examples = [f"{field.name} = {field.example}" for field in fields]
    width = max(map(len, examples))
    lines = [
        f"#   {example:{width}}  # {field.about}"
        for example, field in zip(examples, fields, strict=True)
    ]
    return "\n".join(["# What else a rule may say, with values to try:", *lines])
