"""Rows and columns on the screen, of which only the cells that have changed are drawn again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screenerd.top.columns import GAP, Cell, Column, widths
from screenerd.top.text import fit

T = TypeVar("T")

STYLES = {
    "": Style(),
    "up-1": Style(color="#5f9f6f"),
    "up-2": Style(color="#4fd07a"),
    "up-3": Style(color="#6dff9d", bold=True),
    "down-1": Style(color="#b06a6a"),
    "down-2": Style(color="#f07070"),
    "down-3": Style(color="#ff8a8a", bold=True),
    "hot": Style(color="#f0c674", bold=True),
    "quiet": Style(dim=True),
    "head": Style(bold=True, underline=True),
    "sorted": Style(color="#8abeff", bold=True, underline=True),
}
"""What each name of a style looks like; the sign or the arrow beside it says the same."""

CURSOR = Style(bgcolor="#26415f")
CURSOR_AWAY = Style(bgcolor="#2a2f38")
"""The chosen row of a grid that has the keyboard, and of one that has not."""

MARKER = "›"


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A cell with the gap before it, as it stands on the screen."""

    text: str
    style: str
    chosen: bool = False


class Grid(ScrollView, Generic[T], can_focus=True):
    """Rows under a head, one of them chosen.

    At the top the choice stays at the top, whatever comes there; elsewhere it stays with its row.
    """

    DEFAULT_CSS = """
    Grid {
        overflow-x: auto;
        overflow-y: scroll;
        scrollbar-size: 1 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "first", show=False),
        Binding("end,G", "last", show=False),
        Binding("enter", "open", show=False),
    ]

    class Said(Message):
        """Something a grid has to say."""

        def __init__(self, grid: Grid[Any]) -> None:
            """Takes the grid."""
            super().__init__()
            self.grid = grid

        @property
        def control(self) -> Grid[Any]:
            """The grid, by whose id a message is told from another's."""
            return self.grid

    class Chosen(Said):
        """Another row was chosen."""

    class Opened(Said):
        """The chosen row is to be shown in full."""

    class HeadClicked(Said):
        """The head of a column was clicked."""

        def __init__(self, grid: Grid[Any], key: str) -> None:
            """Takes the grid and the column's name."""
            super().__init__(grid)
            self.key = key

    def __init__(
        self, columns: Sequence[Column[T]], key: Callable[[T], str], *, identity: str
    ) -> None:
        """Starts without rows.

        Args:
            columns: from left to right.
            key: the name of a row, by which it is found again.
            identity: the widget's own name.
        """
        super().__init__(id=identity)
        self._columns, self._key = tuple(columns), key
        self._rows: Sequence[T] = ()
        self._widths: list[int] = []
        self._sorted, self._mark, self._empty = "", "", ""
        self._cursor, self._chosen = 0, ""
        self._on_screen: dict[int, tuple[_Drawn, ...]] = {}

    @property
    def chosen(self) -> T | None:
        """The row that is chosen."""
        return self._rows[self._cursor] if self._rows else None

    def show(self, rows: Sequence[T], *, column: str = "", mark: str = "", empty: str = "") -> None:
        """Takes the rows in their order, and draws what is new of them.

        Args:
            rows: all of them.
            column: the one they are sorted by.
            mark: which way they are.
            empty: what to say where there are none.
        """
        self._rows, self._sorted, self._mark, self._empty = rows, column, mark, empty
        self._cursor = self._find()
        self._measure()
        self._draw_changes()

    def render_line(self, y: int) -> Strip:
        """A line of the screen: the head, or a row."""
        cells = self._cells(y)
        self._on_screen[y] = cells
        base = self.rich_style
        strip = Strip([Segment(one.text, self._style(one, base)) for one in cells])
        left = self.scroll_offset.x
        return strip.crop_extend(left, left + self.scrollable_size.width, base)

    def action_move(self, lines: int) -> None:
        """Chooses a row so many lines further down."""
        self._choose(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        """Chooses a row so many pages further down."""
        self._choose(self._cursor + pages * max(1, self.scrollable_size.height - 2))

    def action_first(self) -> None:
        """Chooses the first row."""
        self._choose(0)

    def action_last(self) -> None:
        """Chooses the last row."""
        self._choose(len(self._rows) - 1)

    def action_open(self) -> None:
        """Asks for the chosen row in full."""
        if self._rows:
            self.post_message(self.Opened(self))

    def on_click(self, event: events.Click) -> None:
        """Sorts by a column, chooses a row, or opens it when it is clicked twice."""
        if event.y == 0:
            key = self._column_at(event.x + self.scroll_offset.x)
            self.post_message(self.HeadClicked(self, key))
            return
        line = event.y - 1 + self.scroll_offset.y
        if line < len(self._rows):
            self._choose(line)
            if event.chain == 2:
                self.action_open()

    def on_resize(self) -> None:
        """Shares the new width among the columns."""
        self._measure()
        self.refresh()

    def _choose(self, line: int) -> None:
        """Chooses a row, and scrolls to it if need be."""
        if not self._rows:
            return
        self._cursor = min(max(line, 0), len(self._rows) - 1)
        self._chosen = self._key(self._rows[self._cursor]) if self._cursor else ""
        room = max(1, self.scrollable_size.height - 1)
        top = min(max(self.scroll_offset.y, self._cursor - room + 1), self._cursor)
        self.scroll_to(y=top, animate=False)
        self._draw_changes()
        self.post_message(self.Chosen(self))

    def _find(self) -> int:
        """Where the chosen row is now."""
        if not self._chosen:
            return 0
        for line, row in enumerate(self._rows):
            if self._key(row) == self._chosen:
                return line
        return max(0, min(self._cursor, len(self._rows) - 1))

    def _measure(self) -> None:
        made = widths(self._columns, self.scrollable_size.width)
        if made != self._widths:
            self._widths = made
            self.refresh()
        self.virtual_size = Size(sum(made) + GAP * len(made), len(self._rows) + 1)

    def _draw_changes(self) -> None:
        """Marks the cells that stand otherwise on the screen than they should."""
        changed: list[Region] = []
        for y, before in self._on_screen.items():
            if y < self.scrollable_size.height:
                changed += self._changes(y, before, self._cells(y))
        if changed:
            self.refresh(*changed)

    def _changes(
        self, y: int, before: tuple[_Drawn, ...], after: tuple[_Drawn, ...]
    ) -> list[Region]:
        """The regions of a line that differ."""
        if not len(before) == len(after) == len(self._widths):
            return [] if before == after else [Region(0, y, self.scrollable_size.width, 1)]
        found, x = [], -self.scroll_offset.x
        for was, now, width in zip(before, after, self._widths, strict=True):
            if was != now:
                found.append(Region(x, y, width + GAP, 1))
            x += width + GAP
        return found

    def _cells(self, y: int) -> tuple[_Drawn, ...]:
        """What should stand in a line of the screen."""
        if y == 0:
            return self._head()
        line = y - 1 + self.scroll_offset.y
        if line < len(self._rows):
            return self._line(line)
        told = self._empty if line == 0 else ""
        return (_Drawn(f" {told}", "quiet"),)

    def _head(self) -> tuple[_Drawn, ...]:
        return tuple(
            _Drawn(_head(column, width, self._mark), "sorted")
            if column.key == self._sorted
            else _Drawn(_head(column, width), "head")
            for column, width in zip(self._columns, self._widths, strict=False)
        )

    def _line(self, line: int) -> tuple[_Drawn, ...]:
        row, chosen = self._rows[line], line == self._cursor
        made = []
        for place, (column, width) in enumerate(zip(self._columns, self._widths, strict=False)):
            cell: Cell = column.cell(row, width)
            gap = MARKER if chosen and not place else " " * GAP
            made.append(_Drawn(gap + fit(cell.text, width, left=column.left), cell.style, chosen))
        return tuple(made)

    def _style(self, cell: _Drawn, base: Style) -> Style:
        style = base + STYLES[cell.style]
        if not cell.chosen:
            return style
        return style + (CURSOR if self.has_focus else CURSOR_AWAY)

    def _column_at(self, x: int) -> str:
        end = 0
        for column, width in zip(self._columns, self._widths, strict=False):
            end += width + GAP
            if x < end:
                return column.key
        return self._columns[-1].key


def _head(column: Column[T], width: int, mark: str = "") -> str:
    """A title with the sort's mark in the gap before it."""
    if column.left:
        return (mark or " " * GAP) + fit(column.title, width, left=True)
    return fit(mark + column.title, width + GAP)
