"""Rules of which the conditions alone are left, or other conditions in their place. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from screener._core import RuleSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from screener._core import Rule

__all__ = ["asks_all", "bare", "ended", "failed", "readiness", "variants", "with_conditions"]

_RULE: Final = '[[rule]]\nname = {name}\ntimeframe = "{timeframe}"\ncooldown = "0m"\n{told}\n'
_OVERRIDE: Final = "[[rule.override]]\nsymbols = {symbols}\n{told}\n"


def variants(rule: Rule) -> list[Rule]:
    """A rule, and what it is for some symbols."""
    return [rule, *(other for _, other in rule.overrides)]


def asks_all(rules: Iterable[Rule]) -> bool:
    """Whether a rule, or what it is for some symbols, asks something of all symbols."""
    return any(one.among_all for rule in rules for one in variants(rule))


def with_conditions(
    rules: RuleSet, condition: Callable[[Rule], str], names: Iterable[str] | None = None
) -> RuleSet:
    """Rules of the same names that fire whenever another condition holds: no cooldown, no manner.

    Where a rule is off, or another for some symbols, this one is, too.

    Args:
        rules: The rules.
        condition: What holds instead, of a rule as it is for some symbols or for all others.
        names: The rules that are wanted; by default all.
    """
    chosen = rules.names if names is None else names
    return RuleSet.parse(
        "\n".join(part for name in chosen for part in _texts(rules[name], condition)),
        floors=False,
    )


def _texts(rule: Rule, condition: Callable[[Rule], str]) -> Iterator[str]:
    told = _told(rule, condition)
    yield _RULE.format(name=json.dumps(rule.name), timeframe=rule.timeframe, told=told)
    for patterns, other in rule.overrides:
        symbols = json.dumps(patterns, ensure_ascii=False)
        yield _OVERRIDE.format(symbols=symbols, told=_told(other, condition))


def _told(rule: Rule, condition: Callable[[Rule], str]) -> str:
    when = json.dumps(condition(rule), ensure_ascii=False)
    return f"when = {when}\nenabled = {json.dumps(rule.enabled)}"


def bare(rules: RuleSet, names: Iterable[str] | None = None) -> RuleSet:
    """The same rules, told whenever they hold.

    Example:
        >>> only = bare(RuleSet.load("futures"), ["pioneer_bull"])
        >>> only.names, only["pioneer_bull"].cooldown
        (['pioneer_bull'], 0)
    """
    return with_conditions(rules, lambda one: _whole(one, floors=rules.floors), names)


def failed(rules: RuleSet, names: Iterable[str] | None = None) -> RuleSet:
    """Rules that are told whenever it is known that a rule does not hold."""
    return with_conditions(rules, lambda one: _fails(one, floors=rules.floors), names)


def ended(rules: RuleSet, names: Iterable[str] | None = None) -> RuleSet:
    """Rules that are told whenever it is known that a rule does not hold, and that ends it."""

    def condition(rule: Rule) -> str:
        fails = _fails(rule, floors=rules.floors)
        return fails if rule.clear_when is None else f"{fails} and ({rule.clear_when})"

    return with_conditions(rules, condition, names)


def _fails(rule: Rule, *, floors: bool) -> str:
    return f"not ({_whole(rule, floors=floors)})"


def _whole(rule: Rule, *, floors: bool) -> str:
    if not floors or rule.floor is None:
        return rule.when
    return f"({rule.when}) and ({rule.floor})"


def readiness(rule: Rule, *, floors: bool) -> str:
    """A condition that holds whenever a rule can be judged; what is in `default` need not be ready.

    Args:
        rule: A rule as it is for some symbols or for all others.
        floors: Whether its floor is read.
    """
    alone = RuleSet.parse(rule.to_toml(), floors=floors)
    needed = alone.explain(rule.name, {}).not_ready
    names = alone[rule.name].metrics
    sides = sorted(name if name in needed else f"default({name}, 0)" for name in names)
    return " and ".join(f"0 * {side} == 0" for side in sides)
