"""Every store: what is written is read, by the same rules, whichever keeps it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from store_places import Place
from store_values import NOW, HandClock, alert, batch, candle, journalled, until

from screener.history import precedence
from screenerd.columns import candles_frame
from screenerd.model import MINUTE_MS, Bars, Candle, DeadLetter, Metrics, Source
from screenerd.store.audit import HOUR_MS
from screenerd.store.kept import BARS_KEPT
from screenerd.store.port import AlertFilter, AuditRow, Delivery, Span, Store, StoreError
from screenerd.store.postgres.reader import PostgresReader
from screenerd.store.sqlite.reader import SqliteReader
from screenerd.store.totals import FRESH_SECONDS

pytestmark = pytest.mark.asyncio


async def test_is_the_store_of_the_port(place: Place) -> None:
    async with place.opened() as store:
        port: Store = store
        assert await port.newest("x") == {}


async def test_gives_back_what_was_written(place: Place) -> None:
    given = [candle("币安人生USDT", 1), candle("1000PEPEUSDT", 0), candle("éUSDT", 0)]
    async with place.opened() as store:
        await store.write(batch(*given), batch(candle("OTHER"), exchange="y"))
        wanted = sorted(given, key=lambda c: (c.open_time, c.symbol))
        assert await store.candles("x", None, NOW, NOW + HOUR_MS) == wanted
        assert await store.candles("x", "币安人生USDT", NOW, NOW + HOUR_MS) == [given[0]]
        assert await store.candles("x", "OTHER", NOW, NOW + HOUR_MS) == []
        assert await store.candles("x", None, NOW, NOW + MINUTE_MS) == wanted[:2]
        assert await store.newest("x") == {c.symbol: c.open_time for c in given}
        assert await store.newest("z") == {}


async def test_an_open_candle_is_not_stored(place: Place) -> None:
    async with place.opened() as store:
        await store.write(batch(replace(candle(), closed=False)))
        await store.write()
        assert await store.candles("x", None, 0, NOW * 2) == []
        assert await journalled(store, "x", 0, NOW * 2) == []


async def test_the_journal_is_in_order_of_arrival(place: Place) -> None:
    first, late = candle(minute=1), replace(candle(minute=0), received_at=NOW + 5 * HOUR_MS)
    fixed = replace(candle(minute=1, close=101.0), received_at=NOW + 4 * HOUR_MS)
    async with place.opened() as store:
        for version in (first, late, fixed, fixed):
            await store.write(batch(version))
        told = [first, late, replace(fixed, revision=1)]
        assert await journalled(store, "x", 0, NOW * 2) == told
        assert await journalled(store, "x", NOW, NOW + 4 * HOUR_MS) == [first]
        assert await journalled(store, "x", NOW + 4 * HOUR_MS, NOW + 5 * HOUR_MS) == told[2:]
        assert await journalled(store, "y", 0, NOW * 2) == []


SOURCES: tuple[Source, ...] = ("synthetic", "stream", "rest", "archive")


PAIRS = list(itertools.product(SOURCES, SOURCES))


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_the_better_source_stays(place: Place, first: Source, second: Source) -> None:
    held, other = candle(source=first), candle(close=99.0, source=second)
    taken = SOURCES.index(second) >= SOURCES.index(first)
    async with place.opened() as store:
        await store.write(batch(held))
        await store.write(batch(other))
        (stored,) = await store.candles("x", None, 0, NOW * 2)
        journal = await journalled(store, "x", 0, NOW * 2)
        counts = store.counts
    revised = replace(other, revision=0 if first == "synthetic" else 1)
    assert stored == (revised if taken else held)
    assert journal == ([held, revised] if taken else [held])
    assert (counts.new, counts.revised, counts.outranked) == (1, int(taken), int(not taken))


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_equal_values_are_no_new_version(place: Place, first: Source, second: Source) -> None:
    held = candle(source=first)
    async with place.opened() as store:
        await store.write(batch(held, replace(held, source=second, received_at=NOW * 2)))
        (stored,) = await store.candles("x", None, 0, NOW * 2)
        journal = await journalled(store, "x", 0, NOW * 3)
        counts = store.counts
    best = max(first, second, key=SOURCES.index)
    assert stored == replace(held, source=best)
    assert journal == [held]
    improved = int(best != first)
    assert (counts.new, counts.improved, counts.duplicate) == (1, improved, 1 - improved)


KNOWN: tuple[dict[str, Any], ...] = (
    {"trades": 17, "taker_buy_volume": 1.5},
    {"trades": 17, "taker_buy_volume": None},
    {"trades": None, "taker_buy_volume": None},
    {"trades": 18, "taker_buy_volume": None},
    {"trades": None, "taker_buy_volume": None, "close": 99.0},
)


def row_of(stored: Candle) -> dict[str, Any]:
    """A candle as the library's store knows it."""
    return {name: getattr(stored, name) for name in precedence.COLUMNS}


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_minutes_are_kept_as_the_librarys_store_keeps_them(
    place: Place, first: Source, second: Source
) -> None:
    pairs = list(itertools.product(KNOWN, KNOWN))
    held = [replace(candle(minute=n, source=first), **one) for n, (one, _) in enumerate(pairs)]
    others = [replace(candle(minute=n, source=second), **two) for n, (_, two) in enumerate(pairs)]
    async with place.opened() as store:
        await store.write(batch(*held))
        await store.write(batch(*others))
        stored = await store.candles("x", None, 0, NOW * 2)
        counts = store.counts
    expected, told = precedence.empty(), precedence.Merged()
    for versions in (held, others):
        frame = precedence.conform(pl.DataFrame([row_of(each) for each in versions]))
        expected = precedence.merge(expected, frame, told)
    assert [row_of(each) for each in stored] == expected.to_dicts()
    assert (counts.revised, counts.improved) == (told.corrected, told.improved)
    assert (counts.duplicate, counts.outranked) == (told.duplicate, told.outranked)


