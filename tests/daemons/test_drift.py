"""`screener drift`: nothing differs where nothing is planted, and what is planted is named."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rig import drifted, running

import screener
from screener import DataError, Drift
from screener.cli import main
from screener.drift import Difference
from screenerd.clock import SystemClock
from screenerd.config import RulesConfig
from screenerd.demo.faults import Fault
from screenerd.model import MINUTE_MS, Alert, Candle, CandleBatch, RuleSwitch, Stamps
from screenerd.store.port import Span
from screenerd.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio

START = 1_767_571_200_000
SYMBOLS = ("ABCUSDT", "币安人生USDT")
RULES = screener.RuleSet.parse("""
[[rule]]
name = "jump"
timeframe = "5m"
direction = "up"
cooldown = "5m"
when = "change_5m >= 0.3"
floor = "quote_volume_5m > 1e9"

[[rule]]
name = "slide"
timeframe = "5m"
direction = "down"
cooldown = "30m"
when = "change_30m <= -0.5 and volume_ratio_15m > 0.1"
""")
OTHER = screener.RuleSet.parse(RULES.to_toml().replace("0.3", "0.4"))


def minute(number: int) -> int:
    return START + number * MINUTE_MS


def walk(symbol: str, minutes: int = 400, seed: int = 1) -> list[Candle]:
    """A symbol's minutes at random, each as it arrives in time."""
    dice = random.Random(f"{symbol}{seed}")
    close, made = 100.0, []
    for number in range(minutes):
        before, close = close, close * (1 + dice.gauss(0, 0.001))
        made.append(
            Candle(
                symbol,
                minute(number),
                before,
                max(before, close) * 1.0001,
                min(before, close) * 0.9999,
                close,
                10.0,
                10 * close,
                trades=5,
                received_at=minute(number + 1) + 40,
            )
        )
    return made


@dataclass
class Live:
    """A daemon in short: what arrives is stored and judged, what is raised is stored."""

    path: Path
    rules: screener.RuleSet = field(default_factory=lambda: RULES)
    judged_from: int = minute(60)
    arrivals: list[Candle] = field(
        default_factory=lambda: [one for s in SYMBOLS for one in walk(s)]
    )

    async def run(self) -> Path:
        """Lives through it; gives the database."""
        self.arrivals.sort(key=lambda one: (one.received_at, one.symbol))
        engine = screener.Engine(self.rules)
        raised: list[Alert] = []
        for candle in self.arrivals:
            if candle.open_time < self.judged_from:
                engine.warm_up(pl.DataFrame([values(candle)]))
            else:
                raised += [told(alert, candle) for alert in engine.update(values(candle))]
        last = self.arrivals[-1]
        raised += [told(alert, last) for alert in engine.advance(last.received_at + 5_000)]
        async with SqliteStore(self.path, SystemClock()) as store:
            await store.first_seen(["screen:binance"], self.judged_from)
            await store.write(CandleBatch("binance", tuple(self.arrivals)))
            for alert in raised:
                await store.write(alert)
        return self.path

    def at(self, symbol: str, number: int) -> int:
        """Where in the arrivals a minute is."""
        key = (symbol, minute(number))
        return next(n for n, one in enumerate(self.arrivals) if (one.symbol, one.open_time) == key)

    def delay(self, symbol: str, number: int, minutes: float) -> None:
        """Has a minute come late."""
        place = self.at(symbol, number)
        came = minute(number + 1) + int(minutes * MINUTE_MS)
        self.arrivals[place] = replace(self.arrivals[place], received_at=came, source="rest")

    def correct(self, symbol: str, number: int, minutes: float, **values: Any) -> None:
        """Has another version of a minute come."""
        came = minute(number + 1) + int(minutes * MINUTE_MS)
        held = self.arrivals[self.at(symbol, number)]
        self.arrivals.append(replace(held, received_at=came, source="rest", **values))

    def absent(self, symbol: str, number: int, minutes: float) -> None:
        """Has a minute missing, and found to be absent later."""
        held = self.arrivals.pop(self.at(symbol, number))
        close = held.open
        came = minute(number + 1) + int(minutes * MINUTE_MS)
        flat = {"open": close, "high": close, "low": close, "close": close}
        none = {"volume": 0.0, "quote_volume": 0.0, "trades": 0}
        self.arrivals.append(
            replace(held, received_at=came, source="synthetic", **flat, **none)  # type: ignore[arg-type]
        )


