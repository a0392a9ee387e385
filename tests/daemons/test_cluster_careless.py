"""Roles that are careless on purpose lose what careful ones keep: what looks for losses finds them.

Each is struck in the same two ways, over a database that would lose its last commits if it were
left to its own settings: what writes its log from time to time stands still before the kill.
"""

from __future__ import annotations

from asyncio import to_thread
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import psycopg
import pytest
from careless import CORE_PUBLISH, LAZY_COMMIT
from cluster import ROLES, SECONDS, clustered
from fake_target import fake_target
from killing import Findings, compare
from proxy import proxied
from test_cluster_flow import RULES, next_minute, settings

pytestmark = pytest.mark.asyncio

LAZY = {"synchronous_commit": "off"}


async def struck(folder: Path, careless: str) -> Findings:
    """What is wrong after ingest was cut off over the end of a minute, and the database killed."""
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(fake_target())
        it = await stack.enter_async_context(
            clustered(
                folder, idle=True, careless=careless, database=LAZY, **settings(folder, target)
            )
        )
        proxy = await stack.enter_async_context(proxied(it.nats.url))
        it.addresses["bus:ingest"] = f"nats://{proxy.address}"
        for name in ROLES:
            await it.start(name)
        await it.well(2 * SECONDS)
        proxy.hole = True
        await it.clock.sleep(75)
        proxy.hole = False
        proxy.cut()
        assert proxy.happened["hole"]
        await it.well()
        with psycopg.connect(it.database.url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        it.database.freeze("walwriter")
        await it.until(partial(it.complete, next_minute(it, 1)))
        await to_thread(it.database.kill)
        await to_thread(it.database.start)
        await it.well()
        until = next_minute(it, 2)
        await it.until(partial(it.complete, until))
        await it.until(partial(it.judged, until))
        await it.clock.sleep(60)
        await it.end()
        return compare(await it.left(), it.market, RULES, await it.promise(until))


async def test_careful_roles_lose_nothing(tmp_path: Path) -> None:
    counts = (await struck(tmp_path, "")).counts()
    assert counts == dict.fromkeys(counts, 0)


@pytest.mark.parametrize("careless", [CORE_PUBLISH, LAZY_COMMIT])
async def test_careless_roles_are_found_out(tmp_path: Path, careless: str) -> None:
    found = await struck(tmp_path, careless)
    print(careless, found.counts())
    assert found.minutes, "no minute was lost"
    assert found.lost, "no alert was lost"
