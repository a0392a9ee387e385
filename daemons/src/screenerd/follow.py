"""A bus fed from a store that another process writes: for `screenerd serve` beside `screenerd up`.

What the roles would have told is read from the tables as it is stored: a moment later, and nothing
is lost, because every row is read in the order it was written.
"""

from __future__ import annotations

import asyncio

import structlog

import screener
from screenerd.bus.port import Bus, Subscription
from screenerd.clock import Clock
from screenerd.columns import TIMEFRAMES, candles_frame
from screenerd.model import (
    MINUTE_MS,
    CandleBatch,
    Health,
    Metrics,
    RulesChanged,
    RuleSwitch,
    ServiceState,
    SettingsChanged,
    SymbolStatus,
    SystemStatus,
    Trouble,
)
from screenerd.store.port import FOREVER, Settings, StoreError
from screenerd.store.sqlite.reader import SqliteReader

log = structlog.get_logger("follow")

LOOK_SECONDS = 0.2
LOOK_AT_CHOICES_SECONDS = 1.0
AT_ONCE = 5_000
WARM_UP_MS = 1441 * MINUTE_MS
SYMBOLS_AT_ONCE = 50

STALE_MS = 75_000
"""So long after a minute's end the next one should have been stored."""


class ReadOnlyStore(SqliteReader):
    """A store whose writer is another process: what is to be changed is changed there."""

    async def set_rule_switch(self, switch: RuleSwitch) -> None:
        """Refuses."""
        raise _elsewhere(f"rule {switch.rule}")

    async def set_user_switch(self, user: str, switch: RuleSwitch) -> None:  # noqa: ARG002
        """Refuses."""
        raise _elsewhere(f"rule {switch.rule}")

    async def set_settings(self, user: str, settings: Settings, now: int) -> None:  # noqa: ARG002
        """Refuses."""
        raise _elsewhere("settings")


