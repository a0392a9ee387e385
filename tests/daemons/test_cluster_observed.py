"""What is said of the whole when processes tell, fall silent, and come back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from scripted import MovedClock

from screenerd.cluster.heard import SILENT_SECONDS
from screenerd.cluster.observed import TAKEOVER_SECONDS, BusStatus, Observed
from screenerd.cluster.reports import of_ingest, of_notify, of_persist
from screenerd.exchange.port import ConnectionStatus
from screenerd.ingest.service import IngestStatus
from screenerd.model import MINUTE_MS, Report, RulesStatus, SymbolStatus, SystemStatus
from screenerd.notify.outbox import ChannelStatus
from screenerd.store.port import StoreHealth

NOW = 1_732_190_400_000
UP = BusStatus(up=True)
SHARDS = 4


@dataclass
class Stage:
    """Processes that tell, at times that the test sets."""

    clock: MovedClock = field(default_factory=lambda: MovedClock(NOW))
    ingest: IngestStatus = field(
        default_factory=lambda: IngestStatus(
            symbols=2, warmed=2, started=True, last_close=NOW - 2 * MINUTE_MS
        )
    )
    observed: Observed = field(init=False)

    def __post_init__(self) -> None:
        """Begins to hear."""
        self.observed = Observed("binance", self.clock, SHARDS, self.clock.monotonic)

    def body(self, role: str) -> dict[str, Any]:
        """What a process of a role tells when all is well."""
        match role:
            case "ingest":
                self.ingest.last_close = self.clock.now_ms() - 2 * MINUTE_MS
                streams = [ConnectionStatus(1, symbols=2, delivering=True)]
                symbols = [SymbolStatus("BTCUSDT", NOW, warm=True, missing=0)]
                return of_ingest(self.ingest, streams, 0, symbols)
            case "screen":
                return {
                    "slot": 0,
                    "shards": list(range(SHARDS)),
                    "symbols": 2,
                    "alerts": 0,
                    "judged_until": self.clock.now_ms() - 2 * MINUTE_MS,
                }
            case "persist":
                return of_persist(StoreHealth("up", None, 0, NOW), active=True)
            case "notify":
                return of_notify({"hook": ChannelStatus()}, active=True)
        return {}

    def tell(self, *roles: str, instance: str = "one", **more: Any) -> None:
        """Processes tell how they are."""
        for role in roles:
            body = self.body(role) | {"lag": 0.0} | more
            self.observed.take(Report(role, instance, self.clock.now_ms(), body))

    def status(self, bus: BusStatus = UP) -> SystemStatus:
        """What is said of the whole."""
        return self.observed.status(RulesStatus(NOW), bus)

    def troubles(self) -> dict[str, str]:
        """What is not well, by where."""
        return {one.where: one.told for one in self.status().health.troubles}


ALL = ("ingest", "screen", "persist", "notify")


def test_all_is_well_when_everybody_tells_so() -> None:
    stage = Stage()
    assert stage.status().health.state == "starting"
    stage.tell(*ALL)
    status = stage.status()
    assert (status.health.state, status.health.troubles) == ("ok", ())
    assert set(status.services.values()) == {"up"}
    assert (status.symbols, status.warm) == (2, 2)
    assert [one.symbol for one in stage.observed.symbols()] == ["BTCUSDT"]


@pytest.mark.parametrize(
    ("silent", "state", "services"),
    [
        ("ingest", "down", {"data_collector": "down"}),
        ("screen", "degraded", {"alert_engine": "down", "metrics_calculator": "down"}),
        ("persist", "down", {"database": "down"}),
        ("notify", "degraded", {}),
    ],
)
def test_who_falls_silent_is_missed(silent: str, state: str, services: dict[str, str]) -> None:
    stage = Stage()
    stage.tell(*ALL)
    stage.clock.move(int(SILENT_SECONDS * 1000) + 500)
    stage.tell(*(role for role in ALL if role != silent))
    status = stage.status()
    assert status.health.state == state
    assert silent in stage.troubles() or (silent == "persist" and "store" in stage.troubles())
    assert services.items() <= status.services.items()
    stage.tell(silent)
    assert stage.status().health.state == "ok"


def test_shards_that_stay_nobodys_are_down() -> None:
    stage = Stage()
    stage.tell(*ALL)
    assert stage.status().health.state == "ok"
    for _ in range(int(TAKEOVER_SECONDS) + 1):
        stage.clock.move(1000)
        stage.tell("ingest", "persist", "notify")
        stage.tell("screen", shards=[0, 2])
        state = stage.status().health.state
    assert state == "down"
    assert "2 of 4 shards (1, 3)" in stage.troubles()["screen"]
    stage.tell("screen", instance="two", shards=[1, 3])
    assert stage.status().health.state == "ok"


def test_a_worker_that_cannot_keep_up_is_told() -> None:
    stage = Stage()
    stage.tell(*ALL)
    stage.tell("screen", instance="slow", judged_until=NOW - 10 * MINUTE_MS)
    status = stage.status()
    assert status.health.state == "degraded"
    assert status.services["alert_engine"] == "stale"
    assert "judged 480 s after" in stage.troubles()["screen"]
    stage.tell("screen", instance="slow", judged_until=0)
    assert "takes in the past" in stage.troubles()["screen"]
    assert stage.status().services["alert_engine"] == "stale"
    stage.tell("screen", instance="slow", judged_until=None)
    assert stage.status().health.state == "ok", "it has no symbols"
    stage.tell("screen", instance="slow")
    assert stage.status().health.state == "ok"


def test_of_two_that_ingest_the_one_that_is_ahead_counts() -> None:
    stage = Stage()
    stage.tell(*ALL)
    stage.ingest = replace(stage.ingest, started=False)
    stage.tell("ingest", instance="two")
    assert stage.status().health.state == "ok"


def test_minutes_that_stay_away_are_down_whoever_tells() -> None:
    stage = Stage()
    stage.tell(*ALL)
    old = stage.body("ingest")
    stage.clock.move(300_000)
    stage.tell("screen", "persist", "notify")
    stage.tell("ingest", **old)
    assert stage.status().health.state == "down"
    assert "no minute has closed" in stage.troubles()["data"]


def test_without_the_bus_nothing_is_known() -> None:
    stage = Stage()
    stage.tell(*ALL)
    status = stage.status(BusStatus(up=False, told="connection refused"))
    assert status.health.state == "down"
    assert status.health.troubles[0].told == "connection refused"
    assert status.services["nats"] == status.services["alert_engine"] == "down"


def test_the_store_that_is_down_is_told_as_who_stores_tells_it() -> None:
    stage = Stage()
    stage.tell("ingest", "screen", "notify")
    stage.tell("persist", **of_persist(StoreHealth("down", "no route", 9, NOW), active=True))
    assert stage.status().services["database"] == "down"
    assert "no route; 9 rows wait" in stage.troubles()["store"]


def test_what_another_version_tells_is_no_fault() -> None:
    stage = Stage()
    stage.tell(*ALL)
    body = stage.body("ingest")
    body["ingest"] |= {"newer": 1}
    del body["ingest"]["filled"]
    stage.tell("ingest", **body)
    assert stage.status().health.state == "ok"
