"""The demo exchange on the wire: read by the client's own parser, at the speed of tests."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
import numpy as np
import orjson
import pytest

from screener.history.weight import HEADER
from screenerd.clock import SystemClock
from screenerd.demo import DemoExchange, Fault, Faults, Limits, Market, RecordedMarket
from screenerd.demo.faults import ALWAYS
from screenerd.demo.market import minutes_frame
from screenerd.demo.wire import (
    ApiError,
    Session,
    WeightMeter,
    klines_weight,
    parse_klines_query,
    stream_of,
)
from screenerd.exchange.binance.messages import (
    Ack,
    UnknownFrameError,
    parse_frame,
    parse_klines,
    stream_name,
    subscribe,
    unsubscribe,
)
from screenerd.exchange.binance.symbols import parse_universe
from screenerd.model import MINUTE_MS, Candle

START = 29_900_017
NOW = START * MINUTE_MS
FAST = 600.0
SLOW = 1e-3
"""A clock that all but stands still, where the time must not pass during a test."""

Socket = aiohttp.ClientWebSocketResponse[Literal[True]]


class Client:
    """An HTTP session and what a test asks of it."""

    def __init__(self, exchange: DemoExchange, http: aiohttp.ClientSession) -> None:
        """Takes both."""
        self.exchange = exchange
        self.http = http

    async def get(self, path: str, **query: str | int) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of a REST request."""
        url = f"{self.exchange.rest_url}/fapi/v1/{path}"
        async with self.http.get(url, params=query) as response:
            return response.status, await response.read(), dict(response.headers)

    async def klines(self, symbol: str, **query: str | int) -> list[Candle]:
        """Klines, the open one too."""
        asked: dict[str, str | int] = {"interval": "1m", "limit": 99, **query}
        status, body, _ = await self.get("klines", symbol=symbol, **asked)
        assert status == 200, body
        return parse_klines(body, symbol, 0, now=1 << 60)

    async def open(self, path: str = "/market/stream", **options: Any) -> Socket:
        """A WebSocket."""
        url = self.exchange.stream_url + path
        websocket: Socket = await self.http.ws_connect(url, **options)
        return websocket

    async def subscribed(self, *symbols: str, path: str = "/market/stream") -> Socket:
        """A WebSocket with the minutes of symbols."""
        socket_ = await self.open(path)
        await socket_.send_bytes(subscribe([stream_name(symbol) for symbol in symbols], 1))
        frame = parse_frame(await text(socket_), 0)
        assert frame == Ack(1)
        return socket_


async def text(websocket: Socket) -> str:
    async with asyncio.timeout(5):
        message = await websocket.receive()
    assert message.type == aiohttp.WSMsgType.TEXT, message
    return str(message.data)


async def candles(websocket: Socket, until: Callable[[list[Candle]], bool]) -> list[Candle]:
    """The candles that arrive until a condition holds for them."""
    seen: list[Candle] = []
    while not until(seen):
        frame = parse_frame(await text(websocket), 0)
        assert isinstance(frame, Candle)
        seen.append(frame)
    return seen


async def closes(websocket: Socket, count: int) -> list[Candle]:
    seen = await candles(websocket, lambda seen: sum(each.closed for each in seen) >= count)
    return [candle for candle in seen if candle.closed]


async def closed_with(websocket: Socket) -> tuple[int | None, object]:
    """The code and reason that a connection ends with; what comes before is skipped."""
    async with asyncio.timeout(5):
        while (message := await websocket.receive()).type == aiohttp.WSMsgType.TEXT:
            pass
    return websocket.close_code, message.extra


async def silence(websocket: Socket, seconds: float) -> None:
    """Reads until nothing comes for so long, which is a `TimeoutError`."""
    while True:
        await websocket.receive(timeout=seconds)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    market: Market | RecordedMarket | None = None,
    *,
    speed: float = FAST,
    start: int = NOW,
    faults: Faults | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Client]:
    clock = SystemClock(speed, start)
    exchange = DemoExchange(market or Market(), clock, faults=faults, limits=limits)
    async with exchange, aiohttp.ClientSession() as http:
        yield Client(exchange, http)


