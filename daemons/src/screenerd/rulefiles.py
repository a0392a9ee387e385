"""The rules of a preset and of files beside it as one set; what is wrong is told with its place."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from screener import Engine, RuleError, RuleSet
from screenerd.switches import with_shadow

LARGEST = 1 << 20
"""Bytes of the largest file of rules; thousands of rules have room in it."""


class RulesError(Exception):
    """Rules that cannot be in force: which file, what is wrong, and where in it."""

    def __init__(
        self, file: str, told: str, *, line: int | None = None, column: int | None = None
    ) -> None:
        """Takes what is told; lines and columns count from 1."""
        place = {"line": line, "column": column}
        where = [file, *(f"{name} {n}" for name, n in place.items() if n is not None)]
        super().__init__(f"{', '.join(where)}: {told}")
        self.file, self.told, self.line, self.column = file, told, line, column


class MissingError(RulesError):
    """There is no such file now."""


@dataclass(frozen=True, slots=True)
class RuleSources:
    """Where rules come from.

    Attributes:
        name: a preset's name, or a TOML file.
        files: TOML files beside it.
        floors: whether floors are on.
        shadow: names of rules that are shadow ones, whatever the files say.
    """

    name: str
    files: tuple[Path, ...] = ()
    floors: bool = True
    shadow: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that is read."""
        alone = Path(self.name)
        return (alone, *self.files) if alone.suffix.lower() == ".toml" else self.files


def load(sources: RuleSources) -> RuleSet:
    """The rules of all sources, as the files are now.

    Raises:
        RulesError: they cannot be in force.
    """
    return assemble(sources, {path: read(path) for path in sources.paths})


def read(path: Path) -> bytes:
    """What a file holds.

    Raises:
        RulesError: it is no file, too large, or cannot be read.
        MissingError: it is not there.
    """
    try:
        # A named pipe would keep us waiting for whoever writes it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise RulesError(str(path), "this is no file")
            content = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise MissingError(str(path), "there is no such file") from error
    except IsADirectoryError as error:
        raise RulesError(str(path), "this is a folder") from error
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise RulesError(str(path), f"it cannot be read: {told}") from error
    if len(content) > LARGEST:
        told = f"it has more than {LARGEST >> 20} MiB: is this a file of rules?"
        raise RulesError(str(path), told)
    return content


def assemble(sources: RuleSources, contents: Mapping[Path, bytes]) -> RuleSet:
    """The rules of all sources as one set, those of the preset first.

    Args:
        sources: where they come from.
        contents: what each of the files holds.

    Raises:
        RulesError: a text is wrong, or two of them have a rule of the same name.
    """
    texts = {str(path): _decoded(path, contents[path]) for path in sources.paths}
    parts: dict[str, RuleSet] = {}
    if sources.name not in texts:
        parts[sources.name] = _preset(sources)
    for file, text in texts.items():
        part = _parsed(file, text, floors=sources.floors)
        for other, before in parts.items():
            for name in part.names:
                if name in before:
                    raise _twice(file, text, name, other)
        parts[file] = part
    together = " and ".join(parts)
    text = "\n".join(part.to_toml() for part in parts.values())
    rules = with_shadow(_parsed(together, text, floors=sources.floors), sources.shadow)
    try:
        Engine(rules=rules)
    except RuleError as error:
        raise _refused(together, error) from error
    return rules


def _preset(sources: RuleSources) -> RuleSet:
    try:
        return RuleSet.load(sources.name, floors=sources.floors)
    except RuleError as error:
        raise _refused("rules.name", error) from error


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        raise RulesError(str(path), "this is no UTF-8 text", **_place(before)) from error


def _parsed(file: str, text: str, *, floors: bool) -> RuleSet:
    try:
        return RuleSet.parse(text, floors=floors)
    except RuleError as error:
        raise _refused(file, error) from error


def _refused(file: str, error: RuleError) -> RulesError:
    """The same with the file's name; the place is told once."""
    parts = [None if error.rule is None else f"rule {error.rule!r}", error.field]
    about = " ".join(part for part in parts if part)
    told = f"{about}: {error.reason}" if about else error.reason
    _, _, advice = str(error).partition("\n")
    told = "; ".join(part for part in (told, advice) if part).replace("\n", " ")
    return RulesError(file, told, line=error.line, column=error.column)


def _twice(file: str, text: str, name: str, other: str) -> RulesError:
    told = f"rule {name!r} is in {other} already: give this one another name"
    found = re.search(
        rf"^[ \t]*name[ \t]*=[ \t]*(?=[\"']{re.escape(name)}[\"'])", text, re.MULTILINE
    )
    place = {} if found is None else _place(text[: found.end()])
    return RulesError(file, told, **place)


def _place(before: str) -> dict[str, int]:
    """Line and column of what follows a text."""
    return {"line": before.count("\n") + 1, "column": len(before) - before.rfind("\n")}
