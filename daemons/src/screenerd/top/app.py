"""The terminal: the table, the alerts, and how it goes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Collection
from typing import ClassVar

import aiohttp
from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static
from textual.worker import Worker, WorkerCancelled, WorkerFailed

from screenerd.top.board import Board
from screenerd.top.client import Client, Service
from screenerd.top.columns import ALERTS, SYMBOLS, Cell, told_reason
from screenerd.top.grid import Grid
from screenerd.top.protocol import address, checked_token
from screenerd.top.rows import FeedAlert, Row
from screenerd.top.screens import Details, Help, styled
from screenerd.top.sorting import Sort, matching, ordered
from screenerd.top.status import banner, status

FRAME_SECONDS = 0.05
"""What comes within so short a time is drawn together."""

HINT = "/ filter  s sort  S reverse  Tab alerts  Enter details  ? keys  q quit"


class Top(App[None]):
    """Shows a board, and what the keys ask for."""

    TITLE = "screener"
    ENABLE_COMMAND_PALETTE = False

    CSS = """
    #status, #hint { height: 1; }
    #status { background: $panel; }
    #banner { height: auto; max-height: 3; color: $warning; display: none; }
    #symbols { height: 2fr; min-height: 4; }
    #alerts { height: 1fr; min-height: 4; }
    #reason { height: 2; color: $text-muted; padding: 0 1; }
    #filter { height: 1; display: none; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", show=False),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("slash", "filter", show=False),
        Binding("escape", "unfilter", show=False),
        Binding("s", "sort_next", show=False),
        Binding("S", "sort_reversed", show=False),
        Binding("r", "hurry", show=False),
        Binding("question_mark", "help", show=False),
    ]

    def __init__(self, client: Client) -> None:
        """Takes what keeps the board new; it runs as long as this does."""
        super().__init__()
        self._client, self._board = client, client.board
        self._following: Worker[None] | None = None
        self._sort, self._words, self._due = Sort(), "", False
        self._status = Static(id="status")
        self._banner = Static(id="banner", markup=False)
        self._symbols: Grid[Row] = Grid(SYMBOLS, lambda row: row.symbol, identity="symbols")
        self._alerts: Grid[FeedAlert] = Grid(ALERTS, lambda alert: alert.id, identity="alerts")
        self._reason = Static(id="reason", markup=False)
        self._filter = Input(id="filter", placeholder="a part of the name", compact=True)
        self._hint = Static(HINT, id="hint", markup=False)
        self._told: dict[Static, str | Text] = {}

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield self._status
        yield self._banner
        yield self._symbols
        yield self._alerts
        yield self._reason
        yield self._filter
        yield self._hint

    def on_mount(self) -> None:
        """Begins to follow the service."""
        self._symbols.focus()
        self._draw()
        self.set_interval(1.0, self._draw_status)
        self._following = self.run_worker(self._client.run(self._touch))

    async def on_unmount(self) -> None:
        """Ends the conversation in good order."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(WorkerCancelled, WorkerFailed):
                await self._following.wait()

    def action_filter(self) -> None:
        """Opens the filter box."""
        self._filter.display = True
        self._hint.display = False
        self._filter.focus()

    def action_unfilter(self) -> None:
        """Shows all symbols again."""
        self._filter.value = self._words = ""
        self._close_filter()

    def action_sort_next(self) -> None:
        """Sorts by the next column."""
        self._sort_by(self._sort.next())

    def action_sort_reversed(self) -> None:
        """Sorts the other way around."""
        self._sort_by(self._sort.reversed())

    def action_hurry(self) -> None:
        """Tries to connect now."""
        self._client.hurry()

    def action_help(self) -> None:
        """Shows the keys."""
        self.push_screen(Help())

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._words = event.value
        self._draw_symbols()
        self._draw_status()

    @on(Input.Submitted, "#filter")
    def _close_filter(self) -> None:
        """Back to the table; what was typed stays in force."""
        self._filter.display = bool(self._words)
        self._hint.display = not self._words
        self._symbols.focus()

    @on(Grid.HeadClicked, "#symbols")
    def _sort_clicked(self, event: Grid.HeadClicked) -> None:
        self._sort_by(self._sort.clicked(event.key))

    @on(Grid.Chosen, "#alerts")
    def _explain(self) -> None:
        alert = self._alerts.chosen
        self._tell(self._reason, "" if alert is None else told_reason(alert))

    @on(Grid.Opened, "#symbols")
    def _open_symbol(self) -> None:
        if (row := self._symbols.chosen) is not None:
            self.push_screen(Details(self._client, row.symbol))

    @on(Grid.Opened, "#alerts")
    def _open_alert(self) -> None:
        if (alert := self._alerts.chosen) is not None:
            self.push_screen(Details(self._client, alert.symbol))

    def _touch(self) -> None:
        """The board is another: it is drawn soon, with what else comes until then."""
        if not self._due:
            self._due = True
            self.set_timer(FRAME_SECONDS, self._draw)

    def _draw(self) -> None:
        """Draws what is new, in one frame."""
        self._due = False
        if not self.is_running:
            return
        with self.batch_update():
            self._draw_symbols()
            self._alerts.show(self._board.alerts, empty="no alerts yet")
            self._explain()
            self._draw_status()
            for screen in self.screen_stack:
                if isinstance(screen, Details):
                    screen.show()

    def _draw_symbols(self) -> None:
        rows = ordered(matching(self._board.rows.values(), self._words), self._sort)
        empty = "no symbol has this in its name" if self._words else "no symbols yet"
        self._symbols.show(rows, column=self._sort.key, mark=self._sort.mark, empty=empty)

    def _draw_status(self) -> None:
        cells = status(self._board)
        if len(shown := self._board.rows) and self._words:
            count = len(matching(shown.values(), self._words))
            cells.append(Cell(f"{count} of {len(shown)} shown", "hot"))
        self._tell(self._status, styled(cells, "  "))
        told = banner(self._board, asyncio.get_running_loop().time())
        self._banner.display = bool(told)
        self._tell(self._banner, told)

    def _sort_by(self, sort: Sort) -> None:
        self._sort = sort
        self._draw_symbols()

    def _tell(self, place: Static, told: str | Text) -> None:
        """Writes a text, unless it stands there already."""
        if self._told.get(place) != told:
            self._told[place] = told
            place.update(told)


def show(url: str, token: str | None = None, symbols: Collection[str] = ()) -> int:
    """Shows a service on this terminal until it is told to stop.

    Args:
        url: where the service is.
        token: who calls, if it asks.
        symbols: which to show; none: all of them.

    Returns:
        The exit code: not 0 if it ended by a fault of its own, which has then been printed.

    Raises:
        ValueError: the address or the token is none, or there is no terminal to draw on.
    """
    service = Service(address(url), None if token is None else checked_token(token))
    if not all(one is not None and one.isatty() for one in (sys.__stdin__, sys.__stderr__)):
        raise ValueError(
            "there is no terminal to draw on: run it in one; programs ask the service itself "
            f"({service.url}/openapi.json tells how)"
        )
    return asyncio.run(_show(service, symbols))


async def _show(service: Service, symbols: Collection[str]) -> int:
    async with aiohttp.ClientSession() as http:
        top = Top(Client(http, service, Board(symbols)))
        await top.run_async()
        return top.return_code or 0
