"""Alerts go out while the store is away, once, and the store is told of it when it is back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from fake_store import FakeStore
from fake_target import FakeTarget, answer, fake_target
from test_notify_outbox import alerts, ids_of, made, sent, until, webhook

from screenerd.clock import SystemClock
from screenerd.model import Alert
from screenerd.notify import spare
from screenerd.notify.channels import ChannelConfig, WebhookChannel
from screenerd.notify.outbox import Notifier
from screenerd.notify.spare import Aside, SpareOutbox
from screenerd.store.port import StoreError

pytestmark = pytest.mark.asyncio

PATIENCE = 0.05


@dataclass
class FakeShelf:
    """Outlives the process.

    Attributes:
        kept: by alert.
        puts: how often something was put there.
    """

    kept: dict[str, Aside] = field(default_factory=dict)
    puts: int = 0

    async def put(self, aside: Aside) -> None:
        """Keeps one; the longer ago it was asked, the later it is done, were nobody to wait."""
        self.puts += 1
        await asyncio.sleep(0.01 / self.puts)
        self.kept[aside.alert_id] = aside

    async def remove(self, alert_id: str) -> None:
        """Keeps it no longer."""
        await asyncio.sleep(0)
        self.kept.pop(alert_id, None)

    async def everything(self) -> list[Aside]:
        """All of it."""
        return list(self.kept.values())


@dataclass
class Life:
    """One process's."""

    notifier: Notifier
    spare: SpareOutbox


@asynccontextmanager
async def living(
    target: FakeTarget, store: FakeStore, shelf: FakeShelf, channels: Sequence[ChannelConfig]
) -> AsyncIterator[Life]:
    """A process, for the length of a block; then it is gone without a word."""
    outbox = SpareOutbox(store, shelf, SystemClock(), patience=PATIENCE)
    await outbox.load()
    notifier = made(target, outbox, channels)
    tasks = [asyncio.create_task(outbox.run()), asyncio.create_task(notifier.run())]
    try:
        yield Life(notifier, outbox)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=5)
        for task in tasks:
            assert task.cancelled() or task.exception() is None


def early(channel: WebhookChannel) -> WebhookChannel:
    return channel.model_copy(update={"provisional": True})


def once(told: Sequence[Alert]) -> Counter[str]:
    return Counter(alert.id for alert in told)


async def accept(life: Life, told: Sequence[Alert]) -> None:
    async with asyncio.timeout(10):
        for alert in told:
            await life.notifier.accept(alert)


async def test_alerts_go_out_without_the_store_and_it_is_told_when_it_is_back() -> None:
    store, shelf, told = FakeStore(), FakeShelf(), alerts(40)
    async with fake_target() as target, living(target, store, shelf, [webhook(target)]) as life:
        await accept(life, told[:10])
        await until(sent(store, "hook", 10))
        assert not shelf.puts
        store.here.clear()
        await accept(life, told[10:])
        await until(lambda: ids_of(target) == once(told))
        assert len(store.alerts) == 10
        # Told again, as the bus does with what was not acknowledged: it was sent.
        await accept(life, told[20:])
        store.here.set()
        await until(sent(store, "hook", 40))
        await until(lambda: not shelf.kept and not life.spare.waiting)
        late = replace(told[0], id="late")
        await accept(life, [late])
        await until(sent(store, "hook", 41))
        assert ids_of(target) == once([*told, late])


async def test_a_store_that_stands_still_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spare, "READ_SECONDS", 0.05)
    store, shelf, told = FakeStore(), FakeShelf(), alerts(6)
    async with fake_target() as target, living(target, store, shelf, [webhook(target)]) as life:
        await accept(life, told[:3])
        await until(sent(store, "hook", 3))
        store.frozen = True
        store.here.clear()
        life.notifier._wake.set()  # it is being read when it stops
        await asyncio.sleep(0.01)
        await accept(life, told[3:])
        await until(lambda: ids_of(target) == once(told), 3.0)
        store.here.set()
        await until(sent(store, "hook", 6))
        late = replace(told[0], id="late")
        await accept(life, [late])
        await until(sent(store, "hook", 7))
        assert ids_of(target) == once([*told, late])


