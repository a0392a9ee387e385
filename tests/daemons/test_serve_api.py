"""The routes, over real sockets: what they answer, and what they say to what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
import pytest_asyncio
from served import RULES, SYMBOLS, Served, an_alert, serving

import screener
from screenerd.model import MINUTE_MS, Health, RuleSwitch, Trouble, Unfollowed
from screenerd.serve.endpoint import ARROW
from screenerd.store.port import StoreError
from screenerd.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path / "s.db") as one:
        yield one


def iso(ms: int) -> str:
    whole = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def frame_of(body: bytes) -> pl.DataFrame:
    return pl.read_ipc_stream(BytesIO(body))


async def test_health_tells_what_is_fresh_and_what_is_not(served: Served) -> None:
    status, value, _ = await served.get("/api/health")
    assert (status, value["status"]) == (200, "healthy")
    assert value["services"]["data_collector"] == "up"
    assert (await served.get("/health/ready"))[0] == 200
    trouble = Trouble("data", "no minute has closed for 99 s", "see the streams")
    served.system = replace(served.system, health=Health("down", (trouble,)))
    status, value, _ = await served.get("/api/health")
    assert (status, value["status"]) == (200, "unhealthy")
    assert value["details"]["troubles"] == [
        {"where": "data", "told": "no minute has closed for 99 s", "remedy": "see the streams"}
    ]
    assert (await served.get("/health/ready"))[0] == 503
    assert (await served.get("/health/live"))[0] == 200


async def test_symbols_are_listed_with_their_freshness(served: Served) -> None:
    _, value, _ = await served.get("/api/symbols")
    assert [one["symbol"] for one in value["symbols"]] == list(SYMBOLS)
    assert value["symbols"][0] == {
        "symbol": "BTCUSDT",
        "exchange": "binance",
        "last_close": iso(served.now),
        "warm": True,
        "missing": 0,
    }


async def test_alerts_are_filtered_and_paged_newest_first(served: Served) -> None:
    made = [
        await served.publish(
            symbol=SYMBOLS[number % 3], rule=("pioneer_bull", "top_hunter")[number % 2]
        )
        for number in range(12)
    ]
    _, value, _ = await served.get("/api/alerts")
    assert [one["id"] for one in value["alerts"]] == [one.id for one in reversed(made)]
    assert (value["total"], value["limit"], value["offset"]) == (12, 100, 0)

    async def ids(**params: Any) -> tuple[list[str], int]:
        _, page, _ = await served.get("/api/alerts", params=params)
        return [one["id"] for one in page["alerts"]], page["total"]

    newest = list(reversed(made))
    assert await ids(limit=5, offset=5) == ([one.id for one in newest[5:10]], 12)
    assert await ids(symbol=SYMBOLS[2]) == ([a.id for a in newest if a.symbol == SYMBOLS[2]], 4)
    assert await ids(type="top_hunter") == ([a.id for a in newest if a.rule == "top_hunter"], 6)
    since = made[6].triggered_at
    assert await ids(since=iso(since)) == ([a.id for a in newest if a.triggered_at >= since], 6)
    assert await ids(symbol="NOSUCH") == ([], 0)


async def test_who_hears_of_an_alert_and_asks_finds_it(served: Served) -> None:
    """Whether it is stored already, or not yet, or twice on the bus."""
    older = await served.publish()
    async with served.socket(subscribe={}) as client:
        await client.hear("subscribed")
        newer = replace(an_alert(served.now + 60_000), symbol="ETHUSDT")
        for _ in range(2):
            await served.bus.publish(newer)
            heard = await client.hear("alert")
            _, value, _ = await served.get("/api/alerts")
            assert [one["id"] for one in value["alerts"]] == [newer.id, older.id]
            assert value["alerts"][0] == heard["data"]
            assert value["total"] == 2
        await served.store.write(newer)
        await served.publish(symbol="BTCUSDT")
        await client.hear("alert")
        _, value, _ = await served.get("/api/alerts?offset=1&limit=1")
        assert value["total"] == 3
        _, value, _ = await served.get("/api/alerts?symbol=ETHUSDT")
        assert [one["id"] for one in value["alerts"]] == [newer.id]


async def test_an_alert_tells_why(served: Served) -> None:
    alert = await served.publish()
    _, value, _ = await served.get("/api/alerts")
    [told] = value["alerts"]
    assert told["alert_type"] == "pioneer_bull"
    assert told["triggered_at"] == iso(alert.triggered_at)
    assert (told["price"], told["volume"], told["change_pct"]) == (100.5, 1e6, 2.0)
    reason = told["metadata"]["reason"]
    assert reason[0] == {"clause": "change_5m >= 1", "left": 2.0, "right": 1.0}
    assert len(reason) == len(RULES.explain("pioneer_bull", alert.evidence).clauses)
    assert told["metadata"]["stamps"]["received"] == iso(alert.stamps.received)
    await served.publish(rule_version="another")
    _, value, _ = await served.get("/api/alerts", params={"limit": 1})
    assert value["alerts"][0]["metadata"]["reason"] is None


async def test_metrics_are_the_engines_own(served: Served) -> None:
    assert (await served.get("/api/metrics/BTCUSDT"))[0] == 404
    await served.publish_metrics()
    for symbol in SYMBOLS:
        status, value, _ = await served.get(f"/api/metrics/{quote(symbol)}")
        metrics = served.engine.metrics(symbol)
        assert status == 200
        assert value["symbol"] == symbol
        assert value["price"] == metrics["price"]
        for timeframe, told in value["timeframes"].items():
            assert told["change_pct"] == metrics[f"change_{timeframe}"]
            assert told["rsi_14"] == metrics[f"rsi_{timeframe}"]
            assert told["fib_s3"] == metrics[f"fib_s3_{timeframe}"]
            assert told["volume_ratio"] == metrics.get(f"volume_ratio_{timeframe}")
    assert value["timeframes"]["1d"]["change_pct"] is None
    assert value["timestamp"] == iso(served.now)
    _, every, _ = await served.get("/api/metrics")
    assert [one["symbol"] for one in every] == sorted(SYMBOLS)
    assert every[-1] == value


async def test_what_has_left_is_gone(served: Served) -> None:

    await served.publish_metrics()
    assert (await served.get("/api/metrics/BTCUSDT"))[0] == 200
    await served.bus.publish(Unfollowed("binance", ("BTCUSDT",), served.now))
    _, every, _ = await served.get("/api/metrics")
    assert [one["symbol"] for one in every] == sorted(SYMBOLS[1:])
    _, lines, _ = await served.get("/api/sparklines")
    assert sorted(lines["symbols"]) == sorted(SYMBOLS[1:])


async def test_sparklines_are_the_last_hours_closes(served: Served) -> None:
    _, value, _ = await served.get("/api/sparklines")
    stored = await served.store.candles(
        "binance", "ETHUSDT", served.now - 60 * MINUTE_MS, served.now
    )
    assert value["symbols"]["ETHUSDT"] == [candle.close for candle in stored]


async def test_candles_are_those_stored(served: Served) -> None:
    stored = await served.store.candles("binance", "BTCUSDT", 0, served.now)
    _, value, _ = await served.get("/api/candles", params={"symbol": "BTCUSDT", "limit": 10})
    assert [one["open_time"] for one in value["candles"]] == [
        iso(c.open_time) for c in stored[-10:]
    ]
    assert [one["close"] for one in value["candles"]] == [c.close for c in stored[-10:]]
    assert value["candles"][0]["synthetic"] is False
    assert value["next"] is None


@pytest.mark.parametrize(("interval", "minutes"), [("1m", 1), ("5m", 5), ("15m", 15), ("1h", 60)])
async def test_a_cursor_leads_through_all_candles(
    served: Served, interval: str, minutes: int
) -> None:
    stored = await served.store.candles("binance", "BTCUSDT", 0, served.now)
    length = minutes * MINUTE_MS
    found: list[dict[str, Any]] = []
    params = {"symbol": "BTCUSDT", "interval": interval, "limit": "7", "start": iso(0)}
    while True:
        _, page, _ = await served.get("/api/candles", params=params)
        found += page["candles"]
        assert len(page["candles"]) <= 7
        if page["next"] is None:
            break
        params["start"] = page["next"]
    buckets: dict[int, list[Any]] = {}
    for candle in stored:
        buckets.setdefault(candle.open_time // length * length, []).append(candle)
    assert [one["open_time"] for one in found] == [iso(at) for at in buckets]
    for told, candles in zip(found, buckets.values(), strict=True):
        assert told["open"] == candles[0].open
        assert told["high"] == max(one.high for one in candles)
        assert told["low"] == min(one.low for one in candles)
        assert told["close"] == candles[-1].close
        assert told["volume"] == sum(one.volume for one in candles)
    newest = {"symbol": "BTCUSDT", "interval": interval, "limit": "2"}
    _, page, _ = await served.get("/api/candles", params=newest)
    assert page["candles"] == found[-2:]


async def test_arrow_says_the_same(served: Served) -> None:
    await served.publish(symbol="币安人生USDT")
    await served.publish_metrics()
    accept = {"Accept": ARROW}
    _, body, answer = await served.get("/api/alerts", headers=accept)
    assert answer.content_type == ARROW
    alerts = frame_of(body)
    assert alerts["symbol"].to_list() == ["币安人生USDT"]
    assert alerts.schema["triggered_at"] == pl.Datetime("ms", "UTC")
    _, body, _ = await served.get("/api/candles", params={"symbol": "BTCUSDT"}, headers=accept)
    candles = frame_of(body)
    assert candles.height == 180
    assert candles["open_time"].to_list()[-1] == datetime.fromtimestamp(
        served.now / 1000, UTC
    ) - timedelta(minutes=1)
    _, body, _ = await served.get("/api/metrics", headers=accept)
    metrics = frame_of(body)
    assert metrics.height == 6 * len(SYMBOLS)
    _, body, _ = await served.get("/api/metrics/BTCUSDT", headers=accept)
    one = frame_of(body)
    row = one.filter(pl.col("timeframe") == "15m").row(0, named=True)
    assert row["change_pct"] == served.engine.metrics("BTCUSDT")["change_15m"]


async def test_rules_are_listed_and_switched(served: Served) -> None:
    _, value, _ = await served.get("/api/rules")
    assert [one["name"] for one in value["rules"]] == RULES.names
    assert all(one["enabled"] for one in value["rules"])
    before = next(one for one in value["rules"] if one["name"] == "pioneer_bull")
    change = {"enabled": False, "cooldown_seconds": 600}
    status, told, _ = await served.ask("PUT", "/api/rules/pioneer_bull", json=change)
    assert status == 200
    assert (told["enabled"], told["cooldown_seconds"]) == (False, 600.0)
    assert told["version"] != before["version"], "another cooldown is another version"
    assert (await served.store.rule_switches())["pioneer_bull"].cooldown_ms == 600_000
    await served.ask("PUT", "/api/rules/pioneer_bull", json={"enabled": True})
    await served.ask("PUT", "/api/rules/pioneer_bull", json={"cooldown_seconds": None})
    _, value, _ = await served.get("/api/rules")
    assert next(one for one in value["rules"] if one["name"] == "pioneer_bull") == before


async def test_what_another_process_switches_is_seen_here(served: Served) -> None:
    switch = RuleSwitch("pioneer_bull", enabled=False, cooldown_ms=60_000)
    await served.store.set_rule_switch(switch)
    await served.bus.publish(switch)
    async with asyncio.timeout(5):
        while True:
            _, value, _ = await served.get("/api/rules")
            if off := [one for one in value["rules"] if not one["enabled"]]:
                break
    assert [(one["name"], one["cooldown_seconds"]) for one in off] == [("pioneer_bull", 60)]


async def test_a_store_that_hangs_over_choices_holds_no_alert_up_and_is_asked_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screenerd.serve.service.WATCH_SECONDS", 0.01)
    read, go_on, failures = SqliteStore.rule_switches, asyncio.Event(), [StoreError("the disk")]

    async def slow(self: SqliteStore) -> dict[str, RuleSwitch]:
        await go_on.wait()
        if failures:
            raise failures.pop()
        return await read(self)

    monkeypatch.setattr(SqliteStore, "rule_switches", slow)
    switch = RuleSwitch("pioneer_bull", enabled=False)
    await served.store.set_rule_switch(switch)
    async with served.socket(subscribe={}) as client:
        await client.hear("subscribed")
        await served.bus.publish(switch)
        alert = await served.publish()
        assert (await client.hear("alert"))["data"]["id"] == alert.id
    go_on.set()
    async with asyncio.timeout(5):
        while all(one["enabled"] for one in (await served.get("/api/rules"))[1]["rules"]):
            pass


async def test_settings_are_kept(served: Served) -> None:
    _, value, _ = await served.get("/api/settings")
    assert value == {"selected_alerts": [], "webhook_url": None, "notification_enabled": True}
    chosen = {"selected_alerts": ["pioneer_bull"], "notification_enabled": False}
    _, value, _ = await served.ask("POST", "/api/settings", json=chosen)
    assert value == {"webhook_url": None, **chosen}
    _, value, _ = await served.ask("POST", "/api/settings", json={"notification_enabled": True})
    assert value["selected_alerts"] == ["pioneer_bull"]
    assert (await served.get("/api/settings"))[1] == value


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/api/alerts?limit=0", 422, "limit"),
        ("/api/alerts?limit=1001", 422, "limit"),
        ("/api/alerts?limit=ten", 422, "limit"),
        ("/api/alerts?limit=1&limit=2", 422, "limit"),
        ("/api/alerts?offset=-1", 422, "offset"),
        ("/api/alerts?offset=99999999999999999999", 422, "offset"),
        ("/api/alerts?since=yesterday", 422, "since"),
        ("/api/alerts?since=2026-02-30T00:00:00Z", 422, "since"),
        ("/api/alerts?symbol=", 422, "symbol"),
        ("/api/alerts?symbl=BTCUSDT", 422, "symbl"),
        ("/api/alerts?symbol=" + "A" * 65, 422, "symbol"),
        ("/api/alerts?symbol=%00", 200, None),
        ("/api/alerts?symbol='; DROP TABLE alert_history; --", 200, None),
        ("/api/alerts?since=0001-01-01T00:00:00%2B23:59", 200, None),
        ("/api/alerts?since=9999-12-31T23:59:60-23:59", 200, None),
        ("/api/candles", 422, "symbol"),
        ("/api/candles?symbol=NOSUCH", 404, None),
        ("/api/candles?symbol=BTCUSDT&interval=2m", 422, "interval"),
        ("/api/candles?symbol=BTCUSDT&limit=1501", 422, "limit"),
        ("/api/candles?symbol=BTCUSDT&start=9999-12-31T00:00:00Z", 200, None),
        ("/api/candles?symbol=BTCUSDT&end=0001-01-01T00:00:00Z", 200, None),
        ("/api/metrics/NOSUCH", 404, None),
        ("/api/metrics/%2e%2e%2fetc%2fpasswd", 404, None),
        ("/api/metrics?x=1", 422, "x"),
        ("/api/nothing", 404, None),
        ("/../../etc/passwd", 404, None),
        ("/api/rules/none", 405, None),
    ],
)
async def test_bad_requests_are_told_what_is_wrong(
    served: Served, path: str, status: int, field: str | None
) -> None:
    got, value, _ = await served.get(path)
    assert got == status, value
    if status != 200:
        assert value.get("field") == field
        assert set(value) - {"field"} == {"error", "message"}


@pytest.mark.parametrize(
    ("body", "kind", "status", "field"),
    [
        (b"{", "application/json", 400, None),
        (b"", "application/json", 400, None),
        (b"[]", "application/json", 422, None),
        (b'{"enabled":"yes"}', "application/json", 422, "enabled"),
        (b'{"enabled":1}', "application/json", 422, "enabled"),
        (b'{"cooldown_seconds":0}', "application/json", 422, "cooldown_seconds"),
        (b'{"cooldown_seconds":1e400}', "application/json", 400, None),
        (b'{"owner_id":"me"}', "application/json", 422, "owner_id"),
        (b'{"enabled":true}', "text/plain", 415, None),
        (b'{"enabled":true}' + b" " * 70_000, "application/json", 413, None),
        (b"\xff\xfe", "application/json", 400, None),
        (b"[" * 60_000, "application/json", 400, None),
        (b"{}", "application/json", 200, None),
    ],
)
async def test_bad_bodies_are_told_what_is_wrong(
    served: Served, body: bytes, kind: str, status: int, field: str | None
) -> None:
    headers = {"Content-Type": kind}
    got, value, _ = await served.ask("PUT", "/api/rules/top_hunter", data=body, headers=headers)
    assert got == status, value
    assert value.get("field") == field or status in {200, 422}
    assert (await served.store.rule_switches()).keys() <= {"top_hunter"}
    _, value, _ = await served.get("/api/rules")
    assert all(one["enabled"] for one in value["rules"])


async def test_a_store_that_fails_is_told_as_unavailable(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:

    async def fail(*_: object, **__: object) -> None:
        raise StoreError("the disk is gone: put it back")

    monkeypatch.setattr(SqliteStore, "alert_page", fail)
    status, value, answer = await served.get("/api/alerts")
    assert (status, value["error"]) == (503, "unavailable")
    assert "put it back" in value["message"]
    assert answer.headers["Retry-After"] == "5"


async def test_what_nobody_expected_is_told_without_its_inside(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("screenerd.serve.board.Board.sparklines", fail)
    status, value, answer = await served.get("/api/sparklines")
    assert (status, value["error"]) == (500, "internal")
    assert "secret" not in str(value)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (await served.get("/health/live"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/openapi.json", 405),
        ("POST", "/main.js", 405),
        ("DELETE", "/api/health", 405),
        ("OPTIONS", "/api/rules/pioneer_bull", 405),
        ("GET", "/no/such/thing", 404),
        ("GET", "/api/rules/pioneer_bull/more", 404),
    ],
)
async def test_what_is_not_there_is_told_in_the_form_of_all_errors(
    served: Served, method: str, path: str, status: int
) -> None:
    found, value, answer = await served.ask(method, path)
    assert found == status
    assert set(value) == {"error", "message"}
    assert "X-Frame-Options" in answer.headers


async def test_an_alert_that_is_stored_while_it_is_asked_for_is_there_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be on the disk before this role has heard of it."""
    alert = an_alert(served.now)
    await served.store.write(alert)
    ask = SqliteStore.alert_page

    async def slow(self: SqliteStore, *asked: Any) -> Any:
        page = await ask(self, *asked)
        await served.bus.publish(alert)
        await asyncio.sleep(0.01)
        return page

    monkeypatch.setattr(SqliteStore, "alert_page", slow)
    _, value, _ = await served.get("/api/alerts")
    assert [one["id"] for one in value["alerts"]] == [alert.id]
    assert value["total"] == 1


