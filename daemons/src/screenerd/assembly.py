"""How roles are put together from a configuration, whichever bus and store they get."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import aiohttp

from screenerd.bus.port import Bus
from screenerd.clock import Clock
from screenerd.config import Config
from screenerd.exchange.binance.rest import BinanceRest
from screenerd.exchange.binance.stream import BinanceStream, Sinks
from screenerd.ingest.service import Ingest
from screenerd.notify.channels import PUBLIC, Endpoints
from screenerd.notify.outbox import OutboxStore
from screenerd.notify.service import Notify
from screenerd.store.port import Store

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Collector:
    """What brings the minutes in: requests, streams, and the role that makes one of both."""

    rest: BinanceRest
    stream: BinanceStream
    ingest: Ingest


def collector(
    config: Config, bus: Bus, store: Store, clock: Clock, session: aiohttp.ClientSession
) -> Collector:
    """Binance's minutes onto a bus."""
    there = config.exchange
    rest = BinanceRest(session, clock, url=there.rest_url, quote=there.quote, tradfi=there.tradfi)
    ingest = Ingest(rest, bus, store, clock, keep_ms=config.store.retention_hours * HOUR_MS)
    sinks = Sinks(ingest.take, ingest.take_event, ingest.take_letter)
    ingest.feed = stream = BinanceStream(session, clock, sinks, url=there.stream_url)
    return Collector(rest, stream, ingest)


def notify(
    config: Config,
    bus: Bus,
    store: Store,
    clock: Clock,
    rules: Collection[str],
    endpoints: Endpoints = PUBLIC,
    outbox: OutboxStore | None = None,
    is_ours: Callable[[], bool] = lambda: True,
) -> Notify:
    """The channels of the configuration, and those of users."""
    channels = config.notify.channels
    return Notify(
        bus,
        store,
        clock,
        channels,
        rules=rules,
        endpoints=endpoints,
        outbox=outbox,
        is_ours=is_ours,
    )
