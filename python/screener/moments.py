"""Points and lengths of time as people give them."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import Final, TypeAlias

from screener.errors import DataError

__all__ = ["Moment", "length_in_minutes", "milliseconds"]

_UNITS: Final = {"m": 1, "h": 60, "d": 1440}

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


def length_in_minutes(text: object) -> int:
    """The minutes of a length of time; 0 for anything that is none.

    Example:
        >>> [length_in_minutes(text) for text in ("90m", "4h", "7d", "1.5h")]
        [90, 240, 10080, 0]
    """
    found = re.fullmatch(r"([1-9][0-9]{0,6})([mhd])", text) if isinstance(text, str) else None
    return int(found[1]) * _UNITS[found[2]] if found else 0
