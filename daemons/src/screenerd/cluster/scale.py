"""How many workers share the screening: kept with the broker, the same for every process."""

from __future__ import annotations

import asyncio

import structlog
from nats.errors import Error
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, NotFoundError
from nats.js.kv import KeyValue

from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.jetstream.check import BrokerError
from screenerd.clock import SystemClock
from screenerd.config import Config

log = structlog.get_logger("cluster")

BUCKET = "screener-scale"
KEY = "workers"
ANSWER_SECONDS = 15.0


class Scale:
    """Asks how many workers there are to be; what was last known stands while nobody can say."""

    def __init__(self, bus: JetStreamBus, configured: int) -> None:
        """Takes the bus, and how many there are as long as nobody has said otherwise."""
        self._bus, self._known = bus, configured
        self._bucket: KeyValue | None = None

    async def workers(self) -> int:
        """How many there are to be now."""
        if not self._bus.connection.is_up:
            return self._known
        try:
            self._bucket = self._bucket or await _bucket(self._bus)
            told = await self._bucket.get(KEY)
            self._known = max(1, int(told.value or b"1"))
        except KeyNotFoundError:
            pass
        except (Error, OSError, TimeoutError, NotFoundError) as error:
            self._bucket = None
            log.warning("number of workers not known, as before", error=str(error) or repr(error))
        return self._known

    async def set(self, workers: int) -> int:
        """Says how many; gives how many there were."""
        before = await self.workers()
        bucket = self._bucket or await _bucket(self._bus)
        await bucket.put(KEY, str(workers).encode())
        return before


async def rescale(config: Config, workers: int) -> int:
    """Says how many workers there are to be; gives how many there were.

    Raises:
        BrokerError: the broker does not answer, or is not one to be trusted.
    """
    try:
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            JetStreamBus(config.bus, SystemClock()) as bus,
        ):
            return await Scale(bus, config.screen.workers).set(workers)
    except TimeoutError:
        raise BrokerError(
            f"no broker at {', '.join(config.bus.servers)} answers within {ANSWER_SECONDS:g} s: "
            "see that it runs and that bus.servers is right, and ask again"
        ) from None


async def _bucket(bus: JetStreamBus) -> KeyValue:
    js = await bus.connection.ready()
    try:
        return await js.key_value(BUCKET)
    except BucketNotFoundError:
        return await js.create_key_value(bucket=BUCKET, replicas=bus.settings.replicas)
