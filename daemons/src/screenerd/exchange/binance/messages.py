"""The exchange's frames and REST rows as values, and requests as bytes. No socket here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from screener.history.rest import kline
from screenerd.model import MINUTE_MS, Candle, Source

TIMEFRAME_MS = {
    name: minutes * MINUTE_MS
    for name, minutes in {"5m": 5, "15m": 15, "1h": 60, "4h": 240, "8h": 480, "1d": 1440}.items()
}
"""Lengths of the bars that are asked for."""

MAX_FRAME = 1 << 20
"""Bytes of the largest frame that is looked at; klines have about 400."""


_LONGEST_NAME = 256
"""Characters of a frame within which its stream is named."""


class UnknownFrameError(Exception):
    """A frame of a shape nobody knows; `reason` says what is odd about it."""

    def __init__(self, reason: str) -> None:
        """Takes what is odd."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to a request: no error means that it was understood, and proves nothing more."""

    id: int | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ServerShutdown:
    """The exchange is about to close this connection."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A frame that is well formed and not for us."""

    kind: str


Frame = Candle | Ack | ServerShutdown | Ignored


def parse_frame(raw: bytes | str, received_at: int) -> Frame:
    """A frame of the combined stream as a value.

    Args:
        raw: the frame as it came.
        received_at: when, ms.

    Raises:
        UnknownFrameError: it is not JSON, or not of a known shape.
    """
    if len(raw) > MAX_FRAME:
        raise UnknownFrameError(f"{len(raw)} bytes are more than {MAX_FRAME}")
    try:
        frame = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise UnknownFrameError(f"not JSON: {error}") from error
    if not isinstance(frame, dict):
        raise UnknownFrameError("not an object")
    data = frame.get("data", frame)
    if not isinstance(data, dict):
        raise UnknownFrameError('"data" is not an object')
    match data.get("e"):
        case "kline":
            return _kline(data, received_at)
        case "serverShutdown":
            return ServerShutdown()
        case str(kind):
            return Ignored(kind)
    return _answer(frame)


def _answer(frame: dict[str, Any]) -> Ack:
    """An answer in one of the two shapes errors come in."""
    wrapped = frame.get("error")
    error = wrapped if isinstance(wrapped, dict) else frame
    number = frame.get("id")
    number = number if isinstance(number, int) else None
    if "code" in error and "msg" in error:
        return Ack(number, f"{error['msg']} (code {error['code']})")
    if "result" in frame and number is not None:
        return Ack(number)
    raise UnknownFrameError(f"neither an event nor an answer: keys {sorted(frame)[:8]}")


def _kline(data: dict[str, Any], received_at: int) -> Candle | Ignored:
    try:
        kline = data["k"]
        if kline["i"] != "1m":
            return Ignored(f"kline_{kline['i']}")
        closed = kline["x"]
        if not isinstance(closed, bool):
            raise TypeError(f"x = {closed!r} is not true or false")  # noqa: TRY301
        return Candle(
            symbol=_text(kline["s"]),
            open_time=_whole(kline["t"]),
            open=_number(kline["o"]),
            high=_number(kline["h"]),
            low=_number(kline["l"]),
            close=_number(kline["c"]),
            volume=_number(kline["v"]),
            quote_volume=_number(kline["q"]),
            trades=_whole(kline["n"]),
            taker_buy_volume=_number(kline["V"]),
            taker_buy_quote_volume=_number(kline["Q"]),
            closed=closed,
            event_time=_whole(data["E"]),
            source="stream",
            received_at=received_at,
        )
    except KeyError as error:
        raise UnknownFrameError(f"kline without {error.args[0]!r}") from error
    except (TypeError, ValueError) as error:
        raise UnknownFrameError(f"kline: {error}") from error


