"""Rules that change while the roles run: all take the new ones, and nothing is told twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import orjson
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rig import Rig, running
from scripted import MovedClock
from test_screen_service import batches

import screener
from screenerd.bus.memory import MemoryBus
from screenerd.bus.port import Message
from screenerd.config import RulesConfig
from screenerd.model import MINUTE_MS, Alert, CandleBatch, RulesChanged
from screenerd.persist.service import Persist
from screenerd.screen.scope import WHOLE
from screenerd.screen.service import Screen
from screenerd.store.sqlite import SqliteStore
from screenerd.switches import with_shadow

pytestmark = pytest.mark.asyncio


def rules(*when: str, cooldown: str = "30m") -> screener.RuleSet:
    text = "".join(
        f'[[rule]]\nname = "rule_{n}"\ntimeframe = "5m"\nwhen = "{one}"\ncooldown = "{cooldown}"\n'
        for n, one in enumerate(when)
    )
    return screener.RuleSet.parse(text)


FIRST = rules("change_5m >= 0.05", "change_5m <= -0.05")
SECOND = rules("change_5m >= 0.06", "change_7m <= -0.05")


@pytest.fixture(scope="module")
def given() -> list[CandleBatch]:
    market = screener.demo_market(symbols=3, days=2).sort("open_time", maintain_order=True)
    return list(batches(market))


@dataclass
class Screened:
    """A screen that runs on a store, and what it has told."""

    bus: MemoryBus
    screen: Screen
    clock: MovedClock
    alerts: list[Alert] = field(default_factory=list)

    async def take(self, messages: Sequence[Message]) -> None:
        """Puts messages onto the bus."""
        for message in messages:
            if isinstance(message, CandleBatch):
                self.clock.move(message.candles[0].close_time - self.clock.now_ms())
            await self.bus.publish(message)
            if isinstance(message, CandleBatch):
                while self.screen.status.last_minute < message.candles[0].open_time:
                    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def screened(
    path: Path, clock: MovedClock, in_force: screener.RuleSet
) -> AsyncIterator[Screened]:
    bus = MemoryBus()
    async with SqliteStore(path, clock) as store:
        screen = Screen(bus, store, clock, exchange="binance", rules=in_force)
        told = bus.subscribe("test", Alert, limit=100_000)
        persisting = Persist(bus, store, clock)
        it = Screened(bus, screen, clock)
        async with asyncio.TaskGroup() as group:
            judging = group.create_task(screen.run())
            group.create_task(persisting.run())
            await screen.rebuilt.wait()
            yield it
            await bus.close(WHOLE.name)
            await judging
            await bus.close()
        it.alerts = [one.message async for one in told if isinstance(one.message, Alert)]


def frame_of(given: Sequence[CandleBatch]) -> pl.DataFrame:
    rows = [one for batch in given for one in batch.candles]
    names = ("symbol", "open_time", "open", "high", "low", "close", "volume", "quote_volume")
    return pl.DataFrame({name: [getattr(row, name) for row in rows] for name in names})


def by_the_engine(given: Sequence[CandleBatch], cut: int) -> set[tuple[str, str]]:
    """What the library raises when it is given other rules at a minute: (id, version)."""
    engine = screener.Engine(rules=FIRST, exchange="binance")
    alerts = engine.update_many(frame_of(given[:cut]))
    engine.set_rules(SECOND)
    alerts += engine.update_many(frame_of(given[cut:]))
    return {(alert.id, alert.rule_version) for alert in alerts}


async def test_windows_stay_warm_and_cooldowns_stay(
    tmp_path: Path, given: list[CandleBatch]
) -> None:
    """Live is what the library does, and no alert comes twice within its cooldown."""
    clock = MovedClock(given[0].candles[0].open_time)
    # In the middle of a cooldown: right after a minute with an alert.
    told = screener.replay(frame_of(given), rules=FIRST, exchange="binance").alerts
    late = told.filter(pl.col("triggered_at") > given[len(given) // 2].candles[0].open_time)
    [at, *_] = late["triggered_at"].to_list()
    cut = next(n for n, one in enumerate(given) if one.candles[0].close_time == at) + 1
    async with screened(tmp_path / "s.db", clock, FIRST) as it:
        await it.take([*given[:cut], RulesChanged(SECOND), *given[cut:]])
    assert {(one.id, one.rule_version) for one in it.alerts} == by_the_engine(given, cut)
    assert len({one.id for one in it.alerts}) == len(it.alerts)
    versions = {
        rule.name: (old.version, rule.version) for old, rule in zip(FIRST, SECOND, strict=True)
    }
    for one in it.alerts:
        assert one.rule_version == versions[one.rule][one.triggered_at > at]
    after = [one for one in it.alerts if at < one.triggered_at <= at + 7 * MINUTE_MS]
    assert {one.rule for one in it.alerts if one.triggered_at > at} == {"rule_0", "rule_1"}
    silent = {(row["symbol"], row["rule"]) for row in late.rows(named=True)[:1]}
    assert not silent & {(one.symbol, one.rule) for one in after}, "its cooldown goes on"


async def test_a_crash_does_not_judge_the_past_by_rules_of_today(
    tmp_path: Path, given: list[CandleBatch]
) -> None:
    """After it the last hour is judged again, when the new rules were not in force yet."""
    clock, half = MovedClock(given[0].candles[0].open_time), len(given) // 2
    eager = rules("change_5m >= -100", "change_5m <= 100", cooldown="1m")
    async with screened(tmp_path / "s.db", clock, FIRST) as it:
        await it.take([*given[: half - 5], RulesChanged(eager), *given[half - 5 : half]])
    since = given[half - 6].candles[0].close_time
    before = {one.id for one in it.alerts}
    async with screened(tmp_path / "s.db", clock, eager) as again:
        await again.take(given[half : half + 2])
    assert all(one.triggered_at >= since for one in again.alerts)
    assert not before & {one.id for one in again.alerts}
    assert {one.triggered_at for one in again.alerts} == {
        batch.candles[0].close_time for batch in given[half : half + 2]
    }


async def test_a_rule_goes_into_the_shadow_and_comes_back(
    tmp_path: Path, given: list[CandleBatch]
) -> None:
    """The same alerts, cooldowns and versions; those of the middle are told to nobody."""
    clock, third = MovedClock(given[0].candles[0].open_time), len(given) // 3
    hidden = with_shadow(FIRST, ["rule_0"])
    assert [rule.version for rule in hidden] == [rule.version for rule in FIRST]
    async with screened(tmp_path / "s.db", clock, FIRST) as it:
        await it.take([*given[:third], RulesChanged(hidden), *given[third : 2 * third]])
        await it.take([RulesChanged(FIRST), *given[2 * third :]])
    wanted = screener.replay(frame_of(given), rules=FIRST, exchange="binance").alerts
    assert {one.id for one in it.alerts} == set(wanted["id"].to_list())
    assert len(it.alerts) == wanted.height
    begin, end = (given[n * third - 1].candles[0].close_time for n in (1, 2))
    for one in it.alerts:
        assert one.shadow == (one.rule == "rule_0" and begin < one.triggered_at <= end)
    kinds = Counter(one.shadow for one in it.alerts)
    assert kinds[True] > 0
    assert it.screen.status.alerts == kinds[False]
    assert it.screen.status.shadow == {"rule_0": kinds[True]}


async def test_a_rule_may_be_a_shadow_one_for_some_symbols(
    tmp_path: Path, given: list[CandleBatch]
) -> None:
    clock, symbol = MovedClock(given[0].candles[0].open_time), given[0].candles[0].symbol
    text = FIRST["rule_0"].to_toml()
    text += f'[[rule.override]]\nsymbols = ["{symbol}"]\nshadow = true\n'
    async with screened(tmp_path / "s.db", clock, screener.RuleSet.parse(text)) as it:
        await it.take(given)
    assert {one.symbol for one in it.alerts if one.shadow} == {symbol}
    assert not any(one.shadow for one in it.alerts if one.symbol != symbol)


async def test_a_rule_among_all_does_not_wait_for_who_never_comes(
    tmp_path: Path, given: list[CandleBatch]
) -> None:
    """It is judged when its time is up, also if no candle follows; the absent are told."""
    clock, half = MovedClock(given[0].candles[0].open_time), len(given) // 2
    strongest = rules("rank(change_5m) <= 1", cooldown="1m")
    last = given[half]
    came, missing = last.candles[:-1], last.candles[-1].symbol
    async with screened(tmp_path / "s.db", clock, strongest) as it:
        await it.take([*given[:half], replace(last, candles=came)])
        before = it.screen.status.alerts
        clock.move(4_000)
        await asyncio.sleep(0.05)
        assert it.screen.status.alerts == before, "who is late may still come"
        async with asyncio.timeout(20):
            while it.screen.status.alerts == before:
                clock.move(1_000)
                await asyncio.sleep(0.01)
    told = it.alerts[-1]
    assert told.triggered_at == told.stamps.exchange_close == last.candles[0].close_time
    assert told.symbol != missing
    assert told.evidence["members"] == len(came)
    assert told.stamps.received >= told.triggered_at + 5_000


async def test_an_alert_of_a_rule_that_has_gone_is_still_told(
    tmp_path: Path, given: list[CandleBatch]
) -> None:
    """A provisional alert comes once more when its minute closes, if its rule has gone, too."""
    clock = MovedClock(given[0].candles[0].open_time)
    async with screened(tmp_path / "s.db", clock, FIRST) as it:
        raised = screener.replay(frame_of(given), rules=FIRST, exchange="binance").alerts
        engine = screener.Engine(rules=FIRST, exchange="binance")
        [alert, *_] = engine.update_many(frame_of(given))
        await it.take([given[0], RulesChanged(rules("change_5m >= 9")), given[1]])
        await asyncio.sleep(0.05)
        assert it.screen.engine.rules.names == ["rule_0"]
        told = it.screen._judge._tell(alert, given[1].candles[0])
    assert raised.height
    assert told.title == FIRST[alert.rule].title


HANGUP = """
import asyncio, fcntl, os, signal, termios
from screenerd.run import _on_hangup

