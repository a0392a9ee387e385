"""Who may come in: hosts, origins, addresses, tokens, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope as AsgiScope

from screenerd.clock import Clock
from screenerd.serve.access.address import Proxies
from screenerd.serve.access.caller import ANYBODY, Caller, Scope, TokenError
from screenerd.serve.access.hosts import host_name, is_loopback
from screenerd.serve.access.limits import Limiter, address_key
from screenerd.serve.errors import ApiError, limited

if TYPE_CHECKING:  # the libraries it needs take memory that few services have a use for
    from screenerd.serve.access.tokens import Verifier

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True, slots=True)
class Admission:
    """What is asked of who comes.

    Attributes:
        requests: calls a minute, of an address and of a token each.
        handshakes: websockets opened a minute, of an address.
        origins: pages of other hosts that may call, as `https://host`; `*` is all of them.
        hosts: names the server may be called by, besides addresses of loopback; none: any, but
            only where tokens are required.
        proxies: whose word on addresses is believed.
    """

    requests: int = 100
    handshakes: int = 60
    origins: Sequence[str] = ()
    hosts: Sequence[str] = ()
    proxies: Sequence[str] = ()


class Gate:
    """Lets callers in, or raises `ApiError`."""

    def __init__(self, admission: Admission, clock: Clock, verifier: Verifier | None) -> None:
        """Takes the rules; without a verifier everybody may do everything.

        Args:
            admission: who may come, and how often.
            clock: the machine's time, which tokens are made by, however fast the market's runs.
            verifier: reads tokens.
        """
        self.verifier = verifier
        self._clock = clock
        self._admission = admission
        self._proxies = Proxies(admission.proxies)
        self._by_address = Limiter(admission.requests)
        self._by_caller = Limiter(admission.requests)
        self._handshakes = Limiter(admission.handshakes)

    def check_host(self, headers: Headers) -> None:
        """A page elsewhere must not reach a server on loopback by a name of its own.

        Raises:
            ApiError: the name is not one of this server's.
        """
        name = host_name(headers.get("host", ""))
        if name in self._admission.hosts or is_loopback(name):
            return
        if self.verifier is None or self._admission.hosts:
            told = f"this server is not called {name!r}: name it in serve.hosts"
            raise ApiError(400, "bad_host", told)

    def origin_allowed(self, headers: Headers) -> bool:
        """Whether a page of this origin may open a websocket; programs send none."""
        origins = headers.getlist("origin")
        if not origins:
            return True
        if len(origins) > 1:
            return False
        allowed = self._admission.origins
        own = urlsplit(origins[0]).netloc == headers.get("host") and origins[0] != "null"
        return own or origins[0] in allowed or "*" in allowed

    def count(self, scope: AsgiScope) -> None:
        """Counts a request of an address.

        Raises:
            ApiError: there were too many.
        """
        self._take(self._by_address, self._address_key(scope))

    def count_handshake(self, scope: AsgiScope) -> None:
        """Counts a websocket's opening, apart from requests.

        Raises:
            ApiError: there were too many.
        """
        self._take(self._handshakes, self._address_key(scope))

    async def caller(self, headers: Headers) -> Caller:
        """Who calls, by the `Authorization` header.

        Raises:
            ApiError: nobody who is known, or one who calls too often.
        """
        if self.verifier is None:
            return ANYBODY
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            told = "say who you are: Authorization: Bearer <token>"
            raise ApiError(401, "no_token", told, headers=_CHALLENGE)
        return await self.verified(token.strip())

    async def verified(self, token: str) -> Caller:
        """Who calls, by a token.

        Raises:
            ApiError: nobody who is known, or one who calls too often.
        """
        if self.verifier is None:
            return ANYBODY
        try:
            caller = await self.verifier.verify(token, self._clock.now_ms())
        except TokenError as error:
            raise ApiError(401, error.code, str(error), headers=_CHALLENGE) from error
        self._take(self._by_caller, caller.id)
        return caller

    async def is_good(self, token: str) -> bool:
        """Whether a token is good now; not counted."""
        if self.verifier is None:
            return True
        try:
            await self.verifier.verify(token, self._clock.now_ms())
        except TokenError:
            return False
        return True

    def permit(self, caller: Caller, scope: Scope) -> None:
        """Whether a caller may do this.

        Raises:
            ApiError: it may not.
        """
        if not caller.may(scope):
            raise ApiError(403, "forbidden", f"this token lacks the scope {scope}")

    def address(self, scope: AsgiScope) -> str:
        """Where a request comes from."""
        client = scope.get("client")
        peer = client[0] if client else None
        if not self._admission.proxies:
            return self._proxies.client(peer, ())
        return self._proxies.client(peer, Headers(scope=scope).getlist("x-forwarded-for"))

    def _address_key(self, scope: AsgiScope) -> str:
        return address_key(self.address(scope))

    def _take(self, limiter: Limiter, key: str) -> None:
        wait = limiter.take(key, self._clock.monotonic())
        if wait > 0:
            raise limited(wait)
