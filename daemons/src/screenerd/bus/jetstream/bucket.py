"""Names and values that the broker keeps, in a bucket that is made where it is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import KeyValueConfig, RawStreamMsg, StorageType
from nats.js.errors import (
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NotFoundError,
)
from nats.js.kv import KeyValue

from screenerd.bus.jetstream.connection import Connection

T = TypeVar("T")

NO_MESSAGE: Final = 10037
"""The broker's code where a stream has no such message, rather than that there is no stream."""

_REMOVED: Final = {"KV-Operation", "Nats-Marker-Reason"}
"""A message that has one of these says that there is no value any more."""

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
        self._client: Client | None = None

    async def ask(self, work: Callable[[KeyValue], Awaitable[T]]) -> T:
        """Does something with it, in the time that an acknowledgement may take.

        Raises:
            NoAnswerError: the broker did not answer in time.
            BucketError: it was made with another ttl.
            KeyNotFoundError: there is no such name.
            KeyWrongLastSequenceError: the value is of another revision than was said.
        """
        try:
            async with self._connection.within(self._connection.settings.ack_seconds):
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
        await self.ask(lambda _: self._purge(self._subject(name)))

    async def everything(self) -> dict[str, bytes]:
        """All names with their values; what changes meanwhile, as it was or as it is now.

        The broker is asked for one after the other: the client's own way, to watch a bucket, may
        take one for empty whose values are still on their way (nats.py issue 842).
        """
        found: dict[str, bytes] = {}
        after = 0
        while (message := await self._after(after)) is not None:
            after, name = message.seq or 0, str(message.subject).removeprefix(self._subject(""))
            if _REMOVED & (message.headers or {}).keys():
                found.pop(name, None)
            else:
                found[name] = message.data or b""
        return found

    async def _after(self, sequence: int) -> RawStreamMsg | None:
        """What was kept next after another, of whatever name."""

        async def read(_: KeyValue) -> RawStreamMsg | None:
            js = await self._connection.ready()
            try:
                return await js.get_msg(self._stream, sequence + 1, self._subject(">"), next=True)
            except NotFoundError as error:
                if error.err_code == NO_MESSAGE:
                    return None
                raise

        return await self.ask(read)

    @property
    def _stream(self) -> str:
        return f"KV_{self._name}"

    def _subject(self, name: str) -> str:
        return f"$KV.{self._name}.{name}"

    async def _purge(self, subject: str) -> None:
        js = await self._connection.ready()
        await js.purge_stream(self._stream, subject=subject)

    async def _bucket(self) -> KeyValue:
        js = await self._connection.ready()
        client = self._connection.client
        if self._found is None or self._client is not client:
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
            self._found, self._client = found, client
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
