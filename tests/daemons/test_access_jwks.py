"""The issuer's keys: which are taken, when they are fetched, what is kept when they cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fake_target import Reply, answer, fake_target, hang, hang_up, redirect_loop
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from scripted import MovedClock

from screenerd.serve.access import jwks
from screenerd.serve.access.jwks import LARGEST_SET, Jwks, JwksError, fetch_with, parse_keys

URL = "https://issuer.example/auth/v1/.well-known/jwks.json"
START = 1_732_190_400_000
DEADLINE = 10.0


@cache
def ec_jwk(curve: ec.EllipticCurve | None = None) -> dict[str, Any]:
    """A public key, P-256 unless it is said."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    return dict(ECAlgorithm.to_jwk(key.public_key(), as_dict=True))


@cache
def rsa_jwk(bits: int = 2048) -> dict[str, Any]:
    """A public key."""
    key = rsa.generate_private_key(65537, bits)
    return dict(RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))


def key_set(*kids: str) -> bytes:
    """A set that holds keys of these ids."""
    return orjson.dumps({"keys": [ec_jwk() | {"kid": kid} for kid in kids]})


class Endpoint:
    """Answers as it is told, and counts."""

    def __init__(self, body: bytes) -> None:
        """Answers with this."""
        self.body: bytes | JwksError = body
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self, url: str) -> bytes:
        """The answer, once it is let through."""
        assert url == URL
        self.asked += 1
        await self.open.wait()
        if isinstance(self.body, JwksError):
            raise self.body
        return self.body


def served(body: bytes) -> tuple[Jwks, Endpoint, MovedClock]:
    """A set of keys, what it asks, and its clock."""
    endpoint, clock = Endpoint(body), MovedClock(START)
    return Jwks(URL, endpoint.fetch, clock), endpoint, clock


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0)


# When


@pytest.mark.asyncio
async def test_a_known_key_is_fetched_once() -> None:
    keys, endpoint, _ = served(key_set("a", "b"))
    for kid in ("a", "b", "a"):
        assert await keys.find(kid) is not None
    assert endpoint.asked == 1


@pytest.mark.asyncio
async def test_a_flood_of_unknown_keys_is_one_fetch_a_minute() -> None:
    keys, endpoint, clock = served(key_set("a"))
    assert await keys.find("a") is not None
    for minutes in range(1, 4):
        clock.move(59_999)
        for n in range(1000):
            assert await keys.find(f"unknown {n}") is None
        assert endpoint.asked == minutes
        clock.move(1)
        for n in range(1000):
            assert await keys.find(f"unknown {n}") is None
        assert endpoint.asked == minutes + 1


@pytest.mark.asyncio
async def test_a_new_key_is_found_and_the_old_one_gone_once_they_are_rotated() -> None:
    keys, endpoint, clock = served(key_set("old"))
    assert await keys.find("old") is not None
    endpoint.body = key_set("new")
    clock.move(60_000)
    assert await keys.find("new") is not None
    assert await keys.find("old") is None
    assert endpoint.asked == 2


@pytest.mark.asyncio
async def test_a_revoked_key_is_gone_ten_minutes_later_though_none_is_unknown() -> None:
    keys, endpoint, clock = served(key_set("old"))
    assert await keys.find("old") is not None
    endpoint.body = key_set()
    clock.move(599_999)
    assert await keys.find("old") is not None
    assert endpoint.asked == 1
    endpoint.open.clear()
    clock.move(1)
    # Answered at once, though the endpoint does not answer yet.
    assert await keys.find("old") is not None
    await until(lambda: endpoint.asked == 2)
    assert await keys.find("old") is not None
    endpoint.open.set()
    async with asyncio.timeout(DEADLINE):
        while await keys.find("old") is not None:
            await asyncio.sleep(0)
    assert endpoint.asked == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "trouble",
    [
        JwksError("away"),
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": []' + b" " * LARGEST_SET + b"}",
    ],
)
async def test_a_fetch_that_fails_keeps_the_old_keys(trouble: bytes | JwksError) -> None:
    keys, endpoint, clock = served(key_set("a"))
    assert await keys.find("a") is not None
    endpoint.body = trouble
    for fetches in range(2, 5):
        clock.move(600_000)
        for _ in range(100):
            assert await keys.find("b") is None
            assert await keys.find("a") is not None
        assert endpoint.asked == fetches
    endpoint.body = key_set("b")
    clock.move(60_000)
    assert await keys.find("b") is not None


