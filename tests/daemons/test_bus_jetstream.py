"""The bus over a real broker: what it promises, and what it does when the broker is ill-treated."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats_server import NatsServer

from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.settings import BusSettings
from screenerd.bus.port import Received, Subscription
from screenerd.clock import SystemClock
from screenerd.model import Alert, Candle, CandleBatch, FeedLost, Followed, Stamps

pytestmark = pytest.mark.asyncio

SECONDS = 30


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats").start()
    yield server
    server.stop()


def settings(server: NatsServer, **changes: object) -> BusSettings:
    base = {
        "servers": (server.url,),
        "monitor": server.monitor,
        "reconnect_seconds": 0.05,
        "watch_seconds": 0.3,
        "ack_seconds": 2,
        "redeliver_seconds": 2,
        "views": False,
    }
    return BusSettings.model_validate(base | changes)


def bus_of(server: NatsServer, **changes: object) -> JetStreamBus:
    return JetStreamBus(settings(server, **changes), SystemClock())


def candle(symbol: str, minute: int, close: float = 2.0) -> Candle:
    return Candle(symbol, minute * 60_000, 1.0, 3.0, 0.5, close, 10.0, 20.0, received_at=5)


def batch(number: int) -> CandleBatch:
    return CandleBatch("x", (candle("AUSDT", number),))


def alert(number: int, state: str = "confirmed") -> Alert:
    return Alert(
        f"alert-{number}", 60_000 * number, "x", "AUSDT", "rule", "Rule", "up", "5m", 1.5,
        2.0, 3.0, None, state, "0123", {"change_5m": 1.0}, Stamps(1, None, 2, 3),
    )  # fmt: skip


async def take(subscription: Subscription, count: int) -> list[Received]:
    """The next so many; says they are done."""
    found: list[Received] = []
    async with asyncio.timeout(SECONDS):
        async for received in subscription:
            found.append(received)
            await subscription.done(received)
            if len(found) == count:
                break
    return found


async def test_every_subscriber_gets_its_kinds_in_order(server: NatsServer) -> None:
    async with bus_of(server) as bus:
        candles = bus.subscribe("a", CandleBatch, FeedLost, Followed, limit=100)
        alerts = bus.subscribe("b", Alert, limit=100)
        for subscription in (candles, alerts):
            await subscription.begin()
        lost = FeedLost("x", 0, ("AUSDT",), 1, "why")
        sent = [Followed("x", ("AUSDT",), 1), batch(1), lost, batch(2)]
        for message in [*sent, alert(1), alert(2)]:
            await bus.publish(message)
        assert [one.message for one in await take(candles, 4)] == sent
        found = await take(alerts, 2)
    assert [(one.message, one.offset) for one in found] == [(alert(1), 1), (alert(2), 2)]
