"""API keys, in a small JSON file beside the store.

The command line and the service use it at the same time. Who writes holds a lock and replaces the
file whole, so a reader needs none and sees the old keys or the new ones. The service looks once a
second whether the file has changed.

The file holds SHA-256 of each token and no token. A password needs a slow hash because it can be
guessed; a token is 256 random bits, which no guessing finds however fast the hash is.
"""

from __future__ import annotations

import builtins
import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Literal, get_args

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from screenerd.clock import Clock, SystemClock
from screenerd.serve.access.caller import Caller, Scope, TokenError

PREFIX = "scr_"
"""What an API key begins with."""

LOOK_SECONDS = 1.0
"""Between two looks whether the file has changed."""

MOST_KEYS = 1000
"""Keys a file holds."""

LARGEST_FILE = 1024 * 1024
"""Bytes of a file that are read."""

LONGEST_NAME = 64

_TOKEN = re.compile(r"scr_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")

log = structlog.get_logger("serve")


class KeyFileError(Exception):
    """The file cannot be used, or has no such key; says what to do."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key. Times are ms since the epoch."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: int
    expires_at: int | None
    revoked_at: int | None


class _Entry(BaseModel):
    """A key as the file holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    name: str
    scopes: tuple[Scope, ...]
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    def info(self) -> KeyInfo:
        """Without the hash."""
        scopes = frozenset(self.scopes)
        times = (self.created_at, self.expires_at, self.revoked_at)
        return KeyInfo(self.id, self.name, scopes, *times)

    def is_live(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and not self.is_expired(now_ms)

    def is_expired(self, now_ms: int) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now_ms


class _Contents(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    version: Literal[1]
    keys: tuple[_Entry, ...]


_Entries = Mapping[str, _Entry]


class KeyFile:
    """The API keys of one file, which need not be there yet."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        """Names the file; reads nothing yet.

        Args:
            path: where it is.
            clock: tells when a key is revoked, and when to look at the file; the machine's if left
                out.
        """
        self._path = path
        self._clock = clock or SystemClock()
        self._known: _Entries = {}
        self._seen: tuple[int, int, int] | None = None
        self._looked_at = -inf
        self._trouble = ""

    def create(
        self, name: str, scopes: Collection[Scope], now_ms: int, expires_at: int | None = None
    ) -> tuple[KeyInfo, str]:
        """Makes a key, which is durable when this returns.

        Args:
            name: what the user calls it, 1 to 64 printable letters; need not differ from others.
            scopes: what it may do; one or more.
            now_ms: the time.
            expires_at: when it ends, ms; never if left out.

        Returns:
            The key, and its token, which is not kept and cannot be shown again.

        Raises:
            ValueError: a name, a scope or a time that cannot be.
            KeyFileError: the file cannot be read or written, or is full.
        """
        _check(name, scopes, now_ms, expires_at)
        with self._locked():
            entries = self._with_room(self._read(), now_ms)
            key_id = _new_id(entries)
            token = f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
            entry = _Entry(
                id=key_id,
                name=name,
                scopes=tuple(sorted(set(scopes))),
                created_at=now_ms,
                expires_at=expires_at,
                revoked_at=None,
                sha256=_digest(token),
            )
            self._write({**entries, key_id: entry})
        return entry.info(), token

    def list(self) -> builtins.list[KeyInfo]:
        """All keys, also those revoked or expired, in the order they were made.

        Raises:
            KeyFileError: the file cannot be read.
        """
        return [entry.info() for entry in self._read().values()]

    def revoke(self, key_id: str) -> KeyInfo:
        """Ends a key for good; a running service refuses it within a second.

        Raises:
            KeyFileError: there is no such key, or the file cannot be read or written.
        """
        with self._locked():
            entries = self._read()
            if key_id not in entries:
                raise KeyFileError(f"{self._path} has no key {key_id!r}: list the keys to see them")
            entry = entries[key_id]
            if entry.revoked_at is None:
                entry = entry.model_copy(update={"revoked_at": self._clock.now_ms()})
                self._write({**entries, key_id: entry})
        return entry.info()

    def find(self, token: str, now_ms: int) -> Caller:
        """Who shows a key.

        A file that cannot be read leaves the keys that were read last in use.

        Raises:
            TokenError: the key is not known, revoked or expired.
        """
        self._look()
        match = _TOKEN.fullmatch(token)
        entry = self._known.get(match[1]) if match else None
        if entry is None or not hmac.compare_digest(entry.sha256, _digest(token)):
            raise TokenError("bad_token", "the API key is not known: check that it is whole")
        if entry.revoked_at is not None:
            raise TokenError("bad_token", "the API key has been revoked: ask for another")
        if entry.is_expired(now_ms):
            raise TokenError("expired_token", "the API key has expired: ask for another")
        return Caller(f"key:{entry.id}", frozenset(entry.scopes), entry.expires_at)

    def _look(self) -> None:
        """Reads the file again if it has changed, and the last look is long enough ago."""
        now = self._clock.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            # What is read may be newer than what was seen; then it is read once more.
            seen = _signature(self._path)
            if seen != self._seen:
                self._known, self._seen = self._read(), seen
            self._trouble = ""
        except (KeyFileError, OSError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("API keys not read, the last ones stay", error=self._trouble)

    def _read(self) -> _Entries:
        try:
            with self._path.open("rb") as file:
                body = file.read(LARGEST_FILE + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise KeyFileError(f"{self._path} cannot be read: {error.strerror}") from error
        try:
            return _parse(body)
        except ValueError as error:
            raise KeyFileError(
                f"{self._path} is damaged ({error}): put a copy of it back, or remove it and make "
                "the keys anew"
            ) from None

    def _with_room(self, entries: _Entries, now_ms: int) -> _Entries:
        """The entries with room for one more: the dead ones give way."""
        if len(entries) < MOST_KEYS:
            return entries
        live = {key_id: entry for key_id, entry in entries.items() if entry.is_live(now_ms)}
        if len(live) >= MOST_KEYS:
            raise KeyFileError(f"{self._path} holds {MOST_KEYS} keys in use: revoke some")
        return live

    def _write(self, entries: _Entries) -> None:
        """Replaces the file whole; to be called with the lock held."""
        partial = self._path.with_name(self._path.name + ".part")
        body = _Contents(version=1, keys=tuple(entries.values())).model_dump_json(indent=1)
        try:
            # One that a killed process left may have other permissions.
            partial.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
                file.write(body.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
            _sync(self._path.parent)
        except OSError as error:
            raise KeyFileError(f"{self._path} cannot be written: {error.strerror}") from error
        self._looked_at = -inf

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds off other writers. The lock's file stays: whoever removed it would make two."""
        lock = self._path.with_name(self._path.name + ".lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KeyFileError(f"{lock} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _check(name: str, scopes: Collection[Scope], now_ms: int, expires_at: int | None) -> None:
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or not name.strip():
        raise ValueError(f"a key's name is 1 to {LONGEST_NAME} printable letters, not {name!r:.80}")
    known = get_args(Scope)
    if not scopes or not set(scopes).issubset(known):
        raise ValueError(f"a key's scopes are one or more of {', '.join(known)}")
    if expires_at is not None and expires_at <= now_ms:
        raise ValueError("a key cannot have expired before it is made")


def _new_id(taken: Collection[str]) -> str:
    while (key_id := secrets.token_hex(4)) in taken:
        pass
    return key_id


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _parse(body: bytes) -> dict[str, _Entry]:
    if len(body) > LARGEST_FILE:
        raise ValueError(f"larger than {LARGEST_FILE} bytes")
    try:
        entries = _Contents.model_validate_json(body).keys
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(f"{place}: {first['msg']}") from None
    found = {entry.id: entry for entry in entries}
    if len(found) < len(entries):
        raise ValueError("two keys have one id")
    return found


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; `None` if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _sync(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
