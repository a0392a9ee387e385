"""What is kept is published until the broker has said that it has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog
from nats.errors import Error, MaxPayloadError, NoRespondersError
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from screenerd.backoff import Backoff
from screenerd.bus.jetstream.connection import Connection
from screenerd.bus.jetstream.encode import Outgoing

log = structlog.get_logger("screenerd")

LONGEST_WAIT = 5.0
STREAM_FULL = {10077, 10122}
"""Codes of JetStream: bytes and messages exceeded."""


@dataclass(slots=True)
class Publisher:
    """Publishes with ids, again and again, until each is acknowledged.

    Attributes:
        connection: to the broker.
        repair: makes the streams that are missing.
        waiting: since when each message waits, seconds of the loop, by its id.
        trouble: why the newest attempt failed, if it did.
    """

    connection: Connection
    repair: Callable[[], Awaitable[None]]
    waiting: dict[str, float] = field(default_factory=dict)
    trouble: str = ""

    async def put(self, lists: Sequence[Sequence[Outgoing]]) -> None:
        """Publishes lists side by side, each in its order; returns when all is acknowledged."""
        if len(lists) == 1:
            await self._in_order(lists[0])
            return
        async with asyncio.TaskGroup() as group:
            for some in lists:
                group.create_task(self._in_order(some))

    async def _in_order(self, some: Sequence[Outgoing]) -> None:
        for one in some:
            self.waiting.setdefault(one.id, asyncio.get_running_loop().time())
            try:
                await self._until_kept(one)
            finally:
                self.waiting.pop(one.id, None)

    async def _until_kept(self, one: Outgoing) -> None:
        backoff = Backoff(first=0.1, longest=LONGEST_WAIT)
        while not await self._kept(one):
            self.connection.counters.republished += 1
            if self.connection.is_up:
                await asyncio.sleep(backoff.failed())

    async def _kept(self, one: Outgoing) -> bool:
        js = await self.connection.ready()
        seconds = self.connection.settings.ack_seconds
        try:
            async with self.connection.within(seconds + 1):
                await js.publish(one.subject, one.payload, seconds, headers={Header.MSG_ID: one.id})
        except MaxPayloadError:
            raise
        except (NoStreamResponseError, NoRespondersError, NotFoundError):
            self._failed(one, "no stream takes it")
            await self.repair()
        except APIError as error:
            self._failed(one, _told(error))
        except (Error, OSError, TimeoutError) as error:
            self._failed(one, str(error) or "no acknowledgement")
        else:
            self.connection.counters.published += 1
            self.trouble = ""
            return True
        return False

    def _failed(self, one: Outgoing, why: str) -> None:
        told = f"{one.subject}: {why}"
        if told != self.trouble:
            log.warning("not published yet", subject=one.subject, why=why)
        self.trouble = told


def _told(error: APIError) -> str:
    if error.err_code in STREAM_FULL:
        return (
            "the stream is full and refuses what is new: raise its max_bytes under [bus], or see "
            "why nothing of it grows old"
        )
    return error.description or str(error)
