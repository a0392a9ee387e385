"""What each role tells Prometheus, with every family there is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prometheus_client import Metric

from screenerd import telemetry, timings
from screenerd.clock import SystemClock
from screenerd.exchange.port import ConnectionStatus
from screenerd.ingest.service import IngestStatus
from screenerd.model import Candle, Health, RulesStatus, Stamps, SystemStatus
from screenerd.notify.outbox import ChannelStatus
from screenerd.persist.service import PersistStatus
from screenerd.score.service import ScoreStatus
from screenerd.screen.judge import ScreenStatus
from screenerd.serve.service import ServeStatus
from screenerd.store.port import StoreHealth

CLOCK = SystemClock()
STAMPS = Stamps(
    exchange_close=1_000_000, exchange_event=None, received=1_000_050, decided=1_000_070
)
ROLES = ("ingest", "screen", "persist", "notify", "serve")


def candle() -> Candle:
    """A closed minute that a stream told."""
    return Candle("BTCUSDT", 60_000, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, received_at=120_010)


def of_role(role: str) -> str:
    """The text of a role that has done each thing once."""
    timings.received(candle(), CLOCK)
    timings.decided(STAMPS, CLOCK)
    timings.sent("desk", STAMPS, STAMPS.decided + 100, CLOCK)
    for rows in ("candles", "alerts", "metrics"):
        timings.INSERT.labels(rows).observe(0.01)
        timings.stored(rows, [CLOCK.now_ms()], CLOCK)
    return text_of(role)


def text_of(role: str) -> str:
    """The text of a role as it is."""
    return telemetry.Telemetry(lambda: _figures(role)).text().decode()


def names(text: str) -> set[str]:
    """The names of the series in a text."""
    return {found[0] for found in re.findall(r"^([a-z_]+)(\{| )", text, re.MULTILINE)}


def _figures(role: str) -> Iterator[Metric]:
    match role:
        case "ingest":
            yield from telemetry.of_collector(IngestStatus(), [_connection()])
        case "screen":
            rules = {"big_bull_60": 1}
            yield from telemetry.of_engine(ScreenStatus(by_rule=rules, shadow=rules))
        case "persist":
            store = StoreHealth("up", "", 0, 0)
            yield from telemetry.of_store(store, PersistStatus(), ScoreStatus())
        case "notify":
            yield from telemetry.of_notifications({"desk": ChannelStatus()})
        case "serve":
            yield from telemetry.of_service(_system(), ServeStatus())
    if role != "serve":
        yield from telemetry.of_process(0.0)


def _connection() -> ConnectionStatus:
    return ConnectionStatus(number=0)


def _system() -> SystemStatus:
    return SystemStatus(
        exchange="binance",
        health=Health("ok"),
        services={},
        now=180_000,
        speed=1.0,
        last_close=120_000,
        symbols=1,
        warm=1,
        rules=RulesStatus(loaded_at=0),
    )
