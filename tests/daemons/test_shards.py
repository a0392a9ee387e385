"""Shards: which symbols belong together, and who has which when workers come and go."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.shards import Shard, assignment, shard_of

pytestmark = pytest.mark.hypothesis


@given(st.text(min_size=1), st.integers(1, 64))
def test_every_symbol_is_in_exactly_one_shard(symbol: str, shards: int) -> None:
    owners = [n for n in range(shards) if Shard(n, shards).owns(symbol)]
    assert owners == [shard_of(symbol, shards)]


def test_the_shard_of_a_symbol_never_changes() -> None:
    # Streams that are kept have these in their subjects.
    known = {"BTCUSDT": 3, "ETHUSDT": 4, "1000PEPEUSDT": 1, "币安人生USDT": 0}
    assert {symbol: shard_of(symbol, 8) for symbol in known} == known


def test_five_hundred_symbols_are_spread() -> None:
    counts = Counter(shard_of(f"S{n}USDT", 8) for n in range(500))
    assert len(counts) == 8
    assert max(counts.values()) < 1.5 * 500 / 8


@given(st.integers(1, 64), st.integers(1, 64))
def test_every_shard_has_one_worker_and_workers_have_as_many(shards: int, workers: int) -> None:
    owned = assignment(shards, workers)
    assert len(owned) == workers
    assert sorted(shard for one in owned for shard in one) == list(range(shards))
    if workers <= shards:
        sizes = [len(one) for one in owned]
        assert min(sizes) >= shards // workers
        assert max(sizes) <= -(-shards // workers) + 1


@given(st.integers(1, 64), st.integers(1, 32), st.integers(1, 32))
def test_only_what_must_move_moves(shards: int, before: int, after: int) -> None:
    old, new = assignment(shards, before), assignment(shards, after)
    if after >= before:
        for mine, then in zip(old, new, strict=False):
            assert then <= mine, "who stays gets nothing when others come"
    else:
        for mine, then in zip(old, new, strict=False):
            assert mine <= then, "who stays loses nothing when others go"


def test_a_shard_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no shard 8 of 8"):
        Shard(8, 8)
    with pytest.raises(ValueError, match="workers = 0"):
        assignment(8, 0)
