"""The audit's arithmetic against a recomputation that looks at one minute at a time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from screenerd.model import MINUTE_MS
from screenerd.store.audit import (
    HOUR_MS,
    Held,
    audit_symbol,
    expected_minutes,
    hour_of,
    minute_at_or_after,
    runs,
    whole_hours,
)
from screenerd.store.port import AuditRow, Span

START = 1_700_000_000_000 // HOUR_MS * HOUR_MS
TIMES = st.integers(START - HOUR_MS, START + 5 * HOUR_MS)
MINUTES = st.integers(-30, 330).map(lambda n: START + n * MINUTE_MS)
SPANS = st.lists(st.builds(Span, TIMES, st.none() | TIMES), max_size=5)


def naive(symbol: str, tracked: list[Span], held: Held, start: int, end: int) -> list[AuditRow]:
    hours: dict[int, list[int]] = {}
    for minute in range(START - 2 * HOUR_MS, START + 6 * HOUR_MS, MINUTE_MS):
        followed = any(s.start <= minute and (s.end is None or minute < s.end) for s in tracked)
        if followed and start <= minute < end:
            hours.setdefault(minute // HOUR_MS * HOUR_MS, []).append(minute)
    rows = []
    for hour, minutes in hours.items():
        real = [m for m in minutes if m in held.real]
        absent = [m for m in minutes if m in held.absent and m not in held.real]
        missing = set(minutes) - set(real) - set(absent)
        firsts = sorted(m for m in missing if m - MINUTE_MS not in missing)
        holes = []
        for first in firsts:
            length = 1
            while first + length * MINUTE_MS in missing:
                length += 1
            holes.append((first, length))
        rows.append(AuditRow(symbol, hour, len(minutes), len(real), len(absent), tuple(holes)))
    return rows


@given(SPANS, st.frozensets(MINUTES), st.frozensets(MINUTES), TIMES, TIMES)
def test_equals_a_naive_recomputation(
    tracked: list[Span], real: frozenset[int], absent: frozenset[int], start: int, end: int
) -> None:
    held = Held(real, absent)
    assert audit_symbol("A", tracked, held, start, end) == naive("A", tracked, held, start, end)


@given(SPANS, st.frozensets(MINUTES), st.frozensets(MINUTES), TIMES, TIMES)
def test_every_expected_minute_is_held_absent_or_in_a_hole(
    tracked: list[Span], real: frozenset[int], absent: frozenset[int], start: int, end: int
) -> None:
    for row in audit_symbol("A", tracked, Held(real, absent), start, end):
        assert row.expected == row.held + row.absent + sum(n for _, n in row.holes)
        assert 0 < row.expected <= 60
        assert all(row.hour <= m and m + n * MINUTE_MS <= row.hour + HOUR_MS for m, n in row.holes)


@given(SPANS, TIMES, TIMES)
def test_expected_minutes_are_disjoint_and_ordered(
    tracked: list[Span], start: int, end: int
) -> None:
    ranges = expected_minutes(tracked, start, end)
    assert all(a.stop < b.start for a, b in pairwise(ranges))


@given(st.frozensets(MINUTES))
def test_runs_give_back_their_minutes(minutes: frozenset[int]) -> None:
    found = runs(sorted(minutes))
    assert {m + i * MINUTE_MS for m, n in found for i in range(n)} == minutes
    assert all(a + n * MINUTE_MS < b for (a, n), (b, _) in pairwise(found))


def test_a_hole_over_the_hour_is_told_in_both_hours() -> None:
    real = {START + n * MINUTE_MS for n in range(120) if not 58 <= n < 63}
    rows = audit_symbol("A", [Span(0, None)], Held(real, set()), START, START + 2 * HOUR_MS)
    assert rows == [
        AuditRow("A", START, 60, 58, 0, ((START + 58 * MINUTE_MS, 2),)),
        AuditRow("A", START + HOUR_MS, 60, 57, 0, ((START + HOUR_MS, 3),)),
    ]


def test_a_symbol_that_was_not_followed_has_no_row() -> None:
    held = Held({START}, set())
    assert audit_symbol("A", [], held, START, START + HOUR_MS) == []
    assert audit_symbol("A", [Span(START + HOUR_MS, None)], held, START, START + HOUR_MS) == []


def test_a_minute_begun_before_tracking_is_not_expected() -> None:
    span = Span(START + 1, START + 2 * MINUTE_MS + 1)
    assert [list(r) for r in expected_minutes([span], START, START + HOUR_MS)] == [
        [START + MINUTE_MS, START + 2 * MINUTE_MS]
    ]


def test_rounding() -> None:
    assert minute_at_or_after(START) == START
    assert minute_at_or_after(START + 1) == START + MINUTE_MS
    assert hour_of(START + HOUR_MS - 1) == START
    assert whole_hours(START, START + HOUR_MS) == (START, START + HOUR_MS)
    assert whole_hours(START + 1, START + HOUR_MS + 1) == (START, START + 2 * HOUR_MS)
