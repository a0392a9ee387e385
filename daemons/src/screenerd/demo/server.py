"""The demo exchange: an HTTP and WebSocket server on loopback in front of a market."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import orjson
from aiohttp import web

from screener.history.times import LATEST
from screenerd.clock import Clock
from screenerd.demo import archive, bucket, wire
from screenerd.demo.connection import Connection, Limits
from screenerd.demo.contracts import OPEN, TRADES, Floats
from screenerd.demo.faults import Fault, Faults
from screenerd.demo.feed import Feed
from screenerd.demo.market import MinuteSource, merge
from screenerd.model import MINUTE_MS

__all__ = ["Counters", "DemoExchange", "Limits"]

_DAY = 1440
_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"
_STATUS_CODES = {429: -1003, 418: -1003, 403: -1002, 503: -1008}
_CLOSE_TIMEOUT = 1.0
_NO_KEY = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code></Error>'
_FILES_KEPT = 32
"""Files of the archive that stay in memory: a month of minutes takes seconds to make."""
_ARCHIVE = "/data"
"""Under which name requests for the archive's files are counted, whatever they ask for."""
_LISTING = "/"
"""Where the archive's folders are listed."""
_LONGEST_ADDRESS = 1 << 17
"""Bytes of a request's first line: a thousand streams with names that need escapes."""


@dataclass(slots=True)
class Counters:
    """What the exchange has done so far.

    Attributes:
        connections: WebSockets opened.
        frames: sent to clients that are gone.
        too_slow: clients cut because they did not read.
        requests: REST requests, by path; those for files of the archive are `/data`.
        statuses: REST answers, by HTTP status.
    """

    connections: int = 0
    frames: int = 0
    too_slow: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)


_Exit = Callable[
    [type[BaseException] | None, BaseException | None, TracebackType | None],
    Coroutine[Any, Any, None],
]


def _leaving(tasks: asyncio.TaskGroup) -> _Exit:
    """Ends a group without making an exception group of what went wrong beside it."""

    async def leave(
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, asyncio.CancelledError):
            await tasks.__aexit__(kind, error, trace)
        else:
            await tasks.__aexit__(None, None, None)

    return leave


