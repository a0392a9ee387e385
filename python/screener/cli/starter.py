"""A file of rules to begin with: plain ones of one's own, or copies of those of the presets."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from screener._core import RuleSet, presets
from screener.cli.formatting import format_rules, length_text
from screener.cli.rule_fields import FIELDS
from screener.cli.rulesets import unknown_rule
from screener.errors import RuleError

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
# The quiet profile: each rule is told once, and again only after clear_when has held, where half
# of a threshold is given back, an hour later at the earliest. Without trigger and
# clear_when it is told whenever it holds, cooldown apart.
"""

_FOR_SOME = """\
# And what may be otherwise for some symbols, below the rule:
#   [[rule.override]]
#   symbols = ["BTCUSDT", "ETH*"]
#   cooldown = "1h"
"""

_QUIET_COOLDOWN = 3_600_000
_COOLDOWN = re.compile(r"^cooldown = .*$", re.MULTILINE)
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
        rules = [_told_once(rule) for rule in rules]
    return format_rules("\n".join([head, *rules, _more(rules[-1]), _FOR_SOME]))


def _copies(names: Iterable[str]) -> list[Rule]:
    """Rules of presets, by the name of a preset or of a rule, each once.

    Raises:
        RuleError: There is no preset and no rule of that name, or two of them differ in a rule.
    """
    sets = {preset: [*RuleSet.load(preset)] for preset in presets()}
    named = {rule.name: [rule] for rules in reversed(sets.values()) for rule in rules} | sets
    found: dict[str, Rule] = {}
    for name in names:
        if name not in named:
            raise unknown_rule(name, presets())
        for rule in named[name]:
            if found.setdefault(rule.name, rule) != rule:
                reason = (
                    f"--from {name} has another rule {rule.name!r} than what is named before it"
                )
                raise RuleError(reason=reason, suggestion="name only one of the two")
    return [*found.values()]


def _told_once(text: str) -> str:
    """The rule told once, until half of its first threshold is given back, as in `quiet`."""
    (rule,) = RuleSet.parse(text)
    if rule.trigger == "edge":
        return text
    cooldown = max(rule.cooldown, _QUIET_COOLDOWN)
    text = _COOLDOWN.sub(f'cooldown = "{length_text(cooldown)}"', text)
    lines = [text.rstrip(), 'trigger = "edge"']
    lines += [f'clear_when = "{condition}"' for condition in _given_back(rule, text)]
    return "\n".join([*lines, ""])


def _given_back(rule: Rule, text: str) -> list[str]:
    """That half of a threshold is given back: of the change over the timeframe, else the first."""
    found = []
    for clause in RuleSet.parse(text).explain(rule.name, {}).clauses:
        threshold = _THRESHOLD.fullmatch(clause.text)
        if threshold is None or clause.part != "when" or float(threshold[3]) == 0:
            continue
        metric, number, above = threshold[1], float(threshold[3]), threshold[2].startswith(">")
        back = number * (0.5 if (number > 0) == above else 1.5)
        found.append((metric, f"{metric} {'<' if above else '>'} {back:g}"))
    change = f"change_{rule.timeframe}"
    found.sort(key=lambda one: one[0] != change)
    return [condition for _, condition in found[:1]]


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
