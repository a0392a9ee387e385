"""The JSON Schema of files of rules, by which editors complete, explain and mark what is wrong.

It knows keys, types, words and lengths. Whether a condition can be read, a group exists or two
rules share a name is for `screener rules check` to tell.
"""

from __future__ import annotations

import tomllib
from typing import TypeAlias

from screener.cli.rule_fields import FIELDS, GROUPS, Field, Kind

__all__ = ["rules_schema"]

_Schema: TypeAlias = dict[str, object]

_YEAR = 366
_LONGEST_CONDITION = 16 * 1024
_LENGTH = "^[0-9]+(ms|s|m|h|d)$"
_WINDOW = "^[0-9]+[mhd]$"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_OFFSET = r"[+-]\s*((0[0-9]|1[0-3]):[0-5][0-9]|14:00)"
_HOURS = rf"^\s*{_CLOCK}\s*-\s*({_CLOCK}|24:00)\s*({_OFFSET}\s*)?$"
_DATE = "[0-9]{4}-(0?[1-9]|1[0-2])-(0?[1-9]|[12][0-9]|3[01])"
_MINUTES = "([01]?[0-9]|2[0-3]):[0-5]?[0-9]"
_SECONDS = r":[0-6]?[0-9](\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
_MOMENT = rf"^\s*{_DATE}([Tt ]{_MINUTES}({_SECONDS})?)?\s*$"
# ASCII that is neither a letter nor a digit, _ or -; which others are letters no pattern can tell
# that all readers of patterns know.
_NAME = r"^[^\x00-,./:-@\[-^`{-\x7f]{1,64}$"
_SYMBOL = r"^[^\s\x00-\x1f\x7f]{1,64}$"


def rules_schema() -> _Schema:
    """A JSON Schema (2020-12) of a whole file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rules of screener",
        "description": "What to be told of, a [[rule]] each; `screener rules check` tells more.",
        "type": "object",
        "properties": {
            "groups": {
                "description": GROUPS,
                "type": "object",
                "additionalProperties": _list_of_symbols(),
            },
            "rule": {
                "description": "A rule: what has to hold, and how it is told.",
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/$defs/rule"},
            },
        },
        "required": ["rule"],
        "additionalProperties": False,
        "$defs": {"rule": _rule(), "override": _override()},
    }


def _rule() -> _Schema:
    fields = [field for field in FIELDS if field.in_rule]
    override: _Schema = {
        "description": "What is otherwise for some symbols; the last that is for a symbol counts.",
        "type": "array",
        "maxItems": 256,
        "items": {"$ref": "#/$defs/override"},
    }
    required = [field.name for field in fields if field.required]
    return _table({**_properties(fields), "override": override}) | {"required": required}


def _override() -> _Schema:
    fields = [field for field in FIELDS if field.in_override]
    lists = ("symbols", "groups")
    some = [{"properties": {name: {"minItems": 1}}, "required": [name]} for name in lists]
    return _table(_properties(fields)) | {"anyOf": some}


def _table(properties: _Schema) -> _Schema:
    told_always = {"properties": {"trigger": {"const": "cooldown"}}, "required": ["trigger"]}
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        # What ends a rule, or tells it again, is of one that is told once.
        "if": told_always,
        "then": {"properties": {"clear_when": False, "repeat": False}},
    }


def _properties(fields: list[Field]) -> _Schema:
    return {field.name: _described(field) for field in fields}


def _described(field: Field) -> _Schema:
    example = tomllib.loads(f"value = {field.example}")["value"]
    if field.kind is Kind.MOMENT:
        example = str(example)
    default = {} if field.default is None else {"default": field.default}
    return {"description": field.about, **_shape(field), **default, "examples": [example]}


def _shape(field: Field) -> _Schema:
    match field.kind:
        case Kind.NAME:
            return {"type": "string", "pattern": _NAME}
        case Kind.TEXT:
            return {"type": "string"}
        case Kind.WINDOW:
            return {"type": "string", "pattern": _WINDOW, "maxLength": 5, "allOf": [_any_window()]}
        case Kind.CHOICE:
            return {"type": "string", "enum": list(field.choices)}
        case Kind.CONDITION:
            return {"type": "string", "minLength": 1, "maxLength": _LONGEST_CONDITION}
        case Kind.LENGTH:
            return _length(_YEAR)
        case Kind.DAY:
            return _length(1)
        case Kind.MOMENT:
            return {"type": "string", "pattern": _MOMENT}
        case Kind.HOURS:
            hours: _Schema = {"type": "string", "pattern": _HOURS}
            return {"anyOf": [hours, {"type": "array", "items": hours}]}
        case Kind.COUNT:
            return {"type": "integer", "minimum": 1, "maximum": 60}
        case Kind.FLAG:
            return {"type": "boolean"}
        case Kind.SYMBOLS:
            return _list_of_symbols()
        case Kind.GROUPS:
            return {"type": "array", "items": {"type": "string"}}


def _list_of_symbols() -> _Schema:
    return {"type": "array", "items": {"type": "string", "pattern": _SYMBOL}}


# -- patterns of numbers -------------------------------------------------------------------------


def _length(days: int) -> _Schema:
    """A length of at most so many days: how it is written, and apart from that how long."""
    units = {"d": days, "h": days * 24, "m": days * 1440, "s": days * 86_400}
    bound = _bounded(units | {"ms": days * 86_400_000})
    return {
        "type": "string",
        "pattern": _LENGTH,
        "allOf": [{"pattern": f"^(0+(ms|[smhd])|{bound})$"}],
    }


def _any_window() -> _Schema:
    return {"pattern": f"^{_bounded({'m': 1440, 'h': 24, 'd': 1})}$"}


def _bounded(units: dict[str, int]) -> str:
    """A pattern of the lengths from 1 to so many of each unit."""
    return f"0*({'|'.join(f'({_up_to(most)}){unit}' for unit, most in units.items())})"


def _up_to(most: int) -> str:
    """A pattern of the whole numbers from 1 to `most`, without zeros before them."""
    digits = str(most)
    shorter = [f"[1-9][0-9]{{0,{len(digits) - 2}}}"] if len(digits) > 1 else []
    return "|".join([*shorter, *_same_length(digits)])


def _same_length(digits: str) -> list[str]:
    """Patterns of the numbers with as many digits as this one that are at most it."""
    patterns = []
    for place, digit in enumerate(digits):
        least = 1 if place == 0 else 0
        if int(digit) > least:
            rest = len(digits) - place - 1
            smaller = f"[{least}-{int(digit) - 1}]"
            patterns.append(f"{digits[:place]}{smaller}" + (f"[0-9]{{{rest}}}" if rest else ""))
    return [*patterns, digits]