def values(candle: Candle) -> dict[str, object]:
    return asdict(candle) | {"event_time": candle.received_at}


def told(alert: screener.Alert, candle: Candle) -> Alert:
    return Alert(
        id=alert.id,
        triggered_at=alert.triggered_at,
        exchange=alert.exchange,
        symbol=alert.symbol,
        rule=alert.rule,
        title=alert.rule,
        direction="up",
        timeframe=alert.timeframe,
        price=alert.price,
        quote_volume=alert.quote_volume,
        change=alert.change,
        vcp=alert.vcp,
        state=alert.state,
        rule_version=alert.rule_version,
        evidence=dict(alert.evidence),
        stamps=Stamps(candle.close_time, None, candle.received_at, candle.received_at + 5),
    )


def sql(path: Path, statement: str, *parameters: object) -> int:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, parameters).rowcount


def causes(differences: Iterable[Difference]) -> Counter[str]:
    return Counter(one.cause for one in differences)


def drift(path: Path, rules: screener.RuleSet = RULES, **options: Any) -> Drift:
    return screener.drift(path, rules, **options)


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path / "a.db")


async def test_without_a_plant_nothing_differs(live: Live) -> None:
    found = drift(await live.run())
    assert found.differences == ()
    assert found.raised == found.replayed == found.final > 20
    assert (found.symbols, found.versions) == (2, 2 * 340)
    assert "the same" in str(found)
    assert found.frame.is_empty()


async def test_parts_of_the_time_add_up(live: Live) -> None:
    """Cooldowns and windows are what they were when a part began."""
    path = await live.run()
    whole = drift(path)
    edges = [minute(60), minute(137), minute(138), minute(300), None]
    parts = [drift(path, start=a, end=b) for a, b in pairwise(edges)]
    assert [part.differences for part in parts] == [()] * 4
    assert sum(part.raised for part in parts) == whole.raised
    one = drift(path, symbols=[SYMBOLS[1]])
    assert (one.symbols, one.differences) == (1, ())
    assert 0 < one.raised < whole.raised


async def test_a_dropped_alert_is_found(live: Live) -> None:
    path = await live.run()
    dropped = "SELECT id FROM alert_history ORDER BY triggered_at LIMIT 1 OFFSET 10"
    assert sql(path, f"DELETE FROM alert_history WHERE id = ({dropped})") == 1  # noqa: S608
    found = drift(path)
    [fault] = found.faults
    assert found.differences == (fault,)
    assert (fault.against, fault.live, fault.replay) == ("journal", False, True)
    assert fault.detail == "no such alert is stored"
    assert "replayed, not raised" in str(found)


async def test_an_alert_out_of_nowhere_is_found(live: Live) -> None:
    path = await live.run()
    at = minute(399)
    change = (
        "UPDATE alert_history SET triggered_at = ? WHERE id = (SELECT min(id) FROM alert_history)"
    )
    assert sql(path, change, at) == 1
    found = drift(path)
    forged = [one for one in found.faults if one.triggered_at == at]
    assert [(one.live, one.replay) for one in forged] == [(True, False)]
    assert "a replay has" in forged[0].detail


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("price = price * 1.001", "price"),
        ("metadata = json_set(metadata, '$.evidence.change_5m', 77.5)", "change_5m"),
    ],
)
async def test_another_value_is_found(live: Live, change: str, name: str) -> None:
    path = await live.run()
    first = "(SELECT id FROM alert_history WHERE alert_type = 'jump' ORDER BY triggered_at LIMIT 1)"
    sql(path, f"UPDATE alert_history SET {change} WHERE id = {first}")  # noqa: S608
    [fault] = drift(path).faults
    assert (fault.what, fault.live, fault.replay) == ("other values", True, True)
    assert fault.detail.startswith(name)


