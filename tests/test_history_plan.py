"""What is fetched: the pieces bring all that is missing, each minute once, and end."""

from __future__ import annotations

import itertools
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screener.history import plan
from screener.history.plan import Span, holes, minutes_in, plan_month, within, without
from screener.history.times import DAY_MS, MINUTE_MS, as_ms, month_end, month_start

MONTH = "2025-02"
START, END = month_start(MONTH), month_end(MONTH)
LATER = END + 30 * DAY_MS
WHOLE = [(START, END)]


def minutes(spans: list[Span]) -> set[int]:
    """The minutes of spans, one by one."""
    return {at for low, high in spans for at in range(low, high, MINUTE_MS)}


def span(first: int, count: int) -> Span:
    """Minutes counted from the start of the month."""
    return START + first * MINUTE_MS, START + (first + count) * MINUTE_MS


def test_a_month_that_is_over_is_one_file() -> None:
    [piece] = plan_month("BTCUSDT", MONTH, WHOLE, now=LATER)
    assert (piece.kind, piece.period, piece.minutes) == ("month", "2025-02", 28 * 1440)
    assert (piece.cost.requests, piece.cost.weight) == (2, 0)


def test_a_month_whose_file_is_not_there_is_its_days() -> None:
    pieces = plan_month("BTCUSDT", MONTH, WHOLE, now=LATER, tried={MONTH})
    assert [piece.period for piece in pieces] == [f"2025-02-{day:02}" for day in range(1, 29)]


def test_the_monthly_file_is_there_on_the_first_monday() -> None:
    monday = as_ms("2025-03-03")
    assert plan_month("X", MONTH, WHOLE, now=monday - 1)[0].kind == "day"
    assert plan_month("X", MONTH, WHOLE, now=monday + DAY_MS)[0].kind == "month"


def test_days_that_are_not_over_come_by_rest() -> None:
    now = START + 2 * DAY_MS + 10 * 3_600_000
    missing = [(START, now)]
    pieces = plan_month("X", MONTH, missing, now=now)
    assert [(piece.kind, piece.period) for piece in pieces] == [
        ("day", "2025-02-01"),
        ("day", "2025-02-02"),
        ("rest", "2025-02-03T00:00"),
    ]
    assert pieces[-1].end == now
    assert pieces[-1].cost.requests == 2
    assert pieces[-1].cost.weight == 3, "500 rows and 100"


def test_small_holes_come_by_rest_and_neighbours_together() -> None:
    missing = [span(10, 5), span(400, 20), span(900, 400), span(5000, 1)]
    pieces = plan_month("X", MONTH, missing, now=LATER)
    assert [(piece.start, piece.end) for piece in pieces] == [
        span(10, 410),
        span(900, 400),
        span(5000, 1),
    ]
    assert [piece.minutes for piece in pieces] == [25, 400, 1]
    assert sum(piece.cost.weight for piece in pieces) == 2 + 2 + 1


def test_a_day_that_lacks_more_than_a_page_is_a_file() -> None:
    [piece] = plan_month("X", MONTH, [span(1440, 501)], now=LATER)
    assert (piece.kind, piece.period) == ("day", "2025-02-02")
    [piece] = plan_month("X", MONTH, [span(1440, 500)], now=LATER)
    assert piece.kind == "rest"
    [piece] = plan_month("X", MONTH, [span(1440, 501)], now=LATER, tried={"2025-02-02"})
    assert piece.kind == "rest"


def test_without_rest_files_are_all_there_is() -> None:
    hole = [span(1440, 1)]
    plans = [plan_month("X", MONTH, hole, now=LATER, tried=tried, by_rest=False) for tried in
             ((), {MONTH}, {MONTH, "2025-02-02"})]  # fmt: skip
    assert [[piece.kind for piece in each] for each in plans] == [["month"], ["day"], []]


def test_long_spans_are_pieces_of_some_pages() -> None:
    days = [f"2025-02-{day:02}" for day in range(1, 29)]
    pieces = plan_month("X", MONTH, WHOLE, now=LATER, tried={MONTH, *days})
    assert all(piece.kind == "rest" and len(piece.pages) <= plan.MOST_PAGES for piece in pieces)
    assert minutes([page for piece in pieces for page in piece.pages]) == minutes(WHOLE)
    assert sum(piece.minutes for piece in pieces) == 28 * 1440
    assert all(minutes_in([page]) <= 500 for piece in pieces for page in piece.pages)


