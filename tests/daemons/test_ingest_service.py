"""Ingest against a scripted exchange: every minute once, whatever the feed does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from scripted import START, MemoryStore, MovedClock, ScriptedExchange, ScriptedFeed, candle

from screenerd.bus.memory import MemoryBus, MemorySubscription
from screenerd.bus.port import Message
from screenerd.ingest.bursts import Bursts
from screenerd.ingest.service import Ingest
from screenerd.model import (
    MINUTE_MS,
    Bars,
    Candle,
    CandleBatch,
    DeadLetter,
    Followed,
    Prices,
    Reconnected,
    Unfollowed,
)
from screenerd.store.port import Span, StoreHealth

HOUR = 60


@dataclass
class Bench:
    """An ingest that runs, and what it puts onto the bus."""

    ingest: Ingest
    exchange: ScriptedExchange
    store: MemoryStore
    clock: MovedClock
    feed: ScriptedFeed
    bus: MemoryBus
    batches: MemorySubscription
    seen: list[Candle]
    letters: list[DeadLetter] = field(default_factory=list)
    others: list[Message] = field(default_factory=list)
    told: list[Message] = field(default_factory=list)

    async def until(self, condition: Callable[[], object]) -> None:
        """Takes what comes until a condition holds."""
        async with asyncio.timeout(60):
            while True:
                while not self.batches.queue.empty():
                    message = self.batches.queue.get_nowait()
                    match message:
                        case CandleBatch():
                            self.seen.extend(message.candles)
                        case DeadLetter():
                            self.letters.append(message)
                        case Bars() | Followed() | Unfollowed():
                            self.others.append(message)
                    if message is not None:
                        self.told.append(message)
                if condition():
                    return
                await asyncio.sleep(0.001)

    def has_told(self, times: int) -> bool:
        """Whether so much has come that is no candle."""
        return len(self.others) >= times

    def minutes(self, symbol: str) -> list[int]:
        """Minutes seen of a symbol, in order of arrival."""
        return [(one.open_time - START) // MINUTE_MS for one in self.seen if one.symbol == symbol]


@contextlib.asynccontextmanager
async def running(
    exchange: ScriptedExchange, store: MemoryStore | None = None, now: int = HOUR
) -> AsyncIterator[Bench]:
    clock = MovedClock(START + now * MINUTE_MS + 1_000)
    bus = MemoryBus()
    store = store or MemoryStore()
    batches = bus.subscribe(
        "test", CandleBatch, DeadLetter, Bars, Followed, Unfollowed, limit=10_000
    )
    ingest = Ingest(exchange, bus, store, clock, history_ms=HOUR * MINUTE_MS)  # type: ignore[arg-type]
    feed = ScriptedFeed()
    ingest.feed = feed
    task = asyncio.create_task(ingest.run())
    bench = Bench(ingest, exchange, store, clock, feed, bus, batches, [])

    def started() -> bool:
        if exchange.failures or ingest.status.trouble:
            clock.move(1_000)
        return ingest.status.started or task.done()

    try:
        await bench.until(started)
        yield bench
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def market(*symbols: str, minutes: int = 200) -> ScriptedExchange:
    return ScriptedExchange(
        {
            symbol: {minute: candle(symbol, minute) for minute in range(minutes)}
            for symbol in symbols
        }
    )


@pytest.mark.asyncio
async def test_an_empty_store_is_warmed_by_request() -> None:
    async with running(market("A", "币USDT")) as bench:
        await bench.until(lambda: len(bench.seen) >= 2 * HOUR)
        for symbol in ("A", "币USDT"):
            assert bench.minutes(symbol) == list(range(HOUR))
        assert {one.source for one in bench.seen} == {"rest"}
        assert bench.feed.followed == ("A", "币USDT")
        assert bench.store.tracking["A"] == Span(START, None)


@pytest.mark.asyncio
async def test_what_the_store_holds_is_not_asked_for() -> None:
    store = MemoryStore([candle("A", minute) for minute in range(HOUR - 3)])
    async with running(market("A"), store) as bench:
        await bench.until(lambda: len(bench.seen) >= 3)
        assert bench.minutes("A") == [57, 58, 59]
        assert bench.exchange.asked == [("A", START + 57 * MINUTE_MS, START + 60 * MINUTE_MS)]


@pytest.mark.asyncio
async def test_prices_of_running_minutes_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("screenerd.ingest.service.PRICES_SECONDS", 0.01)
    async with running(market("A", "B")) as bench:
        await bench.until(lambda: len(bench.seen) == 2 * HOUR)
        told = aiter(bench.bus.subscribe("prices", Prices, limit=10))
        bench.feed.moved = {"A": 2.0, "X": 3.0}
        async with asyncio.timeout(5):
            prices = (await anext(told)).message
        assert isinstance(prices, Prices)
        assert prices.prices == {"A": 2.0}, "and no stranger's"
        assert prices.at == bench.clock.now_ms()


@pytest.mark.asyncio
async def test_prices_wait_for_a_pause_among_the_candles(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, pause = asyncio.Event(), asyncio.Event()

    async def quiet(_: Bursts) -> None:
        waits.set()
        await pause.wait()

    monkeypatch.setattr(Bursts, "quiet", quiet)
    monkeypatch.setattr("screenerd.ingest.service.PRICES_SECONDS", 0.01)
    async with running(market("A")) as bench:
        told = aiter(bench.bus.subscribe("prices", Prices, limit=10))
        bench.feed.moved = {"A": 2.0}
        async with asyncio.timeout(5):
            await waits.wait()
            await asyncio.sleep(0.05)
            assert bench.feed.moved, "what has moved is asked for after the pause"
            pause.set()
            assert isinstance((await anext(told)).message, Prices)


@pytest.mark.asyncio
async def test_a_close_goes_on_once_and_an_update_not_at_all() -> None:
    async with running(market("A")) as bench:
        await bench.until(lambda: len(bench.seen) == HOUR)
        bench.clock.move(59_500)
        for _ in range(3):
            bench.ingest.take(candle("A", 60, closed=False))
            bench.ingest.take(candle("A", 60))
        bench.ingest.take(candle("NOBODYUSDT", 60))
        await bench.until(lambda: len(bench.seen) == HOUR + 1)
        assert bench.minutes("A")[-1] == 60
        assert bench.ingest.status.duplicates == 2


@pytest.mark.asyncio
async def test_a_missed_close_is_asked_for_after_five_seconds() -> None:
    async with running(market("A", "B")) as bench:
        await bench.until(lambda: len(bench.seen) == 2 * HOUR)
        bench.exchange.asked.clear()
        bench.clock.move(60_000)
        bench.ingest.take(candle("A", 60))
        bench.clock.move(5_000)
        await bench.until(lambda: 60 in bench.minutes("B"))
        assert {symbol for symbol, *_ in bench.exchange.asked} == {"B"}


@pytest.mark.asyncio
async def test_what_closed_during_an_outage_is_filled() -> None:
    async with running(market("A")) as bench:
        await bench.until(lambda: len(bench.seen) == HOUR)
        bench.clock.move(10 * MINUTE_MS)
        bench.ingest.take(candle("A", 69))
        now = bench.clock.now_ms()
        bench.ingest.take_event(Reconnected("binance", 0, ("A",), now - 600_000, now))
        await bench.until(lambda: len(bench.seen) >= HOUR + 10)
        assert sorted(bench.minutes("A")) == list(range(HOUR + 10))


@pytest.mark.asyncio
async def test_a_minute_the_exchange_has_not_is_marked_absent() -> None:
    exchange = market("A")
    del exchange.minutes_by_symbol["A"][61]
    async with running(exchange) as bench:
        await bench.until(lambda: len(bench.seen) == HOUR)
        bench.clock.move(5 * MINUTE_MS)
        await bench.until(lambda: len(bench.seen) >= HOUR + 5)
        absent = [one for one in bench.seen if one.source == "synthetic"]
        assert [(one.open_time - START) // MINUTE_MS for one in absent] == [61]
        assert absent[0].volume == 0
        assert absent[0].close == bench.exchange.minutes_by_symbol["A"][60].close
        assert bench.ingest.status.absent == 1


@pytest.mark.asyncio
async def test_a_correction_goes_on_with_its_revision_and_a_worse_source_does_not() -> None:
    async with running(market("A")) as bench:
        await bench.until(lambda: len(bench.seen) == HOUR)
        bench.clock.move(60_000)
        bench.ingest.take(candle("A", 60, 101.0))
        await bench.until(lambda: len(bench.seen) == HOUR + 1)
        # The re-read finds other values: the request outranks the stream.
        bench.clock.move(40 * MINUTE_MS)
        await bench.until(lambda: [one.revision for one in bench.seen if one.revision])
        [corrected] = [one for one in bench.seen if one.revision]
        assert replace(corrected, received_at=0) == replace(
            candle("A", 60), source="rest", revision=1
        )
        bench.ingest.take(candle("A", 60, 102.0))
        assert bench.ingest.status.corrected == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("open_time", START + 60 * MINUTE_MS + 17_000, "start of a minute"),
        ("open_time", START + 120 * MINUTE_MS, "in the future"),
        ("close", float("nan"), "no price"),
        ("high", float("inf"), "no price"),
        ("low", -1.0, "no price"),
        ("volume", -1.0, "no amount"),
        ("high", 99.0, "high = 99.0"),
        ("low", 101.0, "low = 101.0"),
    ],
)
async def test_what_cannot_be_is_kept_as_a_dead_letter(field: str, value: float, told: str) -> None:
    async with running(market("A")) as bench:
        bench.clock.move(60_000)
        bench.ingest.take(candle("A", 60, **{field: value}))
        await bench.until(lambda: bench.letters)
        assert told in bench.letters[0].reason
        assert bench.ingest.status.rejected == 1


@pytest.mark.asyncio
async def test_listings_and_delistings_are_followed() -> None:
    async with running(market("A", "B")) as bench:
        await bench.until(lambda: len(bench.seen) == 2 * HOUR)
        listed = bench.exchange.minutes_by_symbol
        listed["C"] = {minute: candle("C", minute) for minute in range(58, 200)}
        del listed["B"]
        bench.clock.move(301_000)
        await bench.until(lambda: bench.feed.followed == ("A", "C"))
        until = bench.store.tracking["B"].end
        assert until is not None
        assert until >= START + 60 * MINUTE_MS
        bench.clock.move(5_000)
        await bench.until(lambda: 64 in bench.minutes("C"))
        [told] = [one for one in bench.others if isinstance(one, Followed)]
        assert told == Followed("binance", ("C",), START + 65 * MINUTE_MS)
        assert bench.store.tracking["C"].judged_from == told.judged_from
        assert min(bench.minutes("C")) == 58


@pytest.mark.asyncio
async def test_what_is_followed_from_the_first_start_on_has_no_time_of_its_own() -> None:
    async with running(market("A", "B")) as bench:
        await bench.until(lambda: len(bench.seen) == 2 * HOUR)
        assert bench.store.listed == {}
        assert not any(isinstance(one, Followed) for one in bench.others)


@pytest.mark.asyncio
async def test_a_listing_is_told_before_its_history_though_the_store_was_away() -> None:
    async with running(market("A")) as bench:
        await bench.until(lambda: len(bench.seen) == HOUR)
        bench.exchange.minutes_by_symbol["C"] = {m: candle("C", m) for m in range(200)}
        bench.store.failures = 1
        bench.clock.move(301_000)
        await bench.until(lambda: bench.store.failures == 0)
        await asyncio.sleep(0.02)
        assert bench.store.tracking.keys() == {"A"}
        assert not bench.minutes("C"), "nobody knows yet that it is history"
        bench.clock.move(301_000)
        await bench.until(lambda: bench.minutes("C"))
        listed = bench.told.index(Followed("binance", ("C",), START + 70 * MINUTE_MS))
        assert listed < min(n for n, one in enumerate(bench.told) if _has(one, "C"))


def _has(message: Message, symbol: str) -> bool:
    return isinstance(message, CandleBatch) and symbol in {one.symbol for one in message.candles}


@pytest.mark.asyncio
async def test_a_listing_is_told_again_by_who_starts_after_a_death() -> None:
    """It may have been stored, and the process may have died before the others were told."""
    store = MemoryStore(tracking={"A": Span(START, None)})
    listed = START + 50 * MINUTE_MS
    store.tracking["C"] = Span(START, None, judged_from=listed)
    async with running(market("A", "C"), store) as bench:
        await bench.until(lambda: len(bench.seen) == 2 * HOUR)
        assert [one for one in bench.others if isinstance(one, Followed)] == [
            Followed("binance", ("C",), listed)
        ]
        assert store.listed == {"C": listed}


@pytest.mark.asyncio
async def test_who_left_is_told() -> None:
    async with running(market("A", "B")) as bench:
        await bench.until(lambda: len(bench.seen) == 2 * HOUR)
        status = bench.ingest.status
        assert (status.symbols, status.warmed) == (2, 2)
        del bench.exchange.minutes_by_symbol["B"]
        bench.clock.move(301_000)
        await bench.until(
            lambda: Unfollowed("binance", ("B",), bench.clock.now_ms()) in bench.others
        )
        await bench.until(lambda: status.symbols == 1)
        assert status.warmed == 1


@pytest.mark.asyncio
async def test_who_left_is_told_until_it_is_stored() -> None:
    async with running(market("A", "B")) as bench:
        await bench.until(lambda: len(bench.seen) == 2 * HOUR)
        del bench.exchange.minutes_by_symbol["B"]
        bench.store.failures = 1
        for times in (1, 2):
            bench.clock.move(301_000)
            await bench.until(partial(bench.has_told, times))
        await bench.until(lambda: bench.store.tracking["B"].end is not None)
        assert [one.symbols for one in bench.others if isinstance(one, Unfollowed)] == [("B",)] * 2
        assert bench.ingest.status.warmed == 1


@pytest.mark.asyncio
async def test_what_closes_while_a_symbol_warms_up_comes_after_its_history() -> None:
    exchange = market("A")
    exchange.held_back = asyncio.Event()
    bus = MemoryBus()
    batches = bus.subscribe("test", CandleBatch, limit=100)
    clock = MovedClock(START + HOUR * MINUTE_MS + 1_000)
    ingest = Ingest(exchange, bus, MemoryStore(), clock, history_ms=HOUR * MINUTE_MS)  # type: ignore[arg-type]
    ingest.feed = ScriptedFeed()
    task = asyncio.create_task(ingest.run())
    bench = Bench(ingest, exchange, MemoryStore(), clock, ingest.feed, bus, batches, [])
    await bench.until(lambda: exchange.asked)
    clock.move(60_000)
    ingest.take(candle("A", 60))
    await asyncio.sleep(0.01)
    assert bench.seen == []
    exchange.held_back.set()
    await bench.until(lambda: len(bench.seen) == HOUR + 1)
    assert bench.minutes("A") == list(range(HOUR + 1))
    assert [one.source for one in bench.seen[-2:]] == ["rest", "stream"]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_an_exchange_that_is_away_at_the_start_is_asked_again() -> None:
    exchange = market("A")
    exchange.failures = 3
    async with running(exchange) as bench:
        await bench.until(lambda: len(bench.seen) >= HOUR)
        assert exchange.failures == 0
        assert bench.ingest.status.trouble == ""


@pytest.mark.asyncio
async def test_an_answer_that_took_long_says_nothing_of_the_minutes_meanwhile() -> None:
    exchange = market("A")
    async with running(exchange) as bench:
        await bench.until(lambda: len(bench.seen) == HOUR)
        exchange.held_back = asyncio.Event()
        bench.clock.move(MINUTE_MS)
        await bench.until(lambda: bench.exchange.asked[-1][1] == START + HOUR * MINUTE_MS)
        bench.clock.move(10 * MINUTE_MS)
        exchange.held_back.set()
        await bench.until(lambda: len(bench.seen) >= HOUR + 11)
        assert sorted(bench.minutes("A")) == list(range(HOUR + 11))
        assert "synthetic" not in {one.source for one in bench.seen}


@pytest.mark.asyncio
async def test_a_stop_while_a_symbol_warms_up_lets_nothing_in_behind_its_hole() -> None:
    exchange = market("A")
    exchange.held_back = asyncio.Event()
    bus = MemoryBus()
    batches = bus.subscribe("test", CandleBatch, limit=100)
    clock = MovedClock(START + HOUR * MINUTE_MS + 1_000)
    ingest = Ingest(exchange, bus, MemoryStore(), clock, history_ms=HOUR * MINUTE_MS)  # type: ignore[arg-type]
    ingest.feed = ScriptedFeed()
    task = asyncio.create_task(ingest.run())
    async with asyncio.timeout(5):
        while not exchange.asked:
            await asyncio.sleep(0.001)
    clock.move(60_000)
    ingest.take(candle("A", 60))
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    ingest.take(candle("A", 61))  # the feed may be stopped a moment later
    await ingest.flush()
    assert batches.queue.empty()


@pytest.mark.asyncio
async def test_what_an_earlier_run_was_to_fetch_is_fetched() -> None:
    store = MemoryStore()
    store.tracking["A"] = Span(START + 40 * MINUTE_MS, None)
    store.tracking["B"] = Span(START, START + 5 * MINUTE_MS)
    async with running(market("A", "B"), store, now=2 * HOUR) as bench:
        await bench.until(lambda: len(bench.seen) >= 80 + 60)
        assert bench.minutes("A") == list(range(40, 120))
        assert bench.minutes("B") == list(range(60, 120))


@pytest.mark.asyncio
async def test_ten_thousand_symbols_that_close_at_once_are_all_handed_on() -> None:
    names = [f"S{number}USDT" for number in range(10_000)]
    exchange = ScriptedExchange({name: {HOUR - 1: candle(name, HOUR - 1)} for name in names})
    async with running(exchange) as bench:
        bench.clock.move(59_500)
        for name in names:
            bench.ingest.take(candle(name, HOUR))
        await bench.until(
            lambda: sum(one.open_time == candle("", HOUR).open_time for one in bench.seen) == 10_000
        )
        assert {one.symbol for one in bench.seen} == set(names)


@pytest.mark.asyncio
async def test_minutes_out_of_order_and_nothing_traded_and_values_that_change() -> None:
    async with running(market("A")) as bench:
        await bench.until(lambda: len(bench.seen) == HOUR)
        bench.exchange.held_back = asyncio.Event()
        bench.clock.move(3 * MINUTE_MS)
        quiet = candle("A", 61, volume=0.0, quote_volume=0.0, trades=0, taker_buy_volume=0.0)
        for one in (candle("A", 62), candle("A", 60), replace(quiet, taker_buy_quote_volume=0.0)):
            bench.ingest.take(one)
        await bench.until(lambda: len(bench.seen) == HOUR + 3)
        assert bench.minutes("A")[-3:] == [62, 60, 61]
        bench.ingest.take(candle("A", 62, 105.0))
        bench.ingest.take(candle("A", 5, 105.0))
        await bench.until(lambda: len(bench.seen) == HOUR + 4)
        # What was asked for outranks what the stream says of it later.
        assert (bench.seen[-1].close, bench.seen[-1].revision) == (105.0, 1)
        assert (bench.ingest.status.corrected, bench.ingest.status.duplicates) == (1, 1)


@pytest.mark.asyncio
async def test_history_waits_for_a_store_that_has_much_to_write() -> None:
    store = MemoryStore(health=StoreHealth("up", None, 100_000, START))
    exchange = market("A")
    clock, bus = MovedClock(START + HOUR * MINUTE_MS + 1_000), MemoryBus()
    ingest = Ingest(exchange, bus, store, clock, history_ms=HOUR * MINUTE_MS)  # type: ignore[arg-type]
    ingest.feed = ScriptedFeed()
    task = asyncio.create_task(ingest.run())
    await asyncio.sleep(0.05)
    assert exchange.asked == []
    assert not ingest.status.started
    # Neither room nor a store that works: alerts must not wait for a disk.
    store.health = StoreHealth("down", "disk full", 100_000, START)
    async with asyncio.timeout(5):
        while not ingest.status.started:
            await asyncio.sleep(0.001)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
