"""The exceptions of `screener`: one tree, every one with fields and not only text.

```
ScreenerError
├── CandleError              a candle that breaks SPEC section 1
├── RuleError                a rule that cannot be loaded
├── DataError                a file or a frame that cannot be used
│   ├── SourceError          the exchange or its archive does not answer
│   └── UnknownSymbolError   also a KeyError
└── StateError               a call that the engine's state forbids
```

All arguments are keywords; all survive `copy` and `pickle`, so they cross process borders.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import ClassVar

__all__ = [
    "CandleError",
    "DataError",
    "RuleError",
    "ScreenerError",
    "SourceError",
    "StateError",
    "UnknownSymbolError",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ScreenerError(Exception):
    """The base of everything `screener` raises on purpose.

    Attributes:
        reason: What was wrong, in a few words.
    """

    _fields: ClassVar[tuple[str, ...]] = ("reason",)
    reason: str

    def __init__(self, *, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """What was wrong and where, then what to do about it."""
        return "\n".join(line for line in (self._problem(), self._advice()) if line)

    def __repr__(self) -> str:
        """The call that makes this error, without the fields that are unknown."""
        known = ((name, getattr(self, name)) for name in self._fields)
        shown = ", ".join(f"{name}={value!r}" for name, value in known if value is not None)
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild without `__init__`: exceptions cannot pass keyword arguments through it."""
        return _rebuild, (type(self), self.args), dict(self.__dict__)

    def _problem(self) -> str:
        return self.reason

    def _advice(self) -> str | None:
        return None


class CandleError(ScreenerError):
    """A candle breaks SPEC section 1. Nothing was changed by the call that raised this.

    Attributes:
        reason: What was wrong, in a few words.
        row: Row of the frame, counted from 0 as in `frame[row]`.
        symbol: Symbol of the candle.
        open_time: Open time, milliseconds since the epoch, UTC.
        field: Name of the field at fault.
        value: What the field held.
    """

    _fields = ("reason", "row", "symbol", "open_time", "field", "value")

    def __init__(
        self,
        *,
        reason: str,
        row: int | None = None,
        symbol: str | None = None,
        open_time: int | None = None,
        field: str | None = None,
        value: float | str | None = None,
    ) -> None:
        """Keep the fields; those not given are unknown."""
        super().__init__(reason=reason)
        self.row = row
        self.symbol = symbol
        self.open_time = open_time
        self.field = field
        self.value = value

    def _problem(self) -> str:
        time = None if self.open_time is None else _utc(self.open_time)
        where = _join(_numbered("row", self.row), self.symbol, time)
        what = "" if self.field is None else f" ({self.field} = {self.value!r})"
        return f"invalid candle{where and f' at {where}'}: {self.reason}{what}"

    def _advice(self) -> str:
        return "nothing was changed: mend or leave out this candle and send the rest again"


class RuleError(ScreenerError):
    """A rule cannot be loaded.

    Attributes:
        reason: What was wrong, in a few words.
        rule: Name of the rule.
        field: Field of the rule at fault, such as `when` or `cooldown`.
        position: Offset in the text of the field, in characters from 0.
        line: Line, counted from 1.
        column: Column, counted from 1.
        suggestion: What to write instead: a name, or a sentence.
    """

    _fields = ("reason", "rule", "field", "position", "line", "column", "suggestion")

    def __init__(
        self,
        *,
        reason: str,
        rule: str | None = None,
        field: str | None = None,
        position: int | None = None,
        line: int | None = None,
        column: int | None = None,
        suggestion: str | None = None,
    ) -> None:
        """Keep the fields; those not given are unknown."""
        super().__init__(reason=reason)
        self.rule = rule
        self.field = field
        self.position = position
        self.line = line
        self.column = column
        self.suggestion = suggestion

    def _problem(self) -> str:
        rule = None if self.rule is None else f"rule {self.rule!r}"
        place = (_numbered("line", self.line), _numbered("column", self.column))
        if self.line is None and self.column is None:
            place = (_numbered("position", self.position), None)
        where = _join(rule, self.field, *place)
        return f"{where}: {self.reason}" if where else self.reason

    def _advice(self) -> str | None:
        return None if self.suggestion is None else _suggest(self.suggestion)


