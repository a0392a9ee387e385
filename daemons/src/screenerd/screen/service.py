"""The role: one engine, fed with every closed candle in its order of arrival."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import polars as pl
import structlog

import screener
from screener.conditions import asks_all
from screenerd import timings, trace
from screenerd.bus.port import Bus, Message, Subscription
from screenerd.clock import Clock
from screenerd.columns import TIMEFRAMES, candles_frame
from screenerd.model import (
    MINUTE_MS,
    Alert,
    Bars,
    Candle,
    CandleBatch,
    Followed,
    Metrics,
    RulesChanged,
    RuleSwitch,
    Stamps,
    Unfollowed,
)
from screenerd.screen import state
from screenerd.screen.scope import WHOLE, Scope
from screenerd.store.port import FOREVER, Past, StoreError
from screenerd.switches import is_shadow, with_cooldowns, without

log = structlog.get_logger("screen")

REWIND_MS = 60 * MINUTE_MS
"""After a crash what arrived in so long before the newest stored minute is judged again, however
old its minutes are: it may have been stored and not judged when the process died. Alerts that are
stored already are not raised again."""

WARM_UP_MS = 1441 * MINUTE_MS
SYMBOLS_AT_ONCE = 50
CANDLES_AT_ONCE = 1_000
"""So many of the past are judged, or taken as history, before others of the process have a turn."""

METRICS_AFTER_SECONDS = 0.1
METRICS_LATEST = 5
"""Metrics are told when no candle came for so long, or at the latest so many times that after the
first of them: those of a burst together, and none while its alerts are on their way."""

LOOK_AMONG_ALL_SECONDS = 1.0
ON_THE_WAY_SECONDS = 1.0
"""A minute's time is up so much later than it is by the clock, in seconds of the machine, however
fast the clock goes: a candle that was received in time may be on its way here."""


_HEARD = (CandleBatch, Bars, Followed, Unfollowed, RuleSwitch, RulesChanged)


@dataclass(slots=True)
class ScreenStatus:
    """What health asks of this role; `alerts` and `by_rule` are without shadow ones."""

    symbols: int = 0
    candles: int = 0
    alerts: int = 0
    refused: int = 0
    last_minute: int = 0
    by_rule: dict[str, int] = field(default_factory=dict)
    shadow: dict[str, int] = field(default_factory=dict)

    def add(self, other: ScreenStatus) -> None:
        """Adds what another engine of the same work has done."""
        self.symbols += other.symbols
        self.candles += other.candles
        self.alerts += other.alerts
        self.refused += other.refused
        self.last_minute = max(self.last_minute, other.last_minute)
        for mine, its in ((self.by_rule, other.by_rule), (self.shadow, other.shadow)):
            for rule, count in its.items():
                mine[rule] = mine.get(rule, 0) + count


class Screen:
    """Feeds the engine and puts its alerts onto the bus."""

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
        self.status = ScreenStatus()
        self.rebuilt = asyncio.Event()
        self.judged_from = 0
        self._bus, self._store, self._clock, self._exchange = bus, store, clock, exchange
        self._state_file, self._scope = state_file, scope
        self._rules = rules
        self._told = {rule.name: rule for rule in rules}
        self._among_all = False
        self._engine = screener.Engine(rules=scope.of(rules), exchange=exchange)
        self._raised: set[tuple[str, str]] = set()
        self._listed: dict[str, int] = {}
        self._switches: dict[str, RuleSwitch] = {}
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
    def engine(self) -> screener.Engine:
        """The engine, for metrics and state."""
        return self._engine

    async def run(self) -> None:
        """Rebuilds what it knew, then screens until the bus is closed.

        Raises:
            StoreError: it could not be rebuilt.
        """
        await self._messages.begin()
        begun = time.monotonic()
        await self._rebuild()
        self.rebuilt.set()
        log.info(
            "rebuilt",
            part=self._scope.name,
            symbols=len(self._engine.symbols),
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

    # What it knew.

    async def _rebuild(self) -> None:
        """The engine as it was saved, or else as the store has it.

        What closed before the very first start is not judged, nor what closed before a symbol was
        listed: it was nobody's.
        """
        self._switches = await self._store.rule_switches()
        await self._apply_rules()
        mark = f"screen:{self._exchange}"
        [self.judged_from] = await self._store.first_seen([mark], self._clock.now_ms() - MINUTE_MS)
        self._listed = await self._store.judged_from(self._exchange)
        held = await self._store.newest(self._exchange)
        own = self._scope.symbols(held)
        newest = max((held[symbol] for symbol in own), default=None)
        if newest is not None and not await self._load(newest):
            await self._rebuild_from_store(own, newest)
        self._touch(self._engine.symbols)

    async def _load(self, newest: int) -> bool:
        if self._state_file is None:
            return False
        kept = await asyncio.to_thread(state.take, self._state_file, newest=newest)
        if kept is None:
            return False
        self._engine, self.judged_from = kept
        await self._apply_rules()
        self.status.last_minute = newest
        return True

    async def _rebuild_from_store(self, symbols: Sequence[str], newest: int) -> None:
        """Warms up to the last hour, restores cooldowns, and judges that hour as it arrived."""
        rewound = newest - REWIND_MS
        oldest = await self._store.oldest_arrival(
            self._exchange, rewound, opens_from=self.judged_from
        )
        self.judged_from = max(self.judged_from, min(rewound, oldest or rewound))
        for timeframe in TIMEFRAMES:
            bars = await self._store.bars(self._exchange, timeframe, symbols=symbols)
            self._engine.warm_up_bars(bars, timeframe)
        start = self.judged_from - WARM_UP_MS
        for at in range(0, len(symbols), SYMBOLS_AT_ONCE):
            some = symbols[at : at + SYMBOLS_AT_ONCE]
            self._engine.warm_up(
                await self._store.minutes(self._exchange, some, start, self.judged_from)
            )
        alerts = await self._store.alerts(start, symbols=symbols)
        await self._judge_again(symbols, alerts)

    async def _judge_again(self, symbols: Sequence[str], alerts: Sequence[Alert]) -> None:
        """What arrived in the last hour, by each rule from when it came into force as it is.

        Cooldowns come from the alerts before that; those in it are known, and not told again.
        """
        rules, now = self._engine.rules, self._clock.now_ms()
        candles = await self._store.journal(
            self._exchange,
            self.judged_from,
            FOREVER,
            opens_from=self.judged_from,
            symbols=symbols,
        )
        # What was listed meanwhile is in the journal, too.
        self._listed = await self._store.judged_from(self._exchange)
        self._restore([alert for alert in alerts if alert.triggered_at <= self.judged_from])
        self._raised = {
            (alert.id, alert.state) for alert in alerts if alert.triggered_at > self.judged_from
        }
        since = await self._since_when(rules)
        arrived = candles[0].received_at if candles else now
        missing = {name for name, at in since.items() if at > arrived}
        if missing and len(missing) < len(since):
            self._engine.set_rules(without(rules, missing))
        for run in _runs(candles, since.values(), self._is_history):
            if begun := {name for name in missing if since[name] <= run[0].received_at}:
                missing -= begun
                self._begin(without(rules, missing), begun, alerts)
            if len(missing) == len(since) or self._is_history(run[0]):
                self._warm_up(run)
            else:
                await self._publish([alert for candle in run for alert in self._judge(candle)])
            # What others of this process have to tell, that it lives for one, does not wait.
            await asyncio.sleep(0)
        if missing:
            self._begin(rules, missing, alerts)
        self._raised.clear()

    def _begin(
        self, rules: screener.RuleSet, begun: Collection[str], alerts: Sequence[Alert]
    ) -> None:
        """Some rules are in force from here on; as others of their names they may have raised."""
        self._engine.set_rules(rules)
        self._restore([alert for alert in alerts if alert.rule in begun])

    def _restore(self, alerts: Sequence[Alert]) -> None:
        columns = ("symbol", "rule", "triggered_at", "state")
        if alerts:
            self._engine.restore_alerts(
                pl.DataFrame({name: [getattr(one, name) for one in alerts] for name in columns})
            )

    async def _apply_rules(self) -> None:
        """Gives the engine the rules as they are now; beside the loop, as new windows take time."""
        rules = self._scope.of(with_cooldowns(self._rules, self._switches))
        if rules != self._engine.rules:
            await asyncio.to_thread(self._engine.set_rules, rules)
        self._among_all = asks_all(rules)
        self._to_note.set()

    async def _note_rules(self) -> None:
        """Keeps since when rules are in force; the disk may take its time, nothing waits for it."""
        while True:
            await self._to_note.wait()
            self._to_note.clear()
            try:
                await self._since_when(self._engine.rules)
            except StoreError as error:
                log.warning("rules not noted", error=str(error))

    async def _since_when(self, rules: screener.RuleSet) -> dict[str, int]:
        """When each rule came into force as it is, by name, ms; 0 where nobody knows."""
        now = self._clock.now_ms()
        names = ["rules", *(f"rule:{rule.name}:{rule.version}" for rule in rules)]
        first, *since = await self._store.first_seen(names, now)
        return {rule.name: 0 if at <= first else at for rule, at in zip(rules, since, strict=True)}

    async def keep(self) -> None:
        """Writes the engine down for the next start, once all it has raised is stored."""
        if self._state_file is None or not self.status.last_minute:
            return
        try:
            await asyncio.to_thread(
                state.save,
                self._state_file,
                self._engine,
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
                self._take_bars(message)
            case Followed():
                self._listed |= dict.fromkeys(message.symbols, message.judged_from)
            case Unfollowed():
                for symbol in message.symbols:
                    self._engine.remove(symbol)
                self.status.symbols = len(self._engine.symbols)
            case RuleSwitch():
                self._switches[message.rule] = message
                await self._apply_rules()
            case RulesChanged():
                self._rules = message.rules
                # What an old rule has raised may still be told.
                self._told |= {rule.name: rule for rule in message.rules}
                await self._apply_rules()

    async def _screen(self, batch: CandleBatch) -> None:
        history: list[Candle] = []
        judged: list[Candle] = []
        for candle in filter(lambda one: self._scope.owns(one.symbol), batch.candles):
            (history if self._is_history(candle) else judged).append(candle)
        self._warm_up(history)
        told: list[Alert] = []
        for candle in judged:
            told += self._judge(candle)
        await self._publish(told)
        # History comes in pieces: what it makes of the metrics is told with the next close.
        self._touch([candle.symbol for candle in judged])

    def _touch(self, symbols: Iterable[str]) -> None:
        """Metrics of these symbols have changed."""
        self.status.symbols = len(self._engine.symbols)
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
            frame = await asyncio.to_thread(self._engine.snapshot)
            changed = frame.filter(pl.col("symbol").is_in(symbols))
            await self._bus.publish(Metrics(self._exchange, changed))

    def _is_history(self, candle: Candle) -> bool:
        """Whether a minute closed before anybody was to judge it."""
        return candle.open_time < max(self.judged_from, self._listed.get(candle.symbol, 0))

    def _warm_up(self, candles: Sequence[Candle]) -> None:
        if candles:
            self._engine.warm_up(candles_frame(candles))

    def _take_bars(self, bars: Bars) -> None:
        times, closes = [at for at, _ in bars.closes], [close for _, close in bars.closes]
        symbols = [bars.symbol] * len(times)
        self._engine.warm_up_bars(
            pl.DataFrame(
                {"symbol": symbols, "open_time": times, "close": closes},
                schema={"symbol": pl.String, "open_time": pl.Int64, "close": pl.Float64},
            ),
            bars.timeframe,
        )

    def _judge(self, candle: Candle) -> list[Alert]:
        """What a candle raises, as it is to be told."""
        try:
            raised = self._engine.update(_given(candle))
        except screener.CandleError as error:
            self.status.refused += 1
            log.warning("candle refused", symbol=candle.symbol, error=str(error))
            return []
        self.status.candles += 1
        self.status.last_minute = max(self.status.last_minute, candle.open_time)
        return self._news(raised, candle)

    async def _judge_among_all(self) -> None:
        """Rules that ask something of all symbols, where the last of them does not come in time.

        What arrived before that is judged before it, so that a replay counts the same symbols.
        """
        while True:
            await self._clock.sleep(LOOK_AMONG_ALL_SECONDS)
            if self._messages.status.waiting == 0 and self._among_all:
                on_the_way = ON_THE_WAY_SECONDS / self._clock.real(1.0)
                now = self._clock.now_ms() - int(on_the_way * 1000)
                await self._publish(self._news(self._engine.advance(now), None))

    def _news(self, raised: Sequence[screener.Alert], candle: Candle | None) -> list[Alert]:
        """Those of the alerts that are to be told, and are not yet."""
        return [self._tell(alert, candle) for alert in raised if self._is_news(alert)]

    def _is_news(self, alert: screener.Alert) -> bool:
        switch = self._switches.get(alert.rule)
        return (
            (switch is None or switch.enabled)
            and (str(alert.id), alert.state) not in self._raised
            and self._scope.judges(self._told[alert.rule])
        )

    async def _publish(self, alerts: Sequence[Alert]) -> None:
        """Tells alerts, all at once: a bus may take its time for each."""
        if len(alerts) == 1:
            await self._bus.publish(alerts[0])
        elif alerts:
            await asyncio.gather(*map(self._bus.publish, alerts))
        for alert in alerts:
            log.debug("alert raised", correlation=trace.of_alert(alert), alert=alert.id)

    def _tell(self, alert: screener.Alert, candle: Candle | None) -> Alert:
        """The alert as it is told; `candle` is what raised it, if it was one."""
        now = self._clock.now_ms()
        own = candle is not None and candle.symbol == alert.symbol
        rule = self._told[alert.rule]
        shadow = is_shadow(rule, alert.symbol)
        counts = self.status.shadow if shadow else self.status.by_rule
        counts[alert.rule] = counts.get(alert.rule, 0) + 1
        self.status.alerts += not shadow
        stamps = Stamps(
            exchange_close=candle.close_time if candle and own else alert.triggered_at,
            exchange_event=candle.event_time if candle and own else None,
            received=candle.received_at if candle else now,
            decided=now,
        )
        timings.decided(stamps, self._clock)
        return Alert(
            id=str(alert.id),
            triggered_at=alert.triggered_at,
            exchange=alert.exchange,
            symbol=alert.symbol,
            rule=alert.rule,
            title=rule.title,
            direction=rule.direction,
            timeframe=alert.timeframe,
            price=alert.price,
            quote_volume=alert.quote_volume,
            change=alert.change,
            vcp=alert.vcp,
            state=alert.state,
            rule_version=alert.rule_version,
            evidence=dict(alert.evidence),
            stamps=stamps,
            shadow=shadow,
        )


def _runs(
    candles: Sequence[Candle], since: Iterable[int], is_history: Callable[[Candle], bool]
) -> Iterator[Sequence[Candle]]:
    """Candles in order of arrival, as many together as are taken alike, `CANDLES_AT_ONCE` at most.

    All of a run are history or none is, and no rule comes into force (`since`, ms) within it.
    """
    begins = sorted(since)

    def alike(numbered: tuple[int, Candle]) -> tuple[int, int, bool]:
        number, candle = numbered
        in_force = bisect_right(begins, candle.received_at)
        return number // CANDLES_AT_ONCE, in_force, is_history(candle)

    for _, run in groupby(enumerate(candles), alike):
        yield [candle for _, candle in run]


def _given(candle: Candle) -> screener.Candle:
    """A closed candle as the engine takes it: known since it was received, as a replay has it."""
    return screener.Candle(
        symbol=candle.symbol,
        open_time=candle.open_time,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        quote_volume=candle.quote_volume,
        trades=candle.trades,
        taker_buy_volume=candle.taker_buy_volume,
        taker_buy_quote_volume=candle.taker_buy_quote_volume,
        event_time=candle.received_at or candle.event_time,
        source=candle.source,
    )
