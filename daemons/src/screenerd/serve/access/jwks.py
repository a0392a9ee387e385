"""The issuer's public keys (JSON Web Key Set, RFC 7517), cached by their id.

`parse_keys` is pure; `Jwks` says when the set is fetched; `fetch_with` fetches it over aiohttp.
Nothing of a token but its key's id comes here, and that is looked up in a dictionary only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import orjson
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from screenerd.clock import Clock
from screenerd.serve.access.hosts import is_loopback

LEAST_SECONDS = 60.0
"""From the start of one fetch to that of the next, whatever is asked for."""

REFRESH_SECONDS = 600.0
"""Keys of this age are fetched again while they are used."""

MOST_KEYS = 32
"""Keys that are kept, the first of the set."""

LARGEST_SET = 64 * 1024
"""Bytes of a key set that are read."""

DEADLINE = 5.0
"""Seconds for a whole fetch."""

LEAST_RSA_BITS = 2048

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets what stands at a URL; raises `JwksError` if it cannot."""

log = structlog.get_logger("serve")


class JwksError(Exception):
    """The key set could not be had, or is none; says why."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key, and the one algorithm it is used with."""

    algorithm: Literal["ES256", "RS256"]
    key: EllipticCurvePublicKey | RSAPublicKey


class Jwks:
    """The keys at one URL.

    The set is fetched when a key is asked for that is not in it, and, while the answer is given
    from the old one, when it is `REFRESH_SECONDS` old; never twice in `LEAST_SECONDS`. All who wait
    share one fetch. A new set replaces the old one; a failed fetch leaves the old one in use.
    """

    def __init__(self, url: str, fetch: Fetch, clock: Clock) -> None:
        """Fetches nothing yet.

        Args:
            url: `https`, or `http` on this machine.
            fetch: gets the set, within a time and a size.
            clock: its monotonic seconds count.

        Raises:
            ValueError: the URL is not allowed.
        """
        _check_url(url)
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, PublicKey] = {}
        self._fetched_at = -inf
        self._began_at = -inf
        self._task: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> PublicKey | None:
        """The key of that id, if the issuer has one."""
        if kid in self._keys:
            if self._clock.monotonic() - self._fetched_at >= REFRESH_SECONDS:
                self._start()
            return self._keys[kid]
        if (task := self._start()) is not None:
            # Unlike an await of the task, this neither cancels it nor fails with it.
            await asyncio.wait({task})
        return self._keys.get(kid)

    async def close(self) -> None:
        """Gives up a fetch that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _start(self) -> asyncio.Task[None] | None:
        """The fetch that is under way, or a new one; `None` if the last began too lately."""
        if self._task is None or self._task.done():
            now = self._clock.monotonic()
            if now - self._began_at < LEAST_SECONDS:
                return None
            self._began_at = now
            self._task = asyncio.create_task(self._fetch_keys(), name="jwks")
        return self._task

    async def _fetch_keys(self) -> None:
        try:
            self._keys = parse_keys(await self._fetch(self._url))
        except JwksError as error:
            log.warning("issuer's keys not fetched", error=str(error), kept=len(self._keys))
        else:
            self._fetched_at = self._clock.monotonic()


def parse_keys(body: bytes) -> dict[str, PublicKey]:
    """The keys of a set that tokens may be verified with, by their id; others are left out.

    They are EC keys on P-256 and RSA keys of 2048 bits or more, with an id, and for signatures.

    Raises:
        JwksError: it is no key set.
    """
    if len(body) > LARGEST_SET:
        raise JwksError(f"the key set is larger than {LARGEST_SET} bytes")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise JwksError("the key set is not JSON") from None
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise JwksError('the key set is no object with a list "keys"')
    keys: dict[str, PublicKey] = {}
    for entry in entries:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        if isinstance(kid, str) and kid not in keys and (key := _parse_key(entry)) is not None:
            keys[kid] = key
        if len(keys) == MOST_KEYS:
            break
    return keys


def _parse_key(entry: dict[str, Any]) -> PublicKey | None:
    read = {"EC": _read_ec, "RSA": _read_rsa}.get(str(entry.get("kty")))
    try:
        key = read(entry) if read is not None else None
    except (KeyError, TypeError, ValueError, PyJWTError, UnsupportedAlgorithm):
        return None
    if key is None or entry.get("use", "sig") != "sig":
        return None
    return key if entry.get("alg", key.algorithm) == key.algorithm else None


def _read_ec(entry: dict[str, Any]) -> PublicKey | None:
    if entry["crv"] != "P-256":
        return None
    key = ECAlgorithm.from_jwk(_public(entry, "crv", "x", "y"))
    return PublicKey("ES256", key) if isinstance(key, EllipticCurvePublicKey) else None


def _read_rsa(entry: dict[str, Any]) -> PublicKey | None:
    key = RSAAlgorithm.from_jwk(_public(entry, "n", "e"))
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_RSA_BITS:
        return None
    return PublicKey("RS256", key)


def _public(entry: dict[str, Any], *names: str) -> dict[str, Any]:
    """The public part: a set that holds more is no reason to hold it too."""
    return {name: entry[name] for name in ("kty", *names)}


def fetch_with(session: aiohttp.ClientSession) -> Fetch:
    """A fetch over a session that somebody else closes. It follows no redirect."""

    async def fetch(url: str) -> bytes:
        request = session.get(
            url,
            timeout=aiohttp.ClientTimeout(total=DEADLINE),
            allow_redirects=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        try:
            async with request as response:
                if response.status != 200:
                    raise JwksError(f"the answer's status is {response.status}, not 200")
                return await _read_bounded(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise JwksError(f"no answer: {type(error).__name__}: {error}") from error

    return fetch


async def _read_bounded(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in content.iter_chunked(LARGEST_SET):
        body += chunk
        if len(body) > LARGEST_SET:
            raise JwksError(f"the key set is larger than {LARGEST_SET} bytes")
    return bytes(body)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        raise ValueError("the key set's URL holds a user name: remove what stands before the @")
    if not host or parts.scheme not in {"https", "http"}:
        raise ValueError(f"the key set's URL {url!r} is not one that begins with https://")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"the key set's URL {url!r} is http: only https is safe from forgery")
