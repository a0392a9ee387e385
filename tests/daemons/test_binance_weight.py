"""The weight budget: never above its share, whatever the exchange says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screener.history.weight import Budget, klines_weight
from screenerd.model import MINUTE_MS

NOW = 29_000_000 * MINUTE_MS


def test_the_weight_of_klines() -> None:
    weights = {1: 1, 100: 1, 101: 2, 500: 2, 501: 5, 1000: 5, 1001: 10, 1500: 10}
    assert {limit: klines_weight(limit) for limit in weights} == weights


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(0, 20_000), st.integers(0, 3000)), max_size=300
    )
)
def test_a_minute_never_gets_more_than_its_share(
    requests: list[tuple[int, int, int]],
) -> None:
    budget = Budget(limit=1000)
    now = NOW
    spent: dict[int, int] = {}
    for cost, later, told in requests:
        now += later
        if budget.wait_ms(cost, now) == 0:
            minute = now // MINUTE_MS
            spent[minute] = spent.get(minute, 0) + cost
            assert spent[minute] <= 800
        budget.answered(told % 700, now)
        assert budget.used >= spent.get(now // MINUTE_MS, 0)


def test_others_behind_the_same_address_count() -> None:
    budget = Budget(limit=1000)
    budget.answered(795, NOW)
    assert budget.wait_ms(5, NOW) == 0
    assert budget.wait_ms(1, NOW + 1000) == MINUTE_MS - 1000
    assert budget.wait_ms(1, NOW + MINUTE_MS) == 0
    assert budget.peak == 800


@pytest.mark.parametrize(
    ("status", "after", "banned", "until"),
    [
        (429, None, 0, NOW + 60_000),
        (418, None, 0, NOW + 120_000),
        (429, 7.0, 0, NOW + 7_000),
        (418, 1.0, NOW + 500_000, NOW + 500_000),
    ],
)
def test_a_refusal_is_obeyed(status: int, after: float | None, banned: int, until: int) -> None:
    budget = Budget(limit=1000)
    assert budget.refused(status, after, banned, NOW) == until
    assert budget.wait_ms(1, NOW) == until - NOW
    assert budget.wait_ms(1, until) == 0


def test_more_than_a_minute_allows() -> None:
    with pytest.raises(ValueError, match="801"):
        Budget(limit=1000).wait_ms(801, NOW)
