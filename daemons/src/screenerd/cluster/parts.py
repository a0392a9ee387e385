"""Each role as the process has it that does nothing else: what runs, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from prometheus_client import Metric

from screenerd import assembly, telemetry
from screenerd.bus.jetstream.bus import JetStreamBus
from screenerd.bus.port import BacklogError
from screenerd.clock import Clock
from screenerd.cluster import reports
from screenerd.cluster.leases import Leases
from screenerd.cluster.reports import Body
from screenerd.cluster.scale import Scale
from screenerd.cluster.shelf import BrokerShelf
from screenerd.cluster.together import Together
from screenerd.cluster.turns import Turn
from screenerd.cluster.workers import Job, Workers
from screenerd.config import Config
from screenerd.exchange.binance.rest import BinanceRest
from screenerd.notify.outbox import GRACE_SECONDS
from screenerd.notify.service import Notify
from screenerd.notify.spare import SpareOutbox
from screenerd.persist.service import NAME as PERSIST
from screenerd.persist.service import Persist, PersistStatus
from screenerd.rulewatch import RulesWatch
from screenerd.score.service import Score, ScoreStatus
from screenerd.screen.scope import Scope
from screenerd.screen.service import Screen
from screenerd.store.port import Store

EXCHANGE = BinanceRest.name
LAST_BURST_SECONDS = 2.0
"""What the bus is given to take the candles that came last, at a clean stop."""

MOST_WAITING = 200_000
"""Minutes that may wait for the broker, some 100 MB: of 500 symbols those of six hours."""

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every role's process has.

    Attributes:
        config: the configuration.
        clock: market time.
        bus: the others, too, are on it.
        store: the others, too, use it.
        leases: who may do what only one does at a time.
        owner: what this process is called among its like.
        rules: the rules' files.
        session: for requests to the exchange.
    """

    config: Config
    clock: Clock
    bus: JetStreamBus
    store: Store
    leases: Leases
    owner: str
    rules: RulesWatch
    session: aiohttp.ClientSession


class Part(Protocol):
    """A role, as its process runs it."""

    async def run(self) -> None:
        """Works until cancelled."""
        ...

    async def finish(self) -> None:
        """What is still to be done after that, in a few seconds."""
        ...

    async def report(self) -> Body:
        """What the other processes are told of it."""
        ...

    @property
    def warm(self) -> bool:
        """Whether all that its work begins with is in memory; who stands by has nothing yet."""
        ...

    def fault(self) -> str:
        """Why it is not ready; nothing if it is."""
        ...

    def figures(self) -> Iterator[Metric]:
        """What Prometheus is told."""
        ...


class IngestPart:
    """The minutes, from the exchange onto the bus; two of it tell the same."""

    def __init__(self, here: Surroundings) -> None:
        """Puts it together."""
        self._collector = assembly.collector(
            here.config, here.bus, here.store, here.clock, here.session
        )

    async def run(self) -> None:
        """Collects until cancelled.

        Raises:
            BacklogError: the broker has taken nothing for so long that memory would be used up.
        """
        async with asyncio.TaskGroup() as group:
            collecting = group.create_task(self._collector.ingest.run())
            bounded = group.create_task(self._bounded())
            await asyncio.wait({collecting, bounded}, return_when=asyncio.FIRST_COMPLETED)
            bounded.cancel()

    async def _bounded(self) -> None:
        while (waiting := self._collector.ingest.waiting) <= MOST_WAITING:
            await asyncio.sleep(LOOK_SECONDS)
        raise BacklogError(
            f"{waiting:,} minutes wait for the broker, which takes none: ended, before memory is "
            "used up. Start it again, at once if you like: it waits for the broker, and then asks "
            "the exchange for what the store lacks"
        )

    async def finish(self) -> None:
        """What came last goes onto the bus."""
        async with asyncio.timeout(LAST_BURST_SECONDS):
            await self._collector.ingest.flush()

    async def report(self) -> Body:
        """How the minutes come in; told between them, as it tells of every symbol."""
        await self._collector.ingest.quiet()
        rest, stream, ingest = self._collector.rest, self._collector.stream, self._collector.ingest
        until = rest.budget.closed_until
        return reports.of_ingest(ingest.status, stream.connections, until, ingest.symbols())

    @property
    def warm(self) -> bool:
        """It is once every symbol has its longer bars, too."""
        return self._collector.ingest.status.bars_ready

    def fault(self) -> str:
        """It is ready once every symbol has its history."""
        status = self._collector.ingest.status
        return "" if status.started else f"warming up: {status.warmed} of {status.symbols} symbols"

    def figures(self) -> Iterator[Metric]:
        """Of the collector."""
        one = self._collector
        return telemetry.of_collector(one.ingest.status, one.stream.connections)