async def test_what_an_arriving_version_does_not_know_stays_as_it_was(place: Place) -> None:
    first = candle()
    fixed = replace(first, close=101.0, trades=None, taker_buy_volume=None, received_at=NOW * 2)
    kept = replace(fixed, trades=17, taker_buy_volume=1.5, revision=1)
    last = replace(first, close=102.0, received_at=NOW * 2 + 1)
    async with place.opened() as store:
        await store.write(batch(first))
        await store.write(batch(fixed))
        assert await store.candles("x", None, 0, NOW * 2) == [kept]
        assert await journalled(store, "x", 0, NOW * 3) == [first, kept]
        # Delivered twice it undoes nothing, though the journal knows more of it than it did.
        await store.write(batch(last))
        await store.write(batch(fixed))
        assert await store.candles("x", None, 0, NOW * 2) == [replace(last, revision=2)]
        assert store.counts.duplicate == 1


async def test_revisions_rise_with_every_change_of_values(place: Place) -> None:
    async with place.opened() as store:
        for at, close in enumerate((99.0, 100.0, 100.0, 99.0)):
            await store.write(batch(replace(candle(close=close), received_at=at)))
        told = await journalled(store, "x", 0, NOW * 2)
        assert [(c.revision, c.close) for c in told] == [(0, 99.0), (1, 100.0), (2, 99.0)]


async def test_what_a_bus_delivers_twice_is_stored_once(place: Place) -> None:
    first, fixed = batch(candle(close=99.0)), batch(candle(close=100.0))
    async with place.opened() as store:
        for arrived in (first, fixed, first, fixed):
            await store.write(arrived)
        assert [c.revision for c in await journalled(store, "x", 0, NOW * 2)] == [0, 1]
        assert [c.close for c in await store.candles("x", None, 0, NOW * 2)] == [100.0]
        assert store.counts.duplicate == 2


async def test_alerts_come_back_equal(place: Place) -> None:
    given = [alert(n, at=NOW + n) for n in range(3)]
    async with place.opened() as store:
        await store.write(*reversed(given))
        assert await store.alerts(0) == given
        assert await store.alerts(NOW + 1) == given[1:]


@pytest.mark.parametrize("final", ["confirmed", "withdrawn"])
async def test_an_alert_changes_its_state_and_nothing_else(place: Place, final: str) -> None:
    first = alert(state="provisional")
    async with place.opened() as store:
        await store.write(first)
        await store.enqueue(first, ["discord"], NOW)
        ((delivery, _),) = await store.due(NOW)
        await store.delivered(delivery, NOW + 7)
        await store.write(replace(first, state=final, price=7.0, evidence={}))
        await store.write(first)  # told again, late
        assert await store.alerts(0) == [replace(first, state=final).at(sent=NOW + 7)]
    assert await place.rows("SELECT webhook_sent, webhook_sent_at FROM alert_history") == [
        (1, NOW + 7)
    ]