async def test_a_rule_that_changed_explains_what_it_raised_and_did_not(live: Live) -> None:
    path = await live.run()
    found = drift(path, OTHER)
    assert found.faults == ()
    assert causes(found.of("journal"))["rule changed"] > 0
    assert {one.rule for one in found.differences} == {"jump"}
    live.path, live.rules = live.path.with_name("b.db"), OTHER
    found = drift(await live.run())
    assert {one.live for one in found.of("journal")} == {True, False}
    assert causes(found.of("journal")).keys() <= {"rule changed", "cooldown"}


async def test_a_rule_with_other_floors_is_told(live: Live) -> None:
    path = await live.run()
    found = drift(path, screener.RuleSet.parse(RULES.to_toml(), floors=True))
    assert causes(found.differences) == {"rule changed": len(found.differences)}
    assert "today's rule with floors off raised it" in found.differences[0].detail


async def test_a_rule_that_is_gone_or_off_is_told(live: Live) -> None:
    path = await live.run()
    only = screener.RuleSet.parse(RULES["slide"].to_toml())
    found = drift(path, only)
    assert causes(found.differences) == {"rule changed": len(found.differences)}
    assert sql(path, "DELETE FROM alert_history WHERE alert_type = 'jump'") > 0
    [*faults] = drift(path).faults
    assert faults[0].detail == "no alert of this rule is stored at all: was it loaded then?"
    async with SqliteStore(path, SystemClock()) as store:
        await store.set_rule_switch(RuleSwitch("jump", enabled=False))
    found = drift(path)
    assert causes(found.differences) == {"rule changed": len(faults)}
    assert found.differences[0].detail == "the rule is switched off"


async def test_cooldowns_set_for_everybody_are_those_of_the_replay(live: Live) -> None:
    text = RULES.to_toml().replace('cooldown = "5m"', 'cooldown = "7m"')
    live.rules = screener.RuleSet.parse(text)
    path = await live.run()
    assert drift(path).differences
    async with SqliteStore(path, SystemClock()) as store:
        await store.set_rule_switch(RuleSwitch("jump", cooldown_ms=7 * MINUTE_MS))
    assert drift(path).differences == ()


async def quiet_minute(live: Live, symbol: str) -> int:
    """The number of a minute with no alert of the symbol around."""
    path = live.path.with_name("undisturbed.db")
    alerts = await stored_alerts(await replace(live, path=path).run())
    near = {
        (one.triggered_at - START) // MINUTE_MS + step
        for one in alerts
        if one.symbol == symbol
        for step in range(-15, 15)
    }
    return next(number for number in range(100, 380) if number not in near)


async def test_a_late_minute_is_named(live: Live) -> None:
    symbol = SYMBOLS[1]
    number = await quiet_minute(live, symbol)
    place = live.at(symbol, number)
    live.arrivals[place] = replace(live.arrivals[place], high=130.0, close=120.0)
    live.delay(symbol, number, 3)
    found = drift(await live.run())
    assert found.of("journal") == ()
    assert found.faults == ()
    own = found.of("final")[0]
    assert (own.symbol, own.triggered_at) == (symbol, minute(number + 1))
    assert (own.cause, own.live, own.what) == ("late", False, "over the final minutes only")
    assert own.detail == "its minute came 3 min late, after a newer one"


async def test_a_minute_that_was_late_for_those_after_it_is_named(live: Live) -> None:
    symbol = SYMBOLS[1]
    number = await quiet_minute(live, symbol)
    place = live.at(symbol, number)
    live.arrivals[place] = replace(live.arrivals[place], low=80.0, open=90.0)
    live.delay(symbol, number, 10)
    found = drift(await live.run())
    assert found.of("journal") == ()
    first = found.of("final")[0]
    assert (first.triggered_at, first.cause, first.live) == (minute(number + 5), "late", False)
    assert first.detail.endswith("came 10 min late")
    assert found.faults == ()


async def test_a_corrected_minute_is_named(live: Live) -> None:
    symbol = SYMBOLS[0]
    number = await quiet_minute(live, symbol)
    live.correct(symbol, number, 9.5, high=140.0, close=130.0)
    found = drift(await live.run())
    assert found.of("journal") == ()
    assert causes(found.of("final")).keys() <= {"corrected", "cooldown"}
    first = found.of("final")[0]
    assert (first.triggered_at, first.cause) == (minute(number + 1), "corrected")
    assert "was corrected 9 min after its close, by rest" in first.detail


