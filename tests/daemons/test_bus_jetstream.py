"""The bus over a real broker: what it promises, and what it does when the broker is ill-treated."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats_server import NatsServer

from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.settings import BusSettings
from screenerd.bus.port import Message, Received, Subscription
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
        sent: list[Message] = [Followed("x", ("AUSDT",), 1), batch(1), lost, batch(2)]
        for message in [*sent, alert(1), alert(2)]:
            await bus.publish(message)
        assert [one.message for one in await take(candles, 4)] == sent
        found = await take(alerts, 2)
    assert [(one.message, one.offset) for one in found] == [(alert(1), 1), (alert(2), 2)]


async def publish_all(bus: JetStreamBus, numbers: range) -> None:
    """Some at once, as several feeds do."""
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            await bus.publish(batch(number))

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(worker())


def minutes(found: list[Received]) -> list[int]:
    told = []
    for received in found:
        assert isinstance(received.message, CandleBatch)
        told += [one.open_time // 60_000 for one in received.message.candles]
    return told


async def test_kills_of_the_broker_lose_nothing_and_double_nothing(server: NatsServer) -> None:
    count, kills = 2000, 5
    async with bus_of(server) as bus, bus_of(server) as other:
        ordered = other.subscribe("ordered", CandleBatch, limit=100)
        lasting = other.subscribe("lasting", CandleBatch, limit=100, lasting=True)
        await ordered.begin()
        await lasting.begin()
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            in_order = group.create_task(take(ordered, count))
            once = group.create_task(take(lasting, count))
            publishing = group.create_task(publish_all(bus, range(count)))
            for kill in range(kills):
                while bus.counters.published < count * (kill + 1) // (kills + 1):
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            await publishing
        assert bus.counters.reconnects == kills
        assert sorted(minutes(in_order.result())) == list(range(count))
        assert sorted(minutes(once.result())) == list(range(count))
        assert minutes(in_order.result()) == minutes(once.result())


async def test_core_publishing_loses_messages_under_the_same_kills(server: NatsServer) -> None:
    """The control: without acknowledgements the same kills are seen to lose."""
    count, kills = 2000, 5
    async with bus_of(server) as bus:
        for number in range(count):
            if number % (count // (kills + 1)) == count // (kills + 1) - 1:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            await bus.connection.pass_on("alerts.triggered", b"%d" % number)
            await asyncio.sleep(0)
        js = await bus.connection.ready()
        info = await js.stream_info("ALERTS")
        assert info.state.messages < count
