"""After every fault the store holds what the market had, and the alerts are those of a replay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from rig import Rig, drifted, running, stored

from screenerd.demo.faults import Fault
from screenerd.model import MINUTE_MS

Inject = Callable[[Rig], Awaitable[None]]


def arm(fault: Fault, *, times: int = 3) -> Inject:
    async def inject(rig: Rig) -> None:
        rig.faults.arm(fault, times=times)
        await rig.until(lambda: rig.faults.happened[fault] >= times)

    return inject


async def nothing(rig: Rig) -> None:
    """The control: no fault at all."""


async def refuse_connections(rig: Rig) -> None:
    rig.faults.arm(Fault.REFUSE_CONNECTION, times=3)
    rig.faults.arm(Fault.DISCONNECT)
    await rig.until(lambda: rig.faults.happened[Fault.REFUSE_CONNECTION] == 3)


async def rest_errors(rig: Rig) -> None:
    rig.faults.fail_rest(500, times=3, path="klines")
    rig.faults.arm(Fault.DROP_CLOSE, times=4)
    await rig.until(lambda: rig.faults.happened[Fault.REST_FAILURE] == 3)


async def rate_limited(rig: Rig) -> None:
    rig.faults.fail_rest(429, times=1, path="klines")
    rig.faults.arm(Fault.DROP_CLOSE, times=4)
    await rig.until(lambda: rig.faults.happened[Fault.REST_FAILURE] == 1)


FAULTS = {
    "none": nothing,
    "drop close": arm(Fault.DROP_CLOSE),
    "late close": arm(Fault.LATE_CLOSE),
    "duplicate close": arm(Fault.DUPLICATE_CLOSE),
    "truncated frame": arm(Fault.TRUNCATED_FRAME),
    "garbage frame": arm(Fault.GARBAGE_FRAME),
    "unknown frame": arm(Fault.UNKNOWN_FRAME),
    "reordered closes": arm(Fault.REORDER_CLOSES),
    "disconnect": arm(Fault.DISCONNECT, times=1),
    "refused connections": refuse_connections,
    "REST errors": rest_errors,
    "REST rate limited": rate_limited,
}


def same_as_replayed(path: Path, alerts: set[str]) -> bool:
    drift = drifted(path)
    return drift.of("journal") == () and drift.raised == drift.replayed == len(alerts)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", FAULTS)
async def test_nothing_is_lost(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with running(path) as rig:
        await rig.minutes(1)
        await FAULTS[name](rig)
        await rig.minutes(2)
    candles, _, alerts = await stored(path)
    assert len(candles) > 6 * 1440
    assert rig.missing_or_wrong(candles) == []
    assert same_as_replayed(path, alerts)


@pytest.mark.asyncio
async def test_a_lost_minute_is_marked_absent(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with running(path) as rig:
        symbol = rig.symbols[0]
        lost = rig.clock.now_ms() // MINUTE_MS * MINUTE_MS + 2 * MINUTE_MS
        rig.faults.lose_minute(symbol, lost)
        await rig.minutes(6)
        assert rig.faults.happened[Fault.LOSE_MINUTE] > 0
    candles, _, alerts = await stored(path)
    [absent] = [candle for candle in candles if candle.source == "synthetic"]
    assert (absent.symbol, absent.open_time) == (symbol, lost)
    assert same_as_replayed(path, alerts)


@pytest.mark.asyncio
async def test_a_stalled_connection_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with running(path) as rig:
        rig.faults.arm(Fault.STALL)
        opened = rig.exchange.counters.connections
        await rig.until(lambda: rig.exchange.counters.connections > opened, 45)
        [status] = rig.roles.stream.connections
        assert "no frame" in status.reason
        await rig.minutes(2)
    candles, _, _ = await stored(path)
    assert rig.missing_or_wrong(candles) == []


@pytest.mark.asyncio
async def test_a_corrected_close_is_found_by_reading_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with running(path, speed=240) as rig:
        rig.faults.arm(Fault.CORRECTED_CLOSE, times=3)
        await rig.until(lambda: rig.faults.happened[Fault.CORRECTED_CLOSE] == 3)
        await rig.until(lambda: rig.roles.ingest.status.corrected >= 3, 60)
    candles, journal, alerts = await stored(path)
    assert rig.missing_or_wrong(candles) == []
    revised = [candle for candle in candles if candle.revision]
    assert len(revised) == 3
    assert {candle.source for candle in revised} == {"rest"}
    assert len([candle for candle in journal if candle.revision]) == 3
    assert same_as_replayed(path, alerts)


@pytest.mark.asyncio
async def test_an_hour_with_faults_equals_its_replay(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    frequent = [
        Fault.DROP_CLOSE,
        Fault.LATE_CLOSE,
        Fault.DUPLICATE_CLOSE,
        Fault.CORRECTED_CLOSE,
        Fault.TRUNCATED_FRAME,
        Fault.GARBAGE_FRAME,
        Fault.UNKNOWN_FRAME,
        Fault.REORDER_CLOSES,
        Fault.DISCONNECT,
    ]
    async with running(path, symbols=40, speed=120) as rig:
        for step in range(60):
            rig.faults.arm(frequent[step % len(frequent)])
            if step % 10 == 5:
                # A whole minute is lost, and comes by request when newer ones have been judged.
                rig.faults.fail_rest(500, seconds=150, path="klines")
                rig.faults.arm(Fault.DROP_CLOSE, times=40)
            await rig.minutes(1)
        for fault in frequent:
            assert rig.faults.happened[fault] >= 3, fault
        # Corrections are found when minutes are read again.
        rig.faults.disarm()
        await rig.minutes(40)
        by_rule = rig.roles.screen.status.by_rule
    candles, _, alerts = await stored(path)
    assert rig.missing_or_wrong(candles) == []
    assert len(alerts) > 50
    assert len(by_rule) == 10, by_rule
    assert same_as_replayed(path, alerts)
    drift = drifted(path)
    assert drift.of("final")
    assert drift.faults == ()
    print(drift)
