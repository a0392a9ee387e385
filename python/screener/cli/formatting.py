"""Rules as people read them: the one way a file of rules is written.

Comments and the order of rules stay; keys, conditions, lengths and blank lines are made alike.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, TypeVar

from screener._core import RuleSet
from screener.cli.rule_fields import FIELDS, ORDER, Kind
from screener.cli.toml_text import key_text, quoted, scan
from screener.errors import ScreenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from screener._core import Rule
    from screener.cli.toml_text import Statement

_Given = TypeVar("_Given")

__all__ = ["condition_text", "format_rules", "length_text"]

_WIDTH = 80
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))
_KINDS = {known.name: known.kind for known in FIELDS}
# What conditions are split at, and what must not be looked into.
_JOINT = re.compile(r'"[^"]*"|[()]| (?:and|or) ')


@dataclass(slots=True)
class _Entry:
    """A key with its value as TOML, and the comments at it."""

    key: str
    value: str
    above: Sequence[str] = ()
    comment: str | None = None
    commented: bool = False
    """Whether there are comments within the value, which then stays as it is written."""


@dataclass(slots=True)
class _Table:
    """A header, its entries, and the comments around them."""

    header: str
    above: Sequence[str] = ()
    comment: str | None = None
    entries: list[_Entry] = field(default_factory=list)
    below: Sequence[str] = ()
    rule: Rule | None = None


def format_rules(text: str) -> str:
    """A file of rules as this package writes them; formatting it again changes nothing.

    Args:
        text: The whole file.

    Returns:
        The whole file, with the line ends of the first line of `text`.

    Raises:
        RuleError: These are no rules.
        ScreenerError: The rules are written in a way that cannot be taken apart without loss.
    """
    rules = RuleSet.parse(text)
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    before = scan(plain)
    layout = _Layout(rules)
    for statement in before.statements:
        layout.add(statement)
    lines = list(_lines(layout.tables, before.end))
    written = "\n".join([*lines, ""])
    if RuleSet.parse(written) != rules or _groups(written) != _groups(plain):
        raise ScreenerError(reason=_CHANGED.format("what the rules mean"))
    if scan(written).comments() != before.comments():
        raise ScreenerError(reason=_CHANGED.format("a comment"))
    ends_with_return = text.partition("\n")[0].endswith("\r")
    return written.replace("\n", "\r\n") if ends_with_return else written


_CHANGED = (
    "formatting would change {}, which is a fault of this program; the rules are left as they are"
)


def _groups(text: str) -> dict[str, object]:
    """The groups, also those that no override names and a `RuleSet` does not know."""
    found: dict[str, object] = {}
    within: tuple[str, ...] = ()
    for statement in scan(text).statements:
        if statement.value is None:
            within = statement.path
            continue
        path = within + statement.path
        if path[0] == "groups":
            value = _value(statement.value)
            found |= value if isinstance(value, dict) else {path[-1]: value}
    return found


# -- taking apart --------------------------------------------------------------------------------


class _Layout:
    """The tables of a file, built statement by statement."""

    def __init__(self, rules: RuleSet) -> None:
        self.tables: list[_Table] = []
        self._rules = iter(rules)
        self._overrides: Iterator[Rule] = iter(())
        self._at_root = True

    def add(self, statement: Statement) -> None:
        """Takes the next statement of the file."""
        if statement.value is None:
            self._begin(statement)
        elif statement.path == ("rule",):
            self._add_inline(statement, self._add_rule)
        elif statement.path == ("override",):
            self._add_inline(statement, self._add_override)
        elif self._at_root:
            self._add_to_groups(statement)
        else:
            self.tables[-1].entries.append(_entry(statement))

    def _begin(self, statement: Statement) -> None:
        below, above = _shared(statement.above) if self.tables else ((), statement.above)
        if self.tables:
            self.tables[-1].below = below
        self._at_root = False
        if statement.path == ("groups",):
            self.tables.append(_Table("[groups]"))
        elif statement.path == ("rule",):
            self._add_rule()
        else:
            self._add_override()
        self.tables[-1].above, self.tables[-1].comment = above, statement.comment

    def _add_rule(self) -> None:
        rule = next(self._rules)
        self._overrides = iter([other for _, other in rule.overrides])
        self.tables.append(_Table("[[rule]]", rule=rule))

    def _add_override(self) -> None:
        self.tables.append(_Table("[[rule.override]]", rule=next(self._overrides)))

    def _add_to_groups(self, statement: Statement) -> None:
        """`groups.majors = [...]` or `groups = {...}`, above all headers."""
        known = [table for table in self.tables if table.header == "[groups]"]
        if len(statement.path) > 1:
            entries = [_entry(statement)]
        else:
            groups = _decoded(statement, dict, "[groups] and a line for each")
            entries = [_Entry(name, _value_text(symbols)) for name, symbols in groups.items()]
        if known:
            known[0].entries += entries
            return
        # What stands at the top of the file stays there.
        table = _Table("[groups]", above=statement.above, entries=entries)
        if len(statement.path) > 1:
            entries[0].above = ()
        else:
            table.comment = statement.comment
        self.tables.append(table)

    def _add_inline(self, statement: Statement, add: Callable[[], None]) -> None:
        """Tables that are written as one value."""
        header = "[[rule]]" if self._at_root else "[[rule.override]]"
        given = _decoded(statement, list, f"{header} above each")
        place = len(self.tables)
        self._add_tables(given, add)
        if len(self.tables) > place:
            self.tables[place].above = statement.above
            self.tables[place].comment = statement.comment

    def _add_tables(self, given: list[dict[str, object]], add: Callable[[], None]) -> None:
        for fields in given:
            add()
            overrides = fields.pop("override", [])
            self.tables[-1].entries += [
                _Entry(key, _value_text(value)) for key, value in fields.items()
            ]
            self._add_tables(overrides, self._add_override)  # type: ignore[arg-type]


def _entry(statement: Statement) -> _Entry:
    return _Entry(
        key=statement.path[-1],
        value=statement.value or "",
        above=[line for line in statement.above if line],
        comment=statement.comment,
        commented=bool(statement.inside),
    )


def _shared(between: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Comments between two tables: those of the first, and those of the second.

    The first has what follows it without a blank line, if one comes before the second.
    """
    if "" not in between:
        return (), between
    blank = between.index("")
    return between[:blank], between[blank:]


