"""The whole engine of SPEC 2 to 5, one candle at a time, recomputed from nothing at each call."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from . import names
from .bars import bar_closes, indicators
from .ring import MINUTE_MS, RING_MINUTES, STATS, History, Stored, stored
from .rules import COOLDOWN_MS, PRESETS, Rule
from .windows import Value, down_streak, up_streak, window_metrics

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "screener")

Alert = dict[str, Any]


def alert_id(exchange: str, symbol: str, rule: str, triggered_at: int) -> str:
    """The id of SPEC 5.4."""
    return str(uuid.uuid5(NAMESPACE, f"{exchange}:{symbol}:{rule}:{triggered_at}"))


class View:
    """The metrics as they are with the last of `minutes` as the newest minute."""

    def __init__(self, minutes: Sequence[Stored], market_cap: float | None) -> None:
        """Look at every minute followed since the start, contiguous, oldest first."""
        self.minutes = minutes
        self.market_cap = market_cap
        self._windows: dict[int, dict[str, Value] | None] = {}
        self._indicators: dict[int, dict[str, float | None]] = {}

    @cached_property
    def plain(self) -> dict[str, Value]:
        """The metrics that have no window."""
        ring = self.minutes[-RING_MINUTES:]
        return {
            "up_streak": up_streak(ring),
            "down_streak": down_streak(ring),
            "price": ring[-1].close,
            "market_cap": self.market_cap,
        }

    def metric(self, name: str) -> Value:
        """The value of a metric, `None` where it is not ready."""
        kind, window = names.split(name)
        if not window:
            return self.plain[kind]
        length = names.window_minutes(window)
        if kind in names.INDICATORS:
            if length not in self._indicators:
                self._indicators[length] = indicators(bar_closes(self.minutes, length))
            return self._indicators[length][kind]
        if length not in self._windows:
            self._windows[length] = window_metrics(self.minutes, length)
        values = self._windows[length]
        return None if values is None else values[kind]

    def holds(self, rule: Rule, *, floors: bool) -> bool:
        """Whether a rule holds: all it names is ready, nothing of it pending, every clause true."""
        values: dict[str, Value] = {}
        for name in rule.names(floors=floors):
            value = self.metric(name)
            if value is None:
                return False
            values[name] = value
            named = names.minutes_named(name)
            if named and any(candle.pending for candle in self.minutes[-named:]):
                return False
        return all(clause.holds(values) for clause in rule.clauses(floors=floors))


class OracleEngine:
    """What `screener.Engine` computes, without any of its means."""

    def __init__(
        self,
        rules: str = "futures",
        floors: bool = False,
        evaluate: str = "close",
        exchange: str = "binance",
        gaps: str = "pending",
        windows: Iterable[str] = (),
    ) -> None:
        """Take the arguments of `screener.Engine`; rules are the name of a preset."""
        self.rules = PRESETS[rules]
        self.floors = floors
        self.evaluate = evaluate
        self.exchange = exchange
        self.pending_gaps = gaps == "pending"
        self.stats = dict.fromkeys(STATS, 0)
        lengths = set(names.DEFAULT_WINDOWS.values())
        lengths.update(names.window_minutes(name) for name in windows)
        for rule in self.rules:
            for name in rule.names(floors=floors):
                if names.split(name)[1]:
                    lengths.add(names.window_minutes(names.split(name)[1]))
        self.windows = [names.window_name(length) for length in sorted(lengths)]
        self._histories: dict[str, History] = {}
        self._provisional: dict[str, list[Alert]] = {}
        self._fired: dict[tuple[str, str], int] = {}
        self._market_caps: dict[str, float] = {}

    # -- what comes in

    def update(self, candle: Mapping[str, Any]) -> list[Alert]:
        """Take one candle and give the alerts it raises, ordered as SPEC says."""
        return self._update(candle, judge=True)

    def warm_up(self, candles: Iterable[Mapping[str, Any]]) -> None:
        """Take candles, oldest known first, without raising an alert."""

        def known_at(candle: Mapping[str, Any]) -> int:
            event_time: int | None = candle.get("event_time")
            return candle["open_time"] + MINUTE_MS if event_time is None else event_time

        for candle in sorted(candles, key=known_at):
            self._update(candle, judge=False)

    def set_market_cap(self, symbol: str, value: float) -> None:
        """Give the metric `market_cap` of a symbol."""
        self._market_caps[symbol] = value

    # -- what can be seen

    @property
    def symbols(self) -> list[str]:
        """The symbols followed."""
        return sorted(self._histories)

    def metrics(self, symbol: str) -> dict[str, Value]:
        """Every metric of a symbol by name; `None` where it is not ready."""
        history = self._histories[symbol]
        view = self._view(symbol, history.newest)
        found = {name: view.metric(name) for name in names.PLAIN_METRICS}
        for window in self.windows:
            for kind in names.WINDOW_METRICS:
                found[f"{kind}_{window}"] = view.metric(f"{kind}_{window}")
        for window in names.DEFAULT_WINDOWS:
            for kind in names.INDICATORS:
                found[f"{kind}_{window}"] = view.metric(f"{kind}_{window}")
        return found

    def candles(self, symbol: str) -> list[dict[str, Any]]:
        """The minutes the ring holds, oldest first."""
        history = self._histories[symbol]
        return [
            {
                "open_time": candle.minute * MINUTE_MS,
                "open": candle.open,
                "high": candle.high,
                "low": candle.low,
                "close": candle.close,
                "volume": candle.volume,
                "quote_volume": candle.quote_volume,
                "trades": candle.trades,
                "taker_buy_volume": candle.taker_buy_volume,
                "taker_buy_quote_volume": candle.taker_buy_quote_volume,
                "synthetic": candle.synthetic,
            }
            for candle in history.minutes(history.newest)[-RING_MINUTES:]
        ]

    # -- what happens to a candle

    def _update(self, mapping: Mapping[str, Any], *, judge: bool) -> list[Alert]:
        symbol = mapping["symbol"]
        candle = stored(mapping)
        history = self._histories.setdefault(symbol, History(self.pending_gaps, self.stats))
        alerts: list[Alert] = []

        if history.running and candle.minute > history.newest:
            history.close_by_force()
            if judge:
                alerts += self._judge_close(symbol, history.newest)

        was_running = history.running and candle.minute == history.newest
        kind = history.place(candle)
        changed = kind in ("appended", "updated", "corrected")
        if judge and changed:
            if not candle.closed:
                if self.evaluate == "update" and candle.source != "synthetic":
                    assert candle.event_time is not None
                    view = self._view(symbol, candle.minute)
                    raised = self._raise(symbol, view, candle.event_time, "provisional")
                    self._provisional.setdefault(symbol, []).extend(raised)
                    alerts += raised
            elif was_running or candle.minute == history.newest_closed:
                alerts += self._judge_close(symbol, candle.minute)
        return sorted(alerts, key=lambda a: (a["triggered_at"], a["symbol"], a["rule"]))

    def _judge_close(self, symbol: str, minute: int) -> list[Alert]:
        """Judge the newest closed minute; if it is the newest at all, settle what it had raised."""
        history = self._histories[symbol]
        view = self._view(symbol, minute)
        settled: list[Alert] = []
        if minute == history.newest:
            for alert in self._provisional.pop(symbol, []):
                rule = next(rule for rule in self.rules if rule.name == alert["rule"])
                state = "confirmed" if view.holds(rule, floors=self.floors) else "withdrawn"
                settled.append(self._alert(symbol, rule, view, alert["triggered_at"], state))
        if view.minutes[-1].source == "synthetic":
            return settled
        had = {alert["rule"] for alert in settled}
        close_time = (minute + 1) * MINUTE_MS
        return settled + self._raise(symbol, view, close_time, "confirmed", but=had)

    def _raise(
        self,
        symbol: str,
        view: View,
        triggered_at: int,
        state: str,
        but: Collection[str] = (),
    ) -> list[Alert]:
        """New alerts of the rules that hold and whose cooldown is over, `but` those left out."""
        raised = []
        for rule in self.rules:
            last = self._fired.get((symbol, rule.name))
            ready = last is None or (triggered_at > last and triggered_at >= last + COOLDOWN_MS)
            if rule.name not in but and ready and view.holds(rule, floors=self.floors):
                self._fired[symbol, rule.name] = triggered_at
                raised.append(self._alert(symbol, rule, view, triggered_at, state))
        return raised

    def _alert(self, symbol: str, rule: Rule, view: View, triggered_at: int, state: str) -> Alert:
        return {
            "id": alert_id(self.exchange, symbol, rule.name, triggered_at),
            "triggered_at": triggered_at,
            "exchange": self.exchange,
            "symbol": symbol,
            "rule": rule.name,
            "timeframe": rule.timeframe,
            "price": view.metric("price"),
            "quote_volume": view.metric(f"quote_volume_{rule.timeframe}"),
            "change": view.metric(f"change_{rule.timeframe}"),
            "vcp": view.metric(f"vcp_{rule.timeframe}"),
            "state": state,
            "evidence": {name: view.metric(name) for name in rule.names(floors=self.floors)},
        }

    def _view(self, symbol: str, newest: int) -> View:
        return View(self._histories[symbol].minutes(newest), self._market_caps.get(symbol))
