"""Alerts and candles made by hand and by hypothesis, for the tests of outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTE = 60_000
START = 1_738_368_000_000
HORIZONS = ("1m", "2m", "5m", "7m")


def candles(rows: Sequence[Sequence[float]], symbol: str = "AUSDT", start: int = 0) -> pl.DataFrame:
    """Minutes of one symbol from (open, high, low, close)."""
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(rows),
            "open_time": [START + (start + number) * MINUTE for number in range(len(rows))],
            "open": [float(row[0]) for row in rows],
            "high": [float(row[1]) for row in rows],
            "low": [float(row[2]) for row in rows],
            "close": [float(row[3]) for row in rows],
        },
        schema_overrides={"symbol": pl.String, "open_time": pl.Int64},
    )


def alerts(*minutes: float, **columns: object) -> pl.DataFrame:
    """Alerts raised so many minutes after the start; of a rise where nothing else is said."""
    base = {
        "symbol": "AUSDT",
        "triggered_at": [int(START + minute * MINUTE) for minute in minutes],
        "direction": "up",
    }
    columns = {name: value for name, value in (base | columns).items() if value is not None}
    return pl.DataFrame(columns)


FLAT = [(100, 101, 99, 100)] * 4


def one(frame: pl.DataFrame) -> dict[str, Any]:
    (row,) = frame.to_dicts()
    return row


@dataclass(frozen=True)
class Step:
    """A minute: how far it goes, how far it reaches beyond, and how many are missing before it."""

    jump: int
    move: int
    above: int
    below: int
    missing: int


steps = st.builds(
    Step,
    jump=st.sampled_from([0, 0, 0, -40, 25]),
    move=st.sampled_from([0, 1, -1, 7, -7, 40, -40]),
    above=st.sampled_from([0, 0, 2, 30]),
    below=st.sampled_from([0, 0, 2, 30]),
    missing=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1, 2]),
)


def walked(symbol: str, steps: Sequence[Step]) -> pl.DataFrame:
    price, time, rows, times = 10_000, START, [], []
    for step in steps:
        time += step.missing * MINUTE
        first = price + step.jump
        price = first + step.move
        high, low = max(first, price) + step.above, min(first, price) - step.below
        rows.append([value / 64 for value in (first, high, low, price)])
        times.append(time)
        time += MINUTE
    return candles(rows, symbol).with_columns(open_time=pl.Series(times, dtype=pl.Int64))


markets = st.tuples(
    st.lists(steps, min_size=1, max_size=40),
    st.lists(steps, max_size=40),
    st.lists(steps, max_size=20),
).map(
    lambda paths: pl.concat(
        walked(symbol, path)
        for symbol, path in zip(("AUSDT", "BTCUSDT", "月饼USDT"), paths, strict=True)
    )
)
raised_alerts = st.lists(
    st.tuples(
        st.sampled_from(["AUSDT", "AUSDT", "BTCUSDT", "月饼USDT", "NOUSDT"]),
        st.integers(-2, 44),
        st.sampled_from([0, 0, 0, 1, 59_999]),
        st.sampled_from(["up", "down", "flat"]),
    ),
    max_size=8,
    unique_by=lambda alert: alert[:3],
).map(
    lambda rows: pl.DataFrame(
        {
            "symbol": [row[0] for row in rows],
            "triggered_at": [START + row[1] * MINUTE + row[2] for row in rows],
            "direction": [row[3] for row in rows],
        },
        schema={"symbol": pl.String, "triggered_at": pl.Int64, "direction": pl.String},
    )
)
