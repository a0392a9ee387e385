"""The service alone, on a bus and a store of its own, with what a test puts there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from scripted import candle

import screener
from screenerd.bus.memory import MemoryBus
from screenerd.clock import SystemClock
from screenerd.model import (
    MINUTE_MS,
    Alert,
    CandleBatch,
    Health,
    Metrics,
    Stamps,
    SymbolStatus,
    SystemStatus,
)
from screenerd.serve.access.keys import KeyFile
from screenerd.serve.service import Serve
from screenerd.serve.settings import ServeConfig
from screenerd.store.sqlite import SqliteStore

RULES = screener.RuleSet.load("futures", floors=True)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "币安人生USDT")
UP = {
    "data_collector": "up",
    "metrics_calculator": "up",
    "alert_engine": "up",
    "database": "up",
    "nats": "up",
}


@dataclass
class Served:
    """What runs, and how to talk to it."""

    serve: Serve
    bus: MemoryBus
    store: SqliteStore
    keys: KeyFile
    http: aiohttp.ClientSession
    now: int
    system: SystemStatus
    symbols: tuple[SymbolStatus, ...]
    engine: screener.Engine
    told: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    opened: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.serve.address.rpartition(":")[2])

    async def get(self, path: str, **more: Any) -> tuple[int, Any, aiohttp.ClientResponse]:
        """A GET: status, JSON if it is some, and the answer."""
        return await self.ask("GET", path, **more)

    async def ask(
        self, method: str, path: str, **more: Any
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Any request: status, JSON if it is some, and the answer."""
        more["headers"] = self.headers | more.get("headers", {})
        async with self.http.request(method, self.serve.address + path, **more) as answer:
            body = await answer.read()
            value = orjson.loads(body) if answer.content_type == "application/json" else body
            return answer.status, value, answer

    @contextlib.asynccontextmanager
    async def socket(
        self, *, subscribe: dict[str, Any] | None = None, **more: Any
    ) -> AsyncIterator[Listener]:
        """A websocket, subscribed if asked for."""
        url = self.serve.address + "/ws/alerts"
        async with self.http.ws_connect(url, **more) as websocket:
            listener = Listener(websocket)
            if subscribe is not None:
                await listener.say({"type": "subscribe", **subscribe})
            yield listener

    async def publish(self, **values: object) -> Alert:
        """Puts an alert onto the bus, and into the store."""
        self.told += 1
        alert = an_alert(self.now + self.told * 1000, **values)
        await self.store.write(alert)
        await self.bus.publish(alert)
        return alert

    async def publish_metrics(self) -> None:
        """Puts the metrics of all symbols onto the bus."""
        await self.bus.publish(Metrics("binance", self.engine.snapshot()))


@dataclass
class Listener:
    """A client of the websocket."""

    websocket: aiohttp.ClientWebSocketResponse[bool]

    async def say(self, value: object) -> None:
        """Sends a message."""
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        await self.websocket.send_str(text)

    async def hear(self, kind: str | None = None, seconds: float = 10) -> dict[str, Any]:
        """The next message, or the next of a kind."""
        async with asyncio.timeout(seconds):
            while True:
                message = await self.websocket.receive()
                assert message.type is aiohttp.WSMsgType.TEXT, message
                value: dict[str, Any] = orjson.loads(message.data)
                if kind is None or value["type"] == kind:
                    return value

    async def ended(self, seconds: float = 20) -> int | None:
        """Its close code, once it has ended."""
        async with asyncio.timeout(seconds):
            while True:
                message = await self.websocket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return self.websocket.close_code


def an_alert(triggered_at: int, **values: object) -> Alert:
    """An alert of a rule that holds, with evidence."""
    rule = RULES[str(values.get("rule", "pioneer_bull"))]
    up = 1.0 if rule.direction == "up" else -1.0
    made = Alert(
        id=f"{triggered_at:08x}-0000-5000-8000-{abs(hash((rule.name, triggered_at))) % 10**12:012}",
        triggered_at=triggered_at,
        exchange="binance",
        symbol="BTCUSDT",
        rule=rule.name,
        title=rule.title,
        direction=rule.direction,
        timeframe=rule.timeframe,
        price=100.5,
        quote_volume=1e6,
        change=2.0 * up,
        vcp=None,
        state="confirmed",
        rule_version=rule.version,
        evidence=dict.fromkeys(rule.metrics, 2.0 * up),
        stamps=Stamps(triggered_at, triggered_at + 30, triggered_at + 40, triggered_at + 45),
    )
    return replace(made, **values)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def serving(
    path: Path,
    *,
    rules: screener.RuleSet = RULES,
    minutes: int = 180,
    change: Callable[[SystemStatus], SystemStatus] = lambda system: system,
    **config: Any,
) -> AsyncIterator[Served]:
    """Starts it on a store with some hours of candles of three symbols; stops it cleanly."""
    clock = SystemClock()
    now = clock.now_ms() // MINUTE_MS * MINUTE_MS
    config = {"port": 0, "requests_a_minute": 1_000_000, "handshakes_a_minute": 100_000} | config
    keys = KeyFile(path.with_suffix(".keys"))
    engine = screener.Engine(rules=rules, exchange="binance")
    symbols = tuple(SymbolStatus(name, now, warm=True, missing=0) for name in SYMBOLS)
    system = change(
        SystemStatus("binance", Health("ok"), dict(UP), now, 1.0, now, 3, 3)  # type: ignore[arg-type]
    )
    bus = MemoryBus()
    async with SqliteStore(path, clock) as store, aiohttp.ClientSession() as http:
        candles = [
            _candle(s, now - (minutes - n) * MINUTE_MS, n) for n in range(minutes) for s in SYMBOLS
        ]
        await store.write(CandleBatch("binance", tuple(candles)))
        engine.warm_up(await store.minutes("binance", SYMBOLS, 0, now))
        serve = Serve(
            bus,
            store,
            clock,
            ServeConfig(**config),
            rules=rules,
            keys=keys,
            status=lambda: served.system,
            symbols=lambda: served.symbols,
            prometheus=lambda: b"up 1\n",
        )
        served = Served(serve, bus, store, keys, http, now, system, symbols, engine)
        running = asyncio.create_task(serve.run())
        try:
            await until_answers(served)
            yield served
        finally:
            for writer in served.opened:
                writer.close()
            await bus.close()
            serve.stop()
            await running
            serve.close()


async def until_answers(served: Served, seconds: float = 10) -> None:
    """Waits until it serves."""
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                await served.get("/health/live")
                return
            await asyncio.sleep(0.01)


def _candle(symbol: str, open_time: int, number: int) -> Any:
    close = 100 + number % 7 + len(symbol)
    return replace(
        candle(symbol, 0),
        open_time=open_time,
        open=close - 0.5,
        high=close + 1.0,
        low=close - 1.0,
        close=float(close),
        received_at=open_time + MINUTE_MS + 40,
    )
