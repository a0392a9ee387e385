"""Rows of text in columns, for what is printed without a terminal's help. Pure."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

__all__ = ["aligned", "many", "width"]


def width(text: str) -> int:
    """Columns of a terminal: a Chinese character takes two."""
    return len(text) + sum(unicodedata.east_asian_width(one) in "WF" for one in text)


def aligned(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
) -> Iterator[str]:
    """The headings and the rows, a line each.

    Args:
        head: The headings.
        rows: Their cells.
        right: Headings of columns that are aligned to the right.
    """
    table = [head, *rows]
    widths = [max(map(width, column)) for column in zip(*table, strict=True)]
    for cells in table:
        padded = []
        for name, cell, widest in zip(head, cells, widths, strict=True):
            space = " " * (widest - width(cell))
            padded.append(space + cell if name in right else cell + space)
        yield "  ".join(padded).rstrip()


def many(count: int, noun: str) -> str:
    """A count with its noun.

    Example:
        >>> many(1, "alert"), many(1200, "alert")
        ('1 alert', '1,200 alerts')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
