"""The outbox of alerts while the store is away: they are delivered all the same.

An alert that the store does not take in time is put on a shelf that needs no store, and handed to
the lanes from there. What has become of it is kept there, too, and told to the store once that is
back: what was sent is sent, and what was not is in its outbox. Until then what is put aside counts,
and not what the store says of the same alert and channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from screenerd.backoff import Backoff
from screenerd.clock import Clock
from screenerd.model import Alert
from screenerd.notify.outbox import Held, OutboxStore
from screenerd.store.port import Delivery, StoreError

PATIENCE_SECONDS: Final = 2.0
"""So long the store may take, in seconds of the machine, before it counts as away."""

READ_SECONDS: Final = 3.0
"""So much longer it may take to be read."""

MOST: Final = 50_000
"""Alerts that are put aside at most, a week's of 500 symbols; those that follow wait."""

REMEMBERED: Final = 20_000
"""Alerts and channels of which is known that the store has them."""

TOGETHER: Final = 500
"""Alerts that are moved into the store at a time."""

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Aside:
    """What is put aside of an alert.

    Attributes:
        alert_id: which.
        alert: as it was told last; `None` if the store has it.
        channels: where it goes, as the outbox calls them, and when it was sent there, ms; `None` if
            it was not.
    """

    alert_id: str
    alert: Alert | None
    channels: Mapping[str, int | None]


class Shelf(Protocol):
    """Where things are put aside: they outlive this process, and do not need the store."""

    async def put(self, aside: Aside) -> None:
        """Keeps one, in the place of what was kept of the same alert; safe when this returns."""
        ...

    async def remove(self, alert_id: str) -> None:
        """Keeps it no longer."""
        ...

    async def everything(self) -> list[Aside]:
        """All that is kept."""
        ...


class SparedStore(OutboxStore, Protocol):
    """A store that can be told of what was delivered without it."""

    async def delivered_to(self, alert_id: str, channel: str, at: int) -> None:
        """Records that an alert was delivered to a channel; its first record stands."""
        ...


@dataclass(slots=True)
class _Row:
    """A delivery; when it was made, ms, and whether the store has been told so."""

    delivery: Delivery
    sent: int | None = None
    told: bool = False


@dataclass(slots=True)
class _Held:
    """An alert that is put aside.

    Attributes:
        alert: as it was told last; `None` if the store has it.
        channels: where it goes.
        stored: whether the store has the two.
        rows: deliveries of which the store's word does not count, by channel.
    """

    alert: Alert | None = None
    channels: dict[str, None] = field(default_factory=dict)
    stored: bool = True
    rows: dict[str, _Row] = field(default_factory=dict)