async def test_the_outbox_has_one_row_an_alert_and_channel(place: Place) -> None:
    async with place.opened() as store:
        await store.write(alert(1), alert(2))
        await store.enqueue(alert(2), ["a", "b"], NOW + 1)
        await store.enqueue(alert(1), ["a"], NOW)
        await store.enqueue(alert(1), ["a", "b", "b"], NOW + 2)
        due = await store.due(NOW + 2)
        pairs = [(d.alert_id, d.channel) for d, _ in due]
        wanted = [(alert(1), "a"), (alert(2), "a"), (alert(2), "b"), (alert(1), "b")]
        assert pairs == [(a.id, channel) for a, channel in wanted]
        assert [a for _, a in due] == [a for a, _ in wanted]
        assert await store.due(NOW + 2, limit=2) == due[:2]
        assert await store.due(NOW) == due[:1]
        assert await store.due(NOW - 1) == []


async def test_a_delivery_fails_is_tried_again_and_dies(place: Place) -> None:
    async with place.opened() as store:
        await store.write(alert())
        await store.enqueue(alert(), ["a", "b"], NOW)
        (one, _), (two, _) = await store.due(NOW)
        later = replace(one, attempts=1, next_try=NOW + 500, last_error="503")
        await store.postponed(later)
        await store.postponed(replace(two, state="dead", attempts=9, last_error="410"))
        assert await store.due(NOW + 499) == []
        assert await store.due(NOW + 500) == [(later, alert())]
        assert await place.rows("SELECT webhook_sent FROM alert_history") == [(0,)]
        await store.delivered(later, NOW + 600)
        await store.delivered(later, NOW + 700)
        await store.postponed(later)  # a late answer does not undo it
        assert await store.due(NOW * 2) == []
    assert await place.rows("SELECT webhook_sent_at FROM alert_history") == [(NOW + 600,)]
    assert await place.rows("SELECT state, sent_at FROM outbox ORDER BY id") == [
        ("sent", NOW + 600),
        ("dead", None),
    ]


async def test_a_delivery_that_is_not_there_is_an_error(place: Place) -> None:
    stray = Delivery(7, "a", "discord", "pending", 0, NOW)
    async with place.opened() as store:
        with pytest.raises(StoreError, match=r"delivery 7 .* not in the outbox"):
            await store.delivered(stray, NOW)


async def test_dead_letters_are_kept_once_and_bounded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.writes, "DEAD_LETTERS_KEPT", 3)
    letters = [DeadLetter("x", NOW + n, "no JSON", b"\x00\xff" * n) for n in range(5)]
    async with place.opened() as store:
        await store.write(*letters[:3], letters[2])
        assert await store.dead_letters() == letters[2::-1]
        await store.write(*letters[3:])
        assert await store.dead_letters() == letters[:1:-1]


async def test_bars_are_by_symbol_and_time(place: Place) -> None:
    async with place.opened() as store:
        for symbol in ("币", "A"):
            await store.write(Bars("x", symbol, "4h", ((NOW, 0.0), (NOW + 1, 1.0))))
        await store.write(
            Bars("x", "A", "1d", ((NOW, 5.0),)),
            Bars("x", "A", "4h", ((NOW, 9.0),)),
            Bars("y", "A", "4h", ((NOW, 7.0),)),
        )
        assert (await store.bars("x", "4h")).rows() == [
            ("A", NOW, 9.0),
            ("A", NOW + 1, 1.0),
            ("币", NOW, 0.0),
            ("币", NOW + 1, 1.0),
        ]
        newest = {("A", "4h"): NOW + 1, ("币", "4h"): NOW + 1, ("A", "1d"): NOW}
        assert await store.newest_bars("x") == newest


async def test_minutes_come_as_a_frame_and_as_runs(place: Place) -> None:
    held = [candle("A", n) for n in (0, 1, 2, 5, 6)] + [candle("币", 1), candle("C", 3)]
    async with place.opened() as store:
        await store.write(batch(*held))
        start, end = held[0].open_time, held[0].open_time + 6 * MINUTE_MS
        frame = await store.minutes("x", ["币", "A"], start, end)
        assert frame["symbol"].to_list() == ["币", "A", "A", "A", "A"]
        assert frame["open_time"].to_list() == [start + n * MINUTE_MS for n in (1, 0, 1, 2, 5)]
        assert frame["close"].to_list() == [
            next(c.close for c in held if (c.symbol, c.open_time) == key)
            for key in frame.select("symbol", "open_time").rows()
        ]
        at = {n: start + n * MINUTE_MS for n in range(8)}
        assert await store.held("x", start, end) == {
            "A": [(at[0], at[3]), (at[5], at[6])],
            "C": [(at[3], at[4])],
            "币": [(at[1], at[2])],
        }
        assert await store.minutes("x", [], start, end) is not None


