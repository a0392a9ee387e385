"""All roles in one process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import aiohttp
import structlog

from screenerd import assembly
from screenerd.bus.memory import MemoryBus
from screenerd.bus.port import Subscription
from screenerd.clock import Clock, SystemClock
from screenerd.config import Config
from screenerd.exchange.binance.rest import BinanceRest
from screenerd.exchange.binance.stream import BinanceStream
from screenerd.follow import Follower, ReadOnlyStore
from screenerd.health import Signs, assess, rules_trouble, services
from screenerd.ingest.service import Ingest
from screenerd.lag import LoopLag
from screenerd.memory import Housekeeping
from screenerd.model import MINUTE_MS, Alert, Health, RulesStatus, State, SystemStatus
from screenerd.notify.channels import PUBLIC, Endpoints
from screenerd.notify.service import Notify
from screenerd.persist.service import Persist
from screenerd.rulewatch import RulesWatch
from screenerd.score.service import Score
from screenerd.screen.scope import WHOLE
from screenerd.screen.service import Screen
from screenerd.serve.access.keys import KeyFile
from screenerd.serve.service import Serve, ServeStatus
from screenerd.store.sqlite import SqliteStore
from screenerd.telemetry import Figures, Telemetry, of_all, of_service

if TYPE_CHECKING:
    from screenerd.demo.server import DemoExchange

log = structlog.get_logger("screenerd")

STATUS_SECONDS = 10.0
SWITCH_SECONDS = 0.0005
WATCH_SECONDS = 1.0
WARM_UP_SECONDS = 1.0
STOP_SECONDS = 4.0


@dataclass(slots=True)
class Roles:
    """The roles of one process, for health and tests."""

    rest: BinanceRest
    stream: BinanceStream
    ingest: Ingest
    rules: RulesWatch
    screen: Screen
    persist: Persist
    notify: Notify
    score: Score
    store: SqliteStore
    bus: MemoryBus
    clock: Clock
    stop: asyncio.Event
    lag: LoopLag
    serve: Serve | None = None

    @property
    def health(self) -> Health:
        """Whether everything is well, and what is not."""
        return assess(self._signs)

    @property
    def system(self) -> SystemStatus:
        """What those who look from outside are told."""
        signs = self._signs
        last = self.ingest.status.last_close
        return SystemStatus(
            exchange=self.rest.name,
            health=assess(signs),
            services=services(signs),
            now=signs.now,
            speed=round(1 / self.clock.real(1), 6),
            last_close=last + MINUTE_MS if last else 0,
            symbols=self.ingest.status.symbols,
            warm=self.ingest.status.warmed,
            rules=self.rules.status,
        )

    @property
    def figures(self) -> Figures:
        """What Prometheus is told."""
        return Figures(
            system=self.system,
            connections=self.stream.connections,
            ingest=self.ingest.status,
            screen=self.screen.status,
            persist=self.persist.status,
            score=self.score.status,
            store=self.store.health,
            channels=self.notify.notifier.status,
            serve=ServeStatus() if self.serve is None else self.serve.status,
            lag=self.lag.recent,
        )

    @property
    def _signs(self) -> Signs:
        return Signs(
            now=self.clock.now_ms(),
            ingest=self.ingest.status,
            connections=self.stream.connections,
            refused_until=self.rest.budget.closed_until,
            store=self.store.health,
            channels=self.notify.notifier.status,
            lag=self.lag.recent,
            rules=self.rules.status.fault,
        )


async def up(
    config: Config,
    *,
    clock: Clock | None = None,
    ready: asyncio.Future[Roles] | None = None,
    endpoints: Endpoints = PUBLIC,
) -> None:
    """Runs every role until SIGTERM, SIGINT or a cancellation; everything known is written then.

    Args:
        config: the configuration.
        clock: what tells the time; the machine's own by default.
        ready: is given the roles once they run.
        endpoints: where Discord and Telegram are.
    """
    # The thread that writes must not hold the interpreter for long while a minute is judged.
    sys.setswitchinterval(SWITCH_SECONDS)
    async with AsyncExitStack() as stack:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        # First in, last out: a second signal must not cut the writing of the last rows.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
            stack.callback(loop.remove_signal_handler, number)
        roles = await _assemble(config, clock or SystemClock(), stop, endpoints, stack)
        stack.callback(loop.remove_signal_handler, signal.SIGHUP)
        loop.add_signal_handler(signal.SIGHUP, _on_hangup(roles.rules, stop))
        if ready is not None:
            ready.set_result(roles)
        await _run(roles)


async def serve(config: Config, *, clock: Clock | None = None) -> None:
    """REST, WebSocket and the page beside a process that writes the store; until told to stop.

    Raises:
        StoreError: the store cannot be read.
    """
    clock = clock or SystemClock()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bus = MemoryBus()
    watch = RulesWatch(bus, clock, config.rules.sources)
    loop.add_signal_handler(signal.SIGHUP, _on_hangup(watch, stop))

    def system() -> SystemStatus:
        return _with_rules(follower.status, watch.status)

    async with ReadOnlyStore(config.store.path, clock) as store:
        follower = Follower(bus, store, clock, exchange=BinanceRest.name, rules=watch.rules)
        serving = Serve(
            bus,
            store,
            clock,
            config.serve,
            rules=watch.rules,
            keys=KeyFile(config.keys_file),
            status=system,
            symbols=follower.symbols,
            prometheus=Telemetry(lambda: of_service(system(), serving.status)).text,
        )
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(follower.run()), group.create_task(watch.run())]
            answering = group.create_task(serving.run())
            await stop.wait()
            log.info("stopping")
            for task in helpers:
                task.cancel()
            serving.stop()
            await answering


def _with_rules(system: SystemStatus, rules: RulesStatus) -> SystemStatus:
    """What the store alone tells, and how the files of the rules do."""
    if rules.fault is None:
        return replace(system, rules=rules)
    health = system.health
    state: State = "degraded" if health.state == "ok" else health.state
    troubles = (*health.troubles, rules_trouble(rules.fault))
    return replace(system, rules=rules, health=Health(state, troubles))


def _on_hangup(watch: RulesWatch, stop: asyncio.Event) -> Callable[[], None]:
    """What SIGHUP does: rules are looked at; if it came because the terminal has gone, the end."""
    had_terminal = _has_terminal()

    def heard() -> None:
        if had_terminal and not _has_terminal():
            stop.set()
        else:
            watch.hurry()

    return heard


def _has_terminal() -> bool:
    """Whether the process can still talk to a terminal of its own."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


