"""The role screen: its alerts are those of a replay, also across a crash."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st
from scripted import MovedClock

import screener
from screenerd.bus.memory import MemoryBus, MemorySubscription
from screenerd.bus.port import Message
from screenerd.columns import candles_frame
from screenerd.model import MINUTE_MS, Alert, Candle, CandleBatch, Followed, Metrics, RuleSwitch
from screenerd.persist.service import Persist
from screenerd.screen import judge, rebuild
from screenerd.screen.scope import WHOLE
from screenerd.screen.service import Screen
from screenerd.store.port import JournalPage, Span
from screenerd.store.sqlite import SqliteStore

RULES = screener.RuleSet.load("futures")
COLUMNS = [field for field in Candle.__slots__ if field in screener.demo_market(symbols=1).columns]


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return screener.demo_market(symbols=3, days=2).sort("open_time", maintain_order=True)


def batches(frame: pl.DataFrame) -> Iterator[CandleBatch]:
    """A batch a minute."""
    candles = [
        Candle(**row, received_at=row["open_time"] + MINUTE_MS)
        for row in frame.select(COLUMNS).iter_rows(named=True)
    ]
    for _, minute in groupby(candles, key=lambda candle: candle.open_time):
        yield CandleBatch("binance", tuple(minute))


async def screen(
    path: Path, clock: MovedClock, given: Sequence[CandleBatch | Followed]
) -> list[Alert]:
    """Screens and stores; gives the alerts."""
    bus = MemoryBus()
    async with SqliteStore(path, clock) as store:
        screening = Screen(bus, store, clock, exchange="binance", rules=RULES)
        told: MemorySubscription = bus.subscribe("test", Alert, limit=100_000)
        persisting = Persist(bus, store, clock)
        async with asyncio.TaskGroup() as group:
            judging = group.create_task(screening.run())
            group.create_task(persisting.run())
            await screening.rebuilt.wait()
            for message in given:
                if isinstance(message, CandleBatch):
                    clock.move(max(0, message.candles[0].received_at - clock.now_ms()))
                await bus.publish(message)
            await bus.close(WHOLE.name)
            await judging
            await bus.close()
        return [one.message async for one in told if isinstance(one.message, Alert)]


def expected(frame: pl.DataFrame, start: int) -> set[str]:
    replayed = screener.replay(frame, exchange="binance", start=start)
    return set(replayed.alerts["id"].to_list())


@pytest.mark.asyncio
async def test_alerts_are_those_of_a_replay(tmp_path: Path, market: pl.DataFrame) -> None:
    given = list(batches(market))
    start = given[0].candles[0].open_time
    alerts = await screen(tmp_path / "a.db", MovedClock(start), given)
    wanted = expected(market, start - MINUTE_MS)
    assert len(wanted) > 20
    assert {alert.id for alert in alerts} == wanted
    assert len(alerts) == len(wanted)
    for alert in alerts:
        assert alert.stamps.exchange_close == alert.triggered_at
        assert alert.direction in {"up", "down"}
        assert alert.evidence


@pytest.mark.asyncio
async def test_a_restart_skips_nothing_and_raises_nothing_twice(
    tmp_path: Path, market: pl.DataFrame
) -> None:
    given = list(batches(market))
    start = given[0].candles[0].open_time
    path, cut = tmp_path / "a.db", len(given) * 3 // 4
    before = await screen(path, MovedClock(start), given[:cut])
    after = await screen(path, MovedClock(given[cut - 1].candles[0].close_time), given[cut:])
    wanted = expected(market, start - MINUTE_MS)
    assert {alert.id for alert in before} | {alert.id for alert in after} == wanted
    assert not {alert.id for alert in before} & {alert.id for alert in after}


@pytest.mark.asyncio
async def test_what_was_stored_and_not_judged_is_judged_after_a_crash(
    tmp_path: Path, market: pl.DataFrame
) -> None:
    given = list(batches(market))
    start = given[0].candles[0].open_time
    wanted = screener.replay(market, exchange="binance", start=start - MINUTE_MS).alerts
    # Cut right after a minute with an alert in the last quarter: its candles are stored, it is not.
    last = wanted["triggered_at"].to_list()[-1]
    cut = next(n for n, b in enumerate(given) if b.candles[0].close_time == last) + 1
    path = tmp_path / "a.db"
    before = await screen(path, MovedClock(start), given[: cut - 1])
    async with SqliteStore(path, MovedClock(last)) as store:
        await store.write(given[cut - 1])
    after = await screen(path, MovedClock(last), given[cut:])
    lost = {alert.id for alert in before} | {alert.id for alert in after}
    assert lost == set(wanted["id"].to_list())


@pytest.mark.asyncio
@pytest.mark.parametrize("dead_for", [0, 30])
async def test_the_history_of_a_symbol_listed_before_a_crash_raises_nothing_after_it(
    tmp_path: Path, dead_for: int
) -> None:
    market = screener.demo_market(symbols=2, days=2).sort("open_time", maintain_order=True)
    path = tmp_path / "a.db"
    old, new = market["symbol"].unique().sort().to_list()
    at = _moment_with_alerts(market.filter(symbol=new))
    begin = int(market["open_time"][0])
    listed, crash, end = at, at + 20 * MINUTE_MS, at + 50 * MINUTE_MS
    history = [
        replace(candle, received_at=listed + 5_000, source="rest")
        for batch in batches(market.filter(pl.col("symbol") == new, pl.col("open_time") < listed))
        for candle in batch.candles
    ]
    given = list(
        batches(market.filter((pl.col("symbol") == old) | (pl.col("open_time") >= listed)))
    )
    before = [one for one in given if one.candles[0].close_time <= listed]
    until = [one for one in given if listed < one.candles[0].close_time <= crash]
    after = [one for one in given if crash < one.candles[0].close_time <= end]
    async with SqliteStore(path, MovedClock(begin)) as store:
        await store.set_tracking("binance", {old: Span(begin, None)})
    first = await screen(path, MovedClock(begin), before)
    async with SqliteStore(path, MovedClock(listed)) as store:
        day = listed - 1440 * MINUTE_MS
        await store.set_tracking("binance", {new: Span(day, None, judged_from=listed)})
    told: list[CandleBatch | Followed] = [
        Followed("binance", (new,), listed),
        CandleBatch("binance", tuple(history)),
        *until,
    ]
    second = await screen(path, MovedClock(listed), told)
    # What closed while nothing ran comes late, and is judged late.
    clock = MovedClock(crash + dead_for * MINUTE_MS)
    third = await screen(path, clock, after)
    raised = Counter(alert.id for alert in (*first, *second, *third))
    wanted = {
        *expected(market.filter(pl.col("symbol") == old, pl.col("open_time") < end), begin),
        *expected(market.filter(pl.col("symbol") == new, pl.col("open_time") < end), listed),
    }
    assert {one.symbol for one in (*second, *third)} >= {new}, "or this shows nothing"
    assert raised == dict.fromkeys(wanted, 1)


class ListingStore(SqliteStore):
    """A symbol comes back, with what closed meanwhile, while an engine reads what is stored."""

    listing: tuple[str, Span, CandleBatch] | None = None
    before_page = 0

    async def journal(self, exchange: str, start: int, end: int, **which: Any) -> JournalPage:
        """As it is once the symbol has come back."""
        self.before_page -= 1
        if self.listing is not None and self.before_page < 0:
            (symbol, span, history), self.listing = self.listing, None
            await self.set_tracking(exchange, {symbol: span})
            await self.write(history)
        return await super().journal(exchange, start, end, **which)


@pytest.mark.asyncio
@pytest.mark.parametrize("page", [0, 1])
async def test_who_comes_back_during_a_rebuild_is_not_judged_for_the_time_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(rebuild, "JOURNAL_AT_ONCE", 20)
    market = screener.demo_market(symbols=1, days=2).sort("open_time", maintain_order=True)
    begin, [symbol] = int(market["open_time"][0]), market["symbol"].unique().to_list()
    back = _moment_with_alerts(market)
    away = back - 10 * MINUTE_MS
    given = list(batches(market))
    before = [one for one in given if one.candles[0].close_time <= away]
    meanwhile = [one for one in given if away < one.candles[0].close_time <= back]
    history = [replace(c, received_at=back + 1) for one in meanwhile for c in one.candles]
    path = tmp_path / "a.db"
    first = await screen(path, MovedClock(begin), before)
    async with ListingStore(path, MovedClock(back)) as store:
        span = Span(back - 1440 * MINUTE_MS, None, judged_from=back)
        store.listing, store.before_page = (
            (symbol, span, CandleBatch("binance", tuple(history))),
            page,
        )
        bus = MemoryBus()
        screening = Screen(bus, store, MovedClock(back), exchange="binance", rules=RULES)
        told: MemorySubscription = bus.subscribe("test", Alert, limit=100_000)
        task = asyncio.create_task(screening.run())
        await screening.rebuilt.wait()
        await bus.close()
        await task
    missed = expected(market.filter(pl.col("open_time") < back), away)
    assert missed - {one.id for one in first}, "or this shows nothing"
    assert [one async for one in told] == []
    assert store.listing is None


@pytest.mark.asyncio
@pytest.mark.parametrize("rules_are_new", [True, False])
async def test_others_have_their_turn_while_a_long_absence_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules_are_new: bool
) -> None:
    """A worker that says nothing meanwhile would lose its place, and begin anew without end."""
    market = screener.demo_market(symbols=12, days=2).sort("open_time", maintain_order=True)
    begin, back = int(market["open_time"][0]), int(market["open_time"][-1]) + MINUTE_MS
    away = back - 600 * MINUTE_MS
    given = [replace(c, received_at=back) for one in batches(market) for c in one.candles]
    path, turn, taken = tmp_path / "a.db", 0, Counter[int]()
    async with SqliteStore(path, MovedClock(away)) as store:
        await store.first_seen(["screen:binance", "rules"], begin)
        if not rules_are_new:
            await store.first_seen([f"rule:{r.name}:{r.version}" for r in RULES], begin)
        await store.write(CandleBatch("binance", tuple(c for c in given if c.open_time >= away)))

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def as_given(candle: Candle) -> screener.Candle:
        taken[turn] += 1
        return asked(candle)

    def as_frame(candles: Sequence[Candle]) -> pl.DataFrame:
        frames[turn] += 1
        return candles_frame(candles)

    frames, asked = Counter[int](), judge._given
    monkeypatch.setattr(judge, "_given", as_given)
    monkeypatch.setattr(judge, "candles_frame", as_frame)
    bus = MemoryBus()
    async with SqliteStore(path, MovedClock(back + 1)) as store:
        screening = Screen(bus, store, MovedClock(back + 1), exchange="binance", rules=RULES)
        async with asyncio.TaskGroup() as group:
            task, waiting = group.create_task(screening.run()), group.create_task(others())
            await screening.rebuilt.wait()
            waiting.cancel()
            await bus.close()
            await task
    if rules_are_new:
        assert not taken
        assert 7200 // rebuild.CANDLES_AT_ONCE <= frames.total() < 20, "not a frame a minute"
        assert max(frames.values()) == 1
    else:
        assert taken.total() == 7200
        assert max(taken.values()) <= rebuild.CANDLES_AT_ONCE


class SlowAtFirst(MemoryBus):
    """A bus that takes its time for the first alert, as one that has to ask again does."""

    asked = 0

    async def publish(self, message: Message) -> None:
        """Puts it onto the bus."""
        if isinstance(message, Alert):
            self.asked += 1
            if self.asked == 1:
                await asyncio.sleep(0.05)
        await super().publish(message)


@pytest.mark.asyncio
@pytest.mark.parametrize("page", [100, rebuild.JOURNAL_AT_ONCE])
async def test_alerts_of_a_rebuild_are_told_in_the_order_of_their_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(rebuild, "JOURNAL_AT_ONCE", page)
    market = screener.demo_market(symbols=1, days=2).sort("open_time", maintain_order=True)
    begin, end = int(market["open_time"][0]), int(market["open_time"][-1]) + MINUTE_MS
    given, bus = list(batches(market)), SlowAtFirst()
    at_once = [replace(c, received_at=end) for one in given for c in one.candles]
    async with SqliteStore(tmp_path / "a.db", MovedClock(end)) as store:
        names = ["screen:binance", "rules", *(f"rule:{r.name}:{r.version}" for r in RULES)]
        await store.first_seen(names, begin)
        await store.write(CandleBatch("binance", tuple(at_once)))
        told: MemorySubscription = bus.subscribe("test", Alert, limit=100_000)
        screening = Screen(bus, store, MovedClock(end + 1), exchange="binance", rules=RULES)
        task = asyncio.create_task(screening.run())
        await screening.rebuilt.wait()
        await bus.close()
        await task
    times = [one.message.triggered_at async for one in told if isinstance(one.message, Alert)]
    assert len(set(times)) > 3
    assert times == sorted(times)


@given_any(
    stream=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()),
        max_size=60,
    ),
    since=st.lists(st.integers(0, 9), max_size=4),
    most=st.integers(1, 9),
)
def test_runs_are_of_candles_that_are_taken_alike(
    stream: list[tuple[int, int, bool]], since: list[int], most: int
) -> None:
    candles = [
        Candle("A", minute * MINUTE_MS, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, int(is_so), received_at=at)
        for minute, at, is_so in stream
    ]

    def kind(candle: Candle) -> tuple[int, bool]:
        return sum(at <= candle.received_at for at in since), bool(candle.trades)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rebuild, "CANDLES_AT_ONCE", most)
        runs = list(rebuild.runs(candles, since, lambda one: bool(one.trades)))
    assert [one for run in runs for one in run] == candles
    for run in runs:
        assert 0 < len(run) <= most
        assert len(set(map(kind, run))) == 1
        assert [one.open_time for one in run] == sorted(one.open_time for one in run)
    for run, after in pairwise(runs):
        same = kind(run[-1]) == kind(after[0]) and run[-1].open_time <= after[0].open_time
        assert len(run) == most or not same, "no run ends early"


@pytest.mark.asyncio
@pytest.mark.parametrize("page", [5, rebuild.JOURNAL_AT_ONCE])
async def test_what_came_late_is_late_for_rules_that_are_new_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """A rule that has to hold for minutes is not told of a minute before it was known."""
    monkeypatch.setattr(rebuild, "JOURNAL_AT_ONCE", page)
    rules = screener.RuleSet.parse(
        """
        [[rule]]
        name = "held"
        timeframe = "5m"
        when = "change_5m > 0"
        hold = "4m"
        cooldown = "1m"
        """
    )
    begin = 28_333_334 * MINUTE_MS
    rising = [
        Candle("A", begin + n * MINUTE_MS, 100.0, 100.0 + n, 100.0, 100.0 + n, 1.0, 100.0)
        for n in range(27)
    ]
    past, then = [*rising[:18], rising[19], rising[18]], rising[20:]
    one_by_one = screener.Engine(rules=rules, exchange="binance")
    for candle in past:
        one_by_one.warm_up(candles_frame([candle]))
    wanted = [alert.triggered_at for one in then for alert in one_by_one.update(judge._given(one))]
    at_once = screener.Engine(rules=rules, exchange="binance")
    at_once.warm_up(candles_frame(past))
    other = [alert.triggered_at for one in then for alert in at_once.update(judge._given(one))]
    assert 0 < len(wanted) < len(other), "or this shows nothing"

    path, clock = tmp_path / "a.db", MovedClock(past[0].open_time)
    async with SqliteStore(path, clock) as store:
        await store.first_seen(["screen:binance", "rules"], begin - 60 * MINUTE_MS)
        for candle in past:
            clock.move(max(0, candle.close_time - clock.now_ms()))
            await store.write(
                CandleBatch("binance", (replace(candle, received_at=clock.now_ms()),))
            )
        clock.move(1_000)  # or the rule would be in force for the last of them
        bus = MemoryBus()
        told: MemorySubscription = bus.subscribe("test", Alert, limit=100)
        screening = Screen(bus, store, clock, exchange="binance", rules=rules)
        task = asyncio.create_task(screening.run())
        await screening.rebuilt.wait()
        for candle in then:
            late = replace(candle, received_at=candle.close_time)
            await bus.publish(CandleBatch("binance", (late,)))
        await bus.close(WHOLE.name)
        await task
        await bus.close()
    alerts = [one.message async for one in told]
    assert [one.triggered_at for one in alerts if isinstance(one, Alert)] == wanted


def _moment_with_alerts(market: pl.DataFrame) -> int:
    """When an alert is raised, with others before and after, on the second day."""
    alerts = screener.replay(market, exchange="binance").alerts["triggered_at"]
    later = alerts.filter(alerts > int(market["open_time"][0]) + 1500 * MINUTE_MS)
    return int(later[len(later) // 2])


@pytest.mark.asyncio
async def test_metrics_are_told_of_what_has_closed(tmp_path: Path, market: pl.DataFrame) -> None:
    clock, bus = MovedClock(market["open_time"][0]), MemoryBus()
    told = bus.subscribe("test", Metrics, limit=100)
    given = list(batches(market))[:30]
    async with SqliteStore(tmp_path / "s.db", clock) as store:
        screening = Screen(bus, store, clock, exchange="binance", rules=RULES)
        task = asyncio.create_task(screening.run())
        await screening.rebuilt.wait()
        for batch in given:
            await bus.publish(batch)
        one = given[-1].candles[0]
        symbols: set[str] = set()
        frame = pl.DataFrame()
        async with asyncio.timeout(20):
            async for received in told:
                message = received.message
                assert isinstance(message, Metrics)
                frame = message.frame.filter(pl.col("symbol") == one.symbol)
                symbols.update(message.frame["symbol"].to_list())
                if len(symbols) == 3 and message.frame["open_time"].max() == one.open_time:
                    break
        assert frame["change_5m"].item() == screening.engine.metrics(one.symbol)["change_5m"]
        await bus.publish(CandleBatch("binance", (replace(one, open_time=one.close_time),)))
        async with asyncio.timeout(20):
            later = (await anext(aiter(told))).message
        assert isinstance(later, Metrics)
        assert later.frame["symbol"].to_list() == [one.symbol], "only what has changed"
        await bus.close()
        await task


@pytest.mark.asyncio
async def test_a_rule_that_is_switched_off_is_silent_and_comes_back(
    tmp_path: Path, market: pl.DataFrame
) -> None:
    """Another restart, another switch: what is off stays off, and cooldowns can be changed."""
    clock = MovedClock(market["open_time"][0])
    given = list(batches(market))
    third = len(given) // 3
    path = tmp_path / "s.db"
    all_of_it = await screen(tmp_path / "other.db", MovedClock(clock.now_ms()), given)
    [(rule, _)] = Counter(one.rule for one in all_of_it).most_common(1)
    first = await screen(path, clock, given[:third])
    async with SqliteStore(path, clock) as store:
        await store.set_rule_switch(RuleSwitch(rule, enabled=False))
    second = await screen(path, clock, given[third : 2 * third])
    async with SqliteStore(path, clock) as store:
        await store.set_rule_switch(RuleSwitch(rule, cooldown_ms=7_200_000))
    rest = await screen(path, clock, given[2 * third :])
    ids = {one.id for one in all_of_it}
    edge = [given[third].candles[0].open_time, given[2 * third].candles[0].open_time]
    middle = {one.id for one in all_of_it if edge[0] < one.triggered_at <= edge[1]}
    silent = {one.id for one in all_of_it if one.id in middle and one.rule == rule}
    assert {one.id for one in first} <= ids
    assert not any(one.rule == rule for one in second)
    assert {one.id for one in second} == middle - silent, "the others are told as ever"
    slower = [one for one in rest if one.rule == rule]
    quick = [one for one in all_of_it if one.rule == rule and one.triggered_at > edge[1]]
    assert 0 < len(slower) < len(quick)
    assert {one.rule_version for one in slower}.isdisjoint(one.rule_version for one in quick)
