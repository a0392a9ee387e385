"""The loop that delivers what is in the store's outbox, each channel on its own.

One reader asks the store what is due and hands it to the channels' lanes; each lane sends one
message at a time, at its own pace, and records what became of every alert before it lets go of it.
A message that was sent but could not be recorded is recorded later, not sent again. Only what is on
its way when a process is killed, or is held up until another has begun, is sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from random import Random
from typing import Protocol

import structlog

from screenerd import timings, trace
from screenerd.backoff import Backoff
from screenerd.clock import Clock
from screenerd.model import Alert
from screenerd.notify import pacing
from screenerd.notify.answers import Accepted, Closed, Failed, Limited, Outcome, Unfit, judge
from screenerd.notify.channels import (
    PUBLIC,
    ChannelConfig,
    Endpoints,
    build,
    capacity_for,
    check_names,
    guard_for,
    limits_for,
)
from screenerd.notify.pacing import Pacer
from screenerd.notify.sender import DEADLINE, Sender, SendError, SessionFactory, open_session
from screenerd.store.port import Delivery, StoreError

LANE_MOST = 1000
"""Deliveries a lane holds in memory; the rest waits in the store."""

READ_MOST = 20_000
"""Deliveries read from the store at a time."""

POLL_SECONDS = 5.0
"""The store is asked this often at least: other processes may put something into the outbox."""

GRACE_SECONDS = 3.0
"""What a message on its way is given to end when the loop is cancelled."""

NOT_OURS_SECONDS = 1.0
"""Until it is asked again whether the outbox is ours; in general `run` is cancelled before."""

_WITHDRAWN = "#withdrawn"
_log = structlog.get_logger(__name__)

Held = tuple[Delivery, Alert]


class OutboxStore(Protocol):
    """What of the store is needed here."""

    async def enqueue(self, alert: Alert, channels: Sequence[str], now: int) -> None:
        """Stores an alert and puts it into the outbox, once a channel however often it is asked."""
        ...

    async def due(self, now: int, limit: int = 100) -> list[Held]:
        """Deliveries to try now, oldest first, with the alert as it is stored now."""
        ...

    async def delivered(self, delivery: Delivery, at: int) -> None:
        """Records that a delivery was made."""
        ...

    async def postponed(self, delivery: Delivery) -> None:
        """Records attempts, next_try, last_error and state of a delivery that was not made."""
        ...

    async def dead(self, channel: str) -> list[Delivery]:
        """Deliveries of a channel that were given up, oldest first."""
        ...


@dataclass(slots=True)
class ChannelStatus:
    """What a channel has done since the start.

    Attributes:
        waiting: deliveries in memory, due or on their way.
        messages: messages the target has accepted.
        sent: alerts in them.
        failed: messages that failed and will be tried again.
        limited: times the target asked to wait.
        dead: deliveries given up.
        last_error: why the newest message failed; none once one is accepted again.
    """

    waiting: int = 0
    messages: int = 0
    sent: int = 0
    failed: int = 0
    limited: int = 0
    dead: int = 0
    last_error: str | None = None


@dataclass(slots=True)
class _Lane:
    """One channel's deliveries that are due, in order, and how it is doing."""

    channel: ChannelConfig
    pacer: Pacer
    status: ChannelStatus = field(default_factory=ChannelStatus)
    waiting: dict[int, Held] = field(default_factory=dict)
    flying: set[int] = field(default_factory=set)
    alone: set[int] = field(default_factory=set)
    closed_until: float = float("-inf")
    closed_reason: str = ""
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    overflowed: bool = False
    task: asyncio.Task[None] | None = None

    def offer(self, held: Held) -> None:
        """Takes a delivery, or its newer state; leaves it in the store if the lane is full."""
        key = held[0].id
        if key in self.flying:
            return
        if key not in self.waiting and len(self.waiting) >= LANE_MOST:
            self.overflowed = True
            return
        self.waiting[key] = held
        self.filled.set()

    def take(self, now: float) -> list[Held]:
        """The deliveries of the next message, which are then on their way."""
        ready = list(self.waiting)
        size = pacing.batch_size(len(ready), self.pacer.room(now), capacity_for(self.channel))
        if ready[0] in self.alone:
            size = 1
        chosen = ready[:1]
        chosen += islice((key for key in ready[1:] if key not in self.alone), size - 1)
        # An alert and its withdrawal are told once if neither has been told yet.
        alerts = {self.waiting[key][0].alert_id for key in chosen}
        chosen = [key for key in ready if key in chosen or self.waiting[key][0].alert_id in alerts]
        return self._launch(chosen)

    def take_all(self) -> list[Held]:
        """Everything that waits."""
        return self._launch(list(self.waiting))

    def put_back(self, batch: Sequence[Held]) -> None:
        """Makes a message's deliveries wait again, first in line, each for a message of its own."""
        keys = {held[0].id for held in batch}
        self.alone |= keys
        self.flying -= keys
        self.waiting = {held[0].id: held for held in batch} | self.waiting
        self.filled.set()

    def _launch(self, keys: Sequence[int]) -> list[Held]:
        batch = [self.waiting.pop(key) for key in keys]
        self.flying.update(keys)
        if not self.waiting:
            self.filled.clear()
        return batch


