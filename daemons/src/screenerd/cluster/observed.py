"""What is known of the whole from what each process tells of itself. No socket here.

A process that has told nothing for `SILENT_SECONDS` counts as gone: what it would say is not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from screenerd.clock import Clock
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

SILENT_SECONDS = 4.0
"""A process that has told nothing for so long, in seconds of the machine, counts as gone."""

TAKEOVER_SECONDS = 12.0
"""What a standby is given before a part of the work that is nobody's is called down."""


@dataclass(frozen=True, slots=True)
class BusStatus:
    """Whether this process is connected to the bus, and if not why."""

    up: bool
    told: str = ""


@dataclass(slots=True)
class Observed:
    """Every process's newest report, and what follows from them.

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
    _newest: dict[tuple[str, str], tuple[float, Report]] = field(default_factory=dict)
    _began: float = field(init=False)
    _whole_at: float = field(init=False)

    def __post_init__(self) -> None:
        """Nothing has been heard yet: that means nothing for a while."""
        self._began = self._whole_at = self.seconds()

    def take(self, report: Report) -> None:
        """A process has told how it is."""
        now = self.seconds()
        self._newest[report.role, report.instance] = (now, report)
        for key, (at, _) in tuple(self._newest.items()):
            if now - at > SILENT_SECONDS:
                del self._newest[key]

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

    def symbols(self) -> tuple[SymbolStatus, ...]:
        """How fresh each symbol is, by name."""
        ingest = self._ingest()
        found = () if ingest is None else ingest.body["symbols"]
        return tuple(SymbolStatus(*one) for one in found)

    def processes(self) -> dict[str, int]:
        """How many processes of each role there are."""
        counts: dict[str, int] = {}
        for report in self._living():
            counts[report.role] = counts.get(report.role, 0) + 1
        return counts

    # What is known.

    def _living(self, role: str | None = None) -> Iterator[Report]:
        now = self.seconds()
        for at, report in self._newest.values():
            if now - at <= SILENT_SECONDS and role in (None, report.role):
                yield report

    def _ingest(self) -> Report | None:
        """Of several that ingest, the one that is ahead."""
        return max(
            self._living("ingest"),
            key=lambda one: (one.body["ingest"]["started"], one.body["ingest"]["last_close"]),
            default=None,
        )

    def _active(self, role: str) -> Report | None:
        return next((one for one in self._living(role) if one.body["active"]), None)

    def _nobodys(self) -> list[int]:
        """Shards that no living worker judges."""
        judged = {shard for one in self._living("screen") for shard in one.body["shards"]}
        left = sorted(set(range(self.shards)) - judged)
        if not left:
            self._whole_at = self.seconds()
        return left

    def _signs(self, rules: RulesStatus) -> Signs:
        ingest, persist, notify = self._ingest(), self._active("persist"), self._active("notify")
        told: dict[str, Any] = {} if ingest is None else ingest.body
        now = self.clock.now_ms()
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
            lag=max((one.body.get("lag", 0.0) for one in self._living()), default=0.0),
            rules=rules.fault,
        )

    # What follows.

    def _health(self, signs: Signs, bus: BusStatus) -> Health:
        if not bus.up:
            told = bus.told or "not connected"
            trouble = Trouble("bus", told, "see that NATS runs and can be reached")
            more = () if signs.rules is None else (rules_trouble(signs.rules),)
            return Health("down", (trouble, *more))
        if self.seconds() - self._began < SILENT_SECONDS and not self._newest:
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
        if self._ingest() is None:
            yield _unheard("ingest")
        if left := self._nobodys():
            parts = ", ".join(map(str, left))
            told = f"nobody judges the symbols of {len(left)} of {self.shards} shards ({parts})"
            yield Trouble("screen", told, "see that `screenerd screen` runs, with a standby")
        elif self._judged_until() == 0:
            yield Trouble("screen", "a worker still takes in the past", "it has to be done once")
        elif (behind := self._behind()) > STALE_MS:
            told = f"minutes are judged {behind / 1000:.0f} s after they come in"
            yield Trouble("screen", told, "it catches up; give it more workers if it does not")
        for role in ("persist", "notify"):
            if self._active(role) is None:
                yield _unheard(role)

    def _judged_until(self) -> int | None:
        """The minute that every worker has come to, ms; `None` if none has symbols."""
        told = [one.body["judged_until"] for one in self._living("screen") if one.body["shards"]]
        return min((minute for minute in told if minute is not None), default=None)

    def _behind(self) -> int:
        """How far the slowest worker is behind the newest minute, ms."""
        ingest, judged = self._ingest(), self._judged_until()
        if ingest is None or judged is None or not ingest.body["ingest"]["started"]:
            return 0
        come: int = ingest.body["ingest"]["last_close"]
        return come - judged

    def _is_late(self) -> bool:
        """Whether what is missing has been missing for longer than a standby needs."""
        now = self.seconds()
        if self._ingest() is None:
            return now - self._began > SILENT_SECONDS
        return now - self._whole_at > TAKEOVER_SECONDS

    def _services(self, signs: Signs, bus: BusStatus) -> dict[str, ServiceState]:
        told = services(signs) | {"nats": "up" if bus.up else "down"}
        left = self._nobodys()
        if not bus.up or len(left) == self.shards:
            told |= {"metrics_calculator": "down", "alert_engine": "down"}
        elif left or self._behind() > STALE_MS:
            told |= {"metrics_calculator": "stale", "alert_engine": "stale"}
        return told


def _unheard(role: str) -> Trouble:
    return Trouble(role, "no process is heard of that does it", f"see that `screenerd {role}` runs")


def _value(kind: type[T], told: dict[str, Any]) -> T:
    """A status from what was told of it; what another version adds or lacks does not matter."""
    known = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in told.items() if name in known})
