"""The columns, their widths and colours; the order of the rows, and which are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.top.columns import (
    ALERTS,
    CALM,
    GAP,
    SYMBOLS,
    Column,
    heat,
    heat_style,
    told_clause,
    told_reason,
    widths,
)
from screenerd.top.grid import STYLES
from screenerd.top.rows import Clause, FeedAlert, Row, read_alert
from screenerd.top.sorting import Sort, first_sort, matching, ordered

T = TypeVar("T")


def row(symbol: str, change: float | None = None, **more: float | None) -> Row:
    """A row with a change of a quarter of an hour."""
    return Row(symbol, frames={"15m": {"change_pct": change, **more}})


def names(rows: list[Row]) -> list[str]:
    return [one.symbol for one in rows]


def test_what_is_not_ready_stands_last_both_ways_and_equals_by_name() -> None:
    rows = [row("D", None), row("C", 1.0), row("A", None), row("B", 1.0), row("E", -2.0)]
    assert names(ordered(rows, Sort("change_15m", descending=True))) == list("BCEAD")
    assert names(ordered(rows, Sort("change_15m", descending=False))) == list("EBCAD")


def test_names_are_sorted_as_texts() -> None:
    rows = [row("B"), row("C"), row("A")]
    assert names(ordered(rows, first_sort("symbol"))) == list("ABC")
    assert names(ordered(rows, first_sort("symbol").reversed())) == list("CBA")


@pytest.mark.parametrize("column", SYMBOLS, ids=lambda column: column.key)
def test_every_column_can_be_sorted_by(column: Column[Row]) -> None:
    high = Row(
        "B",
        price=2.0,
        closes=(1.0, 2.0),
        frames={
            window: {"change_pct": 2.0, "volume_ratio": 2.0, "quote_volume": 2.0, "rsi_14": 60}
            for window in CALM
        },
    )
    low = Row(
        "A",
        price=1.0,
        closes=(1.0, 1.5),
        frames={
            window: {"change_pct": -1.0, "volume_ratio": 1.0, "quote_volume": 1.0, "rsi_14": 40}
            for window in CALM
        },
    )
    none = Row("C")
    sort = Sort(column.key, descending=False)
    assert names(ordered([none, high, low], sort)) == list("ABC")


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=30))
def test_sorting_loses_nothing_and_orders_what_is_ready(changes: list[float | None]) -> None:
    rows = [row(f"S{number:02}", change) for number, change in enumerate(changes)]
    sorted_rows = ordered(rows, Sort("change_15m", descending=True))
    assert sorted(names(sorted_rows)) == names(rows)
    ready = [change for one in sorted_rows if (change := one.reading("15m", "change_pct"))]
    assert ready == sorted(ready, reverse=True)
    missing = [one.reading("15m", "change_pct") is None for one in sorted_rows]
    assert missing == sorted(missing)


def test_the_next_column_comes_around() -> None:
    sort, seen = Sort("symbol", descending=False), []
    for _ in SYMBOLS:
        seen.append(sort.key)
        sort = sort.next()
    assert seen == [column.key for column in SYMBOLS]
    assert sort == Sort("symbol", descending=False)
    assert sort.next().descending, "numbers begin with the greatest"


def test_a_second_click_turns_the_order_around() -> None:
    sort = Sort("price", descending=True).clicked("rsi_1h")
    assert sort == Sort("rsi_1h", descending=True)
    assert sort.clicked("rsi_1h") == Sort("rsi_1h", descending=False)
    assert (sort.mark, sort.reversed().mark) == ("▼", "▲")


def test_words_of_a_filter_must_all_be_in_the_name() -> None:
    rows = [row("BTCUSDT"), row("BTCUSDC"), row("[bold]X[/]"), row("币安人生USDT")]
    assert names(matching(rows, "btc")) == ["BTCUSDT", "BTCUSDC"]
    assert names(matching(rows, " usdt  BTC ")) == ["BTCUSDT"]
    assert names(matching(rows, "[bold")) == ["[bold]X[/]"]
    assert names(matching(rows, "安人")) == ["币安人生USDT"]
    assert matching(rows, "  ") == rows
    assert matching(rows, "(") == []


def test_every_column_has_its_place_in_80_cells() -> None:
    _fits(SYMBOLS)
    _fits(ALERTS)


def _fits(columns: Sequence[Column[T]]) -> None:
    made = widths(columns, 79)
    assert sum(made) + GAP * len(made) <= 79
    for column, width in zip(columns, made, strict=True):
        assert width >= column.width
        # The mark of the sort stands in the gap before it.
        assert len(column.title) <= width


@given(st.integers(0, 400))
def test_room_is_shared_and_never_exceeded(room: int) -> None:
    made = widths(SYMBOLS, room)
    least = sum(column.width for column in SYMBOLS) + GAP * len(SYMBOLS)
    assert sum(made) + GAP * len(made) <= max(room, least)
    for width, column in zip(made, SYMBOLS, strict=True):
        assert column.width <= width <= max(column.width, column.widest)


@pytest.mark.parametrize(
    ("value", "strength"),
    [(None, 0), (0.0, 0), (0.1, 1), (-0.1, -1), (1.0, 2), (-2.9, -2), (3.0, 3), (-50.0, -3)],
)
def test_a_change_is_coloured_by_its_sign_and_size(value: float | None, strength: int) -> None:
    assert heat(value, 1.0) == strength
    assert heat_style(value, 1.0) in STYLES


@pytest.mark.parametrize(
    ("clause", "told"),
    [
        (Clause("change_5m >= 1", 1.92, 1.0), "change_5m ≥ 1 (1.92)"),
        (Clause("change_5m <= -1", -2.0, -1.0), "change_5m ≤ −1 (−2)"),
        (Clause("2 * volume_5m > volume_15m", 6.0, 2.0), "2 × volume_5m > volume_15m (6 > 2)"),
        (Clause("change_5m >= 1", None, 1.0), "change_5m ≥ 1 (–)"),
        (Clause("odd", None, None), "odd (–)"),
    ],
)
def test_a_clause_is_told_with_its_values(clause: Clause, told: str) -> None:
    assert told_clause(clause) == told


def feed_alert(**told: object) -> FeedAlert:
    made = {"id": "1", "symbol": "X", "triggered_at": "2026-01-01T10:20:00Z", "price": 1.5}
    read = read_alert(made | told)
    assert read is not None
    return read


def test_a_reason_that_is_not_known_is_not_made_up() -> None:
    assert "has changed since" in told_reason(feed_alert())
    metadata = {"reason": [{"clause": "a > 1", "left": 2, "right": 1}] * 2}
    assert told_reason(feed_alert(metadata=metadata)) == "a > 1 (2) · a > 1 (2)"


def test_an_alert_has_an_arrow_a_sign_and_its_state() -> None:
    def texts(alert: FeedAlert) -> list[str]:
        return [column.cell(alert, column.width).text for column in ALERTS]

    told = feed_alert(
        metadata={"title": "Bear", "direction": "down"},
        state="withdrawn",
        change_pct=-3.5,
        timeframe="15m",
    )
    assert texts(told) == ["10:20", "▼", "Bear (withdrawn)", "X", "1.5", "−3.50", "15m"]
    assert texts(feed_alert(alert_type="r", state="confirmed"))[1:3] == ["▲", "r"]
