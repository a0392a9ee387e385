"""Rules of every manner against an oracle in plain Python, and the same however candles arrive."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import screener
from oracle.manner import MINUTE, Condition, Manner, Minute, NotReadyError, View, alerts
from profile_scale import examples

START = 1_738_368_000_000  # 2025-02-01, midnight
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT")


def rank(view: View, ask: Any) -> float:
    """1 for the largest."""
    own = view.own(ask)
    return 1 + sum(other > own for other in view.of_all(ask).values())


def pct_rank(view: View, ask: Any) -> float:
    """Part of the others that are smaller."""
    own, told = view.own(ask), view.of_all(ask)
    return sum(other < own for other in told.values()) / (len(told) - 1)


def change(view: View) -> float:
    """Of five minutes."""
    return view.now("change_5m")


CONDITIONS: dict[str, Condition] = {
    "change_5m >= 0.3": lambda v: v.now("change_5m") >= 0.3,
    "change_5m >= 0.3 and change_5m[3m] < 0.3": (
        lambda v: (v.now("change_5m") >= 0.3) & (v.ago("change_5m", 3) < 0.3)
    ),
    "abs(change_5m - change_5m[15m]) > 0.5": (
        lambda v: abs(v.now("change_5m") - v.ago("change_5m", 15)) > 0.5
    ),
    "volume_5m > 1.1 * volume_5m[10m]": (
        lambda v: v.now("volume_5m") > 1.1 * v.ago("volume_5m", 10)
    ),
}
AMONG: dict[str, Condition] = {
    "rank(change_5m) <= 2 and change_5m > 0": (
        lambda v: (rank(v, change) <= 2) & (v.now("change_5m") > 0)
    ),
    "pct_rank(abs(change_5m)) >= 0.75": (lambda v: pct_rank(v, lambda o: abs(change(o))) >= 0.75),
    "breadth(change_5m > 0) > 0.6 and change_5m < 0": (
        lambda v: (
            (
                sum(v.of_all(lambda o: change(o) > 0).values())
                / len(v.of_all(lambda o: change(o) > 0))
                > 0.6
            )
            & (v.now("change_5m") < 0)
        )
    ),
    'vs("AUSDT", change_5m) > 0.4': lambda v: change(v) - named(v, "AUSDT") > 0.4,
    "rank(change_5m - change_5m[5m]) == 1": (
        lambda v: rank(v, lambda o: change(o) - o.ago("change_5m", 5)) == 1
    ),
}
CLEAR: dict[str, Condition] = {
    "change_5m < 0": lambda v: v.now("change_5m") < 0,
    "change_5m < 0.2": lambda v: v.now("change_5m") < 0.2,
}


def named(view: View, symbol: str) -> float:
    """What one symbol has."""
    told = view.of_all(change)
    if symbol not in told:
        raise NotReadyError(symbol)
    return told[symbol]


@dataclass(frozen=True)
class Case:
    """A rule in both languages."""

    toml: str
    manner: Manner


@st.composite
def cases(draw: st.DrawFn, *, among: bool) -> Case:
    """Any rule of the conditions above, told in any manner."""
    text, when = draw(st.sampled_from(sorted((AMONG if among else CONDITIONS).items(), key=str)))
    fields: list[str] = [f"when = {text!r}"]
    settings: dict[str, Any] = {"when": when, "among": among}
    cooldown = draw(st.sampled_from([0, 1, 5, 17]))
    fields.append(f'cooldown = "{cooldown}m"')
    settings["cooldown"] = cooldown * MINUTE
    if draw(st.booleans()):
        hold = draw(st.integers(1, 4))
        fields.append(f'hold = "{hold}m"')
        settings["hold"] = hold * MINUTE
    if draw(st.booleans()):
        fields.append('trigger = "edge"')
        settings["edge"] = True
        if draw(st.booleans()):
            clear, ends = draw(st.sampled_from(sorted(CLEAR.items(), key=str)))
            fields.append(f'clear_when = "{clear}"')
            settings["clear_when"] = ends
        if draw(st.booleans()):
            repeat = draw(st.integers(2, 30))
            fields.append(f'repeat = "{repeat}m"')
            settings["repeat"] = repeat * MINUTE
    if draw(st.booleans()):
        most = draw(st.integers(1, 3))
        fields.append(f"max_per_hour = {most}")
        settings["max_per_hour"] = most
    if draw(st.booleans()):
        fields.append('quiet_hours = "23:30-01:00"')
        settings["quiet"] = (23 * 60 + 30, 59)
    if draw(st.booleans()):
        fields.append("expires = 2025-02-01T02:30:00Z")
        settings["expires"] = START + 150 * MINUTE
    head = ['[[rule]]\nname = "r"\ntimeframe = "5m"', *fields]
    return Case("\n".join(head), Manner(**settings))


def market(seed: int, minutes: int, *, holes: bool, delays: bool) -> pl.DataFrame:
    """Candles of a few symbols, some missing, some known seconds after their end."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for symbol in SYMBOLS:
        price = 100.0
        first = rng.randrange(3)
        for minute in range(first, minutes):
            step = rng.gauss(0, 0.12) + (0.25 if rng.random() < 0.02 else 0)
            opened, price = price, price * (1 + step / 100)
            if holes and rng.random() < 0.02:
                continue
            delay = rng.choice([20, 300, 4_999, 5_000, 7_500]) if delays else 0
            volume = rng.uniform(1, 20)
            rows.append(
                {
                    "symbol": symbol,
                    "open_time": START + minute * MINUTE,
                    "open": opened,
                    "high": max(opened, price) * 1.0002,
                    "low": min(opened, price) * 0.9998,
                    "close": price,
                    "volume": volume,
                    "quote_volume": volume * price,
                    "event_time": START + (minute + 1) * MINUTE + delay,
                }
            )
    rng.shuffle(rows)
    return pl.DataFrame(rows).sort("event_time", maintain_order=True)


