"""Rules as a user has changed them: switched off, or with another cooldown. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from screener import Rule, RuleSet, cooldowns
from screenerd.model import RuleSwitch


def with_cooldowns(rules: RuleSet, switches: Mapping[str, RuleSwitch]) -> RuleSet:
    """The same rules with the cooldowns that were set; their versions tell them apart.

    A rule that is off stays in the set, so that its cooldowns and windows are right when it is
    switched on again.
    """
    given = {name: switch.cooldown_ms for name, switch in switches.items()}
    return cooldowns.with_cooldowns(
        rules, {name: ms for name, ms in given.items() if ms is not None}
    )


def without(rules: RuleSet, names: Collection[str]) -> RuleSet:
    """The same rules but for those of these names; some have to be left."""
    texts = [rule.to_toml() for rule in rules if rule.name not in names]
    return RuleSet.parse("\n".join(texts), floors=rules.floors)


def is_shadow(rule: Rule, symbol: str | None = None) -> bool:
    """Whether alerts of a rule, or those it raises for a symbol, are only kept and scored."""
    return rule.shadow if symbol is None else rule.for_symbol(symbol).shadow


def with_shadow(rules: RuleSet, names: Collection[str]) -> RuleSet:
    """The same rules, those of these names as shadow ones."""
    texts = [rule.to_toml() for rule in rules]
    for n, rule in enumerate(rules):
        if rule.name in names and not is_shadow(rule):
            texts[n] = texts[n].replace("[[rule]]\n", "[[rule]]\nshadow = true\n", 1)
    return RuleSet.parse("\n".join(texts), floors=rules.floors)
