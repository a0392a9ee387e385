"""Rule sets to look at and to check."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from screener._core import RuleSet, preset, presets
from screener.cli.formatting import format_rules, length_text
from screener.cli.inputs import load_rules, rule_problem, rule_text
from screener.cli.output import print_table
from screener.errors import RuleError, ScreenerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from screener._core import Rule

__all__ = ["Checked", "Shown", "check", "print_sets", "rule_objects", "show", "unknown_rule"]

_SUFFIX = ".toml"


@dataclass(frozen=True, slots=True)
class Shown:
    """A set, or one rule of it: its name, its text, its rules."""

    name: str
    text: str
    rules: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a file of rules is found to be: its rules, or what is wrong with them."""

    rules: list[dict[str, object]]
    problem: str | None = None
    error: dict[str, object] | None = None


# -- show ----------------------------------------------------------------------------------------


def show(name: str, source: str | None) -> Shown:
    """The set called `name`, or the rule of `source` (by default of any preset)."""
    if source is None and (name in presets() or name.endswith(_SUFFIX)):
        if name in presets():
            text = preset(name)
        else:
            text = format_rules(load_rules(name, floors=True).to_toml())
        return Shown(name, text, rule_objects(name))
    sources = presets() if source is None else [source]
    for candidate in sources:
        rules = load_rules(candidate, floors=True)
        if name in rules:
            found = [entry for entry in rule_objects(candidate) if entry["name"] == name]
            return Shown(candidate, format_rules(rules[name].to_toml()), found)
    raise unknown_rule(name, sources)


def unknown_rule(name: str, sources: list[str]) -> RuleError:
    """That no rule or set has this name, with the nearest one; to be raised."""
    rules = [rule for source in sources for rule in load_rules(source, floors=True).names]
    near = get_close_matches(name, [*sources, *rules], n=1)
    return RuleError(
        reason=f"there is neither a rule nor a set {name!r}",
        suggestion=near[0] if near else "screener rules list names all of them",
    )


def rule_objects(source: str) -> list[dict[str, object]]:
    """The rules of a set as JSON knows them."""
    return _objects(load_rules(source, floors=False), load_rules(source, floors=True))


def _objects(plain: RuleSet, floored: RuleSet) -> list[dict[str, object]]:
    return [_object(plain[name], floored[name]) for name in plain.names]


def _object(plain: Rule, floored: Rule) -> dict[str, object]:
    return {
        "name": plain.name,
        "title": plain.title,
        "timeframe": plain.timeframe,
        "direction": plain.direction,
        "severity": plain.severity,
        "cooldown_ms": plain.cooldown,
        "when": plain.when,
        "floor": plain.floor,
        "metrics": floored.metrics,
        "version": plain.version,
        "version_with_floor": floored.version,
    }


# -- list ----------------------------------------------------------------------------------------


def print_sets(out: Console, sources: Iterable[str]) -> None:
    """A line a rule."""
    rows = [
        [
            Text(source),
            Text(rule.name),
            Text(rule.title),
            Text(rule.timeframe),
            Text(rule.direction),
            Text(rule.severity),
            Text(length_text(rule.cooldown)),
            Text("yes" if rule.floor else "no"),
        ]
        for source in sources
        for rule in load_rules(source, floors=True)
    ]
    headings = ("set", "rule", "title", "window", "way", "severity", "cooldown", "floor")
    print_table(out, headings, rows, right=(6,))


# -- check ---------------------------------------------------------------------------------------


def check(path: str) -> Checked:
    """Whether the rules of a file can be loaded."""
    try:
        text = rule_text(Path(path).read_bytes())
    except ScreenerError as error:
        return Checked([], f"{path}: {error.reason}", {"reason": error.reason})
    try:
        sets = [RuleSet.parse(text, floors=floors) for floors in (False, True)]
    except RuleError as error:
        fields = ("reason", "rule", "field", "line", "column", "suggestion")
        known = {name: getattr(error, name) for name in fields}
        return Checked([], rule_problem(path, text, error), known)
    return Checked(_objects(*sets))
