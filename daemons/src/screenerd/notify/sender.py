"""Sends one request over aiohttp, to an address the guard has allowed, and reads a bounded answer.

No redirect is followed, no proxy or cookie is used, nothing is decompressed. The guard sees a
name's addresses when they are resolved, and each socket's address when the socket is made.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from importlib.metadata import version

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from screenerd.notify.answers import Answer
from screenerd.notify.channels import Request
from screenerd.notify.guard import Guard, RefusedError

BODY_LIMIT = 64 * 1024
"""Bytes of an answer that are read."""

DEADLINE = 10.0
"""Seconds for a whole exchange, from the name's lookup to the answer's last byte."""

_HEADERS = {"User-Agent": f"screenerd/{version('screenerd')}", "Accept-Encoding": "identity"}

SessionFactory = Callable[[Guard], aiohttp.ClientSession]
"""Opens a session that reaches only what the guard allows."""


class SendError(Exception):
    """The request got no answer; says why in words for the user, never with the URL."""


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses a name with any address that the guard refuses."""

    def __init__(self, guard: Guard, inner: AbstractResolver) -> None:
        """Wraps another resolver."""
        self._guard = guard
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name.

        Raises:
            RefusedError: one of them is not allowed.
        """
        found = await self._inner.resolve(host, port, family)
        for result in found:
            self._guard.check_address(result["host"])
        return found

    async def close(self) -> None:
        """Closes the inner resolver."""
        await self._inner.close()


def open_session(guard: Guard, resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """A session that reaches only what the guard allows; of one channel, so that none waits.

    Args:
        guard: what may be reached.
        resolver: looks names up; the system's if left out.
    """

    def make_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        # The last word: this very address is connected to next, however it was found.
        family, kind, protocol, _, address = info
        guard.check_address(str(address[0]))
        return socket.socket(family=family, type=kind, proto=protocol)

    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(guard, resolver or aiohttp.ThreadedResolver()),
        socket_factory=make_socket,
        limit=4,
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        trust_env=False,
    )


class Sender:
    """Sends a channel's requests, one at a time."""

    def __init__(
        self, session: aiohttp.ClientSession, guard: Guard, deadline: float = DEADLINE
    ) -> None:
        """Uses a session that somebody else closes."""
        self._session = session
        self._guard = guard
        self._deadline = deadline

    async def send(self, request: Request) -> Answer:
        """Posts the request.

        Raises:
            SendError: the target may not be reached, or there was no answer in time.
        """
        try:
            self._guard.check_url(request.url)
            async with asyncio.timeout(self._deadline):
                return await self._post(request)
        except RefusedError as error:
            raise SendError(error.reason) from None
        except TimeoutError:
            raise SendError(f"no answer within {self._deadline:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Their texts may hold the URL, which is a secret: only their kind is told.
            raise SendError(_reason(error)) from None

    async def _post(self, request: Request) -> Answer:
        async with self._session.post(
            request.url, data=request.body, headers=request.headers, allow_redirects=False
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            # What follows a 2xx changes nothing; leaving drops a connection with unread bytes.
            body = b"" if 200 <= response.status < 300 else await _read(response.content)
            return Answer(response.status, headers, body)


async def _read(stream: aiohttp.StreamReader) -> bytes:
    """The first bytes of a body, up to the limit."""
    read = bytearray()
    while len(read) < BODY_LIMIT:
        chunk = await stream.read(BODY_LIMIT - len(read))
        if not chunk:
            break
        read += chunk
    return bytes(read)


def _reason(error: Exception) -> str:
    """What went wrong, without anything the error itself says."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, RefusedError):
        return error.os_error.reason
    reasons: tuple[tuple[type[Exception], str], ...] = (
        (aiohttp.ClientConnectorDNSError, "the target's name could not be resolved"),
        (aiohttp.ClientConnectorCertificateError, "the target's certificate is not trusted"),
        (aiohttp.ClientSSLError, "no secure connection to the target could be made"),
        (aiohttp.ClientConnectorError, "the target does not accept connections"),
        (aiohttp.ServerDisconnectedError, "the target closed the connection without an answer"),
        (aiohttp.ClientPayloadError, "the target broke off in the middle of its answer"),
        (aiohttp.ClientResponseError, "the target's answer is not valid HTTP"),
        (aiohttp.InvalidURL, "the target's URL is not valid"),
        (OSError, "the connection to the target was lost"),
    )
    for kind, reason in reasons:
        if isinstance(error, kind):
            return reason
    return f"the request could not be sent ({type(error).__name__})"