@pytest.mark.asyncio
async def test_aged_keys_ask_an_endpoint_that_is_down_once_a_minute() -> None:
    keys, endpoint, clock = served(key_set("a"))
    assert await keys.find("a") is not None
    endpoint.body = JwksError("away")
    clock.move(540_000)
    for minutes in range(1, 4):
        clock.move(60_000)
        for _ in range(100):
            assert await keys.find("a") is not None
            await asyncio.sleep(0)
        assert endpoint.asked == 1 + minutes


@pytest.mark.asyncio
async def test_an_endpoint_that_was_down_from_the_start_is_found_when_it_is_back() -> None:
    keys, endpoint, clock = served(key_set("a"))
    body, endpoint.body = endpoint.body, JwksError("away")
    assert await keys.find("a") is None
    endpoint.body = body
    assert await keys.find("a") is None
    clock.move(60_000)
    assert await keys.find("a") is not None
    assert endpoint.asked == 2


@pytest.mark.asyncio
async def test_all_who_wait_share_one_fetch() -> None:
    keys, endpoint, _ = served(key_set("a"))
    endpoint.open.clear()
    waiting = [asyncio.create_task(keys.find("a")) for _ in range(100)]
    await until(lambda: endpoint.asked > 0)
    endpoint.open.set()
    assert None not in await asyncio.gather(*waiting)
    assert endpoint.asked == 1


@pytest.mark.asyncio
async def test_who_stops_waiting_does_not_stop_the_others() -> None:
    keys, endpoint, _ = served(key_set("a"))
    endpoint.open.clear()
    first, second = (asyncio.create_task(keys.find("a")) for _ in range(2))
    await until(lambda: endpoint.asked > 0)
    first.cancel()
    await asyncio.wait({first})
    endpoint.open.set()
    assert first.cancelled()
    assert await second is not None
    assert endpoint.asked == 1


@pytest.mark.asyncio
async def test_closing_gives_up_the_fetch() -> None:
    keys, endpoint, _ = served(key_set("a"))
    await keys.close()
    endpoint.open.clear()
    waiting = asyncio.create_task(keys.find("a"))
    await until(lambda: endpoint.asked > 0)
    await keys.close()
    assert await waiting is None


# Which


@pytest.mark.parametrize(
    ("entry", "algorithm"),
    [
        (lambda: ec_jwk(), "ES256"),
        (lambda: ec_jwk() | {"alg": "ES256", "use": "sig", "key_ops": ["verify"]}, "ES256"),
        (lambda: rsa_jwk(), "RS256"),
        (lambda: rsa_jwk() | {"alg": "RS256", "use": "sig", "x5u": "https://x.example"}, "RS256"),
        # With parts of a private key, which are not looked at.
        (lambda: ec_jwk() | {"d": "AAAA"}, "ES256"),
        (lambda: rsa_jwk() | {"d": "AAAA", "p": 7}, "RS256"),
    ],
)
def test_a_key_for_signatures_is_taken(entry: Callable[[], Any], algorithm: str) -> None:
    [(kid, key)] = parse_keys(orjson.dumps({"keys": [entry() | {"kid": "a"}]})).items()
    assert (kid, key.algorithm) == ("a", algorithm)


@pytest.mark.parametrize(
    "entry",
    [
        lambda: rsa_jwk(1024),
        lambda: ec_jwk(ec.SECP384R1()),
        lambda: ec_jwk(ec.SECP256K1()),
        lambda: ec_jwk() | {"crv": "P-384"},
        lambda: ec_jwk() | {"crv": None},
        lambda: ec_jwk() | {"kty": "RSA"},
        lambda: rsa_jwk() | {"kty": "EC", "crv": "P-256"},
        lambda: rsa_jwk() | {"kty": "oct", "k": "c2VjcmV0"},
        lambda: {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        },
        lambda: ec_jwk() | {"use": "enc"},
        lambda: ec_jwk() | {"alg": "HS256"},
        lambda: ec_jwk() | {"alg": "RS256"},
        lambda: rsa_jwk() | {"alg": "RS512"},
        lambda: rsa_jwk() | {"alg": "none"},
        lambda: ec_jwk() | {"x": ec_jwk()["y"]},
        lambda: ec_jwk() | {"x": "AAAA"},
        lambda: ec_jwk() | {"x": 7},
        lambda: {key: value for key, value in ec_jwk().items() if key != "y"},
        lambda: rsa_jwk() | {"e": "AQ"},
        lambda: rsa_jwk() | {"n": ""},
        lambda: rsa_jwk() | {"n": None},
        lambda: ec_jwk() | {"kid": None},
        lambda: ec_jwk() | {"kid": 7},
        lambda: ec_jwk() | {"kid": ["good"]},
        lambda: "text",
        lambda: None,
        dict,
    ],
)
def test_any_other_is_left_out_and_the_rest_stays(entry: Callable[[], Any]) -> None:
    odd = entry()
    if isinstance(odd, dict):
        odd = {"kid": "odd", **odd}
    body = {"keys": [ec_jwk() | {"kid": "before"}, odd, ec_jwk() | {"kid": "after"}]}
    assert list(parse_keys(orjson.dumps(body))) == ["before", "after"]


