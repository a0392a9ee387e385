"""What networks and exchanges do over minutes: nothing is lost, and health tells of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rig import Rig, drifted, running, stored

from screenerd.demo import Limits
from screenerd.demo.faults import Fault
from screenerd.exchange.binance import session, stream
from screenerd.model import MINUTE_MS

pytestmark = pytest.mark.asyncio


async def whole(rig: Rig) -> None:
    """Nothing missing, nothing wrong, and the alerts are those of a replay."""
    candles, journal, alerts = await stored(rig.path)
    assert len(candles) > 1440 * len({candle.symbol for candle in candles}) - 1
    assert rig.missing_or_wrong(candles) == []
    keys = [(one.symbol, one.open_time, one.revision) for one in journal]
    assert len(set(keys)) == len(keys)
    drift = drifted(rig.path)
    assert (drift.of("journal"), drift.replayed) == ((), len(alerts))


def troubles(rig: Rig) -> set[str]:
    return {trouble.where for trouble in rig.roles.health.troubles}


async def test_an_exchange_that_is_gone_for_ten_minutes(tmp_path: Path) -> None:
    async with running(tmp_path / "a.db") as rig:
        rig.proxy.refusing = True
        rig.proxy.cut()
        await rig.clock.sleep(600)
        assert rig.roles.health.state == "down"
        assert {"data", "stream 0"} <= troubles(rig)
        rig.proxy.refusing = False
        back = rig.clock.now_ms()
        await rig.until(lambda: rig.roles.health.state == "ok", 60)
        await rig.minutes(1)
        assert rig.proxy.happened["refused"] > 0
        assert rig.roles.ingest.status.filled >= 6 * 9
        assert rig.roles.ingest.status.last_close > back - MINUTE_MS
    await whole(rig)


async def test_a_slow_network(tmp_path: Path) -> None:
    async with running(tmp_path / "a.db", speed=20) as rig:
        rig.proxy.latency = 0.2
        await rig.minutes(2)
        assert rig.proxy.happened["latency"] > 10
    await whole(rig)


async def test_a_connection_that_is_half_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SILENCE_SECONDS", 1.0)
    async with running(tmp_path / "a.db") as rig:
        opened = rig.exchange.counters.connections
        rig.proxy.hole = True
        await rig.until(lambda: rig.roles.stream.connections[0].failures > 0)
        assert "no frame" in rig.roles.stream.connections[0].reason
        assert "stream 0" in troubles(rig)
        rig.proxy.hole = False
        await rig.until(lambda: rig.exchange.counters.connections > opened)
        await rig.minutes(2)
        assert rig.proxy.happened["hole"] > 0
    await whole(rig)


async def test_a_reset_in_the_middle_of_a_frame(tmp_path: Path) -> None:
    async with running(tmp_path / "a.db") as rig:
        for _ in range(3):
            rig.proxy.reset_after = 700
            await rig.until(lambda: rig.proxy.reset_after is None)
            await rig.minutes(1)
        assert rig.proxy.happened["reset"] == 3
    await whole(rig)


async def test_frames_that_come_a_byte_at_a_time(tmp_path: Path) -> None:
    async with running(tmp_path / "a.db", symbols=2, speed=30) as rig:
        rig.proxy.slices = 1
        await rig.minutes(2)
        assert rig.proxy.happened["slices"] > 10_000
        assert rig.roles.ingest.status.dead_letters == 0
    await whole(rig)


@pytest.mark.parametrize("status", [429, 418, 500, 503])
async def test_an_exchange_that_answers_errors_for_ten_minutes(tmp_path: Path, status: int) -> None:
    async with running(tmp_path / "a.db", speed=120) as rig:
        await rig.until(lambda: rig.roles.ingest.status.bars_ready)
        rig.faults.fail_rest(status, seconds=600)
        rig.faults.arm(Fault.DROP_CLOSE, times=3)
        began = rig.clock.now_ms()
        await rig.until(lambda: rig.faults.happened[Fault.REST_FAILURE] > 0)
        await rig.until(lambda: rig.clock.now_ms() > began + 590_000, 60)
        assert {"requests", "minutes"} & troubles(rig)
        refused = rig.faults.happened[Fault.REST_FAILURE]
        assert refused < 40
        await rig.until(lambda: rig.roles.health.state == "ok", 60)
        await rig.minutes(1)
    await whole(rig)


async def test_connections_are_replaced_before_the_exchange_ends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ROTATE_AFTER_SECONDS", 150.0)
    monkeypatch.setattr(stream, "ROTATION_SPREAD_SECONDS", 30.0)
    async with running(tmp_path / "a.db", limits=Limits(lifetime=540.0)) as rig:
        opened = rig.exchange.counters.connections
        # Past the end of the first ones; six minutes are left for replacing one, which is real
        # seconds on a machine that is held up.
        await rig.minutes(12)
        assert rig.exchange.counters.connections >= opened + 3
        # Not one was lost: each had handed over to its successor.
        assert rig.roles.stream.connections[0].reason == ""
        assert rig.roles.stream.connections[0].failures == 0
    await whole(rig)


async def test_the_exchange_ends_every_connection_at_once(tmp_path: Path) -> None:
    async with running(tmp_path / "a.db", limits=Limits(lifetime=200.0)) as rig:
        opened = rig.exchange.counters.connections
        await rig.minutes(8)
        assert rig.exchange.counters.connections > opened
        assert "closed by the exchange" in rig.roles.stream.connections[0].reason
    await whole(rig)


async def test_a_network_that_comes_and_goes(tmp_path: Path) -> None:
    async with running(tmp_path / "a.db") as rig:
        opened = rig.exchange.counters.connections
        for _ in range(4):
            rig.proxy.refusing = True
            rig.proxy.cut()
            await asyncio.sleep(1.0)
            rig.proxy.refusing = False
            await asyncio.sleep(1.0)
        assert rig.proxy.happened["cut"] == 4
        assert rig.exchange.counters.connections - opened < 20
        assert rig.roles.rest.budget.peak <= 0.8 * rig.roles.rest.budget.limit
        await rig.until(lambda: rig.roles.health.state == "ok", 60)
        await rig.minutes(1)
    await whole(rig)