async def test_what_the_store_has_sent_is_not_sent_again_where_the_bus_repeats_itself() -> None:
    store, shelf, told = FakeStore(), FakeShelf(), alerts(2)
    async with fake_target() as target, living(target, store, shelf, [webhook(target)]) as life:
        await accept(life, told[:1])
        await until(sent(store, "hook", 1))
        store.here.clear()
        await accept(life, told)
        await until(lambda: ids_of(target) == once(told))
        store.here.set()
        await until(sent(store, "hook", 2))
        await until(lambda: not shelf.kept)
        assert ids_of(target) == once(told)


async def test_an_alert_that_is_half_sent_when_the_next_process_begins() -> None:
    store, shelf, told = FakeStore(), FakeShelf(), alerts(1)
    async with fake_target() as target:
        hooks = [webhook(target), webhook(target, "other", "/other")]
        target.always["/other"] = answer(500)
        async with living(target, store, shelf, hooks) as life:
            store.here.clear()
            await accept(life, told)
            await until(lambda: ids_of(target) == once(told) and "/other" in target.paths())
            # The store learns of the one, is gone again, and the alert is put aside once more.
            store.here.set()
            await until(lambda: store.states("hook") == {"sent": 1})
            store.here.clear()
            await accept(life, told)
        target.got.clear()
        target.always["/other"] = answer(200)
        async with living(target, store, shelf, hooks):
            await until(lambda: ids_of(target, "/other") == once(told))
            store.here.set()
            await until(sent(store, "other", 1))
            await until(lambda: not shelf.kept)
        assert ids_of(target) == Counter()


async def test_what_was_on_its_way_when_the_store_went_is_recorded_once_it_is_back() -> None:
    store, shelf, told = FakeStore(), FakeShelf(), alerts(3)
    async with fake_target() as target, living(target, store, shelf, [webhook(target)]) as life:
        going = asyncio.Event()

        async def slow(request: object) -> object:
            store.here.clear()
            await going.wait()
            return await answer(200)(request)  # type: ignore[arg-type]

        target.replies["/hook"].append(slow)  # type: ignore[arg-type]
        await accept(life, told[:1])
        await until(lambda: not store.here.is_set())
        going.set()
        await accept(life, told[1:])
        await until(lambda: ids_of(target) == once(told))
        await until(lambda: len(shelf.kept) == 3)
        assert store.states("hook") == {"pending": 1}
        store.here.set()
        await until(sent(store, "hook", 3))
        await until(lambda: not shelf.kept)
        assert ids_of(target) == once(told)


@pytest.mark.parametrize("back", [True, False])
async def test_the_next_process_knows_what_was_sent_and_what_was_not(back: bool) -> None:
    store, shelf, told = FakeStore(), FakeShelf(), alerts(2)
    async with fake_target() as target:
        hooks = [webhook(target), webhook(target, "other", "/other")]
        target.always["/other"] = answer(500)
        async with living(target, store, shelf, hooks) as life:
            store.here.clear()
            await accept(life, told)
            await until(lambda: ids_of(target) == once(told))
            await until(lambda: "/other" in target.paths())
        target.always["/other"] = answer(200)
        target.got.clear()
        if back:
            store.here.set()
        async with living(target, store, shelf, hooks):
            await until(lambda: ids_of(target, "/other") == once(told))
            store.here.set()
            await until(sent(store, "hook", 2))
            await until(sent(store, "other", 2))
            await until(lambda: not shelf.kept)
            assert ids_of(target) == Counter()
            assert ids_of(target, "/other") == once(told)


async def test_what_was_given_up_meanwhile_is_tried_again_from_the_store() -> None:
    store, shelf, told = FakeStore(), FakeShelf(), alerts(1)
    async with fake_target() as target, living(target, store, shelf, [webhook(target)]) as life:
        store.here.clear()
        target.replies["/hook"].append(answer(404))
        await accept(life, told)
        await until(lambda: life.notifier.status["hook"].dead == 1)
        assert life.spare.waiting == 1
        life.notifier.put(webhook(target))  # as when it is configured anew
        store.here.set()
        life.notifier._wake.set()
        await until(lambda: len(target.got) > 1 or store.states("hook") == {"pending": 1})
        life.notifier._wake.set()
        await until(sent(store, "hook", 1))
        await until(lambda: not shelf.kept)