class DemoExchange:
    """Speaks Binance USDⓈ-M's wire protocol on loopback; use it with `async with`.

    Args:
        market: where the candles come from.
        clock: market time.
        host: the address to listen on.
        port: 0 takes a free one.
        faults: what goes wrong; may be changed while it runs.
        limits: what clients may do.
    """

    def __init__(
        self,
        market: MinuteSource,
        clock: Clock,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Faults | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Takes all it needs; listens from `async with` on."""
        self.faults = Faults() if faults is None else faults
        self.limits = Limits() if limits is None else limits
        self.counters = Counters()
        self._market = market
        self._clock = clock
        self._host = host
        self._port = port
        self._weights = wire.WeightMeter(self.limits.weight)
        self._connections: dict[Connection, None] = {}
        contracts = market.contracts
        self._indexes = {contract.symbol: number for number, contract in enumerate(contracts)}
        self._streams = {wire.stream_of(symbol): number for symbol, number in self._indexes.items()}
        self._files: OrderedDict[object, bytes] = OrderedDict()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Listens."""
        async with AsyncExitStack() as stack:
            runner = web.AppRunner(
                self._application(),
                access_log=None,
                shutdown_timeout=_CLOSE_TIMEOUT,
                max_line_size=_LONGEST_ADDRESS,
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
            self._port = int(runner.addresses[0][1])
            tasks = await asyncio.TaskGroup().__aenter__()
            stack.push_async_exit(_leaving(tasks))
            feed = Feed(
                self._market, self._clock, self.faults, self.limits, self._connections.keys()
            )
            stack.callback(tasks.create_task(feed.run()).cancel)
            stack.callback(self._cut_all)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cuts all connections and stops listening."""
        await self._stack.__aexit__(kind, error, trace)

    @property
    def rest_url(self) -> str:
        """Where REST is, such as `http://127.0.0.1:40001`."""
        return f"http://{self._host}:{self._port}"

    @property
    def stream_url(self) -> str:
        """Where the streams are, such as `ws://127.0.0.1:40001`; routes begin with `/market`."""
        return f"ws://{self._host}:{self._port}"

    @property
    def open_connections(self) -> int:
        """WebSockets that are open now."""
        return len(self._connections)

    @property
    def frames_sent(self) -> int:
        """Frames sent to all clients there ever were."""
        return self.counters.frames + sum(connection.sent for connection in self._connections)

    @property
    def weight_used(self) -> int:
        """Weight of the requests in this UTC minute, or in the last one with a request."""
        return self._weights.used

    def _cut_all(self) -> None:
        for connection in tuple(self._connections):
            connection.abort()

    def _application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.get("/fapi/v1/ping", self._ping),
                web.get("/fapi/v1/time", self._time),
                web.get("/fapi/v1/exchangeInfo", self._exchange_info),
                web.get("/fapi/v1/klines", self._klines),
                web.get("/fapi/v1/ticker/24hr", self._ticker),
                web.get(_LISTING, self._listing),
                web.get("/data/futures/um/{kind}/klines/{symbol}/1m/{name}", self._archive),
            ]
        )
        for route in ("/market", "/public", ""):
            for path in ("/stream", "/ws", "/ws/{names:.+}"):
                application.router.add_get(route + path, self._websocket)
        return application

    # REST

    async def _ping(self, request: web.Request) -> web.Response:
        return self._answer(request, 1, lambda _: b"{}")

    async def _time(self, request: web.Request) -> web.Response:
        return self._answer(request, 1, lambda now: orjson.dumps({"serverTime": now}))

    async def _exchange_info(self, request: web.Request) -> web.Response:
        return self._answer(
            request,
            1,
            lambda now: wire.exchange_info(self._market.contracts, now, self.limits.weight),
        )

    async def _klines(self, request: web.Request) -> web.Response:
        weight = wire.klines_weight(request.query.get("limit"))
        return self._answer(request, weight, lambda now: self._klines_body(request, now))

    async def _ticker(self, request: web.Request) -> web.Response:
        weight = 1 if "symbol" in request.query else 40
        return self._answer(request, weight, lambda now: self._ticker_body(request, now))

    def _answer(
        self, request: web.Request, weight: int, make: Callable[[int], bytes]
    ) -> web.Response:
        """Counts a request, refuses it or answers it."""
        now = self._clock.now_ms()
        self.counters.requests[request.path] += 1
        headers: dict[str, str] = {}
        try:
            self._weights.spend(weight, now)
            self._fail_if_armed(request.path, now)
            status, body = 200, make(now)
        except wire.ApiError as error:
            status, body = error.status, error.body
            if error.retry_after:
                headers["Retry-After"] = str(error.retry_after)
        headers[_WEIGHT_HEADER] = str(self._weights.used)
        self.counters.statuses[status] += 1
        return web.Response(
            body=body, status=status, headers=headers, content_type="application/json"
        )

    def _fail_if_armed(self, path: str, now: int) -> None:
        status = self.faults.rest_status(path, now)
        if status is None:
            return
        if status in (418, 429):
            seconds = 120 if status == 418 else 5
            text = f"Too many requests; banned until {now + seconds * 1000}."
            raise wire.ApiError(-1003, text, status, seconds)
        raise wire.ApiError(_STATUS_CODES.get(status, -1000), "An unknown error occurred.", status)

    def _klines_body(self, request: web.Request, now: int) -> bytes:
        query = wire.parse_klines_query(
            request.query, self._indexes, now, self._market.first_minute
        )
        contract = self._market.contracts[query.symbol]
        bars = np.arange(query.first, query.last + 1, dtype=np.int64)
        if not len(bars):
            return b"[]"
        running = now // MINUTE_MS // query.length
        whole = len(bars) - (query.last == running)
        rows = self._market.bars(query.symbol, query.length, query.first, whole)
        if whole < len(bars):
            rows = np.concatenate([rows, self._open_bar(query, now)])
        known = ~np.isnan(rows[:, OPEN])
        if query.length == 1:
            known &= self._kept(contract.symbol, query)
        return wire.klines_body(contract, query.length, bars[known].tolist(), rows[known])

    def _kept(
        self, symbol: str, query: wire.KlinesQuery
    ) -> np.ndarray[tuple[int], np.dtype[np.bool]]:
        minutes = range(query.first, query.last + 1)
        return np.array(
            [not self.faults.leaves_out(symbol, minute * MINUTE_MS) for minute in minutes]
        )

    def _open_bar(self, query: wire.KlinesQuery, now: int) -> Floats:
        """The bar that is not over yet, as a row."""
        minute = now // MINUTE_MS
        begin = query.last * query.length
        rows = self._market.bars(query.symbol, 1, begin, minute - begin)
        fraction = now % MINUTE_MS / MINUTE_MS
        running = self._market.running(minute, fraction)[query.symbol]
        # Before the first trade of the minute there is nothing to tell of it.
        if running[TRADES] > 0:
            rows = np.concatenate([rows, running[np.newaxis]])
        return merge(rows)

    def _ticker_body(self, request: web.Request, now: int) -> bytes:
        symbol = request.query.get("symbol")
        if symbol is not None:
            if symbol not in self._indexes:
                raise wire.ApiError(-1121, "Invalid symbol.")
            return orjson.dumps(self._ticker_of(self._indexes[symbol], now))
        tickers = (self._ticker_of(index, now) for index in self._indexes.values())
        return orjson.dumps([each for each in tickers if each])

    def _ticker_of(self, index: int, now: int) -> dict[str, object] | None:
        """A day of four-hour bars up to the last whole one, and the price of now."""
        minute = now // MINUTE_MS
        bars = self._market.bars(index, 240, minute // 240 - 6, 6)
        fraction = now % MINUTE_MS / MINUTE_MS
        running = self._market.running(minute, fraction)[index]
        rows = merge(np.concatenate([bars, running[np.newaxis]]))
        if np.isnan(rows[0, OPEN]):
            return None
        return wire.ticker(self._market.contracts[index], rows[0], now)

    # Archive

    async def _archive(self, request: web.Request) -> web.Response:
        """A file of the archive or its checksum; both come when their month or day is over."""
        now = self._clock.now_ms()
        self.counters.requests[_ARCHIVE] += 1
        faults = self.faults.archive
        named = (request.match_info[part] for part in ("kind", "symbol", "name"))
        file = archive.parse_name(*named)
        status = self.faults.rest_status(request.path, now)
        if status is None and (
            file is None
            or (life := self._life(file.symbol)) is None
            or (file.last + 1) * MINUTE_MS > now
            or (file.last + 1) * MINUTE_MS <= life[0]
            or file.first * MINUTE_MS >= life[1]
            or faults.is_missing(file)
        ):
            status = 404
        if status is not None or file is None:
            self.counters.statuses[status or 404] += 1
            return web.Response(status=status or 404, text=_NO_KEY, content_type="application/xml")
        body = await self._kept_file(file)
        self.counters.statuses[200] += 1
        if not file.checksum:
            return web.Response(body=body, content_type="application/zip")
        wrong = faults.spoils_checksum(file)
        return web.Response(body=archive.checksum_text(file.name, body, wrong=wrong))

    async def _listing(self, request: web.Request) -> web.Response:
        """A page of what lies in the archive."""
        now = self._clock.now_ms()
        self.counters.requests[_LISTING] += 1
        status = self.faults.rest_status(_LISTING, now)
        self.counters.statuses[status or 200] += 1
        if status is not None:
            return web.Response(status=status, content_type="application/xml")
        lives = {
            symbol: life
            for symbol in (*self._indexes, archive.FORGOTTEN[0])
            if (life := self._life(symbol)) is not None
        }
        keys = bucket.keys(lives, now, self.faults.archive.missing)
        body = bucket.page(keys, request.query, self.limits.listing)
        return web.Response(body=body, content_type="application/xml")

    def _life(self, symbol: str) -> tuple[int, int] | None:
        """From when to when the archive has minutes of a symbol, [start, end) ms."""
        first = self._market.first_minute * MINUTE_MS
        if symbol in self._indexes:
            return first, LATEST
        name, start, end = archive.FORGOTTEN
        return (max(first, start), end) if symbol == name and first < end else None

    async def _kept_file(self, file: archive.ArchiveFile) -> bytes:
        """The file, made where it is none of those that were asked for last."""
        key = (file.name, self.faults.archive.version(file))
        body = self._files.get(key)
        if body is None:
            body = await asyncio.to_thread(self._archive_file, file)
            self._files[key] = body
        self._files.move_to_end(key)
        while len(self._files) > _FILES_KEPT:
            self._files.popitem(last=False)
        return body

    def _archive_file(self, file: archive.ArchiveFile) -> bytes:
        faults = self.faults.archive
        index = self._indexes.get(file.symbol, 0)
        begin, end = self._life(file.symbol) or (0, 0)
        first = max(file.first, begin // MINUTE_MS)
        bars = np.arange(first, min(file.last + 1, end // MINUTE_MS), dtype=np.int64)
        rows = self._market.bars(index, 1, first, len(bars))
        lost = [self.faults.lost(file.symbol, int(bar) * MINUTE_MS) for bar in bars.tolist()]
        rows[np.array(lost)] = np.nan
        bars, rows = archive.flawed(file, faults, bars, rows)
        text = archive.archive_csv(
            self._market.contracts[index],
            bars,
            rows,
            header=file.name not in faults.no_header,
            micro=file.name in faults.microseconds,
        )
        return archive.zipped(file.name, text)

    # WebSocket

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self.faults.take(Fault.REFUSE_CONNECTION):
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable
        websocket = web.WebSocketResponse(
            autoping=False, compress=False, timeout=_CLOSE_TIMEOUT, max_msg_size=1 << 20
        )
        connection = self._connection(request, websocket)
        await websocket.prepare(request)
        self.counters.connections += 1
        self._connections[connection] = None
        try:
            await connection.serve()
        finally:
            del self._connections[connection]
            self.counters.frames += connection.sent
            self.counters.too_slow += connection.too_slow
        return websocket

    def _connection(self, request: web.Request, websocket: web.WebSocketResponse) -> Connection:
        is_combined = request.path.endswith("/stream")
        names = (
            request.query.get("streams", "") if is_combined else request.match_info.get("names", "")
        )
        session = wire.Session(is_combined, self.limits.streams, self.limits.messages)
        session.names = dict.fromkeys(name for name in names.split("/") if name)
        # Other routes connect and acknowledge, and never deliver a kline.
        routed = request.path.startswith("/market/")
        streams = self._streams if routed else {}
        return Connection(websocket, request, session, streams, self._clock, self.limits)