async def test_a_cooldown_that_shifts_is_named(live: Live) -> None:
    """A jump that is known later begins a cooldown in which live had raised."""
    symbol = SYMBOLS[0]
    jumps = [
        one.triggered_at
        for one in await stored_alerts(await live.run())
        if (one.symbol, one.rule) == (symbol, "jump")
    ]
    alone = (b for a, b in pairwise(jumps) if b - a > 15 * MINUTE_MS)
    number = (next(alone) - START) // MINUTE_MS - 3
    again = Live(live.path.with_name("b.db"))
    again.correct(symbol, number, 30, high=140.0, close=130.0)
    found = drift(await again.run())
    first, second, *_ = found.of("final")
    assert (first.triggered_at, first.live, first.cause) == (
        minute(number + 1), False, "corrected",
    )  # fmt: skip
    assert (second.triggered_at, second.live, second.cause) == (
        minute(number + 3), True, "cooldown",
    )  # fmt: skip
    assert second.detail.startswith("shifted by the difference at 2026-01-05")
    assert found.faults == ()
    assert found.of("journal") == ()


async def stored_alerts(path: Path) -> list[Alert]:
    async with SqliteStore(path, SystemClock()) as store:
        return list(await store.alerts(0))


async def test_a_minute_found_absent_later_is_named(live: Live) -> None:
    symbol = SYMBOLS[0]
    path = await live.run()
    at = next(
        one.triggered_at for one in await stored_alerts(path)
        if (one.symbol, one.rule) == (symbol, "jump") and one.triggered_at > minute(150)
    )  # fmt: skip
    again = Live(path.with_name("b.db"))
    again.absent(symbol, (at - START) // MINUTE_MS - 3, 40)
    found = drift(await again.run())
    assert found.of("journal") == ()
    assert found.faults == ()
    pending = [one for one in found.of("final") if one.cause == "pending"]
    assert pending
    assert "was missing, and found to be absent at" in pending[0].detail


async def test_what_the_database_no_longer_has_is_outside(live: Live) -> None:
    path = await live.run()
    cut = minute(200)
    assert sql(path, "DELETE FROM candles_1m WHERE time < ?", cut) > 0
    assert sql(path, "DELETE FROM candle_journal WHERE received_at < ?", cut) > 0
    found = drift(path)
    assert found.faults == ()
    assert "outside" in causes(found.of("journal"))
    assert causes(found.of("journal")).keys() <= {"outside", "cooldown"}
    late = drift(path, start=minute(300))
    assert late.differences == ()
    assert late.raised > 0


async def test_the_newest_minute_may_not_be_stored_yet(live: Live) -> None:
    path = await live.run()
    newest = max(one.triggered_at for one in await stored_alerts(path))
    cut = newest - MINUTE_MS
    for table in ("candles_1m", "candle_journal"):
        sql(path, f"DELETE FROM {table} WHERE time > ?", cut)  # noqa: S608
    sql(path, "DELETE FROM alert_history WHERE triggered_at >= ?", newest)
    found = drift(path)
    assert causes(found.differences) == {"unsettled": len(found.differences)}
    assert found.faults == ()


async def test_minutes_that_were_loaded_are_history(live: Live) -> None:
    """`screener load` fills the table of minutes and not the journal."""
    path = await live.run()
    symbol = SYMBOLS[0]
    loaded = (symbol, minute(200))
    sql(path, "DELETE FROM candle_journal WHERE symbol = ? AND time = ?", *loaded)
    change = (
        "UPDATE candles_1m SET source = 'archive', received_at = ? WHERE symbol = ? AND time = ?"
    )
    assert sql(path, change, minute(500), *loaded) == 1
    found = drift(path)
    its = [one for one in found.of("journal") if one.triggered_at != minute(201)]
    assert {one.symbol for one in found.differences} <= {symbol}
    assert found.of("final") or not its


async def test_a_symbol_listed_later_has_a_history_nobody_judged(tmp_path: Path) -> None:
    new = walk("NEWUSDT")
    at = minute(250) + 5_000
    history = [replace(one, received_at=max(one.received_at, at), source="rest") for one in new]
    live = Live(tmp_path / "a.db")
    live.arrivals += [one for one in history if one.close_time >= at]
    path = await live.run()
    older = [one for one in history if one.close_time < at]
    async with SqliteStore(path, SystemClock()) as store:
        await store.write(CandleBatch("binance", tuple(older)))
        await store.set_tracking("binance", dict.fromkeys(SYMBOLS, Span(START, None)))
        listed = Span(START + 5 * MINUTE_MS, None, judged_from=minute(250))
        await store.set_tracking("binance", {"NEWUSDT": listed})
    found = drift(path, symbols=["NEWUSDT"])
    assert min(one.triggered_at for one in await stored_alerts(path) if one.symbol == "NEWUSDT")
    assert [one for one in found.of("journal") if one.triggered_at <= at] == []


async def test_a_symbol_that_comes_back_was_judged_before_it_left(live: Live) -> None:
    path = await live.run()
    symbol = SYMBOLS[0]
    async with SqliteStore(path, SystemClock()) as store:
        await store.set_tracking("binance", {symbol: Span(START, None)})
        await store.set_tracking("binance", {symbol: Span(START, minute(300))})
        again = Span(START + 5 * MINUTE_MS, None, judged_from=minute(310))
        await store.set_tracking("binance", {symbol: again})
    found = drift(path, symbols=[symbol])
    its = [one for one in await stored_alerts(path) if one.symbol == symbol]
    unjudged = [one for one in its if minute(300) < one.triggered_at <= minute(310)]
    assert any(one.triggered_at <= minute(300) for one in its)
    assert any(one.triggered_at > minute(310) for one in its)
    assert len([one for one in found.faults if one.against == "journal"]) == len(unjudged)


@pytest.mark.parametrize("seed", range(8))
async def test_any_disorder_is_told_the_same_and_explained(tmp_path: Path, seed: int) -> None:
    """Late, doubled, corrected and absent minutes at random: no fault, and something to name."""
    dice = random.Random(seed)
    live = Live(tmp_path / "a.db", arrivals=[one for s in SYMBOLS for one in walk(s, 300, seed)])
    for _ in range(30):
        symbol, number = dice.choice(SYMBOLS), dice.randrange(70, 280)
        if not any((o.symbol, o.open_time) == (symbol, minute(number)) for o in live.arrivals):
            continue
        match dice.randrange(4):
            case 0:
                live.delay(symbol, number, dice.choice([0.5, 2, 7, 45]))
            case 1:
                live.correct(symbol, number, dice.choice([0.3, 3, 30]), high=120.0, close=115.0)
            case 2:
                live.absent(symbol, number, dice.choice([1.5, 6, 20]))
            case 3:
                live.arrivals.append(live.arrivals[live.at(symbol, number)])
    found = drift(await live.run())
    assert found.of("journal") == ()
    assert found.faults == ()
    assert found.of("final")


OF_ANY_MANNER = screener.RuleSet.parse("""
[[rule]]
name = "held"
timeframe = "5m"
cooldown = "1m"
hold = "2m"
max_per_hour = 2
when = "change_5m > 0.05"

[[rule]]
name = "once"
timeframe = "5m"
cooldown = "0m"
when = "change_5m >= 0.2"
clear_when = "change_5m < -0.05"

[[rule]]
name = "again"
timeframe = "5m"
cooldown = "3m"
trigger = "edge"
repeat = "12m"
quiet_hours = "03:00-03:20"
when = "change_15m > 0"

[[rule]]
name = "turning"
timeframe = "5m"
when = "change_5m > 0.1 and change_5m[15m] < 0"

[[rule]]
name = "off"
timeframe = "5m"
enabled = false
when = "change_5m > 0"

[[rule]]
name = "otherwise"
timeframe = "5m"
when = "change_5m > 0.15"

[[rule.override]]
symbols = ["ABC*"]
when = "change_5m < -0.15 and change_5m[3m] > -0.2"
cooldown = "9m"

[[rule.override]]
symbols = ["NONE*"]
enabled = false
""")
AMONG_ALL = screener.RuleSet.parse("""
[[rule]]
name = "leader"
timeframe = "5m"
cooldown = "4m"
when = "rank(change_5m) == 1 and change_5m > 0.1"

[[rule]]
name = "wide"
timeframe = "5m"
cooldown = "0m"
trigger = "edge"
when = "breadth(change_5m > 0) > 0.5 and rank(change_5m[5m]) >= 2"

[[rule]]
name = "plain"
timeframe = "5m"
when = "change_5m > 0.2"
""")
FOUR = (*SYMBOLS, "NONEUSDT", "ZUSDT")


def disordered(path: Path, rules: screener.RuleSet, seed: int) -> Live:
    """Late, doubled, corrected and absent minutes of four symbols at random."""
    dice = random.Random(seed)
    arrivals = [one for s in FOUR for one in walk(s, 300, seed)]
    live = Live(path, rules=rules, arrivals=arrivals)
    for _ in range(40):
        symbol, number = dice.choice(FOUR), dice.randrange(70, 280)
        if not any((o.symbol, o.open_time) == (symbol, minute(number)) for o in live.arrivals):
            continue
        match dice.randrange(4):
            case 0:
                live.delay(symbol, number, dice.choice([0.05, 0.12, 0.5, 2, 7, 45]))
            case 1:
                values = dice.choice(
                    [{"high": 120.0, "close": 115.0}, {"low": 80.0, "close": 85.0}]
                )
                live.correct(symbol, number, dice.choice([0.03, 0.3, 3, 30]), **values)
            case 2:
                live.absent(symbol, number, dice.choice([1.5, 6, 20]))
            case 3:
                live.arrivals.append(live.arrivals[live.at(symbol, number)])
    return live


@pytest.mark.parametrize("rules", [OF_ANY_MANNER, AMONG_ALL], ids=["manner", "among"])
@pytest.mark.parametrize("seed", range(6))
async def test_rules_of_any_manner_are_told_the_same_and_explained(
    tmp_path: Path, rules: screener.RuleSet, seed: int
) -> None:
    path = await disordered(tmp_path / "a.db", rules, seed).run()
    found = drift(path, rules)
    assert found.raised == found.replayed > 30
    assert found.of("journal") == ()
    assert found.faults == ()
    assert found.of("final")
    parts = [
        drift(path, rules, start=a, end=b) for a, b in ((None, minute(170)), (minute(170), None))
    ]
    assert [part.of("journal") for part in parts] == [(), ()]
    assert sum(part.raised for part in parts) == found.raised


OFTEN = """
[[rule]]
name = "up"
timeframe = "5m"
cooldown = "5m"
when = "change_5m >= 0.05 and quote_volume_15m > 0"

[[rule]]
name = "strong"
timeframe = "5m"
cooldown = "10m"
when = "rsi_5m > 55 and change_1d > -50"
"""


async def test_a_run_with_faults(tmp_path: Path) -> None:
    """The whole of `screenerd up` while it runs, after it has run, and with an alert taken away."""
    rules, path = tmp_path / "often.toml", tmp_path / "a.db"
    rules.write_text(OFTEN, encoding="utf-8")
    named = screener.RuleSet.parse(OFTEN)
    config = RulesConfig(name=str(rules), floors=False)
    frequent = (Fault.DROP_CLOSE, Fault.CORRECTED_CLOSE, Fault.REORDER_CLOSES, Fault.LATE_CLOSE)
    async with running(path, symbols=12, speed=240, rules=config) as rig:
        for step in range(12):
            for fault in frequent:
                rig.faults.arm(fault, times=2)
            if step == 4:
                rig.faults.fail_rest(500, seconds=150, path="klines")
                rig.faults.arm(Fault.DROP_CLOSE, times=12)
            await rig.minutes(1)
        rig.faults.disarm()
        while_it_runs = await asyncio.to_thread(drifted, path, named)
        await rig.minutes(30)
    assert while_it_runs.faults == ()
    found = drifted(path, named)
    assert found.faults == ()
    assert causes(found.of("journal")).keys() <= {"outside"}  # bars that came after a minute
    assert found.raised == found.replayed > while_it_runs.raised > 0
    assert {"late", "cooldown"} <= causes(found.of("final")).keys()
    assert len(await stored_alerts(path)) == found.raised
    sql(path, "DELETE FROM alert_history WHERE rowid = (SELECT min(rowid) + 9 FROM alert_history)")
    assert [one.what for one in drifted(path, named).faults] == ["replayed, not raised"]


# -- the command ---------------------------------------------------------------------------------

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["screener", "drift", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


async def test_the_command(live: Live, run: Command, tmp_path: Path) -> None:
    path = await live.run()
    rules = tmp_path / "my.toml"
    rules.write_text(RULES.to_toml(), encoding="utf-8")
    options = (path, "--rules", rules, "--no-floors")
    code, out, _ = run(*options, "--day", "2026-01-05")
    assert (code, out.count("the same")) == (0, 2)
    code, out, _ = run(*options, "--last", "90m", "--symbols", SYMBOLS[1], "--json")
    told = json.loads(out)
    assert (code, told["start"], told["faults"], told["symbols"]) == (0, minute(310), 0, 1)
    assert told["raised"] == told["replayed"]
    sql(path, "DELETE FROM alert_history WHERE alert_type = 'slide'")
    code, out, _ = run(*options, "--json")
    told = json.loads(out)
    assert code == 1
    assert len(told["differences"]) >= told["faults"] > 5
    assert told["differences"][0]["what"] == "replayed, not raised"
    assert told["differences"][0]["time"].endswith("Z")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--day", "today"), 2, "is no day"),
        (("--day", "2026-13-01"), 2, "no time"),
        (("--day", "2026-01-05", "--last", "1h"), 2, "give --day or --last, not both"),
        (("--last", "1h", "--end", "2026-01-06"), 2, "not both"),
        (("--last", "soon"), 2, "is no length of time"),
        (("--symbols", ","), 2, "--symbols names none"),
        (("--rules", "futurs"), 1, "futures"),
        (("--symbols", "ABCUSD"), 1, "did you mean 'ABCUSDT'"),
        (("--start", "2026-01-06", "--end", "2026-01-05"), 1, "the range is empty"),
    ],
)
async def test_what_the_command_refuses(
    live: Live, run: Command, options: tuple[str, ...], code: int, words: str
) -> None:
    live.arrivals = live.arrivals[:5]
    path = await live.run()
    got, _, err = run(path, *options)
    assert got == code
    assert words in " ".join(err.replace("│", " ").split())


