"""Names and values that the broker keeps, in a bucket that is made where it is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from nats.errors import Error
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import (
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
)
from nats.js.kv import KeyValue

from screenerd.bus.jetstream.connection import Connection

T = TypeVar("T")

ALL_SECONDS: Final = 60.0
"""So long it may take to read all of a bucket."""

_ANSWERS: Final = (KeyNotFoundError, KeyWrongLastSequenceError)


class NoAnswerError(Exception):
    """The broker did not answer: whether anything was done is not known."""


class BucketError(Exception):
    """The bucket keeps records for another time than is counted on."""


class Bucket:
    """A bucket; whatever is asked is answered soon, or raises `NoAnswerError`."""

    def __init__(self, connection: Connection, name: str, *, ttl: float | None = None) -> None:
        """Names it; it is looked for when something is asked.

        Args:
            connection: of a bus.
            name: of the bucket.
            ttl: seconds after which what is not written again is gone; never where left out.
        """
        self._connection, self._name, self._ttl = connection, name, ttl
        self._found: KeyValue | None = None

    async def ask(
        self, work: Callable[[KeyValue], Awaitable[T]], seconds: float | None = None
    ) -> T:
        """Does something with it, in the time that an acknowledgement may take or in `seconds`.

        Raises:
            NoAnswerError: the broker did not answer in time.
            BucketError: it was made with another ttl.
            KeyNotFoundError: there is no such name.
            KeyWrongLastSequenceError: the value is of another revision than was said.
        """
        try:
            async with self._connection.within(seconds or self._connection.settings.ack_seconds):
                return await work(await self._bucket())
        except _ANSWERS:
            raise
        except (Error, OSError, TimeoutError) as error:
            self._found = None
            raise NoAnswerError(str(error) or type(error).__name__) from error

    async def get(self, name: str) -> bytes | None:
        """A value, if there is one."""
        try:
            entry = await self.ask(lambda bucket: bucket.get(name))
        except KeyNotFoundError:
            return None
        return entry.value or b""

    async def put(self, name: str, value: bytes) -> None:
        """Keeps a value, in the place of the one before; it is safe when this returns."""
        await self.ask(lambda bucket: bucket.put(name, value))

    async def remove(self, name: str) -> None:
        """Keeps it no longer, and nothing that says so."""
        await self.ask(lambda _: self._purge(f"$KV.{self._name}.{name}"))

    async def everything(self) -> dict[str, bytes]:
        """All names with their values."""

        async def read(bucket: KeyValue) -> dict[str, bytes]:
            watching = await bucket.watchall(ignore_deletes=True)
            found: dict[str, bytes] = {}
            try:
                async for entry in watching:
                    if entry is None:  # all that there was
                        break
                    found[entry.key] = entry.value or b""
            finally:
                await watching.stop()  # type: ignore[no-untyped-call]
            return found

        return await self.ask(read, ALL_SECONDS)

    async def _purge(self, subject: str) -> None:
        js = await self._connection.ready()
        await js.purge_stream(f"KV_{self._name}", subject=subject)

    async def _bucket(self) -> KeyValue:
        if self._found is None:
            js = await self._connection.ready()
            try:
                found = await js.key_value(self._name)
            except BucketNotFoundError:
                found = await js.create_key_value(self._config)
            ttl = (await found.status()).ttl or None
            if ttl != self._ttl:
                raise BucketError(
                    f"the bucket {self._name} keeps what it is given for {ttl} s, not "
                    f"{self._ttl} s: give every process the same, and remove it "
                    f"(`nats kv del {self._name}`) while none runs"
                )
            self._found = found
        return self._found

    @property
    def _config(self) -> KeyValueConfig:
        return KeyValueConfig(
            bucket=self._name,
            ttl=self._ttl,
            history=1,
            storage=StorageType.FILE,
            replicas=self._connection.settings.replicas,
        )