def by_minute(closed: Iterable[Candle]) -> dict[int, Candle]:
    return {candle.open_time: candle for candle in closed}


# REST


@pytest.mark.asyncio
async def test_klines_are_the_markets_minutes() -> None:
    async with running(speed=SLOW) as client:
        got = await client.klines("币安人生USDT", limit=500, startTime=NOW - 600 * MINUTE_MS)
    market = Market()
    assert len(got) == 500
    for offset in (0, 250, 499):
        assert got[offset].values == market.minute(5, START - 600 + offset).values


@pytest.mark.asyncio
async def test_the_last_row_may_be_the_open_candle() -> None:
    async with running(speed=SLOW, start=NOW + 30_000) as client:
        rows = await client.klines("BTCUSDT", limit=3)
        hours = await client.klines("BTCUSDT", interval="1h", limit=2)
        minutes = await client.klines("BTCUSDT", startTime=hours[1].open_time)
        _, body, _ = await client.get("klines", symbol="BTCUSDT", interval="1m", limit=3)
    assert [row.open_time for row in rows] == [NOW - 2 * MINUTE_MS, NOW - MINUTE_MS, NOW]
    whole = Market().minute(0, START)
    assert rows[2].open == whole.open
    assert 0 < rows[2].volume < whole.volume
    assert rows[2].values == Market().partial(0, START, 0.5).values
    assert hours[1].close == rows[2].close
    assert hours[1].volume == pytest.approx(sum(minute.volume for minute in minutes))
    assert len(parse_klines(body, "BTCUSDT", 0, now=NOW + 30_000)) == 2


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ({}, START - 499, START),
        ({"limit": "1"}, START, START),
        ({"startTime": str(NOW - 10 * MINUTE_MS)}, START - 10, START),
        ({"startTime": str(NOW - 10 * MINUTE_MS + 1)}, START - 9, START),
        ({"startTime": str(NOW - 10 * MINUTE_MS), "limit": "4"}, START - 10, START - 7),
        ({"endTime": str(NOW - 10 * MINUTE_MS), "limit": "4"}, START - 13, START - 10),
        ({"endTime": str(NOW - 10 * MINUTE_MS - 1), "limit": "4"}, START - 14, START - 11),
        ({"startTime": "0", "limit": "2"}, 26_297_280, 26_297_281),
        ({"interval": "8h", "limit": "2"}, START // 480 - 1, START // 480),
    ],
)
def test_which_bars_are_asked_for(query: dict[str, str], first: int, last: int) -> None:
    query = {"symbol": "BTCUSDT", "interval": "1m"} | query
    parsed = parse_klines_query(query, {"BTCUSDT": 0}, NOW + 30_000, 26_297_280)
    assert (parsed.first, parsed.last) == (first, last)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"symbol": "NOUSDT", "interval": "1m"}, -1121),
        ({"symbol": "btcusdt", "interval": "1m"}, -1121),
        ({"symbol": "BTCUSDT", "interval": "1s"}, -1120),
        ({"symbol": "BTCUSDT", "interval": "1m", "limit": 1501}, -1130),
        ({"symbol": "BTCUSDT", "interval": "1m", "limit": "x"}, -1130),
        ({"symbol": "BTCUSDT"}, -1102),
        ({"interval": "1m"}, -1102),
    ],
)
async def test_wrong_requests_are_refused_and_cost(query: dict[str, str | int], code: int) -> None:
    async with running(speed=SLOW) as client:
        status, body, headers = await client.get("klines", **query)
    assert status == 400
    assert orjson.loads(body)["code"] == code
    assert int(headers[HEADER]) >= 1


@pytest.mark.parametrize(
    ("limit", "weight"),
    [
        ("1", 1),
        ("100", 1),
        ("101", 2),
        ("500", 2),
        ("501", 5),
        ("1000", 5),
        ("1001", 10),
        ("1501", 10),
        (None, 5),
    ],
)
def test_weights_of_klines(limit: str | None, weight: int) -> None:
    assert klines_weight(limit) == weight


