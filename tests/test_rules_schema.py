"""What editors are told of a file of rules is what the reader of the rules takes."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

import screener
from rule_files import files, to_toml
from screener._core import preset, presets
from screener.cli.rule_fields import FIELDS, ORDER
from screener.cli.schema import rules_schema
from screener.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rule_files import Tables

ROOT = Path(__file__).parents[1]
SCHEMA = rules_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def fits(tables: Tables) -> bool:
    """Whether the schema takes tables, as an editor hands them over: dates are texts."""
    return bool(VALIDATOR.is_valid(json.loads(json.dumps(tables, default=str))))


def is_read(text: str) -> bool:
    try:
        screener.RuleSet.parse(text)
    except RuleError:
        return False
    return True


def texts() -> Iterator[str]:
    """Every file of rules in this project."""
    yield from map(preset, presets())
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for block in re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL):
            if "[[rule]]" in block:
                yield block
    for path in (ROOT / "examples").glob("**/*.toml"):
        yield path.read_text("utf-8")


def test_it_is_a_schema_and_takes_every_file_of_rules_here() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    found = [*texts()]
    assert len(found) > 3
    for text in found:
        assert is_read(text)
        assert fits(tomllib.loads(text)), text


@given(tables=files())
def test_what_is_right_is_right_for_both(tables: Tables) -> None:
    assert is_read(to_toml(tables))
    assert fits(tables)


BASE: Tables = {
    "groups": {"majors": ["BTCUSDT", "ETH*"]},
    "rule": [
        {
            "name": "a",
            "title": "A",
            "timeframe": "5m",
            "direction": "up",
            "severity": "high",
            "cooldown": "5m",
            "when": "change_5m > 1",
            "floor": "price > 1",
            "hold": "3m",
            "trigger": "edge",
            "clear_when": "change_5m < 0",
            "repeat": "1h",
            "expires": date(2026, 12, 31),
            "quiet_hours": ["22:00-07:00"],
            "max_per_hour": 4,
            "enabled": True,
            "shadow": False,
            "override": [
                {
                    "symbols": ["BTCUSDT"],
                    "groups": ["majors"],
                    "severity": "low",
                    "cooldown": "5m",
                    "when": "change_5m > 2",
                    "floor": "price > 2",
                    "hold": "1m",
                    "trigger": "edge",
                    "clear_when": "change_5m < 1",
                    "repeat": "2h",
                    "expires": "2026-12-31T18:00:00+02:00",
                    "quiet_hours": "22:00-07:00+02:00",
                    "max_per_hour": 1,
                    "enabled": False,
                    "shadow": True,
                }
            ],
        }
    ],
}
# What any field may be given; not 4.0, which JSON does not tell from 4.
ANYTHING: list[Any] = [3, 0, -1, 61, 3.5, True, "", "x", [], ["x"], [3], {}, {"x": 1}]
OF_A_KIND: dict[str, list[Any]] = {
    "name": ["a b", "a.b", "a" * 64, "a" * 65, "月饼", "a-b_c", "a/b"],
    "timeframe": ["0m", "1m", "1440m", "1441m", "24h", "25h", "1d", "2d", "0005m", "00005m", "5",
                  "5s", "5 m", "+5m"],
    "direction": ["up", "Up", "sideways"],
    "severity": ["low", "LOW", "urgent"],
    "trigger": ["edge", "cooldown", "Edge", "once"],
    "cooldown": ["0ms", "366d", "367d", "8784h", "8785h", "31622400000ms", "31622400001ms", "007m",
                 "5 min", "5M", "-5m", "1.5h", "9" * 30 + "m"],
    "hold": ["1d", "2d", "24h", "25h", "1440m", "1441m", "86400s", "86401s", "0d", "3"],
    "repeat": ["366d", "367d", "527040m", "527041m", "1w"],
    "expires": [date(2027, 1, 1), "2026-12-31", "2026-12-31 18:00", "2026-12-31T18:00Z",
                "2026-13-01", "2026-12-32", "tomorrow", "31.12.2026", "18:00:00"],
    "quiet_hours": ["22:00-07:00", " 22:00 - 24:00 ", "24:00-07:00", "22:60-07:00", "22-7",
                    "22:00-07:00+14:00", "22:00-07:00+15:00", "22:00-07:00 - 03:30",
                    ["22:00-07:00", "x"], ["09:00-10:00", "11:00-12:00"]],
    "max_per_hour": [1, 60, 61],
    "symbols": [["BTC*"], ["a b"], ["x" * 64], ["x" * 65], [""], "BTC", ["月饼"]],
    "groups": [["majors", "majors"]],
}  # fmt: skip


def mutations() -> Iterator[tuple[str, Tables]]:
    for table in ("file", "rule", "override"):
        fields = part(BASE, table)
        for key, value in fields.items():
            if (table, key) != ("file", "groups"):
                yield f"{table} without {key}", changed(table, key, None)
            for other in [*ANYTHING, *OF_A_KIND.get(key, [])]:
                if not is_about_more(table, key, other):
                    yield f"{table}: {key} = {other!r}", changed(table, key, other)
            yield f"{table}: {key}x", changed(table, f"{key}x", value)
            yield f"{table}: {key.upper()}", changed(table, key.upper(), value)


def is_about_more(table: str, key: str, value: object) -> bool:
    """Whether a text of the right type would have to be understood: conditions, names of groups."""
    is_condition = key in ("when", "floor", "clear_when") and isinstance(value, str)
    is_group = key == "groups" and value == (["x"] if table == "override" else {})
    return (is_condition and value != "") or is_group


def part(tables: Tables, table: str) -> Tables:
    if table == "file":
        return tables
    (rule,) = tables["rule"]
    return rule if table == "rule" else rule["override"][0]  # type: ignore[no-any-return]


def changed(table: str, key: str, value: object) -> Tables:
    tables = copy.deepcopy(BASE)
    fields = part(tables, table)
    fields.pop(key, None)
    if value is not None:
        fields[key] = value
    return tables


def test_a_field_changed_is_refused_by_both_or_by_none() -> None:
    assert is_read(to_toml(BASE))
    assert fits(BASE)
    told = {what: (is_read(to_toml(tables)), fits(tables)) for what, tables in mutations()}
    assert {what for what, (read, fitting) in told.items() if read != fitting} == set()
    counts = [sum(read for read, _ in told.values()), len(told)]
    assert counts[0] > 100
    assert counts[1] - counts[0] > 500


def test_trigger_and_what_ends_a_rule() -> None:
    told_always = changed("rule", "trigger", "cooldown")
    assert not fits(told_always)
    for key in ("clear_when", "repeat"):
        del part(told_always, "rule")[key]
    assert fits(told_always)


@pytest.mark.parametrize("table", ["rule", "override"])
def test_the_fields_are_those_of_the_reader(table: str) -> None:
    with pytest.raises(RuleError) as told:
        screener.RuleSet.parse(to_toml(changed(table, "nothing", 1)))
    known = set(re.findall(r"`(\w+)`", told.value.reason.partition("expected")[2]))
    fields = {f.name for f in FIELDS if (f.in_rule if table == "rule" else f.in_override)}
    assert known - {"override"} == fields
    assert [key for key in ORDER if key in fields] == [
        key for key in part(BASE, table) if key in fields
    ] or table == "override"


def test_every_field_is_explained_where_it_is_written() -> None:
    definitions: Any = SCHEMA["$defs"]
    for definition in definitions.values():
        for name, field in definition["properties"].items():
            assert field["description"], name
    for field in FIELDS:
        example = tomllib.loads(f"value = {field.example}")["value"]
        table = "rule" if field.in_rule else "override"
        assert is_read(to_toml(changed(table, field.name, example))), field.name
        assert fits(changed(table, field.name, example)), field.name
