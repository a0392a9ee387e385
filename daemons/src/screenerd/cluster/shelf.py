"""Alerts that are put aside while the database is away: with the broker, in a bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
import structlog

from screenerd.backoff import Backoff
from screenerd.bus.jetstream.bucket import Bucket, NoAnswerError
from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.decode import PoisonError, decode
from screenerd.bus.jetstream.encode import encode
from screenerd.model import Alert
from screenerd.notify.spare import Aside

T = TypeVar("T")

BUCKET: Final = "screener_aside"

_LOG = structlog.get_logger(__name__)


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of an alert: the message that told it, unless the store has it."""

    channels: dict[str, int | None]
    subject: str = ""
    alert: msgspec.Raw = msgspec.Raw()


class BrokerShelf:
    """A bucket of the broker; while that is away, too, who asks waits."""

    def __init__(self, bus: JetStreamBus) -> None:
        """Takes the bus."""
        self._bucket = Bucket(bus.connection, BUCKET)

    async def put(self, aside: Aside) -> None:
        """Keeps one, in the place of what was kept of the same alert; safe when this returns."""
        value = _bytes_of(aside)
        await _answered(lambda: self._bucket.put(aside.alert_id, value))

    async def remove(self, alert_id: str) -> None:
        """Keeps it no longer."""
        await _answered(lambda: self._bucket.remove(alert_id))

    async def everything(self) -> list[Aside]:
        """All that is kept."""
        found = await _answered(self._bucket.everything)
        return [one for name, value in found.items() if (one := _aside(name, value)) is not None]


def _bytes_of(aside: Aside) -> bytes:
    told = _Kept(dict(aside.channels))
    if aside.alert is not None:
        [[sent]] = encode(aside.alert, 1, "")
        told = _Kept(dict(aside.channels), sent.subject, msgspec.Raw(sent.payload))
    return msgspec.json.encode(told)


def _aside(name: str, value: bytes) -> Aside | None:
    try:
        told = msgspec.json.decode(value, type=_Kept)
        alert = decode(told.subject, bytes(told.alert)) if told.subject else None
    except (msgspec.MsgspecError, PoisonError, ValueError) as error:
        _LOG.error("alert_put_aside_not_understood", name=name, error=str(error))
        return None
    if not isinstance(alert, Alert | None):
        _LOG.error("alert_put_aside_not_understood", name=name, error="it is no alert")
        return None
    return Aside(name, alert, told.channels)


async def _answered(work: Callable[[], Awaitable[T]]) -> T:
    backoff = Backoff(first=0.2, longest=5.0)
    while True:
        try:
            return await work()
        except NoAnswerError as error:
            _LOG.warning("waiting_for_the_broker", error=str(error))
        await asyncio.sleep(backoff.failed())
