"""Messages as bytes on subjects. Pure.

JSON, except metrics between the roles, which are Arrow IPC.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from typing import Any, cast

import orjson
import polars as pl

from screenerd.bus.jetstream.subjects import token
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
    Unfollowed,
)
from screenerd.outside import alert_value, iso, metrics
from screenerd.shards import shard_of

PART_BYTES = 250_000
"""A list of candles is split so that its parts stay below this."""

FRAME_BYTES = 500_000
"""The same of metrics, as polars estimates them, and how much is kept of a frame that could not be
read; the broker takes a million by default."""

_CONTENT = tuple(field.name for field in fields(Candle) if field.name != "received_at")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way; `id` tells the broker which are the same."""

    subject: str
    payload: bytes
    id: str


def encode(message: Message, shards: int, nonce: str) -> list[list[Outgoing]]:
    """A kept message in parts: those of one list go out one after the other.

    Args:
        message: what is told.
        shards: how many there are.
        nonce: what makes the id of a message unique that may be told twice.
    """
    match message:
        case CandleBatch():
            return [
                _candle_parts(message, number, some) for number, some in _by_shard(message, shards)
            ]
        case Metrics():
            return [
                _metric_parts(message.exchange, number, frame, nonce)
                for number, frame in _frames(message.frame, shards)
            ]
        case Alert():
            payload = orjson.dumps(alert_value(message))
            return [[Outgoing("alerts.triggered", payload, f"{message.id}.{message.state}")]]
    subject, value = _plain(message, shards)
    payload = orjson.dumps(value)
    unique = isinstance(message, RuleSwitch | SettingsChanged)
    return [[Outgoing(subject, payload, nonce if unique else _digest(subject.encode(), payload))]]


def passing(message: Prices | Report) -> tuple[str, bytes]:
    """Subject and bytes of a message that is not kept."""
    if isinstance(message, Prices):
        value = {
            "type": "prices", "timestamp": iso(message.at), "exchange": message.exchange,
            "at": message.at, "prices": dict(message.prices),
        }  # fmt: skip
        return f"prices.{token(message.exchange)}", orjson.dumps(value)
    value = {
        "type": "report", "timestamp": iso(message.at), "role": message.role,
        "instance": message.instance, "at": message.at, "body": message.body,
    }  # fmt: skip
    return f"reports.{token(message.role)}.{token(message.instance)}", orjson.dumps(value)


def views(message: Message) -> Iterator[tuple[str, bytes]]:
    """The same for other consumers, a message a symbol; never kept."""
    if isinstance(message, CandleBatch):
        for candle in message.candles:
            value = _candle_value(message.exchange, candle)
            yield f"candles.1m.{token(candle.symbol)}", orjson.dumps(value)
    elif isinstance(message, Metrics):
        told = metrics(message.frame, type="metrics", exchange=message.exchange)
        for payload in told.values():
            yield "metrics.calculated", payload


def _by_shard(batch: CandleBatch, shards: int) -> Iterable[tuple[int, list[Candle]]]:
    found: dict[int, list[Candle]] = {}
    for candle in batch.candles:
        found.setdefault(shard_of(candle.symbol, shards), []).append(candle)
    return found.items()


def _candle_parts(batch: CandleBatch, shard: int, candles: list[Candle]) -> list[Outgoing]:
    subject = f"candles.1m.batch.{token(batch.exchange)}.{shard}"
    parts: list[Outgoing] = []
    texts: list[bytes] = []
    size, begin = 0, 0
    for place, candle in enumerate(candles):
        text = orjson.dumps(_candle_value(batch.exchange, candle))
        if texts and size + len(text) > PART_BYTES:
            parts.append(_candle_part(subject, texts, candles[begin:place]))
            texts, size, begin = [], 0, place
        texts.append(text)
        size += len(text) + 1
    parts.append(_candle_part(subject, texts, candles[begin:]))
    return parts


def _candle_part(subject: str, texts: list[bytes], candles: list[Candle]) -> Outgoing:
    """Its id is of its content; when it was received is not: two collectors agree."""
    content = orjson.dumps([[getattr(one, name) for name in _CONTENT] for one in candles])
    return Outgoing(subject, b"[" + b",".join(texts) + b"]", _digest(subject.encode(), content))


def _candle_value(exchange: str, candle: Candle) -> dict[str, Any]:
    return {
        "type": "candle.1m",
        "timestamp": iso(candle.close_time),
        "exchange": exchange,
        "symbol": candle.symbol,
        "source": candle.source,
        "closed": candle.closed,
        "revision": candle.revision,
        "event_time": candle.event_time,
        "received_at": candle.received_at,
        "data": {
            "open_time": candle.open_time,
            "open": candle.open,
            "high": candle.high,
            "low": candle.low,
            "close": candle.close,
            "volume": candle.volume,
            "quote_volume": candle.quote_volume,
            "trades": candle.trades,
            "taker_buy_volume": candle.taker_buy_volume,
            "taker_buy_quote_volume": candle.taker_buy_quote_volume,
        },
    }


def _frames(frame: pl.DataFrame, shards: int) -> Iterator[tuple[int, pl.DataFrame]]:
    numbers = pl.Series("shard", [shard_of(name, shards) for name in frame["symbol"]], pl.UInt32)
    for number in sorted(set(numbers)):
        yield number, frame.filter(numbers == number)


def _metric_parts(exchange: str, shard: int, frame: pl.DataFrame, nonce: str) -> list[Outgoing]:
    subject = f"metrics.batch.{token(exchange)}.{shard}"
    rows = max(1, frame.height // (1 + int(frame.estimated_size()) // FRAME_BYTES))
    return [
        Outgoing(subject, _arrow(part), f"{nonce}.{shard}.{place}")
        for place, part in enumerate(frame.iter_slices(rows))
    ]


def _arrow(frame: pl.DataFrame) -> bytes:
    out = BytesIO()
    frame.write_ipc(out, compression="lz4")
    return out.getvalue()


def _plain(message: Message, shards: int) -> tuple[str, dict[str, Any]]:
    """Subject and fields of a message that goes as it is."""
    match message:
        case Bars():
            shard = shard_of(message.symbol, shards)
            return f"candles.bars.{token(message.exchange)}.{shard}", _tagged("bars", message)
        case Followed() | Unfollowed() | FeedLost() | Reconnected():
            kind = _LISTING[type(message)]
            return f"candles.listing.{kind}.{token(message.exchange)}", _tagged(kind, message)
        case RuleSwitch():
            return "control.rule", _tagged("rule", message)
        case SettingsChanged():
            return "control.settings", _tagged("settings", message)
        case DeadLetter():
            kept = b64encode(message.frame[:FRAME_BYTES]).decode()
            value = {
                "type": "frame", "exchange": message.exchange, "received_at": message.received_at,
                "reason": message.reason, "frame": kept,
            }  # fmt: skip
            return f"dead.frames.{token(message.exchange)}", value
    raise TypeError(f"{type(message).__name__} is not kept by the bus")


def _tagged(kind: str, message: Message) -> dict[str, Any]:
    return {"type": kind, **asdict(cast("Any", message))}


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


_LISTING: dict[type[Message], str] = {
    Followed: "followed",
    Unfollowed: "unfollowed",
    FeedLost: "lost",
    Reconnected: "reconnected",
}
