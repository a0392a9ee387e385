"""One connection as a state: what is sent when, and when silence means that it is dead."""

from __future__ import annotations

import itertools
import json

from screenerd.exchange.binance import messages
from screenerd.exchange.binance.messages import Ack
from screenerd.exchange.binance.session import ASK_AGAIN_SECONDS, SYMBOL_SECONDS, Session


def sent(session: Session, until: float) -> list[tuple[float, dict[str, object]]]:
    """What is sent up to a time, asked for every 50 ms."""
    found = []
    for step in range(int(until * 20) + 1):
        now = step / 20
        if message := session.next_message(now):
            found.append((now, json.loads(message)))
    return found


def test_names_go_in_messages_of_200_and_four_a_second() -> None:
    session = Session(0.0)
    session.follow([f"S{number:04}" for number in range(950)])
    requests = sent(session, 5)
    assert [len(request["params"]) for _, request in requests] == [200, 200, 200, 200, 150]  # type: ignore[arg-type]
    times = [time for time, _ in requests]
    assert all(later - earlier >= 0.25 for earlier, later in itertools.pairwise(times))
    assert len({request["id"] for _, request in requests}) == 5
    assert requests[0][1]["params"][0] == "s0000@kline_1m"  # type: ignore[index]


def test_only_what_changed_is_asked_for() -> None:
    session = Session(0.0)
    session.follow(["A", "B"])
    session.follow(["B", "C"])
    requests = [(one["method"], one["params"]) for _, one in sent(session, 2)]
    assert requests == [
        ("SUBSCRIBE", ["a@kline_1m", "b@kline_1m"]),
        ("SUBSCRIBE", ["c@kline_1m"]),
        ("UNSUBSCRIBE", ["a@kline_1m"]),
    ]
    session.follow(["C", "B"])
    assert session.next_message(3.0) is None


def test_an_acknowledgement_that_does_not_come() -> None:
    session = Session(0.0)
    session.follow(["A"])
    assert session.next_message(1.0)
    session.alive(9.0)
    assert session.verdict(11.0) is None
    assert "not answered" in (session.verdict(11.1) or "")


def test_an_acknowledgement_proves_nothing() -> None:
    session = Session(0.0)
    session.follow(["A"])
    assert session.next_message(0.0)
    assert session.answered(messages.Ack(1)) is None
    for second in range(1, 31):
        session.alive(float(second))
        assert session.verdict(float(second)) is None
    session.alive(30.1)
    assert "/market/stream" in (session.verdict(30.1) or "")
    session.candle("A")
    assert session.verdict(30.1) is None


def test_silence_on_a_connection() -> None:
    session = Session(0.0)
    session.follow(["A"])
    assert session.next_message(0.0)
    session.answered(messages.Ack(1))
    assert session.candle("A")
    assert not session.candle("A")
    session.alive(5.0)
    assert session.verdict(35.0) is None
    assert "no frame" in (session.verdict(35.1) or "")


def test_an_error_is_told() -> None:
    session = Session(0.0)
    assert "Too many" in (session.answered(messages.Ack(1, "Too many subscriptions")) or "")


def test_a_symbol_that_stays_silent_is_asked_for_again() -> None:
    session = Session(0.0)
    session.follow(["A", "B", "币USDT"])
    first = session.next_message(0.0)
    assert first is not None
    session.answered(Ack(1))
    session.candle("A")
    assert session.silent(SYMBOL_SECONDS) == []
    assert session.silent(SYMBOL_SECONDS + 1) == ["B", "币USDT"]
    again = session.next_message(SYMBOL_SECONDS + 1)
    assert again is not None
    assert json.loads(again)["params"] == ["b@kline_1m", "币usdt@kline_1m"]
    session.candle("B")
    session.follow(["A", "B"])
    assert session.silent(SYMBOL_SECONDS + ASK_AGAIN_SECONDS * 2) == []
