"""Numbers in few characters, and rows of text in columns, as they are printed anywhere. Pure."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

__all__ = ["aligned", "many", "said", "short", "width"]

# From which size on a number is told in which unit.
_UNITS = ((1e12, 1e12, "T"), (1e9, 1e9, "B"), (1e6, 1e6, "M"), (1e4, 1e3, "k"), (0.0, 1.0, ""))


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


def short(value: float | None, digits: int = 3) -> str:
    """A number in few characters: 1.62, 0.000123, 36.3M."""
    if value is None or not math.isfinite(value):
        return "-" if value is None else str(value)
    size = abs(value)
    if 0 < size < 1e-6:
        return f"{value:.{digits - 1}e}"
    _, unit, suffix = next(known for known in _UNITS if size >= known[0])
    whole_digits = 1 if size == 0 else math.floor(math.log10(size / unit)) + 1
    text = f"{value / unit:.{max(0, digits - whole_digits)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text + suffix


def said(left: float | None, right: float | None) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart."""
    for digits in range(3, 17):
        texts = short(left, digits), short(right, digits)
        if left == right or texts[0] != texts[1]:
            return texts
    return str(left), str(right)
