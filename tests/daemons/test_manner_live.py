"""Rules of every manner, live with faults, against a replay of what arrived."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from rig import NUMBERS, START_MS, running, stored

import screener
from screenerd.config import RulesConfig
from screenerd.demo.faults import Fault
from screenerd.model import MINUTE_MS, Alert, Candle
from screenerd.screen import service

RULES = """
[groups]
some = ["*USDT"]

[[rule]]
name = "whenever"
timeframe = "5m"
cooldown = "3m"
when = "abs(change_5m) >= 0.05"

[[rule]]
name = "held"
timeframe = "5m"
hold = "2m"
when = "change_5m > 0"
max_per_hour = 4
cooldown = "1m"

[[rule]]
name = "once"
timeframe = "5m"
when = "change_5m >= 0.1"
clear_when = "change_5m < 0"
cooldown = "0m"

[[rule]]
name = "again"
timeframe = "5m"
trigger = "edge"
repeat = "4m"
when = "change_15m > 0"
cooldown = "0m"

[[rule]]
name = "turning"
timeframe = "5m"
when = "change_5m > 0.02 and change_5m[5m] < 0"

[[rule]]
name = "leader"
timeframe = "5m"
when = "rank(change_5m) == 1"
cooldown = "2m"

[[rule]]
name = "wide"
timeframe = "5m"
trigger = "edge"
cooldown = "0m"
when = "breadth(change_5m > 0) > 0.2 and pct_rank(change_5m) < 0.5 and rank(change_5m[3m]) <= 9"

[[rule]]
name = "against"
timeframe = "5m"
when = 'vs("BTCUSDT", change_5m) > 0'
trigger = "edge"

[[rule]]
name = "waking"
timeframe = "5m"
cooldown = "1m"
quiet_hours = "{quiet}"
when = "change_5m != 0"

[[rule]]
name = "ending"
timeframe = "5m"
cooldown = "1m"
expires = {expires}
when = "change_5m != 0"

[[rule]]
name = "otherwise"
timeframe = "5m"
when = "change_5m > 100"

[[rule.override]]
groups = ["some"]
when = "abs(change_5m) >= 0.04"
cooldown = "6m"
"""


def written() -> str:
    """The rules, quiet from 8 to 16 minutes after the start, and one that ends after 12."""
    now = datetime.fromtimestamp(START_MS / 1000, UTC)
    quiet = [f"{now + timedelta(minutes=minutes):%H:%M}" for minutes in (8, 16)]
    expires = f"{now + timedelta(minutes=12):%Y-%m-%dT%H:%M:%SZ}"
    return RULES.format(quiet="-".join(quiet), expires=expires)


def replayed(
    journal: list[Candle], judged_from: int, rules: screener.RuleSet, since: int
) -> set[str]:
    """Ids of the alerts since a time of a replay of all symbols in order of arrival."""
    frame = pl.DataFrame(
        {
            "symbol": [candle.symbol for candle in journal],
            "open_time": [candle.open_time for candle in journal],
            "event_time": [candle.received_at for candle in journal],
            "source": [candle.source for candle in journal],
            **{name: [getattr(candle, name) for candle in journal] for name in NUMBERS},
        }
    )
    alerts = screener.replay(frame, rules, exchange="binance", start=judged_from).alerts
    return set(alerts.filter(pl.col("triggered_at") > since)["id"].to_list())


@pytest.mark.asyncio
async def test_live_is_what_a_replay_of_what_arrived_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine that does other work, too, may hold the process up for longer than a second.
    monkeypatch.setattr(service, "ON_THE_WAY_SECONDS", 4.0)
    file, path, text = tmp_path / "all.toml", tmp_path / "a.db", written()
    file.write_text(text, encoding="utf-8")
    rules, config = screener.RuleSet.parse(text), RulesConfig(name=str(file), floors=False)
    frequent = (Fault.DROP_CLOSE, Fault.CORRECTED_CLOSE, Fault.REORDER_CLOSES, Fault.LATE_CLOSE)
    async with running(path, symbols=10, speed=120, rules=config) as rig:
        judged_from = rig.roles.screen.judged_from
        # While symbols were still being fetched, those that were there were all there were: a
        # replay knows the day before of each from the start. Edges and cooldowns of that are over.
        since = rig.clock.now_ms() + 6 * MINUTE_MS
        for _ in range(12):
            for fault in frequent:
                rig.faults.arm(fault)
            await rig.minutes(1)
        rig.faults.disarm()
        await rig.minutes(25)
    _, journal, _ = await stored(path)
    alerts = await _alerts_of(path)
    raised = {alert.id for alert in alerts if alert.triggered_at > since}
    expected = replayed(journal, judged_from, rules, since)
    # What is told of minutes that a symbol lacks may have been waiting for it when it all ended.
    newest: dict[str, int] = {}
    for candle in journal:
        newest[candle.symbol] = max(candle.open_time, newest.get(candle.symbol, 0))
    assert min(newest.values()) >= max(newest.values()) - 3 * MINUTE_MS
    complete = [candle for candle in journal if candle.open_time <= min(newest.values())]
    late = replayed(complete, judged_from, rules, since)
    told = Counter(alert.rule for alert in alerts)
    assert len(late) > 300
    assert late <= raised, f"not raised: {len(late - raised)} of {len(late)}"
    assert raised <= expected, f"not replayed: {len(raised - expected)} of {len(raised)}"
    assert set(told) == set(rules.names)
    assert told["ending"] < told["waking"]


async def _alerts_of(path: Path) -> list[Alert]:
    from screenerd.clock import SystemClock
    from screenerd.store.sqlite import SqliteStore

    async with SqliteStore(path, SystemClock()) as store:
        return await store.alerts(0)
