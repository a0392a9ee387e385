"""Candles as they come: connections of at most 200 streams, each given up when it falls silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import aiohttp
import structlog

from screenerd.backoff import Backoff
from screenerd.clock import Clock
from screenerd.exchange.binance import messages
from screenerd.exchange.binance.session import Session
from screenerd.exchange.port import CandleSink, ConnectionStatus, EventSink, LetterSink
from screenerd.model import Candle, FeedLost, Reconnected

log = structlog.get_logger("exchange")

STREAM_URL = "wss://fstream.binance.com"
ROUTE = "/market/stream"
SYMBOLS_A_CONNECTION = 200
SECONDS_BETWEEN_CONNECTS = 1.0
ROTATE_AFTER_SECONDS = 23 * 3600.0
ROTATION_SPREAD_SECONDS = 1800.0
TICK_SECONDS = 0.1
FRAMES_AT_ONCE = 16

WebSocket = aiohttp.ClientWebSocketResponse[bool]


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where everything goes that comes out of a stream."""

    candle: CandleSink
    event: EventSink
    letter: LetterSink


class _LostError(Exception):
    """The connection has ended, or has to be given up."""


class _Pacer:
    """Lets one pass every so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    async def turn(self) -> None:
        now = time.monotonic()
        wait = self._next - now
        self._next = max(now, self._next) + self._seconds
        if wait > 0:
            await asyncio.sleep(wait)


@dataclass(slots=True)
class _Connection:
    """One websocket from its opening to its end."""

    stream: BinanceStream
    status: ConnectionStatus
    symbols: tuple[str, ...]
    delivering: asyncio.Event = field(default_factory=asyncio.Event)
    _session: Session | None = None

    def follow(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        if self._session is not None:
            self._session.follow(symbols)

    async def run(self) -> str:
        """Delivers until the connection ends; gives the reason."""
        reason = "closed"
        try:
            await self.stream.pacer.turn()
            async with self.stream.connect() as websocket:
                self._session = Session(time.monotonic())
                self._session.follow(self.symbols)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._tend(websocket, self._session))
                    group.create_task(self._read(websocket, self._session))
        except* _LostError as lost:
            reason = str(lost.exceptions[0])
        except* (aiohttp.ClientError, OSError, TimeoutError) as trouble:
            first = trouble.exceptions[0]
            reason = f"{type(first).__name__}: {first}"
        return reason

    async def _tend(self, websocket: WebSocket, session: Session) -> None:
        while True:
            now = time.monotonic()
            if message := session.next_message(now):
                await websocket.send_str(message.decode())
            if verdict := session.verdict(now):
                raise _LostError(verdict)
            if silent := session.silent(now):
                self.status.silent += len(silent)
                log.warning("no candle of symbols, asking for them again", symbols=silent)
            await asyncio.sleep(TICK_SECONDS)

    async def _read(self, websocket: WebSocket, session: Session) -> None:
        taken = 0
        async for message in websocket:
            session.alive(time.monotonic())
            if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                taken += self._take(message.data, session)
            if taken >= FRAMES_AT_ONCE:
                # A burst lies in the buffer as a whole: what has been read is judged meanwhile.
                taken = 0
                await asyncio.sleep(0)
        raise _LostError(f"closed by the exchange with code {websocket.close_code}")

    def _take(self, raw: str | bytes, session: Session) -> bool:
        """Takes a frame; whether it was worth reading."""
        now = self.stream.clock.now_ms()
        self.status.frames += 1
        self.status.last_frame_at = now
        if session.complete and messages.is_update(raw):
            self.stream.keep_update(raw)
            return False
        try:
            frame = messages.parse_frame(raw, now)
        except messages.UnknownFrameError as error:
            data = raw.encode() if isinstance(raw, str) else raw
            self.stream.sinks.letter(data, error.reason)
            return True
        match frame:
            case Candle():
                if session.candle(frame.symbol):
                    self.delivering.set()
                self.stream.sinks.candle(frame)
            case messages.Ack():
                if trouble := session.answered(frame):
                    raise _LostError(trouble)
            case messages.ServerShutdown():
                raise _LostError("the exchange announced that it closes this connection")
        return True


class _Shard:
    """Some symbols, followed over one connection after another."""

    def __init__(self, stream: BinanceStream, number: int) -> None:
        self.symbols: list[str] = []
        self.status = ConnectionStatus(number)
        self._stream = stream
        self._backoff = Backoff(stream.random)
        self._current: _Connection | None = None
        self._lost_at: int | None = None

    def follow(self, symbols: list[str]) -> None:
        self.symbols = symbols
        self.status.symbols = len(symbols)
        if self._current is not None:
            self._current.follow(symbols)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await self._live(group)

    async def _live(self, group: asyncio.TaskGroup) -> None:
        """One connection, and the successors it hands over to, until one is lost."""
        connection, task = self._start(group)
        self._current = connection
        witness = group.create_task(self._await_data(connection))
        while True:
            due = self._rotation_seconds()
            rotation = group.create_task(self._stream.clock.sleep(due))
            await asyncio.wait({task, rotation}, return_when=asyncio.FIRST_COMPLETED)
            rotation.cancel()
            if task.done():
                break
            successor, its_task = self._start(group)
            if await self._takes_over(successor, its_task):
                task.cancel()
                self._current, connection, task = successor, successor, its_task
                connection.follow(self.symbols)
        witness.cancel()
        await self._mourn(task.result())

    def _start(self, group: asyncio.TaskGroup) -> tuple[_Connection, asyncio.Task[str]]:
        connection = _Connection(self._stream, self.status, tuple(self.symbols))
        return connection, group.create_task(connection.run())

    async def _await_data(self, connection: _Connection) -> None:
        await connection.delivering.wait()
        self._backoff.succeeded()
        self.status.delivering, self.status.circuit_open, self.status.failures = True, False, 0
        if self._lost_at is not None:
            self._tell_reconnected(self._lost_at)
            self._lost_at = None

    async def _takes_over(self, successor: _Connection, task: asyncio.Task[str]) -> bool:
        delivering = asyncio.ensure_future(successor.delivering.wait())
        await asyncio.wait({delivering, task}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        delivering.cancel()
        if successor.delivering.is_set() and not task.done():
            return True
        task.cancel()
        return False

    async def _mourn(self, reason: str) -> None:
        now = self._stream.clock.now_ms()
        if self._lost_at is None:
            self._lost_at = now
            lost = FeedLost(self._stream.name, self.status.number, tuple(self.symbols), now, reason)
            self._stream.sinks.event(lost)
        wait = self._backoff.failed()
        self.status.delivering, self.status.reason = False, reason
        self.status.failures = self._backoff.failures
        self.status.circuit_open = self._backoff.is_open
        await asyncio.sleep(wait)

    def _tell_reconnected(self, since: int) -> None:
        self._stream.sinks.event(
            Reconnected(
                self._stream.name,
                self.status.number,
                tuple(self.symbols),
                since,
                self._stream.clock.now_ms(),
            )
        )

    def _rotation_seconds(self) -> float:
        return ROTATE_AFTER_SECONDS - self._stream.random.uniform(0, ROTATION_SPREAD_SECONDS)


class BinanceStream:
    """The minutes of many symbols, spread over connections."""

    name = "binance"

    def __init__(
        self,
        session: aiohttp.ClientSession,
        clock: Clock,
        sinks: Sinks,
        *,
        url: str = STREAM_URL,
        random: Random | None = None,
        seconds_between_connects: float = SECONDS_BETWEEN_CONNECTS,
    ) -> None:
        """Takes a session, which stays the caller's."""
        self.clock, self.sinks = clock, sinks
        self.random = random or Random()  # noqa: S311 - jitter is no secret
        self.pacer = _Pacer(seconds_between_connects)
        self._session, self._url = session, url.rstrip("/") + ROUTE
        self._shards: list[_Shard] = []
        self._changed = asyncio.Event()
        self._updates: dict[str | bytes, str | bytes] = {}

    @property
    def connections(self) -> list[ConnectionStatus]:
        """What every connection is doing."""
        return [shard.status for shard in self._shards]

    def connect(self) -> aiohttp.client._WSRequestContextManager:
        """A new websocket; pings go out, as a half-open connection shows no other sign."""
        return self._session.ws_connect(
            self._url, heartbeat=20, max_msg_size=messages.MAX_FRAME, compress=0
        )

    def follow(self, symbols: Iterable[str]) -> None:
        """Follows these symbols from now on, and no others; symbols stay where they are."""
        wanted = set(symbols)
        kept = [[s for s in shard.symbols if s in wanted] for shard in self._shards]
        new = sorted(wanted.difference(*kept))
        while len(kept) * SYMBOLS_A_CONNECTION < len(wanted):
            kept.append([])
            self._shards.append(_Shard(self, len(self._shards)))
        for symbol in new:
            min(kept, key=len).append(symbol)
        for shard, its in zip(self._shards, kept, strict=True):
            shard.follow(its)
        self._changed.set()

    def keep_update(self, raw: str | bytes) -> None:
        """Takes an update of a running minute; most are overtaken before anybody looks."""
        if (key := messages.update_key(raw)) is not None:
            self._updates[key] = raw

    def prices(self) -> Mapping[str, float]:
        """Prices of running minutes that have come since this was last asked, by symbol."""
        updates, self._updates = self._updates, {}
        now = self.clock.now_ms()
        found = (messages.running_price(raw, now) for raw in updates.values())
        return dict(price for price in found if price is not None)

    async def run(self) -> None:
        """Delivers until cancelled."""
        running = 0
        async with asyncio.TaskGroup() as group:
            while True:
                for shard in self._shards[running:]:
                    group.create_task(shard.run())
                running = len(self._shards)
                self._changed.clear()
                await self._changed.wait()
