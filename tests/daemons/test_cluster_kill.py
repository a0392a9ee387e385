"""Killed and cut at any moment: roles, broker, database and the connections between them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from asyncio import to_thread
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import orjson
import psycopg
import pytest
from cluster import SECONDS, Cluster, clustered, listening
from fake_target import FakeTarget, fake_target
from proxy import Proxy, proxied
from test_cluster_flow import is_right, next_minute, settings

pytestmark = pytest.mark.asyncio

KILLS = int(os.environ.get("SCREENER_CLUSTER_KILLS", "14"))
"""How many times something is killed or cut; 200 shows what the documentation says."""

ROLES = {"ingest": 2, "screen": 3, "persist": 2, "notify": 2, "serve": 2}
VICTIMS = (*ROLES, "nats", "postgres", "cut", "cut")
"""Each as likely as the others."""


@dataclass
class Wrecker:
    """Kills, cuts and starts again, and looks how long everything takes to be well.

    Attributes:
        it: what runs.
        proxies: before broker and database, one for each role and server.
        chance: what is next, and when.
        struck: how often each thing was struck.
        seconds: how long it took until all was well, by what was struck.
    """

    it: Cluster
    proxies: dict[str, Proxy]
    chance: random.Random = field(default_factory=lambda: random.Random(11))
    struck: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    async def strike(self, victim: str) -> None:
        """One of them, at some moment; well again before the next."""
        await asyncio.sleep(self.chance.uniform(0, 2.5))  # the moment, not a wait for something
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._hit(victim)
        self.struck[victim] += 1
        await self.it.well()
        self.seconds.setdefault(victim, []).append(loop.time() - began)

    async def _hit(self, victim: str) -> None:
        pause = self.chance.uniform(0, 1.5)
        match victim:
            case "nats" | "postgres":
                server = self.it.nats if victim == "nats" else self.it.database
                await to_thread(server.kill)
                await asyncio.sleep(pause)
                await to_thread(server.start)
            case "cut":
                name = self.chance.choice(sorted(self.proxies))
                self.struck[f"cut {name}"] += 1
                await self._cut(self.proxies[name], pause)
            case _:
                number = self.chance.randrange(ROLES[victim])
                code = await self.it.role(victim, number).end(signal.SIGKILL)
                assert code == -signal.SIGKILL, self.it.log(self.it.role(victim, number))
                await asyncio.sleep(pause)
                await self.it.start(victim, number)

    async def _cut(self, proxy: Proxy, pause: float) -> None:
        """Reset, refused, or silent in both directions for a while."""
        match self.chance.choice(("reset", "refused", "silent")):
            case "reset":
                proxy.cut()
            case "refused":
                proxy.refusing = True
                proxy.cut()
                await asyncio.sleep(pause)
                proxy.refusing = False
            case "silent":
                proxy.hole = True
                await asyncio.sleep(pause)
                proxy.hole = False
                proxy.cut()


async def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(fake_target())
        given = settings(tmp_path, target) | {"screen": {"workers": 2}}
        it = await stack.enter_async_context(clustered(tmp_path, **given, idle=True))
        proxies = {}
        for role in ROLES:
            for kind, url in (("bus", it.nats.url), ("store", it.database.url)):
                proxy = await stack.enter_async_context(proxied(url))
                at = url.replace(f"127.0.0.1:{proxy.upstream}", proxy.address)
                it.addresses[f"{kind}:{role}"] = at
                proxies[f"{kind}:{role}"] = proxy
        for name, count in ROLES.items():
            for number in range(count):
                await it.start(name, number)
        wrecker = Wrecker(it, proxies)
        await it.well(2 * SECONDS)
        client = await stack.enter_async_context(listening(it))
        victims = [VICTIMS[number % len(VICTIMS)] for number in range(KILLS)]
        wrecker.chance.shuffle(victims)
        for victim in victims:
            await wrecker.strike(victim)
        until = next_minute(it, 2)
        await it.until(partial(it.complete, until), 2 * SECONDS)
        await it.until(partial(it.judged, until), 2 * SECONDS)
        await asyncio.sleep(it.clock.real(60))
        await it.until(partial(_delivered, it), 2 * SECONDS)
        await it.end()
        promise, left = await it.promise(until), await it.left()
        told = {name: round(max(found), 1) for name, found in wrecker.seconds.items()}
        heard, sent = Counter(client.heard), Counter(_ids(target))
        print(dict(wrecker.struck), "longest until well", told)
        print(len(left.candles), "minutes", len(left.alerts), "alerts", len(heard), "heard")
        print(len(sent), "sent", sent.total() - len(sent), "twice", client.again, "reconnections")
    is_right(left, it, promise)
    assert client.gaps == 0
    assert max(heard.values()) == 1
    first = min(one.triggered_at for one in left.alerts if (one.id, one.state) in heard)
    after = {one.id for one in left.alerts if first < one.triggered_at <= until}
    assert after <= {one for one, _ in heard}, "some were stored and not heard"
    # What was raised after that may be on its way when the roles end.
    due = {one.id for one in left.alerts if promise.judged_from < one.triggered_at <= until}
    assert due <= sent.keys(), "some were stored and not sent"
    # Killed between sending and writing down that it was sent, it sends that one again.
    may = wrecker.struck["notify"] + wrecker.struck["cut store:notify"] + wrecker.struck["postgres"]
    assert sent.total() - len(sent) <= may
    assert sum(wrecker.struck[name] for name in {*VICTIMS}) == KILLS


def _ids(target: FakeTarget) -> list[str]:
    """The alerts that were sent; a message that is late tells several."""
    return [alert["id"] for one in target.got for alert in orjson.loads(one.body)["alerts"]]


async def _delivered(it: Cluster) -> bool:
    """Whether nothing is left in the outbox."""
    try:
        with psycopg.connect(it.database.url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM outbox WHERE state = 'pending'"
            ).fetchone()
    except psycopg.OperationalError:
        return False
    return row == (0,)


async def test_health_tells_the_truth(tmp_path: Path) -> None:
    async with fake_target() as target, clustered(tmp_path, **settings(tmp_path, target)) as it:
        await it.well(2 * SECONDS)
        for victim, where in (
            ("ingest", "ingest"),
            ("screen", "screen"),
            ("persist", "persist"),
            ("notify", "notify"),
            ("postgres", "store"),
            ("nats", "bus"),
        ):
            server = it.database if victim == "postgres" else it.nats
            is_role = victim in ROLES
            await (it.role(victim).end(signal.SIGKILL) if is_role else to_thread(server.kill))
            await it.until(partial(_troubled, it, where))
            await (it.start(victim) if is_role else to_thread(server.start))
            await it.well()


async def _troubled(it: Cluster, where: str) -> bool:
    status, told = await it.get("/api/health")
    return (
        status == 200
        and told["status"] != "healthy"
        and where in {one["where"] for one in told["details"]["troubles"]}
    )
