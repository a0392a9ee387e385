"""What the service tells, read and kept: whatever it is, the screen has something to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.top import protocol
from screenerd.top.board import MOST_ALERTS, Board
from screenerd.top.details import details
from screenerd.top.rows import (
    Row,
    read_alert,
    read_alerts,
    read_all_metrics,
    read_health,
    read_metrics,
    read_prices,
    read_sparklines,
    read_symbols,
)
from screenerd.top.status import banner, status

KEYS = ["symbol", "timestamp", "price", "timeframes", "metadata", "reason", "details", "troubles"]
KEYS += ["alerts", "symbols", "id", "triggered_at", "state", "latency_ms", "symbol", "clause"]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59Z"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
)
READERS: list[Callable[[object], object]] = [
    read_metrics,
    read_all_metrics,
    read_alert,
    read_alerts,
    read_symbols,
    read_prices,
    read_sparklines,
    read_health,
]


def metrics(symbol: str = "BTCUSDT", minute: int = 0, **told: Any) -> dict[str, Any]:
    """Metrics as the service tells them."""
    frames = {"15m": {"change_pct": 1.5, "volume_ratio": None}}
    timestamp = f"2026-01-01T00:{minute:02}:00.000Z"
    return {"symbol": symbol, "timestamp": timestamp, "price": 100.5, "timeframes": frames} | told


def alert(number: int, minute: int = 0, **told: Any) -> dict[str, Any]:
    """An alert as the service tells it."""
    metadata = {"title": "Pioneer Bull", "direction": "up", "reason": None}
    made = {
        "id": f"id-{number}",
        "triggered_at": f"2026-01-01T00:{minute:02}:00.000Z",
        "symbol": "BTCUSDT",
        "alert_type": "pioneer_bull",
        "timeframe": "5m",
        "price": 100.5,
        "change_pct": 2.0,
        "state": "confirmed",
        "metadata": metadata,
    }
    return made | told


def take(board: Board, *told: dict[str, Any]) -> None:
    """Puts metrics and alerts onto a board."""
    for one in told:
        if "timeframes" in one:
            read = read_metrics(one)
            assert read is not None
            board.take_metrics(read)
        else:
            seen = read_alert(one)
            assert seen is not None
            board.take_alert(seen)


@given(ANYTHING)
def test_whatever_is_told_is_read_or_left(told: object) -> None:
    board = Board()
    for reader in READERS:
        reader(told)
    board.follow(read_symbols(told))
    board.take_sparklines(read_sparklines(told))
    board.take_prices(read_prices(told))
    for one in read_all_metrics([told, metrics()]):
        board.take_metrics(one)
    for seen in read_alerts({"alerts": [told]}):
        board.take_alert(seen)
    board.health = read_health({"details": told})
    for row in board.rows.values():
        assert details(row, board.alerts)
    assert status(board)
    banner(board, 0.0)


@given(st.text() | ANYTHING.map(repr))
def test_whatever_is_said_is_a_message_or_none(said: str) -> None:
    told = protocol.read(said)
    assert told is None or told.kind


def test_numbers_that_are_none_are_not_ready() -> None:
    frames = {"15m": {"change_pct": float("nan"), "volume_ratio": "2", "rsi_14": True}, "1h": 5}
    told = read_metrics(metrics(price=float("inf"), timeframes=frames))
    assert told is not None
    row = Row("BTCUSDT").told(told)
    assert row.price is None
    for window, name in (("15m", "change_pct"), ("15m", "volume_ratio"), ("15m", "rsi_14")):
        assert row.reading(window, name) is None
    assert row.reading("1h", "change_pct") is None
    assert row.reading("4h", "change_pct") is None


def test_closes_go_on_minute_by_minute() -> None:
    board = Board()
    take(board, metrics(minute=1, price=10.0))
    board.take_sparklines({"BTCUSDT": [8.0, 9.0, 10.0], "GONE": [1.0]})
    take(board, metrics(minute=2, price=11.25))
    assert board.rows["BTCUSDT"].closes == (8.0, 9.0, 10.0, 11.25)
    take(board, metrics(minute=2, price=12.0))
    assert board.rows["BTCUSDT"].closes == (8.0, 9.0, 10.0, 12.0), "a minute told again"
    take(board, metrics(minute=1, price=5.0))
    assert board.rows["BTCUSDT"].price == 12.0, "an answer that was overtaken"
    assert board.rows["BTCUSDT"].decimals == 2
    assert board.rows["BTCUSDT"].hour_change == pytest.approx(50.0)
    assert list(board.rows) == ["BTCUSDT"]


def test_an_hour_is_sixty_closes() -> None:
    board = Board()
    take(board, metrics(minute=0))
    board.take_sparklines({"BTCUSDT": [float(n) for n in range(60)]})
    take(board, metrics(minute=1, price=60.0))
    assert board.rows["BTCUSDT"].closes == tuple(float(n) for n in range(1, 61))


def test_a_symbol_that_has_left_is_gone_and_a_new_one_is_there() -> None:
    board = Board()
    take(board, metrics("A"), metrics("B"))
    board.follow(["B", "C"])
    assert list(board.rows) == ["B", "C"]
    assert board.rows["B"].price == 100.5
    assert board.rows["C"].price is None


def test_only_the_symbols_that_are_wanted_are_kept() -> None:
    board = Board(["A", "nope"])
    board.follow(["A", "B"])
    take(board, metrics("A"), metrics("B"), alert(1, symbol="A"), alert(2, symbol="B"))
    assert list(board.rows) == ["A"]
    assert [one.symbol for one in board.alerts] == ["A"]
    assert board.unknown == ("nope",)
    assert "nope" in banner(board, 0.0)


def test_alerts_stand_newest_first_and_once_each() -> None:
    board = Board()
    take(board, alert(1, 5), alert(2, 7), alert(3, 6), alert(1, 5, state="withdrawn"))
    assert [one.id for one in board.alerts] == ["id-2", "id-3", "id-1"]
    assert board.alerts[2].state == "withdrawn"
    take(board, alert(4, 7))
    assert [one.id for one in board.alerts][:2] == ["id-4", "id-2"], "the last to come is first"


def test_old_alerts_are_forgotten_and_may_come_again() -> None:
    board = Board()
    take(board, *(alert(n, n % 60) for n in range(MOST_ALERTS + 50)))
    assert len(board.alerts) == MOST_ALERTS
    times = [one.time for one in board.alerts]
    assert times == sorted(times, reverse=True)
    take(board, alert(0, 59))
    assert board.alerts[0].id == "id-0"
    assert len({one.id for one in board.alerts}) == MOST_ALERTS


def test_another_run_of_the_service_begins_anew() -> None:
    board = Board()
    take(board, metrics(minute=30), alert(1))
    board.forget()
    assert board.alerts == []
    take(board, metrics(minute=1, price=3.0), alert(1))
    assert board.rows["BTCUSDT"].price == 3.0, "its clock may be another"
    assert len(board.alerts) == 1


def test_the_status_says_in_words_what_its_colours_say() -> None:
    board = Board()
    assert [cell.text for cell in status(board)] == ["○ connecting", "health unknown"]
    trouble = {"where": "store", "told": "the disk is full", "remedy": "make room"}
    latency = {"p50": 3.14, "p99": 8}
    told = {"state": "degraded", "behind_seconds": 12.3, "symbols": 500, "warmed": 499}
    told |= {"latency_ms": latency, "troubles": [trouble]}
    board.live()
    board.health = read_health({"details": told})
    assert [cell.text for cell in status(board)] == [
        "● live",
        "degraded",
        "12 s behind",
        "499/500 warm",
        "latency 3.14/8.00 ms",
    ]
    assert banner(board, 0.0) == "store: the disk is full - make room"


def test_a_lost_connection_is_told_of_with_the_next_try() -> None:
    board = Board()
    board.lost("nothing answers", 103.2)
    assert board.connection.state == "connecting"
    assert banner(board, 100.0) == "nothing answers - next try in 4 s"
    board.trying()
    assert banner(board, 104.0) == "nothing answers - trying"
    board.live()
    assert banner(board, 105.0) == ""
    board.lost("it stopped", 110.0)
    assert [cell.text for cell in status(board)] == ["○ reconnecting", "health unknown"]


@pytest.mark.parametrize(
    ("status_code", "value", "told"),
    [
        (401, {"error": "no_token", "message": "say who you are"}, "asks for a token"),
        (401, {"error": "expired_token", "message": "it is over"}, "(it is over)"),
        (403, {"error": "forbidden", "message": "no scope"}, "refuses the token"),
        (429, {"error": "rate_limited", "message": "again in 3 s"}, "again in 3 s"),
        (401, None, "screenerd keys create NAME --scope read"),
        (502, None, "502"),
        (400, {"error": "x", "message": "\x1b[2J"}, "?[2J"),
    ],
)
def test_a_refusal_says_what_to_do(status_code: int, value: object, told: str) -> None:
    assert told in protocol.refused_status(status_code, value)


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x", "http://", "http://x:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="write http://HOST:PORT"):
        protocol.address(url)


def test_an_address_may_have_a_path() -> None:
    assert protocol.address("https://host/screener/") == "https://host/screener"


@pytest.mark.parametrize("token", ["a b", "a\n", "ключ"])
def test_a_token_that_cannot_be_sent_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(ValueError, match="copy it again") as error:
        protocol.checked_token(token)
    assert token not in str(error.value)
