"""Any arrival order of the same candles ends in the same state, to the last bit (SPEC 2)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import screener
from oracle.scenario import AMOUNTS, OPTIONAL, Market, Run, Shape

MIDNIGHT = 28_972_800
Candle = dict[str, Any]
Gaps = Literal["pending", "absent"]
GAPS: tuple[Gaps, ...] = ("pending", "absent")
State = tuple[dict[str, Any], list[dict[str, Any]]]


def end(arriving: Sequence[Candle], gaps: Gaps, windows: tuple[str, ...]) -> State:
    """Metrics and candles after the last candle, none refused and nothing restarted."""
    engine = screener.Engine(gaps=gaps, windows=windows)
    for candle in arriving:
        engine.update(candle)
    stats = dict(engine.stats)
    assert stats["appended"] + stats["corrected"] == len(arriving)
    assert stats["restarted"] == 0
    symbol = arriving[0]["symbol"]
    return dict(engine.metrics(symbol)), engine.candles(symbol, 1440).to_dicts()


def shuffled(candles: Sequence[Candle], block: int, chance: random.Random) -> list[Candle]:
    """The candles with each block of so many in an order of its own.

    No minute is refused and none restarts its symbol as long as a block and the holes in it span
    less than the ring.
    """
    blocks = [list(candles[at : at + block]) for at in range(0, len(candles), block)]
    for one in blocks:
        chance.shuffle(one)
    return [candle for one in blocks for candle in one]


runs = st.builds(
    Run,
    st.just(0),
    st.integers(1, 60),
    st.builds(
        Shape,
        step=st.sampled_from([0, 1, -1, 30, -30, 200, -200]),
        wick=st.sampled_from([0, 3, 5000]),
        volume=st.sampled_from([*AMOUNTS, "odd", "paid"]),
        known=st.sampled_from([*OPTIONAL]),
    ),
    st.sampled_from(["stream", "rest", "archive", "synthetic"]),
)


@given(
    steps=st.lists(runs, min_size=1, max_size=12),
    minute=st.integers(0, 1439),
    kept=st.sampled_from([1.0, 0.9, 0.5, 0.05]),
    seed=st.integers(0, 2**32),
    gaps=st.sampled_from(GAPS),
    windows=st.sampled_from([(), ("1m", "7m", "12h")]),
)
def test_order_inside_the_ring(
    steps: list[Run], minute: int, kept: float, seed: int, gaps: Gaps, windows: tuple[str, ...]
) -> None:
    """Up to 720 minutes with holes, the very first candle being any of them."""
    chance = random.Random(seed)
    market = Market(1, MIDNIGHT + minute, timed=False)
    candles = [candle for step in steps for candle in market.candles(step)]
    candles = [candle for candle in candles if chance.random() < kept] or candles[:1]
    expected = end(candles, gaps, windows)
    assert end(shuffled(candles, len(candles), chance), gaps, windows) == expected
    assert end(candles[::-1], gaps, windows) == expected


@pytest.mark.parametrize("block", [2, 7, 60, 500, 1440])
@pytest.mark.parametrize("kept", [1.0, 0.8])
def test_order_past_the_ring(block: int, kept: float) -> None:
    """4000 minutes: what arrived late has left the ring, and only the bars remember it."""
    chance = random.Random(block)
    market = Market(1, MIDNIGHT + 3, timed=False)
    candles = market.warm_up(0, 4000, 0.2, "usual")
    # Whole blocks span less than the ring only if they have no holes to stretch them.
    gone = [chance.random() >= kept for _ in candles]
    arriving = [
        candle
        for at in range(0, len(candles), block)
        for candle in shuffled(
            [
                candle
                for candle, lost in zip(
                    candles[at : at + block], gone[at : at + block], strict=True
                )
                if not lost
            ],
            block,
            chance,
        )
    ]
    in_order = sorted(arriving, key=lambda candle: candle["open_time"])
    assert end(arriving, "pending", ()) == end(in_order, "pending", ())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_order_of_real_candles(shared_data: Path, seed: int) -> None:
    """Some minutes of a real file, each block of them in any order."""
    path = shared_data / "klines" / "um_full_2025-02" / "NEARUSDT.parquet"
    candles = pl.read_parquet(path).slice(1500 * seed, 3500).to_dicts()
    arriving = shuffled(candles, 45 * seed, random.Random(seed))
    assert end(arriving, "pending", ("10m",)) == end(candles, "pending", ("10m",))