class Follower:
    """Candles, metrics and alerts onto a bus, as another process stores them."""

    def __init__(
        self, bus: Bus, store: SqliteReader, clock: Clock, *, exchange: str, rules: screener.RuleSet
    ) -> None:
        """Takes its ports.

        Args:
            bus: where it all goes.
            store: what another process writes.
            clock: tells what is fresh.
            exchange: whose candles.
            rules: whose windows the metrics are to have.
        """
        self._bus, self._store, self._clock, self._exchange = bus, store, clock, exchange
        self._engine = screener.Engine(rules=rules, exchange=exchange)
        self._newest: dict[str, int] = {}
        self._switches: dict[str, RuleSwitch] = {}
        self._users: dict[str, dict[str, RuleSwitch]] = {}
        self._looked_at = 0.0
        self._unreadable = ""
        self._changes: Subscription = bus.subscribe("follow", RulesChanged, limit=1_000)

    @property
    def status(self) -> SystemStatus:
        """What the store alone tells."""
        now, last = self._clock.now_ms(), max(self._newest.values(), default=0)
        last_close = last + MINUTE_MS if last else 0
        health = self._health(now - last_close)
        told: ServiceState = "stale" if health.state == "down" else "up"
        return SystemStatus(
            exchange=self._exchange,
            health=health,
            services={
                "data_collector": told,
                "metrics_calculator": told,
                "alert_engine": told,
                "database": "down" if self._unreadable else "up",
                "nats": "up",
            },
            now=now,
            speed=1.0,
            last_close=last_close,
            symbols=len(self._newest),
            warm=len(self._newest),
        )

    def symbols(self) -> tuple[SymbolStatus, ...]:
        """How fresh each symbol is, by name; the newest of all tells what the others lack."""
        last = max(self._newest.values(), default=0)
        return tuple(
            SymbolStatus(symbol, at + MINUTE_MS, warm=True, missing=(last - at) // MINUTE_MS)
            for symbol, at in sorted(self._newest.items())
        )

    async def run(self) -> None:
        """Follows until cancelled.

        Raises:
            StoreError: the store could not be read even once.
        """
        candle, alert = await self._store.marks(self._exchange)
        await self._tell_choices()
        await self._warm_up()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_rules())
            group.create_task(self._follow(candle, alert))

    async def _follow(self, candle: int, alert: int) -> None:
        """Tells what is stored after these marks."""
        while True:
            try:
                candle = await self._tell_candles(candle)
                alert = await self._tell_alerts(alert)
                await self._look_at_choices()
            except StoreError as error:
                self._unreadable = str(error)
                log.warning("store unreadable", error=str(error))
            else:
                self._unreadable = ""
            await self._clock.sleep(LOOK_SECONDS)

    async def _take_rules(self) -> None:
        """The engine follows the windows of the rules that are in force."""
        async for received in self._changes:
            if isinstance(received.message, RulesChanged):
                await asyncio.to_thread(self._engine.set_rules, received.message.rules)

    async def _warm_up(self) -> None:
        self._newest = await self._store.newest(self._exchange)
        symbols = sorted(self._newest)
        start = max(self._newest.values(), default=0) - WARM_UP_MS
        for timeframe in TIMEFRAMES:
            bars = await self._store.bars(self._exchange, timeframe)
            self._engine.warm_up_bars(bars, timeframe)
        for at in range(0, len(symbols), SYMBOLS_AT_ONCE):
            some = symbols[at : at + SYMBOLS_AT_ONCE]
            frame = await self._store.minutes(self._exchange, some, start, FOREVER)
            self._engine.warm_up(frame)
        await self._bus.publish(Metrics(self._exchange, self._engine.snapshot()))

    async def _tell_candles(self, mark: int) -> int:
        """Candles that were stored after a mark, and their metrics; gives the new mark."""
        candles, mark = await self._store.journalled_after(self._exchange, mark, AT_ONCE)
        if not candles:
            return mark
        frame = candles_frame(candles)
        self._engine.warm_up(frame)
        for candle in candles:
            self._newest[candle.symbol] = max(candle.open_time, self._newest.get(candle.symbol, 0))
        await self._bus.publish(CandleBatch(self._exchange, tuple(candles)))
        changed = self._engine.snapshot().join(frame.select("symbol").unique(), on="symbol")
        await self._bus.publish(Metrics(self._exchange, changed))
        return mark

    async def _tell_alerts(self, mark: int) -> int:
        """Alerts that were stored after a mark; gives the new mark."""
        alerts, mark = await self._store.alerts_after(mark, AT_ONCE)
        for alert in alerts:
            await self._bus.publish(alert)
        return mark

    async def _look_at_choices(self) -> None:
        now = self._clock.real(self._clock.monotonic())
        if now - self._looked_at >= LOOK_AT_CHOICES_SECONDS:
            self._looked_at = now
            await self._tell_choices()

    async def _tell_choices(self) -> None:
        """What everybody or a user has changed of the rules since the last look."""
        switches = await self._store.rule_switches()
        for rule, switch in switches.items():
            if self._switches.get(rule) != switch:
                await self._bus.publish(switch)
        users = await self._store.user_switches()
        for user, its in users.items():
            if self._users.get(user) != its:
                await self._bus.publish(SettingsChanged(user))
        self._switches, self._users = switches, users

    def _health(self, age_ms: int) -> Health:
        troubles = []
        if self._unreadable:
            troubles.append(Trouble("store", self._unreadable, "see that the file is there"))
        if age_ms > STALE_MS:
            told = f"nothing has been stored for {age_ms / 1000:.0f} s"
            troubles.append(Trouble("data", told, "see that `screenerd up` runs on this store"))
        return Health("down" if troubles else "ok", tuple(troubles))


def _elsewhere(what: str) -> StoreError:
    return StoreError(
        f"{what} cannot be changed here: this process only reads the store; ask the one that "
        "writes it (`screenerd up`)"
    )
