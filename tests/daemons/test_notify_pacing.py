"""Rates, digests, and the schedule of tries. Time is a number."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.notify.pacing import (
    DISCORD_LIMITS,
    TELEGRAM_GROUP_LIMITS,
    Capacity,
    Limit,
    Pacer,
    after_failure,
    after_hold,
    after_refusal,
    batch_size,
    jitter,
)
from screenerd.store.port import Delivery

ROW = Delivery(1, "a", "c", "pending", 0, 1000)


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=80),
    st.sampled_from([DISCORD_LIMITS, TELEGRAM_GROUP_LIMITS, (Limit(1, 1.0),)]),
)
def test_no_window_ever_holds_more_than_its_limit(
    gaps: list[float], limits: tuple[Limit, ...]
) -> None:
    pacer, now, sent = Pacer(limits), 0.0, []
    for gap in gaps:
        now += gap
        now += pacer.wait(now)
        # A wait may come out a rounding error short.
        now += pacer.wait(now)
        assert pacer.wait(now) == pytest.approx(0.0, abs=1e-9)
        pacer.sent(now)
        sent.append(now)
    for limit in limits:
        for first, after in zip(sent, sent[limit.count :], strict=False):
            assert after - first >= limit.seconds - 1e-6


def test_a_free_channel_does_not_wait() -> None:
    pacer = Pacer(DISCORD_LIMITS)
    for _ in range(5):
        assert pacer.wait(10.0) == 0.0
        pacer.sent(10.0)
    assert pacer.wait(10.5) == pytest.approx(1.5)
    assert pacer.room(10.5) == (0, 25)
    assert pacer.room(12.0) == (5, 25)


def test_a_hold_is_obeyed_and_a_shorter_one_does_not_end_it() -> None:
    pacer = Pacer(DISCORD_LIMITS)
    pacer.hold(50.0)
    pacer.hold(20.0)
    assert pacer.wait(10.0) == 40.0
    assert pacer.wait(50.0) == 0.0


DISCORD = Capacity(10, 25)


@pytest.mark.parametrize(
    ("due", "room", "size"),
    [
        (1, (5, 30), 1),
        (5, (5, 30), 1),
        (6, (5, 30), 2),
        (50, (5, 30), 10),
        (150, (5, 30), 10),
        (151, (5, 30), 25),
        (3, (1, 2), 3),
        (11, (1, 1), 11),
        (26, (1, 1), 25),
        (7, (0, 0), 7),
    ],
)
def test_a_digest_is_as_large_as_it_must_be(due: int, room: tuple[int, int], size: int) -> None:
    assert batch_size(due, room, DISCORD) == size


@pytest.mark.parametrize(
    ("limits", "capacity"), [(DISCORD_LIMITS, DISCORD), (TELEGRAM_GROUP_LIMITS, Capacity(25, 25))]
)
def test_a_storm_of_500_is_over_within_a_minute(
    limits: tuple[Limit, ...], capacity: Capacity
) -> None:
    pacer, now, due = Pacer(limits), 0.0, 500
    while due:
        now += pacer.wait(now)
        due -= batch_size(due, pacer.room(now), capacity)
        pacer.sent(now)
    assert now <= 60.0


def test_tries_are_quick_then_slow_then_over() -> None:
    row, now, waits = ROW, 0, []
    while row.state == "pending":
        row = after_failure(row, "broken", now)
        if row.state == "pending":
            waits.append((row.next_try - now) / 1000)
            now = row.next_try
    assert waits[:4] == [1.0, 4.0, 16.0, 900.0]
    assert set(waits[3:]) == {900.0}
    assert now / 3_600_000 == pytest.approx(24.0, abs=0.01)
    assert row.attempts == 100
    assert row.last_error is not None
    assert row.last_error.endswith("last: broken")


def test_jitter_spreads_around_one() -> None:
    random = Random(1)
    factors = [jitter(random) for _ in range(1000)]
    assert min(factors) >= 0.75
    assert max(factors) <= 1.25
    assert sum(factors) / 1000 == pytest.approx(1.0, abs=0.02)


def test_a_429_is_no_attempt_and_a_refusal_is_the_last_one() -> None:
    held = after_hold(ROW, 1.75, 5000)
    assert (held.attempts, held.next_try, held.state) == (0, 6750, "pending")
    gone = after_refusal(ROW, "gone")
    assert (gone.attempts, gone.state, gone.last_error) == (1, "dead", "gone")
