"""The database is away: alerts go out all the same, once, and everything is stored when it is back.

Candles and alerts wait with the broker; so does what was sent of them.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest
from cluster import Cluster, clustered, listening
from databases import ask
from fake_target import FakeTarget, fake_target
from test_cluster_flow import is_right, next_minute, settings

from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.clock import SystemClock
from screenerd.cluster.shelf import BrokerShelf
from screenerd.config import Config

pytestmark = pytest.mark.asyncio

ROLES = [("ingest", 1), ("screen", 1), ("persist", 1), ("notify", 2), ("serve", 1)]
PHASE = 12
"""Alerts that are waited for in each part of the outage."""


def messages(target: FakeTarget) -> list[list[str]]:
    """The alerts of each message that arrived; one that is late tells several."""
    found = []
    for got in target.got:
        alerts = got.json.get("alerts", [got.json])
        assert isinstance(alerts, list)
        found.append([one["id"] for one in alerts])
    return found


def sent(target: FakeTarget) -> Counter[str]:
    """How often each alert arrived."""
    found: Counter[str] = Counter()
    for alerts in messages(target):
        found.update(alerts)
    return found


async def more(it: Cluster, target: FakeTarget, count: int) -> None:
    """Waits until so many other alerts have arrived."""
    before = set(sent(target))
    await it.until(lambda: len(sent(target).keys() - before) >= count)


async def put_aside(it: Cluster) -> int:
    """How many alerts are kept with the broker."""
    config = Config.model_validate(it.config("notify", 0))
    async with JetStreamBus(config.bus, SystemClock()) as bus:
        return len(await BrokerShelf(bus).everything())


@pytest.mark.parametrize("how", ["killed", "stands still"])
async def test_notifications_do_not_wait_for_the_database(tmp_path: Path, how: str) -> None:
    async with (
        fake_target() as target,
        clustered(tmp_path, *ROLES, **settings(tmp_path, target)) as it,
        listening(it) as client,
    ):
        await it.well()
        await more(it, target, PHASE)
        if how == "killed":
            it.database.kill()
        else:
            it.database.stand_still()
        await more(it, target, PHASE)
        # Whoever delivers dies as well: the other one knows what was sent.
        await it.role("notify", 0).end(signal.SIGKILL)
        await more(it, target, PHASE)
        assert await put_aside(it) >= PHASE
        if how == "killed":
            it.database.start()
        else:
            it.database.go_on()
        await it.start("notify", 0)
        await it.well()
        until = next_minute(it, 2)
        await it.until(lambda: it.complete(until))
        await more(it, target, 1)
        await asyncio.sleep(it.clock.real(60))
        heard = Counter(client.heard)
        await it.end()
        promise, left = await it.promise(until), await it.left()
        assert await put_aside(it) == 0
        states = ask(it.database.url, "SELECT state, count(*) FROM outbox GROUP BY state")
    is_right(left, it, promise)
    twice = {one for one, times in sent(target).items() if times > 1}
    on_its_way = any(twice <= set(alerts) for alerts in messages(target))
    assert on_its_way, "only a message that was on its way when its sender was killed"
    assert max(heard.values()) == 1
    # What was raised in the last minute may be on its way when the roles end.
    old = {one.id for one in left.alerts if one.triggered_at < until}
    assert old <= sent(target).keys()
    assert dict(states).get("dead", 0) == 0
    assert len(old) > 3 * PHASE
