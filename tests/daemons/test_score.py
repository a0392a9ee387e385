"""The scorecard that the daemons keep is the library's over the same alerts and minutes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from scripted import MovedClock
from served import an_alert, serving
from test_screen_service import batches

import screener
from screenerd.model import HORIZONS, MINUTE_MS, Alert, CandleBatch, HorizonScore, Stamps
from screenerd.score.measure import LONGEST_MS, measured, spans
from screenerd.score.service import LATE_MS, PATIENCE_MS, Score
from screenerd.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio

MARKET = screener.demo_market(symbols=6, days=2).sort("open_time", maintain_order=True)
REPLAYED = screener.replay(MARKET, rules="classic", exchange="binance").alerts.gather_every(12)
RULES = screener.RuleSet.load("classic")
END = MARKET["open_time"].to_list()[-1] + MINUTE_MS


def together(frame: pl.DataFrame) -> CandleBatch:
    """All candles of a frame."""
    return CandleBatch("binance", tuple(one for batch in batches(frame) for one in batch.candles))


EVERYTHING = together(MARKET)


def alerts() -> list[Alert]:
    """What a replay of the market raised, every third as a shadow alert."""
    return [
        Alert(
            id=row["id"],
            triggered_at=row["triggered_at"],
            exchange="binance",
            symbol=row["symbol"],
            rule=row["rule"],
            title=RULES[row["rule"]].title,
            direction=RULES[row["rule"]].direction,
            timeframe=row["timeframe"],
            price=row["price"],
            quote_volume=None,
            change=None,
            vcp=None,
            state="confirmed",
            rule_version=row["rule_version"],
            evidence={},
            stamps=Stamps(row["triggered_at"], None, row["triggered_at"], row["triggered_at"]),
            shadow=number % 3 == 0,
        )
        for number, row in enumerate(REPLAYED.iter_rows(named=True))
    ]


def by_the_library(alerts: Sequence[Alert], candles: pl.DataFrame) -> pl.DataFrame:
    columns = ("id", "symbol", "rule", "direction", "triggered_at")
    frame = pl.DataFrame({name: [getattr(one, name) for one in alerts] for name in columns})
    outcomes = screener.outcomes(frame, candles, HORIZONS)
    return screener.scorecard(outcomes, candles, permutations=1, resamples=1).frame


async def settled(scoring: Score, clock: MovedClock, count: int) -> None:
    """Lets time go by until so many are scored."""
    async with asyncio.timeout(60):
        while scoring.status.scored < count:
            clock.move(30_000)
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def scoring(store: SqliteStore, clock: MovedClock) -> AsyncIterator[Score]:
    it = Score(store, clock, exchange="binance")
    task = asyncio.create_task(it.run())
    try:
        yield it
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait({task})


def is_same(kept: HorizonScore, row: dict[str, float]) -> bool:
    names = ("n", "missing", "hit_rate", "mean", "median", "profit_factor", "mfe", "mae")
    pairs = [(getattr(kept, name), row[name]) for name in names]
    return all(a == b if b is None else a == pytest.approx(b, rel=1e-9) for a, b in pairs)


async def test_equals_the_library(tmp_path: Path) -> None:
    """With holes, with alerts whose horizons the minutes do not reach, and in many pieces."""
    holes = MARKET.filter(
        ~((pl.col("symbol") == MARKET["symbol"][0]) & (pl.col("open_time") // MINUTE_MS % 700 == 3))
    )
    given, clock = alerts(), MovedClock(END)
    assert len(given) > 100
    async with SqliteStore(tmp_path / "s.db", clock, retention_hours=1000) as store:
        await store.write(together(holes), *given)
        clock.move(LONGEST_MS + PATIENCE_MS + LATE_MS + MINUTE_MS)
        async with scoring(store, clock) as it:
            await settled(it, clock, len(given))
            assert it.status.scored == len(given)
            assert it.status.unknown > 0
        card = await store.scorecard()
        wanted = by_the_library(given, holes)
        assert wanted["missing"].sum() > 0
        assert wanted["n"].sum() > 0
        assert sum(len(score.horizons) for score in card.values()) == wanted.height
        for row in wanted.iter_rows(named=True):
            assert is_same(card[row["rule"]].horizons[row["horizon"]], row), row
        times = [one.triggered_at for one in given]
        assert min(score.first for score in card.values()) == min(times)
        assert max(score.last for score in card.values()) == max(times)
        assert sum(score.alerts for score in card.values()) == len(given)
        since = sorted(times)[len(times) // 2]
        some = [one for one in given if one.triggered_at >= since]
        for row in by_the_library(some, holes).iter_rows(named=True):
            found = await store.scorecard(since, row["rule"])
            assert list(found) == [row["rule"]]
            assert is_same(found[row["rule"]].horizons[row["horizon"]], row)


async def test_survives_retention_and_a_restart(tmp_path: Path) -> None:
    given, clock, path = alerts(), MovedClock(END), tmp_path / "s.db"
    async with SqliteStore(path, clock, retention_hours=48, scores_days=5) as store:
        await store.write(EVERYTHING, *given)
        clock.move(LONGEST_MS + PATIENCE_MS + LATE_MS)
        async with scoring(store, clock) as it:
            await settled(it, clock, len(given))
        card = await store.scorecard()
        await store.prune(END + 49 * 3_600_000)
        assert await store.candles("binance", None, 0, 1 << 52) == []
        assert await store.alerts(0) == []
    async with SqliteStore(path, clock, retention_hours=48, scores_days=5) as store:
        assert await store.scorecard() == card
        async with scoring(store, clock) as it:
            clock.move(120_000)
            await asyncio.sleep(0.05)
            assert it.status.scored == 0, "once is enough"
        await store.prune(given[-1].triggered_at + 5 * 86_400_000 + 1)
        assert await store.scorecard() == {}


async def test_waits_for_minutes_that_are_late(tmp_path: Path) -> None:
    """Scored once, and right, when what was missing is there."""
    clock, symbol = MovedClock(END), MARKET["symbol"][0]
    minutes = [one for one in EVERYTHING.candles if one.symbol == symbol]
    at = minutes[500].open_time
    alert = replace(alerts()[0], symbol=symbol, triggered_at=at)
    late = minutes[600]
    async with SqliteStore(tmp_path / "s.db", clock, retention_hours=1000) as store:
        rest = tuple(one for one in minutes if one is not late)
        await store.write(alert, CandleBatch("binance", rest))
        clock.move(at + LONGEST_MS + LATE_MS - MINUTE_MS - clock.now_ms())
        async with scoring(store, clock) as it:
            for _ in range(60):
                clock.move(30_000)
                await asyncio.sleep(0.005)
            assert (it.status.scored, it.status.waiting) == (0, 1)
            assert await store.scorecard() == {}
            await store.write(CandleBatch("binance", (late,)))
            await settled(it, clock, 1)
            assert it.status.unknown == 0
        [score] = (await store.scorecard()).values()
        frame = MARKET.filter(symbol=symbol)
        for row in by_the_library([alert], frame).iter_rows(named=True):
            assert is_same(score.horizons[row["horizon"]], row)
            assert row["n"] == 1


async def test_nothing_is_scored_before_its_time(tmp_path: Path) -> None:
    clock = MovedClock(END)
    alert = replace(alerts()[0], triggered_at=END - 300 * MINUTE_MS + 17)
    async with SqliteStore(tmp_path / "s.db", clock, retention_hours=1000) as store:
        await store.write(EVERYTHING, alert)
        clock.move(alert.triggered_at + LONGEST_MS + LATE_MS - 60_000 - END)
        async with scoring(store, clock) as it:
            clock.move(30_000)
            await asyncio.sleep(0.1)
            assert it.status.scored == 0
            await settled(it, clock, 1)


async def test_a_minute_that_cannot_be_spoils_its_own_alerts_only(tmp_path: Path) -> None:
    clock, given = MovedClock(END), alerts()
    [bad, good] = sorted({one.symbol for one in given})[:2]
    both = [next(one for one in given if one.symbol == symbol) for symbol in (bad, good)]
    rows = [one for one in EVERYTHING.candles if one.symbol in (bad, good)]
    inside = both[0].triggered_at + 10 * MINUTE_MS
    rows = [
        replace(one, close=-1.0) if (one.symbol, one.open_time) == (bad, inside) else one
        for one in rows
    ]
    async with SqliteStore(tmp_path / "s.db", clock, retention_hours=1000) as store:
        await store.write(CandleBatch("binance", tuple(rows)), *both)
        clock.move(LONGEST_MS + PATIENCE_MS + LATE_MS)
        async with scoring(store, clock) as it:
            await settled(it, clock, 2)
            assert it.status.unknown == 1
        card = await store.scorecard()
        frame = MARKET.filter(symbol=good)
        for row in by_the_library(both[1:], frame).iter_rows(named=True):
            kept = card[row["rule"]].horizons[row["horizon"]]
            assert kept.mean == pytest.approx(row["mean"])


async def test_spans_are_read_once() -> None:
    first = replace(alerts()[0], symbol="A", triggered_at=7 * MINUTE_MS + 1)
    begin = 8 * MINUTE_MS
    near = replace(first, triggered_at=first.triggered_at + LONGEST_MS)
    far = replace(first, triggered_at=first.triggered_at + 3 * LONGEST_MS)
    other = replace(first, symbol="B", triggered_at=8 * MINUTE_MS)
    assert spans([far, other, near, first]) == [
        ("A", begin, begin + 2 * LONGEST_MS),
        ("A", begin + 3 * LONGEST_MS, begin + 4 * LONGEST_MS),
        ("B", begin, begin + LONGEST_MS),
    ]


async def test_no_minutes_at_all() -> None:
    [alert] = alerts()[:1]
    none = MARKET.select("symbol", "open_time", "open", "high", "low", "close").clear()
    [score] = measured([alert], none)
    assert score.returns == score.mfe == score.mae == (None,) * 4


async def test_the_loop_is_not_held_up(tmp_path: Path) -> None:
    """Scoring a day of alerts at once: what the loop notices of it, at best of three times."""
    longest = math.inf
    for number in range(3):
        longest = min(longest, await held_up(tmp_path / f"{number}.db"))
        if longest < 0.25:
            return
    pytest.fail(f"the loop was late by {longest * 1000:.1f} ms at best")


async def held_up(path: Path) -> float:
    """By how many seconds the loop was late at most."""
    clock = MovedClock(END)
    given = [
        replace(one, id=f"{one.id}-{n}", triggered_at=one.triggered_at + n)
        for n in range(2)
        for one in alerts()
    ]
    async with SqliteStore(path, clock, retention_hours=1000) as store:
        await store.write(EVERYTHING, *given)
        clock.move(LONGEST_MS + PATIENCE_MS + LATE_MS)
        async with scoring(store, clock) as it:
            longest = 0.0
            async with asyncio.timeout(60):
                while it.status.scored < len(given):
                    clock.move(30_000)
                    began = time.perf_counter()
                    await asyncio.sleep(0.001)
                    longest = max(longest, time.perf_counter() - began)
    print(f"{len(given)} alerts, the loop late by at most {longest * 1000:.1f} ms")
    return longest


async def test_the_route(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served:
        status, empty, _ = await served.get("/api/scorecard")
        assert status == 200
        names = [one["rule"] for one in empty["rules"]]
        assert names == served.serve._users.rules.names
        assert empty["horizons"] == list(HORIZONS)
        assert (empty["first"], empty["last"]) == (None, None)
        assert empty["rules"][0]["horizons"]["4h"]["n"] == 0
        assert empty["rules"][0]["horizons"]["4h"]["mean"] is None
        now = served.now - 170 * MINUTE_MS
        given = [an_alert(now + n * 1000, rule="top_hunter", shadow=n == 1) for n in range(3)]
        given.append(replace(an_alert(now), id="gone", rule="of_yesterday"))
        minutes = await served.store.minutes("binance", ["BTCUSDT"], 0, served.now)
        await served.store.write_scores(measured(given, minutes))
        _, value, _ = await served.get("/api/scorecard?since=2026-01-31T12:00:00Z")
        by_rule = {one["rule"]: one for one in value["rules"]}
        assert list(by_rule) == [*names, "of_yesterday"]
        assert by_rule["of_yesterday"]["title"] is None
        assert by_rule["of_yesterday"]["shadow"] is None
        assert by_rule["top_hunter"]["alerts"] == 3
        assert by_rule["top_hunter"]["title"] == served.serve._users.rules["top_hunter"].title
        for row in by_the_library(given[:3], minutes).iter_rows(named=True):
            told = by_rule["top_hunter"]["horizons"][row["horizon"]]
            assert told["n"] == row["n"]
            assert told["mean"] == pytest.approx(row["mean"])
        _, value, _ = await served.get("/api/scorecard?type=of_yesterday")
        assert [one["rule"] for one in value["rules"]] == ["of_yesterday"]
        _, value, _ = await served.get("/api/scorecard?type=%E5%B8%81&since=2099-01-01T00:00:00Z")
        assert (value["rules"], value["last"]) == ([], None)
        for query, field in (("since=yesterday", "since"), ("rule=x", "rule"), ("type=", "type")):
            status, value, _ = await served.get(f"/api/scorecard?{query}")
            assert (status, value["field"]) == (422, field)
