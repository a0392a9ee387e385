"""Messages from bytes. Pure.

What a message holds is written down as types, for msgspec to check: unknown fields are ignored, a
missing or wrong one makes a `PoisonError` that names its place.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Annotated, Any, TypeVar

import msgspec
import polars as pl
from msgspec import Meta

from screenerd.bus.jetstream.subjects import name_of
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

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

Time = Annotated[datetime, Meta(tz=True)]
"""ISO 8601 that names its zone."""

Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What the engine and the stores can hold; JSON has no bounds."""


class PoisonError(ValueError):
    """A message that cannot be read; fields: `subject`, `told`."""

    def __init__(self, subject: str, told: str) -> None:
        """Takes where it was found, and what is wrong."""
        super().__init__(f"{subject}: {told}")
        self.subject, self.told = subject, told


def decode(subject: str, payload: bytes) -> Message:
    """What a message says.

    Raises:
        PoisonError: it cannot be read.
    """
    reader = next((read for prefix, read in _READERS.items() if subject.startswith(prefix)), None)
    if reader is None:
        raise PoisonError(subject, "no message has this subject")
    try:
        return reader(subject, payload)
    except msgspec.ValidationError as error:
        raise PoisonError(subject, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PoisonError(subject, f"not JSON: {error}") from error


class _Numbers(msgspec.Struct, frozen=True, gc=False):
    """The fields of `data` of a candle; those that may be null have to be there."""

    open_time: Whole
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trades: Whole | None
    taker_buy_volume: float | None
    taker_buy_quote_volume: float | None


class _Candle(msgspec.Struct, frozen=True, gc=False):
    exchange: str
    symbol: str
    source: Source
    closed: bool
    event_time: Whole | None
    revision: Whole
    received_at: Whole
    data: _Numbers


class _Stamps(msgspec.Struct, frozen=True):
    exchange_close: Time
    exchange_event: Time | None
    received: Time
    decided: Time
    stored: Time | None
    sent: Time | None


class _Metadata(msgspec.Struct, frozen=True):
    title: str
    direction: str
    vcp: float | None
    evidence: dict[str, float | None]
    stamps: _Stamps


class _Alert(msgspec.Struct, frozen=True):
    id: str
    triggered_at: Time
    exchange: str
    symbol: str
    alert_type: str
    timeframe: str
    price: float
    volume: float | None
    change_pct: float | None
    state: str
    rule_version: str
    shadow: bool
    metadata: _Metadata


class _Switch(msgspec.Struct, frozen=True):
    rule: str
    enabled: bool
    cooldown_ms: Whole | None


def _batch(candles: list[_Candle]) -> CandleBatch:
    exchange = candles[0].exchange
    if any(one.exchange != exchange for one in candles):
        several = ", ".join(sorted({one.exchange for one in candles}))
        raise msgspec.ValidationError(f"candles of several exchanges: {several}")
    return CandleBatch(exchange, tuple(map(_candle, candles)))


def _candle(told: _Candle) -> Candle:
    data = told.data
    return Candle(
        told.symbol,
        data.open_time,
        data.open,
        data.high,
        data.low,
        data.close,
        data.volume,
        data.quote_volume,
        data.trades,
        data.taker_buy_volume,
        data.taker_buy_quote_volume,
        told.closed,
        told.event_time,
        told.source,
        told.revision,
        told.received_at,
    )


def _alert(told: _Alert) -> Alert:
    of, stamps = told.metadata, told.metadata.stamps
    return Alert(
        id=told.id,
        triggered_at=_ms(told.triggered_at),
        exchange=told.exchange,
        symbol=told.symbol,
        rule=told.alert_type,
        title=of.title,
        direction=of.direction,
        timeframe=told.timeframe,
        price=told.price,
        quote_volume=told.volume,
        change=told.change_pct,
        vcp=of.vcp,
        state=told.state,
        rule_version=told.rule_version,
        evidence=of.evidence,
        stamps=Stamps(
            _ms(stamps.exchange_close),
            _maybe_ms(stamps.exchange_event),
            _ms(stamps.received),
            _ms(stamps.decided),
            _maybe_ms(stamps.stored),
            _maybe_ms(stamps.sent),
        ),
        shadow=told.shadow,
    )


def _ms(time: datetime) -> int:
    return (time - _EPOCH) // _MS


def _maybe_ms(time: datetime | None) -> int | None:
    return None if time is None else _ms(time)


def _switch(told: _Switch) -> RuleSwitch:
    return RuleSwitch(told.rule, told.enabled, told.cooldown_ms)


def _metrics(subject: str, payload: bytes) -> Metrics:
    try:
        frame = pl.read_ipc(BytesIO(payload))
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise PoisonError(subject, f"not Arrow: {error}") from error
    lacking = {"symbol", "open_time"} - set(frame.columns)
    if lacking:
        raise PoisonError(subject, f"lacks the column {min(lacking)}")
    return Metrics(name_of(subject.split(".")[2]), frame)


def _json(kind: Any, make: Callable[[Any], Message] | None = None) -> _Reader:
    """Reads JSON as a type, which is the message itself, or what it is made of."""
    decoder = msgspec.json.Decoder(kind)

    def read(_: str, payload: bytes) -> Message:
        told = decoder.decode(payload)
        return make(told) if make else told

    return read


_Reader = Callable[[str, bytes], Message]

_READERS: dict[str, _Reader] = {
    "candles.1m.batch.": _json(Annotated[list[_Candle], Meta(min_length=1)], _batch),
    "metrics.batch.": _metrics,
    "candles.bars.": _json(Bars),
    "candles.listing.followed.": _json(Followed),
    "candles.listing.unfollowed.": _json(Unfollowed),
    "candles.listing.lost.": _json(FeedLost),
    "candles.listing.reconnected.": _json(Reconnected),
    "alerts.triggered": _json(_Alert, _alert),
    "control.rule": _json(_Switch, _switch),
    "control.settings": _json(SettingsChanged),
    "dead.frames.": _json(DeadLetter),
    "prices.": _json(Prices),
    "reports.": _json(Report),
}
