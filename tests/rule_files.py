"""Files of rules for tests: written plainly out of mappings, and drawn at random with comments."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

Tables: TypeAlias = dict[str, Any]

CONDITIONS = (
    "change_10m >= 1",
    "change_5m > 1.50  AND 2*quote_volume_5m>=quote_volume_15m",
    "(change_10m > 1 or change_10m < -1) and 1 < range_10m < 5 and not up_streak > 3",
    "change_5m >= 1 and change_15m >= 1 and 3 * change_5m >= change_15m and quote_volume_5m > 5e5",
    "change_1h > 1 and change_8h > 1 or change_1h[15m] < -1 and change_8h < -1 and rsi_1h < 30",
    'vs("BTCUSDT", change_1h) > 1 and breadth(change_5m > 0) > 0.5',
    "vs('A and (B', change_1h) > 1 and vs('CD', change_1h) > 1 and rank(change_1h) <= 3",
    "not (change_5m > 1 and change_15m > 1) and abs(change_1h) < max(1, change_8h, 2 * change_1d)",
)
LENGTHS = ("90s", "300s", "0ms", "5m", "0060m", "24h", "1d", "86400000ms")
TEXTS = (
    "plain",
    'a "quoted" title',
    "it's \\ both \"",
    "月饼 🌕",
    "tab\tand\nline",
    "",
    "# no comment",
    "'''",
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "title": st.sampled_from(TEXTS),
    "timeframe": st.sampled_from(("10m", "60m", "1h", "24h", "0005m")),
    "when": st.sampled_from(CONDITIONS),
    "direction": st.sampled_from(("up", "down", "flat")),
    "severity": st.sampled_from(("low", "medium", "high")),
    "floor": st.sampled_from(CONDITIONS),
    "cooldown": st.sampled_from((*LENGTHS, "366d")),
    "hold": st.sampled_from(LENGTHS),
    "trigger": st.just("edge"),
    "clear_when": st.sampled_from(CONDITIONS),
    "repeat": st.sampled_from((*LENGTHS, "7d")),
    "expires": st.sampled_from(
        (date(2026, 12, 31), "2026-12-31", "2026-12-31T18:00:00+02:00", "2026-12-31 18:00")
    ),
    "quiet_hours": st.sampled_from(
        ("22:00-07:00", "22:00 - 24:00", ["22:00-07:00+02:00"], ["01:00-02:00", "03:00-04:00"], [])
    ),
    "max_per_hour": st.integers(1, 60),
    "enabled": st.booleans(),
    "shadow": st.booleans(),
}
OF_RULES_ALONE = ("title", "timeframe", "direction")
SYMBOLS = st.lists(st.sampled_from(("BTCUSDT", "ETH*", "1000????USDT", "月饼USDT")), max_size=9)


# -- mappings ------------------------------------------------------------------------------------


@st.composite
def files(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Tables:
    """The tables of a file that is right."""
    groups = draw(st.dictionaries(st.sampled_from(("majors", "my group", "é", "x")), SYMBOLS))
    names = draw(st.lists(st.sampled_from(("a", "b-1", "月饼", "d_")), min_size=1, unique=True))
    rules = [draw(_rule(name, groups)) for name in names]
    return {"groups": groups, "rule": rules} if groups else {"rule": rules}


@st.composite
def _rule(draw: Callable[[st.SearchStrategy[Any]], Any], name: str, groups: Tables) -> Tables:
    required = ("timeframe", "when")
    others = [key for key in VALUES if key not in required]
    rule: Tables = {"name": name, **draw(_fields(required, others))}
    keys = [key for key in VALUES if key not in OF_RULES_ALONE]
    overrides = []
    for _ in range(draw(st.integers(0, 2))):
        override = draw(_fields((), keys)) | {"symbols": draw(SYMBOLS)}
        known = [key for key, symbols in groups.items() if symbols]
        if known:
            override["groups"] = draw(st.lists(st.sampled_from(known), min_size=1))
        elif not override["symbols"]:
            override["symbols"] = ["BTCUSDT"]
        overrides.append(override)
    if overrides:
        rule["override"] = overrides
    return rule


@st.composite
def _fields(
    draw: Callable[[st.SearchStrategy[Any]], Any], required: tuple[str, ...], others: list[str]
) -> Tables:
    chosen = draw(st.lists(st.sampled_from(others), unique=True, max_size=6))
    fields: Tables = {key: draw(VALUES[key]) for key in (*required, *chosen)}
    return fields


def to_toml(tables: Tables) -> str:
    """A file with these tables; what is no list of rules is written as it is."""
    return Writer(lambda options: options[0]).write(tables)


def value_text(value: object) -> str:
    """A value as TOML, plainly."""
    match value:
        case bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case date():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(value_text, value))}]"
        case dict():
            return (
                f"{{{', '.join(f'{json.dumps(k)} = {value_text(v)}' for k, v in value.items())}}}"
            )
        case _:
            return str(value)


# -- files with comments -------------------------------------------------------------------------


@dataclass(frozen=True)
class Note:
    """A comment, and the line that it stands at: on it, or above it."""

    text: str
    at: str


@dataclass
class Writer:
    """Writes files in any layout; `choose` picks one of some options."""

    choose: Callable[[list[Any]], Any]
    noisy: bool = False
    commented: bool = False
    notes: list[Note] = field(default_factory=list)

    def write(self, tables: Tables) -> str:
        """The file; the comments in it are in `notes` by then."""
        rules = tables.get("rule")
        others = [(key, value) for key, value in tables.items() if key != "rule"]
        groups = [self._table("[groups]", v) for k, v in others if k == "groups" and _is_table(v)]
        root = [
            self._line(key, value)
            for key, value in others
            if not (key == "groups" and _is_table(value))
        ]
        if not isinstance(rules, list) or not all(map(_is_table, rules)):
            root += [self._line("rule", rules)] if "rule" in tables else []
            rules = []
        parts = [part for rule in rules for part in self._rule(rule)]
        if groups:
            parts.insert(self.choose([*range(len(parts) + 1)]), groups[0])
        return "".join([*root, *parts, self._above("the end")])

    def _rule(self, rule: Tables) -> list[str]:
        overrides = rule.get("override")
        apart = isinstance(overrides, list) and overrides and all(map(_is_table, overrides))
        own = {key: value for key, value in rule.items() if not (apart and key == "override")}
        parts = [self._table("[[rule]]", own)]
        if apart:
            parts += [self._table("[[rule.override]]", override) for override in rule["override"]]
        return parts

    def _table(self, header: str, fields: Tables) -> str:
        above = self._above(header)
        lines = [above, header, self._after(header), "\n"]
        keys = [*fields]
        while keys:
            key = keys.pop(self.choose([*range(len(keys))]))
            lines.append(self._line(key, fields[key]))
        return "".join(lines)

    def _line(self, key: str, value: object) -> str:
        bare = key.replace("_", "").isalnum() and key.isascii()
        names = [key, f'"{key}"'] if bare else [json.dumps(key, ensure_ascii=False)]
        name = self.choose(names)
        at = f"{key if bare else names[0]} = "
        above = self._above(at)
        equals = self.choose([" = ", "=", " =\t"])
        return f"{above}{name}{equals}{self._value(value)}{self._after(at)}\n"

    def _value(self, value: object) -> str:
        plain = value_text(value)
        if not self.noisy:
            return plain
        if isinstance(value, str) and "\n" not in value:
            styles = [plain, f'"""{plain[1:-1]}"""', f'"""\n{plain[1:-1]}"""']
            if "'" not in value and "\t" not in value:
                styles += [f"'{value}'", f"'''{value}'''"]
            return str(self.choose(styles))
        if isinstance(value, list) and value and self.commented and self.choose([False, True]):
            comment = self._note("")
            items = ",\n".join(f"   {value_text(item)}" for item in value)
            return f"[ # {comment}\n{items},\n]"
        return plain

    def _above(self, at: str) -> str:
        lines = [""]
        if self.noisy:
            for kind in self.choose(
                [[], ["#"], ["\n"], ["\n", "#"], ["#", "#"], ["\n", "#", "\n"]]
            ):
                if kind == "\n":
                    lines.append("\n")
                elif self.commented:
                    lines.append(f"{self.choose(['', '  '])}# {self._note(at)}\n")
        return "".join(lines)

    def _after(self, at: str) -> str:
        if not self.commented or not self.choose([False, True]):
            return ""
        return f"{self.choose(['', '  '])}# {self._note(at)}"

    def _note(self, at: str) -> str:
        strange = self.choose(["", ' """', " [[rule]]", " 'x", " 月饼 = #", "]"])
        text = f"<{len(self.notes)}>{strange}"
        self.notes.append(Note(text, at))
        return text


def _is_table(value: object) -> bool:
    return isinstance(value, dict)