def minutes_of(frame: pl.DataFrame) -> dict[str, list[Minute]]:
    """Every closed minute with its metrics, as the oracle takes them."""
    found: dict[str, list[Minute]] = {}
    for symbol in SYMBOLS:
        own = frame.filter(pl.col("symbol") == symbol)
        known = dict(zip(own["open_time"], own["event_time"], strict=True))
        metrics = screener.windows(own, ["change_5m", "volume_5m"])
        settled = 0
        its: list[Minute] = []
        for row in metrics.iter_rows(named=True):
            if row["open_time"] not in known:
                settled = 0
                continue
            settled = settled + 1 if its else 1_000_000
            its.append(Minute(row["open_time"], known[row["open_time"]], row, settled))
        found[symbol] = its
    return found


def told(frame: pl.DataFrame) -> set[tuple[str, int]]:
    """What a frame of alerts says."""
    return set(zip(frame["symbol"], frame["triggered_at"], strict=True))


@given(case=cases(among=False), seed=st.integers(0, 1 << 30), holes=st.booleans())
@examples(60)
def test_a_rule_of_any_manner_is_told_as_the_oracle_tells_it(
    case: Case, seed: int, *, holes: bool
) -> None:
    frame = market(seed, 240, holes=holes, delays=False)
    replayed = screener.replay(frame, screener.RuleSet.parse(case.toml))
    assert told(replayed.alerts) == alerts(case.manner, minutes_of(frame)), case.toml


@given(
    case=cases(among=True), seed=st.integers(0, 1 << 30), holes=st.booleans(), delays=st.booleans()
)
@examples(60)
def test_a_rule_about_all_symbols_is_told_as_the_oracle_tells_it(
    case: Case, seed: int, *, holes: bool, delays: bool
) -> None:
    frame = market(seed, 240, holes=holes, delays=delays)
    replayed = screener.replay(frame, screener.RuleSet.parse(case.toml))
    assert told(replayed.alerts) == alerts(case.manner, minutes_of(frame)), case.toml


@given(
    first=cases(among=False),
    second=cases(among=True),
    seed=st.integers(0, 1 << 30),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=6),
)
@examples(40)
def test_one_by_one_in_batches_and_saved_between_give_what_a_replay_gives(
    first: Case, second: Case, seed: int, sizes: Sequence[int]
) -> None:
    text = first.toml + "\n" + second.toml.replace('name = "r"', 'name = "s"')
    rules = screener.RuleSet.parse(text)
    frame = market(seed, 150, holes=True, delays=True)
    replayed = _rows(screener.replay(frame, rules).alerts)
    one, many = screener.Engine(rules), screener.Engine(rules)
    single = [alert for row in frame.iter_rows(named=True) for alert in one.update(row)]
    batched: list[screener.Alert] = []
    at = turn = 0
    while at < len(frame):
        size = sizes[turn % len(sizes)]
        batched += many.update_many(frame[at : at + size])
        many = screener.Engine.load(many.save())
        at, turn = at + size, turn + 1
    end = int(frame["event_time"].to_list()[-1]) + MINUTE
    single += one.advance(end)
    batched += many.advance(end)
    assert sorted(_told(single)) == sorted(_told(batched))
    assert sorted(replayed) == sorted(_told(single))