def test_of_two_keys_of_one_id_the_first_counts() -> None:
    body = {"keys": [ec_jwk() | {"kid": "a"}, rsa_jwk() | {"kid": "a"}]}
    assert parse_keys(orjson.dumps(body))["a"].algorithm == "ES256"


def test_no_more_than_32_keys_are_kept() -> None:
    kids = [f"key {n}" for n in range(40)]
    assert list(parse_keys(key_set(*kids))) == kids[:32]


@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["keys", "kty", "kid", "crv", "x", "n", "e"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_is_served_is_a_set_or_an_error(body: bytes) -> None:
    with contextlib.suppress(JwksError):
        assert parse_keys(body) == {}


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/jwks",
        "http://127.0.0.1.issuer.example/jwks",
        "http://10.0.0.1/jwks",
        "http://[2001:db8::1]/jwks",
        "file:///etc/passwd",
        "file://issuer.example/jwks",
        "issuer.example/jwks",
        "//issuer.example/jwks",
        "https:///jwks",
        "https://user@issuer.example/jwks",
        "",
    ],
)
def test_a_url_that_others_could_answer_is_refused(url: str) -> None:
    async def fetch(_url: str) -> bytes:
        raise AssertionError("nothing is fetched yet")

    with pytest.raises(ValueError, match="the key set's URL"):
        Jwks(url, fetch, MovedClock(START))
    for good in (
        URL,
        "http://127.0.0.1:54321/jwks",
        "http://localhost:54321/jwks",
        "http://[::1]/jwks",
    ):
        Jwks(good, fetch, MovedClock(START))


# Over a socket


def raw(body: bytes, **headers: str) -> Reply:
    """These very bytes."""

    async def reply(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers=headers)

    return reply


async def fetched(reply: Reply) -> bytes:
    """What a fetch gets where the endpoint answers so."""
    async with fake_target() as target, aiohttp.ClientSession() as session:
        target.always["/jwks"] = reply
        async with asyncio.timeout(DEADLINE):
            return await fetch_with(session)(target.url + "/jwks")


@pytest.mark.asyncio
async def test_a_set_is_fetched_as_it_is() -> None:
    assert await fetched(raw(key_set("a"))) == key_set("a")
    assert len(await fetched(raw(b"x" * LARGEST_SET))) == LARGEST_SET


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(500), "status is 500"),
        (answer(404), "status is 404"),
        (answer(204), "status is 204"),
        (raw(b"x" * (LARGEST_SET + 1)), "larger"),
        (raw(gzip.compress(bytes(20_000_000)), **{"Content-Encoding": "gzip"}), "larger"),
        (raw(b"no gzip", **{"Content-Encoding": "gzip"}), "no answer"),
        (hang_up, "no answer"),
    ],
)
async def test_any_other_answer_is_an_error(reply: Reply, reason: str) -> None:
    with pytest.raises(JwksError, match=reason):
        await fetched(reply)


@pytest.mark.asyncio
async def test_no_redirect_is_followed() -> None:
    async with fake_target() as target, aiohttp.ClientSession() as session:
        target.always["/jwks"] = redirect_loop
        with pytest.raises(JwksError, match="status is 307"):
            await fetch_with(session)(target.url + "/jwks")
        assert target.paths() == ["/jwks"]


@pytest.mark.asyncio
async def test_an_endless_answer_is_cut_short() -> None:
    async with fake_target() as target, aiohttp.ClientSession() as session:
        target.always["/jwks"] = target.endless(200)
        with pytest.raises(JwksError, match="larger"):
            await fetch_with(session)(target.url + "/jwks")
        async with asyncio.timeout(DEADLINE):
            await target.dropped.wait()


@pytest.mark.asyncio
async def test_a_silent_endpoint_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "DEADLINE", 0.05)
    released = asyncio.Event()
    async with fake_target() as target, aiohttp.ClientSession() as session:
        target.always["/jwks"] = hang(released)
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(JwksError, match="TimeoutError"):
                await fetch_with(session)(target.url + "/jwks")
        released.set()


@pytest.mark.asyncio
async def test_an_endpoint_that_is_away_is_an_error() -> None:
    async with fake_target() as target:
        url = target.url
    async with aiohttp.ClientSession() as session:
        with pytest.raises(JwksError, match="no answer"):
            await fetch_with(session)(url)
