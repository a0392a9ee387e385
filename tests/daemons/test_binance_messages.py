"""The exchange's frames, recorded and broken, as values."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.exchange.binance import messages
from screenerd.exchange.binance.messages import Ack, Ignored, ServerShutdown, UnknownFrameError
from screenerd.exchange.binance.symbols import parse_universe
from screenerd.model import Candle

FRAME = (
    '{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1790771371858,"s":"BTCUSDT","k":'
    '{"t":1790771340000,"T":1790771399999,"s":"BTCUSDT","i":"1m","f":8132503391,"L":8132505633,'
    '"o":"83896.40","c":"83860.20","h":"83920.00","l":"83860.10","v":"114.602","n":2239,'
    '"x":false,"q":"9615538.66780","V":"48.488","Q":"4068722.10360","B":"0"}}}'
)


NOW = 1790771371900


def test_a_documented_frame_by_value() -> None:
    assert messages.parse_frame(FRAME, 5) == Candle(
        symbol="BTCUSDT",
        open_time=1790771340000,
        open=83896.40,
        high=83920.00,
        low=83860.10,
        close=83860.20,
        volume=114.602,
        quote_volume=9615538.66780,
        trades=2239,
        taker_buy_volume=48.488,
        taker_buy_quote_volume=4068722.10360,
        closed=False,
        event_time=1790771371858,
        source="stream",
        received_at=5,
    )


def test_an_update_has_a_key_of_its_symbol_and_a_price() -> None:
    other = FRAME.replace("btcusdt", "币安人生usdt").replace("BTCUSDT", "币安人生USDT")
    assert messages.update_key(FRAME) != messages.update_key(other)
    later = FRAME.replace('"c":"83860.20"', '"c":"83861.00"')
    assert messages.update_key(FRAME) == messages.update_key(later)
    assert messages.update_key(FRAME.encode()) == str(messages.update_key(FRAME)).encode()
    assert messages.update_key('{"x":false}') is None
    assert messages.running_price(FRAME, NOW) == ("BTCUSDT", 83860.20)
    assert messages.running_price(other.encode(), NOW) == ("币安人生USDT", 83860.20)
    assert messages.running_price(FRAME, NOW + 60_000) is None, "of a minute that is over"
    assert messages.running_price(FRAME, NOW - 60_000) is None


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "[]",
        "{}",
        '{"data":7}',
        FRAME.replace('"83860.20"', '"nan"'),
        FRAME.replace('"83860.20"', '"-1"'),
        FRAME.replace('"83860.20"', "null"),
        FRAME.replace('"s":"BTCUSDT","k"', '"s":7,"k"'),
    ],
)
def test_what_has_no_price_has_none(raw: str) -> None:
    assert messages.running_price(raw, NOW) is None


def test_recorded_frames_by_value(recorded: Path) -> None:
    lines = (recorded / "binance_um_2021-07-22" / "kline.jsonl").read_text().splitlines()
    assert len(lines) == 67
    closed = 0
    for line in lines:
        candle = messages.parse_frame(line, 0)
        told = json.loads(line)["data"]["k"]
        assert isinstance(candle, Candle)
        assert candle.symbol == told["s"]
        assert candle.open_time == told["t"]
        assert candle.close_time == told["T"] + 1
        assert [candle.open, candle.high, candle.low, candle.close] == [
            float(told[key]) for key in "ohlc"
        ]
        assert [
            candle.volume,
            candle.quote_volume,
            candle.taker_buy_volume,
            candle.taker_buy_quote_volume,
        ] == [float(told[key]) for key in "vqVQ"]
        assert (candle.trades, candle.closed) == (told["n"], told["x"])
        closed += candle.closed
    assert closed == 4


def test_other_recorded_streams_are_not_for_us(recorded: Path) -> None:
    for name in ("aggTrade", "bookTicker", "depthUpdate"):
        path = recorded / "binance_um_2021-07-22" / f"{name}.jsonl"
        for line in path.read_text().splitlines():
            assert messages.parse_frame(line, 0) == Ignored(name)


def test_answers_in_all_their_shapes() -> None:
    answers = {
        '{"result":null,"id":7}': Ack(7),
        '{"result":["btcusdt@kline_1m"],"id":3}': Ack(3),
        '{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}': Ack(
            19, "Too many subscriptions (code 4)"
        ),
        '{"code":2,"msg":"Invalid request"}': Ack(None, "Invalid request (code 2)"),
        '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}': ServerShutdown(),
    }
    for raw, answer in answers.items():
        assert messages.parse_frame(raw, 0) == answer


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"o":"83896.40"', '"o":83896.40', "not a decimal in quotes"),
        ('"o":"83896.40"', '"o":null', "not a decimal in quotes"),
        ('"o":"83896.40",', "", "without 'o'"),
        ('"n":2239', '"n":"2239"', "not a whole number"),
        ('"t":1790771340000', '"t":1790771340000.5', "not a whole number"),
        ('"x":false', '"x":0', "not true or false"),
        ('"v":"114.602"', '"v":"many"', "could not convert"),
        ('"s":"BTCUSDT","i"', '"s":"","i"', "not a name"),
        ('"k":', '"k2":', "without 'k'"),
    ],
)
def test_a_frame_that_is_wrong_says_where(old: str, new: str, reason: str) -> None:
    assert old in FRAME
    with pytest.raises(UnknownFrameError, match=reason):
        messages.parse_frame(FRAME.replace(old, new), 0)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_whatever_comes_is_a_value_or_unknown(raw: bytes | str) -> None:
    with contextlib.suppress(UnknownFrameError):
        messages.parse_frame(raw, 0)


@given(st.integers(0, len(FRAME) - 1), st.characters(codec="ascii"))
def test_a_damaged_frame_is_a_value_or_unknown(at: int, letter: str) -> None:
    for damaged in (FRAME[:at], FRAME[:at] + letter + FRAME[at + 1 :]):
        with contextlib.suppress(UnknownFrameError):
            messages.parse_frame(damaged, 0)


def test_huge_and_deep_frames_are_refused() -> None:
    for raw in (b" " * (messages.MAX_FRAME + 1), b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(UnknownFrameError):
            messages.parse_frame(raw, 0)


def test_names_of_streams() -> None:
    assert messages.stream_name("1000PEPEUSDT") == "1000pepeusdt@kline_1m"
    assert messages.stream_name("币安人生USDT") == "币安人生usdt@kline_1m"
    # Only ASCII has a lower case at the exchange.
    assert messages.stream_name("ÄUSDT") == "Äusdt@kline_1m"


def test_klines_leave_out_what_is_still_open() -> None:
    row = [60_000, "1", "3", "0.5", "2", "10", 119_999, "20", 4, "5", "10", "0"]
    later = [120_000, "2", "3", "0.5", "2", "10", 179_999, "20", 4, "5", "10", "0"]
    body = json.dumps([row, later]).encode()
    [candle] = messages.parse_klines(body, "A", 9, now=179_999)
    assert (candle.open_time, candle.source, candle.closed) == (60_000, "rest", True)
    assert (candle.open, candle.high, candle.low, candle.close) == (1, 3, 0.5, 2)
    assert (candle.volume, candle.quote_volume, candle.trades) == (10, 20, 4)
    assert (candle.taker_buy_volume, candle.taker_buy_quote_volume) == (5, 10)
    assert len(messages.parse_klines(body, "A", 9, now=180_000)) == 2
    assert messages.parse_bars(body, "A", now=180_000) == [(60_000, 2.0), (120_000, 2.0)]


@pytest.mark.parametrize("body", [b"", b"{}", b"[[1]]", b'[{"a":1}]', b"[1]", b"null"])
def test_answers_that_are_no_klines(body: bytes) -> None:
    with pytest.raises(UnknownFrameError, match="klines of A"):
        messages.parse_klines(body, "A", 0, now=1)


def test_the_universe_is_what_trades_and_is_perpetual() -> None:
    def entry(symbol: str, **other: object) -> dict[str, object]:
        base = {"contractType": "PERPETUAL", "status": "TRADING", "quoteAsset": "USDT"}
        return {"symbol": symbol, **base, **other}

    symbols = [
        entry("币安人生USDT"),
        entry("1INCHUSDT"),
        entry("OLDUSDT", status="SETTLING"),
        entry("BTCUSDC", quoteAsset="USDC"),
        entry("BTCUSDT_261225", contractType="CURRENT_QUARTER"),
        entry("TSLAUSDT", contractType="TRADIFI_PERPETUAL"),
        entry("NEWUSDT", contractType="NOBODY_KNOWS"),
        {"symbol": None},
        7,
    ]
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}]
    body = json.dumps({"symbols": symbols, "rateLimits": [{**limits[0], "limit": 6000}]}).encode()
    universe = parse_universe(body)
    assert universe.symbols == ("1INCHUSDT", "币安人生USDT")
    assert universe.weight_limit == 6000
    assert "TSLAUSDT" in parse_universe(body, tradfi=True).symbols


def test_the_recorded_universe(recorded: Path) -> None:
    path = recorded / "binance_um_2021-07-22" / "rest_exchangeInfo.jsonl"
    universe = parse_universe(path.read_bytes().splitlines()[0])
    assert universe.weight_limit == 2400
    assert "BTCUSDT" in universe.symbols


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"symbols":7}'])
def test_answers_that_are_no_universe(body: bytes) -> None:
    with pytest.raises(UnknownFrameError, match="exchangeInfo"):
        parse_universe(body)
