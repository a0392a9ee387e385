"""The service beside a process that writes: it tells the same, and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from rig import running

import screener
from screenerd.bus.memory import MemoryBus
from screenerd.bus.port import Message
from screenerd.clock import SystemClock
from screenerd.config import RulesConfig
from screenerd.follow import STALE_MS, Follower, ReadOnlyStore
from screenerd.model import MINUTE_MS, Alert, CandleBatch, Metrics, RuleSwitch, SettingsChanged
from screenerd.store.port import Settings, StoreError
from screenerd.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio


OFTEN = """
[[rule]]
name = "moves"
timeframe = "5m"
when = "abs(change_5m) >= 0.05"
"""


async def test_who_follows_tells_what_the_other_process_told(tmp_path: Path) -> None:
    path, file = tmp_path / "s.db", tmp_path / "often.toml"
    file.write_text(OFTEN, encoding="utf-8")
    rules, config = screener.RuleSet.load(file), RulesConfig(name=str(file), floors=False)
    async with (
        running(path, symbols=16, speed=60, rules=config) as rig,
        ReadOnlyStore(path, rig.clock) as store,
    ):
        bus = MemoryBus()
        follower = Follower(bus, store, rig.clock, exchange="binance", rules=rules)
        heard = bus.subscribe("test", CandleBatch, Metrics, Alert, limit=100_000)
        first = aiter(rig.roles.bus.subscribe("control", Alert, limit=100_000))
        # An alert is told before it is stored: once one that was told here is stored, all that is
        # stored later was told here, too.
        async with asyncio.timeout(120):
            told = _ids([(await anext(first)).message])
            while told[0] not in {alert.id for alert in await store.alerts(0)}:
                await asyncio.sleep(0.01)
        following = asyncio.create_task(follower.run())
        await rig.until(lambda: follower.status.symbols == 16)
        before = rig.roles.screen.status.alerts
        await rig.until(lambda: rig.roles.screen.status.alerts >= before + 3, 120)
        await rig.minutes(2)
        last = min(rig.roles.ingest.known_until().values())
        await rig.until(lambda: follower.status.last_close >= last)
        await bus.close()  # before the other's: what it has told by now was told there first
        messages = [one.message async for one in heard]
        await rig.roles.bus.close("control")
        told += _ids([one.message async for one in first])
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        again = _ids(messages)
        assert again, "some alerts came while it followed"
        begin = told.index(again[0])
        assert told[begin : begin + len(again)] == again
        assert [symbol.symbol for symbol in follower.symbols()] == rig.symbols
        frames = [message.frame for message in messages if isinstance(message, Metrics)]
        assert {symbol for frame in frames for symbol in frame["symbol"]} == set(rig.symbols)
        newest = {row["symbol"]: row for row in frames[-1].iter_rows(named=True)}
        for symbol, row in newest.items():
            mine = rig.roles.screen.engine.metrics(symbol)
            if row["open_time"] == rig.roles.screen.engine.candles(symbol, 1)["open_time"][0]:
                assert row["change_5m"] == mine["change_5m"]
                assert row["quote_volume_1h"] == mine["quote_volume_1h"]


def _ids(messages: Iterable[Message]) -> list[str]:
    return [message.id for message in messages if isinstance(message, Alert)]


async def test_a_writer_that_has_gone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with SqliteStore(path, SystemClock()):
        pass
    async with ReadOnlyStore(path, SystemClock()) as store:
        rules = screener.RuleSet.load("futures")
        follower = Follower(MemoryBus(), store, SystemClock(), exchange="binance", rules=rules)
        assert STALE_MS < MINUTE_MS * 2
        assert follower.status.health.state == "down"
        assert "screenerd up" in follower.status.health.troubles[0].remedy


async def test_what_users_choose_elsewhere_is_told(tmp_path: Path) -> None:
    path, clock = tmp_path / "s.db", SystemClock()
    async with SqliteStore(path, clock) as writer, ReadOnlyStore(path, clock) as store:
        bus = MemoryBus()
        rules = screener.RuleSet.load("futures")
        await writer.set_rule_switch(RuleSwitch("top_hunter", enabled=False))
        follower = Follower(bus, store, clock, exchange="binance", rules=rules)
        heard = aiter(bus.subscribe("test", RuleSwitch, SettingsChanged, limit=10))
        following = asyncio.create_task(follower.run())
        async with asyncio.timeout(20):
            assert (await anext(heard)).message == RuleSwitch("top_hunter", enabled=False)
            await writer.set_user_switch("one", RuleSwitch("top_hunter", cooldown_ms=60_000))
            assert (await anext(heard)).message == SettingsChanged("one")
            await writer.set_rule_switch(RuleSwitch("top_hunter"))
            assert (await anext(heard)).message == RuleSwitch("top_hunter")
        following.cancel()
        await asyncio.wait([following])


async def test_what_is_to_be_changed_is_changed_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with SqliteStore(path, SystemClock()):
        pass
    async with ReadOnlyStore(path, SystemClock()) as store:
        for change in (
            store.set_rule_switch(RuleSwitch("x")),
            store.set_user_switch("one", RuleSwitch("x")),
            store.set_settings("one", Settings(), 0),
        ):
            with pytest.raises(StoreError, match="screenerd up"):
                await change


async def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with ReadOnlyStore(tmp_path / "none.db", SystemClock()) as store:
        rules = screener.RuleSet.load("futures")
        follower = Follower(MemoryBus(), store, SystemClock(), exchange="binance", rules=rules)
        with pytest.raises(StoreError, match=r"none\.db"):
            await follower.run()
