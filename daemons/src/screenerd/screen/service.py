"""The role: a judge, given every closed candle in its order of arrival, and what it says told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
import structlog

import screener
from screenerd import trace
from screenerd.bus.port import Bus, Message, Subscription
from screenerd.clock import Clock
from screenerd.model import (
    Alert,
    Bars,
    Candle,
    CandleBatch,
    Followed,
    Metrics,
    RulesChanged,
    RuleSwitch,
    Unfollowed,
)
from screenerd.screen import state
from screenerd.screen.judge import Judge, ScreenStatus
from screenerd.screen.rebuild import Rebuild
from screenerd.screen.scope import WHOLE, Scope
from screenerd.store.port import Past, StoreError

log = structlog.get_logger("screen")

METRICS_AFTER_SECONDS = 0.1
METRICS_LATEST = 5
"""Metrics are told when no candle came for so long, or at the latest so many times that after the
first of them: those of a burst together, and none while its alerts are on their way."""

LOOK_AMONG_ALL_SECONDS = 1.0
ON_THE_WAY_SECONDS = 1.0
"""A minute's time is up so much later than it is by the clock, in seconds of the machine, however
fast the clock goes: a candle that was received in time may be on its way here."""

_HEARD = (CandleBatch, Bars, Followed, Unfollowed, RuleSwitch, RulesChanged)


class Screen:
    """Feeds the judge and puts its alerts onto the bus."""

    def __init__(
        self,
        bus: Bus,
        store: Past,
        clock: Clock,
        *,
        exchange: str,
        rules: screener.RuleSet,
        state_file: Path | None = None,
        scope: Scope = WHOLE,
        after: str | None = None,
    ) -> None:
        """Takes its ports and the rules; subscribes at once, so that no candle is missed.

        Args:
            bus: where candles come from and alerts go to.
            store: what the engine is rebuilt from.
            clock: what tells the time.
            exchange: whose candles.
            rules: the rules as they are before anybody switches them.
            state_file: where the engine is kept over a clean stop, if anywhere.
            scope: which part of the work is its own.
            after: who stores candles, on a bus that outlives its processes: what that subscriber
                has not stored is heard, the rest is read from the store.
        """
        self.rebuilt = asyncio.Event()
        self._bus, self._clock, self._exchange = bus, clock, exchange
        self._state_file, self._scope = state_file, scope
        self._judge = Judge(clock, exchange=exchange, rules=rules, scope=scope)
        self._rebuild = Rebuild(store, clock, exchange, scope, state_file, self._publish)
        self._untold: set[str] = set()
        self._closed, self._to_note = asyncio.Event(), asyncio.Event()
        self._messages: Subscription = bus.subscribe(
            scope.name,
            *_HEARD,
            limit=10_000,
            after=after,
            shard=None if scope.shard is None else scope.shard.number,
        )

    @property
    def status(self) -> ScreenStatus:
        """What it has done."""
        return self._judge.status

    @property
    def judged_from(self) -> int:
        """What opened before it was nobody's to judge, ms."""
        return self._judge.judged_from

    @property
    def engine(self) -> screener.Engine:
        """The engine, for metrics and state."""
        return self._judge.engine

    async def run(self) -> None:
        """Rebuilds what it knew, then screens until the bus is closed.

        Raises:
            StoreError: it could not be rebuilt.
        """
        await self._messages.begin()
        begun = time.monotonic()
        await self._rebuild.run(self._judge)
        self._touch(self.engine.symbols)
        self._to_note.set()
        self.rebuilt.set()
        log.info(
            "rebuilt",
            part=self._scope.name,
            symbols=len(self.engine.symbols),
            seconds=round(time.monotonic() - begun, 2),
        )
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(self._note_rules()),
                group.create_task(self._judge_among_all()),
            ]
            if self._scope.tells_metrics:
                helpers.append(group.create_task(self._tell_metrics()))
            async for received in self._messages:
                await self._take(received.message)
                await self._messages.done(received)
            for task in helpers:
                task.cancel()

    async def keep(self) -> None:
        """Writes the engine down for the next start, once all it has raised is stored."""
        if self._state_file is None or not self.status.last_minute:
            return
        try:
            await asyncio.to_thread(
                state.save,
                self._state_file,
                self.engine,
                judged_from=self.judged_from,
                newest=self.status.last_minute,
            )
        except OSError as error:
            log.warning("state not saved, the next start rebuilds it", error=str(error))

    # What comes.

    async def _take(self, message: Message) -> None:
        match message:
            case CandleBatch():
                await self._screen(message)
            case Bars() if self._scope.owns(message.symbol):
                self._judge.take_bars(message)
            case Followed():
                self._judge.listed |= dict.fromkeys(message.symbols, message.judged_from)
            case Unfollowed():
                self._judge.forget(message.symbols)
            case RuleSwitch():
                self._judge.switches[message.rule] = message
                await self._apply_rules()
            case RulesChanged():
                self._judge.take_rules(message.rules)
                await self._apply_rules()

    async def _screen(self, batch: CandleBatch) -> None:
        history: list[Candle] = []
        judged: list[Candle] = []
        for candle in filter(lambda one: self._scope.owns(one.symbol), batch.candles):
            (history if self._judge.is_history(candle) else judged).append(candle)
        self._judge.warm_up(history)
        await self._publish(self._judge.judge(judged))
        # History comes in pieces: what it makes of the metrics is told with the next close.
        self._touch([candle.symbol for candle in judged])

    async def _apply_rules(self) -> None:
        await self._judge.apply_rules()
        self._to_note.set()

    async def _note_rules(self) -> None:
        """Keeps since when rules are in force; the disk may take its time, nothing waits for it."""
        while True:
            await self._to_note.wait()
            self._to_note.clear()
            try:
                await self._rebuild.noted_since(self.engine.rules)
            except StoreError as error:
                log.warning("rules not noted", error=str(error))

    async def _judge_among_all(self) -> None:
        """Rules that ask something of all symbols, where the last of them does not come in time.

        What arrived before that is judged before it, so that a replay counts the same symbols.
        """
        while True:
            await self._clock.sleep(LOOK_AMONG_ALL_SECONDS)
            if self._messages.status.waiting == 0 and self._judge.among_all:
                on_the_way = ON_THE_WAY_SECONDS / self._clock.real(1.0)
                now = self._clock.now_ms() - int(on_the_way * 1000)
                await self._publish(self._judge.advance(now))

    # What is told.

    async def _publish(self, alerts: Sequence[Alert]) -> None:
        """Tells alerts, all at once: a bus may take its time for each."""
        if len(alerts) == 1:
            await self._bus.publish(alerts[0])
        elif alerts:
            await asyncio.gather(*map(self._bus.publish, alerts))
        for alert in alerts:
            log.debug("alert raised", correlation=trace.of_alert(alert), alert=alert.id)

    def _touch(self, symbols: Iterable[str]) -> None:
        """Metrics of these symbols have changed."""
        self._judge.count_symbols()
        self._untold.update(symbols)
        if self._untold:
            self._closed.set()

    async def _tell_metrics(self) -> None:
        """What has changed, once a burst; never before the alerts of the burst."""
        while True:
            await self._closed.wait()
            for _ in range(METRICS_LATEST):
                self._closed.clear()
                await asyncio.sleep(METRICS_AFTER_SECONDS)
                if not self._closed.is_set():
                    break
            self._closed.clear()
            symbols, self._untold = list(self._untold), set()
            frame = await asyncio.to_thread(self.engine.snapshot)
            changed = frame.filter(pl.col("symbol").is_in(symbols))
            await self._bus.publish(Metrics(self._exchange, changed))
