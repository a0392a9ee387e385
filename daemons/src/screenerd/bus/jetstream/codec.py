"""Messages as bytes on subjects, and back. Pure.

JSON, except metrics between the roles, which are Arrow IPC. Unknown fields are ignored; a missing
or wrong one makes a `PoisonError` that names it.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from typing import Any, TypeVar, cast

import orjson
import polars as pl

from screenerd.bus.jetstream.subjects import name_of, token
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
    Source,
    Stamps,
    Unfollowed,
)
from screenerd.outside import STAMPS, alert_value, from_iso, iso, metrics
from screenerd.shards import shard_of

PART_BYTES = 250_000
"""A list of candles is split so that its parts stay below this."""

FRAME_BYTES = 500_000
"""The same of metrics, as polars estimates them, and how much is kept of a frame that could not be
read; the broker takes a million by default."""

T = TypeVar("T")

_CONTENT = tuple(field.name for field in fields(Candle) if field.name != "received_at")
_SOURCES = ("synthetic", "stream", "rest", "archive")


class PoisonError(ValueError):
    """A message that cannot be read; fields: `subject`, `told`."""

    def __init__(self, subject: str, told: str) -> None:
        """Takes where it was found, and what is wrong."""
        super().__init__(f"{subject}: {told}")
        self.subject, self.told = subject, told


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
    value = {"type": "report", "timestamp": iso(message.at), **asdict(message)}
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


def decode(subject: str, payload: bytes) -> Message:
    """What a message says.

    Raises:
        PoisonError: it cannot be read.
    """
    tokens = subject.split(".")
    if tokens[:2] == ["metrics", "batch"] and len(tokens) == 4:
        return _metrics(subject, name_of(tokens[2]), payload)
    reader = next((read for prefix, read in _READERS.items() if subject.startswith(prefix)), None)
    if reader is None:
        raise PoisonError(subject, "no message has this subject")
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise PoisonError(subject, f"not JSON: {error}") from error
    try:
        return reader(value)
    except _WrongError as error:
        raise PoisonError(subject, str(error)) from error


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


def _metrics(subject: str, exchange: str, payload: bytes) -> Metrics:
    try:
        frame = pl.read_ipc(BytesIO(payload))
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise PoisonError(subject, f"not Arrow: {error}") from error
    lacking = {"symbol", "open_time"} - set(frame.columns)
    if lacking:
        raise PoisonError(subject, f"lacks the column {min(lacking)}")
    return Metrics(exchange, frame)


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


class _WrongError(ValueError):
    """What is wrong in a value."""


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of an object; knows its own place, to say where something is missing."""

    value: Mapping[str, Any]
    place: str = ""

    @classmethod
    def of(cls, value: object, place: str = "") -> _Fields:
        """Refuses what is no object."""
        if not isinstance(value, dict):
            raise _WrongError(f"{place or 'the message'} is no object")
        return cls(value, f"{place}." if place else "")

    def inner(self, name: str) -> _Fields:
        """An object inside."""
        return self.of(self._there(name), f"{self.place}{name}")

    def text(self, name: str) -> str:
        """A text."""
        return cast("str", self._typed(name, "text", str))

    def items(self, name: str) -> list[Any]:
        """A list."""
        return cast("list[Any]", self._typed(name, "list", list))

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self.items(name)
        if not all(isinstance(one, str) for one in found):
            raise _WrongError(f"{self.place}{name} is no list of texts")
        return tuple(found)

    def whole(self, name: str) -> int:
        """A whole number."""
        return cast("int", self._typed(name, "whole number", int))

    def number(self, name: str) -> float:
        """A number."""
        return float(self._typed(name, "number", int, float))

    def flag(self, name: str) -> bool:
        """True or false."""
        found = self._there(name)
        if not isinstance(found, bool):
            raise _WrongError(f"{self.place}{name} is neither true nor false")
        return found

    def time(self, name: str) -> int:
        """A time in ISO 8601, as ms."""
        text = self.text(name)
        try:
            return from_iso(text)
        except ValueError as error:
            raise _WrongError(f"{self.place}{name} is no time: {error}") from error

    def numbers(self, name: str) -> dict[str, Any]:
        """Numbers or nothing, by name."""
        inner = self.inner(name)
        return {key: inner.maybe(key, inner.number) for key in inner.value}

    def maybe(self, name: str, read: Callable[[str], T]) -> T | None:
        """What may be null."""
        return None if self._there(name) is None else read(name)

    def _typed(self, name: str, told: str, *kinds: type) -> Any:
        found = self._there(name)
        if not isinstance(found, kinds) or isinstance(found, bool):
            raise _WrongError(f"{self.place}{name} is no {told}")
        return found

    def _there(self, name: str) -> Any:
        if name not in self.value:
            raise _WrongError(f"lacks {self.place}{name}")
        return self.value[name]


def _read_batch(value: object) -> CandleBatch:
    if not isinstance(value, list) or not value:
        raise _WrongError("no list of candles")
    each = [_Fields.of(one, f"candle {place}") for place, one in enumerate(value)]
    exchanges = {one.text("exchange") for one in each}
    if len(exchanges) > 1:
        raise _WrongError(f"candles of several exchanges: {', '.join(sorted(exchanges))}")
    return CandleBatch(exchanges.pop(), tuple(_read_candle(one) for one in each))


