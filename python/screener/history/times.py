"""Moments, months and days, as milliseconds since 1970 in UTC; no clock is read here."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DAY_MS",
    "EARLIEST",
    "LATEST",
    "MINUTE_MS",
    "Moment",
    "as_ms",
    "day_of",
    "day_start",
    "days_between",
    "iso",
    "month_end",
    "month_of",
    "month_start",
    "months_between",
    "next_minute",
    "opening",
    "range_ms",
    "whole_minutes",
]

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS

Moment: TypeAlias = int | str | datetime
"""Milliseconds since 1970, ISO 8601 text or a datetime; what names no zone is UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 2009 to 2100: what lies outside is a stamp in another unit, and no file has its name.
EARLIEST, LATEST = 1_230_768_000_000, 4_133_980_800_000
# Fewer digits are a year or a date, not milliseconds.
_LEAST_DIGITS = 12


def as_ms(moment: Moment) -> int:
    """A moment in milliseconds since 1970, UTC.

    Raises:
        DataError: The text is no time.

    Example:
        >>> as_ms("2025-02-01")
        1738368000000
    """
    if isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        if moment.isdecimal() and len(moment) >= _LEAST_DIGITS:
            return int(moment)
        moment = _parsed(moment)
    utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (utc - _EPOCH) // timedelta(milliseconds=1)


def _parsed(text: str) -> datetime:
    try:
        # A month alone is how the archive and the store name their files.
        return datetime.fromisoformat(f"{text}-01" if len(text) == len("2025-02") else text)
    except ValueError as error:
        raise DataError(
            reason=f"{text!r} is no time",
            remedy="write it like 2025-02, 2025-02-03 or 2025-02-03T02:10 (UTC where it names no "
            "zone), or in ms since 1970",
        ) from error


def range_ms(start: Moment | None, end: Moment | None) -> tuple[int | None, int | None]:
    """The ends of a range in milliseconds since 1970, UTC; an end that is open stays `None`.

    Raises:
        DataError: An end is no time or none of the years 2009 to 2100, or the start does not come
            before the end.

    Example:
        >>> range_ms("2025-02", None)
        (1738368000000, None)
    """
    low, high = (None if at is None else as_ms(at) for at in (start, end))
    for name, at in (("start", low), ("end", high)):
        if at is not None and not EARLIEST <= at <= LATEST:
            raise DataError(
                reason=f"the {name}, {at}, is no time of the years 2009 to 2100 in ms since 1970",
                remedy="write it like 2025-02-03T02:10, or in milliseconds (13 digits)",
            )
    if low is not None and high is not None and low >= high:
        raise DataError(
            reason=f"the range is empty: it starts at {iso(low)} and ends at {iso(high)}",
            remedy="let the start come before the end",
        )
    return low, high


def iso(milliseconds: int) -> str:
    """A moment as text, such as `2025-02-03T02:10:00Z`."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat().replace("+00:00", "Z")


def next_minute(milliseconds: int) -> int:
    """The first minute that begins at or after a moment."""
    return -(-milliseconds // MINUTE_MS) * MINUTE_MS


def opening(start: int | None, end: int | None) -> tuple[int | None, int | None]:
    """The minutes that open in [start, end) ms, as `scan` takes them: both ends rounded up."""
    low, high = (None if at is None else next_minute(at) for at in (start, end))
    return low, high


def whole_minutes(start: int, end: int) -> tuple[int, int]:
    """The minutes that lie whole in [start, end) ms: the start rounded up, the end down.

    Where there is none, the end is not after the start.

    Example:
        >>> whole_minutes(1_738_368_000_001, 1_738_368_119_999)
        (1738368060000, 1738368060000)
    """
    return next_minute(start), end // MINUTE_MS * MINUTE_MS


def month_of(milliseconds: int) -> str:
    """The month a moment lies in, such as `2025-02`."""
    return f"{_EPOCH + timedelta(milliseconds=milliseconds):%Y-%m}"


def day_of(milliseconds: int) -> str:
    """The day a moment lies in, such as `2025-02-03`."""
    return f"{_EPOCH + timedelta(milliseconds=milliseconds):%Y-%m-%d}"


def month_start(month: str) -> int:
    """When a month begins, ms."""
    return as_ms(f"{month}-01")


def month_end(month: str) -> int:
    """When a month is over, ms."""
    year, number = int(month[:4]), int(month[5:7])
    return month_start(month) + calendar.monthrange(year, number)[1] * DAY_MS


def day_start(day: str) -> int:
    """When a day begins, ms."""
    return as_ms(day)


def months_between(start: int, end: int) -> Iterator[str]:
    """The months that [start, end) ms touches, in order."""
    while start < end:
        month = month_of(start)
        yield month
        start = month_end(month)


def days_between(start: int, end: int) -> Iterator[str]:
    """The days that [start, end) ms touches, in order."""
    for begin in range(start - start % DAY_MS, end, DAY_MS):
        yield day_of(begin)
