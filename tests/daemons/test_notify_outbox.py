"""The outbox's loop against targets on loopback: everything arrives, once, whatever happens."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import aiohttp
import pytest
import structlog
from fake_store import FakeStore, KilledError
from fake_target import FakeTarget, Got, NamesTo, answer, fake_target, hang, hang_up, redirect_loop
from pydantic import SecretStr
from test_notify_channels import ALERT, BOT_TOKEN, HOOK_TOKEN, SIGNING

from screenerd.clock import SystemClock
from screenerd.model import Alert
from screenerd.notify import outbox as module
from screenerd.notify.channels import (
    ChannelConfig,
    DiscordChannel,
    Endpoints,
    TelegramChannel,
    WebhookChannel,
)
from screenerd.notify.guard import Guard
from screenerd.notify.outbox import Notifier, OutboxStore
from screenerd.notify.sender import open_session

DISCORD_PATH = f"/api/webhooks/1/{HOOK_TOKEN}"
TELEGRAM_PATH = f"/bot{BOT_TOKEN}/sendMessage"

pytestmark = pytest.mark.asyncio


def discord(name: str = "disc", **more: Any) -> DiscordChannel:
    return DiscordChannel(name=name, url=SecretStr(f"https://discord.com{DISCORD_PATH}"), **more)


def telegram(name: str = "tele", **more: Any) -> TelegramChannel:
    return TelegramChannel(name=name, token=SecretStr(BOT_TOKEN), **({"chat_id": -5} | more))


def webhook(target: FakeTarget, name: str = "hook", path: str = "/hook") -> WebhookChannel:
    return WebhookChannel(
        name=name,
        url=SecretStr(target.url + path),
        secret=SecretStr(SIGNING),
        allow_private=True,
    )


def alerts(count: int, state: str = "confirmed") -> list[Alert]:
    return [
        replace(ALERT, id=f"alert-{n:04d}", symbol=f"COIN{n:04d}USDT", state=state)
        for n in range(count)
    ]


def made(
    target: FakeTarget,
    store: OutboxStore,
    channels: Sequence[ChannelConfig],
    *,
    speed: float = 1.0,
    deadline: float = 10.0,
    session: Callable[[Guard], aiohttp.ClientSession] = open_session,
    is_ours: Callable[[], bool] = lambda: True,
) -> Notifier:
    """A notifier for which Discord and Telegram are the fake target."""
    return Notifier(
        store,
        channels,
        SystemClock(speed),
        session,
        endpoints=Endpoints(discord=target.url, telegram=target.url, local=True),
        deadline=deadline,
        random=Random(7),
        is_ours=is_ours,
    )


@asynccontextmanager
async def notifying(
    target: FakeTarget, store: FakeStore, channels: Sequence[ChannelConfig], **more: Any
) -> AsyncIterator[Notifier]:
    """Runs a notifier for the length of a block, then cancels it."""
    notifier = made(target, store, channels, **more)
    task = asyncio.create_task(notifier.run())
    try:
        yield notifier
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.done()
        if not task.cancelled():
            task.result()


async def tell(notifier: Notifier, store: FakeStore, told: Sequence[Alert]) -> None:
    await store.write(*told)
    for alert in told:
        await notifier.accept(alert)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits for a condition, with a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def sent(store: FakeStore, channel: str, count: int) -> Callable[[], bool]:
    return lambda: store.states(channel) == {"sent": count}


def dead(store: FakeStore, channel: str, count: int) -> Callable[[], bool]:
    return lambda: store.states(channel) == {"dead": count}


def listed(got: Got, key: str) -> list[dict[str, Any]]:
    """A list of objects in the body of a request."""
    found = got.json[key]
    assert isinstance(found, list)
    return found


def ids_of(target: FakeTarget, path: str = "/hook") -> Counter[str]:
    """How often each alert arrived at a webhook."""
    counts: Counter[str] = Counter()
    for got in target.got:
        if got.path == path:
            counts.update(entry["id"] for entry in listed(got, "alerts"))
    return counts


@contextmanager
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    with structlog.testing.capture_logs() as events:
        yield events


# Success


async def test_an_alert_reaches_every_channel_that_wants_it() -> None:
    store = FakeStore()
    async with fake_target() as target:
        channels: list[ChannelConfig] = [
            discord(),
            telegram(),
            webhook(target),
            discord("other", symbols=frozenset({"ETHUSDT"})),
        ]
        async with notifying(target, store, channels) as notifier:
            await tell(notifier, store, [ALERT])
            await tell(notifier, store, [ALERT])
            await until(lambda: len(store.sent_at) == 3)
        assert sorted(target.paths()) == sorted([DISCORD_PATH, TELEGRAM_PATH, "/hook"])
        by_path = {got.path: got for got in target.got}
        (embed,) = listed(by_path[DISCORD_PATH], "embeds")
        assert embed["title"] == "Big Bull 60m Signal"
        assert by_path[DISCORD_PATH].query == "wait=true"
        assert "Big Bull 60m Signal" in str(by_path[TELEGRAM_PATH].json["text"])
        hook = by_path["/hook"]
        assert hook.headers["Idempotency-Key"] == ALERT.id
        stamp, _, sign = hook.headers["X-Screener-Signature"].partition(",v1=")
        signed = stamp.removeprefix("t=").encode() + b"." + hook.body
        assert hmac.compare_digest(sign, hmac.digest(SIGNING.encode(), signed, "sha256").hex())
        assert abs(int(stamp.removeprefix("t=")) - time.time()) < 60
        status = notifier.status["hook"]
        assert (status.sent, status.messages, status.waiting) == (1, 1, 0)


async def test_names_of_all_scripts_arrive_as_they_are() -> None:
    store = FakeStore()
    odd = replace(ALERT, symbol="币安<&>人生\U0001f680USDT")
    async with fake_target() as target:
        async with notifying(target, store, [discord(), telegram(), webhook(target)]) as notifier:
            await tell(notifier, store, [odd])
            await until(lambda: len(store.sent_at) == 3)
        by_path = {got.path: got for got in target.got}
        (embed,) = listed(by_path[DISCORD_PATH], "embeds")
        assert embed["description"].startswith("**币安\\<&\\>人生\U0001f680USDT**")
        assert "币安&lt;&amp;&gt;人生\U0001f680USDT" in str(by_path[TELEGRAM_PATH].json["text"])
        (entry,) = listed(by_path["/hook"], "alerts")
        assert entry["symbol"] == odd.symbol


async def test_a_provisional_alert_and_its_withdrawal() -> None:
    store = FakeStore()
    early, gone = replace(ALERT, state="provisional"), replace(ALERT, state="withdrawn")
    async with fake_target() as target:
        channels: list[ChannelConfig] = [discord(provisional=True), telegram()]
        async with notifying(target, store, channels) as notifier:
            await tell(notifier, store, [early])
            await until(sent(store, "disc", 1))
            await tell(notifier, store, [gone])
            await until(sent(store, "disc#withdrawn", 1))
        assert target.paths() == [DISCORD_PATH, DISCORD_PATH]
        (embed,) = listed(target.got[0], "embeds")
        assert embed["title"] == "Big Bull 60m Signal (provisional)"
        assert str(target.got[1].json["content"]).startswith("Withdrawn: Big Bull 60m Signal")


async def test_an_alert_withdrawn_before_it_was_told_is_told_once() -> None:
    store = FakeStore()
    async with fake_target() as target:
        idle = Notifier(store, [discord(provisional=True)], SystemClock())
        await tell(idle, store, [replace(ALERT, state="provisional")])
        await tell(idle, store, [replace(ALERT, state="withdrawn")])
        async with notifying(target, store, [discord(provisional=True)]):
            await until(lambda: len(store.sent_at) == 2)
        assert len(target.got) == 1
        assert str(target.got[0].json["content"]).count("Withdrawn") == 1


async def test_a_confirmed_alert_told_as_provisional_is_not_told_again() -> None:
    store = FakeStore()
    async with fake_target() as target:
        async with notifying(target, store, [discord(provisional=True)]) as notifier:
            await tell(notifier, store, [replace(ALERT, state="provisional")])
            await until(sent(store, "disc", 1))
            await tell(notifier, store, [ALERT, replace(ALERT, id="next", symbol="NEXT")])
            await until(sent(store, "disc", 2))
        assert len(target.got) == 2


# Targets that misbehave


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"message": "slow down", "retry_after": 0.4, "global": False}, {}),
        ({"ok": False, "parameters": {"retry_after": 0.4}}, {}),
        (None, {"Retry-After": "0.4"}),
    ],
)
async def test_a_429_is_waited_for_and_counts_as_no_attempt(
    body: object, headers: dict[str, str]
) -> None:
    store = FakeStore()
    async with fake_target() as target:
        target.replies["/hook"].extend([answer(429, body, headers)] * 2)
        async with notifying(target, store, [webhook(target)]) as notifier:
            begun = time.monotonic()
            await tell(notifier, store, [ALERT])
            await until(sent(store, "hook", 1))
            assert 0.8 <= time.monotonic() - begun < 5
            assert notifier.status["hook"].limited == 2
        assert len(target.got) == 3
        assert store.rows[1].attempts == 0


@pytest.mark.parametrize("reply", [answer(500), answer(503), answer(400), hang_up, redirect_loop])
async def test_a_failure_is_tried_again_until_it_works(reply: Any) -> None:
    store = FakeStore()
    async with fake_target() as target:
        target.replies["/hook"].extend([reply] * 3)
        async with notifying(target, store, [webhook(target)], speed=100) as notifier:
            await tell(notifier, store, [ALERT])
            await until(sent(store, "hook", 1))
            assert notifier.status["hook"].failed == 3
        assert target.paths() == ["/hook"] * 4
        assert ids_of(target) == {ALERT.id: 4}
        assert {got.headers["Idempotency-Key"] for got in target.got} == {ALERT.id}
        assert store.rows[1].attempts == 3


async def test_a_target_that_stays_broken_is_given_up_after_a_day_and_can_be_resent() -> None:
    store = FakeStore()
    async with fake_target() as target:
        target.always["/hook"] = answer(500)
        async with notifying(target, store, [webhook(target)], speed=50_000) as notifier:
            await tell(notifier, store, [ALERT])
            await until(dead(store, "hook", 1), 30)
            assert "given up after 100 tries" in str(store.rows[1].last_error)
            assert len(target.got) == 100
            del target.always["/hook"]
            assert await notifier.resend_dead("hook") == 1
            await until(sent(store, "hook", 1))
            with pytest.raises(ValueError, match="no channel is called 'nope'; configured: hook"):
                await notifier.resend_dead("nope")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_channel_that_is_gone_is_left_alone(status: int) -> None:
    store = FakeStore()
    async with fake_target() as target:
        target.always[DISCORD_PATH] = answer(status, {"message": "Unknown Webhook"})
        async with notifying(target, store, [discord()]) as notifier:
            await tell(notifier, store, alerts(30))
            await until(dead(store, "disc", 30))
            assert len(target.got) == 1
            assert "webhook" in str(store.rows[1].last_error)
            del target.always[DISCORD_PATH]
            assert await notifier.resend_dead("disc") == 30
            await until(sent(store, "disc", 30))


async def test_a_hanging_target_delays_no_other() -> None:
    store, released = FakeStore(), asyncio.Event()
    async with fake_target() as target:
        target.always["/hang"] = hang(released)
        channels = [webhook(target, "stuck", "/hang"), webhook(target)]
        async with notifying(target, store, channels, deadline=30) as notifier:
            # More than the store gives at a time: the stuck ones must not hide the others.
            await tell(notifier, store, alerts(450))
            await until(sent(store, "hook", 450), 8)
            assert ids_of(target, "/hang").total() <= 100
            begun = time.monotonic()
            await tell(notifier, store, [ALERT])
            await until(sent(store, "hook", 451), 5)
            assert time.monotonic() - begun < 3
            released.set()
            await until(sent(store, "stuck", 451), 10)
        assert set(ids_of(target, "/hang").values()) == {1}


async def test_a_hanging_target_is_left_after_the_deadline() -> None:
    store, released = FakeStore(), asyncio.Event()
    async with fake_target() as target:
        target.replies["/hook"].append(hang(released))
        async with notifying(target, store, [webhook(target)], deadline=0.2) as notifier:
            await tell(notifier, store, [ALERT])
            await until(sent(store, "hook", 1))
        assert store.rows[1].last_error == "no answer within 0.2 s"
        released.set()


@pytest.mark.parametrize("status", [200, 500])
async def test_an_endless_reply_is_cut(status: int) -> None:
    store = FakeStore()
    async with fake_target() as target:
        target.replies["/hook"].append(target.endless(status))
        async with notifying(target, store, [webhook(target)], speed=20) as notifier:
            await tell(notifier, store, [ALERT])
            await until(sent(store, "hook", 1))
            await until(target.dropped.is_set)
        assert target.streamed < 16 * 2**20
        assert len(target.got) == (1 if status == 200 else 2)


async def test_one_bad_alert_does_not_hold_up_the_others_of_its_digest() -> None:
    store = FakeStore()
    told = alerts(40)

    async def refuse_one(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        return aiohttp.web.Response(status=400 if b"alert-0020" in await request.read() else 200)

    async with fake_target() as target:
        target.always["/hook"] = refuse_one
        idle = Notifier(store, [webhook(target)], SystemClock())
        await tell(idle, store, told)
        async with notifying(target, store, [webhook(target)], speed=50):
            await until(lambda: store.states("hook").get("sent") == 39)
            bad = next(row for row in store.rows.values() if row.alert_id == "alert-0020")
            await until(lambda: store.rows[bad.id].attempts >= 1)
        assert store.rows[bad.id].state == "pending"


async def test_a_name_that_leads_inside_is_never_reached() -> None:
    store = FakeStore()

    def session(guard: Guard) -> aiohttp.ClientSession:
        return open_session(guard, NamesTo("127.0.0.1"))

    async with fake_target() as target:
        port = target.url.rpartition(":")[2]
        channel = WebhookChannel(
            name="hook",
            url=SecretStr(f"https://innocent.example:{port}/x"),
            secret=SecretStr(SIGNING),
        )
        async with notifying(target, store, [channel], session=session) as notifier:
            await tell(notifier, store, [ALERT])
            await until(lambda: store.rows[1].attempts > 0)
        assert "127.0.0.1 is loopback" in str(store.rows[1].last_error)
        assert target.got == []


# Storms


async def test_a_storm_arrives_whole_and_each_alert_once() -> None:
    store, told = FakeStore(), alerts(300)
    async with fake_target() as target:
        channels: list[ChannelConfig] = [discord(), telegram(), webhook(target)]
        async with notifying(target, store, channels, speed=30) as notifier:
            await tell(notifier, store, told)
            await until(lambda: len(store.sent_at) == 900, 30)
        expected = {alert.id: 1 for alert in told}
        assert ids_of(target) == expected
        # How many share a message depends on how fast the target answers.
        for path in (DISCORD_PATH, TELEGRAM_PATH, "/hook"):
            assert target.paths().count(path) <= len(told) // 5
        text = b"\n".join(got.body for got in target.got if got.path == DISCORD_PATH).decode()
        page = b"\n".join(got.body for got in target.got if got.path == TELEGRAM_PATH).decode()
        for alert in told:
            assert text.count(alert.symbol) == 1
            assert page.count(alert.symbol) == 1


async def test_the_rate_holds_in_real_time() -> None:
    store = FakeStore()
    times: list[float] = []

    async def note(_request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        times.append(time.monotonic())
        return aiohttp.web.Response()

    async with fake_target() as target:
        target.always[DISCORD_PATH] = note
        async with notifying(target, store, [discord()]) as notifier:
            await tell(notifier, store, alerts(60))
            await until(sent(store, "disc", 60), 20)
    assert len(times) > 5
    for first, sixth in zip(times, times[5:], strict=False):
        assert sixth - first >= 1.95


# Ends and beginnings


@pytest.mark.parametrize("recorded", range(12))
async def test_a_kill_between_send_and_record_repeats_one_message_at_most(recorded: int) -> None:
    store, told = FakeStore(), alerts(12)
    async with fake_target() as target:
        channels = [webhook(target)]
        await tell(Notifier(store, channels, SystemClock()), store, told)
        store.kill_before_record = recorded
        with pytest.raises(BaseExceptionGroup) as caught:
            await until_it_dies(target, store, channels)
        assert caught.group_contains(KilledError)
        in_doubt = {entry["id"] for entry in listed(target.got[-1], "alerts")}
        before = len(target.got)
        store.kill_before_record = None
        async with notifying(target, store, channels):
            await until(sent(store, "hook", 12))
        counts = ids_of(target)
        assert set(counts) == {alert.id for alert in told}
        repeated = {key for key, count in counts.items() if count > 1}
        assert repeated <= in_doubt
        assert max(counts.values()) <= 2
        # A message that is repeated as it was has the key it had, so that its receiver can tell.
        for got in target.got[before:]:
            if {entry["id"] for entry in listed(got, "alerts")} == in_doubt:
                key = got.headers["Idempotency-Key"]
                assert key == target.got[before - 1].headers["Idempotency-Key"]


async def until_it_dies(
    target: FakeTarget, store: FakeStore, channels: Sequence[ChannelConfig]
) -> None:
    """Runs a notifier whose process is about to be killed; raises what killed it."""
    async with asyncio.timeout(10):
        await made(target, store, channels).run()


async def test_a_clean_end_lets_a_message_on_its_way_arrive_once() -> None:
    store, arrived, released = FakeStore(), asyncio.Event(), asyncio.Event()

    async def slow(_request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        arrived.set()
        await released.wait()
        return aiohttp.web.Response()

    async with fake_target() as target:
        target.always["/hook"] = slow
        async with notifying(target, store, [webhook(target)]) as notifier:
            await tell(notifier, store, [ALERT])
            await arrived.wait()
            asyncio.get_running_loop().call_later(0.2, released.set)
        assert store.states("hook") == {"sent": 1}
        async with notifying(target, store, [webhook(target)]) as notifier:
            await tell(notifier, store, [replace(ALERT, id="next")])
            await until(sent(store, "hook", 2))
        assert ids_of(target) == {ALERT.id: 1, "next": 1}


async def test_nothing_is_sent_by_whom_it_is_not_for_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "NOT_OURS_SECONDS", 0.01)
    store, ours = FakeStore(), True
    async with fake_target() as target:
        more = {"is_ours": lambda: ours}
        async with notifying(target, store, [webhook(target)], **more) as notifier:
            await tell(notifier, store, [ALERT])
            await until(sent(store, "hook", 1))
            ours = False
            await tell(notifier, store, [replace(ALERT, id="next")])
            await asyncio.sleep(0.3)
            assert ids_of(target) == {ALERT.id: 1}
            ours = True
            await until(sent(store, "hook", 2))
        assert ids_of(target) == {ALERT.id: 1, "next": 1}


async def test_an_end_during_a_hang_loses_nothing() -> None:
    store, released = FakeStore(), asyncio.Event()
    async with fake_target() as target:
        target.replies["/hook"].append(hang(released))
        async with notifying(target, store, [webhook(target)]) as notifier:
            await tell(notifier, store, [ALERT])
            await until(lambda: len(target.got) == 1)
        assert store.states("hook") == {"pending": 1}
        async with notifying(target, store, [webhook(target)]):
            await until(sent(store, "hook", 1))
        released.set()


async def test_a_store_that_fails_makes_no_duplicate() -> None:
    store = FakeStore()
    async with fake_target() as target:
        async with notifying(target, store, [webhook(target)], speed=20) as notifier:
            await tell(notifier, store, [ALERT])
            store.failing = 6
            await until(sent(store, "hook", 1))
            await tell(notifier, store, [replace(ALERT, id="next")])
            await until(sent(store, "hook", 2))
        assert ids_of(target) == {ALERT.id: 1, "next": 1}


async def test_a_delivery_of_no_known_channel_is_dead_and_says_so() -> None:
    store = FakeStore()
    await store.write(ALERT)
    await store.enqueue(ALERT, ["removed"], 0)
    async with fake_target() as target, notifying(target, store, [discord()]):
        await until(dead(store, "removed", 1))
    assert "no channel is called 'removed'" in str(store.rows[1].last_error)


# Secrets


async def test_no_log_or_error_holds_a_secret() -> None:
    store, released = FakeStore(), asyncio.Event()
    secrets = (HOOK_TOKEN, BOT_TOKEN, BOT_TOKEN.partition(":")[2], SIGNING, "canary-path")
    echo = answer(500, {"message": f"no {DISCORD_PATH}", "description": f"no {TELEGRAM_PATH}"})
    gone = answer(404, {"message": f"no {DISCORD_PATH}", "description": f"no {TELEGRAM_PATH}"})
    paths = (DISCORD_PATH, TELEGRAM_PATH, "/canary-path")
    with logged() as events:
        async with fake_target() as target:
            for path in paths:
                target.replies[path].extend([echo, hang_up, hang(released), redirect_loop, gone])
            channels: list[ChannelConfig] = [
                discord(),
                telegram(),
                webhook(target, path="/canary-path"),
            ]
            async with notifying(target, store, channels, speed=200, deadline=0.2) as notifier:
                await tell(notifier, store, [ALERT])
                await until(lambda: all(row.state == "dead" for row in store.rows.values()), 20)
            shown = [repr(events), repr(store.rows), repr(notifier.status), repr(channels)]
            released.set()
    assert len(events) >= 15
    for secret in secrets:
        assert not any(secret in text for text in shown)