async def test_minutes_are_whole_and_in_order_however_they_came(place: Place) -> None:
    given = [
        candle("B", 3, source="rest"),
        replace(candle("A", 2), trades=None, taker_buy_volume=None),
        candle("B", 1, source="archive"),
        replace(candle("A", 0, source="synthetic"), taker_buy_quote_volume=0.1),
        candle("B", 2),
        candle("A", 1),
    ]
    async with place.opened() as store:
        for one in given:  # each by itself: they lie in the order in which they come
            await store.write(batch(one))
        frame = await store.minutes("x", ["C", "B", "A"], 0, NOW * 2)
    by_time = sorted(given, key=lambda one: one.open_time)
    wanted = candles_frame(sorted(by_time, key=lambda one: one.symbol, reverse=True))
    assert_frame_equal(frame, wanted.cast({"trades": pl.Float64}))


async def test_what_was_seen_first_stays(place: Place) -> None:
    async with place.opened() as store:
        assert await store.first_seen(["a"], NOW) == [NOW]
        assert await store.first_seen(["a"], NOW + 5) == [NOW]
    async with place.opened() as store:
        later = NOW + 9
        assert await store.first_seen(["c", "a", "b", "c"], later) == [later, NOW, later, later]
        assert await store.first_seen([], later) == []


async def test_alerts_of_some_symbols(place: Place) -> None:
    given = [replace(alert(n, at=NOW + n), symbol=symbol) for n, symbol in enumerate("CAB")]
    async with place.opened() as store:
        await store.write(*given)
        assert await store.alerts(0, symbols=["A", "C", "D"]) == given[:2]
        assert await store.alerts(given[1].triggered_at, symbols=["A", "C"]) == given[1:2]
        assert await store.alerts(0, symbols=[]) == []


async def test_alerts_that_no_outbox_holds_are_found(place: Place) -> None:
    async with place.opened() as store:
        one, two, three = (alert(n, at=NOW + n) for n in (1, 2, 3))
        await store.write(one, two, three)
        await store.enqueue(two, ["a"], NOW)
        assert await store.unclaimed("a", two.triggered_at) == [three]
        assert await store.unclaimed("a", 0) == [one, three]
        assert len(await store.unclaimed("b", 0)) == 3


async def test_given_up_deliveries_are_listed(place: Place) -> None:
    async with place.opened() as store:
        await store.enqueue(alert(1), ["a", "b"], NOW)
        for delivery, _ in await store.due(NOW):
            await store.postponed(replace(delivery, state="dead"))
        [dead] = await store.dead("a")
        assert (dead.alert_id, dead.state) == (alert(1).id, "dead")


async def test_many_writes_share_few_transactions(place: Place) -> None:
    async with place.opened(commit_after=0.2) as store:
        async with asyncio.TaskGroup() as tasks:
            for n in range(200):
                tasks.create_task(store.write(batch(candle(f"S{n}"))))
        assert store.commits <= 2
        assert len(await store.newest("x")) == 200


async def test_a_full_queue_makes_writers_wait_and_loses_nothing(place: Place) -> None:
    async with place.opened(queue_rows=10) as store:
        highest = 0
        async with asyncio.TaskGroup() as tasks:
            for n in range(100):
                tasks.create_task(store.write(batch(*(candle(f"S{n}", m) for m in range(3)))))
            tasks.create_task(store.write(batch(*(candle("BIG", m) for m in range(50)))))
            while len(await store.newest("x")) < 101:
                highest = max(highest, store.health.pending)
        assert 0 < highest <= 50
        assert len(await store.candles("x", None, 0, NOW * 2)) == 350
        assert [c.symbol for c in await journalled(store, "x", 0, NOW * 2)][::3][:100] == [
            f"S{n}" for n in range(100)
        ]


async def test_a_write_that_is_refused_takes_no_other_with_it(place: Place) -> None:
    bad = replace(candle("BAD", 1), close=float("nan"))
    async with place.opened(commit_after=0.1) as store:
        good, refused, huge = await asyncio.gather(
            store.write(batch(candle("GOOD"))),
            store.write(batch(candle("BAD", 0), bad)),
            store.write(batch(replace(candle("HUGE"), trades=2**70))),
            return_exceptions=True,
        )
        assert good is None
        assert isinstance(refused, StoreError)
        assert isinstance(huge, StoreError)
        assert "close" in str(refused)
        assert set(await store.newest("x")) == {"GOOD"}
        assert store.commits == 1
        assert store.counts.new == 1


async def test_a_cancelled_write_leaves_the_store_working(place: Place) -> None:
    async with place.opened(commit_after=0.1) as store:
        task = asyncio.create_task(store.write(batch(candle("A"))))
        await until(lambda: store.health.pending == 1)
        task.cancel()
        await store.write(batch(candle("B")))
        assert task.cancelled()
        assert store.health.pending == 0


