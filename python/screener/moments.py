"""Points in time as people give them."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TypeAlias

from screener.errors import DataError

__all__ = ["Moment", "milliseconds"]

Moment: TypeAlias = int | str | dt.datetime
"""Milliseconds since 1970, an ISO 8601 text, or a datetime; UTC where it names no zone."""


def milliseconds(time: Moment, name: str) -> int:
    """Milliseconds since 1970.

    Args:
        time: The moment.
        name: What it is called where it cannot be read.

    Raises:
        DataError: It is no moment.

    Example:
        >>> milliseconds("2025-02-01", "start")
        1738368000000
    """
    if isinstance(time, int) and not isinstance(time, bool):
        return time
    moment: object = time
    if isinstance(time, str):
        with contextlib.suppress(ValueError):
            moment = dt.datetime.fromisoformat(time)
    if not isinstance(moment, dt.datetime):
        raise DataError(
            reason=f"{name}={time!r} is no time",
            remedy="give milliseconds since 1970, an ISO 8601 text or a datetime",
        )
    utc = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (utc - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