async def test_every_answer_carries_what_protects_it(served: Served) -> None:
    for path in ("/api/health", "/api/nothing", "/openapi.json", "/metrics"):
        _, _, answer = await served.get(path)
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "Server" not in answer.headers


async def test_a_rule_is_explained_by_the_engines_own_metrics(served: Served) -> None:
    asked = {"symbol": SYMBOLS[2], "rule": "pioneer_bull"}
    assert (await served.get("/api/explain", params=asked))[0] == 404
    await served.publish_metrics()
    for name in RULES.names:
        status, value, _ = await served.get("/api/explain", params=asked | {"rule": name})
        assert status == 200
        metrics = served.engine.metrics(SYMBOLS[2])
        expected = screener.margins(RULES, name, metrics)
        assert {key: value[key] for key in expected.to_dict()} == expected.to_dict()
        assert (value["symbol"], value["price"]) == (SYMBOLS[2], metrics["price"])
        assert value["timestamp"] == iso(served.now)
        assert value["version"] == RULES[name].version
        table = RULES.explain(name, metrics)
        assert [one["held"] for one in value["clauses"]] == [one.held for one in table.clauses]


@pytest.mark.parametrize(
    ("params", "status", "field"),
    [
        ({"symbol": "BTCUSDT"}, 422, "rule"),
        ({"rule": "pioneer_bull"}, 422, "symbol"),
        ({"symbol": "BTCUSDT", "rule": "pioner_bull"}, 404, "rule"),
        ({"symbol": "NOSUCH", "rule": "pioneer_bull"}, 404, "symbol"),
        ({"symbol": "", "rule": "pioneer_bull"}, 422, "symbol"),
        ({"symbol": "BTCUSDT", "rule": "pioneer_bull", "at": "now"}, 422, "at"),
    ],
)
async def test_what_cannot_be_explained_is_told(
    served: Served, params: dict[str, str], status: int, field: str
) -> None:
    await served.publish_metrics()
    got, value, _ = await served.get("/api/explain", params=params)
    assert (got, value["field"]) == (status, field)
