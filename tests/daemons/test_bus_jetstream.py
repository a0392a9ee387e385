"""The bus over a real broker: what it promises, and what it does when the broker is ill-treated."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from nats.aio.msg import Msg
from nats.js.api import ConsumerInfo
from nats_server import NatsServer, version_of
from pydantic import SecretStr

from screener import RuleSet
from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.check import OLDEST, BrokerError, faults
from screenerd.bus.jetstream.settings import AT_RISK, BusSettings
from screenerd.bus.jetstream.subjects import Stream
from screenerd.bus.port import Message, Received, Subscription
from screenerd.clock import SystemClock
from screenerd.model import (
    Alert,
    Candle,
    CandleBatch,
    FeedLost,
    Followed,
    Metrics,
    Prices,
    Report,
    RulesChanged,
    Stamps,
)
from screenerd.shards import Shard

pytestmark = pytest.mark.asyncio


SECONDS = 110
"""What is not so after that long never will be."""


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
        "ack_seconds": 20,  # a busy disk takes its time; a lost connection ends a wait at once
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
    # What was asked of a broker that was killed is asked again after that long.
    soon = {"ack_seconds": 5}
    async with bus_of(server, **soon) as bus, bus_of(server, **soon) as other:
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


async def until(holds: Callable[[], bool]) -> None:
    """Waits for a condition, with a deadline."""
    async with asyncio.timeout(SECONDS):
        while not holds():
            await asyncio.sleep(0.02)


async def knows(bus: JetStreamBus, holds: Callable[[ConsumerInfo], bool]) -> None:
    """Waits for what `persist` has said to be known to the broker."""
    js = await bus.connection.ready()
    async with asyncio.timeout(SECONDS):
        while not holds(await js.consumer_info("CANDLES", "persist")):
            await asyncio.sleep(0.02)


async def dead(bus: JetStreamBus) -> list[dict[str, Any]]:
    """What was put aside."""
    js = await bus.connection.ready()
    last = (await js.stream_info("DEAD")).state.last_seq
    found = [(await js.get_msg("DEAD", number + 1)).data for number in range(last)]
    return [orjson.loads(one) for one in found if one]


async def test_what_was_not_done_comes_again_first_and_in_order(server: NatsServer) -> None:
    async with bus_of(server, redeliver_seconds=3600) as bus:
        lasting = bus.subscribe("persist", CandleBatch, limit=100, lasting=True)
        for number in range(6):
            await bus.publish(batch(number))
        found = []
        async for received in lasting:
            found.append(received)
            if len(found) == 4:
                break
        await lasting.done(found[0])
        await lasting.done(found[2])
    async with bus_of(server, redeliver_seconds=3600) as bus:
        await bus.publish(batch(6))
        again = bus.subscribe("persist", CandleBatch, limit=100, lasting=True)
        assert minutes(await take(again, 5)) == [1, 3, 4, 5, 6]


async def test_what_is_held_is_not_given_to_another(server: NatsServer) -> None:
    changes = {"redeliver_seconds": 3}
    async with bus_of(server, **changes) as bus, bus_of(server, **changes) as other:
        holding = bus.subscribe("persist", CandleBatch, limit=1, lasting=True)
        await holding.begin()
        await bus.publish(batch(0))
        [received] = [await anext(aiter(holding))]
        second = other.subscribe("persist", CandleBatch, limit=1, lasting=True)
        await second.begin()
        await asyncio.sleep(7.5)  # two and a half times its patience
        assert second.status.waiting == 0
        await holding.done(received)
        js = await bus.connection.ready()
        info = await js.consumer_info("CANDLES", "persist")
        assert info.num_redelivered == 0


async def test_who_begins_after_another_gets_what_that_one_has_not_done(
    server: NatsServer,
) -> None:
    async with bus_of(server) as bus:
        lasting = bus.subscribe("persist", CandleBatch, limit=100, lasting=True)
        for number in range(10):
            await bus.publish(batch(number))
        await take(lasting, 6)
        await knows(bus, lambda info: info.ack_floor is not None and info.ack_floor.stream_seq == 6)
        screen = bus.subscribe("screen", CandleBatch, Followed, limit=100, after="persist")
        await screen.begin()
        await bus.publish(batch(10))
        assert minutes(await take(screen, 5)) == [6, 7, 8, 9, 10]
        nobody = bus.subscribe("other", CandleBatch, limit=100, after="nobody")
        assert minutes(await take(nobody, 11)) == list(range(11))


async def test_a_shard_gets_its_symbols_and_all_that_is_listed(server: NatsServer) -> None:
    symbols = [f"S{number}USDT" for number in range(40)]
    async with bus_of(server, shards=4) as bus:
        shard = bus.subscribe("screen", CandleBatch, Followed, limit=100, shard=1)
        await shard.begin()
        await bus.publish(CandleBatch("x", tuple(candle(symbol, 1) for symbol in symbols)))
        await bus.publish(Followed("x", ("A",), 1))
        candles, listed = [one.message for one in await take(shard, 2)]
    assert isinstance(candles, CandleBatch)
    assert [one.symbol for one in candles.candles] == [s for s in symbols if Shard(1, 4).owns(s)]
    assert isinstance(listed, Followed)


async def test_poison_is_put_aside_and_the_others_flow(server: NatsServer) -> None:
    async with bus_of(server) as bus:
        lasting = bus.subscribe("persist", CandleBatch, limit=100, lasting=True)
        ordered = bus.subscribe("screen", CandleBatch, limit=100)
        await ordered.begin()
        js = await bus.connection.ready()
        await bus.publish(batch(0))
        await js.publish("candles.1m.batch.x.0", b'[{"exchange": "x"}]')
        await bus.publish(batch(1))
        assert minutes(await take(lasting, 2)) == [0, 1]
        assert minutes(await take(ordered, 2)) == [0, 1]
        await until(lambda: bus.counters.dead == 2)
        [one] = await dead(bus)
        assert (one["stream"], one["sequence"]) == ("CANDLES", 2)
        assert "missing required field `" in one["reason"]
        await knows(bus, lambda info: info.num_ack_pending == 0)


async def test_what_ends_its_subscriber_too_often_is_put_aside(server: NatsServer) -> None:
    lives = 0
    seen: list[int] = []
    async with bus_of(server) as bus:
        for number in range(4):
            await bus.publish(batch(number))
    while not seen or seen[-1] != 3:
        lives += 1
        assert lives <= 4
        async with bus_of(server, max_deliver=3) as bus:
            lasting = bus.subscribe("persist", CandleBatch, limit=100, lasting=True)
            async with asyncio.timeout(SECONDS):
                async for received in lasting:
                    [minute] = minutes([received])
                    if minute == 1:
                        break  # the end of the process
                    seen.append(minute)
                    await lasting.done(received)
                    if minute == 3:
                        break
            if lives == 4:
                await until(lambda: bus.counters.dead == 1)
    assert (lives, seen) == (4, [0, 2, 3])
    async with bus_of(server) as bus:
        [one] = await dead(bus)
    assert one["sequence"] == 2
    assert "ended" in one["reason"]


async def test_a_duplicate_outside_the_brokers_window_is_handed_on_once(
    server: NatsServer,
) -> None:
    async with bus_of(server, duplicate_seconds=3) as bus:
        alerts = bus.subscribe("serve", Alert, limit=100)
        await alerts.begin()
        await bus.publish(alert(1))
        await bus.publish(alert(1))  # inside of it: the broker knows
        js = await bus.connection.ready()
        assert (await js.stream_info("ALERTS")).state.messages == 1
        async with asyncio.timeout(SECONDS):
            while (await js.stream_info("ALERTS")).state.messages == 1:
                await asyncio.sleep(0.3)
                await bus.publish(alert(1))
        await bus.publish(alert(1, "withdrawn"))
        found = await take(alerts, 2)
        assert [one.message for one in found] == [alert(1), alert(1, "withdrawn")]
        assert bus.counters.duplicates >= 1


async def test_a_slow_subscriber_is_behind_and_loses_nothing(server: NatsServer) -> None:
    async with bus_of(server) as bus:
        slow = bus.subscribe("slow", CandleBatch, limit=3)
        lasting = bus.subscribe("lasting", CandleBatch, limit=3, lasting=True)
        await slow.begin()
        await lasting.begin()
        for number in range(50):
            await bus.publish(batch(number))
        await until(lambda: slow.status.waiting == 3 and lasting.status.waiting == 3)
        await until(lambda: bus.health.lags["slow", Stream.CANDLES] == 47)
        assert minutes(await take(slow, 50)) == list(range(50))
        assert minutes(await take(lasting, 50)) == list(range(50))


async def test_a_deleted_stream_is_made_again_and_read_on(server: NatsServer) -> None:
    async with bus_of(server) as bus:
        ordered = bus.subscribe("screen", CandleBatch, limit=100)
        lasting = bus.subscribe("persist", CandleBatch, limit=100, lasting=True)
        await ordered.begin()
        await lasting.begin()
        await bus.publish(batch(0))
        assert minutes(await take(ordered, 1)) == [0]
        assert minutes(await take(lasting, 1)) == [0]
        js = await bus.connection.ready()
        await js.delete_stream("CANDLES")
        await bus.publish(batch(1))
        await bus.publish(batch(2))
        assert minutes(await take(ordered, 2)) == [1, 2]
        assert minutes(await take(lasting, 2)) == [1, 2]


async def test_a_deleted_consumer_is_made_again_where_it_was(server: NatsServer) -> None:
    async with bus_of(server) as bus:
        ordered = bus.subscribe("screen", CandleBatch, limit=100)
        await ordered.begin()
        await bus.publish(batch(0))
        assert minutes(await take(ordered, 1)) == [0]
        js = await bus.connection.ready()
        for info in await js.consumers_info("CANDLES"):
            await js.delete_consumer("CANDLES", info.name)
        await bus.publish(batch(1))
        assert minutes(await take(ordered, 1)) == [1]
        assert bus.counters.reopened >= 1


async def test_a_full_stream_is_told_and_goes_on_when_there_is_room(server: NatsServer) -> None:
    small = {"max_age": 3600, "max_bytes": 20_000}
    async with bus_of(server, candles=small) as bus:
        js = await bus.connection.ready()

        async def publish() -> None:
            for number in range(200):
                await bus.publish(batch(number))

        publishing = asyncio.create_task(publish())
        await until(lambda: "the stream is full" in bus.health.trouble)
        assert bus.health.publishing == 1
        kept = (await js.stream_info("CANDLES")).state
        assert (kept.first_seq, kept.messages) == (1, bus.counters.published)
        while not publishing.done():
            await js.purge_stream("CANDLES")
            await asyncio.wait([publishing], timeout=0.2)
        assert (await js.stream_info("CANDLES")).state.last_seq == 200
        assert bus.health.trouble == ""


async def test_an_outage_drops_what_is_not_kept_and_keeps_what_is(server: NatsServer) -> None:
    async with bus_of(server) as bus:
        prices = bus.subscribe("serve", Prices, limit=100)
        candles = bus.subscribe("screen", CandleBatch, limit=100)
        await prices.begin()
        await candles.begin()
        server.kill()
        await until(lambda: not bus.health.up)
        await bus.publish(Prices("x", 1, {"A": 1.0}))
        assert bus.counters.dropped == 1
        publishing = asyncio.create_task(bus.publish(batch(0)))
        await asyncio.sleep(0.5)  # ten times what is waited between attempts
        assert bus.health.publishing == 1
        assert bus.health.why
        await asyncio.to_thread(server.start)
        await publishing
        assert minutes(await take(candles, 1)) == [0]
        await bus.publish(Prices("x", 2, {"A": 2.0}))
        [one] = await take(prices, 1)
        assert isinstance(one.message, Prices)
        assert one.message.at == 2
        assert bus.health.up


async def test_a_client_that_has_closed_itself_is_replaced(server: NatsServer) -> None:
    async with bus_of(server) as bus:
        candles = bus.subscribe("screen", CandleBatch, limit=100)
        reports = bus.subscribe("serve", Report, limit=100)
        await candles.begin()
        await reports.begin()
        first = bus.connection.client
        await first.close()
        await until(lambda: bus.connection.client is not first)
        await bus.publish(batch(0))
        assert minutes(await take(candles, 1)) == [0]
        report = Report("ingest", "a", 1, {"symbols": 3})
        taking = asyncio.create_task(take(reports, 1))
        while not taking.done():
            await bus.publish(report)
            await asyncio.wait([taking], timeout=0.05)
        assert taking.result()[0].message == report


async def test_a_new_subscriber_gets_the_newest_alerts_and_metrics(server: NatsServer) -> None:
    frame = pl.DataFrame({"symbol": ["A"], "open_time": [0], "price": [1.5]})
    async with bus_of(server, replayed_alerts=3, shards=1) as bus:
        for number in range(10):
            await bus.publish(alert(number))
            await bus.publish(batch(number))
        await bus.publish(Metrics("x", frame))
        alerts = bus.subscribe("a", Alert, limit=100)
        metrics = bus.subscribe("b", Metrics, limit=100)
        candles = bus.subscribe("c", CandleBatch, limit=100)
        await candles.begin()
        await bus.publish(batch(10))
        assert [one.offset for one in await take(alerts, 3)] == [8, 9, 10]
        [one] = await take(metrics, 1)
        assert isinstance(one.message, Metrics)
        assert one.message.frame.equals(frame)
        assert minutes(await take(candles, 1)) == [10]


async def test_the_epoch_is_the_same_for_all_until_the_alerts_are_others(
    server: NatsServer,
) -> None:
    async with bus_of(server) as bus, bus_of(server) as other:
        first = await bus.epoch()
        assert await other.epoch() == first
        js = await bus.connection.ready()
        await js.delete_stream("ALERTS")
        await bus.publish(alert(1))
        assert await bus.epoch() == await other.epoch() != first


async def test_closing_ends_who_reads_after_what_waits_was_taken(server: NatsServer) -> None:
    rules = RulesChanged(RuleSet.load("futures"))
    async with bus_of(server) as bus:
        first = bus.subscribe("first", CandleBatch, RulesChanged, limit=100)
        second = bus.subscribe("second", CandleBatch, limit=100)
        await first.begin()
        await second.begin()
        await bus.publish(batch(0))
        await bus.publish(rules)
        await until(lambda: first.status.waiting == 2)
        await bus.close("first")
        found = [one.message async for one in first]
        assert sorted(type(one).__name__ for one in found) == ["CandleBatch", "RulesChanged"]
        assert [one.name for one in bus.statuses] == ["second"]
        await bus.publish(batch(1))
        assert minutes(await take(second, 2)) == [0, 1]
    assert [one async for one in second] == []


async def test_views_are_told_to_other_consumers(server: NatsServer) -> None:
    async with bus_of(server, views=True) as bus:
        seen: list[str] = []

        async def heard(msg: Msg) -> None:
            seen.append(msg.subject)

        await bus.connection.client.subscribe("candles.1m.*", cb=heard)
        await bus.publish(CandleBatch("x", (candle("A.B", 1), candle("C", 1))))
        await until(lambda: len(seen) == 2)
    assert seen == ["candles.1m.A%2EB", "candles.1m.C"]


async def test_a_broker_that_may_lose_is_refused(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", sync='"10s"').start()
    try:
        with pytest.raises(BrokerError, match=r"sync_interval.*power cut.*nats\.conf.*at_risk"):
            async with bus_of(server):
                pass
        with pytest.raises(BrokerError, match="no monitoring address"):
            async with bus_of(server, monitor=None):
                pass
        async with bus_of(server, at_risk=AT_RISK) as bus:
            await bus.publish(batch(0))
    finally:
        server.stop()


async def test_a_broker_that_is_too_old_is_refused(tmp_path: Path) -> None:
    old = shutil.which("nats-server")
    if old is None or version_of(old) >= OLDEST:
        pytest.skip("no old nats-server is installed")
    server = NatsServer(tmp_path / "nats", sync="", program=Path(old)).start()
    try:
        with pytest.raises(BrokerError, match=r"is older than 2\.10\.23"):
            async with bus_of(server):
                pass
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("version", "monitor", "told"),
    [
        ("2.9.10", {"jetstream": {"config": {"sync_always": True}}}, "older than 2.10.23"),
        ("2.10.22", {"jetstream": {"config": {"sync_always": True}}}, "older than 2.10.23"),
        ("2.10.23", {"jetstream": {"config": {}}}, "does not write through"),
        ("2.10.23", {}, "does not write through"),
        ("2.12.1-RC.1", None, "unknown, because"),
    ],
)
async def test_what_puts_messages_at_risk_is_told(
    version: str, monitor: dict[str, Any] | None, told: str
) -> None:
    [fault] = faults(version, monitor, "it is away")
    assert told in fault
    assert faults("2.10.23", {"jetstream": {"config": {"sync_always": True}}}) == []


async def test_a_risk_is_accepted_in_its_words_only() -> None:
    with pytest.raises(ValueError, match="acknowledged messages may be lost"):
        BusSettings(at_risk="yes")


@pytest.mark.parametrize(
    ("servers", "told"),
    [
        ("", "names no server"),
        ("localhost:4222", "as nats://host:port"),
        ("nats://localhost:99999", "Port out of range 0-65535"),
        ("nats://localhost:port", "Port could not be cast"),
        ("nats://me:secret@localhost", "bus.user and bus.password"),
    ],
)
async def test_a_server_that_cannot_be_one_is_told(servers: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        BusSettings.model_validate({"servers": servers})
    assert "servers" in str(refused.value)


async def test_no_secret_is_in_what_settings_show() -> None:
    settings = BusSettings(token=SecretStr("hidden"), password=SecretStr("hidden"))
    assert "hidden" not in repr(settings)
    assert "hidden" not in settings.model_dump_json()
