"""What a run of fetching tells: its steps, and in the end what it has done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from screener.history.precedence import Merged

__all__ = ["Event", "Fetched", "Note", "OnEvent"]


@dataclass(frozen=True, slots=True)
class Event:
    """A step of progress.

    Attributes:
        symbol: Whose minutes.
        period: The month, day or first minute of the piece; the month for what was held already.
        minutes: How many of the wanted minutes are settled by it: stored, or found to be absent.
        fetched: Whether it was fetched, and not held already.
    """

    symbol: str
    period: str
    minutes: int
    fetched: bool


OnEvent: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Note:
    """A file or an answer that is not as it should be; its minutes came from elsewhere, if at all.

    Attributes:
        symbol: Whose.
        period: Its month, day or first minute.
        what: `missing`, or what is wrong with it.
    """

    symbol: str
    period: str
    what: str


@dataclass(slots=True)
class Fetched:
    """What a run has done.

    Attributes:
        wanted: Minutes that were asked for, those before a listing left out.
        held: How many were stored before.
        absent: How many the source has not.
        lacking: How many could be had nowhere, without the source having said that it has them not.
        merged: What became of the rows.
        misplaced: Rows that were left out: not at a minute, or in a file of another time.
        files: Archive files that were used.
        notes: Files that were not there, or not as they should be.
        by_rest: Whether REST could be asked.
    """

    wanted: int = 0
    held: int = 0
    absent: int = 0
    lacking: int = 0
    merged: Merged = field(default_factory=Merged)
    misplaced: int = 0
    files: int = 0
    notes: list[Note] = field(default_factory=list)
    by_rest: bool = True

    @property
    def complete(self) -> bool:
        """Whether every minute is stored that there is."""
        return self.lacking == 0
