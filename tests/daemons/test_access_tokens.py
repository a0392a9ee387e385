"""Forged tokens are refused, each beside a true one that is accepted.

Tokens are put together and signed here, letter by letter, without the library that verifies them.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import string
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from scripted import MovedClock

from screenerd.serve.access.caller import Caller, TokenError
from screenerd.serve.access.jwks import Jwks, JwksError
from screenerd.serve.access.keys import KeyFile
from screenerd.serve.access.tokens import LEAST_SECRET, LONGEST_TOKEN, Verifier

Claims = dict[str, Any]
Sign = Callable[[bytes], bytes]

# Not the machine's time, so that a check against that would be seen.
NOW = 1_600_000_000_000
SECOND = NOW // 1000
SECRET = "a secret of these tests, long enough"  # noqa: S105
ISSUER = "https://issuer.example/auth/v1"
AUDIENCE = "authenticated"
URL = "https://issuer.example/auth/v1/.well-known/jwks.json"
ATTACKER = "https://attacker.example/jwks.json"
CLAIMS: Claims = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "4a1c",
    "role": "authenticated",
    "iat": SECOND - 60,
    "exp": SECOND + 3600,
}
LETTERS = f"{string.ascii_letters}{string.digits}-_=+/. \n"
CALLER = Caller("user:4a1c", frozenset({"read", "write"}), (SECOND + 3600) * 1000)


@cache
def ec_key(_owner: str) -> ec.EllipticCurvePrivateKey:
    """Somebody's key."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(_owner: str) -> rsa.RSAPrivateKey:
    """Somebody's key."""
    return rsa.generate_private_key(65537, 2048)


def jwk_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> dict[str, Any]:
    """The public part, as a key set has it."""
    if isinstance(key, rsa.RSAPrivateKey):
        return dict(RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))
    return dict(ECAlgorithm.to_jwk(key.public_key(), as_dict=True))


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """The public part, as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def b64(data: bytes) -> str:
    """Base64 as tokens have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value: object) -> str:
    """A header or claims."""
    return b64(json.dumps(value).encode())


def hs256(secret: str | bytes = SECRET) -> Sign:
    """Signs with a secret."""
    raw = secret.encode() if isinstance(secret, str) else secret
    return lambda text: hmac.digest(raw, text, "sha256")


