"""One engine, the rules it judges by, and its alerts as they are told; no bus, no store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl
import structlog

import screener
from screener.conditions import asks_all
from screenerd import timings
from screenerd.clock import Clock
from screenerd.columns import candles_frame
from screenerd.model import Alert, Bars, Candle, RuleSwitch, Stamps
from screenerd.screen.scope import Scope
from screenerd.switches import is_shadow, with_cooldowns

log = structlog.get_logger("screen")


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


class Judge:
    """Says what a candle raises.

    Attributes:
        status: what it has done.
        engine: the engine, which a rebuild may replace.
        rules: the rules before anybody switched them.
        switches: what was changed of them for everybody, by rule.
        judged_from: minutes that open before it were nobody's to judge, ms.
        listed: the first minute that is judged of symbols that were listed later, ms.
        known: (id, state) of alerts that are not to be told again.
        among_all: whether a rule in force asks something of all symbols.
    """

    def __init__(
        self, clock: Clock, *, exchange: str, rules: screener.RuleSet, scope: Scope
    ) -> None:
        """Takes the time, whose candles, the rules, and which part of the work is its own."""
        self.status = ScreenStatus()
        self.engine = screener.Engine(rules=scope.of(rules), exchange=exchange)
        self.rules = rules
        self.switches: dict[str, RuleSwitch] = {}
        self.judged_from = 0
        self.listed: dict[str, int] = {}
        self.known: set[tuple[str, str]] = set()
        self.among_all = False
        self._clock, self._scope = clock, scope
        self._told = {rule.name: rule for rule in rules}

    # Rules.

    def take_rules(self, rules: screener.RuleSet) -> None:
        """Other rules, which `apply_rules` puts into force."""
        self.rules = rules
        # What an old rule has raised may still be told.
        self._told |= {rule.name: rule for rule in rules}

    async def apply_rules(self) -> None:
        """Gives the engine the rules as they are now."""
        rules = self._scope.of(with_cooldowns(self.rules, self.switches))
        if rules != self.engine.rules:
            await self.set_rules(rules)
        self.among_all = asks_all(rules)

    async def set_rules(self, rules: screener.RuleSet) -> None:
        """Gives the engine rules; beside the loop, as new windows take time."""
        await asyncio.to_thread(self.engine.set_rules, rules)

    def restore(self, alerts: Sequence[Alert]) -> None:
        """Cooldowns as these alerts have left them."""
        columns = ("symbol", "rule", "triggered_at", "state")
        if alerts:
            self.engine.restore_alerts(
                pl.DataFrame({name: [getattr(one, name) for one in alerts] for name in columns})
            )

    # What is taken and not judged.

    def is_history(self, candle: Candle) -> bool:
        """Whether a minute closed before anybody was to judge it."""
        return candle.open_time < max(self.judged_from, self.listed.get(candle.symbol, 0))

    def warm_up(self, candles: Sequence[Candle]) -> None:
        """Takes history."""
        if candles:
            self.engine.warm_up(candles_frame(candles))

    def take_bars(self, bars: Bars) -> None:
        """Takes bars older than the minutes."""
        times, closes = [at for at, _ in bars.closes], [close for _, close in bars.closes]
        symbols = [bars.symbol] * len(times)
        self.engine.warm_up_bars(
            pl.DataFrame(
                {"symbol": symbols, "open_time": times, "close": closes},
                schema={"symbol": pl.String, "open_time": pl.Int64, "close": pl.Float64},
            ),
            bars.timeframe,
        )

    def forget(self, symbols: Iterable[str]) -> None:
        """Symbols that are followed no longer."""
        for symbol in symbols:
            self.engine.remove(symbol)
        self.count_symbols()

    def count_symbols(self) -> None:
        """Status tells how many symbols there are now."""
        self.status.symbols = len(self.engine.symbols)

    # What is judged.

    def judge(self, candles: Iterable[Candle]) -> list[Alert]:
        """What candles raise one after the other, as it is to be told; a bad one is logged."""
        return [alert for candle in candles for alert in self._judge_one(candle)]

    def advance(self, now: int) -> list[Alert]:
        """What rules raise that ask something of all symbols, of minutes whose time is up."""
        return self._news(self.engine.advance(now), None)

    def _judge_one(self, candle: Candle) -> list[Alert]:
        try:
            raised = self.engine.update(_given(candle))
        except screener.CandleError as error:
            self.status.refused += 1
            log.warning("candle refused", symbol=candle.symbol, error=str(error))
            return []
        self.status.candles += 1
        self.status.last_minute = max(self.status.last_minute, candle.open_time)
        return self._news(raised, candle)

    def _news(self, raised: Sequence[screener.Alert], candle: Candle | None) -> list[Alert]:
        """Those of the alerts that are to be told, and are not yet."""
        return [self._tell(alert, candle) for alert in raised if self._is_news(alert)]

    def _is_news(self, alert: screener.Alert) -> bool:
        switch = self.switches.get(alert.rule)
        return (
            (switch is None or switch.enabled)
            and (str(alert.id), alert.state) not in self.known
            and self._scope.judges(self._told[alert.rule])
        )

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
