"""What Prometheus is told: each role's own figures, by the requirements' names where they exist."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exposition import CLOCK, STAMPS, candle, names, of_role, text_of

from screenerd import timings


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("ingest", "data_collector_messages_received_total"),
        ("ingest", "data_collector_websocket_connections"),
        ("ingest", "data_collector_freshness_seconds_bucket"),
        ("screen", "alert_engine_alerts_triggered_total"),
        ("screen", "alert_engine_latency_seconds_bucket"),
        ("persist", "metrics_calculator_db_insert_duration_seconds_bucket"),
        ("persist", "database_latency_seconds_bucket"),
        ("notify", "notifier_latency_seconds_bucket"),
        ("serve", "api_gateway_websocket_connections"),
        ("serve", "screener_build_info"),
    ],
)
def test_a_role_tells_the_names_of_the_requirements(role: str, name: str) -> None:
    assert name in names(of_role(role))


def test_only_the_process_that_does_it_tells_of_it() -> None:
    roles = ("ingest", "screen", "persist", "notify")
    shared = {"screener_build_info", "screener_loop_lag_seconds"}
    seen: set[str] = set()
    for role in roles:
        told = names(of_role(role)) - shared
        assert not told & seen, role
        seen |= told


def _sample(role: str, line: str) -> float:
    told = [one for one in text_of(role).splitlines() if one.startswith(line + " ")]
    return float(told[0].rsplit(" ", 1)[1]) if told else 0.0


def test_freshness_is_from_the_close_to_the_frame() -> None:
    line = "data_collector_freshness_seconds_"
    before = [_sample("ingest", line + part) for part in ("count", "sum")]
    one = candle()
    timings.received(replace(one, received_at=one.close_time + 40), CLOCK)
    timings.received(replace(one, received_at=one.close_time - 5), CLOCK)
    timings.received(replace(one, received_at=one.close_time + 9_000, source="rest"), CLOCK)
    after = [_sample("ingest", line + part) for part in ("count", "sum")]
    assert after[0] - before[0] == 2
    assert after[1] - before[1] == pytest.approx(0.04)


@pytest.mark.parametrize(("since", "seconds"), [("close", 0.07), ("received", 0.02)])
def test_an_alert_is_timed_from_where_it_began(since: str, seconds: float) -> None:
    line = f'alert_engine_latency_seconds_sum{{since="{since}"}}'
    before = _sample("screen", line)
    timings.decided(STAMPS, CLOCK)
    assert _sample("screen", line) - before == pytest.approx(seconds)


@pytest.mark.parametrize(("since", "seconds"), [("close", 0.5), ("decided", 0.43)])
def test_a_delivery_is_timed_until_the_channel_took_it(since: str, seconds: float) -> None:
    line = f'notifier_latency_seconds_sum{{channel="desk",since="{since}"}}'
    before = _sample("notify", line)
    timings.sent("desk", STAMPS, STAMPS.exchange_close + 500, CLOCK)
    assert _sample("notify", line) - before == pytest.approx(seconds)
