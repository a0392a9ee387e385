"""`screener.preview`: its counts against plain ones, its readings of candles, its words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import screener
from oracle import preview as plain
from oracle.preview import Known, Told
from screener.history import Store
from screener.preview import counts
from screener.preview.judged import Judge

MINUTE = 60_000
DAY = 1440 * MINUTE
START = 1_767_571_200_000  # of the made-up market
SET = screener.RuleSet.parse(
    "".join(
        f'[[rule]]\nname = "{name}"\ntimeframe = "5m"\ndirection = "{way}"\nwhen = "{when}"\n'
        for name, way, when in (
            ("zebra", "up", "change_5m >= 1"),
            ("ape", "up", "change_5m >= 2"),
            ("cat", "down", "change_5m <= -1"),
        )
    )
)
KNOWN = [Known(rule.name, rule.direction) for rule in SET]
FUTURES = [Known(rule.name, rule.direction) for rule in screener.RuleSet.load("futures")]


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return screener.demo_market()


def told(frame: pl.DataFrame) -> list[Told]:
    return [Told(*row) for row in frame.select("symbol", "rule", "triggered_at").iter_rows()]


def as_frame(alerts: list[Told]) -> pl.DataFrame:
    schema = {"symbol": pl.String, "rule": pl.String, "triggered_at": pl.Int64}
    return pl.DataFrame(alerts, schema=schema, orient="row")


def alert_lists(names: list[str]) -> st.SearchStrategy[list[Told]]:
    """Crowded: few symbols, few minutes, so that all that can meet does."""
    alert = st.builds(
        Told,
        st.sampled_from(["AUSDT", "B", "月饼USDT"]),
        st.sampled_from(names),
        (st.integers(1, 300) | st.integers(1, 9)).map(lambda minute: START + minute * MINUTE),
    )
    return st.lists(alert, max_size=40, unique=True)


# -- counts --------------------------------------------------------------------------------------


@given(
    alerts=alert_lists(SET.names),
    quiet=st.integers(1, 120).map(lambda minutes: minutes * MINUTE),
    storm=st.integers(1, 4),
)
def test_counts_are_those_made_one_by_one(alerts: list[Told], quiet: int, storm: int) -> None:
    frame = as_frame(alerts)
    judge = Judge(SET, "pending")
    first, last = START, START + 310 * MINUTE
    judge.of("ape").add("AUSDT", 1440, first, last)  # the three name the same metric
    storms = counts.find_storms(frame, SET, storm)
    rows = counts.by_rule(frame, SET, judge, storms, quiet)
    assert rows["rule"].to_list() == SET.names
    for row in rows.iter_rows(named=True):
        expected = plain.rule_row(
            row["rule"], alerts, KNOWN, quiet=quiet, storm=storm, first=first, last=last
        )
        found = {name: row[name] for name in expected}
        assert found.pop("told_already") == pytest.approx(expected.pop("told_already"))
        assert found == expected
        assert row["per_symbol_day"] == row["alerts"]
    assert counts.count_moves(frame, SET, quiet) == len(plain.new_moves(alerts, KNOWN, quiet))
    together = storms.filter(pl.col("rule").is_null()).drop("rule")
    assert together.rows() == plain.storms(alerts, storm)
    by_hour = counts.by_hour(frame, SET)
    for name in SET.names:
        assert by_hour.filter(rule=name)["alerts"].to_list() == plain.hours(name, alerts)
        own = [alert for alert in alerts if alert.rule == name]
        assert storms.filter(rule=name).drop("rule").rows() == plain.storms(own, storm)


@given(alerts=alert_lists(SET.names), others=alert_lists(["bull_whale", "flat_8h"]))
def test_overlaps_are_those_found_pair_by_pair(alerts: list[Told], others: list[Told]) -> None:
    against = screener.RuleSet.load("classic")
    rows = counts.overlaps(as_frame(alerts), SET, as_frame(others), against)
    names = [(other, "set") for other in SET.names] + [
        (other, "against") for other in against.names
    ]
    pairs = [(name, *other) for name in SET.names for other in names if name != other[0]]
    assert rows.select("rule", "other", "of").rows() == pairs
    for name, other, _, count, near, share in rows.iter_rows():
        mine = [alert for alert in alerts if alert.rule == name]
        theirs = [alert for alert in [*alerts, *others] if alert.rule == other]
        assert (count, near) == (len(mine), plain.near(mine, theirs))
        assert share == (near / count if count else None)


@pytest.mark.parametrize("start", [None, START + DAY])
def test_the_made_up_market(market: pl.DataFrame, start: int | None) -> None:
    found = screener.preview("futures", market, floors=True, start=start)
    replayed = screener.replay(market, floors=True, start=start).alerts
    assert found.alerts.equals(replayed)
    alerts = told(replayed)
    assert found.moves == len(plain.new_moves(alerts, FUTURES, 60 * MINUTE)) == 10
    assert found.rules["alerts"].sum() == len(alerts) == found.hours["alerts"].sum()
    news = (found.rules["alerts"] * (1 - found.rules["told_already"])).sum()
    assert news == pytest.approx(found.moves)
    assert (found.start, found.end) == (start or START, START + 2 * DAY)
    assert (found.symbols, found.missing, found.storm) == (12, 0, 3)
    assert found.cold == (12 if start is None else 0)
    assert ("12 of 12 symbols lack the day before the start" in str(found)) == (start is None)
    day = found.rules.filter(rule="big_bull_60m").row(0, named=True)
    assert day["judged"] == (12 * 1441 if start is None else 12 * 1440)
    assert day["unjudged"] == (12 * 1439 if start is None else 0)
    expected = plain.rule_row(
        "big_bull_60m", alerts, FUTURES, quiet=60 * MINUTE, storm=3,
        first=START + 1439 * MINUTE if start is None else START + DAY, last=START + 2 * DAY,
    )  # fmt: skip
    assert {name: day[name] for name in expected} == expected


# -- what could be judged ------------------------------------------------------------------------


def walk(minutes: list[int], symbol: str = "AUSDT") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(minutes),
            "open_time": [START + minute * MINUTE for minute in minutes],
            **dict.fromkeys(("open", "high", "low", "close"), [100.0] * len(minutes)),
            **dict.fromkeys(("volume", "quote_volume"), [1.0] * len(minutes)),
        },
        schema_overrides={"symbol": pl.String, "open_time": pl.Int64},
    )


@given(
    minutes=st.sets(st.integers(0, 60), min_size=1),
    start=st.integers(0, 60),
    end=st.integers(1, 70),
    wait=st.booleans(),
)
def test_minutes_that_could_be_judged(minutes: set[int], start: int, end: int, wait: bool) -> None:
    always = '[[rule]]\nname = "{}"\ntimeframe = "5m"\ncooldown = "0m"\nwhen = "{}"\n'
    conditions = {
        "five": "change_5m < 1",
        "ten": "default(change_20m, 0) < 1 and quote_volume_10m > 0",
        "never": "market_cap > 1",
    }
    rules = screener.RuleSet.parse("".join(always.format(*rule) for rule in conditions.items()))
    if end <= start:
        end = start + 1
    found = screener.preview(
        rules, walk(sorted(minutes)), gaps="pending" if wait else "absent", others=None,
        start=START + start * MINUTE, end=START + end * MINUTE,
    )  # fmt: skip
    held = [minute for minute in minutes if start <= minute < end]
    assert (found.candles, found.missing) == (len(held), end - start - len(held))
    five, ten = (plain.judged(sorted(minutes), size, start, wait=wait) for size in (5, 10))
    if wait:
        # Of the twenty minutes it need not have, none that there were may be missing.
        ten = [m for m in ten if set(range(max(min(minutes), m - 19), m)) <= minutes]
    for name, expected in (("five", five), ("ten", ten)):
        row = found.rules.filter(rule=name).row(0, named=True)
        assert row["judged"] == row["alerts"] == len([m for m in expected if m < end])
        assert row["judged"] + row["unjudged"] == len(held)
    assert found.rules.filter(rule="never")["judged"].item() == 0
    assert ("Never judged" in str(found)) == bool(held)


# -- where candles come from ---------------------------------------------------------------------


def same(one: screener.Preview, other: screener.Preview) -> None:
    assert one.to_dict() == other.to_dict()
    assert one.alerts.equals(other.alerts)


def test_symbol_by_symbol_is_all_at_once(market: pl.DataFrame, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "floors": True,
        "start": START + DAY,
        "end": START + DAY + 17 * DAY // 24,
    }
    whole = screener.preview("futures", market, others="classic", **options)
    assert whole.alerts.height > 50
    read: list[str] = []

    def frames() -> Iterator[pl.DataFrame]:
        for part in market.sample(fraction=1, shuffle=True, seed=1).partition_by("symbol"):
            read.append(part["symbol"][0])
            yield part

    looked: list[str] = []

    def on_symbol(name: str) -> None:
        assert name == read[-1]
        looked.append(name)

    parts = screener.preview("futures", frames(), others="classic", on_symbol=on_symbol, **options)
    same(parts, whole)
    assert looked == read
    store = Store(tmp_path)
    store.merge(market)
    same(screener.preview("futures", store, others="classic", **options), whole)
    same(screener.preview("futures", market.lazy(), others="classic", **options), whole)
    timed = market.with_columns(pl.from_epoch("open_time", time_unit="ms"))
    same(screener.preview("futures", timed, others="classic", **options), whole)


VARIED = """
[[rule]]
name = "lagged"
timeframe = "5m"
cooldown = "0m"
when = "change_5m > change_15m[1h] and default(rsi_5m, 50) > 0"

