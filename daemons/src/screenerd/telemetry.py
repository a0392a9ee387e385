"""Figures for Prometheus, read from the statuses of the roles when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from screenerd import __version__, timings
from screenerd.exchange.port import ConnectionStatus
from screenerd.ingest.service import IngestStatus
from screenerd.model import SystemStatus
from screenerd.notify.outbox import ChannelStatus
from screenerd.persist.service import PersistStatus
from screenerd.score.service import ScoreStatus
from screenerd.screen.judge import ScreenStatus
from screenerd.serve.service import ServeStatus
from screenerd.store.port import StoreHealth

_STATES = ("starting", "ok", "degraded", "down")


@dataclass(frozen=True, slots=True)
class Figures:
    """What there is to tell, as it is now."""

    system: SystemStatus
    connections: Sequence[ConnectionStatus]
    ingest: IngestStatus
    screen: ScreenStatus
    persist: PersistStatus
    score: ScoreStatus
    store: StoreHealth
    channels: Mapping[str, ChannelStatus]
    serve: ServeStatus
    lag: float


class Telemetry(Collector):
    """Turns figures into Prometheus' text; keeps none itself."""

    def __init__(self, figures: Callable[[], Iterator[Metric]]) -> None:
        """Takes who knows the figures: `of_all` or `of_service` of what is as it is then."""
        self._figures = figures
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Every figure, in the text format of Prometheus."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: figures may not be known yet when this is registered."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Every figure."""
        yield from self._figures()


def of_all(figures: Figures) -> Iterator[Metric]:
    """What every role of the process tells."""
    yield from of_collector(figures.ingest, figures.connections)
    yield from of_engine(figures.screen)
    yield from of_store(figures.store, figures.persist, figures.score)
    yield from of_notifications(figures.channels)
    yield from of_service(figures.system, figures.serve)
    yield _gauge("screener_loop_lag_seconds", "Longest delay of the loop lately", figures.lag)


def of_process(lag: float) -> Iterator[Metric]:
    """What every process of one role tells of itself."""
    yield _gauge("screener_loop_lag_seconds", "Longest delay of the loop lately", lag)
    yield from _build()


def of_service(system: SystemStatus, serve: ServeStatus) -> Iterator[Metric]:
    """What the service alone tells: its clients, and how fresh what it serves is."""
    yield _gauge("api_gateway_websocket_connections", "Clients of the websocket", serve.clients)
    yield _counter("api_gateway_clients_dropped", "Clients that took nothing", serve.dropped)
    yield _counter("api_gateway_alerts_published", "Alerts to the websocket", serve.alerts)
    reloads = CounterMetricFamily(
        "alert_engine_rules_reloads", "Changes of the files of rules", labels=["outcome"]
    )
    reloads.add_metric(["loaded"], system.rules.loads)
    reloads.add_metric(["refused"], system.rules.failures)
    yield reloads
    refused = system.rules.fault is not None
    yield _gauge("alert_engine_rules_refused", "Whether files of rules are not in force", refused)
    if system.last_close:
        age = max(0.0, (system.now - system.last_close) / 1000)
        yield _gauge("data_collector_newest_close_age_seconds", "Since the newest close", age)
    state = GaugeMetricFamily("screener_health", "1 for the state it is in", labels=["state"])
    for name in _STATES:
        state.add_metric([name], name == system.health.state)
    yield state
    yield from _build()


def _build() -> Iterator[Metric]:
    build = GaugeMetricFamily("screener_build_info", "Which version runs", labels=["version"])
    build.add_metric([__version__], 1)
    yield build


def of_collector(ingest: IngestStatus, connections: Sequence[ConnectionStatus]) -> Iterator[Metric]:
    """What is collected, and how the streams do."""
    received = sum(one.frames for one in connections)
    delivering = sum(one.delivering for one in connections)
    yield _counter("data_collector_messages_received", "Frames of all streams", received)
    yield _gauge("data_collector_websocket_connections", "Streams that deliver", delivering)
    yield _gauge("data_collector_symbols", "Symbols that are followed", ingest.symbols)
    yield _gauge("data_collector_symbols_lacking", "Symbols that lack minutes", ingest.missing)
    told = "Whether the longer bars that indicators need were asked for"
    yield _gauge("data_collector_bars_ready", told, ingest.bars_ready)
    candles = CounterMetricFamily(
        "data_collector_candles", "Closed minutes, by what became of them", labels=["outcome"]
    )
    for outcome in ("closed", "filled", "absent", "corrected", "duplicates", "rejected"):
        candles.add_metric([outcome], getattr(ingest, outcome))
    yield candles
    yield _counter("data_collector_dead_letters", "Frames not understood", ingest.dead_letters)
    yield from timings.FRESHNESS.collect()


def of_engine(screen: ScreenStatus) -> Iterator[Metric]:
    """What is judged, and what comes of it."""
    yield _counter("metrics_calculator_candles", "Candles judged", screen.candles)
    yield _counter("metrics_calculator_candles_refused", "Candles refused", screen.refused)
    alerts = CounterMetricFamily(
        "alert_engine_alerts_triggered", "Alerts, by rule", labels=["alert_type"]
    )
    for rule, count in sorted(screen.by_rule.items()):
        alerts.add_metric([rule], count)
    yield alerts
    shadow = CounterMetricFamily(
        "alert_engine_shadow_alerts",
        "Alerts that were told to nobody, by rule",
        labels=["alert_type"],
    )
    for rule, count in sorted(screen.shadow.items()):
        shadow.add_metric([rule], count)
    yield shadow
    yield from timings.DECIDED.collect()


def of_store(store: StoreHealth, persist: PersistStatus, score: ScoreStatus) -> Iterator[Metric]:
    """What is stored and scored."""
    yield _gauge("database_up", "Whether writes are committed", store.state == "up")
    yield _gauge("database_rows_waiting", "Rows that wait for a commit", store.pending)
    yield _counter("database_candles_written", "Candles written", persist.candles)
    yield _counter("database_alerts_written", "Alerts written", persist.alerts)
    scored = CounterMetricFamily(
        "scorecard_alerts", "Alerts scored, by whether all of it is known", labels=["outcome"]
    )
    scored.add_metric(["whole"], score.scored - score.unknown)
    scored.add_metric(["unknown"], score.unknown)
    yield scored
    yield _gauge("scorecard_alerts_waiting", "Alerts that lack minutes", score.waiting)
    yield from timings.INSERT.collect()
    yield from timings.STORED.collect()


def of_notifications(channels: Mapping[str, ChannelStatus]) -> Iterator[Metric]:
    """What goes out."""
    told = CounterMetricFamily(
        "notifier_alerts", "Alerts of a channel, by outcome", labels=["channel", "outcome"]
    )
    waiting = GaugeMetricFamily(
        "notifier_alerts_waiting", "Alerts that wait for a channel", labels=["channel"]
    )
    for name, status in sorted(channels.items()):
        for outcome in ("sent", "failed", "limited", "dead"):
            told.add_metric([name, outcome], getattr(status, outcome))
        waiting.add_metric([name], status.waiting)
    yield told
    yield waiting
    yield from timings.SENT.collect()


def _counter(name: str, told: str, value: float) -> Metric:
    return CounterMetricFamily(name, told, value=value)


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(name, told, value=value)
