"""Health tells what is not well, and only that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from screenerd.exchange.port import ConnectionStatus
from screenerd.health import Signs, assess
from screenerd.ingest.service import IngestStatus
from screenerd.model import MINUTE_MS
from screenerd.notify.outbox import ChannelStatus
from screenerd.store.port import StoreHealth

NOW = 29_400_000 * MINUTE_MS + 5_000
WELL = Signs(
    now=NOW,
    ingest=IngestStatus(symbols=2, warmed=2, started=True, last_close=NOW - 65_000),
    connections=[ConnectionStatus(0, delivering=True)],
    refused_until=0,
    store=StoreHealth("up", None, 0, NOW),
    channels={"phone": ChannelStatus(sent=3)},
    lag=0.01,
)


def ingest(**more: object) -> IngestStatus:
    return replace(WELL.ingest, **more)  # type: ignore[arg-type]


def test_all_is_well() -> None:
    health = assess(WELL)
    assert (health.state, health.troubles, health.told) == ("ok", (), "ok")


@pytest.mark.parametrize(
    ("signs", "state", "where", "told"),
    [
        (replace(WELL, ingest=ingest(started=False)), "starting", "", ""),
        (replace(WELL, now=NOW + 80_000), "down", "data", "no minute has closed for 85 s"),
        (
            replace(WELL, store=StoreHealth("down", "disk full", 500, NOW)),
            "down",
            "store",
            "disk full; 500 rows wait",
        ),
        (
            replace(WELL, connections=[ConnectionStatus(3, failures=2, reason="no frame")]),
            "degraded",
            "stream 3",
            "not delivering after 2 failures: no frame",
        ),
        (
            replace(WELL, connections=[ConnectionStatus(3, failures=11, circuit_open=True)]),
            "degraded",
            "stream 3",
            "given up for now",
        ),
        (replace(WELL, refused_until=NOW + 4_000), "degraded", "requests", "another 4 s"),
        (replace(WELL, ingest=ingest(trouble="418")), "degraded", "requests", "418"),
        (replace(WELL, ingest=ingest(missing=7)), "degraded", "minutes", "7 symbols"),
        (
            replace(WELL, channels={"phone": ChannelStatus(last_error="gone")}),
            "degraded",
            "channel phone",
            "gone",
        ),
        (replace(WELL, lag=2.5), "degraded", "process", "held up for 2.5 s"),
    ],
)
def test_each_trouble_is_told_with_what_to_do(
    signs: Signs, state: str, where: str, told: str
) -> None:
    health = assess(signs)
    assert health.state == state
    if where:
        [trouble] = health.troubles
        assert trouble.where == where
        assert told in trouble.told
        assert trouble.remedy
        assert f"{where}: {trouble.told}" in health.told
