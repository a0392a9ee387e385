"""The service in the whole of `screenerd up`: what it tells is what the roles know."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rig import Rig, running

pytestmark = pytest.mark.asyncio


async def get(http: aiohttp.ClientSession, rig: Rig, path: str) -> bytes:
    assert rig.roles.serve is not None
    async with http.get(rig.roles.serve.address + path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def test_health_symbols_metrics_and_figures_are_those_of_the_roles(tmp_path: Path) -> None:
    async with running(tmp_path / "s.db", symbols=4) as rig, aiohttp.ClientSession() as http:
        await rig.minutes(2)
        health = orjson.loads(await get(http, rig, "/api/health"))
        assert health["details"]["state"] in {"ok", "degraded"}
        assert set(health["services"].values()) == {"up"}
        assert health["details"]["speed"] == 60.0
        assert (health["details"]["symbols"], health["details"]["warmed"]) == (4, 4)
        symbols = orjson.loads(await get(http, rig, "/api/symbols"))["symbols"]
        assert [one["symbol"] for one in symbols] == rig.symbols
        every = orjson.loads(await get(http, rig, "/api/metrics"))
        assert [one["symbol"] for one in every] == rig.symbols
        assert all(one["timeframes"]["1h"]["change_pct"] is not None for one in every)
        figures = {
            sample.name: sample.value
            for family in text_string_to_metric_families(
                (await get(http, rig, "/metrics")).decode()
            )
            for sample in family.samples
            if not sample.labels
        }
        assert figures["data_collector_symbols"] == 4
        assert figures["data_collector_websocket_connections"] == 1
        assert figures["data_collector_messages_received_total"] > 0
        assert figures["metrics_calculator_candles_total"] <= rig.roles.screen.status.candles
        assert figures["database_up"] == 1


async def test_prices_come_within_the_minute(tmp_path: Path) -> None:
    async with running(tmp_path / "s.db", symbols=4) as rig, aiohttp.ClientSession() as http:
        assert rig.roles.serve is not None
        async with http.ws_connect(rig.roles.serve.address + "/ws/alerts") as websocket:
            await rig.minutes(2)
            await websocket.send_json({"type": "subscribe", "channels": ["prices"]})
            seen: set[str] = set()
            async with asyncio.timeout(30):
                while seen != set(rig.symbols):
                    value = orjson.loads((await websocket.receive()).data)
                    if value["type"] == "prices":
                        assert all(price > 0 for price in value["data"].values())
                        seen |= value["data"].keys()


async def test_alerts_come_as_they_are_raised_until_their_rule_is_off(tmp_path: Path) -> None:
    async with running(tmp_path / "s.db", symbols=40) as rig, aiohttp.ClientSession() as http:
        assert rig.roles.serve is not None
        url = rig.roles.serve.address
        async with http.ws_connect(url + "/ws/alerts") as websocket:
            await websocket.send_json({"type": "subscribe"})
            heard: list[dict[str, str]] = []

            async def listen() -> None:
                async for message in websocket:
                    value = orjson.loads(message.data)
                    if value["type"] == "alert":
                        heard.append(value["data"])

            listening = asyncio.create_task(listen())
            await rig.until(lambda: len(heard) >= 3, 120)
            rules = orjson.loads(await get(http, rig, "/api/rules"))["rules"]
            for rule in rules:
                change = {"enabled": False}
                async with http.put(f"{url}/api/rules/{rule['name']}", json=change) as answer:
                    assert answer.status == 200
            await rig.minutes(1)  # what was judged meanwhile is known
            judged = rig.roles.screen.status.candles
            before = rig.roles.screen.status.alerts
            await rig.minutes(20)
            assert rig.roles.screen.status.candles > judged
            assert rig.roles.screen.status.alerts == before, "nothing is raised any more"
            stored = orjson.loads(await get(http, rig, "/api/alerts?limit=1000"))
            assert {one["id"] for one in heard} <= {one["id"] for one in stored["alerts"]}
            rig.roles.stop.set()
            async with asyncio.timeout(10):
                await listening
            assert websocket.close_code == 1001
