"""Alerts that are put aside while the database is away: with the broker, in a bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import orjson
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
    told: dict[str, Any] = {"channels": dict(aside.channels)}
    if aside.alert is not None:
        [[sent]] = encode(aside.alert, 1, "")
        told |= {"subject": sent.subject, "alert": orjson.Fragment(sent.payload)}
    return orjson.dumps(told)


def _aside(name: str, value: bytes) -> Aside | None:
    try:
        told = orjson.loads(value)
        alert = decode(told["subject"], orjson.dumps(told["alert"])) if "alert" in told else None
    except (PoisonError, ValueError, KeyError, TypeError) as error:
        _LOG.error("alert_put_aside_not_understood", name=name, error=repr(error))
        return None
    if alert is not None and not isinstance(alert, Alert):
        _LOG.error("alert_put_aside_not_understood", name=name, error="it is no alert")
        return None
    return Aside(name, alert, told["channels"])


async def _answered(work: Callable[[], Awaitable[T]]) -> T:
    backoff = Backoff(first=0.2, longest=5.0)
    while True:
        try:
            return await work()
        except NoAnswerError as error:
            _LOG.warning("waiting_for_the_broker", error=str(error))
        await asyncio.sleep(backoff.failed())