async def test_reads_go_on_while_writing(place: Place) -> None:
    async with place.opened() as store:
        seen = [0]

        async def write() -> None:
            for minute in range(40):
                await store.write(batch(*(candle(f"S{n}", minute) for n in range(50))))

        writing = asyncio.create_task(write())
        while not writing.done():
            found = len(await store.candles("x", None, 0, NOW * 2))
            assert found % 50 == 0  # a transaction is seen whole or not at all
            assert found >= seen[-1]
            seen.append(found)
        await writing
        assert len(set(seen)) > 2


async def test_a_closed_store_refuses(place: Place) -> None:
    async with place.opened() as store:
        pass
    with pytest.raises(StoreError, match="closed"):
        await store.write(batch(candle()))
    with pytest.raises(StoreError, match="closed"):
        await store.newest("x")


@pytest.mark.parametrize(
    "options", [{"retention_hours": 0.5}, {"commit_after": -1.0}, {"queue_rows": 0}]
)
async def test_a_number_out_of_range_is_named(place: Place, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        place.opened(**options)


async def test_the_audit_tells_held_absent_and_holes(place: Place) -> None:
    clock = HandClock(NOW + 2 * HOUR_MS)
    async with place.opened(clock, commit_after=0.0) as store:
        await store.set_tracking("x", {"A": Span(NOW + 10 * MINUTE_MS, None)})
        await store.set_tracking("x", {"B": Span(NOW, NOW + 2 * MINUTE_MS)})
        minutes = [candle("A", m) for m in range(60) if m not in {20, 21, 59}]
        await store.write(batch(*minutes, candle("A", 59, source="synthetic")))
        wanted = [
            AuditRow("A", NOW, 50, 47, 1, ((NOW + 20 * MINUTE_MS, 2),)),
            AuditRow("B", NOW, 2, 0, 0, ((NOW, 2),)),
        ]
        assert await store.audit("x", NOW, NOW + HOUR_MS) == wanted
        assert await store.audit("x", NOW + 5, NOW + 6) == wanted
        assert await store.audit("y", NOW, NOW + HOUR_MS) == []
        await store.write(batch(candle("A", 59), candle("A", 20)))
        (row, _) = await store.audit("x", NOW, NOW + HOUR_MS)
        assert (row.held, row.absent, row.holes) == (49, 0, ((NOW + 21 * MINUTE_MS, 1),))


async def test_a_minute_is_expected_once_it_is_over(place: Place) -> None:
    clock = HandClock(NOW + MINUTE_MS - 1)
    async with place.opened(clock, commit_after=0.0) as store:
        await store.set_tracking("x", {"A": Span(NOW, None)})
        assert await store.audit("x", NOW, NOW + HOUR_MS) == []
        clock.now += 1
        assert [r.expected for r in await store.audit("x", NOW, NOW + HOUR_MS)] == [1]


async def test_tracking_is_what_was_said_last(place: Place) -> None:
    hour = MINUTE_MS * 60
    async with place.opened(HandClock(NOW + 9 * hour), commit_after=0.0) as store:

        async def expected() -> list[int]:
            told = {r.hour: r.expected for r in await store.audit("x", NOW, NOW + 4 * hour)}
            return [told.get(NOW + n * hour, 0) for n in range(4)]

        await store.set_tracking("x", {"A": Span(NOW, None)})
        await store.set_tracking("x", {"A": Span(NOW + hour, None)})  # a restart
        assert await expected() == [60, 60, 60, 60]
        await store.set_tracking("x", {"A": Span(NOW + hour, NOW + 2 * hour)})  # delisted
        assert await expected() == [60, 60, 0, 0]
        await store.set_tracking("x", {"A": Span(NOW + 3 * hour, None)})  # listed again
        assert await expected() == [60, 60, 0, 60]
        await store.set_tracking("x", {"A": Span(NOW, NOW + hour)})
        assert await expected() == [60, 60, 0, 60]


async def test_from_when_a_listed_symbol_is_judged_stays_known(place: Place) -> None:
    at = NOW + 90 * MINUTE_MS
    async with place.opened(HandClock(at), commit_after=0.0) as store:
        await store.set_tracking("x", {"A": Span(NOW, None), "B": Span(NOW, None, at)})
        assert await store.judged_from("x") == {"B": at}
        assert await store.judged_from("y") == {}
        again = Span(NOW + HOUR_MS, None)  # a restart
        await store.set_tracking("x", {"A": again, "B": again})
        assert await store.judged_from("x") == {"B": at}
        assert await store.tracked("x") == {"A": NOW + HOUR_MS, "B": NOW + HOUR_MS}
        other = Span(NOW + HOUR_MS, None, at + 7)  # by who did not know that they are followed
        await store.set_tracking("x", {"A": other, "B": other})
        assert await store.judged_from("x") == {"B": at}
        await store.set_tracking("x", {"B": Span(NOW, at)})  # delisted
        await store.set_tracking("x", {"B": Span(at + HOUR_MS, None, at + 2 * HOUR_MS)})
        assert await store.judged_from("x") == {"B": at + 2 * HOUR_MS}
    async with place.opened(HandClock(at)) as store:
        assert await store.judged_from("x") == {"B": at + 2 * HOUR_MS}


async def test_when_a_symbol_was_judged_stays_known_though_it_comes_and_goes(place: Place) -> None:
    day, at = 24 * HOUR_MS, [NOW + n * HOUR_MS for n in range(5)]
    said = {
        "listed": Span(at[0] - day, None, at[0]),
        "by another": Span(at[0] - day + MINUTE_MS, None, at[0] + MINUTE_MS),
        "delisted": Span(at[1] - day, at[1]),
        "by another, later": Span(at[1] - day + MINUTE_MS, at[1] + MINUTE_MS),
        "listed again": Span(at[2] - day, None, at[2]),
        "after a restart": Span(at[3] - day, None),
        "delisted again": Span(at[4] - day, at[4]),
    }
    async with place.opened(HandClock(at[4]), commit_after=0.0) as store:
        for span in said.values():
            for _ in range(2):  # as where the answer of a commit was lost
                await store.set_tracking("x", {"A": span})
    rows = await place.rows("SELECT judged_from, until FROM tracking ORDER BY since")
    judged = {minute for first, end in rows for minute in range(first, end, MINUTE_MS)}
    wanted = [*range(at[0], at[1] + MINUTE_MS, MINUTE_MS), *range(at[2], at[4], MINUTE_MS)]
    assert sorted(judged) == wanted


async def test_symbols_are_tracked_all_or_none(place: Place) -> None:
    async with place.opened(HandClock(NOW), commit_after=0.0) as store:
        await store.set_tracking("x", {"A": Span(NOW, None)})
        later = Span(NOW + HOUR_MS, None)
        with pytest.raises(StoreError):
            await store.set_tracking("x", {"A": later, "B": later, None: later})  # type: ignore[dict-item]
        assert await store.tracked("x") == {"A": NOW}


async def test_the_history_of_a_listed_symbol_is_no_oldest_arrival(place: Place) -> None:
    listed = NOW + 10 * MINUTE_MS
    async with place.opened(HandClock(listed), commit_after=0.0) as store:
        await store.set_tracking("x", {"A": Span(NOW, None), "B": Span(NOW, None, listed)})
        history = [candle("B", m) for m in range(10)]
        both = [candle(s, m) for m in (10, 11) for s in "AB"]
        arrived = [replace(one, received_at=listed + n) for n, one in enumerate([*history, *both])]
        await store.write(batch(*arrived))
        assert await store.oldest_arrival("x", listed, opens_from=0) == listed
        assert await store.oldest_arrival("x", listed, opens_from=listed + MINUTE_MS) == (
            listed + MINUTE_MS
        )
        await store.write(batch(replace(candle("A", 4), received_at=listed + 20)))
        assert await store.oldest_arrival("x", listed, opens_from=0) == NOW + 4 * MINUTE_MS


@pytest.mark.parametrize(("hours", "days"), [(48, 2), (168, 7)])
async def test_retention_is_exact_to_the_minute(place: Place, hours: int, days: int) -> None:
    edge = NOW - days * 24 * HOUR_MS
    minutes = [(edge - NOW) // MINUTE_MS + n for n in (-2, -1, 0, 1)]
    async with place.opened(retention_hours=hours) as store:
        old = [replace(candle("A", m), received_at=NOW + m * MINUTE_MS) for m in minutes]
        await store.write(batch(*old), batch(*old, exchange="y"))
        await store.write(*(alert(n, at=NOW + m * MINUTE_MS) for n, m in enumerate(minutes)))
        await store.write(*(DeadLetter("x", NOW + m * MINUTE_MS, "", b"") for m in minutes))
        assert await store.prune(NOW) == 2 * 6
        assert await store.candles("x", None, 0, NOW) == old[2:]
        assert await store.candles("y", None, 0, NOW) == old[2:]
        assert await journalled(store, "x", 0, NOW) == old[2:]
        assert [a.triggered_at for a in await store.alerts(0)] == [edge, edge + MINUTE_MS]
        assert len(await store.dead_letters()) == 2
        assert await store.prune(NOW) == 0
        assert await store.prune(NOW + MINUTE_MS) == 6


async def test_what_was_delivered_without_the_store_is_recorded_once(place: Place) -> None:
    async with place.opened() as store:
        await store.enqueue(alert(1), ["a", "b"], NOW)
        await store.enqueue(alert(2), ["a"], NOW)
        await store.delivered_to(alert(1).id, "a", NOW + 5)
        await store.delivered_to(alert(1).id, "a", NOW + 9)  # told again: the first stands
        await store.delivered_to(alert(1).id, "gone", NOW + 7)
        await store.delivered_to(alert(3).id, "a", NOW + 7)
        due = [(one.alert_id, one.channel) for one, _ in await store.due(NOW)]
        assert sorted(due) == [(alert(1).id, "b"), (alert(2).id, "a")]
        told = {one.id: one.stamps.sent for one in await store.alerts(0)}
        assert told == {alert(1).id: NOW + 5, alert(2).id: None}
    found = await place.rows(
        "SELECT channel, state, sent_at FROM outbox ORDER BY alert_id, channel"
    )
    assert found == [("a", "sent", NOW + 5), ("b", "pending", None), ("a", "pending", None)]


async def test_how_many_alerts_there_are_keeps_up_with_what_is_stored(place: Place) -> None:
    every, of_a = AlertFilter(), AlertFilter(symbol="A")

    async def totals(store: SqliteReader | PostgresReader) -> tuple[int, int]:
        pages = [await store.alert_page(asked, 5, 0) for asked in (every, of_a)]
        return pages[0].total, pages[1].total

    clock = HandClock()
    async with place.opened(clock) as store, place.reader(clock) as beside:
        assert await totals(store) == (0, 0)
        for number in range(6):
            one = alert(number, state="provisional", at=NOW - 47 * HOUR_MS + number)
            await store.write(replace(one, symbol="AB"[number % 2]))
            if number % 3 == 1:  # some are counted together
                assert await totals(store) == await totals(beside) == (number + 1, number // 2 + 1)
        # What it is told of one that is there makes no second one of it.
        await store.write(replace(alert(0, at=NOW - 47 * HOUR_MS), symbol="A"))
        await store.write(replace(alert(6), symbol="A", shadow=True))
        assert await totals(store) == await totals(beside) == (6, 3)
        # Three are too old for this, and the reader beside it cannot know.
        assert await store.prune(NOW + HOUR_MS + 3) == 3
        assert await totals(store) == (3, 1)
        assert await totals(beside) == (6, 3)
        await store.write(replace(alert(7), symbol="A"))
        clock.now += round(FRESH_SECONDS * 1000) - 1
        assert await totals(beside) == (7, 4)
        clock.now += 1
        assert await totals(store) == await totals(beside) == (4, 2)


async def test_an_alert_that_is_not_delivered_stays(place: Place) -> None:
    async with place.opened() as store:
        await store.write(alert(1), alert(2))
        await store.enqueue(alert(1), ["a"], NOW)
        await store.enqueue(alert(2), ["a"], NOW)
        (_, (done, _)) = await store.due(NOW)
        await store.delivered(done, NOW + 1)
        assert await store.prune(NOW + 49 * HOUR_MS) == 2
        assert [a for _, a in await store.due(NOW)] == [alert(1)]
        assert await place.rows("SELECT alert_id FROM outbox") == [(alert(1).id,)]


async def test_the_newest_bars_stay_however_old(place: Place) -> None:
    many = tuple((n * 300_000, float(n)) for n in range(BARS_KEPT + 2_700))
    few = many[:BARS_KEPT]
    async with place.opened() as store:
        await store.write(Bars("x", "A", "5m", many), Bars("x", "B", "5m", few))
        assert await store.prune(NOW) == 2_700
        kept = [("A", *bar) for bar in many[2_700:]] + [("B", *bar) for bar in few]
        assert (await store.bars("x", "5m")).rows() == kept


async def test_the_audit_outlives_the_candles(place: Place) -> None:
    clock = HandClock(NOW + HOUR_MS)
    async with place.opened(clock, commit_after=0.0, retention_hours=2) as store:
        await store.set_tracking("x", {"A": Span(NOW, None)})
        await store.write(batch(*(candle("A", m) for m in range(60) if m != 7)))
        before = await store.audit("x", NOW, NOW + HOUR_MS)
        assert [r.holes for r in before] == [((NOW + 7 * MINUTE_MS, 1),)]
        for minutes in (150, 240):  # half of the hour, then all of it
            clock.now = NOW + minutes * MINUTE_MS
            assert await store.prune(clock.now) > 0
            assert await store.audit("x", NOW, NOW + HOUR_MS) == before


async def test_bars_and_journal_of_some_symbols(place: Place) -> None:
    async with place.opened() as store:
        await store.write(*(Bars("x", name, "4h", ((NOW, 1.0),)) for name in "ABC"))
        await store.write(batch(*(candle(name) for name in "CAB")))
        assert (await store.bars("x", "4h", symbols=["C", "A"]))["symbol"].to_list() == ["A", "C"]
        assert (await store.bars("x", "4h", symbols=[])).is_empty()
        told = await journalled(store, "x", 0, NOW * 2, symbols=["A", "C", "D"])
        assert [one.symbol for one in told] == ["C", "A"]
        assert len(await journalled(store, "x", 0, NOW * 2, symbols=None)) == 3


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
async def test_the_journal_in_pages_is_the_whole_journal(place: Place, limit: int) -> None:
    async with place.opened() as store:
        for minute, name in enumerate("ABCABAB"):
            late = NOW + HOUR_MS - (minute % 2)  # not in the order of their numbers
            one = replace(candle(name, minute), received_at=late)
            await store.write(batch(one), batch(candle("E", minute), exchange="y"))
        told = await journalled(store, "x", 0, NOW * 2, limit=limit)
        assert "".join(one.symbol for one in told) == "ABCABAB"
        some = await journalled(store, "x", 0, NOW * 2, symbols=["A", "C"], limit=limit)
        assert some == [one for one in told if one.symbol in "AC"]
        later = await journalled(store, "x", NOW + HOUR_MS, NOW * 2, limit=limit)
        assert later == told[::2]


async def test_metrics_that_come_together_are_as_if_they_came_one_by_one(place: Place) -> None:
    def of(symbols: list[str], at: int, change: float) -> Metrics:
        return Metrics("x", pl.DataFrame({"symbol": symbols, "open_time": at, "change_5m": change}))

    async with place.opened(metrics=True) as store:
        told = [
            of(["A", "B"], NOW, 1.0),
            of(["C"], NOW, 1.0),
            of(["B", "C"], NOW, 2.0),
            of(["A"], NOW + MINUTE_MS, 3.0),
            Metrics("y", of(["A"], NOW, 4.0).frame),
            of(["A"], NOW, 5.0),
        ]
        await asyncio.gather(*map(store.write, told))
        select = (
            "SELECT exchange, symbol, time, change_pct FROM metrics_calculated "
            "WHERE timeframe = '5m' ORDER BY exchange, symbol, time"
        )
        assert await place.rows(select) == [
            ("x", "A", NOW, 5.0),
            ("x", "A", NOW + MINUTE_MS, 3.0),
            ("x", "B", NOW, 2.0),
            ("x", "C", NOW, 2.0),
            ("y", "A", NOW, 4.0),
        ]


async def test_metrics_are_rows_of_a_timeframe(place: Place) -> None:
    frame = pl.DataFrame(
        {
            "symbol": ["A", "币"],
            "open_time": [NOW, NOW + MINUTE_MS],
            "change_5m": [1.5, None],
            "rsi_1d": [50.0, 60.0],
        }
    )
    select = (
        "SELECT symbol, time, timeframe, change_pct, rsi_14 FROM metrics_calculated "
        "WHERE change_pct IS NOT NULL OR rsi_14 IS NOT NULL ORDER BY symbol, timeframe"
    )
    async with place.opened(metrics=True) as store:
        await store.write(Metrics("x", frame))
        await store.write(Metrics("x", frame.with_columns(change_5m=pl.lit(2.5))))
        assert await place.rows("SELECT count(*) FROM metrics_calculated") == [(12,)]
        assert await place.rows(select) == [
            ("A", NOW, "1d", None, 50.0),
            ("A", NOW, "5m", 2.5, None),
            ("币", NOW + MINUTE_MS, "1d", None, 60.0),
            ("币", NOW + MINUTE_MS, "5m", 2.5, None),
        ]
        assert await store.prune(NOW + 48 * HOUR_MS + 1) == 6
        assert await place.rows("SELECT DISTINCT symbol FROM metrics_calculated") == [("币",)]
    async with place.opened(metrics=False) as store:
        await store.write(Metrics("x", frame))
        assert await place.rows("SELECT count(*) FROM metrics_calculated") == [(6,)]
