"""Shadow alerts: stored, and told to nobody who has not asked."""

from __future__ import annotations

import asyncio
import io
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from fake_target import fake_target
from served import serving
from store_values import NOW, alert
from test_notify_service import hook, ids, notifying, until

from screenerd.store.port import AlertFilter

pytestmark = pytest.mark.asyncio


async def test_no_channel_is_told_also_after_a_crash(tmp_path: Path) -> None:
    """Neither what comes by the bus nor what is found in the store when it starts again."""
    path = tmp_path / "s.db"
    shown = [alert(n, at=NOW + 60_000 + n) for n in range(4)]
    hidden = [replace(alert(n, at=NOW + 60_000 + n), shadow=True) for n in range(4, 8)]
    async with fake_target() as target:
        async with notifying(path, [hook(target)]) as (bus, store):
            for one, other in zip(hidden, shown, strict=True):
                await bus.publish(one)
                await bus.publish(other)
            await until(target, "/hook", len(shown))
            # Stored, and not in the outbox: as a crash leaves them.
            await store.write(*hidden, last := alert(8, at=NOW + 60_009))
        async with notifying(path, [hook(target)]) as (_, store):
            await until(target, "/hook", len(shown) + 1)
            assert await store.unclaimed("hook", 0) == []
            assert [one.shadow for one in await store.alerts(0)] == [False] * 4 + [True] * 4 + [
                False
            ]
        assert set(ids(target, "/hook")) == {one.id for one in (*shown, last)}


async def test_lists_have_them_on_request_only(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served:
        shown = [await served.publish() for _ in range(2)]
        hidden = [await served.publish(shadow=True, rule="top_hunter") for _ in range(3)]
        # One that is told and not stored yet is treated alike.
        late = replace(hidden[0], id="late", triggered_at=served.now + 99_000)
        await served.bus.publish(late)
        await asyncio.sleep(0.05)
        for query, found in (
            ("", shown),
            ("?shadow=false", shown),
            ("?shadow=true", [*shown, *hidden, late]),
            ("?shadow=true&type=top_hunter", [*hidden, late]),
            ("?type=top_hunter", []),
        ):
            status, value, _ = await served.get(f"/api/alerts{query}")
            assert status == 200
            assert {one["id"] for one in value["alerts"]} == {one.id for one in found}
            assert value["total"] == len(found)
            assert all(
                one["shadow"] == (one["alert_type"] == "top_hunter") for one in value["alerts"]
            )
        status, value, _ = await served.get("/api/alerts?shadow=perhaps")
        assert (status, value["field"]) == (422, "shadow")
        arrow = {"Accept": "application/vnd.apache.arrow.stream"}
        _, body, _ = await served.get("/api/alerts?shadow=true", headers=arrow)
        frame = pl.read_ipc_stream(io.BytesIO(body))
        assert frame.schema["shadow"] == pl.Boolean
        assert frame["shadow"].sum() == 4


async def test_the_websocket_has_them_on_request_only(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "s.db") as served,
        served.socket(subscribe={}) as plain,
        served.socket(subscribe={"shadow": True}) as curious,
    ):
        for listener in (plain, curious):
            answer = await listener.hear("subscribed")
        hidden = await served.publish(shadow=True)
        shown = await served.publish()
        first = await plain.hear("alert")
        assert first["data"]["id"] == shown.id
        assert [(await curious.hear("alert"))["data"]["id"] for _ in range(2)] == [
            hidden.id,
            shown.id,
        ]
        # Who comes back is told what was missed by the same wish.
        again = {"since": answer["offset"], "epoch": answer["epoch"]}
        async with served.socket(subscribe=again) as back:
            assert (await back.hear("subscribed"))["recovered"]
            assert (await back.hear("alert"))["data"]["id"] == shown.id
        async with served.socket(subscribe={"shadow": "yes"}) as wrong:
            assert (await wrong.hear("error"))["field"] == "shadow"


async def test_pages_are_counted_without_a_look_at_the_alerts(tmp_path: Path) -> None:
    """The evidence of a hundred thousand alerts is not read to count them."""
    async with serving(tmp_path / "s.db") as served:
        await served.publish(shadow=True)
        for wanted in (AlertFilter(), AlertFilter(symbol="BTCUSDT"), AlertFilter(since=0)):
            assert (await served.store.alert_page(wanted, 10, 0)).total == 0

        def plan(where: str) -> str:
            with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
                asked = f"EXPLAIN QUERY PLAN SELECT count(*) FROM alert_history WHERE {where}"  # noqa: S608
                return " ".join(row[3] for row in connection.execute(asked))

        for where in (
            "shadow = 0",
            "symbol = 'X' AND shadow = 0",
            "symbol = 'X' AND alert_type = 'x' AND triggered_at >= 7 AND shadow = 0",
        ):
            assert "COVERING INDEX" in plan(where), where