async def up_demo(config: Config) -> None:
    """The same against the built-in market, at its speed."""
    clock = SystemClock(config.demo.speed)
    async with _built_in_market(config, clock) as exchange:
        where = {"rest_url": exchange.rest_url, "stream_url": exchange.stream_url}
        log.info("built-in market", address=exchange.rest_url, speed=config.demo.speed)
        there = config.exchange.model_copy(update=where)
        await up(config.model_copy(update={"exchange": there}), clock=clock)


async def market(config: Config, port: int) -> None:
    """The built-in market alone, until told to stop.

    Args:
        config: its symbols, seed and speed.
        port: where it listens on loopback; 0 takes a free one.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _built_in_market(config, SystemClock(config.demo.speed), port) as exchange:
        log.info("built-in market", address=exchange.rest_url, speed=config.demo.speed)
        await stop.wait()


def _built_in_market(config: Config, clock: Clock, port: int = 0) -> DemoExchange:
    # What only it needs takes 30 MB: who follows the real market does without.
    from screenerd.demo.market import Market
    from screenerd.demo.server import DemoExchange

    made = Market(symbols=config.demo.symbols, seed=config.demo.seed)
    return DemoExchange(made, clock, port=port)


async def _assemble(
    config: Config, clock: Clock, stop: asyncio.Event, endpoints: Endpoints, stack: AsyncExitStack
) -> Roles:
    store = SqliteStore(
        config.store.path,
        clock,
        retention_hours=config.store.retention_hours,
        scores_days=config.store.scores_days,
    )
    await stack.enter_async_context(store)
    session = await stack.enter_async_context(aiohttp.ClientSession())
    bus = MemoryBus()
    collecting = assembly.collector(config, bus, store, clock, session)
    exchange = collecting.rest.name
    watch = RulesWatch(bus, clock, config.rules.sources)
    screening = Screen(
        bus,
        store,
        clock,
        exchange=exchange,
        rules=watch.rules,
        state_file=config.store.path.with_name(config.store.path.name + ".engine"),
    )
    persist = Persist(bus, store, clock, metrics=config.store.keeps_metrics)
    roles = Roles(
        rest=collecting.rest,
        stream=collecting.stream,
        ingest=collecting.ingest,
        rules=watch,
        screen=screening,
        persist=persist,
        notify=assembly.notify(config, bus, store, clock, watch.rules.names, endpoints),
        score=Score(store, clock, exchange=exchange),
        store=store,
        bus=bus,
        clock=clock,
        stop=stop,
        lag=LoopLag(),
    )
    if config.serve.enabled:
        roles.serve = Serve(
            bus,
            store,
            clock,
            config.serve,
            rules=watch.rules,
            keys=KeyFile(config.keys_file),
            status=lambda: roles.system,
            symbols=roles.ingest.symbols,
            prometheus=Telemetry(lambda: of_all(roles.figures)).text,
        )
        stack.callback(roles.serve.close)
    return roles


async def _run(roles: Roles) -> None:
    told = roles.bus.subscribe("console", Alert, limit=10_000)
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(roles.ingest.run())
        screening = group.create_task(roles.screen.run())
        listening = [
            group.create_task(roles.persist.run()),
            group.create_task(roles.notify.run()),
            group.create_task(_tell_alerts(told, roles.clock)),
        ]
        if roles.serve is not None:
            listening.append(group.create_task(roles.serve.run()))
        watching = [
            group.create_task(roles.lag.run()),
            group.create_task(roles.rules.run()),
            group.create_task(roles.score.run()),
            group.create_task(Housekeeping(roles.clock, lambda: _is_warm(roles)).run()),
            group.create_task(_tell_health(roles)),
            group.create_task(_tell_status(roles)),
        ]
        await roles.stop.wait()
        log.info("stopping")
        for task in (feeding, *watching):
            task.cancel()
        await asyncio.wait([feeding], timeout=STOP_SECONDS / 4)
        await roles.ingest.flush()
        # What is on the bus is still judged, and what comes of it still written.
        await roles.bus.close(WHOLE.name)
        judged, _ = await asyncio.wait([screening], timeout=STOP_SECONDS / 4)
        await roles.bus.close()
        if roles.serve is not None:
            roles.serve.stop()
        _, left = await asyncio.wait([screening, *listening], timeout=STOP_SECONDS / 2)
        if judged and not left:
            # Only now is every alert that the engine remembers stored, too. What it judges later
            # finds nobody who stores its alerts: the next start has to judge that again.
            await roles.screen.keep()
        for task in (screening, *listening):
            task.cancel()
    log.info("stopped", candles=roles.persist.status.candles, alerts=roles.persist.status.alerts)


def _is_warm(roles: Roles) -> bool:
    return roles.ingest.status.bars_ready and roles.screen.rebuilt.is_set()


async def _tell_alerts(alerts: Subscription, clock: Clock) -> None:
    async for received in alerts:
        alert = received.message
        if not isinstance(alert, Alert):
            continue
        tell = log.debug if alert.shadow else log.info
        tell(
            "shadow alert" if alert.shadow else "alert",
            rule=alert.rule,
            symbol=alert.symbol,
            price=alert.price,
            change=None if alert.change is None else round(alert.change, 2),
            ms=round(clock.real(alert.stamps.decided - alert.stamps.received)),
            id=alert.id,
        )


async def _tell_health(roles: Roles) -> None:
    """Every change of what is well and what is not."""
    before: tuple[str, ...] = ()
    while True:
        health = roles.health
        now = (health.state, *(trouble.where for trouble in health.troubles))
        if now != before:
            tell = log.info if health.state in {"starting", "ok"} else log.warning
            tell("health", state=health.state)
            for trouble in health.troubles:
                log.warning(
                    "trouble", where=trouble.where, told=trouble.told, remedy=trouble.remedy
                )
            before = now
        await asyncio.sleep(WATCH_SECONDS)


async def _tell_status(roles: Roles) -> None:
    """Progress while symbols are warmed up, then one calm line every ten seconds."""
    while True:
        ingest = roles.ingest.status
        if not ingest.started:
            log.info(
                "warming up",
                symbols=f"{ingest.warmed}/{ingest.symbols}",
                weight=f"{roles.rest.budget.used}/{roles.rest.budget.limit}",
            )
            await asyncio.sleep(WARM_UP_SECONDS)
            continue
        late = roles.clock.now_ms() - ingest.last_close - MINUTE_MS
        log.info(
            "status",
            health=roles.health.state,
            symbols=ingest.symbols,
            behind=f"{late / 1000:.0f} s",
            missing=ingest.missing,
            alerts=roles.screen.status.alerts,
            stored=roles.persist.status.candles,
            connections=sum(one.delivering for one in roles.stream.connections),
            weight=f"{roles.rest.budget.used}/{roles.rest.budget.limit}",
        )
        await asyncio.sleep(STATUS_SECONDS)
