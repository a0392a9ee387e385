"""The engine between a clean stop and the next start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from rig import START_MS, drifted, running
from scripted import MovedClock
from test_screen_service import RULES, batches, expected

import screener
from screenerd.bus.memory import MemoryBus, MemorySubscription
from screenerd.clock import SystemClock
from screenerd.config import Config, ExchangeConfig, StoreConfig
from screenerd.demo import DemoExchange, Market
from screenerd.model import MINUTE_MS, Alert, Bars, CandleBatch, Followed, Unfollowed
from screenerd.persist.service import Persist
from screenerd.run import STOP_SECONDS, Roles, up
from screenerd.screen import state
from screenerd.screen.judge import Judge
from screenerd.screen.rebuild import Rebuild
from screenerd.screen.scope import WHOLE
from screenerd.screen.service import Screen
from screenerd.serve.settings import ServeConfig
from screenerd.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio

NEWEST = 29_400_000 * MINUTE_MS


def engine() -> screener.Engine:
    made = screener.Engine(rules="futures")
    made.warm_up(screener.demo_market(symbols=2, days=1))
    return made


async def test_a_saved_engine_is_taken_once(tmp_path: Path) -> None:
    path, saved = tmp_path / "a.engine", engine()
    state.save(path, saved, judged_from=7, newest=NEWEST)
    taken = state.take(path, newest=NEWEST)
    assert taken is not None
    assert taken[0].save() == saved.save()
    assert taken[1] == 7
    assert state.take(path, newest=NEWEST) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["older", "cut", "flipped", "empty", "no head", "other version"])
async def test_a_file_that_does_not_fit_is_left_out(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.engine"
    state.save(path, engine(), judged_from=7, newest=NEWEST)
    whole = path.read_bytes()
    damaged = {
        "older": whole,
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        "empty": b"",
        "no head": whole.partition(b"\n")[2],
        "other version": whole.replace(b'"version":1', b'"version":2', 1),
    }[damage]
    path.write_bytes(damaged)
    newest = NEWEST + (MINUTE_MS if damage == "older" else 0)
    assert state.take(path, newest=newest) is None
    assert not path.exists()


async def screen(
    folder: Path, clock: MovedClock, given: Sequence[CandleBatch]
) -> tuple[list[Alert], bool]:
    """Screens and stores; gives the alerts, and whether the engine was read from its file."""
    bus, file = MemoryBus(), folder / "a.engine"
    kept = file.exists()
    async with SqliteStore(folder / "a.db", clock) as store:
        screening = Screen(bus, store, clock, exchange="binance", rules=RULES, state_file=file)
        told: MemorySubscription = bus.subscribe("test", Alert, limit=100_000)
        persisting = Persist(bus, store, clock)

        async with asyncio.TaskGroup() as group:
            judging = group.create_task(screening.run())
            group.create_task(persisting.run())
            await screening.rebuilt.wait()
            kept = kept and not file.exists()
            for batch in given:
                clock.move(batch.candles[0].close_time - clock.now_ms())
                await bus.publish(batch)
            await bus.close(WHOLE.name)
            await judging
            await screening.keep()
            await bus.close()
        return [one.message async for one in told if isinstance(one.message, Alert)], kept


async def test_a_clean_restart_goes_on_as_if_there_had_been_none(tmp_path: Path) -> None:
    market = screener.demo_market(symbols=3, days=2).sort("open_time", maintain_order=True)
    given = list(batches(market))
    start, thirds = given[0].candles[0].open_time, len(given) // 3
    raised: list[str] = []
    for turn in range(3):
        part = given[turn * thirds : (turn + 1) * thirds if turn < 2 else None]
        clock = MovedClock(part[0].candles[0].open_time)
        alerts, kept = await screen(tmp_path, clock, part)
        assert kept == (turn > 0)
        raised += [alert.id for alert in alerts]
    wanted = expected(market, start - MINUTE_MS)
    assert len(wanted) > 20
    assert sorted(raised) == sorted(wanted)


async def test_bars_reach_the_engine_and_who_left_leaves_it(tmp_path: Path) -> None:
    market = screener.demo_market(symbols=2, days=1).sort("open_time", maintain_order=True)
    given = list(batches(market))
    first = given[0].candles[0].open_time
    clock, bus = MovedClock(first), MemoryBus()
    day = 1440 * MINUTE_MS
    closes = tuple((first - first % day - n * day, 100.0 + n % 7) for n in range(400, 0, -1))
    async with SqliteStore(tmp_path / "a.db", clock) as store:
        screening = Screen(bus, store, clock, exchange="binance", rules=RULES)

        async with asyncio.TaskGroup() as group:
            group.create_task(screening.run())
            await screening.rebuilt.wait()
            for batch in given:
                await bus.publish(batch)
            one, two = market["symbol"].unique().sort().to_list()
            await bus.publish(Bars("binance", one, "1d", closes))
            await bus.publish(Unfollowed("binance", (two,), clock.now_ms()))
            await bus.close(WHOLE.name)
        metrics = screening.engine.metrics(one)
        assert metrics is not None
        assert metrics["rsi_1d"] is not None
        assert screening.engine.symbols == [one]


async def test_the_history_of_a_symbol_that_is_listed_later_raises_nothing(tmp_path: Path) -> None:
    market = screener.demo_market(symbols=1, days=2).sort("open_time", maintain_order=True)
    given = list(batches(market))
    name, start = market["symbol"][0], given[0].candles[0].open_time
    alerts = screener.replay(market, exchange="binance").alerts["triggered_at"].to_list()
    cut = (alerts[len(alerts) // 2] - start) // MINUTE_MS
    clock, bus = MovedClock(start - 1440 * MINUTE_MS), MemoryBus()
    async with SqliteStore(tmp_path / "a.db", clock) as store:
        screening = Screen(bus, store, clock, exchange="binance", rules=RULES)
        told: MemorySubscription = bus.subscribe("test", Alert, limit=100_000)
        async with asyncio.TaskGroup() as group:
            group.create_task(screening.run())
            await screening.rebuilt.wait()
            listed = given[cut].candles[0].close_time
            await bus.publish(Followed("binance", (name,), listed - MINUTE_MS))
            for batch in given:
                await bus.publish(batch)
            await bus.close(WHOLE.name)
        await bus.close()
        raised = {one.message.id async for one in told if isinstance(one.message, Alert)}
    assert expected(market, start) - raised
    assert raised == expected(market, listed - MINUTE_MS)
    assert raised


async def test_lives_after_a_listing_judge_what_closed_since(tmp_path: Path) -> None:
    """All of `up`, that finds a symbol more in its second life, and each time loses its engine."""
    path, now = tmp_path / "a.db", START_MS
    lives = []
    for symbols, hours_later in ((2, 7), (3, 0), (3, 0)):
        async with running(path, symbols=symbols, start_ms=now) as rig:
            await rig.minutes(4)
            # It is lost, as by a crash; a stop that is told of it writes it down once more.
            rig.roles.screen.keep = _nothing_kept  # type: ignore[method-assign]
            lives.append(rig.clock.now_ms())
        now = rig.clock.now_ms() + hours_later * 60 * MINUTE_MS
        assert not path.with_name("a.db.engine").exists()
    listed = rig.market.contracts[2].symbol
    async with SqliteStore(path, SystemClock()) as store:
        [(symbol, judged_from)] = (await store.judged_from("binance")).items()
        mine = [one for one in await store.alerts(0) if one.symbol == listed]
        history = await store.minutes("binance", [listed], 0, judged_from)
    hour = judged_from - 60 * MINUTE_MS
    assert symbol == listed
    assert lives[0] - MINUTE_MS < judged_from <= lives[1]
    missed = screener.replay(history, RULES, exchange="binance", start=hour).alerts
    assert missed.height, "a rebuild that judges the last hour would raise nothing, either"
    assert all(one.triggered_at > judged_from for one in mine)
    assert drifted(path, "futures").faults == ()


async def _nothing_kept() -> None:
    pass


async def test_what_is_judged_after_the_bus_has_closed_is_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its alerts found nobody to store them, so the engine that remembers them is not kept."""
    path = tmp_path / "s.db"
    engine_file = tmp_path / "s.db.engine"
    async with running(path, symbols=2) as rig:
        await rig.minutes(1)
    assert engine_file.exists(), "a clean stop keeps it"
    rebuild = Rebuild.run

    async def slow(self: Rebuild, judge: Judge) -> None:
        await asyncio.sleep(STOP_SECONDS / 4 + 0.5)
        await rebuild(self, judge)

    monkeypatch.setattr(Rebuild, "run", slow)
    clock = SystemClock(60, start_ms=rig.clock.now_ms())  # it goes on where the first one ended
    async with DemoExchange(Market(symbols=2), clock) as exchange:
        there = ExchangeConfig(rest_url=exchange.rest_url, stream_url=exchange.stream_url)
        config = Config(
            exchange=there, store=StoreConfig(path=path), serve=ServeConfig(enabled=False)
        )
        ready: asyncio.Future[Roles] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(up(config, clock=clock, ready=ready))
        roles = await ready
        roles.stop.set()
        await task
    assert roles.screen.rebuilt.is_set(), "it came to an end, too late"
    assert not engine_file.exists()
