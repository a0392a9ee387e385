"""What each process tells of itself, some times a second apart: from its statuses to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from screenerd.cluster.workers import Workers
from screenerd.exchange.port import ConnectionStatus
from screenerd.ingest.service import IngestStatus
from screenerd.model import SymbolStatus
from screenerd.notify.outbox import ChannelStatus
from screenerd.store.port import StoreHealth

Body = dict[str, Any]


def of_ingest(
    status: IngestStatus,
    connections: Sequence[ConnectionStatus],
    refused_until: int,
    symbols: Sequence[SymbolStatus],
) -> Body:
    """How the minutes come in."""
    return {
        "ingest": asdict(status),
        "connections": [asdict(one) for one in connections],
        "refused_until": refused_until,
        "symbols": [[one.symbol, one.last_close, one.warm, one.missing] for one in symbols],
    }


def of_workers(workers: Workers) -> Body:
    """What is judged here."""
    status = workers.status
    return {
        "slot": workers.slot,
        "shards": workers.shards,
        "symbols": status.symbols,
        "alerts": status.alerts,
        "judged_until": workers.judged_until,
    }


def of_persist(health: StoreHealth, *, active: bool) -> Body:
    """Whether what is told is stored."""
    return {"active": active, "store": asdict(health)}


def of_notify(channels: Mapping[str, ChannelStatus], *, active: bool) -> Body:
    """How notifications go out."""
    return {
        "active": active,
        "channels": {name: asdict(one) for name, one in channels.items()},
    }