def es256(owner: str = "issuer") -> Sign:
    """Signs with an EC key: r and s, 32 bytes each."""

    def sign(text: bytes) -> bytes:
        r, s = decode_dss_signature(ec_key(owner).sign(text, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def rs256(owner: str = "issuer") -> Sign:
    """Signs with an RSA key."""
    return lambda text: rsa_key(owner).sign(text, padding.PKCS1v15(), SHA256())


def forge(header: object, claims: object, sign: Sign) -> str:
    """A token."""
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{b64(sign(text.encode()))}"


HEADERS: dict[str, dict[str, Any]] = {
    "HS256": {"alg": "HS256", "typ": "JWT"},
    "ES256": {"alg": "ES256", "typ": "JWT", "kid": "ec"},
    "RS256": {"alg": "RS256", "typ": "JWT", "kid": "rsa"},
}
SIGNS: dict[str, Sign] = {"HS256": hs256(), "ES256": es256(), "RS256": rs256()}
KINDS = pytest.mark.parametrize("kind", list(HEADERS))


def true_token(
    kind: str = "HS256", header: dict[str, Any] | None = None, /, **claims: object
) -> str:
    """A token of the issuer's, with more in its header and claims."""
    return forge(HEADERS[kind] | (header or {}), CLAIMS | claims, SIGNS[kind])


class Issuer:
    """Serves its public keys, and counts who asks for what."""

    def __init__(self) -> None:
        """Nobody has asked."""
        self.fetched: list[str] = []
        self.down = False

    async def fetch(self, url: str) -> bytes:
        """The key set, whatever is asked for."""
        self.fetched.append(url)
        if self.down:
            raise JwksError("away")
        keys = [
            jwk_of(ec_key("issuer")) | {"kid": "ec"},
            jwk_of(rsa_key("issuer")) | {"kid": "rsa"},
        ]
        return json.dumps({"keys": keys}).encode()


def by_secret() -> Verifier:
    """Knows a secret only."""
    return Verifier(hs256_secret=SECRET, issuer=ISSUER, audience=AUDIENCE)


def by_keys(issuer: Issuer | None = None, clock: MovedClock | None = None) -> Verifier:
    """Knows the key set only."""
    jwks = Jwks(URL, (issuer or Issuer()).fetch, clock or MovedClock(NOW))
    return Verifier(jwks=jwks, issuer=ISSUER, audience=AUDIENCE)


def by_both() -> Verifier:
    """Knows the secret and the key set."""
    jwks = Jwks(URL, Issuer().fetch, MovedClock(NOW))
    return Verifier(hs256_secret=SECRET, jwks=jwks, issuer=ISSUER, audience=AUDIENCE)


def for_kind(kind: str) -> Verifier:
    """Knows what this kind of token needs, and no more."""
    return by_secret() if kind == "HS256" else by_keys()


def accepted(verifier: Verifier, token: str, now_ms: int = NOW) -> Caller:
    """Whose it is."""
    return asyncio.run(verifier.verify(token, now_ms))


def refused(verifier: Verifier, token: str, why: str | None = None, now_ms: int = NOW) -> str:
    """The code of the refusal, whose words say why and do not hold the token."""
    with pytest.raises(TokenError, match=why) as caught:
        asyncio.run(verifier.verify(token, now_ms))
    assert len(token) < 8 or token not in str(caught.value)
    return caught.value.code


# What is accepted


@KINDS
def test_a_true_token_is_accepted_by_who_knows_its_key(kind: str) -> None:
    assert accepted(for_kind(kind), true_token(kind)) == CALLER
    assert accepted(by_both(), true_token(kind)) == CALLER


@KINDS
def test_a_true_token_is_refused_by_who_does_not(kind: str) -> None:
    stranger = by_keys() if kind == "HS256" else by_secret()
    assert refused(stranger, true_token(kind), "algorithm is not accepted") == "bad_token"
    assert refused(Verifier(), true_token(kind), "algorithm is not accepted") == "bad_token"


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"role": "anon"}, {"read"}),
        ({"is_anonymous": True}, {"read"}),
        ({"is_anonymous": False}, {"read", "write"}),
        ({"role": "authenticated"}, {"read", "write"}),
        ({"role": "service_role"}, {"admin"}),
        ({"app_metadata": {"screener_role": "admin"}}, {"admin"}),
        ({"app_metadata": {"screener_role": "root"}}, {"read", "write"}),
        ({"app_metadata": {"screener_role": ["admin"]}}, {"read", "write"}),
        ({"app_metadata": {"role": "admin"}}, {"read", "write"}),
        ({"app_metadata": "admin"}, {"read", "write"}),
        ({"user_metadata": {"screener_role": "admin"}}, {"read", "write"}),
        ({"screener_role": "admin"}, {"read", "write"}),
    ],
)
def test_what_a_token_allows(claims: Claims, scopes: set[str]) -> None:
    assert accepted(by_secret(), true_token(**claims)).scopes == scopes


@pytest.mark.parametrize("role", ["", "root", "Authenticated", "authenticated ", None, 1, ["anon"]])
def test_an_unknown_role_is_refused(role: object) -> None:
    admin = {"screener_role": "admin"}
    assert refused(by_secret(), true_token(role=role), "role") == "bad_token"
    assert refused(by_secret(), true_token(role=role, app_metadata=admin), "role") == "bad_token"
    assert accepted(by_secret(), true_token(role="anon", app_metadata=admin)).may("admin")


# F96: no algorithm


@KINDS
@pytest.mark.parametrize(
    "algorithm",
    [
        *("none", "None", "NONE", "nOnE", "", None, 0, False, True, ["none"], {}),
        *("hs256", "HS256 ", "HS384", "HS512", "ES384", "ES256K", "RS512", "PS256", "EdDSA"),
        ["HS256", "ES256", "RS256"],
    ],
)
def test_no_other_algorithm_is_accepted(kind: str, algorithm: object) -> None:
    for verifier in (for_kind(kind), by_both()):
        token = true_token(kind, {"alg": algorithm})
        assert refused(verifier, token, "algorithm is not accepted") == "bad_token"
        unsigned = f"{token.rpartition('.')[0]}."
        assert refused(verifier, unsigned) == "bad_token"
        assert refused(verifier, unsigned + "AA", "algorithm is not accepted") == "bad_token"
        assert accepted(verifier, true_token(kind)) == CALLER


