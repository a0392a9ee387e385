"""Buckets of the broker, and the alerts that are put aside there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from nats_server import NatsServer
from store_values import alert
from test_bus_jetstream import settings

from screenerd.bus.jetstream.bucket import Bucket, BucketError, NoAnswerError
from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.clock import SystemClock
from screenerd.cluster.shelf import BUCKET, BrokerShelf
from screenerd.notify.spare import Aside

pytestmark = pytest.mark.asyncio


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats").start()
    yield server
    server.stop()


@pytest_asyncio.fixture
async def bus(server: NatsServer) -> AsyncIterator[JetStreamBus]:
    async with JetStreamBus(settings(server), SystemClock()) as bus:
        yield bus


async def messages(bus: JetStreamBus, bucket: str) -> int:
    """How many the broker keeps for a bucket, whatever they say."""
    js = await bus.connection.ready()
    info = await js.stream_info(f"KV_{bucket}")
    return int(info.state.messages)


async def test_names_have_values_until_they_are_removed_without_a_trace(bus: JetStreamBus) -> None:
    one, other = Bucket(bus.connection, "some"), Bucket(bus.connection, "some")
    assert await one.everything() == {}
    assert await one.get("a") is None
    await one.put("a", b"1")
    await other.put("a", b"2")
    await other.put("b", b"")
    assert await one.get("a") == b"2"
    assert await one.everything() == {"a": b"2", "b": b""}
    await one.remove("a")
    await one.remove("a")
    assert await other.get("a") is None
    assert await other.everything() == {"b": b""}
    assert await messages(bus, "some") == 1


async def test_everything_is_all_there_is_every_time(bus: JetStreamBus) -> None:
    # The client's own watch of a bucket finds too little in one of twenty readings of this one.
    bucket = Bucket(bus.connection, "some")
    wanted = {f"name-{number}": b"x" * number for number in range(300)}
    await asyncio.gather(*(bucket.put(name, value) for name, value in wanted.items()))
    for _ in range(60):
        assert await bucket.everything() == wanted


async def test_everything_is_without_what_others_removed(bus: JetStreamBus) -> None:
    bucket = Bucket(bus.connection, "some")
    for name in ("a", "b", "c"):
        await bucket.put(name, b"1")
    kept = await (await bus.connection.ready()).key_value("some")
    await kept.delete("a")
    await kept.purge("b")
    assert await bucket.everything() == {"c": b"1"}


async def test_a_bucket_that_was_thrown_away_is_not_taken_for_an_empty_one(
    bus: JetStreamBus,
) -> None:
    bucket = Bucket(bus.connection, "some")
    await bucket.put("a", b"1")
    await (await bus.connection.ready()).delete_key_value("some")
    with pytest.raises(NoAnswerError):
        await bucket.everything()
    await bucket.put("a", b"2")
    assert await bucket.everything() == {"a": b"2"}


async def test_a_bucket_of_another_ttl_is_refused(bus: JetStreamBus) -> None:
    await Bucket(bus.connection, "some", ttl=6.0).put("a", b"1")
    with pytest.raises(BucketError, match=r"for 6\.0 s, not None s"):
        await Bucket(bus.connection, "some").get("a")


async def test_a_broker_that_is_gone_is_told_soon_and_found_again(
    bus: JetStreamBus, server: NatsServer
) -> None:
    bucket = Bucket(bus.connection, "some")
    await bucket.put("a", b"1")
    server.kill()
    with pytest.raises(NoAnswerError):
        async with asyncio.timeout(10):
            await bucket.get("a")
    server.start()
    async with asyncio.timeout(20):
        while not bus.connection.is_up:
            await asyncio.sleep(0.05)
        assert await bucket.get("a") == b"1"


async def test_alerts_put_aside_come_back_as_they_were(bus: JetStreamBus) -> None:
    shelf = BrokerShelf(bus)
    first = replace(alert(1), stamps=replace(alert(1).stamps, stored=None))
    given = [
        Aside(first.id, first, {"hook": None, "币 #withdrawn": 1_732_190_400_123}),
        Aside("00000000-0000-5000-8000-000000000002", None, {"hook": 5}),
    ]
    for one in given:
        await shelf.put(one)
    assert sorted(await shelf.everything(), key=lambda one: one.alert_id) == given
    await shelf.put(replace(given[0], channels={"hook": 7}))
    await shelf.remove(given[1].alert_id)
    assert await BrokerShelf(bus).everything() == [replace(given[0], channels={"hook": 7})]


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b"{}", b'{"channels":{},"alert":{},"subject":"alerts.triggered"}']
)
async def test_what_is_not_understood_is_left_alone(bus: JetStreamBus, value: bytes) -> None:
    shelf = BrokerShelf(bus)
    known = Aside("00000000-0000-5000-8000-000000000002", None, {"hook": 5})
    await shelf.put(known)
    await Bucket(bus.connection, BUCKET).put("strange", value)
    assert await shelf.everything() == [known]
    assert await messages(bus, BUCKET) == 2