class SpareOutbox:
    """A store's outbox that goes on without the store; of one process at a time.

    `load`, then `run` beside what uses it.
    """

    def __init__(
        self, store: SparedStore, shelf: Shelf, clock: Clock, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        """Takes the store, and what keeps things while it is away.

        Args:
            store: the outbox proper.
            shelf: keeps what is put aside.
            clock: tells the time.
            patience: seconds of the machine that the store may take.
        """
        self._store, self._shelf, self._clock, self._patience = store, shelf, clock, patience
        self._held: dict[str, _Held] = {}
        self._late: set[asyncio.Future[Any]] = set()
        self._postponing: set[int] = set()
        self._taken: dict[tuple[str, str], None] = {}
        self._away = False
        self._ids = 0
        self._something = asyncio.Event()
        self._keeping = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Alerts that the store has still to be told of."""
        return len(self._held)

    async def load(self) -> None:
        """Takes up what a process before this one had put aside."""
        now = self._clock.now_ms()
        for aside in await self._shelf.everything():
            held = self._held.setdefault(aside.alert_id, _Held())
            held.alert, held.stored = aside.alert, aside.alert is None
            for channel, sent in aside.channels.items():
                held.channels[channel] = None
                held.rows[channel] = self._row(aside.alert_id, channel, now, sent)
        if self._held:
            _LOG.info("alerts_put_aside_found", alerts=len(self._held))
            self._something.set()

    async def run(self) -> None:
        """Tells the store what it has missed, whenever it is back; until cancelled."""
        backoff = Backoff(first=0.2, longest=5.0, limit=1 << 30)
        while True:
            await self._something.wait()
            self._something.clear()
            try:
                await self._tell_store()
            except StoreError as error:
                _LOG.warning("alerts_put_aside_not_stored", error=str(error))
                self._something.set()
                await asyncio.sleep(backoff.failed())
            else:
                backoff.succeeded()

    # The outbox, as the notifier knows it

    async def enqueue(self, alert: Alert, channels: Sequence[str], now: int) -> None:
        """Puts an alert into the outbox of channels, or aside; safe when this returns."""
        if alert.id not in self._held:
            if len(self._held) >= MOST:
                return await self._store.enqueue(alert, channels, now)
            if await self._in_time(lambda: self._store.enqueue(alert, channels, now)):
                return self._took(alert.id, channels)
        held = self._held.setdefault(alert.id, _Held())
        held.alert, held.stored = alert, False
        for channel in channels:
            # What the store has of it, and may have sent, is the store's to say.
            if channel not in held.channels and (alert.id, channel) not in self._taken:
                held.channels[channel] = None
                held.rows.setdefault(channel, self._row(alert.id, channel, now))
        return await self._keep(alert.id)

    async def due(self, now: int, limit: int = 100) -> list[Held]:
        """Deliveries to try now: those put aside, and those of the store if it is there."""
        # Of what was told while the store was being read, it may have given the state before.
        before = self._hidden()
        try:
            found = await self._read(now, limit)
        except StoreError:
            if not self._held:
                raise
            found = []
        hidden = before | self._hidden()
        return [
            *self._mine(now),
            *(
                (delivery, alert)
                for delivery, alert in found
                if not {delivery.id, (delivery.alert_id, delivery.channel)} & hidden
            ),
        ]

    def _mine(self, now: int) -> list[Held]:
        return [
            (row.delivery, held.alert)
            for held in self._held.values()
            for row in held.rows.values()
            if held.alert is not None and _is_due(row, now)
        ]

    async def _read(self, now: int, limit: int) -> list[Held]:
        """What the store has; nothing if it does not answer in time."""
        if self._away:
            return []
        task = asyncio.ensure_future(self._store.due(now, limit))
        return task.result() if await self._done_in_time(task, READ_SECONDS) else []

    async def delivered(self, delivery: Delivery, at: int) -> None:
        """Records that a delivery was made."""
        if delivery.id > 0 and await self._in_time(lambda: self._store.delivered(delivery, at)):
            return
        held = self._held.setdefault(delivery.alert_id, _Held())
        held.rows[delivery.channel] = _Row(delivery, sent=at)
        await self._keep(delivery.alert_id)

    async def postponed(self, delivery: Delivery) -> None:
        """Records a delivery that was not made."""
        if delivery.id > 0:
            self._postponing.add(delivery.id)
            await self._in_time(
                lambda: self._store.postponed(delivery),
                finished=lambda: self._postponing.discard(delivery.id),
                wanted=True,
            )
            return
        held = self._held.get(delivery.alert_id)
        if held is None:
            return
        if delivery.state == "pending":
            held.rows[delivery.channel] = _Row(delivery)
            return
        # Given up here; in the store's outbox it waits until that is back.
        held.rows.pop(delivery.channel, None)
        self._something.set()

    async def dead(self, channel: str) -> list[Delivery]:
        """Deliveries of a channel that were given up, oldest first."""
        return await self._store.dead(channel)

    # The store, and what it has missed

    async def _in_time(
        self,
        work: Callable[[], Awaitable[None]],
        *,
        finished: Callable[[], None] = lambda: None,
        wanted: bool = False,
    ) -> bool:
        """Whether the store has done something in time; what it has begun it may do later.

        What is `wanted` is begun even where the store is known to be away.

        Raises:
            StoreError: it is refused.
        """
        if self._away and not wanted:
            return False
        task = asyncio.ensure_future(work())
        task.add_done_callback(lambda _: finished())
        if not await self._done_in_time(task):
            return False
        task.result()
        return True

    async def _done_in_time(self, task: asyncio.Future[Any], more: float = 0.0) -> bool:
        """Whether the store has answered in time, whatever; if not it is away until it does."""
        try:
            await asyncio.wait({task}, timeout=0 if self._away else self._patience + more)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            self._away = False
            return True
        if not self._away:
            _LOG.warning("store_away", told="alerts are delivered without it")
        self._away = True
        self._late.add(task)
        task.add_done_callback(self._came_late)
        return False

    def _came_late(self, task: asyncio.Future[Any]) -> None:
        self._late.discard(task)
        if task.cancelled():
            return
        self._away = False
        if (error := task.exception()) is not None:
            _LOG.warning("store_refused_late", error=str(error))
        self._something.set()

    async def _tell_store(self) -> None:
        """Tells the store everything that it does not know; waits for it."""
        names = list(self._held)
        for first in range(0, len(names), TOGETHER):
            some = names[first : first + TOGETHER]
            told = [self._tell_one(one, self._held[one]) for one in some]
            errors = [one for one in await asyncio.gather(*told, return_exceptions=True) if one]
            # One that is refused does not keep the others.
            for error in sorted(errors, key=lambda one: isinstance(one, StoreError)):
                raise error

    async def _tell_one(self, alert_id: str, held: _Held) -> None:
        alert, channels = held.alert, list(held.channels)
        if alert is not None and not held.stored:
            await self._store.enqueue(alert, channels, self._clock.now_ms())
            self._away = False
            if held.alert is not alert or list(held.channels) != channels:
                self._something.set()  # there is more to it since
                return
            held.stored = True
            self._took(alert_id, channels)
        for channel, row in list(held.rows.items()):
            if row.sent is not None and not row.told:
                await self._store.delivered_to(alert_id, channel, row.sent)
                self._away, row.told = False, True
        # What was sent is kept until all of it was: the next process must know.
        if held.stored and all(row.told for row in held.rows.values()):
            self._took(alert_id, list(held.rows))
            if self._held.pop(alert_id, None) is not None:
                await self._keep(alert_id)

    def _took(self, alert_id: str, channels: Sequence[str]) -> None:
        """Remembers that the store has an alert for these channels."""
        for channel in channels:
            self._taken[alert_id, channel] = None
        while len(self._taken) > REMEMBERED:
            del self._taken[next(iter(self._taken))]

    async def _keep(self, alert_id: str) -> None:
        """Puts aside how it stands with an alert now."""
        async with self._keeping:
            held = self._held.get(alert_id)
            if held is None:
                await self._shelf.remove(alert_id)
                return
            sent = {channel: row.sent for channel, row in held.rows.items()}
            channels = dict.fromkeys(held.channels) | sent
            await self._shelf.put(Aside(alert_id, held.alert, channels))
        self._something.set()

    def _hidden(self) -> set[int | tuple[str, str]]:
        """Deliveries of the store that are not to be handed out, by id or by alert and channel."""
        return {
            *self._postponing,
            *(
                (alert_id, channel)
                for alert_id, held in self._held.items()
                for channel in held.rows
            ),
        }

    def _row(self, alert_id: str, channel: str, now: int, sent: int | None = None) -> _Row:
        self._ids -= 1  # the store's own are above 0
        return _Row(Delivery(self._ids, alert_id, channel, "pending", 0, now), sent)


def _is_due(row: _Row, now: int) -> bool:
    return row.sent is None and row.delivery.next_try <= now
