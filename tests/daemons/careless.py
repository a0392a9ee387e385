"""Roles broken on purpose, to show that what they lose is found."""

from __future__ import annotations

from screenerd.bus.jetstream.encode import Outgoing
from screenerd.bus.jetstream.publisher import Publisher
from screenerd.store.postgres import connect

CORE_PUBLISH = "core publish"
"""Messages go out without an id, and nobody waits until the broker has them."""

LAZY_COMMIT = "synchronous_commit=off"
"""A commit returns before it is on the disk."""


def be_careless(how: str) -> None:
    """Breaks this process; not at all where `how` is empty."""
    if how == CORE_PUBLISH:
        Publisher._kept = _sent  # type: ignore[assignment,method-assign]
    elif how == LAZY_COMMIT:
        connect.DURABLE = "off"  # type: ignore[misc]
    elif how:
        raise ValueError(f"nobody is careless as {how!r}")


async def _sent(publisher: Publisher, one: Outgoing) -> bool:
    await publisher.connection.ready()
    await publisher.connection.client.publish(one.subject, one.payload)
    return True
