"""Known and missing minutes, against a plain set."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from screenerd.ingest.gaps import Known, minute_of
from screenerd.model import MINUTE_MS

START = 29_000_000 * MINUTE_MS


def spans(minutes: Iterable[int]) -> list[tuple[int, int]]:
    """Minutes joined to runs, as [first, end) in ms."""
    runs: list[tuple[int, int]] = []
    for minute in sorted(set(minutes)):
        if runs and runs[-1][1] == minute:
            runs[-1] = (runs[-1][0], minute + MINUTE_MS)
        else:
            runs.append((minute, minute + MINUTE_MS))
    return runs


@given(st.lists(st.integers(-5, 40)), st.integers(0, 45), st.integers(-3, 20))
def test_equals_a_plain_set(minutes: list[int], end: int, given_up: int) -> None:
    known = Known(START)
    seen: set[int] = set()
    for position, minute in enumerate(minutes):
        if position == len(minutes) // 2:
            known.give_up_before(START + given_up * MINUTE_MS)
            seen |= set(range(-5, given_up))
        known.add(START + minute * MINUTE_MS)
        seen.add(minute)
    expected = [minute for minute in range(end) if minute not in seen]
    runs = known.missing(START + end * MINUTE_MS)
    found = [
        (at - START) // MINUTE_MS for first, last in runs for at in range(first, last, MINUTE_MS)
    ]
    assert found == expected
    assert runs == spans(START + minute * MINUTE_MS for minute in expected)
    for minute in range(45):
        assert known.knows(START + minute * MINUTE_MS) == (minute in seen)


def test_a_minute_starts_where_it_starts() -> None:
    assert minute_of(START) == minute_of(START + MINUTE_MS - 1) == START
