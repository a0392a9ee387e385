"""Verifies what a caller shows: a JSON Web Token as Supabase issues them, or an API key.

A token is a stranger's text until its signature is verified. Before that only two words of its
header count, and each only chooses among what was configured: `alg` the kind of key, `kid` the key.
No address in a token is ever followed.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from screenerd.serve.access.caller import Caller, Scope, TokenError
from screenerd.serve.access.jwks import Jwks
from screenerd.serve.access.keys import PREFIX, KeyFile

LONGEST_TOKEN = 8192
"""Bytes; a longer token is refused unread."""

LEEWAY_MS = 30_000
"""How far the issuer's clock may be from this one."""

LEAST_SECRET = 32
"""Bytes of an HS256 secret: as many as the hash has (RFC 7518, 3.2)."""

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_LONGEST_SUBJECT = 128
_LATEST_SECOND = 253_402_300_799  # the end of the year 9999

_ROLES: dict[str, frozenset[Scope]] = {
    "anon": frozenset({"read"}),
    "authenticated": frozenset({"read", "write"}),
    "service_role": frozenset({"admin"}),
}

_Key = str | EllipticCurvePublicKey | RSAPublicKey


class Verifier:
    """Knows the secrets and keys that tokens are verified with."""

    def __init__(
        self,
        *,
        hs256_secret: str | None = None,
        jwks: Jwks | None = None,
        issuer: str | None = None,
        audience: str | None = None,
        keys: KeyFile | None = None,
    ) -> None:
        """Takes what is configured; a kind of token that is left out is refused.

        Args:
            hs256_secret: verifies tokens of the algorithm HS256; 32 bytes or more.
            jwks: finds the keys that verify ES256 and RS256.
            issuer: the claim `iss` of each token.
            audience: the claim `aud`, or one of it.
            keys: the API keys.

        Raises:
            ValueError: the secret is short or a public key, or issuer or audience is not given.
        """
        if hs256_secret is not None:
            _check_secret(hs256_secret)
        if (hs256_secret is not None or jwks is not None) and not (issuer and audience):
            raise ValueError(
                "tokens cannot be verified without an issuer and an audience: set both, or the "
                "token of any other service would do"
            )
        self._secret = hs256_secret
        self._jwks = jwks
        self._issuer = issuer
        self._audience = audience
        self._keys = keys

    async def verify(self, token: str, now_ms: int) -> Caller:
        """Who shows this token.

        Args:
            token: as it was sent, without `Bearer`.
            now_ms: the time, ms since the epoch.

        Raises:
            TokenError: it is not accepted.
        """
        if not token:
            raise TokenError("no_token", "there is no token: send Authorization: Bearer <token>")
        if len(token) > LONGEST_TOKEN:
            raise _bad(f"the token is longer than {LONGEST_TOKEN} bytes")
        if token.startswith(PREFIX):
            return self._of_key(token, now_ms)
        header = _header(token)
        algorithm, key = await self._choose(header)
        claims = self._claims(token, algorithm, key)
        expires_at = _check_times(claims, now_ms)
        return Caller(f"user:{_subject(claims)}", _scopes(claims), expires_at)

    def _of_key(self, token: str, now_ms: int) -> Caller:
        if self._keys is None:
            raise _bad("API keys are not accepted here")
        return self._keys.find(token, now_ms)

    async def _choose(self, header: Mapping[str, Any]) -> tuple[str, _Key]:
        """The algorithm and the key: the token's word only chooses among those configured."""
        named = header.get("alg")
        if named == "HS256" and self._secret is not None:
            return "HS256", self._secret
        if named not in ("ES256", "RS256") or self._jwks is None:
            raise _bad("the token's algorithm is not accepted here")
        kid = header.get("kid")
        found = await self._jwks.find(kid) if isinstance(kid, str) else None
        if found is None:
            raise _bad("the token's key is not among the issuer's: sign in again")
        if found.algorithm != named:
            raise _bad("the token's algorithm is not that of its key")
        return found.algorithm, found.key

    def _claims(self, token: str, algorithm: str, key: _Key) -> dict[str, Any]:
        """The claims, once the signature holds and all but the times are right."""
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={
                    "require": ["iss", "aud", "exp", "sub"],
                    # These would ask the machine's clock.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.PyJWTError as error:
            # Its text may hold parts of the token.
            raise _bad(_told(error)) from None


def _bad(message: str) -> TokenError:
    return TokenError("bad_token", message)


def _told(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.InvalidSignatureError():
            return "the token's signature is wrong"
        case jwt.MissingRequiredClaimError():
            return f"the token lacks the claim {error.claim}"
        case jwt.InvalidIssuerError():
            return "the token is from another issuer"
        case jwt.InvalidAudienceError():
            return "the token is for another audience"
    return "the token cannot be read"


def _header(token: str) -> dict[str, Any]:
    if not _SHAPE.fullmatch(token):
        raise _bad("the token is neither an API key nor three parts with full stops between")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise _bad("the token cannot be read") from None
    if "crit" in header:
        raise _bad("the token demands an extension, and none is known here")
    return header


def _check_times(claims: Mapping[str, Any], now_ms: int) -> int:
    """The end of the token, ms, once it has begun and not ended."""
    expires_at = _time(claims, "exp")
    if expires_at + LEEWAY_MS <= now_ms:
        raise TokenError("expired_token", "the token has expired: sign in again")
    for name in ("nbf", "iat"):
        if name in claims and _time(claims, name) > now_ms + LEEWAY_MS:
            raise _bad(f"the token begins in the future ({name}): check the clocks of both sides")
    return expires_at


def _time(claims: Mapping[str, Any], name: str) -> int:
    """A claim in seconds, in ms."""
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(f"the token's claim {name} is no number")
    if not 0 <= value <= _LATEST_SECOND:
        raise _bad(f"the token's claim {name} is no time in seconds")
    return int(value * 1000)


def _subject(claims: Mapping[str, Any]) -> str:
    subject = str(claims["sub"])
    if not 1 <= len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise _bad(f"the token's claim sub is not 1 to {_LONGEST_SUBJECT} printable letters")
    return subject


def _scopes(claims: Mapping[str, Any]) -> frozenset[Scope]:
    role = claims.get("role")
    scopes = _ROLES.get(role) if isinstance(role, str) else None
    if scopes is None:
        raise _bad("the token's role is none that may call here")
    # Only the issuer's side writes app_metadata; user_metadata is the user's own to write.
    extra = claims.get("app_metadata")
    if isinstance(extra, dict) and extra.get("screener_role") == "admin":
        return frozenset({"admin"})
    # Who signs in without an address has the role of those who did, and nothing to lose.
    return frozenset({"read"}) if claims.get("is_anonymous") is True else scopes


def _check_secret(secret: str) -> None:
    """Refuses a secret that is short, or a public key that anybody has."""
    raw = secret.encode()
    if len(raw) < LEAST_SECRET:
        raise ValueError(
            f"the HS256 secret has {len(raw)} bytes, {LEAST_SECRET} or more are needed: a shorter "
            "one can be guessed"
        )
    hmac = jwt.get_algorithm_by_name("HS256")
    try:
        hmac.prepare_key(raw)
        # Some issuers show a public key as the inner lines of its PEM text.
        hmac.prepare_key(base64.b64decode(secret) or raw)
    except jwt.InvalidKeyError:
        raise ValueError(
            "the HS256 secret is a key that is not secret: set the key set's URL instead"
        ) from None
    except (binascii.Error, ValueError):
        pass
