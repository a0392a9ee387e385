"""Who may do what, over real sockets: tokens, scopes, limits, and where none is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio
from pydantic import SecretStr
from served import Served, serving
from structlog.testing import capture_logs

from screenerd.model import RuleSwitch, SettingsChanged
from screenerd.serve.access.keys import KeyFile
from screenerd.serve.settings import ExposedError, JwtConfig, ServeConfig

pytestmark = pytest.mark.asyncio

SECRET = "not the secret of anybody, and long"  # noqa: S105
ISSUER = "https://project.example/auth/v1"
NOW_MS = 1_700_000_000_000
JWT = JwtConfig(secret=SecretStr(SECRET), issuer=ISSUER)


def token(**claims: Any) -> str:
    """A user's token, as Supabase makes them."""
    made = {
        "sub": "7b0c",
        "iss": ISSUER,
        "aud": "authenticated",
        "role": "authenticated",
        "exp": time.time() + 3600,
    } | claims
    return jwt.encode({k: v for k, v in made.items() if v is not None}, SECRET, "HS256")


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@contextlib.asynccontextmanager
async def guarded(path: Path, **config: Any) -> AsyncIterator[Served]:
    """A service that asks for tokens."""
    async with serving(path, jwt=JWT, **config) as served:
        yield served


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with guarded(tmp_path / "s.db") as one:
        yield one


def key(served: Served, *scopes: Any) -> str:
    _, secret = served.keys.create("k", frozenset(scopes), NOW_MS)
    return secret


async def test_what_is_open_is_open_and_the_rest_is_not(served: Served) -> None:
    for path in ("/", "/health/live", "/health/ready", "/api/health", "/openapi.json"):
        assert (await served.get(path))[0] == 200, path
    for path in ("/api/alerts", "/api/metrics", "/api/rules", "/api/settings", "/metrics"):
        status, value, answer = await served.get(path)
        assert (status, value["error"]) == (401, "no_token"), path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await served.get(path, headers=bearer(token())))[0] == 200


@pytest.mark.parametrize(
    "text",
    [
        "rubbish",
        "a.b.c",
        token(exp=time.time() - 3600),
        token(aud="other"),
        token(iss="https://evil.example"),
        token(exp=None),
        token(sub=None),
        jwt.encode({"sub": "x"}, "", "none"),
        "scr_00000000_" + "a" * 43,
    ],
)
async def test_a_token_that_is_not_good_is_refused_everywhere(served: Served, text: str) -> None:
    with capture_logs() as events:
        status, value, _ = await served.get("/api/alerts", headers=bearer(text))
        assert status == 401
        assert text not in str(value)
        async with served.socket() as client:
            await client.say({"type": "auth", "token": text})
            assert (await client.hear())["type"] == "error"
            assert await client.ended() == 4401
    assert text not in str(events)


