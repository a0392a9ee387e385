"""TOML as it is written: its statements with their comments, which readers of TOML throw away.

The text has to be valid TOML; a reader has told so before. tomlkit keeps comments too, but moves
them where tables of one kind do not stand together, as `[groups]` between two rules.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass

from screener.errors import ScreenerError

__all__ = ["Scan", "Statement", "key_text", "quoted", "scan"]

_BLANKS = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Statement:
    """A header or a key with its value, and the comments at it.

    Attributes:
        above: Lines of comments before it since the last statement; "" is one blank line or more.
        path: The names of the header, or of the key.
        value: The value as it is written; `None` for a header.
        inside: Comments within the value.
        comment: The comment after it on its last line.
    """

    above: tuple[str, ...]
    path: tuple[str, ...]
    value: str | None
    inside: tuple[str, ...]
    comment: str | None


@dataclass(frozen=True, slots=True)
class Scan:
    """The statements of a text, and the comments (as `Statement.above`) after the last one."""

    statements: list[Statement]
    end: tuple[str, ...]

    def comments(self) -> list[str]:
        """Every comment, in no order that means anything."""
        found = [line for line in self.end if line]
        for statement in self.statements:
            found += [line for line in statement.above if line]
            found += [*statement.inside, *([statement.comment] if statement.comment else [])]
        return sorted(found)


def scan(text: str) -> Scan:
    """The statements of a TOML text; its lines end with a line feed and nothing before it.

    Raises:
        ScreenerError: A key is written as only readers of TOML 1.1 know.
    """
    statements: list[Statement] = []
    above: list[str] = []
    at = 0
    while (at := _skip_blanks(text, at)) < len(text):
        if text[at] == "\n":
            above += [""] if above[-1:] != [""] else []
            at += 1
        elif text[at] == "#":
            comment, at = _line(text, at)
            above.append(comment)
        else:
            statement, at = _statement(text, at, tuple(above))
            statements.append(statement)
            above = []
    return Scan(statements, tuple(above))


def _statement(text: str, at: int, above: tuple[str, ...]) -> tuple[Statement, int]:
    inside: tuple[str, ...] = ()
    value = None
    if text[at] == "[":
        end, _ = _end(text, at, "\n#")
        path = _path(text[at:end].strip().strip("[]"))
    else:
        equals, _ = _end(text, at, "=")
        path = _path(text[at:equals])
        end, inside = _end(text, equals + 1, "\n#")
        value = text[equals + 1 : end].strip()
    comment = None
    if text[end : end + 1] == "#":
        comment, end = _line(text, end)
    else:
        end += 1
    return Statement(above, path, value, inside, comment), end


def _end(text: str, at: int, ends: str) -> tuple[int, tuple[str, ...]]:
    """Where one of `ends` stands outside of strings and brackets, and the comments before it."""
    depth, comments = 0, []
    while at < len(text):
        character = text[at]
        if depth == 0 and character in ends:
            break
        if found := _STRING.match(text, at):
            at = found.end()
            continue
        if character == "#":
            comment, at = _line(text, at)
            comments.append(comment)
            continue
        depth += (character in "[{") - (character in "]}")
        at += 1
    return at, tuple(comments)


def _line(text: str, at: int) -> tuple[str, int]:
    """The rest of the line, and where the next one begins."""
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return text[at:end].rstrip(), end + 1


def _skip_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _path(key: str) -> tuple[str, ...]:
    names: list[str] = []
    try:
        inner: object = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError as error:
        reason = f"the key {key.strip()} cannot be read: write it without escapes"
        raise ScreenerError(reason=reason) from error
    while isinstance(inner, dict):
        ((name, inner),) = inner.items()
        names.append(name)
    return tuple(names)


# -- writing -------------------------------------------------------------------------------------


def key_text(name: str) -> str:
    """The name as a key."""
    return name if _BARE_KEY.fullmatch(name) else quoted(name)


def quoted(text: str) -> str:
    """The text as a string on one line, without escapes where that can be."""
    if ('"' in text or "\\" in text) and "'" not in text and not _CONTROL.search(text):
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
