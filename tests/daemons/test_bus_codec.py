"""Messages as bytes: every kind comes back as it was, and what cannot be read is named."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.bus.jetstream.decode import PoisonError, decode
from screenerd.bus.jetstream.encode import PART_BYTES, Outgoing, encode, passing, views
from screenerd.bus.jetstream.subjects import (
    KEPT,
    LOCAL,
    PASSING,
    STREAM_SUBJECTS,
    filters,
    name_of,
    token,
)
from screenerd.bus.port import Message
from screenerd.model import (
    Alert,
    Bars,
    Candle,
    CandleBatch,
    DeadLetter,
    FeedLost,
    Followed,
    Metrics,
    Prices,
    Reconnected,
    Report,
    RuleSwitch,
    SettingsChanged,
    Stamps,
    Unfollowed,
)
from screenerd.shards import Shard

SHARDS = 8

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20)
times = st.integers(1_230_768_000_000, 4_102_444_800_000)
numbers = st.floats(allow_nan=False, allow_infinity=False)
wholes = st.integers(0, 2**53)
symbols = st.lists(names, max_size=4).map(tuple)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


candles = st.builds(
    Candle, names, times, numbers, numbers, numbers, numbers, numbers, numbers, maybe(wholes),
    maybe(numbers), maybe(numbers), st.booleans(), maybe(times),
    st.sampled_from(["synthetic", "stream", "rest", "archive"]), wholes, times,
)  # fmt: skip
stamps = st.builds(Stamps, times, maybe(times), times, times, maybe(times), maybe(times))
alerts = st.builds(
    Alert, names, times, names, names, names, names, st.sampled_from(["up", "down"]), names,
    numbers, maybe(numbers), maybe(numbers), maybe(numbers),
    st.sampled_from(["confirmed", "provisional", "withdrawn"]), names,
    st.dictionaries(names, maybe(numbers), max_size=4), stamps, st.booleans(),
)  # fmt: skip
closes = st.lists(st.tuples(times, numbers), max_size=5).map(tuple)
plain: st.SearchStrategy[Message] = st.one_of(
    alerts,
    st.builds(Bars, names, names, names, closes),
    st.builds(DeadLetter, names, times, names, st.binary(max_size=100)),
    st.builds(FeedLost, names, wholes, symbols, times, names),
    st.builds(Followed, names, symbols, times),
    st.builds(Reconnected, names, wholes, symbols, times, times),
    st.builds(RuleSwitch, names, st.booleans(), maybe(wholes)),
    st.builds(SettingsChanged, names),
    st.builds(Unfollowed, names, symbols, times),
)


def parts(message: Message, nonce: str = "n") -> list[Outgoing]:
    return [part for some in encode(message, SHARDS, nonce) for part in some]


def matches(subject: str, wanted: str) -> bool:
    """Whether a subject is one that a filter of NATS lets through."""
    have, want = subject.split("."), wanted.split(".")
    if want[-1] == ">":
        return len(have) >= len(want) and matches(
            ".".join(have[: len(want) - 1]), ".".join(want[:-1])
        )
    return len(have) == len(want) and all(w in ("*", h) for h, w in zip(have, want, strict=True))


@given(plain)
def test_every_plain_kind_comes_back(message: Message) -> None:
    [part] = parts(message)
    assert decode(part.subject, part.payload) == message
    stream, wanted = KEPT[type(message)]
    assert matches(part.subject, wanted.format(shard="*"))
    assert any(matches(part.subject, one) for one in STREAM_SUBJECTS[stream])


@given(names, st.lists(candles, max_size=10))
def test_candles_come_back_each_in_its_shard_and_in_order(
    exchange: str, some: list[Candle]
) -> None:
    found: list[Candle] = []
    for part in parts(CandleBatch(exchange, tuple(some))):
        message = decode(part.subject, part.payload)
        assert isinstance(message, CandleBatch)
        assert message.exchange == exchange
        number = int(part.subject.split(".")[-1])
        assert all(Shard(number, SHARDS).owns(one.symbol) for one in message.candles)
        [wanted] = filters([CandleBatch], number).values()
        assert matches(part.subject, wanted[0])
        found += message.candles
    for number in range(SHARDS):
        owned = Shard(number, SHARDS).owns
        assert [one for one in found if owned(one.symbol)] == [
            one for one in some if owned(one.symbol)
        ]


@given(st.lists(names, unique=True, min_size=1, max_size=20), names)
def test_metrics_come_back(some: list[str], exchange: str) -> None:
    frame = pl.DataFrame(
        {
            "symbol": some,
            "open_time": range(len(some)),
            "price": [None, *(1.5 for _ in some[1:])],
        },
        schema={"symbol": pl.String, "open_time": pl.Int64, "price": pl.Float64},
    )
    messages = [decode(one.subject, one.payload) for one in parts(Metrics(exchange, frame))]
    frames = []
    for message in messages:
        assert isinstance(message, Metrics)
        assert message.exchange == exchange
        frames.append(message.frame)
    assert pl.concat(frames).sort("open_time").equals(frame)


@given(names, times, st.dictionaries(names, numbers, max_size=5))
def test_prices_come_back(exchange: str, at: int, prices: dict[str, float]) -> None:
    subject, payload = passing(Prices(exchange, at, prices))
    message = decode(subject, payload)
    assert isinstance(message, Prices)
    assert (message.exchange, message.at, dict(message.prices)) == (exchange, at, prices)
    assert matches(subject, PASSING[Prices])


@given(names, names, times, st.dictionaries(names, maybe(numbers), max_size=5))
def test_reports_come_back(role: str, instance: str, at: int, body: dict[str, Any]) -> None:
    report = Report(role, instance, at, body)
    subject, payload = passing(report)
    assert decode(subject, payload) == report
    assert matches(subject, PASSING[Report])


def test_every_kind_has_a_way() -> None:
    kinds = set(get_args(Message))
    assert kinds == {*KEPT, *PASSING, *LOCAL}


@given(names)
def test_a_name_is_one_token_of_a_subject(name: str) -> None:
    told = token(name)
    assert told.isascii()
    assert not set(told) & set(" .*>\t\r\n")
    assert name_of(told) == name


@given(st.lists(candles, min_size=1, max_size=5), times)
def test_two_collectors_agree_about_a_batch(some: list[Candle], later: int) -> None:
    first = parts(CandleBatch("x", tuple(some)))
    again = parts(CandleBatch("x", tuple(replace(one, received_at=later) for one in some)))
    assert [one.id for one in first] == [one.id for one in again]


@given(st.lists(candles, min_size=1, max_size=3), st.data())
def test_another_batch_has_another_id(some: list[Candle], data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from([one.name for one in fields(Candle) if one.name != "received_at"])
    )
    other = data.draw(candles)
    changed = [replace(some[0], **{name: getattr(other, name)}), *some[1:]]
    if changed != some:
        ids = {one.id for one in parts(CandleBatch("x", tuple(some)))}
        assert ids != {one.id for one in parts(CandleBatch("x", tuple(changed)))}


def test_an_alerts_id_is_its_own_and_its_states() -> None:
    alert = Alert(
        "an-id", 1, "x", "A", "r", "R", "up", "5m", 1.0, None, None, None, "provisional", "v", {},
        Stamps(1, None, 1, 1),
    )  # fmt: skip
    assert [one.id for one in parts(alert)] == ["an-id.provisional"]
    assert [one.id for one in parts(alert.at(stored=5))] == ["an-id.provisional"]


def test_what_may_be_told_twice_has_an_id_each_time() -> None:
    switch = RuleSwitch("r", enabled=False)
    assert parts(switch, "a")[0].id != parts(switch, "b")[0].id


def test_a_batch_is_split_by_size() -> None:
    some = tuple(Candle("A", 60_000 * n, 1, 1, 1, 1, 1, 1) for n in range(3000))
    made = parts(CandleBatch("x", some))
    assert len(made) > 2
    assert all(len(one.payload) <= PART_BYTES + 1000 for one in made)
    back = [decode(one.subject, one.payload) for one in made]
    assert [one for part in back if isinstance(part, CandleBatch) for one in part.candles] == [
        *some
    ]


def test_views_are_a_message_a_symbol() -> None:
    candle = Candle("\u6c49 A", 60_000, 1, 2, 0.5, 1.5, 10, 15, event_time=119_999)
    [(subject, payload)] = views(CandleBatch("x", (candle,)))
    assert subject == "candles.1m.%E6%B1%89%20A"
    told = orjson.loads(payload)
    assert told.keys() >= {
        "type", "timestamp", "exchange", "symbol", "source", "closed", "revision", "data",
    }  # fmt: skip
    assert told["type"] == "candle.1m"
    assert told["timestamp"] == "1970-01-01T00:02:00.000Z"
    frame = pl.DataFrame({"symbol": ["A"], "open_time": [0], "price": [1.5], "rsi_5m": [50.0]})
    [(subject, payload)] = views(Metrics("x", frame))
    told = orjson.loads(payload)
    assert subject == "metrics.calculated"
    assert (told["type"], told["exchange"], told["symbol"]) == ("metrics", "x", "A")
    assert told["timeframes"]["5m"]["rsi_14"] == 50.0
    assert told["timeframes"]["1d"]["rsi_14"] is None


@given(plain, st.data())
def test_what_is_missing_is_named_and_what_is_unknown_ignored(
    message: Message, data: st.DataObject
) -> None:
    [part] = parts(message)
    value = orjson.loads(part.payload)
    assert decode(part.subject, orjson.dumps(value | {"unknown": 1})) == message
    field = data.draw(st.sampled_from(sorted(value.keys() - {"type"})))
    del value[field]
    with pytest.raises(PoisonError, match=f"missing required field `{field}"):
        decode(part.subject, orjson.dumps(value))


@given(plain, st.data())
def test_what_is_of_another_kind_is_named(message: Message, data: st.DataObject) -> None:
    [part] = parts(message)
    value = orjson.loads(part.payload)
    field = data.draw(st.sampled_from(sorted(value.keys() - {"type"})))
    value[field] = [{"neither": "nor"}]
    with pytest.raises(PoisonError, match=field):
        decode(part.subject, orjson.dumps(value))


@pytest.mark.parametrize(
    ("subject", "payload", "told"),
    [
        ("candles.1m.batch.x.0", b"[{", "not JSON"),
        ("candles.1m.batch.x.0", b"{}", "Expected `array`"),
        ("candles.1m.batch.x.0", b"[]", "Expected `array` of length >= 1"),
        (
            "candles.1m.batch.x.0",
            b'[{"exchange": "x", "symbol": "A"}]',
            r"field `source` - at `\$\[0\]`",
        ),
        ("alerts.triggered", b"7", "Expected `object`"),
        ("control.rule", b'{"unknown":' + b"[" * 5000, "not JSON"),
        ("reports.x", b'{"body":{"a":' + b"[" * 5000, "not JSON"),
        ("control.rule", b'{"rule":"r","enabled":true,"cooldown_ms":%d}' % 2**63, "<= 922"),
        ("metrics.batch.x.0", b"ARROW1", "not Arrow"),
        ("elsewhere", b"{}", "no message has this subject"),
    ],
)
def test_poison_is_named(subject: str, payload: bytes, told: str) -> None:
    with pytest.raises(PoisonError, match=told):
        decode(subject, payload)


@given(st.sampled_from([*(one for some in STREAM_SUBJECTS.values() for one in some)]), st.binary())
def test_no_bytes_end_it(wanted: str, payload: bytes) -> None:
    subject = wanted.replace(">", "x.0")
    with pytest.raises(PoisonError):
        decode(subject, payload)
