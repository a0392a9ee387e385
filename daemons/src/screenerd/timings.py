"""How long things take in this process: histograms, filled where the samples arise.

A process has one of each, as it has one memory; Prometheus adds up those of several.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Histogram

from screenerd.clock import Clock
from screenerd.model import Candle, Stamps

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Upper bounds in seconds."""


def _histogram(name: str, told: str, *labels: str) -> Histogram:
    # Registered nowhere: each role tells its own, and only those.
    return Histogram(name, told, labels, buckets=BUCKETS, registry=None)


FRESHNESS = _histogram(
    "data_collector_freshness_seconds", "From a minute's close until a stream has told it"
)
DECIDED = _histogram(
    "alert_engine_latency_seconds", "Of an alert, until it was decided, by where it began", "since"
)
INSERT = _histogram(
    "metrics_calculator_db_insert_duration_seconds", "Of a write, until it was committed", "rows"
)
STORED = _histogram(
    "database_latency_seconds", "From the candle received until a row was committed", "rows"
)
SENT = _histogram(
    "notifier_latency_seconds",
    "Of an alert, until a channel took it, by where it began",
    "channel",
    "since",
)


def received(candle: Candle, clock: Clock) -> None:
    """A closed candle has come; only what a stream told says how fresh the streams are."""
    if candle.source == "stream":
        FRESHNESS.observe(_seconds(candle.received_at - candle.close_time, clock))


def decided(stamps: Stamps, clock: Clock) -> None:
    """An alert was raised."""
    for since, began in (("close", stamps.exchange_close), ("received", stamps.received)):
        DECIDED.labels(since).observe(_seconds(stamps.decided - began, clock))


def stored(rows: str, began: Iterable[int], clock: Clock) -> None:
    """What was received at these times is committed now."""
    now, histogram = clock.now_ms(), STORED.labels(rows)
    for at in began:
        histogram.observe(_seconds(now - at, clock))


def sent(channel: str, stamps: Stamps, at: int, clock: Clock) -> None:
    """A channel took an alert."""
    for since, began in (("close", stamps.exchange_close), ("decided", stamps.decided)):
        SENT.labels(channel, since).observe(_seconds(at - began, clock))


def _seconds(ms: float, clock: Clock) -> float:
    """Market time as the machine's; clocks that differ by a little make nothing negative."""
    return max(0.0, clock.real(ms / 1000))