def test_too_much_weight_is_429_then_a_ban() -> None:
    meter = WeightMeter(10, patience=2)
    for _ in range(10):
        meter.spend(1, NOW + 15_000)
    for _ in range(2):
        with pytest.raises(ApiError, match="Too many") as caught:
            meter.spend(1, NOW + 15_000)
        assert (caught.value.status, caught.value.retry_after) == (429, 45)
    for later in (0, MINUTE_MS):
        with pytest.raises(ApiError, match="banned until") as caught:
            meter.spend(1, NOW + 15_000 + later)
        assert (caught.value.status, caught.value.retry_after) == (418, 120 - later // 1000)
    meter.spend(1, NOW + 15_000 + 120_000)
    assert meter.used == 1


def test_the_weight_is_that_of_a_utc_minute() -> None:
    meter = WeightMeter(10)
    meter.spend(10, NOW - 1)
    meter.spend(10, NOW)
    assert meter.used == 10


@pytest.mark.asyncio
async def test_the_limit_holds_on_the_wire() -> None:
    async with running(speed=SLOW, limits=Limits(weight=4)) as client:
        answers = [await client.get("time") for _ in range(5)]
        assert client.exchange.weight_used == 5
        assert client.exchange.counters.requests["/fapi/v1/time"] == 5
        assert client.exchange.counters.statuses == {200: 4, 429: 1}
    assert [status for status, _, _ in answers] == [200] * 4 + [429]
    assert answers[3][2][HEADER] == "4"
    assert int(answers[4][2]["Retry-After"]) == 60
    assert abs(orjson.loads(answers[0][1])["serverTime"] - NOW) < 1000


@pytest.mark.asyncio
async def test_exchange_info_lists_the_market_and_others() -> None:
    async with running(speed=SLOW) as client:
        _, body, _ = await client.get("exchangeInfo")
        assert (await client.get("ping"))[1] == b"{}"
    universe = parse_universe(body)
    assert universe.symbols == tuple(sorted(each.symbol for each in Market().contracts))
    assert universe.weight_limit == 2400
    assert "TSLAUSDT" in parse_universe(body, tradfi=True).symbols


@pytest.mark.asyncio
async def test_the_ticker_knows_the_last_day() -> None:
    async with running(speed=SLOW) as client:
        _, body, _ = await client.get("ticker/24hr", symbol="BTCUSDT")
        _, all_, headers = await client.get("ticker/24hr")
        status, _, _ = await client.get("ticker/24hr", symbol="NOUSDT")
    ticker = orjson.loads(body)
    assert float(ticker["lastPrice"]) == pytest.approx(Market().minute(0, START).open, rel=1e-3)
    assert float(ticker["lowPrice"]) < float(ticker["highPrice"])
    assert ticker in orjson.loads(all_)
    assert len(orjson.loads(all_)) == 40
    assert int(headers[HEADER]) == 41
    assert status == 400


@pytest.mark.asyncio
async def test_warming_up_five_hundred_symbols_takes_seconds() -> None:
    market = Market(500)
    async with running(market, speed=SLOW, limits=Limits(weight=1 << 30)) as client:
        began = time.process_time()
        for contract in market.contracts[:100]:
            for part in range(3):
                await client.get(
                    "klines",
                    symbol=contract.symbol,
                    interval="1m",
                    limit=500,
                    startTime=NOW - (1440 - part * 480) * MINUTE_MS,
                )
        # Generous: a fifth of the market, with the client's part, on a busy machine.
        assert time.process_time() - began < 10


# Streams


@pytest.mark.asyncio
async def test_every_minute_ends_once_with_what_rest_says() -> None:
    symbols = ["BTCUSDT", "1INCHUSDT", "币安人生USDT"]
    async with running() as client:
        websocket = await client.subscribed(*symbols)
        closed = await closes(websocket, 12)
        rest = {symbol: by_minute(await client.klines(symbol)) for symbol in symbols}
        assert client.exchange.frames_sent >= 12
    assert {candle.symbol for candle in closed} == set(symbols)
    assert len({(candle.symbol, candle.open_time) for candle in closed}) == 12
    for candle in closed:
        assert candle.values == rest[candle.symbol][candle.open_time].values
        assert candle.event_time is not None
        assert candle.event_time >= candle.close_time
        assert candle.event_time - candle.close_time < MINUTE_MS


@pytest.mark.asyncio
async def test_updates_grow_and_come_only_with_trades() -> None:
    async with running(speed=20) as client:
        websocket = await client.subscribed("BTCUSDT")
        seen = await candles(websocket, lambda seen: len(seen) > 10 and seen[-1].closed)
    last = seen[-1].open_time
    minute = [candle for candle in seen if candle.open_time == last]
    assert not any(candle.closed for candle in minute[:-1])
    volumes = [candle.volume for candle in minute]
    trades = [candle.trades or 0 for candle in minute[:-1]]
    assert volumes == sorted(volumes)
    assert len(set(trades)) == len(trades)
    events = [candle.event_time or 0 for candle in minute]
    assert events == sorted(events)
    assert min(np.diff(events[:-1]), default=250) >= 240


@pytest.mark.asyncio
async def test_streams_may_stand_in_the_address() -> None:
    async with running() as client:
        both = await client.open("/market/stream?streams=btcusdt@kline_1m/龙虾usdt@kline_1m")
        assert {each.symbol for each in await closes(both, 2)} == {"BTCUSDT", "龙虾USDT"}
        raw = await client.open("/market/ws/btcusdt@kline_1m")
        frame = orjson.loads(await text(raw))
        assert frame["e"] == "kline"
        assert "stream" not in frame


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/stream", "/ws", "/public/stream", "/ws/btcusdt@kline_1m"])
async def test_the_wrong_route_acknowledges_and_stays_silent(path: str) -> None:
    async with running() as client:
        routed = await client.subscribed("BTCUSDT")
        silent = await client.subscribed("BTCUSDT", path=path)
        await closes(routed, 3)
        with pytest.raises(TimeoutError):
            await silent.receive(timeout=0.05)


@pytest.mark.asyncio
async def test_an_unknown_or_uppercase_name_is_acknowledged_and_never_comes() -> None:
    names = ["BTCUSDT@kline_1m", "nousdt@kline_1m", "btcusdt@kline_1m@250ms"]
    async with running() as client:
        websocket = await client.open()
        await websocket.send_bytes(subscribe(names, 7))
        assert orjson.loads(await text(websocket)) == {"result": None, "id": 7}
        await websocket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":8}')
        assert orjson.loads(await text(websocket)) == {"result": names, "id": 8}
        routed = await client.subscribed("BTCUSDT")
        await closes(routed, 3)
        with pytest.raises(TimeoutError):
            await websocket.receive(timeout=0.05)


@pytest.mark.asyncio
async def test_an_unsubscribed_stream_ends() -> None:
    async with running() as client:
        websocket = await client.subscribed("BTCUSDT", "ETHUSDT")
        await closes(websocket, 2)
        await websocket.send_bytes(unsubscribe([stream_name("ETHUSDT")], 2))
        while not isinstance(parse_frame(await text(websocket), 0), Ack):
            pass
        assert {each.symbol for each in await closes(websocket, 5)} == {"BTCUSDT"}


def test_a_session_answers_as_the_exchange_does() -> None:
    session = Session(combined=True)
    assert session.receive('{"method":"GET_PROPERTY","params":["combined"],"id":1}', 0).text == (
        '{"result":true,"id":1}'
    )
    session.receive('{"method":"SET_PROPERTY","params":["combined",false],"id":2}', 0)
    assert session.combined is False
    for wrong in ("{", "[1]", '{"method":"DANCE","id":1}', '{"method":"SUBSCRIBE","id":"x"}'):
        reply = Session(combined=True).receive(wrong, 0)
        assert reply.text is not None
        answer = parse_frame(reply.text, 0)
        assert isinstance(answer, Ack)
        assert answer.error


def test_messages_are_counted_by_the_second() -> None:
    session = Session(combined=True)
    listing = '{"method":"LIST_SUBSCRIPTIONS","id":1}'
    assert all(session.receive(listing, 0).close is None for _ in range(10))
    assert session.receive(listing, 999).close == (1008, "Too many requests")
    fresh = Session(combined=True)
    assert all(fresh.receive(listing, each * 100).close is None for each in range(50))


@pytest.mark.asyncio
async def test_too_many_messages_end_the_connection() -> None:
    async with running(speed=SLOW) as client:
        websocket = await client.open()
        for number in range(11):
            await websocket.send_bytes(subscribe([], number))
        assert await closed_with(websocket) == (1008, "Too many requests")


@pytest.mark.asyncio
async def test_the_stream_too_many_ends_the_connection() -> None:
    async with running(speed=SLOW) as client:
        websocket = await client.open()
        names = [f"x{number}@kline_1m" for number in range(1024)]
        await websocket.send_bytes(subscribe(names, 1))
        assert parse_frame(await text(websocket), 0) == Ack(1)
        await websocket.send_bytes(subscribe(["one@kline_1m"], 2))
        error = {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 2}
        assert orjson.loads(await text(websocket)) == error
        assert await closed_with(websocket) == (1008, "Invalid request")


@pytest.mark.asyncio
async def test_the_server_pings_and_cuts_who_does_not_answer() -> None:
    limits = Limits(ping_every=300, pong_within=900)
    async with running(limits=limits) as client:
        patient = await client.open(autoping=True)
        mute = await client.open(autoping=False)
        message = await mute.receive(timeout=5)
        assert message.type == aiohttp.WSMsgType.PING
        assert int(message.data) > NOW
        patience = asyncio.ensure_future(patient.receive())
        await until(lambda: client.exchange.open_connections == 1)
        assert not patience.done()
        patience.cancel()


@pytest.mark.asyncio
async def test_a_connection_does_not_outlive_a_day() -> None:
    async with running(limits=Limits(lifetime=120)) as client:
        websocket = await client.subscribed("BTCUSDT")
        assert (await closed_with(websocket))[0] == 1001


@pytest.mark.asyncio
async def test_a_client_that_does_not_read_is_cut_and_stalls_nobody() -> None:
    market = Market(400)
    async with running(market, limits=Limits(backlog=1500)) as client:
        reader = await client.subscribed("BTCUSDT")
        address = client.exchange.stream_url.removeprefix("ws://").split(":")
        loop = asyncio.get_running_loop()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, (address[0], int(address[1])))
            names = "/".join(stream_name(each.symbol) for each in market.contracts)
            request = (
                f"GET /market/stream?streams={quote(names)} HTTP/1.1\r\nHost: demo\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            await loop.sock_sendall(deaf, request.encode())
            await until(lambda: client.exchange.open_connections == 2)
            async with asyncio.timeout(20):
                while client.exchange.open_connections == 2:
                    assert parse_frame(await text(reader), 0)
            assert client.exchange.counters.too_slow == 1
        assert await closes(reader, 2)


# Faults


async def closed_minutes(client: Client, count: int) -> list[Candle]:
    websocket = await client.subscribed("BTCUSDT", "ETHUSDT")
    return await closes(websocket, count)


@pytest.mark.asyncio
async def test_a_dropped_close_is_only_in_rest() -> None:
    faults = Faults()
    faults.arm(Fault.DROP_CLOSE, "ETHUSDT")
    async with running(faults=faults) as client:
        closed = await closed_minutes(client, 5)
        rest = by_minute(await client.klines("ETHUSDT"))
    missing = {each.open_time for each in closed} - {
        each.open_time for each in closed if each.symbol == "ETHUSDT"
    }
    assert faults.happened == {Fault.DROP_CLOSE: 1}
    assert len(missing) == 1
    assert missing <= set(rest)


@pytest.mark.asyncio
async def test_a_duplicate_close_comes_twice() -> None:
    faults = Faults()
    faults.arm(Fault.DUPLICATE_CLOSE, "ETHUSDT", times=2)
    async with running(faults=faults) as client:
        closed = await closed_minutes(client, 8)
    assert faults.happened == {Fault.DUPLICATE_CLOSE: 2}
    assert len(closed) - len({(each.symbol, each.open_time) for each in closed}) == 2


@pytest.mark.asyncio
async def test_a_late_close_comes_after_the_next_one() -> None:
    faults = Faults(late_by=90)
    faults.arm(Fault.LATE_CLOSE, "ETHUSDT")
    async with running(faults=faults) as client:
        closed = [each for each in await closed_minutes(client, 8) if each.symbol == "ETHUSDT"]
    times = [each.open_time for each in closed]
    assert times != sorted(times)
    late = next(each for each, after in itertools.pairwise(times) if each > after)
    candle = by_minute(closed)[late - MINUTE_MS]
    assert candle.event_time is not None
    assert candle.event_time - candle.close_time >= 90_000


@pytest.mark.asyncio
async def test_a_corrected_close_differs_from_rest() -> None:
    faults = Faults()
    faults.arm(Fault.CORRECTED_CLOSE, "ETHUSDT")
    async with running(faults=faults) as client:
        closed = [each for each in await closed_minutes(client, 8) if each.symbol == "ETHUSDT"]
        rest = by_minute(await client.klines("ETHUSDT"))
    differing = [each for each in closed if each.values != rest[each.open_time].values]
    assert faults.happened == {Fault.CORRECTED_CLOSE: 1}
    assert len(differing) == 1
    assert differing[0].volume < rest[differing[0].open_time].volume


@pytest.mark.asyncio
async def test_reordered_closes_come_backwards_with_older_versions_after_them() -> None:
    faults = Faults()
    faults.arm(Fault.REORDER_CLOSES)
    async with running(faults=faults) as client:
        websocket = await client.subscribed("BTCUSDT", "ETHUSDT")
        seen = await candles(websocket, lambda seen: sum(each.closed for each in seen) >= 2)
        seen += [await anext(one(websocket))]
    first = next(number for number, each in enumerate(seen) if each.closed)
    burst = [(each.symbol, each.closed) for each in seen[first : first + 4]]
    assert burst == [("ETHUSDT", True), ("ETHUSDT", False), ("BTCUSDT", True), ("BTCUSDT", False)]
    assert faults.happened == {Fault.REORDER_CLOSES: 1}


async def one(websocket: Socket) -> AsyncIterator[Candle]:
    frame = parse_frame(await text(websocket), 0)
    assert isinstance(frame, Candle)
    yield frame


@pytest.mark.asyncio
async def test_a_lost_minute_is_nowhere() -> None:
    faults = Faults()
    lost = NOW + 2 * MINUTE_MS
    faults.lose_minute("ETHUSDT", lost)
    async with running(faults=faults) as client:
        websocket = await client.subscribed("ETHUSDT")
        seen = await candles(
            websocket, lambda seen: bool(seen) and seen[-1].open_time > lost + MINUTE_MS
        )
        rest = by_minute(await client.klines("ETHUSDT"))
    assert lost not in by_minute(seen)
    assert lost not in rest
    assert {lost - MINUTE_MS, lost + MINUTE_MS} <= set(rest)
    assert faults.happened == {Fault.LOSE_MINUTE: 2}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "lost"),
    [(Fault.TRUNCATED_FRAME, 1), (Fault.GARBAGE_FRAME, 0), (Fault.UNKNOWN_FRAME, 0)],
)
async def test_broken_frames_are_of_no_known_shape(fault: Fault, lost: int) -> None:
    faults = Faults()
    async with running(faults=faults) as client:
        websocket = await client.subscribed("BTCUSDT")
        closed = [candle.open_time for candle in await closes(websocket, 1)]
        faults.arm(fault, "BTCUSDT")
        broken = 0
        while len(closed) < 4:
            try:
                frame = parse_frame(await text(websocket), 0)
            except UnknownFrameError:
                broken += 1
                continue
            if isinstance(frame, Candle) and frame.closed:
                closed.append(frame.open_time)
    assert broken == 1
    assert faults.happened == {fault: 1}
    assert (closed[-1] - closed[0]) // MINUTE_MS == 3 + lost


