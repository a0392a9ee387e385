"""The terminal, driven by keys and clicks against the real service; what is read is the screen."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import polars as pl
import pytest
from ports import free_port
from served import Served, serving
from textual.geometry import Region
from textual.pilot import Pilot

from screenerd.backoff import Backoff
from screenerd.model import Metrics
from screenerd.top.app import Top
from screenerd.top.board import Board
from screenerd.top.client import Client, Service
from screenerd.top.grid import Grid
from screenerd.top.rows import MetricsTold, read_alert

pytestmark = pytest.mark.asyncio

SMALL = (80, 24)


@dataclass
class Shown:
    """The app on a terminal that is none."""

    app: Top
    board: Board
    pilot: Pilot[None]

    @property
    def screen(self) -> list[str]:
        """What stands on the terminal: what was not drawn again is as it was."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.screen)

    @property
    def symbols(self) -> list[str]:
        """The first column of the table."""
        head = next(n for n, line in enumerate(self.screen) if " Price " in line)
        end = next(n for n, line in enumerate(self.screen) if "UTC" in line)
        found = [line[1:13].strip() for line in self.screen[head + 1 : end]]
        return [symbol for symbol in found if symbol]

    async def press(self, *keys: str) -> None:
        """Presses keys, one after another."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, holds: Callable[[], object], seconds: float = 20) -> None:
        """Waits until something holds."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await self.pilot.pause(0.02)
        except TimeoutError:
            raise AssertionError(self.text) from None

    async def until_told(self, told: str) -> None:
        """Waits until the screen says something."""
        await self.until(lambda: told in self.text)


@contextlib.asynccontextmanager
async def showing(
    url: str, token: str | None = None, *, size: tuple[int, int] = SMALL, wait: float = 0.1
) -> AsyncIterator[Shown]:
    """The app, following a service."""
    board = Board()
    async with aiohttp.ClientSession() as http:
        backoff = Backoff(Random(1), first=wait, longest=wait)
        app = Top(Client(http, Service(url, token), board, backoff))
        async with app.run_test(size=size) as pilot:
            yield Shown(app, board, pilot)


@contextlib.asynccontextmanager
async def still(count: int, size: tuple[int, int] = SMALL) -> AsyncIterator[Shown]:
    """The app with so many symbols and nobody who tells of more."""
    async with showing("http://127.0.0.1:9", wait=3600, size=size) as shown:
        await shown.until(lambda: shown.board.connection.retry_at)
        shown.board.follow([f"S{number:03}" for number in range(count)])
        for number in range(count):
            burst(shown.board, f"S{number:03}", 0, float(number))
        await draw(shown)
        yield shown


def burst(board: Board, symbol: str, minute: int, change: float, **more: float) -> None:
    """Metrics of a symbol."""
    told = {"change_pct": change, "volume_ratio": 1.5, "quote_volume": 1e6, "rsi_14": 50.0} | more
    frames = dict.fromkeys(("5m", "15m", "1h", "4h", "8h", "1d"), told)
    board.take_metrics(MetricsTold(symbol, minute * 60_000, 1.25, frames))


async def draw(shown: Shown) -> None:
    """What the client's word leads to, and its end."""
    shown.app._touch()
    await shown.until(lambda: not shown.app._due)
    await shown.pilot.pause()


async def publish_as(served: Served, *names: str) -> None:
    """Puts the metrics of symbols of these names onto the bus."""
    frame = served.engine.snapshot().head(1)
    for name in names:
        renamed = frame.with_columns(pl.lit(name).alias("symbol"))
        await served.bus.publish(Metrics("binance", renamed))