class Notifier:
    """Delivers alerts to the channels of a configuration.

    Attributes:
        expects_channels: whether some are still to be put; what is for a channel that is not there
            is given up only once all are.

    Example:
        >>> notifier = Notifier(store, channels, SystemClock())  # doctest: +SKIP
        >>> await notifier.accept(alert)  # doctest: +SKIP
        >>> await notifier.run()  # doctest: +SKIP
    """

    def __init__(
        self,
        store: OutboxStore,
        channels: Sequence[ChannelConfig],
        clock: Clock,
        session_factory: SessionFactory = open_session,
        *,
        endpoints: Endpoints = PUBLIC,
        deadline: float = DEADLINE,
        random: Random | None = None,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        """Nothing is sent before `run`.

        Args:
            store: keeps the outbox.
            channels: where alerts go; their names differ.
            clock: tells when something is due.
            session_factory: opens the HTTP session of one channel.
            endpoints: where Discord and Telegram are; never from a user's configuration.
            deadline: seconds for one HTTP exchange.
            random: spreads the tries.
            is_ours: whether it is still for this process to send; asked before each message, since
                a process may stand still for as long as another takes to begin.
        """
        check_names(channels)
        self._store = store
        self._clock = clock
        self._open = session_factory
        self._endpoints = endpoints
        self._deadline = deadline
        self._is_ours = is_ours
        self._random = random or Random()  # noqa: S311  (spreads tries, keeps no secret)
        self._lanes = {
            channel.name: _Lane(channel, Pacer(limits_for(channel))) for channel in channels
        }
        self.expects_channels = False
        self._group: asyncio.TaskGroup | None = None
        self._wake = asyncio.Event()
        self._settled: set[int] = set()
        self._next_try: dict[int, int] = {}

    @property
    def status(self) -> Mapping[str, ChannelStatus]:
        """How every channel is doing."""
        return {
            name: replace(lane.status, waiting=len(lane.waiting) + len(lane.flying))
            for name, lane in self._lanes.items()
        }

    async def accept(self, alert: Alert, *, only: str | None = None) -> None:
        """Puts an alert into the outbox of every channel that wants it, or of only one.

        When this returns the alert is safe. A withdrawal gets a delivery of its own, since the
        alert's first one may be over. A shadow alert is for nobody.
        """
        if alert.shadow:
            return
        suffix = _WITHDRAWN if alert.state == "withdrawn" else ""
        rows = [
            name + suffix
            for name, lane in self._lanes.items()
            if only in (None, name) and lane.channel.wants(alert)
        ]
        if not rows:
            return
        await self._store.enqueue(alert, rows, self._clock.now_ms())
        self._wake.set()

    async def resend_dead(self, channel: str) -> int:
        """Puts what was given up on a channel back into the outbox; gives how many.

        Raises:
            ValueError: there is no such channel.
        """
        lane = self._lanes.get(channel)
        if lane is None:
            known = ", ".join(sorted(self._lanes)) or "none"
            raise ValueError(f"no channel is called {channel!r}; configured: {known}")
        now = self._clock.now_ms()
        count = 0
        for row in (channel, channel + _WITHDRAWN):
            for delivery in await self._store.dead(row):
                await self._store.postponed(
                    replace(delivery, state="pending", attempts=0, next_try=now)
                )
                count += 1
        lane.closed_until = float("-inf")
        self._wake.set()
        return count

    async def run(self) -> None:
        """Delivers until cancelled. What is not recorded as sent by then is sent next time."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._read(), name="notify-read")
            for lane in self._lanes.values():
                self._start(lane)

    def put(self, channel: ChannelConfig) -> None:
        """Adds a channel, or takes the place of the one of its name; what waits for it stays."""
        self.remove(channel.name)
        lane = _Lane(channel, Pacer(limits_for(channel)))
        self._lanes[channel.name] = lane
        self._start(lane)
        self._wake.set()

    def remove(self, name: str) -> None:
        """Delivers to a channel no longer; what still waits for it is given up."""
        lane = self._lanes.pop(name, None)
        if lane is not None and lane.task is not None:
            lane.task.cancel()

    def _start(self, lane: _Lane) -> None:
        if self._group is not None:
            lane.task = self._group.create_task(
                self._serve(lane), name=f"notify-{lane.channel.name}"
            )

    # The reader

    async def _read(self) -> None:
        """Hands what is due to the lanes, whenever something may have become due."""
        while True:
            self._wake.clear()
            try:
                await self._hand_out()
            except StoreError as error:
                _log.warning("outbox_unreadable", error=str(error))
            await self._pause(self._until_next())

    async def _hand_out(self) -> None:
        # A lane may settle a delivery while the store is read; what was read is old news then.
        self._settled.clear()
        now = self._clock.now_ms()
        for lane in self._lanes.values():
            lane.overflowed = False
        for delivery, alert in await self._due(now):
            if delivery.id in self._settled:
                continue
            lane_or_none = self._lanes.get(delivery.channel.removesuffix(_WITHDRAWN))
            if lane_or_none is not None:
                lane_or_none.offer((delivery, alert))
            elif not self.expects_channels:
                await self._orphaned(delivery)
        self._next_try = {key: at for key, at in self._next_try.items() if at > now}

    async def _due(self, now: int) -> list[Held]:
        """All that is due. The store gives the oldest first, which one slow channel may fill."""
        limit = 100 + sum(len(lane.waiting) + len(lane.flying) for lane in self._lanes.values())
        while True:
            found = await self._store.due(now, limit)
            if len(found) < limit:
                return found
            if limit >= READ_MOST:
                _log.warning("outbox_backlog", read=len(found))
                return found
            limit = min(READ_MOST, limit * 4)

    async def _orphaned(self, delivery: Delivery) -> None:
        name = delivery.channel.removesuffix(_WITHDRAWN)
        reason = f"no channel is called {name!r}: configure it again and resend"
        _log.warning("delivery_without_channel", channel=name, alert=delivery.alert_id)
        await self._store.postponed(pacing.after_refusal(delivery, reason))

    def _until_next(self) -> float:
        """Seconds until something that was postponed is due, or the store is asked anyway."""
        if not self._next_try:
            return POLL_SECONDS
        ms = min(self._next_try.values()) - self._clock.now_ms()
        return min(POLL_SECONDS, max(0.0, ms / 1000))

    async def _pause(self, seconds: float) -> None:
        """Waits for so long, or until woken."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._clock.real(seconds)):
                await self._wake.wait()

    # The lanes

    async def _serve(self, lane: _Lane) -> None:
        """Opens what a lane sends through, and delivers until cancelled."""
        guard = guard_for(lane.channel, self._endpoints)
        async with self._open(guard) as session:
            await self._deliver(lane, Sender(session, guard, self._deadline))

    async def _deliver(self, lane: _Lane, sender: Sender) -> None:
        """Sends what waits in a lane, one message at a time."""
        while True:
            await lane.filled.wait()
            now = self._clock.monotonic()
            if now < lane.closed_until:
                await self._finish(self._give_up(lane))
                continue
            wait = lane.pacer.wait(now)
            if wait > 0:
                await self._clock.sleep(wait)
                continue
            if not self._is_ours():
                await self._clock.sleep(NOT_OURS_SECONDS)
                continue
            await self._finish(self._attempt(lane, sender, lane.take(now)))
            if lane.overflowed and not lane.waiting:
                self._wake.set()

    async def _attempt(self, lane: _Lane, sender: Sender, batch: Sequence[Held]) -> None:
        """Sends one message and records what became of its alerts."""
        alerts = list({alert.id: alert for _, alert in batch}.values())
        now = self._clock.now_ms()
        request = build(lane.channel, alerts, now, self._endpoints)
        try:
            answer = await sender.send(request)
            outcome = judge(lane.channel, answer, self._clock.now_ms())
        except SendError as error:
            outcome = Failed(str(error))
        # Counted when it is over: the target's own count began earlier, so ours errs to be slow.
        lane.pacer.sent(self._clock.monotonic())
        await self._settle(lane, batch, outcome)

    async def _settle(self, lane: _Lane, batch: Sequence[Held], outcome: Outcome) -> None:
        match outcome:
            case Accepted():
                await self._accepted(lane, batch, outcome)
            case Limited():
                await self._limited(lane, batch, outcome)
            case Closed():
                await self._closed(lane, batch, outcome)
            case Unfit() if len({delivery.alert_id for delivery, _ in batch}) > 1:
                # One alert may spoil the message of all: the others must not suffer with it.
                self._complain(lane, outcome.reason, "message_split")
                lane.put_back(batch)
            case Unfit() | Failed():
                await self._failed(lane, batch, outcome.reason)

    async def _accepted(self, lane: _Lane, batch: Sequence[Held], outcome: Accepted) -> None:
        if outcome.pause:
            lane.pacer.hold(self._clock.monotonic() + outcome.pause)
        lane.status.messages += 1
        lane.status.last_error = None
        lane.status.sent += len(batch)
        at = self._clock.now_ms()
        async with asyncio.TaskGroup() as group:
            for delivery, alert in batch:
                timings.sent(lane.channel.name, alert.stamps, at, self._clock)
                _tell("alert sent", lane, alert)
                group.create_task(
                    self._record(lane, delivery, partial(self._store.delivered, delivery, at))
                )
        lane.alone.difference_update(delivery.id for delivery, _ in batch)

    async def _limited(self, lane: _Lane, batch: Sequence[Held], outcome: Limited) -> None:
        lane.pacer.hold(self._clock.monotonic() + outcome.seconds)
        lane.status.limited += 1
        _log.info("channel_limited", channel=lane.channel.name, seconds=outcome.seconds)
        now = self._clock.now_ms()
        await self._postpone(
            lane, [pacing.after_hold(delivery, outcome.seconds, now) for delivery, _ in batch]
        )

    async def _failed(self, lane: _Lane, batch: Sequence[Held], reason: str) -> None:
        lane.status.failed += 1
        self._complain(lane, reason, "message_failed")
        for _, alert in batch:
            _tell("alert not sent", lane, alert)
        now, factor = self._clock.now_ms(), pacing.jitter(self._random)
        await self._postpone(
            lane,
            [pacing.after_failure(delivery, reason, now, factor) for delivery, _ in batch],
        )

    async def _closed(self, lane: _Lane, batch: Sequence[Held], outcome: Closed) -> None:
        # Asked on and on, Discord and Telegram block the address we come from.
        lane.closed_until = self._clock.monotonic() + pacing.SLOW_WAIT
        lane.closed_reason = outcome.reason
        self._complain(lane, outcome.reason, "channel_closed")
        await self._bury(lane, batch)

    async def _give_up(self, lane: _Lane) -> None:
        """What comes in while the channel is closed is dead without a try."""
        await self._bury(lane, lane.take_all())

    async def _bury(self, lane: _Lane, batch: Sequence[Held]) -> None:
        reason = lane.closed_reason
        await self._postpone(
            lane, [pacing.after_refusal(delivery, reason) for delivery, _ in batch]
        )

    async def _postpone(self, lane: _Lane, rows: Sequence[Delivery]) -> None:
        """Records deliveries that were not made; together, for stores that commit in groups."""
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(self._record(lane, row, partial(self._store.postponed, row)))
        dead = [row.id for row in rows if row.state == "dead"]
        lane.status.dead += len(dead)
        lane.alone.difference_update(dead)
        self._next_try.update((row.id, row.next_try) for row in rows if row.state == "pending")
        self._wake.set()

    async def _record(
        self, lane: _Lane, delivery: Delivery, write: Callable[[], Awaitable[None]]
    ) -> None:
        """Writes until the store takes it; the delivery stays ours so long, and is not repeated."""
        backoff = Backoff(self._random)
        while True:
            try:
                await write()
                break
            except StoreError as error:
                _log.warning("delivery_unrecorded", channel=lane.channel.name, error=str(error))
                await self._clock.sleep(backoff.failed())
        self._settled.add(delivery.id)
        lane.flying.discard(delivery.id)

    async def _finish(self, work: Coroutine[None, None, None]) -> None:
        """Runs to the end what should not be cut: on a cancellation it gets a short grace.

        Cut between the sending and the record, a message would be sent twice. The task is awaited
        here on every path, so it needs no other owner.
        """
        task = asyncio.create_task(work)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            try:
                await asyncio.wait({task}, timeout=GRACE_SECONDS)
            finally:
                task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error from None
            raise

    def _complain(self, lane: _Lane, reason: str, event: str) -> None:
        lane.status.last_error = reason
        _log.warning(event, channel=lane.channel.name, reason=reason)


def _tell(event: str, lane: _Lane, alert: Alert) -> None:
    _log.debug(event, channel=lane.channel.name, correlation=trace.of_alert(alert), alert=alert.id)