def test_costs_add_up() -> None:
    pieces = plan_month("X", MONTH, [span(0, 300), span(5000, 700)], now=LATER)
    total = sum((piece.cost for piece in pieces), plan.Cost())
    assert total.minutes == 1000
    assert total.requests == 1 + 2
    assert total.weight == 2


# -- spans ---------------------------------------------------------------------------------------

PLACES = st.sets(st.integers(0, 40))


@given(PLACES, st.integers(0, 40), st.integers(0, 40))
def test_holes_are_what_is_not_there(held: set[int], low: int, high: int) -> None:
    times = pl.Series(sorted(held), dtype=pl.Int64) * MINUTE_MS + START
    start, end = START + min(low, high) * MINUTE_MS, START + max(low, high) * MINUTE_MS
    found = holes(times, start, end)
    assert minutes(found) == minutes([(start, end)]) - set(times.to_list())
    assert all(before[1] < after[0] for before, after in itertools.pairwise(found))


@given(st.lists(st.tuples(PLACES, PLACES), max_size=3), PLACES)
def test_spans_are_sets_of_minutes(taken: list[tuple[set[int], set[int]]], kept: set[int]) -> None:
    spans = [span(at, 2) for at in sorted(kept) if at % 3 == 0]
    ends = [(min(a), max(b)) for a, b in taken if a and b and min(a) < max(b)]
    out = [span(low, high - low) for low, high in ends]
    assert minutes(without(spans, out)) == minutes(spans) - minutes(out)
    low, high = span(5, 15)
    assert minutes(within(spans, low, high)) == minutes(spans) & minutes([(low, high)])


def test_what_is_shorter_than_a_minute_is_nothing_to_ask_for() -> None:
    first, second = START, START + MINUTE_MS
    none = pl.Series([], dtype=pl.Int64)
    assert holes(none, first, first + 40_000) == []
    assert holes(none, first + 1, second + MINUTE_MS + 40_000) == [(second, second + MINUTE_MS)]
    assert holes(pl.Series([second]), first + 20_000, second + MINUTE_MS) == []
    # A registry that was written with an end within a minute takes all of that minute.
    assert without([(first, second)], [(first - MINUTE_MS, first + 17_123)]) == []
    hour = [span(0, 60)]
    assert without(hour, [(first, first + 90_123)]) == [span(2, 58)]
    assert without(hour, [(first + 90_123, END)]) == [span(0, 1)]
    pieces = plan_month("X", MONTH, without(hour, [(first, first + 90_123)]), now=LATER)
    assert [piece.pages for piece in pieces] == [[span(2, 58)]]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_the_plan_ends_with_all_that_can_be_had(seed: int) -> None:
    random = Random(seed)
    held = {at for at in minutes(WHOLE) if random.random() < random.choice([0.0, 0.9, 0.9999])}
    if random.random() < 0.5:
        gap = random.randrange(28 * 1440)
        held -= minutes([span(gap, 5000)])
    now = START + random.randrange(1, 60) * DAY_MS
    wanted = (START, min(END, now))
    held &= minutes([wanted])
    files_fail, rest_has = random.random(), random.random() < 0.8
    tried: set[str] = set()
    asked: list[Span] = []
    for _ in range(3000):
        times = pl.Series(sorted(held), dtype=pl.Int64)
        missing = without(holes(times, *wanted), asked)
        pieces = plan_month("X", MONTH, missing, now=now, tried=tried)
        if not pieces:
            break
        lacking = minutes(missing)
        assert lacking <= {at for piece in pieces for at in minutes([(piece.start, piece.end)])}
        for piece in pieces[:8]:
            inside = minutes([(piece.start, piece.end)])
            assert piece.minutes == len(inside & lacking)
            if piece.kind == "rest":
                asked.append((piece.start, piece.end))
                held |= inside if rest_has else set()
            else:
                assert piece.period not in tried
                tried.add(piece.period)
                held |= inside if random.random() > files_fail else set()
    else:
        pytest.fail("the plan never ends")
    settled = minutes(asked) | held
    assert minutes([wanted]) <= settled