def parse_klines(
    body: bytes, symbol: str, received_at: int, *, now: int, source: Source = "rest"
) -> list[Candle]:
    """Closed candles of a klines answer, oldest first; one that is still open is left out.

    Args:
        body: the answer.
        symbol: whose klines were asked for (rows do not say).
        received_at: when the answer came, ms.
        now: the exchange's time, ms: what closes later is still open.
        source: what to call their source.

    Raises:
        UnknownFrameError: the answer is not a list of klines.
    """
    return [candle for candle, _ in _closed(body, symbol, received_at, now, source)]


def parse_bars(body: bytes, symbol: str, *, now: int) -> list[tuple[int, float]]:
    """Closed bars of a klines answer of any interval as (open_time, close), oldest first.

    Raises:
        UnknownFrameError: the answer is not a list of klines.
    """
    return [(candle.open_time, candle.close) for candle, _ in _closed(body, symbol, 0, now, "rest")]


def _closed(
    body: bytes, symbol: str, received_at: int, now: int, source: Source
) -> list[tuple[Candle, int]]:
    try:
        rows = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnknownFrameError(f"klines of {symbol}: not JSON: {error}") from error
    if not isinstance(rows, list):
        raise UnknownFrameError(f"klines of {symbol}: not a list")
    try:
        parsed = [_row(row, symbol, received_at, source) for row in rows]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise UnknownFrameError(f"klines of {symbol}: {error}") from error
    return [(candle, close_time) for candle, close_time in parsed if close_time < now]


def _row(row: Sequence[Any], symbol: str, received_at: int, source: Source) -> tuple[Candle, int]:
    found = kline(row)
    candle = Candle(
        symbol=symbol,
        open_time=found.open_time,
        open=found.open,
        high=found.high,
        low=found.low,
        close=found.close,
        volume=found.volume,
        quote_volume=found.quote_volume,
        trades=found.trades,
        taker_buy_volume=found.taker_buy_volume,
        taker_buy_quote_volume=found.taker_buy_quote_volume,
        source=source,
        received_at=received_at,
    )
    return candle, found.close_time


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is not a name")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _number(value: object) -> float:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a decimal in quotes")
    return float(value)


def is_update(raw: str | bytes) -> bool:
    """Whether a frame is, by its letters, a version of a minute that still runs: most are."""
    return '"x":false' in raw if isinstance(raw, str) else b'"x":false' in raw


def update_key(raw: str | bytes) -> str | bytes | None:
    """What tells the updates of a symbol from those of others, before they are parsed."""
    if isinstance(raw, str):
        end = raw.find("@", 0, _LONGEST_NAME)
    else:
        end = raw.find(b"@", 0, _LONGEST_NAME)
    return None if end < 0 else raw[:end]


def running_price(raw: str | bytes, now: int) -> tuple[str, float] | None:
    """The symbol and the price of an update of the minute that runs; `None` if it is none."""
    try:
        data = orjson.loads(raw)["data"]
        symbol, minute, price = data["s"], data["k"]["t"], float(data["k"]["c"])
        runs = minute <= now < minute + MINUTE_MS
    except (ValueError, TypeError, KeyError):
        return None
    sound = runs and isinstance(symbol, str) and 0 < price < math.inf
    return (symbol, price) if sound else None


def stream_name(symbol: str) -> str:
    """The stream of a symbol's minutes; only ASCII letters have a lower case here."""
    lower = "".join(letter.lower() if letter.isascii() else letter for letter in symbol)
    return f"{lower}@kline_1m"


def subscribe(names: Sequence[str], number: int) -> bytes:
    """The request for streams; its answer carries `number`."""
    return orjson.dumps({"method": "SUBSCRIBE", "params": list(names), "id": number})


def unsubscribe(names: Sequence[str], number: int) -> bytes:
    """The request to end streams."""
    return orjson.dumps({"method": "UNSUBSCRIBE", "params": list(names), "id": number})


def minutes_between(first: int, last: int) -> int:
    """Minutes that open in [first, last), both at a minute's start, ms."""
    return max(0, (last - first) // MINUTE_MS)