@KINDS
def test_a_header_without_an_algorithm_is_refused(kind: str) -> None:
    header = {key: value for key, value in HEADERS[kind].items() if key != "alg"}
    assert refused(for_kind(kind), forge(header, CLAIMS, SIGNS[kind]), "algorithm") == "bad_token"
    assert accepted(for_kind(kind), forge(HEADERS[kind], CLAIMS, SIGNS[kind])) == CALLER


# F97: a public key as a secret


def public_texts() -> list[str]:
    """The issuer's public keys in every spelling that an attacker can get."""
    texts = []
    for key in (rsa_key("issuer"), ec_key("issuer")):
        pem, jwk = pem_of(key), jwk_of(key)
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ssh = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        texts += [pem, pem.rstrip("\n"), "\n " + pem, pem.replace("\n", "\\n"), ssh.decode()]
        texts += ["".join(pem.splitlines()[1:-1]), "\n".join(pem.splitlines()[1:-1])]
        texts += [base64.b64encode(der).decode()]
        texts += [json.dumps(jwk), json.dumps(jwk, indent=2), json.dumps({"keys": [jwk]})]
        texts += [json.dumps(jwk | {"kid": "rsa"}, separators=(",", ":")), f" {json.dumps(jwk)}\n"]
    return texts


def test_a_public_key_never_verifies_as_a_secret() -> None:
    for text in public_texts():
        for header in (HEADERS["HS256"], HEADERS["HS256"] | {"kid": "rsa"}):
            token = forge(header, CLAIMS, hs256(text))
            assert refused(by_keys(), token, "algorithm is not accepted") == "bad_token"
            assert refused(by_both(), token, "signature is wrong") == "bad_token"
    assert accepted(by_both(), forge(HEADERS["HS256"], CLAIMS, hs256(SECRET))) == CALLER


def test_a_public_key_cannot_be_configured_as_a_secret() -> None:
    for text in public_texts():
        with pytest.raises(ValueError, match="is a key that is not secret") as caught:
            Verifier(hs256_secret=text, issuer=ISSUER, audience=AUDIENCE)
        assert text not in str(caught.value)
    for good in (SECRET, "{not JSON, but long enough to be one}", base64.b64encode(bytes(48))):
        secret = good if isinstance(good, str) else good.decode()
        verifier = Verifier(hs256_secret=secret, issuer=ISSUER, audience=AUDIENCE)
        assert accepted(verifier, forge(HEADERS["HS256"], CLAIMS, hs256(secret))) == CALLER


def test_a_key_is_used_with_its_own_algorithm_only() -> None:
    for algorithm, kid, sign in (("RS256", "ec", rs256()), ("ES256", "rsa", es256())):
        token = forge({"alg": algorithm, "kid": kid}, CLAIMS, sign)
        assert refused(by_keys(), token, "not that of its key") == "bad_token"
    for algorithm, kid, sign in (("ES256", "ec", es256()), ("RS256", "rsa", rs256())):
        assert accepted(by_keys(), forge({"alg": algorithm, "kid": kid}, CLAIMS, sign)) == CALLER


# F98: claims


@KINDS
@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "sub"])
def test_a_claim_that_is_missing_or_null_is_missed(kind: str, claim: str) -> None:
    rest = {key: value for key, value in CLAIMS.items() if key != claim}
    for claims in (rest, rest | {claim: None}):
        token = forge(HEADERS[kind], claims, SIGNS[kind])
        assert refused(for_kind(kind), token, f"lacks the claim {claim}") == "bad_token"
    token = forge(HEADERS[kind], rest | {claim: CLAIMS[claim]}, SIGNS[kind])
    assert accepted(for_kind(kind), token) == CALLER


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"iss": ""}, "another issuer"),
        ({"iss": [ISSUER]}, "another issuer"),
        ({"aud": "anon"}, "another audience"),
        ({"aud": ["anon", "other"]}, "another audience"),
        ({"aud": [AUDIENCE, 7]}, "another audience"),
        ({"aud": {AUDIENCE: 1}}, "another audience"),
        ({"aud": 7}, "another audience"),
        ({"aud": ""}, "lacks the claim aud"),
        ({"aud": []}, "lacks the claim aud"),
        ({"sub": ""}, "claim sub is not"),
        ({"sub": "x" * 129}, "claim sub is not"),
        ({"sub": "a\nuser:b"}, "claim sub is not"),
        ({"sub": "\ud800"}, "claim sub is not"),
        ({"sub": 7}, "cannot be read"),
        ({"sub": ["a"]}, "cannot be read"),
        *(({name: value}, why)
          for name in ("exp", "nbf", "iat")
          for value, why in (
              (str(SECOND), "is no number"), (True, "is no number"), ([SECOND], "is no number"),
              ({}, "is no number"), (float("nan"), "no time"), (float("inf"), "no time"),
              (-1, "no time"), (1e300, "no time"), (10**18, "no time"), (NOW, "no time"),
          )),
        ({"nbf": None}, "is no number"),
        ({"iat": None}, "is no number"),
    ],
)  # fmt: skip
def test_a_claim_that_cannot_be_is_refused(claims: Claims, why: str) -> None:
    assert refused(by_secret(), true_token(**claims), why) == "bad_token"
    assert accepted(by_secret(), true_token()) == CALLER


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [AUDIENCE]},
        {"aud": ["other", AUDIENCE]},
        {"exp": SECOND + 3600.0},
        {"nbf": SECOND},
        {"nbf": 0},
        {"more": {"of": ["anything"]}},
    ],
)
def test_a_claim_in_another_spelling_is_accepted(claims: Claims) -> None:
    assert accepted(by_secret(), true_token(**claims)) == CALLER


