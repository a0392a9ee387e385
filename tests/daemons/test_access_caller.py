"""What a scope allows."""

from __future__ import annotations

import pytest

from screenerd.serve.access.caller import ANYBODY, Caller, Scope, TokenError

SCOPES: tuple[Scope, ...] = ("read", "write", "admin")


@pytest.mark.parametrize(
    ("granted", "allowed"),
    [
        ((), ()),
        (("read",), ("read",)),
        (("write",), ("read", "write")),
        (("read", "write"), ("read", "write")),
        (("admin",), ("read", "write", "admin")),
    ],
)
def test_a_scope_includes_those_before_it(
    granted: tuple[Scope, ...], allowed: tuple[Scope, ...]
) -> None:
    caller = Caller("user:a", frozenset(granted))
    assert tuple(scope for scope in SCOPES if caller.may(scope)) == allowed


def test_without_tokens_anybody_may_do_anything() -> None:
    assert ANYBODY.id == "local"
    assert ANYBODY.expires_at is None
    assert all(ANYBODY.may(scope) for scope in SCOPES)


def test_an_error_has_a_code_for_programs_and_words_for_people() -> None:
    error = TokenError("expired_token", "over")
    assert (error.code, str(error)) == ("expired_token", "over")
