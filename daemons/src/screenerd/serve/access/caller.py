"""A caller, what it may do, and why a token is refused. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scope = Literal["read", "write", "admin"]
"""What a caller may do; each includes those before it."""

TokenFault = Literal["no_token", "bad_token", "expired_token"]
"""Why there is no caller, for programs."""

_ENOUGH: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read", "write", "admin"}),
    "write": frozenset({"write", "admin"}),
    "admin": frozenset({"admin"}),
}


class TokenError(Exception):
    """A token that is not accepted; says why, never with any part of the token."""

    def __init__(self, code: TokenFault, message: str) -> None:
        """Keeps the code beside the words."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        id: `user:<subject>`, `key:<id>` or `local`.
        scopes: what was granted, as it was granted: ask `may`.
        expires_at: when what it showed ends, ms; leeway is not in it. `None` for never.
    """

    id: str
    scopes: frozenset[Scope]
    expires_at: int | None = None

    def may(self, scope: Scope) -> bool:
        """Whether it may: `admin` implies `write`, which implies `read`."""
        return not self.scopes.isdisjoint(_ENOUGH[scope])


ANYBODY = Caller("local", frozenset({"admin"}))
"""The caller of a service that listens on loopback and asks for no token."""