def test_a_long_subject_is_kept_whole() -> None:
    assert accepted(by_secret(), true_token(sub="x" * 128)).id == "user:" + "x" * 128


@pytest.mark.parametrize(
    ("payload", "times"),
    [
        *((text, 1) for text in (b"", b"[]", b"7", b'"text"', b"null", b"{", b"\xff")),
        *((b"[", 4000), (b'{"a":', 1000)),
    ],
)
def test_claims_that_are_no_object_are_refused(payload: bytes, times: int) -> None:
    payload *= times
    text = f"{part(HEADERS['HS256'])}.{b64(payload)}"
    token = f"{text}.{b64(hs256()(text.encode()))}"
    assert refused(by_secret(), token) == "bad_token"
    true = f"{part(HEADERS['HS256'])}.{b64(json.dumps(CLAIMS).encode())}"
    assert accepted(by_secret(), f"{true}.{b64(hs256()(true.encode()))}") == CALLER


# F94: clocks that differ


@KINDS
@pytest.mark.parametrize(
    ("claim", "offset_ms", "code"),
    [
        ("exp", -29_000, None),
        ("exp", -29_999, None),
        ("exp", -30_000, "expired_token"),
        ("exp", -31_000, "expired_token"),
        ("nbf", 29_000, None),
        ("nbf", 30_000, None),
        ("nbf", 30_001, "bad_token"),
        ("nbf", 31_000, "bad_token"),
        ("iat", 29_000, None),
        ("iat", 30_000, None),
        ("iat", 30_001, "bad_token"),
        ("iat", 31_000, "bad_token"),
    ],
)
def test_clocks_may_differ_by_half_a_minute(
    kind: str, claim: str, offset_ms: int, code: str | None
) -> None:
    token = true_token(kind, **{claim: SECOND})
    now_ms = NOW - offset_ms
    if code is None:
        assert accepted(for_kind(kind), token, now_ms).id == CALLER.id
    else:
        why = "has expired" if code == "expired_token" else f"future .{claim}."
        assert refused(for_kind(kind), token, why, now_ms) == code


def test_the_end_of_a_token_is_its_own() -> None:
    assert accepted(by_secret(), true_token(exp=SECOND + 1.5)).expires_at == NOW + 1500


def test_an_expired_token_is_told_so_only_if_it_is_true() -> None:
    late = NOW + 7_200_000
    token = true_token()
    assert refused(by_secret(), token, "expired", late) == "expired_token"
    assert refused(by_secret(), token[:-4] + "AAAA", "signature", late) == "bad_token"


# F98: extensions


@KINDS
@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"crit": ["b64"]},
        {"crit": ["exp"], "exp": SECOND + 3600},
        {"crit": ["urn:example:x"], "urn:example:x": 1},
        {"crit": []},
        {"crit": None},
        {"crit": "b64"},
        {"crit": [7]},
    ],
)
def test_no_demanded_extension_is_known(kind: str, header: dict[str, Any]) -> None:
    assert refused(for_kind(kind), true_token(kind, header)) == "bad_token"
    harmless = {"urn:example:x": 1, "exp": 0}
    assert accepted(for_kind(kind), true_token(kind, harmless)) == CALLER


