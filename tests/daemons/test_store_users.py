"""What the service asks of the store: pages, marks, and what users have chosen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import START, candle
from store_values import NOW, alert

from screenerd.clock import SystemClock
from screenerd.model import MINUTE_MS, CandleBatch, RuleSwitch
from screenerd.store.port import AlertFilter, Settings
from screenerd.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "s.db", SystemClock()) as one:
        yield one


async def test_alerts_are_paged_newest_first(store: SqliteStore) -> None:
    made = [
        replace(alert(n, at=NOW + n // 2), symbol=f"S{n % 3}", rule=("x", "y")[n % 2])
        for n in range(20)
    ]
    await store.write(*made)

    def wanted(**asked: object) -> list[str]:
        chosen = [
            one
            for one in made
            if asked.get("symbol") in (None, one.symbol)
            and asked.get("rule") in (None, one.rule)
            and one.triggered_at >= int(str(asked.get("since", 0)))
        ]
        chosen.sort(key=lambda one: (-one.triggered_at, one.symbol, one.rule, one.id))
        return [one.id for one in chosen]

    for asked in (
        {},
        {"symbol": "S1"},
        {"rule": "y"},
        {"since": NOW + 5},
        {"symbol": "S2", "rule": "x", "since": NOW + 3},
        {"symbol": "' OR 1=1 --"},
    ):
        expected = wanted(**asked)
        found: list[str] = []
        for offset in range(0, 25, 4):
            page = await store.alert_page(AlertFilter(**asked), 4, offset, [made[0].id, "none"])
            assert (page.total, page.offset) == (len(expected), offset)
            assert page.held == {made[0].id}
            found += [one.id for one in page.alerts]
        assert found == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    start=st.none() | st.integers(-5, 40),
    end=st.none() | st.integers(-5, 40),
    limit=st.integers(1, 40),
)
async def test_a_page_of_candles_is_a_slice_of_all(
    tmp_path_factory: pytest.TempPathFactory, start: int | None, end: int | None, limit: int
) -> None:
    minutes = [n for n in range(30) if n % 7]
    folder = tmp_path_factory.mktemp("page")
    async with SqliteStore(folder / "s.db", SystemClock()) as store:
        held = [
            candle(name, minute, close)
            for minute in minutes
            for name, close in (("A", 1.0), ("B", 2.0))
        ]
        await store.write(CandleBatch("binance", tuple(held)))

        def at(minute: int | None) -> int | None:
            return None if minute is None else START + minute * MINUTE_MS

        rows = await store.page("binance", "A", at(start), at(end), limit)
    chosen = [
        minute
        for minute in minutes
        if (start is None or minute >= start) and (end is None or minute < end)
    ]
    expected = chosen[-limit:] if start is None else chosen[:limit]
    assert [row[0] for row in rows] == [at(minute) for minute in expected]
    assert {row[4] for row in rows} <= {1.0}


async def test_who_follows_reads_every_row_once_in_order(store: SqliteStore) -> None:
    await store.write(CandleBatch("binance", (candle("A", 0),)), alert(0, at=NOW))
    journal, alerts = await store.marks("binance")
    assert await store.journalled_after("binance", journal, 10) == ([], journal)
    assert await store.alerts_after(alerts, 10) == ([], alerts)
    candles = [candle("A", minute, received_at=START + minute) for minute in range(1, 8)]
    for one in candles:
        await store.write(CandleBatch("binance", (one,)))
        await store.write(CandleBatch("other", (one,)))
    more = [alert(n, at=NOW - n) for n in range(1, 6)]
    await store.write(*more)
    read = []
    while True:
        found, journal = await store.journalled_after("binance", journal, 3)
        if not found:
            break
        read += found
    assert [one.open_time for one in read] == [one.open_time for one in candles]
    told, alerts = await store.alerts_after(alerts, 100)
    assert [one.id for one in told] == [one.id for one in more]
    assert await store.alerts_after(alerts, 100) == ([], alerts)


async def test_rules_are_switched_for_all_and_for_one(store: SqliteStore) -> None:
    assert await store.rule_switches() == {}
    for switch in (RuleSwitch("x", enabled=False), RuleSwitch("y", cooldown_ms=60_000)):
        await store.set_rule_switch(switch)
    await store.set_rule_switch(RuleSwitch("x", cooldown_ms=1000))
    await store.set_user_switch("one", RuleSwitch("x", enabled=False))
    await store.set_user_switch("two", RuleSwitch("x", cooldown_ms=5000))
    await store.set_user_switch("two", RuleSwitch("x", enabled=False, cooldown_ms=7000))
    assert await store.rule_switches() == {
        "x": RuleSwitch("x", cooldown_ms=1000),
        "y": RuleSwitch("y", cooldown_ms=60_000),
    }
    assert await store.user_switches() == {
        "one": {"x": RuleSwitch("x", enabled=False)},
        "two": {"x": RuleSwitch("x", enabled=False, cooldown_ms=7000)},
    }


async def test_settings_are_kept_by_user(store: SqliteStore) -> None:
    assert await store.settings("nobody") == Settings()
    one = Settings(("x", "ü"), "https://discord.com/api/webhooks/1/a", notification_enabled=False)
    await store.set_settings("one", Settings(), NOW)
    await store.set_settings("one", one, NOW)
    await store.set_settings("'; --", Settings(("y",)), NOW)
    assert await store.settings("one") == one
    assert await store.all_settings() == {"one": one, "'; --": Settings(("y",))}
