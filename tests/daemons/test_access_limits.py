"""How often a caller may call, against a bucket of tokens that is filled in fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.serve.access.limits import Limiter, address_key


def allowed(limiter: Limiter, key: str, now: float, tries: int = 1000) -> int:
    """How many of so many calls at once are allowed."""
    return sum(limiter.take(key, now) == 0.0 for _ in range(tries))


def test_the_101st_call_is_refused_and_told_how_long() -> None:
    limiter = Limiter(100)
    waits = [limiter.take("a", 5.0) for _ in range(101)]
    assert waits[:100] == [0.0] * 100
    assert waits[100] == pytest.approx(0.6, abs=1e-5)


def test_the_wait_told_is_neither_short_nor_long() -> None:
    limiter = Limiter(100)
    assert allowed(limiter, "a", 1000.1) == 100
    wait = limiter.take("a", 1000.25)
    assert wait == pytest.approx(0.45, abs=1e-5)
    assert limiter.take("a", 1000.25 + wait - 1e-5) > 0
    assert limiter.take("a", 1000.25 + wait) == 0.0
    assert limiter.take("a", 1000.25 + wait) == pytest.approx(0.6, abs=1e-5)


@given(st.floats(0, 1e8), st.integers(1, 1000))
def test_who_waits_as_told_is_allowed(now: float, per_minute: int) -> None:
    limiter = Limiter(per_minute)
    allowed(limiter, "a", now, tries=per_minute)
    wait = limiter.take("a", now)
    assert wait > 0
    assert limiter.take("a", now + wait) == 0.0


def test_refused_calls_do_not_put_the_next_one_off() -> None:
    limiter = Limiter(100)
    assert allowed(limiter, "a", 0.0, tries=5000) == 100
    assert limiter.take("a", 0.0) == pytest.approx(0.6, abs=1e-5)


@pytest.mark.parametrize(("rest", "gained"), [(0.0, 0), (6.0, 10), (59.4, 99), (60.0, 100)])
def test_a_rest_gives_back_what_was_gained_in_it(rest: float, gained: int) -> None:
    limiter = Limiter(100)
    allowed(limiter, "a", 0.0)
    assert allowed(limiter, "a", rest) == gained


def test_a_long_rest_saves_up_no_more_than_a_minute() -> None:
    limiter = Limiter(100)
    allowed(limiter, "a", 0.0)
    assert allowed(limiter, "a", 86_400.0) == 100


def test_callers_do_not_use_up_each_others_calls() -> None:
    limiter = Limiter(3)
    assert allowed(limiter, "a", 0.0) == 3
    assert allowed(limiter, "b", 0.0) == 3


@given(
    st.sampled_from([1, 2, 3, 5, 60, 100]),
    st.lists(st.tuples(st.integers(0, 90_000), st.integers(1, 130)), max_size=20),
)
def test_equals_a_bucket_of_tokens(per_minute: int, bursts: list[tuple[int, int]]) -> None:
    limiter, now_ms, tokens = Limiter(per_minute), 0, Fraction(per_minute)
    for gap_ms, calls in bursts:
        now_ms += gap_ms
        tokens = min(Fraction(per_minute), tokens + Fraction(gap_ms * per_minute, 60_000))
        for _ in range(calls):
            wait = limiter.take("a", now_ms / 1000)
            if tokens >= 1:
                assert wait == 0.0
                tokens -= 1
            else:
                assert wait == pytest.approx(float((1 - tokens) * 60 / per_minute), abs=1e-5)


def test_a_million_keys_take_bounded_room() -> None:
    limiter, largest = Limiter(100, most_keys=10_000), 0
    for n in range(1_000_000):
        limiter.take(str(n), n / 10_000)
        largest = max(largest, len(limiter))
    assert largest == 10_000
    assert len(limiter) > 5_000


def test_a_flood_of_keys_frees_nobody_from_the_limit() -> None:
    limiter = Limiter(100, most_keys=1000)
    # Old and at its limit: what is dropped by age alone would drop these first.
    for n in range(100):
        assert allowed(limiter, f"limited {n}", 0.0, tries=101) == 100
    for n in range(20_000):
        limiter.take(f"flood {n}", 1.0 + 29.0 * n / 20_000)
    for n in range(100):
        assert allowed(limiter, f"limited {n}", 30.0, tries=101) == 50


def test_where_all_are_busy_the_longest_unused_is_forgotten() -> None:
    limiter = Limiter(2, most_keys=4)
    for key in "abcd":
        assert allowed(limiter, key, 0.0) == 2
    assert limiter.take("a", 1.0) > 0
    assert limiter.take("e", 2.0) == 0.0
    assert len(limiter) == 4
    for key in "acde":
        assert limiter.take(key, 2.0) > 0 or key == "e"
    assert limiter.take("b", 2.0) == 0.0


@pytest.mark.parametrize(("per_minute", "most_keys"), [(0, 1), (-1, 1), (1, 0)])
def test_a_limit_below_one_is_no_limit(per_minute: int, most_keys: int) -> None:
    with pytest.raises(ValueError, match="is below 1"):
        Limiter(per_minute, most_keys)
    assert Limiter(1, 1).take("a", 0.0) == 0.0


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.2", "192.0.2.2"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:DB8::1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "?"),
        ("localhost", "?"),
        ("192.0.2.1:80", "?"),
        ("192.0.2.256", "?"),
        ("0x7f000001", "?"),
        ("1", "?"),
        ("?", "?"),
    ],
)
def test_what_an_address_is_counted_under(address: str, key: str) -> None:
    assert address_key(address) == key


def test_a_walk_through_a_64_is_one_caller_and_a_walk_through_many_is_many() -> None:
    limiter = Limiter(100)
    inside = [address_key(f"2001:db8:0:7:{n:x}::{n:x}") for n in range(1000)]
    across = [address_key(f"2001:db8:0:{n:x}::1") for n in range(8, 1008)]
    assert sum(limiter.take(key, 0.0) == 0.0 for key in inside) == 100
    assert sum(limiter.take(key, 0.0) == 0.0 for key in across) == 1000
