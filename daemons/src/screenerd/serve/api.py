"""What each route does: from the newest of everything, else from the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import polars as pl

from screener import Rule
from screenerd.bus.port import Bus
from screenerd.clock import Clock
from screenerd.model import MINUTE_MS, SettingsChanged, SymbolStatus, SystemStatus
from screenerd.outside import iso
from screenerd.serve import candles, encode
from screenerd.serve.board import SPARKLINE_MINUTES, Board
from screenerd.serve.endpoint import Call, Endpoint
from screenerd.serve.errors import not_found
from screenerd.serve.hub import Hub
from screenerd.serve.latest import Latest, page_around, with_latest
from screenerd.serve.port import ServeStore
from screenerd.serve.recent import Recent
from screenerd.serve.schemas import (
    AlertsAnswer,
    AlertsQuery,
    CandlesAnswer,
    CandlesQuery,
    ExplainAnswer,
    ExplainQuery,
    HealthAnswer,
    MetricsAnswer,
    ProbeAnswer,
    RuleAnswer,
    RuleChange,
    RulesAnswer,
    ScorecardAnswer,
    ScorecardQuery,
    SettingsAnswer,
    SettingsChange,
    SparklinesAnswer,
    SymbolsAnswer,
)
from screenerd.serve.users import Users
from screenerd.store.port import AlertFilter, Settings
from screenerd.switches import is_shadow

MOST_MINUTES = 200_000
"""Minutes read for one answer; of long candles there may be fewer than asked for."""

SYMBOLS_FRESH_SECONDS = 1.0
"""What changes with the minute need not be counted for every request."""

SCORES_FRESH_SECONDS = 15.0
"""An alert is scored hours after it was raised: nobody waits for the newest."""

_STATUS = {"ok": "healthy", "starting": "degraded", "degraded": "degraded", "down": "unhealthy"}


class Api:
    """The routes of the API."""

    def __init__(
        self,
        board: Board,
        latest: Latest,
        hub: Hub,
        users: Users,
        store: ServeStore,
        bus: Bus,
        clock: Clock,
        status: Callable[[], SystemStatus],
        symbols: Callable[[], Sequence[SymbolStatus]],
        prometheus: Callable[[], bytes],
    ) -> None:
        """Takes what it answers from."""
        self._board, self._latest, self._hub = board, latest, hub
        self._users, self._store = users, store
        self._bus, self._clock, self._status = bus, clock, status
        self._symbols, self._prometheus = symbols, prometheus
        self._pages: Recent[bytes] = Recent(lambda: clock.real(clock.monotonic()))
        self._lists: Recent[bytes] = Recent(lambda: clock.real(clock.monotonic()))

    def endpoints(self) -> list[Endpoint]:
        """Every route."""
        symbol, rule = {"symbol": "BTCUSDT"}, {"name": "pioneer_bull"}
        return [
            Endpoint(
                "GET", "/api/health", self.health, "Is the data fresh?", HealthAnswer, scope=None
            ),
            Endpoint(
                "GET", "/health/live", self.live, "Is the process alive?", ProbeAnswer, scope=None
            ),
            Endpoint(
                "GET",
                "/health/ready",
                self.ready,
                "Is the data fresh? For probes.",
                ProbeAnswer,
                scope=None,
                errors=(503,),
            ),
            Endpoint(
                "GET",
                "/api/symbols",
                self.symbols,
                "What is followed, and how fresh.",
                SymbolsAnswer,
            ),
            Endpoint(
                "GET",
                "/api/alerts",
                self.alerts,
                "Alerts, newest first.",
                AlertsAnswer,
                AlertsQuery,
                errors=(503,),
                arrow=True,
            ),
            Endpoint(
                "GET",
                "/api/metrics",
                self.all_metrics,
                "The metrics of every symbol.",
                list[MetricsAnswer],
                arrow=True,
            ),
            Endpoint(
                "GET",
                "/api/metrics/{symbol}",
                self.metrics,
                "The metrics of one symbol.",
                MetricsAnswer,
                errors=(404,),
                arrow=True,
                names=symbol,
            ),
            Endpoint(
                "GET",
                "/api/sparklines",
                self.sparklines,
                "The last hour of every symbol.",
                SparklinesAnswer,
            ),
            Endpoint(
                "GET",
                "/api/candles",
                self.candles,
                "Candles, oldest first.",
                CandlesAnswer,
                CandlesQuery,
                errors=(404, 503),
                arrow=True,
            ),
            Endpoint(
                "GET",
                "/api/rules",
                self.rules,
                "The rules, as they are for the caller.",
                RulesAnswer,
            ),
            Endpoint(
                "PUT",
                "/api/rules/{name}",
                self.change_rule,
                "Switches a rule: for the caller; by an administrator for everybody.",
                RuleAnswer,
                body=RuleChange,
                scope="write",
                errors=(404, 503),
                names=rule,
            ),
            Endpoint(
                "GET",
                "/api/explain",
                self.explain,
                "What a rule sees of a symbol now: each clause with its margin.",
                ExplainAnswer,
                ExplainQuery,
                errors=(404,),
            ),
            Endpoint(
                "GET",
                "/api/scorecard",
                self.scorecard,
                "How good each rule was, by what came after its alerts.",
                ScorecardAnswer,
                ScorecardQuery,
                errors=(503,),
            ),
            Endpoint(
                "GET",
                "/api/settings",
                self.settings,
                "What the caller has chosen.",
                SettingsAnswer,
                errors=(503,),
            ),
            Endpoint(
                "POST",
                "/api/settings",
                self.change_settings,
                "Chooses.",
                SettingsAnswer,
                body=SettingsChange,
                scope="write",
                errors=(404, 503),
            ),
            Endpoint(
                "GET",
                "/metrics",
                self.prometheus,
                "For Prometheus.",
                media="text/plain; version=0.0.4; charset=utf-8",
            ),
        ]

    async def health(self, _call: Call) -> bytes:
        """What is well, and what is not."""
        status = self._status()
        behind = (status.now - status.last_close) / 1000 if status.last_close else None
        value = {
            "status": _STATUS[status.health.state],
            "services": status.services,
            "timestamp": iso(status.now),
            "details": {
                "state": status.health.state,
                "troubles": [
                    {"where": one.where, "told": one.told, "remedy": one.remedy}
                    for one in status.health.troubles
                ],
                "behind_seconds": behind,
                "symbols": status.symbols,
                "warmed": status.warm,
                "latency_ms": {
                    "p50": self._board.latency(0.5),
                    "p99": self._board.latency(0.99),
                },
                "clients": len(self._hub.clients),
                "speed": status.speed,
                "now": iso(status.now),
            },
        }
        return orjson.dumps(value)

    async def live(self, _call: Call) -> bytes:
        """It answers, so it lives."""
        return b'{"status":"ok"}'

    async def ready(self, _call: Call) -> tuple[int, bytes]:
        """Whether what it answers is fresh."""
        if self._status().health.state in {"ok", "degraded"}:
            return 200, b'{"status":"ok"}'
        return 503, b'{"status":"unavailable"}'

    async def symbols(self, _call: Call) -> bytes:
        """Every symbol that is followed."""
        return await self._lists.get("symbols", self._all_symbols, fresh=SYMBOLS_FRESH_SECONDS)

    async def _all_symbols(self) -> bytes:
        exchange = self._status().exchange
        told = [
            {
                "symbol": one.symbol,
                "exchange": exchange,
                "last_close": iso(one.last_close) if one.last_close else None,
                "warm": one.warm,
                "missing": one.missing,
            }
            for one in self._symbols()
        ]
        return orjson.dumps({"symbols": told})

    async def alerts(self, call: Call) -> bytes:
        """A page of alerts."""
        query: AlertsQuery = call.query
        return await self._pages.get(
            ("alerts", query, call.arrow, self._hub.offset),
            lambda: self._alerts(query, arrow=call.arrow),
        )

    async def _alerts(self, query: AlertsQuery, *, arrow: bool) -> bytes:
        wanted = AlertFilter(query.symbol, query.type, query.since, query.shadow)
        # What is told from here on may be in the page already.
        named, told_before = self._latest.ids, self._latest.wanted(wanted)
        offset, limit = page_around(query.offset, query.limit, len(told_before))
        page = await self._store.alert_page(wanted, limit, offset, named)
        self._latest.stored(page.held)
        latest = [one for one in told_before if one.id not in page.held]
        found, total = with_latest(page, latest, query.offset, query.limit)
        told = [encode.alert_value(alert, self._users.rules) for alert in found]
        if arrow:
            return encode.arrow(encode.alerts_table(told))
        answer = {"alerts": told, "total": total, "limit": query.limit, "offset": query.offset}
        return orjson.dumps(answer)

    async def all_metrics(self, call: Call) -> bytes:
        """The metrics of every symbol."""
        if call.arrow:
            return _arrow_of(await self._board.rows())
        told = await self._board.metrics()
        return b"[%b]" % b",".join(told[symbol] for symbol in sorted(told))

    async def metrics(self, call: Call) -> bytes:
        """The metrics of one symbol."""
        symbol = call.path["symbol"]
        told = (await self._board.metrics()).get(symbol)
        if told is None:
            raise not_found("metrics of symbol", symbol, "GET /api/symbols lists what is followed")
        return _arrow_of(await self._board.rows(symbol)) if call.arrow else told

    async def sparklines(self, _call: Call) -> bytes:
        """The newest closes of every symbol."""
        return await self._lists.get("sparklines", self._sparklines)

    async def _sparklines(self) -> bytes:
        return b'{"minutes":%d,"symbols":%b}' % (SPARKLINE_MINUTES, self._board.sparklines())

    async def candles(self, call: Call) -> bytes:
        """A page of candles."""
        query: CandlesQuery = call.query
        return await self._pages.get(
            ("candles", query, call.arrow), lambda: self._candles(query, arrow=call.arrow)
        )

    async def _candles(self, query: CandlesQuery, *, arrow: bool) -> bytes:
        minutes = candles.INTERVALS[query.interval]
        length = minutes * MINUTE_MS
        start = None if query.start is None else query.start - query.start % length
        most = min(query.limit * minutes, MOST_MINUTES)
        exchange = self._status().exchange
        rows = await self._store.page(exchange, query.symbol, start, query.end, most)
        if not rows and all(one.symbol != query.symbol for one in self._symbols()):
            remedy = "GET /api/symbols lists what is followed"
            raise not_found("candles of symbol", query.symbol, remedy)
        full = len(rows) == most
        if length == MINUTE_MS and not arrow:
            end = rows[-1][0] + length if full and start is not None else None
            return _candles_page(query, candles.minutes_json(rows), end)
        made = candles.candles(rows, length)
        chosen = made.tail(query.limit) if start is None else made.head(query.limit)
        if arrow:
            time = pl.col("open_time").cast(pl.Datetime("ms", "UTC"))
            return encode.arrow(chosen.with_columns(time))
        more = start is not None and (full or chosen.height < made.height)
        end = chosen["open_time"].to_list()[-1] + length if more else None
        return _candles_page(query, candles.frame_json(chosen), end)

    async def rules(self, call: Call) -> bytes:
        """The rules, as they are for the caller."""
        # An administrator sees those of everybody.
        whose = (call.caller.id, call.caller.may("admin"))
        key = ("rules", whose, self._users.changes, self._status().rules)
        return await self._lists.get(key, lambda: self._rules(call))

    async def _rules(self, call: Call) -> bytes:
        status = self._status().rules
        rules = [self._rule(rule, call) for rule in self._users.rules]
        told: dict[str, Any] = {"rules": rules, "loaded_at": iso(status.loaded_at)}
        told["fault"] = None
        if (fault := status.fault) is not None:
            told["fault"] = {
                "file": fault.file,
                "message": fault.told,
                "line": fault.line,
                "column": fault.column,
                "since": iso(fault.since),
            }
        return orjson.dumps(told)

    async def change_rule(self, call: Call) -> bytes:
        """Switches a rule for the caller, or for everybody."""
        name, change = call.path["name"], call.body
        if name not in self._users.rules:
            raise not_found("rule", name, "GET /api/rules lists them")
        if call.caller.may("admin"):
            await self._bus.publish(await self._users.change_for_all(name, change))
        else:
            await self._users.change(call.caller.id, name, change)
            await self._bus.publish(SettingsChanged(call.caller.id))
        return orjson.dumps(self._rule(self._users.rules[name], call))

    async def explain(self, call: Call) -> bytes:
        """A rule's truth table at the newest minute of a symbol."""
        query: ExplainQuery = call.query
        rules = self._users.rules
        if query.rule not in rules:
            raise not_found("rule", query.rule, "GET /api/rules lists them", field="rule")
        rows = await self._board.rows(query.symbol)
        if rows is None or rows.is_empty():
            remedy = "GET /api/symbols lists what is followed"
            raise not_found("metrics of symbol", query.symbol, remedy, field="symbol")
        seen = rows.row(0, named=True)
        return orjson.dumps(encode.explained(seen, rules[query.rule], rules))

    async def scorecard(self, call: Call) -> bytes:
        """How each rule did."""
        query: ScorecardQuery = call.query
        # Titles are of the rules that are in force now.
        key = ("scorecard", query, self._users.changes)
        return await self._pages.get(
            key, lambda: self._scorecard(query), fresh=SCORES_FRESH_SECONDS
        )

    async def _scorecard(self, query: ScorecardQuery) -> bytes:
        scores = await self._store.scorecard(query.since or 0, query.type)
        return orjson.dumps(encode.scorecard_value(scores, self._users.rules, query.type))

    async def settings(self, call: Call) -> bytes:
        """What the caller has chosen."""
        return _settings(await self._store.settings(call.caller.id))

    async def change_settings(self, call: Call) -> bytes:
        """Keeps what the caller chooses."""
        change: SettingsChange = call.body
        for rule in change.selected_alerts or ():
            if rule not in self._users.rules:
                raise not_found("rule", rule, "GET /api/rules lists them", field="selected_alerts")
        settings = change.applied_to(await self._store.settings(call.caller.id))
        await self._store.set_settings(call.caller.id, settings, self._clock.now_ms())
        await self._bus.publish(SettingsChanged(call.caller.id))
        return _settings(settings)

    async def prometheus(self, _call: Call) -> bytes:
        """Figures for Prometheus."""
        return self._prometheus()

    def _rule(self, rule: Rule, call: Call) -> dict[str, Any]:
        everybody = self._users.everybody.get(rule.name)
        own = None if call.caller.may("admin") else self._users.of(call.caller.id).get(rule.name)
        cooldowns = [one.cooldown_ms for one in (own, everybody) if one is not None]
        cooldown = next((ms for ms in cooldowns if ms is not None), rule.cooldown)
        return {
            "name": rule.name,
            "title": rule.title,
            "timeframe": rule.timeframe,
            "direction": rule.direction,
            "when": rule.when,
            "floor": rule.floor if self._users.rules.floors else None,
            "cooldown_seconds": cooldown / 1000,
            "enabled": rule.enabled
            and all(one.enabled for one in (own, everybody) if one is not None),
            "shadow": is_shadow(rule),
            "version": rule.version,
        }


def _candles_page(query: CandlesQuery, told: bytes, following: int | None) -> bytes:
    head = {"symbol": query.symbol, "interval": query.interval}
    after = None if following is None else iso(following)
    return b'%b,"candles":%b,"next":%b}' % (orjson.dumps(head)[:-1], told, orjson.dumps(after))


def _arrow_of(rows: pl.DataFrame | None) -> bytes:
    return encode.arrow(pl.DataFrame() if rows is None else encode.metrics_table(rows))


def _settings(settings: Settings) -> bytes:
    return orjson.dumps(
        {
            "selected_alerts": list(settings.selected_alerts),
            "webhook_url": settings.webhook_url,
            "notification_enabled": settings.notification_enabled,
        }
    )
