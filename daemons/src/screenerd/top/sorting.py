"""The order of the rows, and which of them are shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from screenerd.top.columns import SYMBOLS, Column
from screenerd.top.rows import Row

BY_KEY = {column.key: column for column in SYMBOLS}


@dataclass(frozen=True, slots=True)
class Sort:
    """By which column, and whether the greatest stands first."""

    key: str = "change_15m"
    descending: bool = True

    @property
    def column(self) -> Column[Row]:
        """The column itself."""
        return BY_KEY[self.key]

    @property
    def mark(self) -> str:
        """What stands at the column's head."""
        return "▼" if self.descending else "▲"

    def reversed(self) -> Sort:
        """The other way around."""
        return replace(self, descending=not self.descending)

    def next(self) -> Sort:
        """By the column at the right of this one."""
        at = SYMBOLS.index(self.column)
        return first_sort(SYMBOLS[(at + 1) % len(SYMBOLS)].key)

    def clicked(self, key: str) -> Sort:
        """After a click on a column: the other way around if it was sorted by already."""
        return self.reversed() if key == self.key else first_sort(key)


def first_sort(key: str) -> Sort:
    """By a column: numbers from the greatest on, names from A."""
    return Sort(key, descending=key != "symbol")


def ordered(rows: Iterable[Row], sort: Sort) -> list[Row]:
    """Rows in order: what is not ready stands last both ways, equals stand by name."""
    value = sort.column.value
    keyed = sorted(((value(row), row) for row in rows), key=lambda one: one[1].symbol)
    ready = [one for one in keyed if one[0] is not None]
    ready.sort(key=_value, reverse=sort.descending)
    return [row for _, row in ready] + [row for found, row in keyed if found is None]


def matching(rows: Iterable[Row], words: str) -> list[Row]:
    """The rows whose symbol has every one of these words in it, in capitals or not."""
    wanted = words.casefold().split()
    return [row for row in rows if all(word in row.symbol.casefold() for word in wanted)]


def _value(one: tuple[float | str | None, Row]) -> float | str:
    assert one[0] is not None  # noqa: S101 - what is not ready was left out
    return one[0]
