"""The role: one engine, fed with every closed candle in its order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import structlog

import screener
from screenerd.bus.port import Bus, Message, Subscription
from screenerd.clock import Clock
from screenerd.columns import candles_frame
from screenerd.model import (
    MINUTE_MS,
    Alert,
    Bars,
    Candle,
    CandleBatch,
    Followed,
    Metrics,
    RuleSwitch,
    Stamps,
    Unfollowed,
)
from screenerd.screen import state
from screenerd.store.port import Store
from screenerd.switches import with_cooldowns

log = structlog.get_logger("screen")

NAME = "screen"
"""Its name among the bus's subscribers."""

REWIND_MS = 60 * MINUTE_MS
"""After a crash what arrived in so long before the newest stored minute is judged again, however
old its minutes are: it may have been stored and not judged when the process died. Alerts that are
stored already are not raised again."""

WARM_UP_MS = 1441 * MINUTE_MS
SYMBOLS_AT_ONCE = 50

METRICS_AFTER_SECONDS = 0.1
"""Metrics are told so long after the first close of a burst: most of its symbols are in by then."""

TIMEFRAMES = ("5m", "15m", "1h", "4h", "8h", "1d")


@dataclass(slots=True)
class ScreenStatus:
    """What health asks of this role."""

    symbols: int = 0
    candles: int = 0
    alerts: int = 0
    refused: int = 0
    last_minute: int = 0
    by_rule: dict[str, int] = field(default_factory=dict)


