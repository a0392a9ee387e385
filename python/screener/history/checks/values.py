"""Rows that break SPEC section 1: whether there are any, and which, by the checks of `quality`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from screener.history.times import MINUTE_MS
from screener.quality import in_years, refuse_other_columns, row_checks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from screener.types import ArrowFrame

__all__ = [
    "KIND_OF_REASON",
    "REQUIRED",
    "as_numbers",
    "broken_rows",
    "impossible_rows",
    "numbers",
]

_PRICES = ("open", "high", "low", "close")
REQUIRED = (*_PRICES, "volume")
_AMOUNTS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
_PARTS = {"taker_buy_volume": "volume", "taker_buy_quote_volume": "quote_volume"}
_SMALLEST, _LARGEST = 1e-30, 1e30
# As in `quality`: real files hold 463.68016 of 463.68015999999994.
_ROUNDING = 1e-9

KIND_OF_REASON: Final = {
    "time outside the years 2009 to 2100": "out_of_years",
    "value missing": "value_missing",
    "value not finite": "not_finite",
    "value beyond 1e-30 to 1e30": "out_of_range",
    "price not above 0": "not_positive",
    "high below low": "ohlc",
    "open or close outside low to high": "ohlc",
    "volume or trades below 0": "negative",
    "taker volume above the total": "taker",
}
"""Kind of finding by the reason that `quality` gives."""


def numbers(columns: list[str]) -> list[str]:
    """The columns of prices and amounts that there are."""
    return [name for name in (*_PRICES, *_AMOUNTS) if name in columns]


def broken_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that break SPEC section 1, each with the first way in which it does.

    Args:
        rows: Candles with numbers as floats or integers.

    Returns:
        The rows with `kind, field, value`.
    """
    import polars as pl

    suspect = pl.any_horizontal(
        ~in_years(),
        *(~expr.fill_null(value=True) for expr in _soundness(tuple(rows.columns))),
        *(pl.col(name).is_null() for name in ("open_time", *REQUIRED)),
    )
    return _named(rows.filter(suspect))


def impossible_rows(rows: pl.DataFrame, *, now: int | None = None) -> pl.DataFrame:
    """The rows that cannot be, also by their time: `broken_rows`, misaligned and future ones.

    Args:
        rows: As `broken_rows` takes them.
        now: The time, ms; minutes that open later cannot be. Without it none is asked.

    Returns:
        The rows with `kind, field, value`.
    """
    import polars as pl

    broken = broken_rows(rows)
    time = pl.col("open_time")
    kinds = {"misaligned": time % MINUTE_MS != 0}
    if now is not None:
        kinds["future"] = time > now
    kind = pl.coalesce(pl.when(is_so).then(pl.lit(name)) for name, is_so in kinds.items())
    mistimed = (
        rows.filter(in_years() & pl.any_horizontal(kinds.values()))
        .with_columns(kind=kind, field=pl.lit("open_time"), value=time.cast(pl.Float64))
        .select(broken.columns)
    )
    return pl.concat([broken, mistimed]).unique(rows.columns, keep="first", maintain_order=True)


def _named(suspects: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    checks = list(row_checks(suspects.columns))
    broken = [check.broken.fill_null(value=False) for check in checks]
    pairs = list(zip(broken, checks, strict=True))
    return suspects.with_columns(
        kind=pl.coalesce(
            pl.when(fails).then(pl.lit(KIND_OF_REASON[check.reason])) for fails, check in pairs
        ),
        field=pl.coalesce(pl.when(fails).then(pl.lit(check.field)) for fails, check in pairs),
        value=pl.coalesce(
            pl.when(fails).then(pl.col(check.field).cast(pl.Float64, strict=False))
            for fails, check in pairs
        ),
    ).filter(pl.col("kind").is_not_null())


def _soundness(columns: tuple[str, ...]) -> Iterator[pl.Expr]:
    """What holds in every sound row. NaN is above every number, so each has an upper bound."""
    import polars as pl

    low, high = pl.col("low"), pl.col("high")
    yield (
        (low >= _SMALLEST)
        & (low <= pl.col("open"))
        & (low <= pl.col("close"))
        & (pl.col("open") <= high)
        & (pl.col("close") <= high)
        & (high <= _LARGEST)
    )
    for name in _AMOUNTS:
        if name not in columns:
            continue
        amount = pl.col(name)
        total = _PARTS.get(name)
        most = pl.col(total) * (1 + _ROUNDING) if total in columns else pl.lit(_LARGEST)
        yield ((amount >= _SMALLEST) | (amount == 0)) & (amount <= most)


def as_numbers(frame: ArrowFrame) -> pl.DataFrame:
    """The columns that are looked at; numbers become floats or integers, a symbol is never null.

    Raises:
        DataError: A column is missing or of a type that holds no numbers.
    """
    import polars as pl

    rows = frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)
    refuse_other_columns(rows.schema)
    symbol = pl.col("symbol")
    columns = [
        symbol.cast(pl.String).fill_null("") if rows["symbol"].null_count() else symbol,
        pl.col("open_time").cast(pl.Int64, strict=False),
        *(_as_number(rows, name) for name in numbers(rows.columns)),
        *(name for name in ("source",) if name in rows.columns),
    ]
    return rows.select(columns)


def _as_number(rows: pl.DataFrame, name: str) -> pl.Expr:
    import polars as pl

    column = pl.col(name)
    dtype = rows.schema[name]
    is_whole = dtype.is_integer() and name == "trades"
    return column if dtype == pl.Float64 or is_whole else column.cast(pl.Float64, strict=False)