def _decoded(statement: Statement, wanted: type[_Given], instead: str) -> _Given:
    """The value of tables that are written in one line, if nothing is lost by that."""
    value = None if statement.inside else _value(statement.value or "")
    if not isinstance(value, wanted):
        name = statement.path[-1]
        reason = (
            f"{name} is written in one value, with comments or line ends within: write {instead}"
        )
        raise ScreenerError(reason=reason)
    return value


def _value(text: str) -> object:
    """The value of a TOML text, or the text if only newer readers of TOML know it."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


# -- writing -------------------------------------------------------------------------------------


def _lines(tables: Sequence[_Table], end: Sequence[str]) -> Iterator[str]:
    for place, table in enumerate(tables):
        if place:
            yield ""
        yield from _without_first_blank(table.above)
        yield _commented(table.header, table.comment)
        entries = table.entries
        if table.rule is not None:
            entries = sorted(entries, key=lambda entry: ORDER[entry.key])
        for entry in entries:
            yield from entry.above
            yield _commented(
                f"{key_text(entry.key)} = {_written(entry, table.rule)}", entry.comment
            )
        yield from table.below
    while end[-1:] == ("",):
        end = end[:-1]
    yield from end


def _without_first_blank(lines: Sequence[str]) -> Sequence[str]:
    return lines[1:] if lines[:1] == ("",) else lines


def _commented(text: str, comment: str | None) -> str:
    return text if comment is None else f"{text} {comment}"


def _written(entry: _Entry, rule: Rule | None) -> str:
    """The value as it is written everywhere."""
    if entry.commented:
        return entry.value
    kind = Kind.SYMBOLS if rule is None else _KINDS[entry.key]
    if kind in (Kind.SYMBOLS, Kind.GROUPS):
        return _list_text(entry.key, _value(entry.value))
    if kind is Kind.MOMENT:
        return _moment_text(entry.value)
    value = getattr(rule, entry.key)
    if kind is Kind.CONDITION:
        return condition_text(entry.key, value)
    if kind in (Kind.LENGTH, Kind.DAY):
        return quoted(length_text(value))
    if kind is Kind.HOURS and len(value) == 1:
        return quoted(value[0])
    return _list_text(entry.key, value) if kind is Kind.HOURS else _value_text(value)


def length_text(milliseconds: int) -> str:
    """A length of time in the longest unit that makes it whole."""
    if milliseconds == 0:
        return "0ms"
    length, unit = next(known for known in _UNITS if milliseconds % known[0] == 0)
    return f"{milliseconds // length}{unit}"


def condition_text(key: str, condition: str) -> str:
    """A canonical condition as a string: on one line if it fits, else a clause a line."""
    on_one_line = quoted(condition)
    if len(f"{key} = {on_one_line}") <= _WIDTH:
        return on_one_line
    lines = _clauses(condition)
    if len(lines) == 1:
        return on_one_line
    indented = "\n".join(f"  {line}" for line in lines)
    escaped = indented.replace("\\", "\\\\").replace('"""', '""\\"')
    return f'"""\n{escaped}\n"""'


def _clauses(condition: str) -> list[str]:
    """The clauses, with the `and` or `or` before each."""
    alternatives = _split(condition, " or ")
    if len(alternatives) == 1:
        return _split(condition, " and ")
    lines = []
    for alternative in alternatives:
        fits = len(f"  or {alternative}") <= _WIDTH
        first, *more = [alternative] if fits else _split(alternative, " and ")
        lines += [first, *[f"  {clause}" for clause in more]]
    return lines


def _split(condition: str, word: str) -> list[str]:
    """The parts between a word outside of all parentheses; all but the first begin with it."""
    depth, begin, parts = 0, 0, []
    for found in _JOINT.finditer(condition):
        joint = found.group()
        depth += (joint == "(") - (joint == ")")
        if depth == 0 and joint == word:
            parts.append(condition[begin : found.start()])
            begin = found.start() + 1
    return [*parts, condition[begin:]]


def _moment_text(written: str) -> str:
    """A moment without quotes, if TOML knows it that way."""
    inner = _value(written)
    if not isinstance(inner, str):
        return written
    bare = inner.strip()
    return bare if isinstance(_value(bare), date) else quoted(inner)


def _list_text(key: str, value: object) -> str:
    """A list on one line if it fits, else a line for each."""
    if not isinstance(value, list):
        return str(value)
    items = [_value_text(item) for item in value]
    on_one_line = f"[{', '.join(items)}]"
    if len(f"{key_text(key)} = {on_one_line}") <= _WIDTH:
        return on_one_line
    return "\n".join(["[", *[f"  {item}," for item in items], "]"])


def _value_text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return quoted(value)
        case list():
            return f"[{', '.join(map(_value_text, value))}]"
        case date():
            return value.isoformat()
        case _:
            return str(value)