@pytest.mark.asyncio
async def test_what_goes_wrong_beside_the_exchange_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with running(speed=SLOW):
            raise KeyError("mine")


@pytest.mark.asyncio
async def test_a_stalled_connection_is_open_and_silent() -> None:
    faults = Faults()
    async with running(faults=faults) as client:
        stalled = await client.subscribed("BTCUSDT")
        await closes(stalled, 1)
        healthy = await client.subscribed("BTCUSDT")
        faults.arm(Fault.STALL)
        await until(lambda: faults.happened[Fault.STALL] == 1)
        await closes(healthy, 2)
        with pytest.raises(TimeoutError):
            await silence(stalled, 0.3)
        assert not stalled.closed
        assert client.exchange.open_connections == 2
        await closes(healthy, 1)


@pytest.mark.asyncio
async def test_all_are_disconnected_and_refused_until_disarmed() -> None:
    faults = Faults()
    async with running(faults=faults) as client:
        websockets = [await client.subscribed("BTCUSDT") for _ in range(3)]
        faults.arm(Fault.REFUSE_CONNECTION, times=ALWAYS)
        faults.arm(Fault.DISCONNECT)
        for websocket in websockets:
            assert (await closed_with(websocket))[0] in (1006, None)
        await until(lambda: client.exchange.open_connections == 0)
        with pytest.raises(aiohttp.ClientError):
            await client.open()
        faults.disarm(Fault.REFUSE_CONNECTION)
        assert await closes(await client.subscribed("BTCUSDT"), 1)
    assert faults.happened[Fault.DISCONNECT] == 1
    assert faults.happened[Fault.REFUSE_CONNECTION] >= 1


