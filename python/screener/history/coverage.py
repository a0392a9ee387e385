"""What is held and what is wrong, by symbol and day: the numbers behind the picture of the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from screener.history.kinds import KINDS
from screener.history.times import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from screener.history.report import HistoryReport, SymbolReport

__all__ = ["Cell", "Grid", "Lane", "grid"]

_MOST_CELLS: Final = 400
_MOST_LANES: Final = 300
_HOLES = ("missing", "exchange_hole", "absent")
_MINUTES_A_DAY = DAY_MS // MINUTE_MS


@dataclass(slots=True)
class Cell:
    """What is wrong in one cell of the picture: a symbol's day, or its days where one is several.

    Attributes:
        day: When it begins, ms.
        expected: Minutes that the symbol should have in it.
        counts: Minutes at fault by kind.
    """

    day: int
    expected: int
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Minutes that lack and are not confirmed to be absent."""
        return self.counts.get("missing", 0) + self.counts.get("exchange_hole", 0)

    @property
    def absent(self) -> int:
        """Minutes that the source has not."""
        return self.counts.get("absent", 0)

    @property
    def worst(self) -> str | None:
        """The gravest severity of the rows that are there."""
        found = {KINDS[kind].severity for kind in self.counts if kind not in _HOLES}
        return next((name for name in ("error", "warning", "notice") if name in found), None)


@dataclass(frozen=True, slots=True)
class Lane:
    """A symbol in the picture: where it begins and ends (ms), and its cells with faults."""

    report: SymbolReport
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The picture in numbers.

    Attributes:
        start: Where it begins, ms; a day begins there.
        end: Where it ends, ms.
        days: Days of a cell: 1, or more where the history is longer than the picture is wide.
        lanes: The symbols, those with the most to see first.
        hidden: Symbols there was no room for; fewer is wrong with them.
        everywhere: Cells in which most symbols lack minutes.
    """

    start: int
    end: int
    days: int
    lanes: tuple[Lane, ...]
    hidden: int
    everywhere: tuple[Cell, ...]


def grid(report: HistoryReport) -> Grid | None:
    """The picture of a report; None where no symbol has a minute."""
    shown = [entry for entry in report.symbols if entry.end - entry.start >= MINUTE_MS]
    if not shown:
        return None
    start = min(entry.start for entry in shown) // DAY_MS * DAY_MS
    end = -(-max(entry.end for entry in shown) // DAY_MS) * DAY_MS
    days = -(-(end - start) // DAY_MS // _MOST_CELLS)
    ordered = sorted(shown, key=_gravity)
    lanes = tuple(Lane(entry, _cells(entry, start, days)) for entry in ordered[:_MOST_LANES])
    of_exchange = _sums({"exchange_hole": report.everywhere}, start, days)
    everywhere = tuple(
        Cell(day, days * _MINUTES_A_DAY, counts) for day, counts in sorted(of_exchange.items())
    )
    return Grid(start, end, days, lanes, max(0, len(ordered) - _MOST_LANES), everywhere)


def _gravity(entry: SymbolReport) -> tuple[int, int, int]:
    lacking = entry.missing - entry.counts.get("absent", 0)
    return (-entry.faults("error"), -lacking, -entry.faults("warning"))


def _cells(entry: SymbolReport, start: int, days: int) -> tuple[Cell, ...]:
    length = days * DAY_MS
    sums = _sums(entry.runs, start, days)
    return tuple(
        Cell(day, _minutes_in(day, day + length, entry), sums[day])
        for day in sorted(sums)
        if day + length > entry.start and day < entry.end
    )


def _minutes_in(begin: int, end: int, entry: SymbolReport) -> int:
    return max(0, min(end, entry.end) - max(begin, entry.start)) // MINUTE_MS


def _sums(runs: object, start: int, days: int) -> dict[int, dict[str, int]]:
    """Minutes at fault by cell and kind."""
    sums: dict[int, dict[str, int]] = {}
    for kind, of_kind in dict(runs).items():  # type: ignore[call-overload]
        for day, minutes in _by_cell(of_kind, start, days * DAY_MS):
            counts = sums.setdefault(day, {})
            counts[kind] = counts.get(kind, 0) + minutes
    return sums


def _by_cell(runs: pl.DataFrame, start: int, length: int) -> Iterator[tuple[int, int]]:
    """The runs, cut where a cell ends: (when the cell begins, how many minutes)."""
    for first, minutes in runs.iter_rows():
        at, end = first, first + minutes * MINUTE_MS
        while at < end:
            cell = start + (at - start) // length * length
            until = min(end, cell + length)
            yield cell, (until - at) // MINUTE_MS
            at = until


def ticks(grid_: Grid) -> Sequence[int]:
    """Days that the axis names: at most a dozen, evenly spread."""
    days = (grid_.end - grid_.start) // DAY_MS
    every = next(
        step for step in (1, 2, 7, 14, 30, 61, 91, 182, 365, 730, 3650) if days / step <= 12
    )
    return range(grid_.start, grid_.end, every * DAY_MS)
