"""The role: every alert that a channel wants goes into its outbox, and from there to its target.

While the store is away, what users have chosen is not known to a process that starts; the channels
of the configuration are.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial

import structlog
from pydantic import SecretStr

from screenerd.backoff import Backoff
from screenerd.bus.port import Bus, Message, Subscription
from screenerd.clock import Clock
from screenerd.model import Alert, RulesChanged, SettingsChanged
from screenerd.notify.channels import PUBLIC, ChannelConfig, DiscordChannel, Endpoints
from screenerd.notify.outbox import Notifier, OutboxStore
from screenerd.store.port import Store, StoreError

LOOK_BACK_MS = 3_600_000
"""An alert that was stored and not put into the outbox when the process died is found so far before
the newest one."""

ASK_SECONDS = 10.0
"""So long alerts wait, in seconds of the machine, for what the store is asked about users."""

MOST_UNASKED = 50_000
"""Alerts kept for users that are not known yet; a process that dies meanwhile loses them for those
users, if they are older than `LOOK_BACK_MS` when the next one begins."""

_LOG = structlog.get_logger(__name__)


class Notify:
    """Delivers the alerts of the bus, and those that a crash kept from the outbox."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        clock: Clock,
        channels: Sequence[ChannelConfig],
        *,
        rules: Collection[str] = (),
        endpoints: Endpoints = PUBLIC,
        outbox: OutboxStore | None = None,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        """Takes its ports and channels; subscribes at once, so that no alert is missed.

        Args:
            bus: where alerts come from.
            store: keeps the outbox, and what users have chosen.
            clock: what tells the time.
            channels: those of the configuration.
            rules: the names of all rules.
            endpoints: where Discord and Telegram are.
            outbox: what keeps the outbox, if that is not the store itself.
            is_ours: whether it is still for this process to send, asked before each message.
        """
        self._rules = set(rules)
        self.notifier = Notifier(
            outbox or store, channels, clock, endpoints=endpoints, is_ours=is_ours
        )
        self._store, self._clock = store, clock
        self._users: dict[str, DiscordChannel] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        # What users are still to be told of, as long as it is not known who they are.
        self._unasked: deque[Alert] | None = deque()
        self.notifier.expects_channels = True
        self._messages: Subscription = bus.subscribe(
            "notify", Alert, SettingsChanged, RulesChanged, limit=100_000, lasting=True
        )

    async def run(self) -> None:
        """Delivers until the bus is closed; what is left then is delivered next time."""
        async with asyncio.TaskGroup() as group:
            await self._ask(group, self._begin)
            delivering = group.create_task(self.notifier.run())
            async for received in self._messages:
                await self._take(received.message, group)
                await self._messages.done(received)
            for task in (delivering, *self._asking):
                task.cancel()

    async def _begin(self) -> None:
        await self._put_users()
        self.notifier.expects_channels = False
        while self._unasked:
            for name in list(self._users):
                await self.notifier.accept(self._unasked[0], only=name)
            self._unasked.popleft()
        self._unasked = None
        await self._catch_up()

    async def _take(self, message: Message, group: asyncio.TaskGroup) -> None:
        match message:
            case Alert():
                await self.notifier.accept(message)
                if self._unasked is not None and len(self._unasked) < MOST_UNASKED:
                    self._unasked.append(message)
            case SettingsChanged():
                await self._ask(group, partial(self._put_user, message.user))
            case RulesChanged() if self._rules != set(message.rules.names):
                self._rules = set(message.rules.names)
                await self._ask(group, self._put_users)

    async def _ask(self, group: asyncio.TaskGroup, work: Callable[[], Awaitable[None]]) -> None:
        """Does what needs the store; if that is away it is left to be done once it is back."""
        task = group.create_task(self._until_stored(work))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        await asyncio.wait({task}, timeout=ASK_SECONDS)

    async def _until_stored(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does something, again as long as the store keeps it from being done."""
        backoff = Backoff(first=0.2, longest=5.0)
        async with self._one_at_a_time:
            while True:
                try:
                    return await work()
                except StoreError as error:
                    _LOG.warning("users_not_known", error=str(error))
                await asyncio.sleep(backoff.failed())

    async def _put_users(self) -> None:
        for user in await self._store.all_settings():
            await self._put_user(user)

    async def _put_user(self, user: str) -> None:
        """A user's own channel, as the user has chosen it."""
        settings = await self._store.settings(user)
        switches = (await self._store.user_switches()).get(user, {})
        off = {rule for rule, switch in switches.items() if not switch.enabled}
        wanted = (set(settings.selected_alerts) or self._rules) - off
        name = user_channel(user)
        if settings.webhook_url is None or not settings.notification_enabled or not wanted:
            self.notifier.remove(name)
            self._users.pop(name, None)
            return
        url = SecretStr(settings.webhook_url)
        channel = DiscordChannel(name=name, url=url, rules=frozenset(wanted))
        if self._users.get(name) != channel:
            self._users[name] = channel
            self.notifier.put(channel)

    async def _catch_up(self) -> None:
        """What each channel should have been handed and was not; nothing older than the channel."""
        newest = max((one.triggered_at for one in await self._store.alerts(0)), default=0)
        for name in self.notifier.status:
            now = self._clock.now_ms()
            [since] = await self._store.first_seen([f"channel:{name}"], now)
            for alert in await self._store.unclaimed(name, max(since, newest - LOOK_BACK_MS)):
                await self.notifier.accept(alert, only=name)


def user_channel(user: str) -> str:
    """What a user's own channel is called: in logs, too, so it does not tell who."""
    return "user-" + hashlib.sha256(user.encode()).hexdigest()[:16]
