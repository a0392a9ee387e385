"""Is this broker one that keeps what it acknowledges? Asked before anything is entrusted to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import aiohttp
import structlog

from screenerd.bus.jetstream.settings import AT_RISK, BusSettings

log = structlog.get_logger("screenerd")

OLDEST = (2, 10, 23)
"""The first that does not lose a stream when it is killed."""

MONITOR_SECONDS = 5.0

_ACCEPT = f'or say `at_risk = "{AT_RISK}"` under [bus]'


class BrokerError(Exception):
    """The broker may lose what it acknowledges; says how, and what to write where."""


def faults(version: str, monitor: Mapping[str, Any] | None, why_not: str = "") -> list[str]:
    """What of a broker puts acknowledged messages at risk.

    Args:
        version: as it says when one connects.
        monitor: what `/varz` answers; `None` if it was not asked or does not answer.
        why_not: why there is no such answer.
    """
    found = []
    if _numbers(version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        found.append(
            f"nats-server {version} is older than {oldest}: a stream may be gone after it was "
            f"killed, and before 2.10 it cannot write through to the disk at all. Install {oldest} "
            f"or newer, {_ACCEPT}"
        )
    remedy = (
        f'write `jetstream {{ sync_interval: "always" }}` into nats.conf and restart it, {_ACCEPT}'
    )
    if monitor is None:
        found.append(
            f"whether it writes through to the disk is unknown, because {why_not}: if it does not, "
            "acknowledged messages of up to two minutes are lost in a power cut. Set bus.monitor "
            f"to its monitoring address and `http: 127.0.0.1:8222` in nats.conf; {remedy}"
        )
    elif not _settings_of(monitor).get("sync_always"):
        found.append(
            "it does not write through to the disk (its sync_interval is not `always`): "
            f"acknowledged messages of up to two minutes are lost in a power cut; {remedy}"
        )
    return found


async def check(version: str, settings: BusSettings) -> None:
    """Refuses a broker that may lose what it acknowledged, unless that is accepted in words.

    Raises:
        BrokerError: it may, and nobody has accepted that.
    """
    monitor, why_not = await _monitor(settings.monitor)
    found = faults(version, monitor, why_not)
    if not found:
        return
    if settings.at_risk != AT_RISK:
        raise BrokerError("the broker is refused: " + "\n".join(found))
    for fault in found:
        log.warning("the broker may lose acknowledged messages", told=fault)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("-")[0])[:3])


def _settings_of(monitor: Mapping[str, Any]) -> Mapping[str, Any]:
    jetstream = monitor.get("jetstream")
    config = jetstream.get("config") if isinstance(jetstream, Mapping) else None
    return config if isinstance(config, Mapping) else {}


async def _monitor(address: str | None) -> tuple[Mapping[str, Any] | None, str]:
    if address is None:
        return None, "no monitoring address is given"
    timeout = aiohttp.ClientTimeout(total=MONITOR_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{address.rstrip('/')}/varz", raise_for_status=True) as answer,
        ):
            value = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return None, f"{address} does not answer ({error or type(error).__name__})"
    if not isinstance(value, dict):
        return None, f"{address} answers something else than a broker"
    return value, ""