async def test_no_database(run: Command, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"nothing of the kind, and long enough to be looked at")
    for name in ("none.db", "other.db"):
        code, _, err = run(tmp_path / name)
        assert code == 1
        assert "start screenerd once with this database" in err


async def test_nothing_to_compare_is_no_success(live: Live, tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "b.db", SystemClock()):
        pass
    with pytest.raises(DataError, match="no minute has arrived in this database"):
        screener.drift(tmp_path / "b.db")
    path = await live.run()
    for start, end in ((None, minute(30)), (minute(500), None)):
        with pytest.raises(DataError, match="no minute that was judged is kept") as told:
            drift(path, start=start, end=end)
        assert "from 2026-01-05T01:00:00Z to 2026-01-05T06:40" in str(told.value)
    sql(path, "ALTER TABLE tracking DROP COLUMN judged_from")
    with pytest.raises(DataError, match="no column judged_from of tracking") as told:
        drift(path)
    assert "start screenerd once" in str(told.value)
    sql(path, "DROP TABLE tracking")
    with pytest.raises(DataError, match="it has no table tracking"):
        drift(path)


async def test_indicators_are_compared_as_far_as_their_bars_are_kept(live: Live) -> None:
    live.rules = screener.RuleSet.parse(
        '[[rule]]\nname = "hot"\ntimeframe = "5m"\nwhen = "rsi_5m > 55"\n'
    )
    path = await live.run()
    assert drift(path, live.rules).differences == ()
    last = "(SELECT id FROM alert_history ORDER BY triggered_at DESC LIMIT 1)"
    change = "UPDATE alert_history SET metadata = json_set(metadata, '$.evidence.rsi_5m', 77.0)"
    sql(path, f"{change} WHERE id = {last}")
    assert causes(drift(path, live.rules).differences) == {"outside": 1}
    for symbol in SYMBOLS:
        bar = ("binance", "5m", symbol, START - 5 * MINUTE_MS, 100.0)
        sql(path, "INSERT INTO bars VALUES (?, ?, ?, ?, ?)", *bar)
    faults = [one for one in drift(path, live.rules).faults if one.what == "other values"]
    assert "rsi_5m was 77.0" in faults[-1].detail
