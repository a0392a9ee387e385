"""What lies over the table for a while: the keys, and a symbol in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from screenerd.top.board import Board
from screenerd.top.client import ALERTS_OF_ONE, Client, ServiceError
from screenerd.top.columns import Cell
from screenerd.top.details import Line, details
from screenerd.top.grid import STYLES
from screenerd.top.rows import FeedAlert, Row
from screenerd.top.text import fit

KEYS = (
    ("↑ ↓ k j", "choose a row"),
    ("PgUp PgDn", "a page up, down"),
    ("g G", "the first row, the last"),
    ("← →", "scroll where the window is narrow"),
    ("Tab", "between the table and the alerts"),
    ("Enter", "a symbol in full: its metrics, its last alerts"),
    ("s", "sort by the next column"),
    ("S", "sort the other way around"),
    ("/", "show symbols that have these words in them; Esc: all"),
    ("r", "try again now, while there is no connection"),
    ("?", "these keys"),
    ("q", "quit"),
)

MOUSE = "A click on a head sorts by it, two on a row open it."


def styled(cells: Sequence[Cell], between: str = "") -> Text:
    """Cells as a line of text; nothing in them is markup."""
    made = Text()
    for place, cell in enumerate(cells):
        made.append(between if place else "")
        made.append(cell.text, STYLES[cell.style])
    return made


class Overlay(ModalScreen[None]):
    """Lies over the table until it is put away."""

    DEFAULT_CSS = """
    Overlay { align: center middle; }
    Overlay > VerticalScroll {
        width: 80; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; padding: 0 1; background: $surface;
        scrollbar-size: 1 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "dismiss", show=False),
    ]


class Help(Overlay):
    """The keys."""

    def compose(self) -> ComposeResult:
        """A line a key."""
        lines = [f"{fit(key, 10, left=True)}  {what}" for key, what in KEYS]
        with VerticalScroll():
            yield Static("\n".join([*lines, "", MOUSE]), markup=False)


class Details(Overlay):
    """A symbol in full, as new as the board."""

    def __init__(self, client: Client, symbol: str) -> None:
        """Takes the symbol, and whom to ask for its alerts."""
        super().__init__()
        self._client, self._symbol = client, symbol
        self._told: Sequence[FeedAlert] = ()
        self._note = "asking for its alerts"
        self._text = Static()

    @property
    def _board(self) -> Board:
        return self._client.board

    def compose(self) -> ComposeResult:
        """All of it."""
        with VerticalScroll():
            yield self._text

    def on_mount(self) -> None:
        """Shows what is known already, and asks for the alerts."""
        self.show()
        self.run_worker(self._ask())

    def show(self) -> None:
        """Draws it anew."""
        row = self._board.rows.get(self._symbol) or Row(self._symbol)
        lines: list[Line] = details(row, self._alerts(), self._note)
        self._text.update(Text("\n").join(styled(line) for line in lines))

    def _alerts(self) -> list[FeedAlert]:
        """Those that were asked for, and those that have come since."""
        known = {alert.id: alert for alert in self._told}
        known |= {one.id: one for one in self._board.alerts if one.symbol == self._symbol}
        newest = sorted(known.values(), key=lambda alert: alert.time, reverse=True)
        return newest[:ALERTS_OF_ONE]

    async def _ask(self) -> None:
        try:
            self._told = await self._client.alerts_of(self._symbol)
            self._note = ""
        except ServiceError as error:
            self._note = str(error)
        self.show()
