"""Pages of alerts of which some are stored and some are not yet."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from served import an_alert

from screenerd.model import Alert
from screenerd.serve.latest import LONGEST_MS, MOST, Latest, newest_first, page_around, with_latest
from screenerd.store.port import AlertFilter, AlertPage


def alerts(times: list[tuple[int, bool]]) -> list[tuple[Alert, bool]]:
    """Alerts at these times, each with a name of its own, and whether the store has it."""
    return [
        (replace(an_alert(1_000 + at), id=f"id-{n}", symbol=f"S{n % 3}"), stored)
        for n, (at, stored) in enumerate(times)
    ]


@given(
    made=st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=25).map(alerts),
    offset=st.integers(0, 30),
    limit=st.integers(1, 10),
    symbol=st.sampled_from([None, "S1"]),
)
def test_a_page_is_that_of_all_alerts(
    made: list[tuple[Alert, bool]], offset: int, limit: int, symbol: str | None
) -> None:
    asked = AlertFilter(symbol=symbol)
    everything = sorted((one for one, _ in made if asked.takes(one)), key=newest_first)
    in_store = sorted((one for one, held in made if held and asked.takes(one)), key=newest_first)
    latest = Latest()
    for one, held in made:
        # Some that are stored were told a moment ago as well.
        if not held or one.triggered_at % 2:
            latest.add(one)
    first, count = page_around(offset, limit, len(latest.ids))
    held_ids = {one.id for one, held in made if held}
    page = AlertPage(
        in_store[first : first + count], len(in_store), first, frozenset(held_ids & {*latest.ids})
    )
    latest.stored(page.held)
    found, total = with_latest(page, latest.wanted(asked), offset, limit)
    assert total == len(everything)
    assert found == everything[offset : offset + limit]


def test_what_is_old_is_forgotten_whether_it_is_stored_or_not() -> None:
    latest = Latest()
    for at in (0, LONGEST_MS - 1, LONGEST_MS):
        latest.add(replace(an_alert(at), id=str(at)))
    assert latest.ids == ["0", str(LONGEST_MS - 1), str(LONGEST_MS)]
    latest.add(replace(an_alert(2 * LONGEST_MS), id="new"))
    assert latest.ids == [str(LONGEST_MS), "new"]


def test_so_many_are_kept() -> None:
    latest = Latest()
    for number in range(MOST + 5):
        latest.add(replace(an_alert(number), id=str(number)))
    assert latest.ids == [str(number) for number in range(5, MOST + 5)]
