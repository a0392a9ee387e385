"""Candles with planted faults, and what a check has to say of them: for tests and pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

from screener.demo import demo_market

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE = 60_000
START = 1_738_368_000_000
"""2025-02-01."""


def clean(symbols: int = 3, days: int = 3) -> pl.DataFrame:
    """Candles without a fault."""
    return demo_market(symbols=symbols, days=days, start=START)


def at(minute: int) -> int:
    """The open time of a minute after START."""
    return START + minute * MINUTE


def with_cell(minute: int, **values: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A change of some columns of one minute, for the frame of one symbol."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        here = pl.col("open_time") == at(minute)
        return frame.with_columns(
            pl.when(here)
            .then(value if isinstance(value, pl.Expr) else pl.lit(value, frame.schema[name]))
            .otherwise(pl.col(name))
            .alias(name)
            for name, value in values.items()
        )

    return change


def without(first: int, minutes: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A hole."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(~pl.col("open_time").is_between(at(first), at(first + minutes - 1)))

    return change


def repeated(minute: int, **values: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The minute again after itself, with some columns changed."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        row = frame.filter(pl.col("open_time") == at(minute))
        row = row.with_columns(**{name: pl.lit(value) for name, value in values.items()})
        return pl.concat([frame, row], how="vertical_relaxed").sort(
            "open_time", maintain_order=True
        )

    return change


def scaled(
    first: int, minutes: int, factor: float, *names: str
) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Columns times a factor over some minutes."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        here = pl.col("open_time").is_between(at(first), at(first + minutes - 1))
        return frame.with_columns(
            pl.when(here).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
            for name in names
        )

    return change


def quiet(first: int, minutes: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Minutes without a trade."""
    amounts = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    return scaled(first, minutes, 0.0, *amounts)


def late(minute: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The minute's row comes five rows later."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        here = frame["open_time"].search_sorted(at(minute))
        order = [*range(here), *range(here + 1, here + 6), here, *range(here + 6, frame.height)]
        return frame[order]

    return change


AMOUNTS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
QUOTES = ("quote_volume", "taker_buy_quote_volume")
PRICES = ("open", "high", "low", "close")

PLANTED: dict[str, tuple[str, int, int, Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "a hole": ("missing", 100, 7, without(100, 7)),
    "no close": ("value_missing", 50, 1, with_cell(50, close=None)),
    "close NaN": ("not_finite", 50, 1, with_cell(50, close=math.nan)),
    "volume infinite": ("not_finite", 50, 1, with_cell(50, volume=math.inf)),
    "low 0": ("not_positive", 50, 1, with_cell(50, low=0.0)),
    "open negative": ("not_positive", 50, 1, with_cell(50, open=-1.0)),
    "volume negative": ("negative", 50, 1, with_cell(50, volume=-5.0)),
    "trades negative": ("negative", 50, 1, with_cell(50, trades=-1)),
    "high 1e40": ("out_of_range", 50, 1, with_cell(50, high=1e40)),
    "volume 1e-40": ("out_of_range", 50, 1, with_cell(50, volume=1e-40)),
    "high below low": ("ohlc", 50, 1, with_cell(50, high=pl.col("low") / 2)),
    "close above high": ("ohlc", 50, 1, with_cell(50, close=pl.col("high") * 1.5)),
    "takers beyond all": (
        "taker", 50, 1, with_cell(50, taker_buy_volume=pl.col("volume") * 2),
    ),
    "before 2009": ("out_of_years", 0, 1, with_cell(0, open_time=1_000)),
    "half a minute late": ("misaligned", 50, 1, with_cell(50, open_time=at(50) + 30_000)),
    "twice": ("duplicate_same", 50, 1, repeated(50)),
    "twice, other volume": ("duplicate_differing", 50, 1, repeated(50, trades=999)),
    "out of order": ("out_of_order", 50, 1, late(50)),
    "a price tripled": ("jump", 50, 2, scaled(50, 1, 3.0, *PRICES, *QUOTES)),
    "quote volume of lots": ("quote_misfit", 50, 1, scaled(50, 1, 1e-3, *QUOTES)),
    "a wick": ("price_outlier", 50, 1, scaled(50, 1, 0.5, "low")),
    "a volume of a year": ("volume_outlier", 50, 1, scaled(50, 1, 1e6, *AMOUNTS)),
    "two quiet hours": ("zero_run", 200, 120, quiet(200, 120)),
}  # fmt: skip
"""Each fault by its name: the kind it is told as, its first minute, how many, the planting."""
