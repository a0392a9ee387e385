"""How the whole is, from what each process has told of itself. No socket here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from screenerd.clock import Clock
from screenerd.cluster.heard import SILENT_SECONDS, Heard
from screenerd.exchange.port import ConnectionStatus
from screenerd.health import STALE_MS, Signs, assess, rules_trouble, services
from screenerd.ingest.service import IngestStatus
from screenerd.model import (
    MINUTE_MS,
    Health,
    Report,
    RulesStatus,
    ServiceState,
    State,
    SymbolStatus,
    SystemStatus,
    Trouble,
)
from screenerd.notify.outbox import ChannelStatus
from screenerd.store.port import StoreHealth

T = TypeVar("T")

TAKEOVER_SECONDS = 12.0
"""What a standby is given before a part of the work that is nobody's is called down."""


@dataclass(frozen=True, slots=True)
class BusStatus:
    """Whether this process is connected to the bus, and if not why."""

    up: bool
    told: str = ""


@dataclass(slots=True)
class Observed:
    """What follows from every process's newest report.

    Attributes:
        exchange: whose market.
        clock: market time.
        shards: how many parts of the screening there have to be.
        seconds: time of the machine that never goes back: who is silent, is so whatever the market.
    """

    exchange: str
    clock: Clock
    shards: int
    seconds: Callable[[], float] = time.monotonic
    _heard: Heard = field(init=False)
    _began: float = field(init=False)
    _whole_at: float = field(init=False)

    def __post_init__(self) -> None:
        """Nothing has been heard yet: that means nothing for a while."""
        self._heard = Heard(self.seconds)
        self._began = self._whole_at = self.seconds()

    def take(self, report: Report) -> None:
        """A process has told how it is."""
        self._heard.take(report)

    def symbols(self) -> tuple[SymbolStatus, ...]:
        """How fresh each symbol is, by name."""
        return self._heard.symbols()

    def status(self, rules: RulesStatus, bus: BusStatus) -> SystemStatus:
        """What those who look from outside are told of the whole."""
        signs = self._signs(rules)
        health = self._health(signs, bus)
        last = signs.ingest.last_close
        return SystemStatus(
            exchange=self.exchange,
            health=health,
            services=self._services(signs, bus),
            now=signs.now,
            speed=round(1 / self.clock.real(1), 6),
            last_close=last + MINUTE_MS if last else 0,
            symbols=signs.ingest.symbols,
            warm=signs.ingest.warmed,
            rules=rules,
        )

    def _nobodys(self) -> list[int]:
        """Shards that no living worker judges."""
        left = sorted(set(range(self.shards)) - self._heard.judged())
        if not left:
            self._whole_at = self.seconds()
        return left

    def _signs(self, rules: RulesStatus) -> Signs:
        heard, now = self._heard, self.clock.now_ms()
        ingest, persist, notify = heard.ingest(), heard.active("persist"), heard.active("notify")
        told: dict[str, Any] = {} if ingest is None else ingest.body
        return Signs(
            now=now,
            ingest=_value(IngestStatus, told.get("ingest", {})),
            connections=[_value(ConnectionStatus, one) for one in told.get("connections", ())],
            refused_until=told.get("refused_until", 0),
            store=(
                StoreHealth("down", "no process that stores is heard of", 0, now)
                if persist is None
                else _value(StoreHealth, persist.body["store"])
            ),
            channels=(
                {}
                if notify is None
                else {
                    name: _value(ChannelStatus, one)
                    for name, one in notify.body["channels"].items()
                }
            ),
            lag=heard.lag(),
            rules=rules.fault,
        )

    def _health(self, signs: Signs, bus: BusStatus) -> Health:
        if not bus.up:
            told = bus.told or "not connected"
            trouble = Trouble("bus", told, "see that NATS runs and can be reached")
            more = () if signs.rules is None else (rules_trouble(signs.rules),)
            return Health("down", (trouble, *more))
        if self.seconds() - self._began < SILENT_SECONDS and self._heard.nothing:
            return Health("starting")
        health = assess(signs)
        missing = list(self._missing())
        if not missing:
            return health
        down = any(one.where in {"ingest", "screen"} for one in missing) and self._is_late()
        state: State = "down" if down or health.state == "down" else "degraded"
        if health.state == "starting" and not down:
            state = "starting"
        return Health(state, (*missing, *health.troubles))

    def _missing(self) -> Iterator[Trouble]:
        """Work that nobody does."""
        if self._heard.ingest() is None:
            yield _unheard("ingest")
        if left := self._nobodys():
            parts = ", ".join(map(str, left))
            told = f"nobody judges the symbols of {len(left)} of {self.shards} shards ({parts})"
            yield Trouble("screen", told, "see that `screenerd screen` runs, with a standby")
        elif self._heard.judged_until() == 0:
            yield Trouble("screen", "a worker still takes in the past", "it has to be done once")
        elif (behind := self._heard.behind()) > STALE_MS:
            told = f"minutes are judged {behind / 1000:.0f} s after they come in"
            yield Trouble("screen", told, "it catches up; give it more workers if it does not")
        for role in ("persist", "notify"):
            if self._heard.active(role) is None:
                yield _unheard(role)

    def _is_late(self) -> bool:
        """Whether what is missing has been missing for longer than a standby needs."""
        now = self.seconds()
        if self._heard.ingest() is None:
            return now - self._began > SILENT_SECONDS
        return now - self._whole_at > TAKEOVER_SECONDS

    def _services(self, signs: Signs, bus: BusStatus) -> dict[str, ServiceState]:
        told = services(signs) | {"nats": "up" if bus.up else "down"}
        left = self._nobodys()
        if not bus.up or len(left) == self.shards:
            told |= {"metrics_calculator": "down", "alert_engine": "down"}
        elif left or self._heard.behind() > STALE_MS:
            told |= {"metrics_calculator": "stale", "alert_engine": "stale"}
        return told


def _unheard(role: str) -> Trouble:
    return Trouble(role, "no process is heard of that does it", f"see that `screenerd {role}` runs")


def _value(kind: type[T], told: dict[str, Any]) -> T:
    """A status from what was told of it; what another version adds or lacks does not matter."""
    known = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in told.items() if name in known})