async def test_the_table_fills_and_the_status_says_how_it_goes(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served, showing(served.serve.address) as shown:
        await shown.until_told("● live")
        await shown.until_told("BTCUSDT")
        assert "no alerts yet" in shown.text
        await served.publish_metrics()
        await shown.until_told("+0.45")
        assert shown.symbols == ["BTCUSDT", "ETHUSDT", "币安人生USDT"]
        told = shown.screen[0]
        assert "ok" in told
        assert "behind" in told
        assert "3/3 warm" in told
        assert "latency –" in told
        assert all(len(line) <= 80 for line in shown.screen)
        assert "? keys  q quit" in shown.screen[-1]
        row = next(line for line in shown.screen if "BTCUSDT" in line)
        assert set(row) & set("▁▂▃▅▆▇█"), "the last hour is drawn"


async def test_an_alert_appears_with_its_reason(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served, showing(served.serve.address) as shown:
        await shown.until_told("● live")
        await served.publish()
        await shown.until_told("▲ Pioneer Bull")
        line = next(line for line in shown.screen if "▲" in line)
        assert "BTCUSDT" in line
        assert "100.5" in line
        assert "+2.00" in line
        assert "change_5m ≥ 1 (2)" in shown.text
        await served.publish(rule="pioneer_bear", symbol="ETHUSDT")
        await shown.until_told("▼ Pioneer Bear")
        assert "change_5m ≤ −1 (−2)" in shown.text, "at the top, the newest is explained"
        await shown.press("tab", "down")
        assert "change_5m ≥ 1 (2)" in shown.text
        await served.publish(rule="pioneer_bear", symbol="ETHUSDT")
        await shown.until(lambda: shown.text.count("▼ Pioneer Bear") == 2)
        assert "change_5m ≥ 1 (2)" in shown.text, "the one that was chosen stays chosen"


async def test_names_appear_as_they_are_and_obey_nothing(tmp_path: Path) -> None:
    hostile = ("[bold]X[/]", "[/]", "[@click=app.quit]Q[/]", "\x1b[2JZ", "$x\n")
    async with (
        serving(tmp_path / "s.db") as served,
        showing(served.serve.address, size=(120, 40)) as shown,
    ):
        await shown.until_told("● live")
        await publish_as(served, *hostile)
        await shown.until(lambda: len(shown.symbols) == 3 + len(hostile))
        for told in ("[bold]X[/]", "[@click=app.", "?[2JZ", "$x?"):
            assert told in shown.text
        await served.publish(symbol="[bold]X[/]", title="[blink]t[/]")
        await shown.until(lambda: shown.text.count("[bold]X[/]") == 2)
        await shown.press("tab", "enter")
        await shown.until(lambda: type(shown.app.screen).__name__ == "Details")
        await shown.until(lambda: shown.text.count("[blink]t[/]") == 2)
        assert "│ [bold]X[/]  " in shown.text
        assert "\x1b" not in shown.text


async def test_the_keys_sort_by_every_column() -> None:
    async with still(5) as shown:
        assert "▼15m" in shown.text
        assert shown.symbols == ["S004", "S003", "S002", "S001", "S000"]
        await shown.press("S")
        assert "▲15m" in shown.text
        assert shown.symbols == ["S000", "S001", "S002", "S003", "S004"]
        await shown.press("s")
        assert "▼1h" in shown.text
        assert shown.symbols[0] == "S004"
        heads = set()
        for _ in range(12):
            await shown.press("s")
            heads.add(shown.app._sort.key)
        assert len(heads) == 12
        assert "▼1h" in shown.text, "all the way around"


async def test_a_click_on_a_head_sorts() -> None:
    async with still(5) as shown:
        await shown.pilot.click("#symbols", offset=(3, 0))
        await shown.pilot.pause()
        assert "▲Symbol" in shown.text
        assert shown.symbols == ["S000", "S001", "S002", "S003", "S004"]
        await shown.pilot.click("#symbols", offset=(3, 0))
        await shown.pilot.pause()
        assert "▼Symbol" in shown.text
        await shown.pilot.click("#alerts", offset=(3, 0))
        await shown.pilot.pause()
        assert "▼Symbol" in shown.text, "the feed has its own order"


async def test_the_filter_shows_what_matches_and_is_left_again() -> None:
    async with still(30) as shown:
        await shown.press("slash", "s", "0", "0")
        assert len(shown.symbols) == 10
        assert "10 of 30 shown" in shown.screen[0]
        await shown.press("q")
        assert "no symbol has this in its name" in shown.text, "letters are letters in the box"
        await shown.press("backspace", "7", "enter")
        assert shown.symbols == ["S007"]
        assert "007" in shown.screen[-1] or "s007" in shown.screen[-1], "it is seen to be filtered"
        await shown.press("enter")
        assert "S007" in shown.text, "the keys are the table's again"
        await shown.press("escape", "escape")
        assert len(shown.symbols) > 1
        assert "q quit" in shown.screen[-1]


async def test_a_filter_is_no_expression_that_can_fail() -> None:
    async with still(3) as shown:
        for text in ("[", "(", "\\", "[/]", "*"):
            await shown.press("slash")
            shown.app._filter.value = text
            await shown.pilot.pause()
            assert shown.symbols == ["no symbol ha"]
            await shown.press("escape")
            assert len(shown.symbols) == 3


async def test_the_choice_moves_and_stays_with_its_row() -> None:
    async with still(40) as shown:
        assert "›S039" in shown.text
        await shown.press("down", "j", "j", "k")
        assert "›S037" in shown.text
        burst(shown.board, "S037", 1, -5.0)
        await draw(shown)
        assert "›" not in shown.text, "the view does not jump after it"
        assert shown.app._symbols.chosen is not None
        assert shown.app._symbols.chosen.symbol == "S037"
        await shown.press("end")
        assert "›S037" in shown.text, "scrolled to: it is the last now"
        await shown.press("home")
        assert "›S039" in shown.text
        burst(shown.board, "S001", 1, 99.0)
        await draw(shown)
        assert "›S001" in shown.text, "at the top the choice stays at the top"


async def test_pages_end_where_the_rows_end() -> None:
    async with still(40) as shown:
        for key, last in (("pagedown", "S000"), ("pageup", "S039")):
            await shown.press(*[key] * 8)
            assert f"›{last}" in shown.text
        await shown.press("G")
        assert "›S000" in shown.text
        await shown.press("slash", "3", "9", "enter")
        assert shown.symbols == ["S039"], "the view does not stay below the rows"


async def test_a_symbol_in_full(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served:
        await served.publish_metrics()
        for _ in range(3):
            await served.publish(symbol="ETHUSDT")
        async with showing(served.serve.address, size=(80, 50)) as shown:
            await shown.until_told("+0.45")
            await shown.press("down", "enter")
            await shown.until(lambda: shown.text.count("Pioneer Bull") >= 3)
            for told in ("ETHUSDT", "change_pct", "rsi_14", "fib_s3", "change_5m ≥ 1 (2)"):
                assert told in shown.text
            count = shown.text.count("Pioneer Bear")
            await served.publish(symbol="ETHUSDT", rule="pioneer_bear")
            await shown.until(lambda: shown.text.count("Pioneer Bear") > count)
            await shown.press("escape")
            assert "change_pct" not in shown.text
            assert "›ETHUSDT" in shown.text


async def test_a_double_click_opens_a_symbol() -> None:
    async with still(3) as shown:
        await shown.pilot.click("#symbols", offset=(3, 2))
        await shown.pilot.pause()
        assert "›S001" in shown.text
        await shown.pilot.click("#symbols", offset=(3, 2), times=2)
        await shown.until_told("nothing answers")
        assert "change_pct" in shown.text
        await shown.pilot.press("q")
        await shown.until(lambda: "change_pct" not in shown.text)
        await shown.pilot.click("#symbols", offset=(3, 7))
        await shown.pilot.pause()
        assert "›S001" in shown.text, "there is no row"


async def test_the_keys_are_told() -> None:
    async with still(3) as shown:
        await shown.press("question_mark")
        for told in ("sort by the next column", "symbols that have these words", "quit"):
            assert told in shown.text
        await shown.press("s", "question_mark")
        assert "▼15m" in shown.text, "keys are for what lies on top"
        assert "sort by the next column" not in shown.text


@pytest.mark.parametrize(
    "keys", [["q"], ["ctrl+c"], ["question_mark", "ctrl+c"], ["slash", "ctrl+c"]]
)
async def test_it_quits_and_leaves_nobody_connected(tmp_path: Path, keys: list[str]) -> None:
    async with serving(tmp_path / "s.db") as served:
        async with showing(served.serve.address) as shown:
            await shown.until_told("● live")
            assert len(served.serve.hub.clients) == 1
            await shown.pilot.press(*keys)
            assert shown.app._exit
        async with asyncio.timeout(10):
            while served.serve.hub.clients:
                await asyncio.sleep(0.01)


async def test_without_a_service_it_says_what_to_start(tmp_path: Path) -> None:
    port = free_port()
    async with showing(f"http://127.0.0.1:{port}", wait=3600) as shown:
        await shown.until_told("`screenerd up`")
        assert f"http://127.0.0.1:{port}" in shown.text
        assert "○ connecting" in shown.text
        assert "next try in" in shown.text
        async with serving(tmp_path / "s.db", port=port):
            await shown.press("r")
            await shown.until_told("● live")
            await shown.until(lambda: "screenerd up" not in shown.text)


async def test_it_reconnects_when_the_service_restarts(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served:
        port = served.port
        stack = contextlib.AsyncExitStack()
        shown = await stack.enter_async_context(showing(served.serve.address))
        await shown.until_told("● live")
        await served.publish_metrics()
        await shown.until_told("+0.45")
    async with stack:
        await shown.until_told("○ reconnecting")
        assert "BTCUSDT" in shown.text, "what was known stays to be seen"
        async with serving(tmp_path / "s.db", port=port) as served:
            await shown.until_told("● live")
            await served.publish(symbol="ETHUSDT")
            await shown.until_told("▲ Pioneer Bull")


async def test_a_token_that_is_missing_is_asked_for(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as first:
        first.keys.create("k", frozenset({"read"}), 1_700_000_000_000)
    # A key makes the next service ask for one.
    async with serving(tmp_path / "s.db") as served, showing(served.serve.address) as shown:
        await shown.until_told("asks for a token")
        assert "screenerd keys create NAME --scope" in shown.text


async def test_troubles_are_told_and_go() -> None:
    async with still(3) as shown:
        shown.board.live()
        await draw(shown)
        before = shown.symbols
        shown.board.lost("it is gone", 0.0)
        await draw(shown)
        assert "it is gone" in shown.text
        shown.board.live()
        await draw(shown)
        assert "it is gone" not in shown.text
        assert shown.symbols == before


async def test_only_what_changed_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with still(500) as shown:
        drawn: list[Region] = []
        refresh = Grid.refresh

        def spy(self: Grid[Any], *regions: Region, **more: Any) -> Any:
            drawn.extend(regions or [Region(0, 0, 999, 999)])
            return refresh(self, *regions, **more)

        monkeypatch.setattr(Grid, "refresh", spy)
        await draw(shown)
        assert drawn == [], "nothing has changed"
        burst(shown.board, "S498", 1, 498.0, rsi_14=51.0)
        await draw(shown)
        assert len(drawn) == 2, "the index and the line of the hour"
        assert {(one.y, one.height) for one in drawn} == {(2, 1)}
        drawn.clear()
        burst(shown.board, "S100", 1, 100.0, rsi_14=51.0)
        await draw(shown)
        assert drawn == [], "it cannot be seen"


@pytest.mark.parametrize("size", [SMALL, (40, 12), (200, 60), (80, 10)])
async def test_the_screen_is_what_would_be_drawn_from_nothing(size: tuple[int, int]) -> None:
    async with still(60, size) as shown:
        random = Random(5)
        for minute in range(1, 12):
            for _ in range(random.choice([1, 5, 60])):
                symbol = f"S{random.randrange(60):03}"
                burst(shown.board, symbol, minute, random.uniform(-9, 9))
            await shown.press(random.choice(["down", "end", "home", "s", "S", "tab", "right"]))
            if minute == 6:
                shown.board.follow([f"S{number:03}" for number in range(0, 60, 3)])
            if minute == 8:
                await shown.pilot.resize_terminal(size[0] - 5, size[1])
            await draw(shown)
            before = without_seconds(shown.screen)
            shown.app.screen.refresh()
            for widget in shown.app.screen.walk_children():
                widget.refresh()
            await shown.pilot.pause()
            assert without_seconds(shown.screen) == before


def without_seconds(lines: Sequence[str]) -> list[str]:
    """What is shown below the title, but for the seconds until the next try, which go on."""
    return [re.sub(r"next try in \d+ s", "next try", line) for line in lines[2:]]


async def test_it_works_in_any_size() -> None:
    async with still(20) as shown:
        for size in ((80, 24), (20, 8), (1, 1), (300, 100), (80, 24)):
            await shown.pilot.resize_terminal(*size)
            await draw(shown)
            assert len(shown.screen) == size[1]
        assert len(shown.symbols) > 5
        assert "Hour" in shown.text


async def test_many_alerts_scroll() -> None:
    async with still(3) as shown:
        for number in range(50):
            told = read_alert(
                {
                    "id": str(number),
                    "symbol": f"A{number:02}",
                    "triggered_at": f"2026-01-01T00:{number:02}:00Z",
                    "metadata": {"title": "T", "direction": "down", "reason": []},
                }
            )
            assert told is not None
            shown.board.take_alert(replace(told, price=1.0))
        await draw(shown)
        assert "A49" in shown.text
        await shown.press("tab", "end")
        assert "A00" in shown.text
        assert "A49" not in shown.text
