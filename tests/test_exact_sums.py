"""Window sums are `math.fsum` to the last bit after millions of minutes (SPEC 3)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import screener
from oracle.names import DEFAULT_WINDOWS

MINUTES = 2_000_000
START = 1_262_304_000_000  # 2010-01-01
SUMS = {
    "volume": "volume",
    "quote_volume": "quote_volume",
    "taker_buy_quote": "taker_buy_quote_volume",
}
NAMED = [f"{kind}_{window}" for kind in SUMS for window in DEFAULT_WINDOWS]


def log_uniform(
    chance: np.random.Generator, low: float, high: float, count: int
) -> NDArray[np.float64]:
    """Numbers whose exponents are uniform between those of two bounds."""
    found: NDArray[np.float64] = 10.0 ** chance.uniform(math.log10(low), math.log10(high), count)
    return np.clip(found, low, high)


def ties(chance: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Numbers whose sums lie at or next to the middle of two floats."""
    return chance.choice([1.0, 2.0**53, 2.0**-53, 2.0**-54, 1e-30, 0.0, 3.0, 2.0**52 + 1], count)


def frame_of(volume: NDArray[np.float64], quote_volume: NDArray[np.float64]) -> pl.DataFrame:
    """Candles at one price with these volumes, half of each bought by takers."""
    count = len(volume)
    price = np.full(count, 7.25)
    return pl.DataFrame(
        {
            "symbol": pl.repeat("BTCUSDT", count, eager=True),
            "open_time": START + 60_000 * np.arange(count, dtype=np.int64),
            "open": price,
            "high": price,
            "low": price,
            "close": price,
            "volume": volume,
            "quote_volume": quote_volume,
            "taker_buy_volume": volume * 0.0,
            "taker_buy_quote_volume": np.where(quote_volume / 2 < 1e-30, 0.0, quote_volume / 2),
        }
    )


def last_sums(values: Sequence[float]) -> dict[int, float]:
    """`math.fsum` of the newest minutes of every default window."""
    return {length: math.fsum(values[-length:]) for length in DEFAULT_WINDOWS.values()}


@pytest.fixture(scope="module")
def long_frame() -> pl.DataFrame:
    """Nearly four years of minutes: base volumes as the market has them, quote volumes nasty."""
    chance = np.random.default_rng(20_250_203)
    volume = log_uniform(chance, 1e-8, 1e12, MINUTES)
    quote_volume = log_uniform(chance, 1e-30, 1e30, MINUTES)
    calm = np.arange(MINUTES) // 5000 % 4
    quote_volume = np.where(calm == 1, log_uniform(chance, 1e-8, 1e-3, MINUTES), quote_volume)
    quote_volume = np.where(calm == 2, ties(chance, MINUTES), quote_volume)
    quote_volume = np.where(calm == 3, np.where(volume > 1e11, 1e30, 0.0), quote_volume)
    return frame_of(volume, quote_volume)


def test_windows_of_millions_of_minutes(long_frame: pl.DataFrame) -> None:
    """Sampled minutes and all of the last day, every default window."""
    found = screener.windows(long_frame, metrics=NAMED)
    assert found.height == MINUTES
    chance = random.Random(1)
    sampled = [chance.randrange(1440, MINUTES) for _ in range(3000)]
    rows = sorted({*sampled, *range(MINUTES - 1440, MINUTES)})
    for kind, column in SUMS.items():
        values = long_frame[column].to_list()
        for window, length in DEFAULT_WINDOWS.items():
            sums = found[f"{kind}_{window}"].gather(rows).to_list()
            expected = [math.fsum(values[row + 1 - length : row + 1]) for row in rows]
            assert sums == expected, f"{kind}_{window}"
            early = found[f"{kind}_{window}"].head(length + 2).to_list()
            assert early[: length - 1] == [None] * (length - 1)
            assert early[length - 1 :] == [
                math.fsum(values[row + 1 - length : row + 1])
                for row in range(length - 1, len(early))
            ]


def test_an_engine_after_millions_of_minutes(long_frame: pl.DataFrame) -> None:
    """The same of an engine that is fed in pieces of any size."""
    engine = screener.Engine(windows=("7m",))
    chance = random.Random(2)
    row = 0
    while row < MINUTES:
        count = min(chance.choice([1, 60, 1440, 100_000, 400_000]), MINUTES - row)
        engine.update_many(long_frame.slice(row, count))
        row += count
        metrics = engine.metrics("BTCUSDT")
        for kind, column in SUMS.items():
            values = long_frame[column].slice(max(0, row - 1440), min(row, 1440)).to_list()
            for window, length in {**DEFAULT_WINDOWS, "7m": 7}.items():
                expected = math.fsum(values[-length:]) if len(values) >= length else None
                assert metrics[f"{kind}_{window}"] == expected, f"{kind}_{window} at {row}"


@pytest.mark.parametrize("spike", [1e12, 1e22, 1e30])
@pytest.mark.parametrize("dust", [1e-8, 1e-30, 0.1])
def test_a_spike_that_has_left_leaves_no_trace(spike: float, dust: float) -> None:
    """Sums behind a spike are those of the dust alone."""
    count = 1 + 2 * 1440
    volume = np.full(count, dust)
    volume[100] = spike
    found = screener.windows(frame_of(volume, volume), metrics=NAMED)
    values = volume.tolist()
    for window, length in DEFAULT_WINDOWS.items():
        sums = found[f"volume_{window}"].to_list()
        expected: list[Any] = [None] * (length - 1)
        expected += [math.fsum(values[end - length : end]) for end in range(length, count + 1)]
        assert sums == expected
        assert found[f"quote_volume_{window}"].to_list() == expected
        assert sums[100 + length] == math.fsum([dust] * length)


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([1.0, 2.0**-53, 1e-30, 0.0, 0.0], 1.0 + 2.0**-52),
        ([1.0, 2.0**-53, 0.0, 0.0, 0.0], 1.0),
        ([1.0 + 2.0**-52, 2.0**-53, 0.0, 0.0, 0.0], 1.0 + 2.0**-51),
        ([1e30, 1e-30, 1e30, 1e-8, 1e12], math.fsum([1e30, 1e30, 1e12])),
        ([2.0**53, 1.0, 1e-30, 0.0, 0.0], 2.0**53 + 2),
        ([2.0**53, 1.0, 0.0, 0.0, 0.0], 2.0**53),
    ],
)
def test_halfway_between_two_floats(values: list[float], total: float) -> None:
    """A tie goes to the even float, and anything beyond it decides it, in any order."""
    assert math.fsum(values) == total
    chance = random.Random(0)
    for _ in range(10):
        chance.shuffle(values)
        column = np.array([3.3e29, 1e-30, *values])
        found = screener.windows(frame_of(column, column), metrics=["volume_5m"])
        assert found["volume_5m"].to_list()[-1] == total
