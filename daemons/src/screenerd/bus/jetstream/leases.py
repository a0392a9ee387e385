"""Who does what only one may do: names that are held for a while, in a bucket of the broker.

A holder renews its lease before it runs out. It counts from before it asked, the broker from when
it stored that, so a holder that is frozen or cut off knows that it has lost its lease no later than
anybody else can get it.

That is so as long as clocks go: the holder's stands still while its machine is suspended, until it
has asked again, and a broker whose clock is put forward lets leases run out so much sooner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar
from uuid import uuid4

import structlog
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

from screenerd.bus.jetstream.bucket import Bucket, NoAnswerError
from screenerd.bus.jetstream.connection import Connection
from screenerd.clock import Clock

log = structlog.get_logger("screenerd")

T = TypeVar("T")

TTL_SECONDS = 6.0
BUCKET = "screener_leases"
RETRY_SECONDS = 0.2


class Records(Protocol):
    """Names with values and revisions; one that is not written again is gone after the ttl."""

    async def create(self, name: str, value: bytes) -> int | None:
        """The revision of a new record; `None` if there is one."""
        ...

    async def update(self, name: str, value: bytes, revision: int) -> int | None:
        """The next revision; `None` if the record is at another than this."""
        ...

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """A record's value and revision, if there is one."""
        ...

    async def delete(self, name: str, revision: int) -> None:
        """Removes a record that is at this revision."""
        ...


@dataclass(slots=True, eq=False)
class Lease:
    """A name that is held.

    Attributes:
        name: which.
        owner: by whom.
        revision: rises with every renewal and every holder.
        lost: set at the latest when others may have it.
    """

    name: str
    owner: str
    revision: int
    _value: bytes
    _expires: float
    _ttl: float
    _records: Records
    _clock: Clock
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    _renewing: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """Whether it is held now: true only while nobody else can have it."""
        if self._clock.monotonic() >= self._expires:
            self.lost.set()
        return not self.lost.is_set()

    async def release(self) -> None:
        """Gives it back, so that another may have it at once."""
        held = self.held
        self.lost.set()
        if self._renewing is not None:
            self._renewing.cancel()
        if held:
            with suppress(NoAnswerError):
                await self._records.delete(self.name, self.revision)

    async def keep(self) -> None:
        """Renews it until it is lost."""
        wait = self._ttl / 3
        while self.held:
            await self._pause(wait)
            if not self.held:
                break
            try:
                renewed = await self._renew()
            except NoAnswerError:
                wait = RETRY_SECONDS
            else:
                if not renewed:
                    break
                wait = self._ttl / 3
        self.lost.set()
        log.warning("lease lost", lease=self.name, owner=self.owner)

    async def _pause(self, seconds: float) -> None:
        """Waits, but not past its end."""
        left = self._expires - self._clock.monotonic()
        await self._clock.sleep(max(0.0, min(seconds, left)))

    async def _renew(self) -> bool:
        """Whether it is still ours. An answer that was lost may have moved the revision."""
        sent = self._clock.monotonic()
        revision = await self._within(self._records.update(self.name, self._value, self.revision))
        if revision is None:
            found = await self._within(self._records.read(self.name))
            if found is None or found[0] != self._value:
                return False
            self.revision = found[1]
            revision = await self._within(
                self._records.update(self.name, self._value, self.revision)
            )
            if revision is None:
                return False
        self.revision, self._expires = revision, sent + self._ttl
        return True

    async def _within(self, work: Awaitable[T]) -> T:
        """An answer is of no use once the lease has run out."""
        left = self._clock.real(self._expires - self._clock.monotonic())
        try:
            async with asyncio.timeout(max(0.0, left)):
                return await work
        except TimeoutError as error:
            raise NoAnswerError(f"no answer about {self.name}") from error


class Leases:
    """Acquires leases, and renews them while it is entered."""

    def __init__(self, records: Records, clock: Clock, ttl: float = TTL_SECONDS) -> None:
        """Takes where they are kept, and for how many seconds each is given."""
        self._records, self._clock, self._ttl = records, clock, ttl
        self._group = asyncio.TaskGroup()
        self._held: set[Lease] = set()

    async def __aenter__(self) -> Self:
        """Starts to renew."""
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        """Gives back what is held."""
        for lease in list(self._held):
            await lease.release()
        await self._group.__aexit__(*error)

    async def acquire(self, name: str, owner: str, *, reserve: float = 0.0) -> Lease | None:
        """A lease of a name that nobody holds, or whose holder let it run out.

        Args:
            name: which.
            owner: who takes it.
            reserve: seconds that it is to be told lost before anybody else can have it.

        Raises:
            NoAnswerError: the broker did not answer.
        """
        value = f"{owner} {uuid4().hex}".encode()
        sent = self._clock.monotonic()
        revision = await self._records.create(name, value)
        if revision is None:
            return None
        ttl = self._ttl - reserve
        lease = Lease(name, owner, revision, value, sent + ttl, ttl, self._records, self._clock)
        if not lease.held:
            return None
        self._held.add(lease)
        task = self._group.create_task(lease.keep())
        lease._renewing = task
        task.add_done_callback(lambda _: self._held.discard(lease))
        return lease


class JetStreamRecords:
    """Records in a key-value bucket."""

    def __init__(
        self, connection: Connection, ttl: float = TTL_SECONDS, bucket: str = BUCKET
    ) -> None:
        """Takes the connection of a bus, and how long a record lasts."""
        self._bucket = Bucket(connection, bucket, ttl=ttl)

    async def create(self, name: str, value: bytes) -> int | None:
        """The revision of a new record; `None` if there is one."""
        try:
            return await self._bucket.ask(lambda bucket: bucket.create(name, value))
        except (KeyWrongLastSequenceError, KeyNotFoundError):
            # There is one; not found if it runs out while the client looks whether it was removed.
            return None

    async def update(self, name: str, value: bytes, revision: int) -> int | None:
        """The next revision; `None` if the record is at another than this."""
        try:
            return await self._bucket.ask(lambda bucket: bucket.update(name, value, revision))
        except KeyWrongLastSequenceError:
            return None

    async def read(self, name: str) -> tuple[bytes, int] | None:
        """A record's value and revision, if there is one."""
        try:
            entry = await self._bucket.ask(lambda bucket: bucket.get(name))
        except KeyNotFoundError:
            return None
        return entry.value or b"", entry.revision or 0

    async def delete(self, name: str, revision: int) -> None:
        """Removes a record that is at this revision."""
        with suppress(KeyWrongLastSequenceError):
            await self._bucket.ask(lambda bucket: bucket.delete(name, last=revision))
