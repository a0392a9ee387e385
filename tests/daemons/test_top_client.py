"""The client against the real service: what it fetches, hears, resumes and says when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from ports import free_port
from proxy import proxied
from pydantic import SecretStr
from served import SYMBOLS, an_alert, serving

from screenerd.backoff import Backoff
from screenerd.model import Prices, SystemStatus, Trouble
from screenerd.serve.settings import JwtConfig
from screenerd.top.board import Board
from screenerd.top.client import Client, Service, ServiceError

pytestmark = pytest.mark.asyncio

NOW_MS = 1_700_000_000_000
SECRET = SecretStr("not that of anybody, and long enough")
JWT = JwtConfig(secret=SECRET, issuer="https://x.example")


@dataclass
class Followed:
    """A client at work, and how often it said that something is new."""

    client: Client
    board: Board
    backoff: Backoff
    touched: list[str] = field(default_factory=list)

    async def until(self, holds: Callable[[Board], object], seconds: float = 20) -> None:
        """Waits until something holds of the board."""
        await until(lambda: holds(self.board), seconds)

    async def until_live(self) -> None:
        """Waits until the service answers."""
        await self.until(lambda board: board.connection.state == "live")

    async def until_trouble(self, told: str) -> None:
        """Waits until something is wrong."""
        await self.until(lambda board: told in board.connection.trouble)


async def until(holds: Callable[[], object], seconds: float = 20) -> None:
    """Waits until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def following(
    url: str, token: str | None = None, *, symbols: tuple[str, ...] = (), wait: float = 0.1
) -> AsyncIterator[Followed]:
    """A client of a service, until the block ends."""
    board = Board(symbols)
    async with aiohttp.ClientSession() as http:
        backoff = Backoff(Random(1), first=wait, longest=wait)
        client = Client(http, Service(url, token), board, backoff)
        states: list[str] = []
        task = asyncio.create_task(client.run(lambda: states.append(board.connection.state)))
        try:
            yield Followed(client, board, backoff, states)
        finally:
            assert not task.done(), "it never ends by itself"
            task.cancel()
            await asyncio.wait({task})


