"""Is everything well, and if not: what, since when, and what to do. Arithmetic on statuses only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from screenerd.exchange.port import ConnectionStatus
from screenerd.ingest.service import IngestStatus
from screenerd.model import MINUTE_MS, Health, RulesFault, ServiceState, Trouble
from screenerd.notify.outbox import ChannelStatus
from screenerd.store.port import StoreHealth

STALE_MS = 75_000
"""So long after its minute the newest close is no longer fresh: a minute, and time to repair it."""

LAG_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Signs:
    """What health is judged by.

    Attributes:
        now: ms since the epoch.
        ingest: how the minutes come in.
        connections: how the streams do.
        refused_until: when the exchange takes requests again, ms; 0 if it takes them.
        store: whether writes are committed.
        channels: how notifications go out.
        lag: the longest delay of the event loop lately, seconds.
        rules: why the files of the rules are not in force as they are.
    """

    now: int
    ingest: IngestStatus
    connections: Sequence[ConnectionStatus]
    refused_until: int
    store: StoreHealth
    channels: Mapping[str, ChannelStatus]
    lag: float
    rules: RulesFault | None = None


def assess(signs: Signs) -> Health:
    """The health these signs speak of."""
    stale = list(_stale(signs))
    troubles = [*stale, *_streams(signs), *_requests(signs), *_store(signs), *_rest(signs)]
    if not signs.ingest.started:
        return Health("starting", tuple(troubles))
    if stale or signs.store.state == "down":
        return Health("down", tuple(troubles))
    return Health("degraded" if troubles else "ok", tuple(troubles))


def services(signs: Signs) -> dict[str, ServiceState]:
    """What each part is doing, by the names of the API; the bus of one process is always up."""
    stale = bool(_stale(signs))
    delivering = any(one.delivering for one in signs.connections)
    collector: ServiceState = "up" if delivering else "down"
    judged: ServiceState = "stale" if stale else "up"
    return {
        "data_collector": "stale" if stale and delivering else collector,
        "metrics_calculator": judged,
        "alert_engine": judged,
        "database": signs.store.state,
        "nats": "up",
    }


def _stale(signs: Signs) -> list[Trouble]:
    late = signs.now - signs.ingest.last_close - MINUTE_MS
    if not signs.ingest.started or late <= STALE_MS:
        return []
    told = f"no minute has closed for {late / 1000:.0f} s"
    return [Trouble("data", told, "see the streams and requests below; `screenerd doctor` asks")]


def _streams(signs: Signs) -> list[Trouble]:
    return [
        Trouble(
            f"stream {one.number}",
            f"{'given up for now' if one.circuit_open else 'not delivering'} after "
            f"{one.failures} failures: {one.reason}",
            "minutes are asked for meanwhile; see that the exchange can be reached",
        )
        for one in signs.connections
        if one.failures
    ]


def _requests(signs: Signs) -> list[Trouble]:
    found = []
    if signs.refused_until > signs.now:
        seconds = (signs.refused_until - signs.now) / 1000
        told = f"the exchange takes no requests for another {seconds:.0f} s"
        found.append(Trouble("requests", told, "does something else use the same address?"))
    if signs.ingest.trouble:
        found.append(Trouble("requests", signs.ingest.trouble, "it is tried again every minute"))
    if signs.ingest.started and signs.ingest.missing:
        told = f"{signs.ingest.missing} symbols lack minutes"
        found.append(Trouble("minutes", told, "they are being asked for"))
    return found


def _store(signs: Signs) -> list[Trouble]:
    if signs.store.state == "up":
        return []
    told = f"{signs.store.error}; {signs.store.pending} rows wait"
    return [Trouble("store", told, "see that the disk has room and works; nothing is lost yet")]


def _rest(signs: Signs) -> list[Trouble]:
    found = [
        Trouble(f"channel {name}", one.last_error, "see `screenerd doctor` and the channel's keys")
        for name, one in signs.channels.items()
        if one.last_error
    ]
    if signs.lag > LAG_SECONDS:
        told = f"the process was held up for {signs.lag:.1f} s"
        found.append(Trouble("process", told, "give it more processor time"))
    if signs.rules is not None:
        found.append(rules_trouble(signs.rules))
    return found


def rules_trouble(fault: RulesFault) -> Trouble:
    """What is told of files of rules that were refused."""
    told = f"{fault.where}: {fault.told}"
    remedy = f"the rules before it stay until it is mended; `screener rules check {fault.file}`"
    return Trouble("rules", told, remedy)