fcntl.ioctl(0, termios.TIOCSCTTY, 0)

class Watch:
    def hurry(self):
        print("looks", flush=True)

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _on_hangup(Watch(), stop))
    print("ready", flush=True)
    async with asyncio.timeout(20):
        await stop.wait()
    os._exit(7)

asyncio.run(main())
"""


async def test_a_hangup_ends_what_its_terminal_has_left() -> None:
    """SIGHUP asks for the rules; but one that a closed terminal sends is the end, as ever."""
    terminal, inside = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HANGUP), stdin=inside, stdout=inside, start_new_session=True
    )
    os.close(inside)

    def hear(word: bytes) -> None:
        heard = b""
        while word not in heard:
            heard += os.read(terminal, 1024)

    async with asyncio.timeout(60):
        await asyncio.to_thread(hear, b"ready")
        process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(hear, b"looks")
        os.close(terminal)
        assert await process.wait() == 7


MINE = """
[[rule]]
name = "mine"
timeframe = "5m"
direction = "up"
when = "change_5m >= {}"
cooldown = "1m"
"""


async def get(http: aiohttp.ClientSession, rig: Rig, path: str) -> bytes:
    assert rig.roles.serve is not None
    async with http.get(rig.roles.serve.address + path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def test_everybody_takes_the_new_rules(tmp_path: Path) -> None:
    """In the whole of `screenerd up`: REST, websocket, health, figures, engine."""
    file = tmp_path / "mine.toml"
    file.write_text(MINE.format(1000))
    config = RulesConfig(floors=False, files=(file,))
    async with (
        running(tmp_path / "s.db", symbols=4, rules=config) as rig,
        aiohttp.ClientSession() as http,
    ):
        assert rig.roles.serve is not None
        async with http.ws_connect(rig.roles.serve.address + "/ws/alerts") as websocket:
            wish = {"type": "subscribe", "channels": ["alerts", "rules"], "types": ["mine"]}
            await websocket.send_json(wish)

            async def hear(kind: str) -> dict[str, object]:
                async with asyncio.timeout(30):
                    while True:
                        value: dict[str, object] = orjson.loads((await websocket.receive()).data)
                        if value["type"] == kind:
                            return value

            await hear("subscribed")
            before = orjson.loads(await get(http, rig, "/api/rules"))
            assert [one["name"] for one in before["rules"]][-1] == "mine"
            assert before["fault"] is None
            file.write_text(MINE.format("none_5m"))
            await hear("rules")
            told = orjson.loads(await get(http, rig, "/api/rules"))
            assert told["rules"] == before["rules"]
            assert (told["fault"]["file"], told["fault"]["line"]) == (str(file), 6)
            health = orjson.loads(await get(http, rig, "/api/health"))
            assert health["status"] in {"degraded", "unhealthy"}, "a busy machine may add to it"
            [trouble] = [one for one in health["details"]["troubles"] if one["where"] == "rules"]
            assert f"{file}, line 6" in trouble["told"]
            assert "screener rules check" in trouble["remedy"]
            file.write_text(MINE.format(-1000))
            os.kill(os.getpid(), signal.SIGHUP)
            await hear("rules")
            after = orjson.loads(await get(http, rig, "/api/rules"))
            assert after["fault"] is None
            assert after["rules"][-1]["when"] == "change_5m >= -1000"
            assert after["rules"][-1]["version"] != before["rules"][-1]["version"]
            assert after["loaded_at"] > before["loaded_at"]
            alert = await hear("alert")
            data = alert["data"]
            assert isinstance(data, dict)
            assert data["rule_version"] == after["rules"][-1]["version"]
            assert data["metadata"]["reason"], "its clauses are known"
        figures = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(
                (await get(http, rig, "/metrics")).decode()
            )
            for sample in family.samples
        }
        assert figures["alert_engine_rules_reloads_total", "loaded"] == 1
        assert figures["alert_engine_rules_reloads_total", "refused"] == 1
        assert figures["alert_engine_rules_refused",] == 0