class ScreenPart:
    """Workers of the screening; one more than there are slots stands by."""

    def __init__(self, here: Surroundings) -> None:
        """Puts it together."""
        self._here = here
        self._past = Together(here.store)
        scale = Scale(here.bus, here.config.screen.workers)
        self._workers = Workers(
            Job(
                shards=here.config.bus.shards,
                wanted=scale.workers,
                rules=lambda: here.rules.rules,
                screen=self._screen,
                close=here.bus.close,
            ),
            here.leases,
            here.owner,
        )

    def _screen(self, scope: Scope) -> Screen:
        here = self._here
        return Screen(
            here.bus,
            self._past,
            here.clock,
            exchange=EXCHANGE,
            rules=here.rules.rules,
            scope=scope,
            after=PERSIST,
        )

    async def run(self) -> None:
        """Screens what is its own until cancelled."""
        await self._workers.run()

    async def finish(self) -> None:
        """Whoever takes over begins with what is not stored: nothing is left to be done."""

    async def report(self) -> Body:
        """Which shards are judged here."""
        return reports.of_workers(self._workers)

    @property
    def warm(self) -> bool:
        """It is once every shard of its own is rebuilt, and it has some."""
        return bool(self._workers.shards) and self._workers.ready

    def fault(self) -> str:
        """It is ready once every shard of its own is rebuilt; who stands by is ready at once."""
        return "" if self._workers.ready else "rebuilding"

    def figures(self) -> Iterator[Metric]:
        """Of the engines."""
        return telemetry.of_engine(self._workers.status)


@dataclass(slots=True)
class PersistPart:
    """What has to last, from the bus into the store; and the scores, which need it alone."""

    here: Surroundings
    _turn: Turn = field(init=False)
    _persisted: PersistStatus = field(default_factory=PersistStatus)
    _scored: ScoreStatus = field(default_factory=ScoreStatus)

    def __post_init__(self) -> None:
        """One at a time stores: the journal is in the order of the bus."""
        self._turn = Turn(self.here.leases, PERSIST, self.here.owner, self._work)

    async def _work(self) -> None:
        here = self.here
        storing = Persist(here.bus, here.store, here.clock, metrics=here.config.store.keeps_metrics)
        scoring = Score(here.store, here.clock, exchange=EXCHANGE)
        self._persisted, self._scored = storing.status, scoring.status
        try:
            async with asyncio.TaskGroup() as group:
                beside = group.create_task(scoring.run())
                await storing.run()
                beside.cancel()
        finally:
            await here.bus.close(PERSIST)

    async def run(self) -> None:
        """Stores while it is its turn, until cancelled."""
        await self._turn.run()

    async def finish(self) -> None:
        """What was not stored comes again."""

    async def report(self) -> Body:
        """Whether what is told is stored."""
        return reports.of_persist(self.here.store.health, active=self._turn.active)

    @property
    def warm(self) -> bool:
        """It is while it is its turn."""
        return self._turn.active

    def fault(self) -> str:
        """It is ready while the store takes writes."""
        health = self.here.store.health
        return "" if health.state == "up" else f"the store is down: {health.error}"

    def figures(self) -> Iterator[Metric]:
        """Of the store."""
        return telemetry.of_store(self.here.store.health, self._persisted, self._scored)


@dataclass(slots=True)
class NotifyPart:
    """Alerts to the channels, by one process at a time."""

    here: Surroundings
    _turn: Turn = field(init=False)
    _notify: Notify | None = None

    def __post_init__(self) -> None:
        """One at a time delivers: a channel's pace is one process's to keep."""
        self._turn = Turn(
            self.here.leases, "notify", self.here.owner, self._work, reserve=GRACE_SECONDS
        )

    async def _work(self) -> None:
        here = self.here
        names = here.rules.rules.names
        spare = SpareOutbox(here.store, BrokerShelf(here.bus), here.clock)
        await spare.load()
        self._notify = assembly.notify(
            here.config,
            here.bus,
            here.store,
            here.clock,
            names,
            outbox=spare,
            is_ours=lambda: self._turn.held,
        )
        try:
            async with asyncio.TaskGroup() as group:
                beside = group.create_task(spare.run())
                await self._notify.run()
                beside.cancel()
        finally:
            await here.bus.close("notify")

    async def run(self) -> None:
        """Delivers while it is its turn, until cancelled."""
        await self._turn.run()

    async def finish(self) -> None:
        """What was not delivered is in the outbox."""

    async def report(self) -> Body:
        """How notifications go out."""
        channels = {} if self._notify is None else self._notify.notifier.status
        return reports.of_notify(channels, active=self._turn.active)

    @property
    def warm(self) -> bool:
        """It is while it is its turn."""
        return self._turn.active

    def fault(self) -> str:
        """It is always ready: a target that fails is no fault of its own."""
        return ""

    def figures(self) -> Iterator[Metric]:
        """Of the channels."""
        channels = {} if self._notify is None else self._notify.notifier.status
        return telemetry.of_notifications(channels)
