"""Alerts that have been told and may not be on the disk yet: a page of alerts has them, too. Pure.

An alert is on the bus some 60 ms before it is stored, and longer while the disk fails. Who has just
heard of it by the websocket, and asks, is to find it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from heapq import merge

from screenerd.model import Alert
from screenerd.store.port import AlertFilter, AlertPage

MOST = 1_000
"""Alerts that are kept until the store is seen to have them; beyond, the oldest are forgotten."""

LONGEST_MS = 3_600_000
"""Of market time; what is older than that by a newer one is forgotten in any case."""


class Latest:
    """The newest alerts, each until the store is seen to have it, or an hour of market time."""

    def __init__(self) -> None:
        """Starts empty."""
        self._alerts: OrderedDict[str, Alert] = OrderedDict()

    @property
    def ids(self) -> list[str]:
        """Of which the store is to be asked whether it has them."""
        return list(self._alerts)

    def add(self, alert: Alert) -> None:
        """An alert that has just been told."""
        self._alerts[alert.id] = alert
        oldest = next(iter(self._alerts.values()))
        while len(self._alerts) > MOST or oldest.triggered_at < alert.triggered_at - LONGEST_MS:
            del self._alerts[oldest.id]
            oldest = next(iter(self._alerts.values()))

    def stored(self, ids: Collection[str]) -> None:
        """The store has these."""
        for one in ids:
            self._alerts.pop(one, None)

    def wanted(self, asked: AlertFilter) -> list[Alert]:
        """Those that are asked for, newest first."""
        return sorted((one for one in self._alerts.values() if asked.takes(one)), key=newest_first)


def page_around(offset: int, limit: int, more: int) -> tuple[int, int]:
    """Which page to ask the store for, as (offset, limit), if so many alerts may be added to it."""
    first = max(0, offset - more)
    return first, offset + limit - first


def with_latest(
    page: AlertPage, latest: Sequence[Alert], offset: int, limit: int
) -> tuple[list[Alert], int]:
    """The page of all alerts, from a wider one of the stored ones and those that are not stored.

    Args:
        page: what `page_around` says.
        latest: the others that are asked for, newest first; none of them is stored.
        offset: where the page of all begins.
        limit: its length.

    Returns:
        The alerts, newest first, and how many there are in all.
    """
    total = page.total + len(latest)
    before = 0
    if page.offset and page.alerts:
        # Those that come before the wider page push it down.
        first = newest_first(page.alerts[0])
        before = sum(newest_first(one) < first for one in latest)
    elif page.offset:
        before = len(latest)
    merged = list(merge(page.alerts, latest[before:], key=newest_first))
    start = offset - page.offset - before
    return merged[start : start + limit], total


def newest_first(alert: Alert) -> tuple[int, str, str, str]:
    """The order of alerts."""
    return -alert.triggered_at, alert.symbol, alert.rule, alert.id
