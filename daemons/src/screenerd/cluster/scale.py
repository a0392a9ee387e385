"""How many workers share the screening: kept with the broker, the same for every process."""

from __future__ import annotations

import asyncio

import structlog

from screenerd.bus.jetstream.bucket import Bucket, NoAnswerError
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
        self._bucket = Bucket(bus.connection, BUCKET)

    async def workers(self) -> int:
        """How many there are to be now."""
        if not self._bus.connection.is_up:
            return self._known
        try:
            told = await self._bucket.get(KEY)
            self._known = self._known if told is None else max(1, int(told or b"1"))
        except NoAnswerError as error:
            log.warning("number of workers not known, as before", error=str(error))
        return self._known

    async def set(self, workers: int) -> int:
        """Says how many; gives how many there were.

        Raises:
            NoAnswerError: the broker does not answer.
        """
        before = await self.workers()
        await self._bucket.put(KEY, str(workers).encode())
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
    except (NoAnswerError, TimeoutError):
        raise BrokerError(
            f"no broker at {', '.join(config.bus.servers)} answers within {ANSWER_SECONDS:g} s: "
            "see that it runs and that bus.servers is right, and ask again"
        ) from None