# F99: keys that the token names


@pytest.mark.parametrize(
    ("algorithm", "sign"), [("ES256", es256("attacker")), ("RS256", rs256("attacker"))]
)
@pytest.mark.parametrize(
    "named",
    [
        *("../../../../etc/passwd", "/dev/null", "file:///dev/null", ATTACKER, "%00", "\0"),
        *("' OR '1'='1", "x' UNION SELECT 'key' --", "$(id)", "{{7*7}}", "", " ec", "EC", "ec\0"),
        *("__class__", "keys", "k" * 5000, "k" * 10_000, 0, 7, True, None, [], ["ec"], {}),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_key_is_looked_up_by_its_name_only(algorithm: str, sign: Sign, named: object) -> None:
    issuer = Issuer()
    verifier = by_keys(issuer)
    assert refused(verifier, forge({"alg": algorithm, "kid": named}, CLAIMS, sign)) == "bad_token"
    assert refused(verifier, forge({"alg": algorithm}, CLAIMS, sign), "not among") == "bad_token"
    assert accepted(verifier, true_token(algorithm)) == CALLER
    assert issuer.fetched == [URL]


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
@pytest.mark.parametrize("kid", ["own", "attacker's"])
def test_an_address_or_a_key_in_a_token_is_never_used(algorithm: str, kid: str) -> None:
    issuer, clock = Issuer(), MovedClock(NOW)
    verifier = by_keys(issuer, clock)
    assert accepted(verifier, true_token(algorithm)) == CALLER
    assert issuer.fetched == [URL]
    key = ec_key("attacker") if algorithm == "ES256" else rsa_key("attacker")
    sign = es256("attacker") if algorithm == "ES256" else rs256("attacker")
    header: dict[str, Any] = HEADERS[algorithm] | {
        "jku": ATTACKER,
        "x5u": ATTACKER,
        "jwk": jwk_of(key),
        "x5c": [base64.b64encode(b"a certificate").decode()],
    }
    if kid != "own":
        header["kid"] = kid
        header["jwk"]["kid"] = kid
    assert refused(verifier, forge(header, CLAIMS, sign)) == "bad_token"
    assert issuer.fetched == [URL]
    # The same words beside the true key's signature are not even looked at.
    assert accepted(verifier, true_token(algorithm, header | HEADERS[algorithm])) == CALLER
    assert issuer.fetched == [URL]


def test_a_key_of_no_name_is_not_guessed() -> None:
    token = forge({"alg": "ES256"}, CLAIMS, es256())
    assert refused(by_keys(), token, "not among") == "bad_token"
    assert accepted(by_keys(), forge({"alg": "ES256", "kid": "ec"}, CLAIMS, es256())) == CALLER


def test_keys_are_used_while_the_issuer_is_down_and_not_before_it_was_up() -> None:
    issuer, clock = Issuer(), MovedClock(NOW)
    issuer.down = True
    verifier = by_keys(issuer, clock)
    assert refused(verifier, true_token("ES256"), "not among") == "bad_token"
    issuer.down = False
    clock.move(60_000)
    assert accepted(verifier, true_token("ES256")) == CALLER
    issuer.down = True
    clock.move(60_000)
    assert accepted(verifier, true_token("ES256")) == CALLER
    assert accepted(verifier, true_token("RS256")) == CALLER
    assert len(issuer.fetched) == 2


# Signatures


@KINDS
def test_what_was_signed_cannot_be_changed(kind: str) -> None:
    verifier, token = for_kind(kind), true_token(kind)
    header, claims, signature = token.split(".")
    admin = part(CLAIMS | {"role": "service_role"})
    for wrong in (
        f"{header}.{admin}.{signature}",
        f"{part(HEADERS[kind] | {'typ': 'at+jwt'})}.{claims}.{signature}",
        f"{header}.{claims}.{true_token(kind, role='anon').split('.')[2]}",
    ):
        assert refused(verifier, wrong, "signature is wrong") == "bad_token"
    assert accepted(verifier, token) == CALLER


@KINDS
def test_what_is_not_three_parts_is_refused(kind: str) -> None:
    verifier, token = for_kind(kind), true_token(kind)
    header, claims, signature = token.split(".")
    for wrong in (
        f"{header}.{claims}.",
        f"{header}.{claims}",
        f"{header}..{signature}",
        f".{claims}.{signature}",
        f"{token}.",
        f"{token}.{signature}",
        f"{token}=",
        f"{token}==",
        f"{token}\n",
        f" {token}",
        f"Bearer {token}",
        f"{header}.{claims}. {signature}",
        token.replace(".", ","),
        "..",
        ".",
        "null",
    ):
        assert refused(verifier, wrong) == "bad_token"
    assert accepted(verifier, token) == CALLER


@pytest.mark.parametrize(
    ("kind", "sign"),
    [
        ("HS256", hs256("a secret of somebody else's, as long")),
        ("HS256", hs256("")),
        ("ES256", es256("attacker")),
        ("RS256", rs256("attacker")),
    ],
)
def test_another_key_of_the_same_kind_will_not_do(kind: str, sign: Sign) -> None:
    assert refused(for_kind(kind), forge(HEADERS[kind], CLAIMS, sign), "signature") == "bad_token"
    assert accepted(for_kind(kind), forge(HEADERS[kind], CLAIMS, SIGNS[kind])) == CALLER


@pytest.mark.parametrize(
    "change",
    [
        lambda rs: rs[:1],
        lambda rs: rs[:-1],
        lambda rs: rs[1:],
        lambda rs: rs + b"\0",
        lambda rs: b"\0" + rs,
        lambda rs: rs + rs,
        lambda rs: rs[:32],
        lambda rs: rs[32:] + rs[:32],
        lambda _: bytes(64),
        lambda rs: bytes(32) + rs[32:],
        lambda rs: rs[:32] + bytes(32),
        lambda _: b"\xff" * 64,
        lambda rs: bytes(16) + rs[:32] + bytes(16) + rs[32:],
    ],
)
def test_r_and_s_are_32_bytes_each(change: Callable[[bytes], bytes]) -> None:
    def sign(text: bytes) -> bytes:
        return change(es256()(text))

    token = forge(HEADERS["ES256"], CLAIMS, sign)
    assert refused(by_keys(), token, "signature is wrong") == "bad_token"
    assert accepted(by_keys(), true_token("ES256")) == CALLER


def test_the_usual_spelling_of_an_ec_signature_is_not_a_tokens() -> None:
    def sign(text: bytes) -> bytes:
        return ec_key("issuer").sign(text, ec.ECDSA(SHA256()))

    token = forge(HEADERS["ES256"], CLAIMS, sign)
    assert refused(by_keys(), token, "signature is wrong") == "bad_token"


@KINDS
def test_no_letter_of_a_token_can_be_changed(kind: str) -> None:
    verifier, token = for_kind(kind), true_token(kind)
    changed = {
        token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        for place, letter in enumerate(token)
    }
    # Bits of a part's last letter stand for nothing: one spelling is accepted all the same.
    for place in (token.index(".") - 1, token.rindex(".") - 1, len(token) - 1):
        changed |= {token[:place] + letter + token[place + 1 :] for letter in LETTERS}
    changed.discard(token)
    assert len(changed) > len(token)
    for wrong in changed:
        assert refused(verifier, wrong) == "bad_token"
    assert accepted(verifier, token) == CALLER


def of_length(length: int) -> str:
    """A true token of so many bytes."""
    for name in ("p", "pa", "pad"):
        bare = len(true_token(**{name: ""}))
        for filler in range((length - bare) * 3 // 4 - 4, (length - bare) * 3 // 4 + 5):
            token = true_token(**{name: "x" * filler})
            if len(token) == length:
                return token
    raise AssertionError(f"no token has {length} bytes")


def test_a_token_has_no_more_than_8192_bytes() -> None:
    assert LONGEST_TOKEN == 8192
    assert accepted(by_secret(), of_length(8192)) == CALLER
    assert refused(by_secret(), of_length(8193), "longer than 8192") == "bad_token"
    assert refused(by_secret(), "x" * 10_000_000, "longer than 8192") == "bad_token"


# API keys


def test_api_keys_go_to_their_file(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json", MovedClock(NOW))
    info, token = file.create("a", ["read"], NOW, NOW + 1000)
    verifier = Verifier(keys=file)
    assert accepted(verifier, token) == Caller(f"key:{info.id}", frozenset({"read"}), NOW + 1000)
    assert refused(verifier, token, "expired", NOW + 1000) == "expired_token"
    assert refused(verifier, token[:-1], "not known") == "bad_token"
    assert refused(verifier, "scr_" + "x" * 9000, "longer") == "bad_token"
    assert refused(by_both(), token, "API keys are not accepted") == "bad_token"
    assert refused(verifier, true_token(), "algorithm is not accepted") == "bad_token"


@pytest.mark.parametrize("make", [by_secret, by_keys, by_both, Verifier])
def test_no_token_is_told_from_a_bad_one(make: Callable[[], Verifier]) -> None:
    assert refused(make(), "", "there is no token") == "no_token"
    assert refused(make(), "x") == "bad_token"


# Settings


def test_a_short_secret_is_refused() -> None:
    short = "s" * (LEAST_SECRET - 1)
    with pytest.raises(ValueError, match="has 31 bytes, 32 or more") as caught:
        Verifier(hs256_secret=short, issuer=ISSUER, audience=AUDIENCE)
    assert short not in str(caught.value)
    with pytest.raises(ValueError, match="has 0 bytes"):
        Verifier(hs256_secret="", issuer=ISSUER, audience=AUDIENCE)
    Verifier(hs256_secret="s" * LEAST_SECRET, issuer=ISSUER, audience=AUDIENCE)
    Verifier(hs256_secret="é" * (LEAST_SECRET // 2), issuer=ISSUER, audience=AUDIENCE)


@pytest.mark.parametrize(
    ("issuer", "audience"),
    [(None, None), (ISSUER, None), (None, AUDIENCE), ("", AUDIENCE), (ISSUER, "")],
)
def test_issuer_and_audience_must_be_named(issuer: str | None, audience: str | None) -> None:
    jwks = Jwks(URL, Issuer().fetch, MovedClock(NOW))
    with pytest.raises(ValueError, match="an issuer and an audience"):
        Verifier(hs256_secret=SECRET, issuer=issuer, audience=audience)
    with pytest.raises(ValueError, match="an issuer and an audience"):
        Verifier(jwks=jwks, issuer=issuer, audience=audience)
    Verifier(hs256_secret=SECRET, jwks=jwks, issuer=ISSUER, audience=AUDIENCE)


# What errors tell


def told(verifier: Verifier, token: str) -> str:
    """All that is written of a refusal; empty if there is none."""
    try:
        asyncio.run(verifier.verify(token, NOW))
    except TokenError as error:
        return "\n".join([str(error), repr(error), *traceback.format_exception(error)])
    return ""


CANARY = "canary-7d1f"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def no_word_of_it_is_told(token: str) -> None:
    """Neither of a refusal; nor is a token refused for words that nobody looks at."""
    text = told(by_both(), token)
    assert text or accepted(by_both(), token)
    assert CANARY not in text
    assert token not in text


@pytest.mark.parametrize("value", [CANARY, f"{CANARY}\n", [CANARY], {CANARY: CANARY}, CANARY * 99])
def test_no_word_of_a_token_is_told(value: object) -> None:
    for kind in HEADERS:
        for name in ("alg", "kid", "crit", "b64", "typ"):
            no_word_of_it_is_told(true_token(kind, {name: value}))
    for name in ("iss", "aud", "sub", "exp", "nbf", "iat", "jti", "role"):
        no_word_of_it_is_told(true_token(**{name: value}))
    assert told(by_both(), true_token(role=CANARY)) != ""


@pytest.mark.parametrize(
    "token", [CANARY, f"scr_{CANARY}", f"{CANARY}.{CANARY}.{CANARY}", f"Bearer {CANARY}"]
)
def test_no_word_of_what_is_no_token_is_told(token: str) -> None:
    assert told(by_both(), token) != ""
    no_word_of_it_is_told(token)


@given(st.text(min_size=12) | st.from_regex(r"\A[A-Za-z0-9_-]{4,40}(\.[A-Za-z0-9_-]{4,40}){2}\Z"))
def test_no_text_is_told_and_each_is_refused(token: str) -> None:
    text = told(by_both(), token)
    assert "TokenError" in text
    assert token not in text


@given(
    st.dictionaries(st.sampled_from(["typ", "kid", "crit", "b64", "jku", "cty"]), JSON),
    st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "role", "app_metadata"]),
        JSON,
    ),
)
def test_whatever_was_truly_signed_is_a_caller_or_refused(
    header: dict[str, Any], claims: Claims
) -> None:
    token = true_token("HS256", header, **claims)
    text = told(by_secret(), token)
    assert token not in text
    assert text == "" or "TokenError" in text