@pytest.mark.asyncio
async def test_rest_fails_so_many_times() -> None:
    faults = Faults()
    faults.fail_rest(500, times=2, path="klines")
    query: dict[str, str | int] = {"symbol": "BTCUSDT", "interval": "1m", "limit": 1}
    async with running(speed=SLOW, faults=faults) as client:
        assert (await client.get("time"))[0] == 200
        statuses = [(await client.get("klines", **query))[0] for _ in range(3)]
    assert statuses == [500, 500, 200]
    assert faults.happened == {Fault.REST_FAILURE: 2}


@pytest.mark.parametrize(("status", "wait"), [(429, "5"), (418, "120")])
@pytest.mark.asyncio
async def test_rest_refuses_and_says_for_how_long(status: int, wait: str) -> None:
    faults = Faults()
    faults.fail_rest(status, times=1)
    async with running(speed=SLOW, faults=faults) as client:
        got, _, headers = await client.get("time")
    assert (got, headers["Retry-After"]) == (status, wait)


def test_rest_fails_for_so_many_seconds() -> None:
    faults = Faults()
    faults.fail_rest(429, seconds=10)
    assert faults.rest_status("/time", NOW) == 429
    assert faults.rest_status("/time", NOW + 9_999) == 429
    assert faults.rest_status("/time", NOW + 10_000) is None
    assert faults.happened == {Fault.REST_FAILURE: 2}


def test_faults_say_what_cannot_be_armed() -> None:
    with pytest.raises(ValueError, match="lose_minute"):
        Faults().arm(Fault.LOSE_MINUTE)
    with pytest.raises(ValueError, match="at least 1"):
        Faults().arm(Fault.STALL, times=0)


# Recordings


@pytest.mark.asyncio
async def test_a_recording_is_played_again() -> None:
    frame = minutes_frame(Market(3), START - 60, 120)
    async with running(RecordedMarket.from_frame(frame)) as client:
        websocket = await client.subscribed("BTCUSDT")
        closed = await closes(websocket, 3)
        rest = by_minute(await client.klines("BTCUSDT"))
    for candle in closed:
        minute = candle.open_time // MINUTE_MS
        assert candle.values == Market().minute(0, minute).values
        assert candle.values == rest[candle.open_time].values


def test_stream_names_are_those_of_the_client() -> None:
    for contract in Market(60).contracts:
        assert stream_of(contract.symbol) == stream_name(contract.symbol)
