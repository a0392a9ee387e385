"""Candles with planted faults, and what a check has to say of them: for tests and pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

from screener.demo import demo_market

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[pl.DataFrame], pl.DataFrame]

MINUTE = 60_000
START = 1_738_368_000_000
"""2025-02-01."""


def clean(symbols: int = 3, days: int = 3) -> pl.DataFrame:
    """Candles without a fault."""
    return demo_market(symbols=symbols, days=days, start=START)


def at(minute: int) -> int:
    """The open time of a minute after START."""
    return START + minute * MINUTE


def place(frame: pl.DataFrame, minute: int) -> int:
    """The row of a minute."""
    return int((frame["open_time"] == at(minute)).arg_max() or 0)


def with_cell(minute: int, **values: object) -> Change:
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


def without(first: int, minutes: int) -> Change:
    """A hole."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(~pl.col("open_time").is_between(at(first), at(first + minutes - 1)))

    return change


def repeated(minute: int, **values: object) -> Change:
    """The minute again after itself, with some columns changed."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        here = place(frame, minute)
        row = frame[here].with_columns(**{name: pl.lit(value) for name, value in values.items()})
        parts = [frame[: here + 1], row, frame[here + 1 :]]
        return pl.concat(parts, how="vertical_relaxed")

    return change


def scaled(first: int, minutes: int, factor: float, *names: str) -> Change:
    """Columns times a factor over some minutes."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        here = pl.col("open_time").is_between(at(first), at(first + minutes - 1))
        return frame.with_columns(
            pl.when(here).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
            for name in names
        )

    return change


def quiet(first: int, minutes: int) -> Change:
    """Minutes without a trade."""
    amounts = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    return scaled(first, minutes, 0.0, *amounts)


def late(minute: int) -> Change:
    """The minute's row comes five rows later."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        here = place(frame, minute)
        order = [*range(here), *range(here + 1, here + 6), here, *range(here + 6, frame.height)]
        return frame[order]

    return change


AMOUNTS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
QUOTES = ("quote_volume", "taker_buy_quote_volume")
PRICES = ("open", "high", "low", "close")

PLANTS: dict[str, tuple[str, int, Callable[[int], Change]]] = {
    "a hole": ("missing", 7, lambda m: without(m, 7)),
    "no close": ("value_missing", 1, lambda m: with_cell(m, close=None)),
    "close NaN": ("not_finite", 1, lambda m: with_cell(m, close=math.nan)),
    "volume infinite": ("not_finite", 1, lambda m: with_cell(m, volume=math.inf)),
    "low 0": ("not_positive", 1, lambda m: with_cell(m, low=0.0)),
    "open negative": ("not_positive", 1, lambda m: with_cell(m, open=-1.0)),
    "volume negative": ("negative", 1, lambda m: with_cell(m, volume=-5.0)),
    "trades negative": ("negative", 1, lambda m: with_cell(m, trades=-1)),
    "high 1e40": ("out_of_range", 1, lambda m: with_cell(m, high=1e40)),
    "volume 1e-40": ("out_of_range", 1, lambda m: with_cell(m, volume=1e-40)),
    "high below low": ("ohlc", 1, lambda m: with_cell(m, high=pl.col("low") / 2)),
    "close above high": ("ohlc", 1, lambda m: with_cell(m, close=pl.col("high") * 1.5)),
    "takers beyond all": (
        "taker", 1, lambda m: with_cell(m, taker_buy_volume=pl.col("volume") * 2),
    ),
    "before 2009": ("out_of_years", 1, lambda m: with_cell(m, open_time=1_000)),
    "half a minute late": ("misaligned", 1, lambda m: with_cell(m, open_time=at(m) + 30_000)),
    "twice": ("duplicate_same", 1, repeated),
    "twice, other trades": ("duplicate_differing", 1, lambda m: repeated(m, trades=999)),
    "out of order": ("out_of_order", 1, late),
    "a price tripled": ("jump", 2, lambda m: scaled(m, 1, 3.0, *PRICES, *QUOTES)),
    "quote volume of lots": ("quote_misfit", 1, lambda m: scaled(m, 1, 1e-3, *QUOTES)),
    "a wick": ("price_outlier", 1, lambda m: scaled(m, 1, 0.5, "low")),
    "a volume of a year": ("volume_outlier", 1, lambda m: scaled(m, 1, 1e6, *AMOUNTS)),
    "two quiet hours": ("zero_run", 120, lambda m: quiet(m, 120)),
}  # fmt: skip
"""Each fault by its name: the kind it is told as, how many, the planting at a minute."""


def _first(kind: str) -> int:
    # Taken out of the middle its minute would be missing too.
    return 0 if kind == "out_of_years" else 50


PLANTED: dict[str, tuple[str, int, int, Change]] = {
    name: (kind, _first(kind), count, plant(_first(kind)))
    for name, (kind, count, plant) in PLANTS.items()
}
"""Each fault planted once: the kind it is told as, its first minute, how many, the planting."""