@pytest.mark.parametrize("scheme", ["Basic", "Token", "", "bearer"])
async def test_the_scheme_is_bearer(served: Served, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {token()}"}
    status, _, _ = await served.get("/api/alerts", headers=headers)
    assert status == (200 if scheme == "bearer" else 401)


async def test_a_token_in_the_address_is_not_taken(served: Served) -> None:
    status, _, _ = await served.get(f"/api/alerts?token={token()}")
    assert status == 401


async def test_scopes_limit_what_a_key_may_do(served: Served) -> None:
    change = {"enabled": False}
    put = ("PUT", "/api/rules/pioneer_bull")
    read, write, admin = (bearer(key(served, scope)) for scope in ("read", "write", "admin"))
    assert (await served.get("/api/alerts", headers=read))[0] == 200
    status, value, _ = await served.ask(*put, json=change, headers=read)
    assert (status, value["error"]) == (403, "forbidden")
    assert (await served.ask(*put, json=change, headers=write))[0] == 200
    assert await served.store.rule_switches() == {}, "a user changes it for himself alone"
    assert (await served.ask(*put, json=change, headers=admin))[0] == 200
    assert not (await served.store.rule_switches())["pioneer_bull"].enabled


async def test_users_see_and_change_only_what_is_theirs(served: Served) -> None:
    one, two = bearer(token(sub="one")), bearer(token(sub="two"))
    settings = {"selected_alerts": ["top_hunter"]}
    await served.ask("POST", "/api/settings", json=settings, headers=one)
    _, value, _ = await served.get("/api/settings", headers=two)
    assert value["selected_alerts"] == []
    status, _, _ = await served.ask(
        "POST", "/api/settings", json={"user_id": "user:one", **settings}, headers=two
    )
    assert status == 422
    await served.ask("PUT", "/api/rules/top_hunter", json={"enabled": False}, headers=one)
    for headers, enabled in ((one, False), (two, True)):
        _, value, _ = await served.get("/api/rules", headers=headers)
        [rule] = [rule for rule in value["rules"] if rule["name"] == "top_hunter"]
        assert rule["enabled"] is enabled


async def test_a_rule_that_a_user_has_switched_off_is_silent_for_that_user(served: Served) -> None:
    change = {"enabled": False}
    await served.ask("PUT", "/api/rules/top_hunter", json=change, headers=bearer(token(sub="one")))
    async with served.socket() as one, served.socket() as two:
        for client, sub in ((one, "one"), (two, "two")):
            await client.say({"type": "auth", "token": token(sub=sub)})
            await client.hear("authenticated")
            await client.say({"type": "subscribe"})
            await client.hear("subscribed")
        quiet = await served.publish(rule="top_hunter")
        loud = await served.publish(rule="pioneer_bull")
        assert (await one.hear("alert"))["data"]["id"] == loud.id
        assert (await two.hear("alert"))["data"]["id"] == quiet.id
        change = {"enabled": True}
        await served.ask(
            "PUT", "/api/rules/top_hunter", json=change, headers=bearer(token(sub="one"))
        )
        again = await served.publish(rule="top_hunter")
        assert (await one.hear("alert"))["data"]["id"] == again.id, "at once, not at the next login"
        # As another process does it that shares the store.
        await served.store.set_user_switch("user:one", RuleSwitch("top_hunter", enabled=False))
        await served.bus.publish(SettingsChanged("user:one"))
        await served.publish(rule="top_hunter")
        loud = await served.publish(rule="pioneer_bull")
        assert (await one.hear("alert"))["data"]["id"] == loud.id


async def test_who_says_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screenerd.serve.session.AUTH_SECONDS", 0.2)
    async with guarded(tmp_path / "s.db") as served:
        async with served.socket() as client:
            assert await client.ended() == 4401
        async with served.socket() as client:
            await client.say({"type": "auth", "token": token()})
            await client.hear("authenticated")
            await client.say({"type": "subscribe"})
            await client.hear("subscribed")


async def test_a_token_that_ends_ends_the_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screenerd.serve.socket.RECHECK_SECONDS", 0.2)
    async with guarded(tmp_path / "s.db") as served:
        info, revoked = served.keys.create("k", frozenset({"read"}), NOW_MS)
        # Half a minute of leeway is allowed: this one ends in a second.
        ending = token(exp=time.time() - 29)
        async with served.socket() as one, served.socket() as two, served.socket() as three:
            for client, text in ((one, ending), (two, revoked), (three, token())):
                await client.say({"type": "auth", "token": text})
                await client.hear("authenticated")
                await client.say({"type": "subscribe"})
                await client.hear("subscribed")
            KeyFile(tmp_path / "s.keys").revoke(info.id)
            assert await one.ended(60) == 4401
            assert await two.ended(60) == 4401
            await served.publish()
            assert (await three.hear("alert"))["type"] == "alert"


async def test_a_revoked_key_is_refused_while_the_service_runs(
    served: Served, tmp_path: Path
) -> None:
    info, secret = served.keys.create("k", frozenset({"read"}), NOW_MS)
    assert (await served.get("/api/alerts", headers=bearer(secret)))[0] == 200
    KeyFile(tmp_path / "s.keys").revoke(info.id)
    async with asyncio.timeout(10):
        while (await served.get("/api/alerts", headers=bearer(secret)))[0] == 200:
            await asyncio.sleep(0.05)


async def test_a_caller_may_call_so_often(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db", requests_a_minute=100) as served:
        began = time.monotonic()
        statuses = [(await served.get("/health/live"))[0] for _ in range(150)]
        # One more is allowed every 0.6 s; the service was asked once whether it runs already.
        gained = (time.monotonic() - began) / 0.6
        assert 99 <= statuses.count(200) <= 100 + gained
        answers = [await served.get("/api/alerts") for _ in range(10)]
        _, value, answer = next(one for one in answers if one[0] == 429)
        assert value["error"] == "rate_limited"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        forged = {"X-Forwarded-For": "203.0.113.9"}
        assert 429 in [(await served.get("/api/alerts", headers=forged))[0] for _ in range(10)]
        async with served.socket(subscribe={}) as client:
            assert (await client.hear())["type"] == "subscribed", "a bucket of its own"


async def test_a_named_proxy_is_believed_and_others_are_not(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db", requests_a_minute=50, proxies=("127.0.0.1",)) as served:
        for last in range(200):
            headers = {"X-Forwarded-For": f"203.0.113.{last}"}
            assert (await served.get("/health/live", headers=headers))[0] == 200
        forged = [
            (await served.get("/health/live", headers={"X-Forwarded-For": f"{n}.1.1.1, 9.9.9.9"}))[
                0
            ]
            for n in range(60)
        ]
        assert 429 in forged, "what stands left of the address was written by the caller"


async def test_a_token_may_call_so_often_from_anywhere(tmp_path: Path) -> None:
    async with guarded(tmp_path / "s.db", requests_a_minute=50, proxies=("127.0.0.1",)) as served:
        began = time.monotonic()
        statuses = [
            (
                await served.get(
                    "/api/rules",
                    headers=bearer(token()) | {"X-Forwarded-For": f"203.0.113.{number}"},
                )
            )[0]
            for number in range(60)
        ]
        assert 50 <= statuses.count(200) <= 50 + (time.monotonic() - began) / 1.2
        other = bearer(token(sub="other")) | {"X-Forwarded-For": "203.0.113.250"}
        assert (await served.get("/api/rules", headers=other))[0] == 200


async def test_handshakes_have_a_bucket_of_their_own(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db", handshakes_a_minute=3) as served:
        for _ in range(3):
            async with served.socket(subscribe={}) as client:
                await client.hear()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with served.socket():
                pass
        assert refused.value.status == 429
        assert (await served.get("/api/alerts"))[0] == 200


async def test_pages_of_named_origins_may_call(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db", origins=("https://friend.example",)) as served:
        for origin, allowed in (("https://friend.example", True), ("https://evil.example", False)):
            _, _, answer = await served.get("/api/rules", headers={"Origin": origin})
            assert ("Access-Control-Allow-Origin" in answer.headers) is allowed
            preflight = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
            status, _, _ = await served.ask("OPTIONS", "/api/rules/x", headers=preflight)
            assert (status == 200) is allowed


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104
async def test_strangers_are_not_served_without_tokens(tmp_path: Path, host: str) -> None:
    with pytest.raises(ExposedError, match="keys create"):
        async with serving(tmp_path / "s.db", host=host):
            pass
    assert ServeConfig(host=host, jwt=JWT).needs_token(has_keys=False)


async def test_a_port_that_is_taken_is_told(served: Served, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"serve\.port"):
        async with serving(tmp_path / "t.db", port=served.port):
            pass


async def test_a_websocket_takes_its_token_from_the_address_too(served: Served) -> None:
    url = served.serve.address + "/ws/alerts?token="
    with capture_logs() as events:
        async with served.http.ws_connect(url + token()) as websocket:
            assert (await websocket.receive_json())["type"] == "authenticated"
            await websocket.send_json({"type": "subscribe"})
            assert (await websocket.receive_json())["type"] == "subscribed"
        async with served.http.ws_connect(url + token(aud="other")) as websocket:
            assert (await websocket.receive_json())["type"] == "error"
            await websocket.receive()
            assert websocket.close_code == 4401
    assert "eyJ" not in str(events)


async def test_no_secret_is_ever_told(tmp_path: Path) -> None:
    """Planted in every place that keeps one, looked for in all that is told."""
    webhook = "https://discord.com/api/webhooks/1/canary-of-the-webhook"
    async with guarded(tmp_path / "s.db") as served:
        with capture_logs() as events:
            mine = key(served, "admin")
            told: list[Any] = []
            async with served.socket() as client:
                for text in (token(), mine):
                    await client.say({"type": "auth", "token": text})
                    told.append(await client.hear())
                await client.say({"type": "auth", "token": 5})
                told.append(await client.hear())
            paths = (
                "/api/health",
                "/api/rules",
                "/metrics",
                "/openapi.json",
                "/api/alerts?limit=x",
            )
            for path in paths:
                told += (await served.get(path, headers=bearer(mine)))[:2]
            change = {"webhook_url": webhook}
            await served.ask("POST", "/api/settings", json=change, headers=bearer(token()))
            told += (await served.get("/api/settings", headers=bearer(token(sub="other"))))[:2]
            told += (await served.get("/api/settings", headers=bearer(mine)))[:2]
    everything = f"{told} {events} {served.serve!r} {ServeConfig(jwt=JWT)!r}"
    for canary in (SECRET, mine, mine[4:], "canary-of-the-webhook", "eyJ"):
        assert canary not in everything
    assert mine not in (tmp_path / "s.keys").read_text()
