"""The role: one engine, fed with every closed candle in its order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl
import structlog

import screener
from screenerd.bus.port import Bus, Message, Subscription
from screenerd.clock import Clock
from screenerd.model import MINUTE_MS, Alert, Candle, CandleBatch, Stamps
from screenerd.store.port import Store

log = structlog.get_logger("screen")

NAME = "screen"
"""Its name among the bus's subscribers."""

REWIND_MS = 60 * MINUTE_MS
"""On a start over a store so much is judged again: what was stored and not judged when the process
died. Alerts have the same ids then, so what was raised already is raised once."""

CANDLE_COLUMNS = (
    "symbol", "open_time", "open", "high", "low", "close", "volume", "quote_volume",
    "trades", "taker_buy_volume", "taker_buy_quote_volume", "source",
)  # fmt: skip


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
    ) -> None:
        """Takes its ports and the rules; subscribes at once, so that no candle is missed."""
        self.status = ScreenStatus()
        self.rebuilt = asyncio.Event()
        self._bus, self._store, self._clock, self._exchange = bus, store, clock, exchange
        self._rules = screener.RuleSet.load(rules, floors=floors)
        self._told = {rule.name: (rule.title, rule.direction) for rule in self._rules}
        self.judged_from = 0
        self._engine = screener.Engine(rules=self._rules, exchange=exchange)
        self._candles: Subscription = bus.subscribe(NAME, CandleBatch, limit=10_000)

    @property
    def engine(self) -> screener.Engine:
        """The engine, for metrics and state."""
        return self._engine

    async def run(self) -> None:
        """Rebuilds what it knew, then screens until the bus is closed."""
        await self._rebuild()
        self.rebuilt.set()
        async for message in self._candles:
            await self._screen(message)

    async def _rebuild(self) -> None:
        """Warm up to the last hour, restore cooldowns, judge that hour again.

        Over an empty store nothing is judged that closed before the start: it was nobody's.
        """
        now = self._clock.now_ms()
        start = now - 1441 * MINUTE_MS
        held = await self._store.candles(self._exchange, None, start, now)
        self.judged_from = now - REWIND_MS if held else now - MINUTE_MS
        for timeframe in ("5m", "15m", "1h", "4h", "8h", "1d"):
            bars = await self._store.bars(self._exchange, timeframe)
            if bars:
                self._engine.warm_up_bars(
                    pl.DataFrame(
                        {
                            "symbol": [bar.symbol for bar in bars],
                            "open_time": [bar.open_time for bar in bars],
                            "close": [bar.close for bar in bars],
                        }
                    ),
                    timeframe,
                )
        self._warm_up([candle for candle in held if candle.open_time < self.judged_from])
        alerts = await self._store.alerts(start)
        if alerts:
            self._engine.restore_alerts(
                pl.DataFrame(
                    {
                        "symbol": [alert.symbol for alert in alerts],
                        "rule": [alert.rule for alert in alerts],
                        "triggered_at": [alert.triggered_at for alert in alerts],
                        "state": [alert.state for alert in alerts],
                    }
                )
            )
        for candle in held:
            if candle.open_time >= self.judged_from:
                await self._judge(candle)

    def _warm_up(self, candles: Sequence[Candle]) -> None:
        if candles:
            columns = {
                name: [getattr(candle, name) for candle in candles] for name in CANDLE_COLUMNS
            }
            self._engine.warm_up(pl.DataFrame(columns))
        self.status.symbols = len(self._engine.symbols)

    async def _screen(self, message: Message) -> None:
        if not isinstance(message, CandleBatch):
            return
        old = [candle for candle in message.candles if candle.open_time < self.judged_from]
        self._warm_up(old)
        for candle in message.candles:
            if candle.open_time >= self.judged_from:
                await self._judge(candle)
        self.status.symbols = len(self._engine.symbols)

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
