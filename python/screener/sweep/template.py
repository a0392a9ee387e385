"""Rules with named values left open, and the sets of values that are filled in."""

from __future__ import annotations

import difflib
import itertools
import math
import numbers
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from screener._core import RuleSet
from screener.errors import DataError, RuleError

__all__ = ["MOST_SETS", "Parameters", "Value", "fill_rules", "filled_rules", "sets_of", "text_of"]

Value: TypeAlias = float | str
Parameters: TypeAlias = Mapping[str, Any] | Iterable[Mapping[str, Any]]

MOST_SETS: Final = 10_000
_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WORD: Final = re.compile(r"[A-Za-z0-9_.+-]+")


def fill_rules(
    template: str | os.PathLike[str], values: Mapping[str, Any], *, floors: bool = False
) -> RuleSet:
    """The rules of a template with one set of values, such as a row of `sweep` names.

    Args:
        template: As in `sweep`.
        values: A number or a word for each name; others, such as the counts and measures of a row
            of `sweep`, are not allowed.
        floors: Whether the rules' floors are on.

    Returns:
        The rules, for `replay`, `Engine` and all others that take rules.

    Raises:
        DataError: A name has no value, a value has no place, or it is neither number nor word.
        RuleError: The text so filled makes no rules; line and column are those of this text.

    Example:
        >>> import screener
        >>> jump = '''
        ... [[rule]]
        ... name = "jump"
        ... timeframe = "5m"
        ... when = "change_5m >= {up}"
        ... '''
        >>> screener.fill_rules(jump, {"up": 1.5})["jump"].when
        'change_5m >= 1.5'
    """
    text = text_of(template)
    _check_names(_names(text), values)
    return RuleSet.parse(_filled(text, values), floors=floors)


def text_of(template: str | os.PathLike[str]) -> str:
    """The text of a template: itself, or that of the ``.toml`` file it names.

    Raises:
        DataError: There is no such file, or it is no text.
    """
    if isinstance(template, str) and not template.endswith(".toml"):
        return template
    try:
        return Path(template).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise DataError(reason=f"the template cannot be read: {error}", path=template) from error


def sets_of(text: str, parameters: Parameters) -> list[dict[str, Value]]:
    """The sets to try, each with the names of the template in the same order.

    Raises:
        DataError: A name is unknown or not given, there is no set, there are too many, or a value
            is neither number nor word.
    """
    names = _names(text)
    if isinstance(parameters, Mapping):
        _check_names(names, parameters)
        lists = {name: _values(name, given) for name, given in parameters.items()}
        if (count := math.prod(map(len, lists.values()))) > MOST_SETS:
            raise _too_many(str(count))
        return [dict(zip(lists, row, strict=True)) for row in itertools.product(*lists.values())]
    sets = []
    for values in itertools.islice(parameters, MOST_SETS + 1):
        if not isinstance(values, Mapping):
            raise DataError(
                reason=f"{values!r} is no set of values",
                remedy="give a mapping of names to lists, or mappings of names to values",
            )
        _check_names(names, values)
        sets.append({name: _plain(name, values[name]) for name in names})
    if len(sets) > MOST_SETS:
        raise _too_many(f"more than {MOST_SETS}")
    if not sets:
        raise DataError(reason="there is no set of values", remedy="give at least one")
    return sets


def filled_rules(text: str, sets: Sequence[Mapping[str, Value]], *, floors: bool) -> list[RuleSet]:
    """The rules of each set.

    Raises:
        RuleError: A set makes no rules: the first such one, and the reason tells which.
    """
    found = []
    for number, values in enumerate(sets):
        try:
            found.append(RuleSet.parse(_filled(text, values), floors=floors))
        except RuleError as error:
            told = ", ".join(f"{name}={value!r}" for name, value in values.items())
            raise RuleError(
                reason=f"{error.reason} (set {number}: {told})", rule=error.rule,
                field=error.field, position=error.position, line=error.line,
                column=error.column, suggestion=error.suggestion,
            ) from error  # fmt: skip
    return found


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(_PLACE.findall(text)))
    if not names:
        raise DataError(
            reason="the template leaves no value open",
            remedy='write a name in braces instead of a number: "change_5m >= {up}"',
        )
    return names


def _check_names(names: list[str], given: Mapping[str, object]) -> None:
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, 1) or names
            raise DataError(
                reason=f"the template has no place for parameter {name!r}",
                remedy=f"it names {', '.join(f'{{{known}}}' for known in near)}",
            )
    if lacking := [name for name in names if name not in given]:
        raise DataError(
            reason=f"the template names {{{lacking[0]}}}, which has no value",
            remedy=f"give parameter {lacking[0]!r}",
        )


def _values(name: str, given: object) -> list[Value]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise DataError(
            reason=f"parameter {name!r} has {given!r}, which is no list of values",
            remedy="give a list, of a single value too",
        )
    values = [_plain(name, value) for value in itertools.islice(given, MOST_SETS + 1)]
    if not values:
        raise DataError(reason=f"parameter {name!r} has no values", remedy="give at least one")
    return values


def _filled(text: str, values: Mapping[str, Any]) -> str:
    words = {name: str(_plain(name, value)) for name, value in values.items()}
    return _PLACE.sub(lambda found: words[found[1]], text)


def _plain(name: str, value: object) -> Value:
    """A number of any library as Python's own, whose text reads back to the same."""
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    raise DataError(
        reason=f"parameter {name!r} cannot be {value!r}",
        remedy="give finite numbers, or words of letters, digits and _.+-",
    )


def _too_many(count: str) -> DataError:
    return DataError(
        reason=f"{count} sets are too many: at most {MOST_SETS}",
        remedy="give fewer values, or choose sets instead of a full grid",
    )