class DataError(ScreenerError):
    """A file or a frame cannot be used as it is.

    Attributes:
        reason: What was wrong, in a few words.
        path: The file, as it was named by the caller.
        column: The column at fault.
        row: Row of the data, counted from 0 as in `frame[row]`.
        line: Line of a text file, counted from 1 as in an editor.
        remedy: What to do about it.
    """

    _fields: ClassVar[tuple[str, ...]] = ("reason", "path", "column", "row", "line", "remedy")

    def __init__(
        self,
        *,
        reason: str,
        path: str | os.PathLike[str] | None = None,
        column: str | None = None,
        row: int | None = None,
        line: int | None = None,
        remedy: str | None = None,
    ) -> None:
        """Keep the fields; those not given are unknown."""
        super().__init__(reason=reason)
        self.path = None if path is None else os.fspath(path)
        self.column = column
        self.row = row
        self.line = line
        self.remedy = remedy

    def _problem(self) -> str:
        column = None if self.column is None else f"column {self.column}"
        where = _join(self.path, _numbered("line", self.line), _numbered("row", self.row), column)
        return f"{where}: {self.reason}" if where else self.reason

    def _advice(self) -> str | None:
        return self.remedy


class SourceError(DataError):
    """The exchange or its archive does not answer, or refuses to.

    Attributes:
        reason: What was wrong, in a few words.
        path: The address that was asked.
        status: The HTTP status, if there was an answer.
        code: The exchange's own number of the error, if it gave one.
        remedy: What to do about it.
    """

    _fields = ("reason", "path", "status", "code", "remedy")

    def __init__(
        self,
        *,
        reason: str,
        path: str | None = None,
        status: int | None = None,
        code: int | None = None,
        remedy: str | None = None,
    ) -> None:
        """Keep the fields; those not given are unknown."""
        super().__init__(reason=reason, path=path, remedy=remedy)
        self.status = status
        self.code = code


class UnknownSymbolError(DataError, KeyError):
    """The engine does not follow this symbol.

    Attributes:
        symbol: What was asked for.
        suggestion: The nearest symbol that is followed.
    """

    _fields = ("symbol", "suggestion")

    def __init__(self, *, symbol: str, suggestion: str | None = None) -> None:
        """Word the reason and the remedy from the two names."""
        near = "" if suggestion is None else f"{_suggest(suggestion)} "
        super().__init__(
            reason=f"unknown symbol {symbol!r}",
            remedy=f"{near}engine.symbols lists the symbols that are followed",
        )
        self.symbol = symbol
        self.suggestion = suggestion


class StateError(ScreenerError):
    """The state of the engine, or of a saved one, forbids the call.

    Attributes:
        reason: What was wrong, in a few words.
        remedy: What to do about it.
    """

    _fields = ("reason", "remedy")

    def __init__(self, *, reason: str, remedy: str | None = None) -> None:
        """Keep the fields."""
        super().__init__(reason=reason)
        self.remedy = remedy

    def _advice(self) -> str | None:
        return self.remedy


def _rebuild(cls: type[ScreenerError], args: tuple[object, ...]) -> ScreenerError:
    return cls.__new__(cls, *args)


def _join(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _numbered(noun: str, number: int | None) -> str | None:
    return None if number is None else f"{noun} {number}"


def _suggest(suggestion: str) -> str:
    """A bare name becomes a question, a sentence stays as it is."""
    is_name = not any(character.isspace() for character in suggestion)
    return f"did you mean {suggestion!r}?" if is_name else suggestion


def _utc(milliseconds: int) -> str:
    """ISO 8601, or the bare number where no calendar reaches."""
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return f"open_time {milliseconds}"
    return moment.isoformat().replace("+00:00", "Z")