def _rows(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    kept = ("id", "triggered_at", "symbol", "rule", "price")
    return list(frame.select(kept).iter_rows())


def _told(found: Sequence[screener.Alert]) -> list[tuple[Any, ...]]:
    return [(a.id, a.triggered_at, a.symbol, a.rule, a.price) for a in found]


@given(
    case=cases(among=True), seed=st.integers(0, 1 << 30), order=st.randoms(use_true_random=False)
)
@examples(40)
def test_the_order_of_symbols_in_a_minute_changes_nothing(
    case: Case, seed: int, order: random.Random
) -> None:
    rules = screener.RuleSet.parse(case.toml)
    frame = market(seed, 120, holes=True, delays=False)
    rows = list(frame.iter_rows(named=True))
    order.shuffle(rows)
    rows.sort(key=lambda row: row["event_time"])
    by_frame, by_row = screener.Engine(rules), screener.Engine(rules)
    end = rows[-1]["event_time"] + MINUTE
    first = by_frame.update_many(frame) + by_frame.advance(end)
    second = [alert for row in rows for alert in by_row.update(row)] + by_row.advance(end)
    assert sorted(_told(first)) == sorted(_told(second))


def test_members_and_absent_are_told() -> None:
    rules = screener.RuleSet.parse(
        '[[rule]]\nname = "r"\ntimeframe = "5m"\nwhen = "rank(change_5m) >= 1"\ncooldown = "0m"'
    )
    frame = market(3, 30, holes=False, delays=False)
    gone = frame.filter((pl.col("symbol") != "CUSDT") | (pl.col("open_time") < START + 20 * MINUTE))
    engine = screener.Engine(rules)
    found = engine.update_many(gone)
    found += engine.advance(START + 31 * MINUTE)
    before = [alert for alert in found if alert.triggered_at == START + 20 * MINUTE]
    after = [alert for alert in found if alert.triggered_at == START + 25 * MINUTE]
    assert {alert.evidence["members"] for alert in before} == {5}
    assert {alert.evidence["rank(change_5m)"] for alert in before} == {1, 2, 3, 4, 5}
    assert {alert.evidence["members"] for alert in after} == {4}
    assert all(alert.absent == ["CUSDT"] for alert in after)
    evidence = screener.replay(gone, rules).alerts["evidence"].struct.unnest()
    assert set(evidence.columns) == {"rank(change_5m)", "members", "absent"}
    assert ["CUSDT"] in evidence["absent"].to_list()


def test_a_symbol_of_its_own() -> None:
    text = """
[groups]
majors = ["AUSDT", "B*"]
[[rule]]
name = "r"
timeframe = "5m"
when = "change_5m > -100"
cooldown = "0m"
[[rule.override]]
groups = ["majors"]
when = "change_5m > 100"
[[rule.override]]
symbols = ["BUSDT"]
enabled = false
[[rule.override]]
symbols = ["CUSDT"]
max_per_hour = 2
"""
    rules = screener.RuleSet.parse(text)
    assert screener.RuleSet.parse(rules.to_toml()) == rules
    frame = market(1, 60, holes=False, delays=False)
    counts = dict(screener.replay(frame, rules).alerts["symbol"].value_counts().iter_rows())
    assert set(counts) == {"CUSDT", "DUSDT", "EUSDT"}
    assert counts["CUSDT"] == 2
    assert counts["DUSDT"] > 50
    versions = {s: rules["r"].for_symbol(s).version for s in SYMBOLS}
    assert versions["DUSDT"] == versions["EUSDT"] == versions["BUSDT"]
    assert len({versions["AUSDT"], versions["CUSDT"], versions["DUSDT"]}) == 3
    engine = screener.Engine(rules)
    engine.update_many(frame)
    assert "r" in rules.evaluate(engine.metrics("DUSDT"), symbol="DUSDT")
    assert "r" not in rules.evaluate(engine.metrics("AUSDT"), symbol="AUSDT")
    assert rules.explain("r", engine.metrics("AUSDT"), symbol="AUSDT").clauses[0].right == 100


def test_rules_that_change_take_their_past_along() -> None:
    frame = market(5, 120, holes=False, delays=False)
    head, tail = frame[:500], frame[500:]
    lagged = screener.RuleSet.parse(
        '[[rule]]\nname = "r"\ntimeframe = "5m"\ncooldown = "0m"\n'
        'when = "change_5m - change_5m[15m] > 0.2"'
    )
    from_the_start = screener.Engine(lagged)
    from_the_start.update_many(head)
    changed = screener.Engine("futures")
    changed.update_many(head)
    changed.set_rules(lagged)
    assert (
        changed.metrics("AUSDT")["change_5m[15m]"]
        == (from_the_start.metrics("AUSDT")["change_5m[15m]"])
    )
    fresh = [alert.id for alert in changed.update_many(tail)]
    assert fresh
    assert fresh == [alert.id for alert in from_the_start.update_many(tail)]


def test_warming_up_tells_nothing_that_began_before() -> None:
    rules = screener.RuleSet.parse(
        '[[rule]]\nname = "r"\ntimeframe = "5m"\nwhen = "change_5m > -100"\ntrigger = "edge"'
    )
    frame = market(7, 60, holes=False, delays=False)
    assert len(screener.replay(frame, rules).alerts) == len(SYMBOLS)
    later = screener.replay(frame, rules, start=START + 30 * MINUTE)
    assert later.alerts.is_empty(), "it holds since long before"


@pytest.mark.parametrize(
    ("line", "reason", "suggestion"),
    [
        ('hold = "3 min"', "no duration", "3m"),
        ('hold = "2d"', "at most 1 days", "1d"),
        ('trigger = "edgy"', "edgy", "edge"),
        ('trigger = "cooldown"\nclear_when = "change_5m < 0"', "told once", "edge"),
        ("max_per_hour = 0", "alerts an hour", "1"),
        ('expires = "tomorrow"', "no moment", None),
        ('quiet_hours = "22-7"', "no hours", None),
        ('cooldwn = "5m"', "cooldwn", "cooldown"),
        ('clear_when = "chnge_5m < 0"', "no metric", "change_5m"),
        ('[[rule.override]]\nsymbols = []\ncooldown = "5m"', "no symbol", None),
        ('[[rule.override]]\ngroups = ["majrs"]', "no group", "majors"),
        ('[[rule.override]]\nsymbols = ["A B"]', "no symbol", None),
        ('[[rule.override]]\nsymbols = ["A"]\nname = "x"', "name", None),
    ],
)
def test_each_error_says_where_and_what_instead(
    line: str, reason: str, suggestion: str | None
) -> None:
    text = (
        '[groups]\nmajors = ["BTCUSDT"]\n[[rule]]\nname = "r"\ntimeframe = "5m"\n'
        f'when = "change_5m > 1"\n{line}\n'
    )
    with pytest.raises(screener.RuleError) as caught:
        screener.RuleSet.parse(text)
    error = caught.value
    assert reason in str(error)
    assert error.line is not None
    assert 7 <= error.line <= 7 + line.count("\n")
    assert error.column is not None
    assert error.suggestion == suggestion


@pytest.mark.parametrize(
    ("when", "column", "reason", "suggestion"),
    [
        ("change_5m[15min] > 1", 11, "time ago", "15m"),
        ("change_5m[0m] > 1", 11, "time ago", "5m"),
        ("rank(1) > 1", 6, "every symbol", None),
        ("rank(rank(change_5m)) > 1", 1, "all symbols", None),
        ("rank(change_5m > 1) > 1", 6, "a number is needed", None),
        ("breadth(change_5m) > 1", 9, "a condition is needed", None),
        ("vs(BTCUSDT, change_5m) > 1", 4, "a symbol in quotes", '"BTCUSDT"'),
        ('vs("BTCUSDT" change_5m) > 1', 14, "number to compare", None),
        ('vs("BTCUSDT", chnge_5m) > 1', 15, "no metric", "change_5m"),
        ('vs("BTCUSDT, change_5m) > 1', 28, "text's end", None),
        ("rnk(change_5m) > 1", 1, "no function", "rank"),
    ],
)
def test_errors_in_what_is_new_in_expressions(
    when: str, column: int, reason: str, suggestion: str | None
) -> None:
    for text in (f"'{when}'", '"' + when.replace('"', '\\"') + '"'):
        rule = f'[[rule]]\nname = "r"\ntimeframe = "5m"\nwhen = {text}\n'
        with pytest.raises(screener.RuleError) as caught:
            screener.RuleSet.parse(rule)
        error = caught.value
        assert reason in str(error), str(error)
        escapes = text[1:].replace('\\"', "\0")[: column - 1].count("\0")
        assert (error.line, error.column) == (4, 8 + column + escapes)
        assert error.suggestion == suggestion


def test_what_is_written_reads_back() -> None:
    text = """
[[rule]]
name = "all"
timeframe = "15m"
when = 'vs("BTCUSDT", change_1h) > 1 and rank(volume_5m[1h]) <= 3 and default(rsi_1h[15m], 0) < 9'
floor = "pct_rank(quote_volume_1d) > 0.5"
hold = "90s"
trigger = "edge"
clear_when = "breadth(change_5m > 0 or change_15m > 1) < 0.5"
repeat = "1h"
expires = "2026-12-31"
quiet_hours = ["22:00-07:00+02:00", "12:00-13:00"]
max_per_hour = 4
enabled = false
shadow = true
"""
    rules = screener.RuleSet.parse(text, floors=True)
    again = screener.RuleSet.parse(rules.to_toml(), floors=True)
    assert again == rules
    rule = again["all"]
    assert rule.expires == 1_798_675_200_000
    assert (rule.hold, rule.repeat, rule.max_per_hour) == (90_000, 3_600_000, 4)
    assert rule.quiet_hours == ["22:00-07:00+02:00", "12:00-13:00"]
    assert not rule.enabled
    assert rule.shadow
    assert rule.among_all
    assert rule.version == rules["all"].version


def every_rule() -> screener.RuleSet:
    """A rule for each condition, told in one manner or another."""
    manners = ['trigger = "edge"', 'hold = "2m"', "max_per_hour = 2", 'cooldown = "0m"']
    rules = [
        f'[[rule]]\nname = "r{number}"\ntimeframe = "5m"\nwhen = {when!r}\n{manners[number % 4]}\n'
        for number, when in enumerate([*CONDITIONS, *AMONG])
    ]
    return screener.RuleSet.parse("\n".join(rules))


@pytest.mark.parametrize("minute", range(1, 120))
def test_no_alert_knows_the_future(minute: int) -> None:
    rules, frame = every_rule(), market(11, 120, holes=True, delays=False)
    cut = START + minute * MINUTE
    worse = pl.when(pl.col("open_time") >= cut).then(1.1).otherwise(1.0)
    changed = frame.with_columns(pl.col("high", "close", "volume", "quote_volume") * worse)
    before = pl.col("triggered_at") <= cut
    whole = screener.replay(frame, rules).alerts.filter(before)
    short = screener.replay(frame.filter(pl.col("open_time") < cut), rules).alerts
    assert whole.equals(short)
    assert whole.equals(screener.replay(changed, rules).alerts.filter(before))
    assert minute < 20 or not whole.is_empty()


@pytest.mark.parametrize(
    ("base", "own"),
    [
        ("enabled = false", "enabled = true"),
        ("shadow = true", "shadow = false"),
        ('hold = "5m"', 'hold = "0m"'),
        ('trigger = "edge"', 'trigger = "cooldown"'),
        ('quiet_hours = "22:00-06:00"', "quiet_hours = []"),
        ('severity = "high"', 'severity = "medium"'),
        ('cooldown = "9m"', 'cooldown = "5m"'),
    ],
)
def test_an_override_that_says_what_is_usual_is_written_too(base: str, own: str) -> None:
    rules = screener.RuleSet.parse(
        f'[[rule]]\nname = "a"\ntimeframe = "5m"\nwhen = "change_5m > 1"\n{base}\n'
        f'[[rule.override]]\nsymbols = ["BTC*"]\n{own}\n'
    )
    [rule] = rules
    assert rule.for_symbol("BTCUSDT") != rule.for_symbol("ETHUSDT")
    [again] = screener.RuleSet.parse(rules.to_toml())
    assert again == rule
    assert again.for_symbol("BTCUSDT") == rule.for_symbol("BTCUSDT")
