"""What a websocket client may say, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.serve.session import (
    AUTH_SECONDS,
    MESSAGES_A_SECOND,
    MESSAGES_AT_ONCE,
    MOST_SYMBOLS,
    Auth,
    Pong,
    Refusal,
    Session,
    Subscribe,
)


def told(text: str | bytes | None, *, token_needed: bool = False) -> object:
    return Session(token_needed, 0.0).receive(text, 1.0)


def test_a_subscription_says_what_is_wanted() -> None:
    message = told(
        '{"type":"subscribe","channels":["alerts","metrics"],"symbols":["BTCUSDT","币安人生USDT"],'
        '"types":["pioneer_bull"],"since":7,"epoch":"e"}'
    )
    assert isinstance(message, Subscribe)
    assert (message.since, message.epoch) == (7, "e")
    wish = message.wish
    assert (wish.alerts, wish.metrics, wish.prices) == (True, True, False)
    assert wish.symbols == frozenset({"BTCUSDT", "币安人生USDT"})
    assert wish.rules == frozenset({"pioneer_bull"})


def test_alerts_of_everything_are_the_default() -> None:
    message = told('{"type":"subscribe"}')
    assert isinstance(message, Subscribe)
    assert message.wish.alerts
    assert not message.wish.metrics
    assert message.wish.symbols is None


def test_prices_alone_can_be_asked_for() -> None:
    message = told('{"type":"subscribe","channels":["prices"]}')
    assert isinstance(message, Subscribe)
    wish = message.wish
    assert (wish.alerts, wish.metrics, wish.prices) == (False, False, True)


def test_a_pong_is_heard() -> None:
    assert isinstance(told('{"type":"pong"}'), Pong)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", None),
        ("[]", None),
        ('{"type":"shout"}', "type"),
        ("{}", "type"),
        ('{"type":"subscribe","channels":["candles"]}', "channels.0"),
        ('{"type":"subscribe","symbols":"BTCUSDT"}', "symbols"),
        ('{"type":"subscribe","symbols":[""]}', "symbols.0"),
        ('{"type":"subscribe","symbols":[7]}', "symbols.0"),
        ('{"type":"subscribe","since":-1}', "since"),
        ('{"type":"subscribe","since":"1"}', "since"),
        ('{"type":"subscribe","since":1.5}', "since"),
        ('{"type":"auth"}', "token"),
        ('{"type":"subscribe","symbols":["' + "A" * 65 + '"]}', "symbols.0"),
    ],
)
def test_what_is_wrong_is_named_and_the_conversation_goes_on(text: str, field: str | None) -> None:
    refusal = told(text)
    assert isinstance(refusal, Refusal)
    assert refusal.close is None
    assert refusal.field == field
    assert refusal.value["type"] == "error"


def test_a_million_symbols_are_refused() -> None:
    many = ",".join(f'"S{number}"' for number in range(MOST_SYMBOLS + 1))
    refusal = told('{"type":"subscribe","symbols":[' + many + "]}")
    assert isinstance(refusal, Refusal)
    assert refusal.field == "symbols"
    fewer = ",".join(f'"S{number}"' for number in range(MOST_SYMBOLS))
    assert isinstance(told('{"type":"subscribe","symbols":[' + fewer + "]}"), Subscribe)


def test_binary_frames_end_it() -> None:
    for frame in (b'{"type":"pong"}', None):
        refusal = told(frame)
        assert isinstance(refusal, Refusal)
        assert refusal.close == 1008


def test_who_has_to_say_who_it_is_says_so_first_and_soon() -> None:
    session = Session(True, 0.0)
    refusal = session.receive('{"type":"subscribe"}', 1.0)
    assert isinstance(refusal, Refusal)
    assert refusal.close == 4401
    assert isinstance(session.receive('{"type":"auth","token":"t"}', 1.0), Auth)
    assert session.patience(1.0) == AUTH_SECONDS - 1.0
    assert session.patience(AUTH_SECONDS + 0.1) == 0.0
    session.authenticated = True
    assert session.patience(1.0) is None
    assert isinstance(session.receive('{"type":"subscribe"}', 1.0), Subscribe)


def test_who_talks_without_end_is_ended_and_who_talks_calmly_is_not() -> None:
    session = Session(False, 0.0)
    answers = [session.receive('{"type":"pong"}', 1.0) for _ in range(MESSAGES_AT_ONCE + 1)]
    assert all(isinstance(one, Pong) for one in answers[:-1])
    assert isinstance(answers[-1], Refusal)
    assert answers[-1].close == 1008
    calm = Session(False, 0.0)
    pace = 1 / MESSAGES_A_SECOND
    assert all(
        isinstance(calm.receive('{"type":"pong"}', number * pace), Pong)
        for number in range(10 * MESSAGES_AT_ONCE)
    )


@given(st.text() | st.binary())
def test_nothing_that_is_sent_is_fatal(text: str | bytes) -> None:
    assert isinstance(told(text), Auth | Subscribe | Pong | Refusal)
