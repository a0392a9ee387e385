"""Text for people: numbers, times, and tables for a terminal of any width or a pipe of none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from screener.text import said, short

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from rich.status import Status

__all__ = [
    "console",
    "dump",
    "iso",
    "minute",
    "percent",
    "print_lines",
    "print_table",
    "said",
    "say",
    "short",
    "status",
    "whole",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GAP = "  "
# Notes stand beside their rows where so many columns are left for them, else below.
_LEAST_NOTE = 60


def console(*, stderr: bool = False) -> Console:
    """A console that prints what it is given: names of symbols and files are no markup."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def say(text: str) -> None:
    """A line to stderr, beside the result."""
    typer.echo(text, err=True)


def status(text: str) -> Status:
    """Shows what is being done while it is being done, on a terminal."""
    return console(stderr=True).status(text)


def dump(document: object) -> None:
    """One JSON document to stdout."""
    typer.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))


# -- numbers and times ---------------------------------------------------------------------------


def minute(milliseconds: int, *, seconds: bool = False) -> str:
    """A time in UTC as people read it."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if seconds else f"{moment:%Y-%m-%d %H:%M}"


def iso(milliseconds: int) -> str:
    """A time in UTC as programs read it."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat().replace("+00:00", "Z")


def whole(number: float) -> str:
    """A number with every digit it has and without an exponent."""
    text = f"{Decimal(repr(number)):f}"
    return text.removesuffix(".0")


def percent(value: float | None) -> str:
    """A change: signed, two decimals."""
    return "-" if value is None else f"{value:+.2f}%"


# -- tables --------------------------------------------------------------------------------------


def print_lines(out: Console, lines: Sequence[Text]) -> None:
    """Lines as they are, however long; plain text in one piece where nobody sees colours."""
    if out.is_terminal:
        for line in lines:
            out.print(line, soft_wrap=True)
    elif lines:
        typer.echo("\n".join(line.plain.rstrip() for line in lines), file=out.file)


def print_table(
    out: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[Text]],
    *,
    right: Collection[int] = (),
    notes: Sequence[Sequence[str]] | None = None,
) -> None:
    """Rows in columns, each with its note at the end or, where there is no room, below it.

    Args:
        out: Where to. A pipe is as wide as it takes: a row stays a line.
        headings: One a column, and one more for the notes.
        rows: The cells.
        right: Columns that are aligned to the right.
        notes: For each row the parts of a long text; a part stays in one line.
    """
    titles = [Text(heading, style="bold") for heading in headings]
    lines = _aligned([titles[: len(rows[0])], *rows], right)
    widest = max(line.cell_len for line in lines)
    if out.is_terminal and widest > out.width:
        lines = [Text(_GAP).join(cell for cell in row if cell) for row in rows]
        print_lines(out, [*_stacked(out, lines, notes)])
    elif notes is None:
        print_lines(out, lines)
    elif out.is_terminal and out.width - widest < _LEAST_NOTE:
        print_lines(out, [lines[0], *_stacked(out, lines[1:], notes)])
    else:
        lines[0] = Text(_GAP).join((lines[0], titles[-1]))
        print_lines(out, [lines[0], *_beside(out, lines[1:], notes)])


def _aligned(rows: Sequence[Sequence[Text]], right: Collection[int]) -> list[Text]:
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.copy() for cell in row]
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            cell.align("right" if number in right else "left", width)
        lines.append(Text(_GAP).join(cells))
    return lines


def _beside(out: Console, lines: Sequence[Text], notes: Sequence[Sequence[str]]) -> Iterator[Text]:
    for line, parts in zip(lines, notes, strict=True):
        indent = line.cell_len + len(_GAP)
        room = out.width - indent if out.is_terminal else None
        first, *others = _packed(parts, room)
        yield Text(_GAP).join((line, first))
        yield from (_indented(other, indent) for other in others)


def _stacked(
    out: Console, lines: Sequence[Text], notes: Sequence[Sequence[str]] | None
) -> Iterator[Text]:
    for number, line in enumerate(lines):
        if cell_len(line.plain.rstrip()) <= out.width:
            yield line
        else:
            first, *others = line.wrap(out, max(out.width - 2, 1))
            yield first
            yield from (_indented(other, 2) for other in others)
        if notes is not None:
            yield from (_indented(part, 4) for part in _packed(notes[number], out.width - 4))


def _packed(parts: Sequence[str], room: int | None) -> list[Text]:
    """As many parts a line as there is room for."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if room is not None and lines[-1] and cell_len(longer) > room - 1:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] = longer
    return [Text(line, style="dim") for line in lines]


def _indented(line: Text, indent: int) -> Text:
    return Text(" " * indent) + line
