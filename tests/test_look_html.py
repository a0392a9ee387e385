"""Rules, alerts, explanations and replays in a notebook: whole, escaped, in the page's colours."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import polars as pl
import pytest

import screener
from screener.look import html

VOID = {"br"}
EVIL = "<script>alert('&amp;')</script>"


class Page(HTMLParser):
    """The tags, which must match, and the text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        """Read all of it."""
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens a tag."""
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Closes the last one, or it is not that one's."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keeps a text."""
        if "style" not in self.open and data.strip():
            self.cells.append(data)


def page(shown: object) -> Page:
    text: str = shown._repr_html_()  # type: ignore[attr-defined]
    read = Page(text)
    assert not read.tags & {"script", "img", "link", "iframe"}
    # Colours are those of the page, dark or light.
    assert not re.search(r"#[0-9a-f]{3}\b|rgb|background:(?!none)|[^-]color:(?!inherit)", text)
    return read


def rules() -> screener.RuleSet:
    title = EVIL.replace('"', '\\"')
    return screener.RuleSet.parse(
        f'''
        [[rule]]
        name = "jump"
        title = "{title}"
        timeframe = "5m"
        direction = "up"
        when = "change_5m >= 3 and quote_volume_5m > 1e6"
        floor = "quote_volume_1h > 5e6"
        cooldown = "90m"
        ''',
        floors=True,
    )


def test_a_rule_tells_all_of_it() -> None:
    (rule,) = rules()
    shown = page(rule)
    for text in (rule.name, rule.title, rule.when, rule.version, "▲ up", "90m", "5m"):
        assert text in shown.cells
    assert rule.floor in shown.cells
    assert rule.to_toml() in shown.cells


def test_rules_have_a_row_each() -> None:
    futures = screener.RuleSet.load("futures")
    shown = page(futures)
    for rule in futures:
        assert {rule.title, rule.name, rule.when} <= set(shown.cells)
    assert "10 rules, floors off" in shown.cells
    assert EVIL in page(rules()).cells


def test_a_rule_tells_in_what_manner_it_is_told() -> None:
    (rule,) = screener.RuleSet.parse(
        """
        [[rule]]
        name = "jump"
        timeframe = "5m"
        when = "change_5m >= 3"
        hold = "3m"
        trigger = "edge"
        clear_when = "change_5m < 1"
        repeat = "1h"
        quiet_hours = "22:00-07:00"
        max_per_hour = 4
        expires = "2030-01-01"
        shadow = true

        [[rule.override]]
        symbols = ["BTC*"]
        when = "change_5m >= 1"

        [[rule.override]]
        symbols = ["ETHUSDT"]
        enabled = false
        """
    )
    cells = page(rule).cells
    for name, text in (
        ("hold", "3m"),
        ("trigger", "edge"),
        ("clear when", "change_5m < 1"),
        ("repeat", "1h"),
        ("quiet hours", "22:00-07:00"),
        ("max per hour", "4"),
        ("expires", "2030-01-01 00:00 UTC"),
        ("shadow", "kept and scored, not delivered"),
        ("for BTC*", "change_5m >= 1"),
        ("for ETHUSDT", "off"),
    ):
        assert cells[cells.index(name) + 1] == text
    usual = page(screener.RuleSet.load("futures")["pioneer_bull"]).cells
    assert not {"hold", "trigger", "shadow", "enabled", "repeat"} & set(usual)


def test_an_alert_tells_what_it_was_raised_by() -> None:
    alert = screener.Engine().update_many(screener.demo_market())[0]
    shown = page(alert)
    assert {alert.symbol, alert.rule, alert.id, alert.state} <= set(shown.cells)
    assert set(alert.evidence) <= set(shown.cells)


def test_a_name_may_hold_anything() -> None:
    symbol = "<b>月饼&'\"</b>USDT"
    market = screener.demo_market().filter(symbol="1000CRUMBUSDT")
    strange = market.with_columns(symbol=pl.lit(symbol))
    raised = screener.Engine(exchange=EVIL).update_many(strange)
    assert symbol in page(raised[0]).cells
    replayed = screener.replay(strange)
    assert symbol in page(replayed).cells


def test_an_explanation_is_a_truth_table() -> None:
    metrics = {"change_5m": 3.5, "quote_volume_5m": 2e5}
    explained = rules().explain("jump", metrics)
    shown = page(explained)
    assert "does not hold" in shown.cells
    cells = shown.cells
    assert cells.index("✓ yes") < cells.index("✗ no") < cells.index("? not ready")
    for clause in explained.clauses:
        assert clause.text in cells
    assert {"3.5", "200,000", "1,000,000", ">=", ">"} <= set(cells)
    assert "not ready: quote_volume_1h" in cells


def test_a_replay_counts_and_shows_the_last() -> None:
    replayed = screener.replay(screener.demo_market())
    shown = page(replayed)
    total = replayed.alerts.height
    assert any(cell.startswith(f"{total:,} alerts over 34,560 candles") for cell in shown.cells)
    for rule, count in replayed.alerts["rule"].value_counts().iter_rows():
        assert shown.cells[shown.cells.index(rule) + 1] == f"{count:,}"
    nothing = screener.replay(screener.demo_market(symbols=1, days=1))
    assert "0 alerts over 1,440 candles" in page(nothing).cells


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (3.25, "3.25"),
        (-0.0217412345, "-0.02174"),
        (1_234_567.891, "1,234,568"),
        (1.5e-7, "1.5e-07"),
        (12, "12"),
    ],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert html._number(value) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "0s"),
        (30_000, "30s"),
        (300_000, "5m"),
        (5_400_000, "90m"),
        (7_200_000, "2h"),
        (86_400_000, "1d"),
    ],
)
def test_lengths_are_short(length: int, text: str) -> None:
    assert html._length(length) == text


def test_an_alert_of_an_update_tells_its_seconds() -> None:
    assert html._moment(1_738_368_000_000) == "2025-02-01 00:00"
    assert html._moment(1_738_368_012_034) == "2025-02-01 00:00:12.034"
