"""From the bus to a target on loopback: every alert once, also when the process died in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fake_target import FakeTarget, fake_target
from scripted import MovedClock
from store_values import NOW, alert

from screenerd.bus.memory import MemoryBus
from screenerd.clock import SystemClock
from screenerd.model import Alert, RuleSwitch, SettingsChanged
from screenerd.notify import service
from screenerd.notify.channels import Endpoints, WebhookChannel, parse_channels
from screenerd.notify.service import Notify, user_channel
from screenerd.store.port import Settings, StoreError
from screenerd.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio

SIGNING = "sixteen letters or more"


def hook(target: FakeTarget, name: str = "hook") -> WebhookChannel:
    channel = {
        "kind": "webhook",
        "name": name,
        "url": f"{target.url}/{name}",
        "secret": SIGNING,
        "allow_private": True,
    }
    [parsed] = parse_channels([channel])
    assert isinstance(parsed, WebhookChannel)
    return parsed


@contextlib.asynccontextmanager
async def notifying(
    path: Path, channels: Sequence[WebhookChannel], start_ms: int = NOW
) -> AsyncIterator[tuple[MemoryBus, SqliteStore]]:
    bus, clock = MemoryBus(), SystemClock(speed=20, start_ms=start_ms)
    async with SqliteStore(path, clock) as store:
        task = asyncio.create_task(Notify(bus, store, clock, channels).run())
        yield bus, store
        await bus.close()
        await asyncio.wait({task}, timeout=60)
        task.result()


def ids(target: FakeTarget, path: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for got in target.got:
        if got.path == path:
            alerts = got.json.get("alerts", [got.json])
            assert isinstance(alerts, list)
            found.update(one["id"] for one in alerts)
    return found


async def until(target: FakeTarget, path: str, count: int) -> None:
    async with asyncio.timeout(10):
        while len(ids(target, path)) < count:
            await asyncio.sleep(0.01)


async def test_every_alert_of_the_bus_is_delivered_and_stamped(tmp_path: Path) -> None:
    told = [alert(n, at=NOW + n) for n in range(12)]
    async with fake_target() as target:
        async with notifying(tmp_path / "a.db", [hook(target)]) as (bus, store):
            for one in (*told, told[0]):
                await bus.publish(one)
            await until(target, "/hook", len(told))
            async with asyncio.timeout(10):
                while not all(one.stamps.sent for one in await store.alerts(0)):
                    await asyncio.sleep(0.01)
        assert ids(target, "/hook") == Counter(one.id for one in told)


async def test_what_was_stored_and_not_handed_over_is_delivered_after_a_crash(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    first, lost, old = (
        alert(n, at=NOW + after) for n, after in ((1, 60_000), (2, 60_001), (3, -1))
    )
    async with fake_target() as target:
        async with notifying(path, [hook(target)]) as (bus, _):
            await bus.publish(first)
            await until(target, "/hook", 1)
        # The process died after the alert was stored and before it was put into the outbox; one
        # more alert is older than the channel.
        async with SqliteStore(path, MovedClock(NOW)) as store:
            await store.write(lost, old)
        async with notifying(path, [hook(target), hook(target, "new")], NOW + 120_000):
            await until(target, "/hook", 2)
        assert ids(target, "/hook") == Counter([first.id, lost.id])
        assert ids(target, "/new") == Counter()


async def test_the_end_of_the_bus_ends_it_while_a_target_hangs(tmp_path: Path) -> None:
    told: Alert = alert(1)
    async with fake_target() as target:
        stuck = asyncio.Event()

        async def hang(_: object) -> None:
            await stuck.wait()

        target.always["/hook"] = hang  # type: ignore[assignment]
        async with notifying(tmp_path / "a.db", [hook(target)]) as (bus, _):
            await bus.publish(told)
            async with asyncio.timeout(10):
                while not target.got:
                    await asyncio.sleep(0.01)
        stuck.set()
        async with SqliteStore(tmp_path / "a.db", MovedClock(NOW)) as store:
            [(delivery, _)] = await store.due(NOW * 2)
            assert delivery.state == "pending"


async def test_a_user_is_told_where_and_of_what_the_user_chose(tmp_path: Path) -> None:
    """A channel of one's own: put, changed and taken away while alerts are delivered."""
    address = "https://discord.com/api/webhooks/{}/letters"
    bus, clock = MemoryBus(), SystemClock(speed=20, start_ms=NOW)
    async with fake_target() as target, SqliteStore(tmp_path / "a.db", clock) as store:
        local = Endpoints(discord=target.url, local=True)
        rules = {"big_bull_60m", "top_hunter"}
        await store.set_settings("early", Settings((), address.format(1)), NOW)
        notify = Notify(bus, store, clock, [], rules=rules, endpoints=local)
        task = asyncio.create_task(notify.run())

        async def told(number: int, rule: str) -> None:
            await bus.publish(replace(alert(number, at=clock.now_ms()), rule=rule))

        async def until_got(path: str, count: int) -> None:
            async with asyncio.timeout(20):
                while target.paths().count(f"/api/webhooks/{path}/letters") < count:
                    await asyncio.sleep(0.01)

        await until_named(notify, user_channel("early"))
        await told(1, "big_bull_60m")
        await until_got("1", 1)
        await store.set_settings("late", Settings(("top_hunter",), address.format(2)), NOW)
        await bus.publish(SettingsChanged("late"))
        await told(2, "big_bull_60m")
        await told(3, "top_hunter")
        await until_got("2", 1)
        await until_got("1", 3)
        await store.set_user_switch("late", RuleSwitch("top_hunter", enabled=False))
        await bus.publish(SettingsChanged("late"))
        await told(4, "top_hunter")
        await until_got("1", 4)
        await store.set_settings("early", Settings((), None), NOW)
        await bus.publish(SettingsChanged("early"))
        await store.set_settings("late", Settings((), address.format(3)), NOW)
        await bus.publish(SettingsChanged("late"))
        await told(5, "big_bull_60m")
        await until_got("3", 1)
        await bus.close()
        await asyncio.wait({task}, timeout=60)
        task.result()
    counts = Counter(target.paths())
    assert counts == {
        "/api/webhooks/1/letters": 4,
        "/api/webhooks/2/letters": 1,
        "/api/webhooks/3/letters": 1,
    }


