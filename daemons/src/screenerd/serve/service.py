"""The role: keeps the newest of everything, hands alerts to clients, and answers requests."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import orjson
import structlog
from starlette.types import ASGIApp

from screener import RuleSet
from screenerd import trace
from screenerd.bus.port import Bus, Received, Subscription
from screenerd.clock import Clock, SystemClock
from screenerd.model import (
    MINUTE_MS,
    Alert,
    CandleBatch,
    Metrics,
    Prices,
    RulesChanged,
    RuleSwitch,
    SettingsChanged,
    SymbolStatus,
    SystemStatus,
    Unfollowed,
)
from screenerd.serve import encode
from screenerd.serve.access.keys import KeyFile
from screenerd.serve.api import Api
from screenerd.serve.app import build
from screenerd.serve.board import SPARKLINE_MINUTES, Board
from screenerd.serve.gate import Admission, Gate
from screenerd.serve.hub import Hub
from screenerd.serve.latest import Latest
from screenerd.serve.port import ServeStore
from screenerd.serve.settings import ServeConfig
from screenerd.serve.socket import Sockets
from screenerd.serve.users import Users
from screenerd.serve.wire import Server, listen, server
from screenerd.store.port import StoreError

if TYPE_CHECKING:  # the libraries they need take memory that few services have a use for
    from screenerd.serve.access.jwks import Jwks
    from screenerd.serve.access.tokens import Verifier

log = structlog.get_logger("serve")

PING_SECONDS = 30.0
WATCH_SECONDS = 1.0
WAITING = 100_000
_CHOSEN = (RuleSwitch, SettingsChanged, RulesChanged)
_HEARD = (CandleBatch, Metrics, Prices, Unfollowed, *_CHOSEN)


@dataclass(slots=True)
class ServeStatus:
    """What health and Prometheus ask of this role."""

    clients: int = 0
    alerts: int = 0
    dropped: int = 0


class Serve:
    """REST, WebSocket and the page, on what the bus brings and the store holds."""

    def __init__(
        self,
        bus: Bus,
        store: ServeStore,
        clock: Clock,
        config: ServeConfig,
        *,
        rules: RuleSet,
        keys: KeyFile,
        status: Callable[[], SystemStatus],
        symbols: Callable[[], Sequence[SymbolStatus]],
        prometheus: Callable[[], bytes],
        epoch: str | None = None,
    ) -> None:
        """Takes its ports and opens its socket; subscribes at once, so that nothing is missed.

        Args:
            bus: where candles, metrics and alerts come from.
            store: what is asked of the past, and where choices are kept.
            clock: market time.
            config: where, for whom, how often.
            rules: the rules as they were before anybody switched them.
            keys: the API keys.
            status: tells of the whole; asked for every request.
            symbols: tells of every symbol.
            prometheus: figures, as Prometheus reads them.
            epoch: what the bus calls the numbers it gives alerts; by default they are numbered
                here, and mean nothing to another process.

        Raises:
            ExposedError: strangers could call, and nobody could say who they are.
            OSError: the socket cannot be had.
        """
        self.status = ServeStatus()
        self.hub = Hub(epoch or uuid.uuid4().hex, shared=epoch is not None)
        self.server: Server | None = None
        self._jwks: Jwks | None = None
        self._bus, self._store, self._clock, self._config = bus, store, clock, config
        self._keys, self._system, self._symbols = keys, status, symbols
        self._prometheus = prometheus
        self._token_needed = config.needs_token(
            has_keys=any(key.revoked_at is None for key in keys.list())
        )
        self._board, self._latest, self._users = Board(), Latest(), Users(store, rules)
        self._metrics_wanted = asyncio.Event()
        self._chosen = asyncio.Event()
        self._listener = listen(config.host, config.port)
        self._messages: Subscription = bus.subscribe("serve", *_HEARD, limit=WAITING)
        self._alerts: Subscription = bus.subscribe("serve-alerts", Alert, limit=WAITING)

    @property
    def address(self) -> str:
        """Where it is, as a browser is told."""
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def run(self) -> None:
        """Serves until `stop`."""
        await self._users.load()
        await self._load_history()
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            self.server = server(self._application(session))
            helpers = [
                group.create_task(self._listen(self._alerts)),
                group.create_task(self._listen(self._messages, gives_way=True)),
                group.create_task(self._tell_metrics()),
                group.create_task(self._follow_choices()),
                group.create_task(self._watch()),
            ]
            log.info("serving", address=self.address, tokens=self._token_needed)
            await self.server.serve(sockets=[self._listener])
            for task in helpers:
                task.cancel()
            if self._jwks is not None:
                await self._jwks.close()

    def stop(self) -> None:
        """Ends every connection in good order; `run` then returns."""
        if self.server is not None:
            self.server.should_exit = True

    def close(self) -> None:
        """Gives its socket back, also if it never ran."""
        self._listener.close()

    def _application(self, session: aiohttp.ClientSession) -> ASGIApp:
        config, wall = self._config, SystemClock()
        admission = Admission(
            requests=config.requests_a_minute,
            handshakes=config.handshakes_a_minute,
            origins=config.origins,
            hosts=config.hosts,
            proxies=config.proxies,
        )
        gate = Gate(admission, wall, self._verifier(session, wall) if self._token_needed else None)
        sockets = Sockets(
            self.hub,
            gate,
            self._users,
            wall,
            most=config.clients,
            metrics_wanted=self._metrics_wanted.set,
        )
        api = Api(
            self._board,
            self._latest,
            self.hub,
            self._users,
            self._store,
            self._bus,
            self._clock,
            self._system,
            self._symbols,
            self._prometheus,
        )
        return build(api.endpoints(), gate, sockets.serve, origins=config.origins)

    def _verifier(self, session: aiohttp.ClientSession, wall: Clock) -> Verifier:
        from screenerd.serve.access.jwks import Jwks, fetch_with
        from screenerd.serve.access.tokens import Verifier

        given = self._config.jwt
        secret = None if given is None or given.secret is None else given.secret.get_secret_value()
        if given is not None and given.jwks_url is not None:
            self._jwks = Jwks(given.jwks_url, fetch_with(session), wall)
        return Verifier(
            hs256_secret=secret,
            jwks=self._jwks,
            issuer="" if given is None else given.issuer,
            audience="" if given is None else given.audience,
            keys=self._keys,
        )

    async def _load_history(self) -> None:
        """The last hour's closes, for sparklines."""
        exchange = self._system().exchange
        newest = await self._store.newest(exchange)
        if newest:
            end = max(newest.values()) + MINUTE_MS
            start = end - SPARKLINE_MINUTES * MINUTE_MS
            frame = await self._store.minutes(exchange, sorted(newest), start, end)
            self._board.take_history(frame)

    async def _listen(self, messages: Subscription, *, gives_way: bool = False) -> None:
        """Takes what comes; one that gives way lets alerts pass after each message."""
        async for received in messages:
            self._take(received)
            await messages.done(received)
            if gives_way:
                await asyncio.sleep(0)

    def _take(self, received: Received) -> None:
        message = received.message
        match message:
            case Alert():
                self._take_alert(message, received.offset)
            case Metrics():
                self._board.take_metrics(message)
                self._metrics_wanted.set()
            case Prices():
                self.hub.publish_prices(message.at, message.prices)
            case CandleBatch():
                self._board.take_candles(message.candles)
            case Unfollowed():
                self._board.forget(message.symbols)
            case RuleSwitch() | SettingsChanged():
                self._chosen.set()
            case RulesChanged():
                self._users.set_rules(message.rules)
                self.hub.publish_rules()

    def _take_alert(self, alert: Alert, offset: int | None) -> None:
        self._latest.add(alert)
        log.debug("alert told", correlation=trace.of_alert(alert), alert=alert.id)
        data = orjson.dumps(encode.alert_value(alert, self._users.rules))
        self.hub.publish(
            alert.symbol, alert.rule, alert.triggered_at, data, shadow=alert.shadow, offset=offset
        )
        self.status.alerts += not alert.shadow
        taken = alert.stamps.decided - alert.stamps.received
        self._board.take_latency(self._clock.real(taken))

    async def _tell_metrics(self) -> None:
        """New metrics to those who listen; encoded only if somebody does."""
        while True:
            await self._metrics_wanted.wait()
            self._metrics_wanted.clear()
            if self.hub.wants_metrics():
                self.hub.publish_metrics(await self._board.fresh_metrics())

    async def _follow_choices(self) -> None:
        """What users choose, here or in another process; the store is asked, beside the alerts."""
        while True:
            await self._chosen.wait()
            self._chosen.clear()
            try:
                await self._users.load()
                self.hub.publish_rules()
            except StoreError as error:
                log.warning("choices not read", error=str(error))
                await asyncio.sleep(WATCH_SECONDS)
                self._chosen.set()

    async def _watch(self) -> None:
        """Clients that take nothing are ended; all are asked now and then whether they live."""
        loop = asyncio.get_running_loop()
        pinged = loop.time()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = loop.time()
            self.status.dropped += self.hub.drop_stuck(now)
            self.status.clients = len(self.hub.clients)
            if now - pinged >= PING_SECONDS:
                self.hub.ping()
                pinged = now