async def test_everything_that_is_known_is_there(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served:
        await served.publish_metrics()
        published = await served.publish()
        async with following(served.serve.address) as one:
            await one.until_live()
            assert list(one.board.rows) == sorted(SYMBOLS)
            row = one.board.rows["BTCUSDT"]
            assert row.price is not None
            assert len(row.closes) == 60
            assert row.closes[-1] == row.price
            assert row.reading("15m", "change_pct") is not None
            assert [alert.id for alert in one.board.alerts] == [published.id]
            assert one.board.alerts[0].reason
            assert one.board.health is not None
            assert (one.board.health.state, one.board.health.warm) == ("ok", 3)
            assert one.touched.count("live") >= 1


async def test_what_is_new_arrives(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served, following(served.serve.address) as one:
        await one.until_live()
        assert one.board.rows["BTCUSDT"].price is None, "nothing was published yet"
        touched = len(one.touched)
        await served.publish_metrics()
        await one.until(lambda board: board.rows["BTCUSDT"].price)
        closes = one.board.rows["BTCUSDT"].closes
        moved = {"BTCUSDT": 123.25, "ELSEUSDT": 1.0}
        await served.bus.publish(Prices("binance", served.now, moved))
        await one.until(lambda board: board.rows["BTCUSDT"].price == 123.25)
        assert one.board.rows["BTCUSDT"].closes == closes, "only a close is a close"
        assert "ELSEUSDT" not in one.board.rows
        alert = await served.publish(symbol="ETHUSDT")
        await one.until(lambda board: [told.id for told in board.alerts] == [alert.id])
        assert len(one.touched) > touched


async def test_only_some_symbols(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served:
        await served.publish_metrics()
        await served.publish(symbol="BTCUSDT")
        async with following(served.serve.address, symbols=("ETHUSDT", "nope")) as one:
            await one.until_live()
            assert list(one.board.rows) == ["ETHUSDT"]
            assert one.board.unknown == ("nope",)
            await served.publish(symbol="BTCUSDT")
            alert = await served.publish(symbol="ETHUSDT")
            await one.until(lambda board: [told.id for told in board.alerts] == [alert.id])


async def test_health_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screenerd.top.client.HEALTH_SECONDS", 0.05)
    async with serving(tmp_path / "s.db") as served, following(served.serve.address) as one:
        await one.until_live()
        trouble = Trouble("store", "the disk is full", "make room")
        served.system = replace(
            served.system, health=replace(served.system.health, state="down", troubles=(trouble,))
        )
        await one.until(lambda board: board.health and board.health.state == "down")
        assert one.board.health is not None
        assert one.board.health.troubles == ("store: the disk is full - make room",)


async def test_a_symbol_that_has_left_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screenerd.top.client.REFRESH_SECONDS", 0.05)
    async with serving(tmp_path / "s.db") as served, following(served.serve.address) as one:
        await one.until_live()
        served.symbols = served.symbols[1:]
        await one.until(lambda board: len(board.rows) == 2)


async def test_without_a_token_it_says_how_to_make_one(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db", jwt=JWT) as served:
        async with following(served.serve.address) as one:
            await one.until_trouble("the service asks for a token")
            assert "`screenerd keys create NAME --scope read`" in one.board.connection.trouble
            assert one.board.connection.state == "connecting"
        secret = "scr_00000000_" + "a" * 43
        async with following(served.serve.address, secret) as one:
            await one.until_trouble("the service refuses the token")
            assert "screenerd keys create" in one.board.connection.trouble
            assert secret not in one.board.connection.trouble
            assert secret not in repr(one.client.service)


async def test_with_a_key_it_is_let_in(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db", jwt=JWT) as served:
        _, secret = served.keys.create("k", frozenset({"read"}), NOW_MS)
        async with following(served.serve.address, secret) as one:
            await one.until_live()
            alert = await served.publish()
            await one.until(lambda board: board.alerts)
            assert [told.id for told in await one.client.alerts_of("BTCUSDT")] == [alert.id]


async def test_a_token_does_no_harm_where_none_is_asked_for(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "s.db") as served,
        following(served.serve.address, "anything") as one,
    ):
        await one.until_live()


async def test_after_a_break_nothing_was_missed(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "s.db") as served,
        proxied(served.serve.address) as proxy,
        following(f"http://{proxy.address}", wait=0.3) as one,
    ):
        await one.until_live()
        before = await served.publish()
        await one.until(lambda board: len(board.alerts) == 1)
        proxy.refusing = True
        proxy.cut()
        await one.until(lambda board: board.connection.state == "reconnecting")
        # On the bus alone: it can come by the websocket's memory only.
        missed = an_alert(served.now + 90_000, symbol="ETHUSDT")
        await served.bus.publish(missed)
        proxy.refusing = False
        await one.until_live()
        await one.until(lambda board: len(board.alerts) == 2)
        assert [told.id for told in one.board.alerts] == [missed.id, before.id]


async def test_it_comes_back_when_the_service_was_restarted(tmp_path: Path) -> None:
    port = free_port()
    async with following(f"http://127.0.0.1:{port}") as one:
        async with serving(tmp_path / "one.db", port=port) as served:
            await served.publish_metrics()
            await served.publish()
            await one.until_live()
            await one.until(lambda board: len(board.alerts) == 1)
        await one.until(lambda board: board.connection.state == "reconnecting")
        assert one.board.alerts, "what was known stays to be seen"
        async with serving(tmp_path / "two.db", port=port) as served:
            alert = await served.publish(symbol="ETHUSDT")
            await one.until_live()
            await one.until(lambda board: [told.id for told in board.alerts] == [alert.id])
            # What the last run told is not this one's.
            assert one.board.rows["BTCUSDT"].price is None


async def test_alerts_are_fetched_though_the_first_try_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, failed = Client._get, asyncio.Event()

    async def failing(self: Client, path: str, **query: str) -> Any:
        if path == "/api/alerts" and not failed.is_set():
            failed.set()
            raise ServiceError("not now")
        return await get(self, path, **query)

    monkeypatch.setattr(Client, "_get", failing)
    async with serving(tmp_path / "s.db") as served:
        alert = await served.publish()
        async with following(served.serve.address) as one:
            await one.until_trouble("not now")
            await one.until_live()
            assert [told.id for told in one.board.alerts] == [alert.id]


async def test_without_a_service_it_says_what_to_start_and_keeps_trying(tmp_path: Path) -> None:
    port = free_port()
    async with following(f"http://127.0.0.1:{port}") as one:
        await one.until_trouble(f"nothing answers at http://127.0.0.1:{port}")
        assert "`screenerd up`" in one.board.connection.trouble
        tries = one.touched.count("connecting")
        await until(lambda: one.touched.count("connecting") > tries + 4)
        assert one.backoff.failures > 2
        async with serving(tmp_path / "s.db", port=port):
            await one.until_live()
            assert one.backoff.failures == 0


async def test_whoever_is_in_a_hurry_need_not_wait(tmp_path: Path) -> None:
    port = free_port()
    async with following(f"http://127.0.0.1:{port}", wait=3600) as one:
        await one.until_trouble("nothing answers")
        async with serving(tmp_path / "s.db", port=port):
            one.client.hurry()
            await one.until_live()


async def test_a_service_that_falls_silent_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screenerd.top.client.HEARTBEAT_SECONDS", 0.4)
    monkeypatch.setattr("screenerd.top.client.ANSWER_SECONDS", 0.4)
    async with (
        serving(tmp_path / "s.db") as served,
        proxied(served.serve.address) as proxy,
        following(f"http://{proxy.address}") as one,
    ):
        await one.until_live()
        proxy.hole = True
        await one.until(lambda board: board.connection.state == "reconnecting")
        await one.until_trouble("does not answer in time")
        with pytest.raises(ServiceError, match="does not answer in time"):
            await one.client.alerts_of("BTCUSDT")
        proxy.hole = False
        proxy.cut()
        await one.until_live()


async def page(_request: web.Request) -> web.Response:
    return web.Response(text="<html>", content_type="text/html")


async def nonsense(request: web.Request) -> web.StreamResponse:
    """Health, and then nothing of the kind."""
    if request.path == "/api/health":
        return web.json_response({"details": {"state": "ok"}})
    if request.path != "/ws/alerts":
        return web.json_response(5)
    stream = web.WebSocketResponse()
    await stream.prepare(request)
    await stream.receive()
    await stream.send_str('{"type": "subscribed"}')
    await stream.send_str('{"type": "alert", "offset": "x", "data": [1]}')
    await stream.send_str("rubbish")
    await stream.receive()
    return stream


async def redirect(_request: web.Request) -> web.Response:
    raise web.HTTPMovedPermanently("http://127.0.0.1:9/stolen")


@contextlib.asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[Any]]) -> AsyncIterator[str]:
    """A server of a test's own; its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("answer", "told"),
    [(page, "is not the screener's"), (nonsense, "is not the screener's"), (redirect, "301")],
)
async def test_something_else_at_the_address_is_told_of(
    answer: Callable[[web.Request], Awaitable[Any]], told: str
) -> None:
    async with answering(answer) as url, following(url, "key") as one:
        await one.until_trouble(told)


async def test_a_ping_is_answered() -> None:
    heard: list[Any] = []

    async def pinging(request: web.Request) -> web.StreamResponse:
        if request.path != "/ws/alerts":
            return web.json_response({"details": {"state": "ok"}})
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        heard.append(await stream.receive_json())
        await stream.send_json({"type": "ping"})
        heard.append(await stream.receive_json())
        return stream

    async with answering(pinging) as url, following(url):
        await until(lambda: len(heard) > 1)
    assert heard[0]["type"] == "subscribe"
    assert heard[1] == {"type": "pong"}


async def test_it_ends_at_once_and_leaves_nothing_open(tmp_path: Path) -> None:
    def starting(system: SystemStatus) -> SystemStatus:
        return replace(system, health=replace(system.health, state="starting"))

    async with serving(tmp_path / "s.db", change=starting) as served:
        async with following(served.serve.address) as one:
            await one.until_live()
            assert one.board.health is not None
            assert one.board.health.state == "starting"
            assert len(served.serve.hub.clients) == 1
        await until(lambda: not served.serve.hub.clients)


async def test_the_last_alerts_of_one_symbol(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served, following(served.serve.address) as one:
        await one.until_live()
        for number in range(8):
            await served.publish(symbol=("BTCUSDT", "ETHUSDT")[number % 2])
        mine = [await served.publish(symbol="币安人生USDT&limit=1") for _ in range(2)]
        found = await one.client.alerts_of("币安人生USDT&limit=1")
        assert [told.id for told in found] == [alert.id for alert in reversed(mine)]
        assert len(await one.client.alerts_of("BTCUSDT")) == 4
        with pytest.raises(ServiceError, match="the service refuses"):
            await one.client.alerts_of("")