async def end_once_told(target: FakeTarget, bus: MemoryBus, task: asyncio.Task[None]) -> None:
    """Waits until the target has got something, and ends whoever told it."""
    async with asyncio.timeout(20):
        while not target.got:
            await asyncio.sleep(0.01)
    await bus.close()
    await asyncio.wait({task}, timeout=60)
    task.result()


async def until_named(notify: Notify, name: str) -> None:
    async with asyncio.timeout(10):
        while name not in notify.notifier.status:
            await asyncio.sleep(0.01)


async def test_a_late_answer_about_a_user_does_not_replace_a_newer_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen twice while the store takes long to tell the first: the second is in force."""
    monkeypatch.setattr(service, "ASK_SECONDS", 0.02)
    address = "https://discord.com/api/webhooks/{}/letters"
    bus, clock = MemoryBus(), SystemClock(speed=20, start_ms=NOW)
    asked, told = asyncio.Event(), asyncio.Event()

    class Slow(SqliteStore):
        async def settings(self, user: str) -> Settings:
            found = await super().settings(user)
            if not asked.is_set():
                asked.set()
                await told.wait()
            return found

    async with fake_target() as target, Slow(tmp_path / "a.db", clock) as store:
        local = Endpoints(discord=target.url, local=True)
        rules = {"big_bull_60m"}
        notify = Notify(bus, store, clock, [], rules=rules, endpoints=local)
        task = asyncio.create_task(notify.run())
        await store.set_settings("one", Settings((), address.format(1)), NOW)
        await bus.publish(SettingsChanged("one"))
        async with asyncio.timeout(10):
            await asked.wait()
        await store.set_settings("one", Settings((), address.format(2)), NOW)
        await bus.publish(SettingsChanged("one"))
        await asyncio.sleep(0.2)  # had it not to wait for the first, it would be over by then
        monkeypatch.setattr(service, "ASK_SECONDS", 20)
        told.set()
        await until_named(notify, user_channel("one"))
        await bus.publish(SettingsChanged("another"))  # in its turn: both are through by then
        await bus.publish(alert(1, at=clock.now_ms()))
        await end_once_told(target, bus, task)
    assert target.paths() == ["/api/webhooks/2/letters"]


async def test_what_a_crash_kept_from_a_users_channel_is_told_after_it(tmp_path: Path) -> None:
    bus, clock = MemoryBus(), SystemClock(speed=20, start_ms=NOW)
    path = tmp_path / "a.db"
    async with fake_target() as target:
        local = Endpoints(discord=target.url, local=True)
        async with SqliteStore(path, clock) as store:
            settings = Settings((), "https://discord.com/api/webhooks/1/letters")
            await store.set_settings("one", settings, NOW)
            await store.first_seen([f"channel:{user_channel('one')}"], NOW)
            await store.write(replace(alert(1, at=NOW + 1000), rule="x"))
            notify = Notify(bus, store, clock, [], rules={"x"}, endpoints=local)
            task = asyncio.create_task(notify.run())
            await end_once_told(target, bus, task)
    assert target.paths() == ["/api/webhooks/1/letters"]


async def test_users_that_are_not_known_yet_miss_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store can be written and not yet be asked who they are: alerts go out meanwhile."""
    monkeypatch.setattr(service, "ASK_SECONDS", 0.05)
    bus, clock = MemoryBus(), SystemClock(speed=20, start_ms=NOW)
    known, user = asyncio.Event(), user_channel("one")
    refused: list[str] = []

    class Reluctant(SqliteStore):
        async def all_settings(self) -> dict[str, Settings]:
            if not known.is_set():
                raise StoreError("not now")
            return await super().all_settings()

        async def enqueue(self, alert: Alert, channels: Sequence[str], now: int) -> None:
            if list(channels) == [user] and not refused:
                refused.append(alert.id)
                raise StoreError("not just now")
            await super().enqueue(alert, channels, now)

    async with fake_target() as target, Reluctant(tmp_path / "a.db", clock) as store:
        await store.set_settings(
            "one", Settings((), "https://discord.com/api/webhooks/1/letters"), NOW
        )
        # One was in the outbox when the process before this one ended.
        await store.enqueue(alert(1, at=NOW), ["hook", user, "removed"], NOW)
        local = Endpoints(discord=target.url, local=True)
        rules = {"big_bull_60m"}
        notify = Notify(bus, store, clock, [hook(target)], rules=rules, endpoints=local)
        task = asyncio.create_task(notify.run())
        # So long ago that it is not looked for in the store.
        old = replace(alert(2), triggered_at=NOW - 50 * 3_600_000)
        for one in (old, alert(3, at=NOW + 1)):
            await bus.publish(one)
        await until(target, "/hook", 3)
        assert "/api/webhooks/1/letters" not in target.paths()
        assert await store.dead("removed") == []
        known.set()

        # One is given up: nobody is called so. All else has gone out.
        async with asyncio.timeout(20):
            while await store.unclaimed(user, 0) or await store.due(NOW * 2):
                await asyncio.sleep(0.01)
        assert refused
        assert len(await store.dead("removed")) == 1
        assert await store.dead(user) == []
        await bus.close()
        await asyncio.wait({task}, timeout=60)
        task.result()
    text = b"".join(got.body for got in target.got if got.path.startswith("/api")).decode()
    assert text.count("Big Bull 60m") >= 3
