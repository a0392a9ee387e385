"""What should be held and what is: arithmetic on minutes, hour by hour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from screenerd.model import MINUTE_MS
from screenerd.store.port import AuditRow, Span

HOUR_MS = 60 * MINUTE_MS
"""Length of an hour in milliseconds."""


@dataclass(frozen=True, slots=True)
class Held:
    """The minutes of one symbol: those with a candle, and those its source does not have."""

    real: AbstractSet[int]
    absent: AbstractSet[int]


def hour_of(time: int) -> int:
    """The start of the hour that holds an instant."""
    return time - time % HOUR_MS


def minute_at_or_after(time: int) -> int:
    """The first minute that opens at an instant or after it."""
    return time + -time % MINUTE_MS


def whole_hours(start: int, end: int) -> tuple[int, int]:
    """The hours that cover [start, end), as the start of the first and the end of the last."""
    return hour_of(start), hour_of(end + HOUR_MS - 1)


def judged_from(span: Span, held: Sequence[Span]) -> int | None:
    """The first minute that is judged in a span, given those of its symbol before, by time.

    Of a symbol that is followed already, or that only ends, it is what was said first: two who
    follow the same may hear of a listing one after the other, and say it twice.
    """
    goes_on = bool(held) and (held[-1].end is None or span.end is not None)
    return held[-1].judged_from if goes_on else span.judged_from


def expected_minutes(tracked: Iterable[Span], start: int, end: int) -> list[range]:
    """The minutes that open in [start, end) while tracked: disjoint ranges in order.

    Spans may overlap and come in any order.
    """
    merged: list[range] = []
    clipped = (_clip(span, start, end) for span in tracked)
    for minutes in sorted((m for m in clipped if m), key=lambda m: m.start):
        if merged and minutes.start <= merged[-1].stop:
            last = merged[-1]
            merged[-1] = range(last.start, max(last.stop, minutes.stop), MINUTE_MS)
        else:
            merged.append(minutes)
    return merged


def runs(minutes: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Ascending minutes as runs without a gap: (first minute, how many)."""
    found: list[tuple[int, int]] = []
    for minute in minutes:
        if found and minute == found[-1][0] + found[-1][1] * MINUTE_MS:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((minute, 1))
    return tuple(found)


def audit_symbol(
    symbol: str, tracked: Sequence[Span], held: Held, start: int, end: int
) -> list[AuditRow]:
    """One row for every hour in which a minute of [start, end) was expected.

    Only expected minutes count as held or absent, so that the three never add up to more than what
    was expected; what is neither is in the holes, which end at the hour.
    """
    rows = []
    for hour, minutes in _by_hour(expected_minutes(tracked, start, end)):
        missing = [m for m in minutes if m not in held.real and m not in held.absent]
        real = sum(m in held.real for m in minutes)
        absent = len(minutes) - len(missing) - real
        rows.append(AuditRow(symbol, hour, len(minutes), real, absent, runs(missing)))
    return rows


def _clip(span: Span, start: int, end: int) -> range:
    until = end if span.end is None else min(span.end, end)
    return range(minute_at_or_after(max(span.start, start)), minute_at_or_after(until), MINUTE_MS)


def _by_hour(ranges: Iterable[range]) -> Iterator[tuple[int, list[int]]]:
    hours: dict[int, list[int]] = {}
    for minutes in ranges:
        for minute in minutes:
            hours.setdefault(hour_of(minute), []).append(minute)
    yield from hours.items()