def _read_candle(message: _Fields) -> Candle:
    data = message.inner("data")
    source = message.text("source")
    if source not in _SOURCES:
        raise _WrongError(f"{message.place}source = {source!r} is none of {', '.join(_SOURCES)}")
    return Candle(
        message.text("symbol"),
        data.whole("open_time"),
        data.number("open"),
        data.number("high"),
        data.number("low"),
        data.number("close"),
        data.number("volume"),
        data.number("quote_volume"),
        trades=data.maybe("trades", data.whole),
        taker_buy_volume=data.maybe("taker_buy_volume", data.number),
        taker_buy_quote_volume=data.maybe("taker_buy_quote_volume", data.number),
        closed=message.flag("closed"),
        event_time=message.maybe("event_time", message.whole),
        source=cast("Source", source),
        revision=message.whole("revision"),
        received_at=message.whole("received_at"),
    )


def _read_alert(value: object) -> Alert:
    message = _Fields.of(value)
    metadata = message.inner("metadata")
    stamps = metadata.inner("stamps")
    needed = {"exchange_close", "received", "decided"}
    return Alert(
        id=message.text("id"),
        triggered_at=message.time("triggered_at"),
        exchange=message.text("exchange"),
        symbol=message.text("symbol"),
        rule=message.text("alert_type"),
        title=metadata.text("title"),
        direction=metadata.text("direction"),
        timeframe=message.text("timeframe"),
        price=message.number("price"),
        quote_volume=message.maybe("volume", message.number),
        change=message.maybe("change_pct", message.number),
        vcp=metadata.maybe("vcp", metadata.number),
        state=message.text("state"),
        rule_version=message.text("rule_version"),
        evidence=metadata.numbers("evidence"),
        stamps=Stamps(
            **{
                name: stamps.time(name) if name in needed else stamps.maybe(name, stamps.time)
                for name in STAMPS
            }  # type: ignore[arg-type]  # the needed ones are never None
        ),
        shadow=message.flag("shadow"),
    )


def _read_bars(value: object) -> Bars:
    message = _Fields.of(value)
    closes = message.items("closes")
    try:
        pairs = tuple((int(time), float(close)) for time, close in closes)
    except (TypeError, ValueError) as error:
        raise _WrongError("closes is no list of pairs of numbers") from error
    return Bars(message.text("exchange"), message.text("symbol"), message.text("timeframe"), pairs)


def _read_followed(value: object) -> Followed:
    message = _Fields.of(value)
    return Followed(message.text("exchange"), message.texts("symbols"), message.whole("at"))


def _read_unfollowed(value: object) -> Unfollowed:
    message = _Fields.of(value)
    return Unfollowed(message.text("exchange"), message.texts("symbols"), message.whole("at"))


def _read_lost(value: object) -> FeedLost:
    message = _Fields.of(value)
    return FeedLost(
        message.text("exchange"),
        message.whole("connection"),
        message.texts("symbols"),
        message.whole("at"),
        message.text("reason"),
    )


def _read_reconnected(value: object) -> Reconnected:
    message = _Fields.of(value)
    return Reconnected(
        message.text("exchange"),
        message.whole("connection"),
        message.texts("symbols"),
        message.whole("since"),
        message.whole("at"),
    )


def _read_switch(value: object) -> RuleSwitch:
    message = _Fields.of(value)
    cooldown = message.maybe("cooldown_ms", message.whole)
    return RuleSwitch(message.text("rule"), message.flag("enabled"), cooldown)


def _read_settings(value: object) -> SettingsChanged:
    return SettingsChanged(_Fields.of(value).text("user"))


def _read_frame(value: object) -> DeadLetter:
    message = _Fields.of(value)
    text = message.text("frame")
    try:
        frame = b64decode(text, validate=True)
    except ValueError as error:
        raise _WrongError("frame is not base64") from error
    return DeadLetter(
        message.text("exchange"), message.whole("received_at"), message.text("reason"), frame
    )


def _read_prices(value: object) -> Prices:
    message = _Fields.of(value)
    prices = message.inner("prices")
    told = {symbol: prices.number(symbol) for symbol in prices.value}
    return Prices(message.text("exchange"), message.whole("at"), told)


def _read_report(value: object) -> Report:
    message = _Fields.of(value)
    body = dict(message.inner("body").value)
    return Report(message.text("role"), message.text("instance"), message.whole("at"), body)


_LISTING: dict[type[Message], str] = {
    Followed: "followed",
    Unfollowed: "unfollowed",
    FeedLost: "lost",
    Reconnected: "reconnected",
}

_READERS: dict[str, Callable[[object], Message]] = {
    "candles.1m.batch.": _read_batch,
    "candles.bars.": _read_bars,
    "candles.listing.followed.": _read_followed,
    "candles.listing.unfollowed.": _read_unfollowed,
    "candles.listing.lost.": _read_lost,
    "candles.listing.reconnected.": _read_reconnected,
    "alerts.triggered": _read_alert,
    "control.rule": _read_switch,
    "control.settings": _read_settings,
    "dead.frames.": _read_frame,
    "prices.": _read_prices,
    "reports.": _read_report,
}