class Screen:
    """Feeds the engine and puts its alerts onto the bus."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        clock: Clock,
        *,
        exchange: str,
        rules: str = "futures",
        floors: bool = True,
        state_file: Path | None = None,
    ) -> None:
        """Takes its ports and the rules; subscribes at once, so that no candle is missed.

        Args:
            bus: where candles come from and alerts go to.
            store: what the engine is rebuilt from.
            clock: what tells the time.
            exchange: whose candles.
            rules: a preset's name or a TOML file.
            floors: whether floors are on.
            state_file: where the engine is kept over a clean stop, if anywhere.

        Raises:
            screener.RuleError: the rules cannot be loaded.
        """
        self.status = ScreenStatus()
        self.rebuilt = asyncio.Event()
        self.judged_from = 0
        self._bus, self._store, self._clock, self._exchange = bus, store, clock, exchange
        self._state_file = state_file
        self._rules = screener.RuleSet.load(rules, floors=floors)
        self._told = {rule.name: (rule.title, rule.direction) for rule in self._rules}
        self._engine = screener.Engine(rules=self._rules, exchange=exchange)
        self._raised: set[tuple[str, str]] = set()
        self._followed_from: dict[str, int] = {}
        self._switches: dict[str, RuleSwitch] = {}
        self._untold: set[str] = set()
        self._closed = asyncio.Event()
        self._messages: Subscription = bus.subscribe(
            NAME, CandleBatch, Bars, Followed, Unfollowed, RuleSwitch, limit=10_000
        )

    @property
    def rules(self) -> screener.RuleSet:
        """The rules as they were before anybody switched them."""
        return self._rules

    @property
    def engine(self) -> screener.Engine:
        """The engine, for metrics and state."""
        return self._engine

    async def run(self) -> None:
        """Rebuilds what it knew, then screens until the bus is closed."""
        await self._rebuild()
        self.rebuilt.set()
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._tell_metrics())
            async for message in self._messages:
                await self._take(message)
            telling.cancel()

    # What it knew.

    async def _rebuild(self) -> None:
        """The engine as it was saved, or else as the store has it.

        What closed before the very first start is not judged: it was nobody's.
        """
        self._switches = await self._store.rule_switches()
        self._apply_switches()
        mark = f"screen:{self._exchange}"
        self.judged_from = await self._store.first_seen(mark, self._clock.now_ms() - MINUTE_MS)
        held = await self._store.newest(self._exchange)
        newest = max(held.values(), default=None)
        if newest is not None and not await self._load(newest):
            await self._rebuild_from_store(sorted(held), newest)
        self._touch(self._engine.symbols)

    async def _load(self, newest: int) -> bool:
        if self._state_file is None:
            return False
        kept = await asyncio.to_thread(state.take, self._state_file, newest=newest)
        if kept is None:
            return False
        self._engine, self.judged_from = kept
        self._apply_switches()
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
            bars = await self._store.bars(self._exchange, timeframe)
            self._engine.warm_up_bars(bars, timeframe)
        start = self.judged_from - WARM_UP_MS
        for at in range(0, len(symbols), SYMBOLS_AT_ONCE):
            some = symbols[at : at + SYMBOLS_AT_ONCE]
            self._engine.warm_up(
                await self._store.minutes(self._exchange, some, start, self.judged_from)
            )
        await self._restore_alerts(start)
        now = self._clock.now_ms()
        for candle in await self._store.journal(
            self._exchange, self.judged_from, now + MINUTE_MS, opens_from=self.judged_from
        ):
            await self._judge(candle)
        self._raised.clear()

    async def _restore_alerts(self, since: int) -> None:
        """Cooldowns from the alerts before the hour that is judged again; those in it are known."""
        alerts = await self._store.alerts(since)
        before = [alert for alert in alerts if alert.triggered_at <= self.judged_from]
        self._raised = {
            (alert.id, alert.state) for alert in alerts if alert.triggered_at > self.judged_from
        }
        columns = ("symbol", "rule", "triggered_at", "state")
        if before:
            self._engine.restore_alerts(
                pl.DataFrame({name: [getattr(one, name) for one in before] for name in columns})
            )

    def _apply_switches(self) -> None:
        self._engine.set_rules(with_cooldowns(self._rules, self._switches))

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
            case Bars():
                self._take_bars(message)
            case Followed():
                self._followed_from |= dict.fromkeys(message.symbols, message.at - MINUTE_MS)
            case Unfollowed():
                for symbol in message.symbols:
                    self._engine.remove(symbol)
                self.status.symbols = len(self._engine.symbols)
            case RuleSwitch():
                self._switches[message.rule] = message
                self._apply_switches()

    async def _screen(self, batch: CandleBatch) -> None:
        history: list[Candle] = []
        judged: list[Candle] = []
        for candle in batch.candles:
            (history if self._is_history(candle) else judged).append(candle)
        self._warm_up(history)
        for candle in judged:
            await self._judge(candle)
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
            await asyncio.sleep(METRICS_AFTER_SECONDS)
            self._closed.clear()
            symbols, self._untold = list(self._untold), set()
            frame = await asyncio.to_thread(self._engine.snapshot)
            changed = frame.filter(pl.col("symbol").is_in(symbols))
            await self._bus.publish(Metrics(self._exchange, changed))

    def _is_history(self, candle: Candle) -> bool:
        """Whether a minute closed before anybody was to judge it."""
        return candle.open_time < self._followed_from.get(candle.symbol, self.judged_from)

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

    async def _judge(self, candle: Candle) -> None:
        try:
            raised = self._engine.update(_given(candle))
        except screener.CandleError as error:
            self.status.refused += 1
            log.warning("candle refused", symbol=candle.symbol, error=str(error))
            return
        self.status.candles += 1
        self.status.last_minute = max(self.status.last_minute, candle.open_time)
        for alert in raised:
            switch = self._switches.get(alert.rule)
            if switch is not None and not switch.enabled:
                continue
            if (str(alert.id), alert.state) not in self._raised:
                await self._bus.publish(self._tell(alert, candle))

    def _tell(self, alert: screener.Alert, candle: Candle) -> Alert:
        self.status.alerts += 1
        self.status.by_rule[alert.rule] = self.status.by_rule.get(alert.rule, 0) + 1
        title, direction = self._told[alert.rule]
        return Alert(
            id=str(alert.id),
            triggered_at=alert.triggered_at,
            exchange=alert.exchange,
            symbol=alert.symbol,
            rule=alert.rule,
            title=title,
            direction=direction,
            timeframe=alert.timeframe,
            price=alert.price,
            quote_volume=alert.quote_volume,
            change=alert.change,
            vcp=alert.vcp,
            state=alert.state,
            rule_version=alert.rule_version,
            evidence=dict(alert.evidence),
            stamps=Stamps(
                exchange_close=candle.close_time,
                exchange_event=candle.event_time,
                received=candle.received_at,
                decided=self._clock.now_ms(),
            ),
        )


def _given(candle: Candle) -> screener.Candle:
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
        event_time=candle.event_time,
        source=candle.source,
    )