[[rule.override]]
symbols = ["MARMOT*"]
when = "change_8h > 0"

[[rule.override]]
symbols = ["TURNIPUSDT"]
enabled = false

[[rule]]
name = "off"
timeframe = "5m"
enabled = false
when = "change_5m > 0"
"""
AMONG = """
[[rule]]
name = "leads"
timeframe = "5m"
when = "rank(change_1h) == 1 and breadth(change_5m[2h] > 0) > 0.2"
"""


def test_what_metrics_were_overrides_and_rules_that_are_off(market: pl.DataFrame) -> None:
    """A minute is judged once its windows are full, which is known by their lengths here."""
    found = screener.preview(screener.RuleSet.parse(VARIED), market, others=None)
    symbols, minutes = market["symbol"].n_unique(), market["open_time"].n_unique()
    lagged, off = found.rules.iter_rows(named=True)
    # 15 minutes end an hour ago; 8 hours end now. A window of n minutes is full at the nth.
    expected = (symbols - 2) * (minutes - 74) + (minutes - 479)
    assert (lagged["judged"], lagged["judged_symbols"]) == (expected, symbols - 1)
    assert lagged["unjudged"] == (symbols - 1) * minutes - expected
    assert (off["alerts"], off["judged"], off["unjudged"]) == (0, 0, 0)
    assert "TURNIPUSDT" not in found.alerts["symbol"].to_list()
    rules = screener.RuleSet.parse(VARIED.replace("change_8h > 0", "change_8h > 1"))
    compared = screener.preview(screener.RuleSet.parse(VARIED), market, others=rules).overlap
    assert ("lagged", "lagged") in list(compared.select("rule", "other").iter_rows())


def test_what_is_asked_of_all_symbols_takes_all_frames_at_once(market: pl.DataFrame) -> None:
    rules = screener.RuleSet.parse(AMONG)
    whole = screener.preview(rules, market)
    parts = screener.preview(rules, iter(market.partition_by("symbol")))
    assert whole.alerts.equals(screener.replay(market, rules).alerts)
    assert whole.alerts.height > 20
    assert whole.alerts.equals(parts.alerts)
    assert whole.rules.equals(parts.rules)
    symbols, minutes = market["symbol"].n_unique(), market["open_time"].n_unique()
    assert whole.rules["judged"].to_list() == [symbols * (minutes - 124)]
    with pytest.raises(screener.DataError, match="in two of the frames"):
        screener.preview(rules, [market, market])


def test_a_rule_that_is_the_same_is_not_compared_with_itself(market: pl.DataFrame) -> None:
    alone = screener.preview("futures", market.filter(symbol="TEACUPUSDT"))
    assert set(alone.overlap["of"]) == {"set"}
    assert alone.overlap.height == 90
    other = screener.preview("futures", market.filter(symbol="TEACUPUSDT"), others=SET)
    assert other.overlap.filter(of="against").height == 30


def test_nothing_to_tell(market: pl.DataFrame, tmp_path: Path) -> None:
    one = market.filter(symbol="月饼USDT")
    for candles in (market.clear(), [], [market.clear()]):
        found = screener.preview(SET, candles)
        assert (found.start, found.candles, found.alerts.height) == (None, 0, 0)
        assert found.rules["alerts"].to_list() == [0, 0, 0]
        assert "No candle lies in the range." in str(found)
        json.dumps(found.to_dict(), allow_nan=False)
        assert found.alerts.columns == screener.replay(one, SET).alerts.columns
    with pytest.raises(screener.DataError, match="nothing is stored here"):
        screener.preview(SET, Store(tmp_path))
    later = screener.preview(SET, one, start="2027-01-01", end="2027-01-02")
    assert (later.candles, later.missing) == (0, 1440)
    assert "Missing of the range: 1,440 minutes; screener check tells which." in str(later)
    slow = screener.RuleSet.parse(
        '[[rule]]\nname = "slow"\ntimeframe = "5m"\nwhen = "rsi_4h > 1"\n'
    )
    waiting = screener.preview(slow, one, start=START + DAY)
    assert waiting.rules["unjudged"].item() > 0
    assert "an indicator is not ready within a day" in str(waiting)
    calm = screener.preview(SET, walk(list(range(20))))
    assert calm.rules["longest_silence"].to_list() == [16, 16, 16]
    assert calm.rules["told_already"].to_list() == [None, None, None]
    assert "0 alerts of 0 moves" in str(calm)


# -- words ---------------------------------------------------------------------------------------


def test_names_are_no_markup(market: pl.DataFrame) -> None:
    evil = market.filter(symbol="TEACUPUSDT").with_columns(symbol=pl.lit("<script>月&"))
    found = screener.preview("futures", evil)
    page = found._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;月&amp;" in page
    assert not re.search(r"https?:|src=|href=", page)
    assert "<script>月& " in str(found)
    assert repr(found) == f"<Preview of 10 rules: {found.alerts.height} alerts>"


def test_storms_are_told(market: pl.DataFrame) -> None:
    found = screener.preview("classic", market, others=None, start=START + DAY, storm=11)
    count = found.storms.filter(pl.col("rule").is_null()).height
    assert count > 10
    assert f"{count:,} storms of all rules together, the 10 largest are shown." in str(found)
    assert found.storms["symbols"].min() == 11


# -- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": "2026-01-07", "end": "2026-01-06"}, "the range is empty"),
        ({"start": "soon"}, "'soon' is no time"),
        ({"start": 5}, "no time of the years 2009 to 2100"),
        ({"quiet": "an hour"}, "quiet='an hour' is no length of time"),
        ({"quiet": "0m"}, "is no length of time"),
        ({"quiet": 60}, "quiet=60 is no length of time"),
        ({"storm": 0}, "storm=0 is no number of symbols"),
        ({"storm": True}, "storm=True is no number of symbols"),
    ],
)
def test_options_that_cannot_be(market: pl.DataFrame, options: dict[str, Any], words: str) -> None:
    with pytest.raises(screener.DataError, match=re.escape(words)):
        screener.preview(SET, market, **options)


def test_candles_that_cannot_be(market: pl.DataFrame) -> None:
    for candles, words in (
        ("candles.csv", "these candles are a str"),
        (5, "these candles are a int"),
        ([market, None], "among the frames there is a NoneType"),
        ([market.head(12), market.head(1)], "'NARWHALUSDT' is in two of the frames"),
        (market.drop("symbol"), "no such column"),
    ):
        with pytest.raises(screener.DataError, match=words):
            screener.preview(SET, candles)  # type: ignore[arg-type]
    broken = market.with_columns(
        high=pl.when(pl.int_range(pl.len()) == 777).then(0).otherwise("high")
    )
    with pytest.raises(screener.CandleError) as refused:
        screener.preview(SET, broken, end="2026-01-06")
    assert refused.value.row == 777
    with pytest.raises(screener.RuleError):
        screener.preview("futurs", market)
    with pytest.raises(screener.RuleError):
        screener.preview(SET, market, others="futurs")