async def test_a_withdrawal_is_told_without_the_store_too() -> None:
    store, shelf = FakeStore(), FakeShelf()
    [first] = alerts(1, "provisional")
    async with (
        fake_target() as target,
        living(target, store, shelf, [early(webhook(target))]) as life,
    ):
        store.here.clear()
        await accept(life, [first])
        await until(lambda: ids_of(target) == once([first]))
        await accept(life, [replace(first, state="withdrawn")])
        await until(lambda: ids_of(target) == once([first, first]))
        store.here.set()
        await until(sent(store, "hook", 1))
        await until(sent(store, "hook#withdrawn", 1))
        assert store.alerts[first.id].state == "withdrawn"
        await until(lambda: not shelf.kept)
        assert ids_of(target) == once([first, first])


async def test_what_the_store_read_before_it_was_told_is_not_sent_again() -> None:
    store, shelf, told = FakeStore(), FakeShelf(), alerts(1)
    read, goes_on = asyncio.Event(), asyncio.Event()
    due = store.due

    async def slowly(now: int, limit: int = 100) -> list[object]:
        found = await due(now, limit)
        read.set()
        await goes_on.wait()
        return list(found)

    async with fake_target() as target, living(target, store, shelf, [webhook(target)]) as life:
        store.here.clear()
        await accept(life, told)
        await until(lambda: ids_of(target) == once(told))
        # The store has the alert, and not yet that it was sent, when it is read.
        told_of = asyncio.Event()
        delivered_to = store.delivered_to

        async def late(alert_id: str, channel: str, at: int) -> None:
            await told_of.wait()
            await delivered_to(alert_id, channel, at)

        store.delivered_to = late  # type: ignore[method-assign]
        store.due = slowly  # type: ignore[method-assign,assignment]
        store.here.set()
        await until(lambda: store.states("hook") == {"pending": 1})
        life.notifier._wake.set()
        async with asyncio.timeout(10):
            await read.wait()
        told_of.set()
        await until(lambda: not life.spare.waiting)
        goes_on.set()
        await asyncio.sleep(0.2)
        assert ids_of(target) == once(told)


async def test_no_more_is_put_aside_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spare, "MOST", 3)
    store, shelf, told = FakeStore(), FakeShelf(), alerts(5)
    async with fake_target() as target, living(target, store, shelf, [webhook(target)]) as life:
        store.here.clear()
        accepting = asyncio.create_task(accept(life, told))
        await until(lambda: ids_of(target) == once(told[:3]))
        assert len(shelf.kept) == 3
        assert not accepting.done()
        store.here.set()
        await accepting
        await until(sent(store, "hook", 5))
        assert ids_of(target) == once(told)


async def test_what_the_store_refuses_is_told_as_before() -> None:
    store, shelf = FakeStore(), FakeShelf()
    async with fake_target() as target, living(target, store, shelf, [webhook(target)]) as life:
        store.failing = 1
        with pytest.raises(StoreError, match="the disk is full"):
            await life.notifier.accept(alerts(1)[0])
        assert not shelf.puts


async def test_one_alert_that_is_refused_late_keeps_no_other() -> None:
    store, shelf, told = FakeStore(), FakeShelf(), alerts(5)
    enqueue = store.enqueue

    async def choosy(alert: Alert, channels: Sequence[str], now: int) -> None:
        await store.here.wait()
        if alert.id == told[2].id and refusing:
            raise StoreError("this one is not to be had")
        await enqueue(alert, channels, now)

    refusing = True
    store.enqueue = choosy  # type: ignore[method-assign]
    async with fake_target() as target, living(target, store, shelf, [webhook(target)]) as life:
        store.here.clear()
        await accept(life, told)
        await until(lambda: ids_of(target) == once(told))
        store.here.set()
        await until(sent(store, "hook", 4))
        assert set(shelf.kept) == {told[2].id}
        refusing = False
        await until(sent(store, "hook", 5))
        await until(lambda: not shelf.kept)
        assert ids_of(target) == once(told)
