"""From the market to a client and a webhook, every role a process of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from cluster import Cluster, clustered, listening
from fake_target import FakeTarget, fake_target
from killing import COUNTING_RULES, Left, Promise, compare

import screener
from screenerd.cluster.scale import rescale
from screenerd.config import Config
from screenerd.model import MINUTE_MS, Alert

pytestmark = pytest.mark.asyncio
RULES = screener.RuleSet.load("futures").to_toml() + COUNTING_RULES


def settings(folder: Path, target: FakeTarget) -> dict[str, Any]:
    """Rules that tell often, and a webhook that is told of each alert by itself."""
    (folder / "rules.toml").write_text(RULES, encoding="utf-8")
    hook = {
        "kind": "webhook",
        "name": "hook",
        "url": target.url + "/hook",
        "allow_private": True,
        "secret": "nothing but a test",
    }
    return {"rules": {"name": str(folder / "rules.toml")}, "notify": {"channels": [hook]}}


LIFE = {
    "ingest": "candle told",
    "screen": "alert raised",
    "persist": "alert stored",
    "serve": "alert told",
}
"""What each role tells of the candle that raised an alert, in the order of its life."""


def logged(folder: Path, role: str, event: str) -> list[dict[str, Any]]:
    """The events of a role's processes, of one kind."""
    text = b"".join(file.read_bytes() for file in folder.glob(f"{role}-*.log"))
    lines = [line for line in text.splitlines() if line.startswith(b"{")]
    return [one for one in map(orjson.loads, lines) if one["event"] == event]


def next_minute(it: Cluster, more: int = 0) -> int:
    """When the running minute, and so many after it, will be over."""
    return (it.clock.now_ms() // MINUTE_MS + 1 + more) * MINUTE_MS


def is_right(left: Left, it: Cluster, promise: Promise) -> None:
    """Minutes are the market's, and alerts those of a replay of it."""
    counts = compare(left, it.market, RULES, promise).counts()
    assert counts == dict.fromkeys(counts, 0)


async def test_every_role_alone_gives_what_one_process_gives(tmp_path: Path) -> None:
    async with (
        fake_target() as target,
        clustered(tmp_path, log={"level": "debug"}, **settings(tmp_path, target)) as it,
    ):
        await it.ready()
        await it.well()
        async with listening(it) as client:
            until = next_minute(it, 10)
            await it.until(lambda: it.complete(until))
            await it.until(lambda: it.judged(until))
            status, told = await it.get("/api/alerts?limit=1000")
            assert status == 200
            metrics = (await it.get("/api/metrics"))[1]
            assert {one["symbol"] for one in metrics} == {one.symbol for one in it.market.contracts}
            heard = Counter(client.heard)
            # What is told by now is stored before the roles are told to end.
            await asyncio.sleep(it.clock.real(60))
        await it.end()
        promise, left = await it.promise(until), await it.left()
    is_right(left, it, promise)
    minutes = {one.triggered_at for one in left.alerts if one.rule == "every_minute"}
    assert minutes >= set(range(until - 9 * MINUTE_MS, until + 1, MINUTE_MS))
    # Roles that are told to end do so one by one: what came last may be known to some only.
    early = {one.id for one in left.alerts if one.triggered_at <= until - 2 * MINUTE_MS}
    told_of = logged(tmp_path, "notify", "alert sent")
    sent = {one["alert"]: one["correlation"] for one in told_of if one["alert"] in early}
    settled = {one.id for one in left.alerts if one.triggered_at <= until - 4 * MINUTE_MS}
    assert len(settled) > 40
    assert settled <= sent.keys(), "webhooks came late or not at all"
    for role, event in LIFE.items():
        found = {one["correlation"] for one in logged(tmp_path, role, event)}
        assert set(sent.values()) <= found, f"{role} does not tell of all that was sent"
    assert {one["id"] for one in told["alerts"]} <= {one.id for one in left.alerts}
    assert heard
    assert max(heard.values()) == 1
    assert heard.keys() <= {(one.id, one.state) for one in left.alerts}


async def test_workers_become_more_and_fewer_and_one_dies(tmp_path: Path) -> None:
    roles = [("ingest", 2), ("screen", 5), ("persist", 2), ("notify", 1), ("serve", 2)]
    async with (
        fake_target() as target,
        clustered(tmp_path, *roles, **settings(tmp_path, target)) as it,
    ):
        await it.well()
        config = Config.model_validate(it.config("screen", 0))
        async with listening(it) as client:
            for workers in (4, 2):
                await rescale(config, workers)
                until = next_minute(it, 3)
                await it.until(partial(it.complete, until))
                await it.well()
            until = next_minute(it, 2)
            await it.until(lambda: it.complete(until))
            await it.until(lambda: it.judged(until))
            await asyncio.sleep(it.clock.real(60))
            heard = Counter(client.heard)
        await it.end()
        promise, left = await it.promise(until), await it.left()
    is_right(left, it, promise)
    assert max(heard.values()) == 1
    first = min(one.triggered_at for one in left.alerts if (one.id, one.state) in heard)
    expected = {_key(one) for one in left.alerts if first < one.triggered_at <= until}
    assert expected <= heard.keys(), "some were stored and not told"


def _key(alert: Alert) -> tuple[str, str]:
    return alert.id, alert.state
