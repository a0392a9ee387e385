"""What is wrong with a frame of candles, before an engine or a backtest meets it.

Nothing is changed and nothing is judged by taste: every count is of something that the engine
fills, counts, sorts or refuses (SPEC sections 1 and 2).
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import polars as pl

    from screener.types import ArrowFrame

__all__ = ["InvalidRows", "KlineReport", "SymbolQuality", "inspect_klines"]

_MINUTE = 60_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEARS = (1_230_768_000_000, 4_133_980_800_000)
"""2009 to 2100 in ms, the end left out: the times that SPEC section 1 knows."""

_SMALLEST, _LARGEST = 1e-30, 1e30

_PRICES = ("open", "high", "low", "close")
_REQUIRED = (*_PRICES, "volume")
_VOLUMES = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
_PARTS = {"taker_buy_volume": "volume", "taker_buy_quote_volume": "quote_volume"}
# As the engine has it: where takers bought all, real files hold 463.68016 of 463.68015999999994.
_ROUNDING = 1e-9

# A terminal shows about so many lines; `to_dict` has the rest.
_MOST_TABLE_ROWS = 40
_MOST_NAMES = 5


_TOTALS = (
    "rows",
    "duplicates",
    "missing",
    "holes",
    "longest_hole",
    "out_of_order",
    "misaligned",
    "invalid_rows",
    "zero_volume",
)
# Left null where a symbol has none; every other count is 0 then.
_MAY_BE_NONE = ("first", "last", "longest_hole_start")

_REMEDY = "read_klines gives the columns this needs"


@dataclass(frozen=True, slots=True)
class InvalidRows:
    """Rows of a symbol that break SPEC section 1 in one way, with the first as the example.

    Attributes:
        reason: What they break.
        count: How many rows.
        row: The first of them, counted from 0 as in `frame[row]`.
        open_time: Its open time, as the frame has it.
        field: The column at fault.
        value: What it holds there; None where it is missing.
    """

    reason: str
    count: int
    row: int
    open_time: int | None
    field: str
    value: float | None


@dataclass(frozen=True, slots=True)
class SymbolQuality:
    """What was found for one symbol. Times are int64 ms since the epoch, UTC.

    Rows whose time lies outside the years 2009 to 2100 are invalid, and left out of everything
    that counts minutes.

    Attributes:
        symbol: Its name.
        rows: Rows, bad ones included.
        first: Earliest open time.
        last: Latest open time.
        duplicates_equal: Rows beyond the first of a minute that say the same.
        duplicates_differing: Rows beyond the first of a minute that say something else.
        missing: Minutes between `first` and `last` without a row.
        holes: Runs of missing minutes.
        longest_hole: Minutes of the longest run.
        longest_hole_start: Its first missing minute.
        out_of_order: Rows older than a row before them.
        misaligned: Rows whose time is no whole minute.
        zero_volume: Minutes in which nothing was traded (no fault of the data).
        invalid_rows: Rows that break SPEC section 1 in at least one way.
        invalid: The ways, each with its count and first example.
    """

    symbol: str
    rows: int
    first: int | None
    last: int | None
    duplicates_equal: int
    duplicates_differing: int
    missing: int
    holes: int
    longest_hole: int
    longest_hole_start: int | None
    out_of_order: int
    misaligned: int
    zero_volume: int
    invalid_rows: int
    invalid: tuple[InvalidRows, ...]

    @property
    def duplicates(self) -> int:
        """Rows beyond the first of a minute."""
        return self.duplicates_equal + self.duplicates_differing

    @property
    def clean(self) -> bool:
        """Whether an engine would take every row, in this order and without a fill."""
        return not (
            self.duplicates
            or self.missing
            or self.out_of_order
            or self.misaligned
            or self.invalid_rows
        )


@dataclass(frozen=True, slots=True)
class KlineReport:
    """What `inspect_klines` found; `print` it, or take `to_dict` for JSON.

    Attributes:
        symbols: One entry a symbol, in the order in which the frame names them.
    """

    symbols: tuple[SymbolQuality, ...]

    @property
    def clean(self) -> bool:
        """Whether no symbol has a problem."""
        return all(symbol.clean for symbol in self.symbols)

    @property
    def rows(self) -> int:
        """Rows of all symbols."""
        return sum(symbol.rows for symbol in self.symbols)

    @property
    def duplicates(self) -> int:
        """Rows beyond the first of a minute, of all symbols."""
        return sum(symbol.duplicates for symbol in self.symbols)

    @property
    def missing(self) -> int:
        """Missing minutes of all symbols."""
        return sum(symbol.missing for symbol in self.symbols)

    @property
    def holes(self) -> int:
        """Runs of missing minutes of all symbols."""
        return sum(symbol.holes for symbol in self.symbols)

    @property
    def longest_hole(self) -> int:
        """Minutes of the longest hole of any symbol."""
        return max((symbol.longest_hole for symbol in self.symbols), default=0)

    @property
    def out_of_order(self) -> int:
        """Rows older than a row of their symbol before them."""
        return sum(symbol.out_of_order for symbol in self.symbols)

    @property
    def misaligned(self) -> int:
        """Rows whose time is no whole minute, of all symbols."""
        return sum(symbol.misaligned for symbol in self.symbols)

    @property
    def invalid_rows(self) -> int:
        """Rows that break SPEC section 1, of all symbols."""
        return sum(symbol.invalid_rows for symbol in self.symbols)

    @property
    def zero_volume(self) -> int:
        """Minutes in which nothing was traded, of all symbols."""
        return sum(symbol.zero_volume for symbol in self.symbols)

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for each kind of problem, with what to do about it."""
        return tuple(_problems(self))

    def to_dict(self) -> dict[str, object]:
        """Totals and symbols as JSON knows them: values that are not finite become texts."""
        totals = {name: getattr(self, name) for name in _TOTALS}
        return {"clean": self.clean, **totals, "symbols": [_plain(s) for s in self.symbols]}

    def __str__(self) -> str:
        """A table with a line a symbol, then a line a problem with what to do about it."""
        problems = self.problems or ["No problem found."]
        return "\n".join([*_table(self), "", *problems])


def inspect_klines(frame: ArrowFrame) -> KlineReport:
    """Count what is wrong with a frame of candles.

    Args:
        frame: Columns as `read_klines` gives them: symbol, open_time (int64 ms), open, high, low,
            close, volume, and what there is of quote_volume, trades, taker_buy_volume,
            taker_buy_quote_volume. Anything with `__arrow_c_stream__` will do.

    Returns:
        The report. Candles that come in several open versions count as duplicates that differ.

    Raises:
        DataError: A column is missing or of a type that holds no numbers.

    Example:
        >>> from screener.demo import demo_market
        >>> from screener.quality import inspect_klines
        >>> inspect_klines(demo_market(symbols=2, days=1)).clean
        True
    """
    import polars as pl

    rows = _prepared(frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame))
    timed = rows.filter(in_years())
    failed = _failed_checks(rows)
    counts = rows.group_by("symbol", maintain_order=True).agg(rows=pl.len())
    for found in (_order(timed), _minutes(timed), _duplicates(timed), _invalid_rows(rows, failed)):
        counts = counts.join(found, on="symbol", how="left", maintain_order="left")
    counts = counts.with_columns(pl.exclude("symbol", *_MAY_BE_NONE).fill_null(0))
    invalid = _invalid(rows, failed)
    return KlineReport(
        tuple(
            SymbolQuality(**found, invalid=tuple(invalid.get(found["symbol"], ())))
            for found in counts.iter_rows(named=True)
        )
    )


# -- counting ------------------------------------------------------------------------------------


def _prepared(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that are looked at, numbers as floats, with `row` and `minute`."""
    import polars as pl

    refuse_other_columns(frame.schema)
    symbol = pl.col("symbol").cast(pl.String).fill_null("")
    open_time = pl.col("open_time").cast(pl.Int64, strict=False)
    numbers = pl.col(_numbers(frame.columns)).cast(pl.Float64, strict=False)
    return (
        frame.select(symbol, open_time, numbers)
        .with_columns(minute=pl.col("open_time") // _MINUTE * _MINUTE)
        .with_row_index("row")
    )


def _numbers(columns: Collection[str]) -> list[str]:
    return [name for name in (*_PRICES, *_VOLUMES) if name in columns]


def refuse_other_columns(schema: pl.Schema) -> None:
    """Refuses a frame without the columns of candles, or with others in their place.

    Raises:
        DataError: A column is missing or of a type that holds no numbers.
    """
    import polars as pl

    for name in ("symbol", "open_time", *_REQUIRED):
        if name not in schema:
            raise DataError(reason="no such column", column=name, remedy=_REMEDY)
    for name in ("open_time", *_numbers(schema)):
        dtype = schema[name]
        is_right = dtype.is_integer() if name == "open_time" else dtype.is_numeric()
        if not is_right and dtype != pl.Null:
            meaning = "int64 ms" if name == "open_time" else "numbers"
            raise DataError(reason=f"holds {dtype}, not {meaning}", column=name, remedy=_REMEDY)


def in_years() -> pl.Expr:
    """Whether `open_time` lies in the years that SPEC section 1 knows."""
    import polars as pl

    return pl.col("open_time").is_between(*YEARS, closed="left")


def _order(timed: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    time = pl.col("open_time")
    return timed.group_by("symbol").agg(
        first=time.min(),
        last=time.max(),
        out_of_order=(time < time.cum_max().shift(1)).sum(),
        misaligned=(time != pl.col("minute")).sum(),
    )


def _firsts(timed: pl.DataFrame) -> pl.Series:
    """Marks the first row of every minute, in the order of the frame."""
    import polars as pl

    return timed.select(pl.col("minute").is_first_distinct().over("symbol")).to_series()


def _minutes(timed: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    minute = pl.col("minute")
    hole = minute.diff() // _MINUTE - 1
    longest = hole.arg_max()
    return (
        timed.filter(_firsts(timed))
        .sort("symbol", "minute")
        .group_by("symbol")
        .agg(
            missing=hole.sum(),
            holes=(hole > 0).sum(),
            longest_hole=hole.max(),
            longest_hole_start=pl.when(hole.max() > 0).then(
                minute.get(longest) - hole.max() * _MINUTE
            ),
            zero_volume=(pl.col("volume") == 0).sum(),
        )
    )


def _duplicates(timed: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    said = [name for name in timed.columns if name not in ("symbol", "minute", "row")]
    is_same = pl.col("is_same")
    return (
        repeats(timed, said)
        .group_by("symbol")
        .agg(duplicates_equal=is_same.sum(), duplicates_differing=(~is_same).sum())
    )


def repeats(timed: pl.DataFrame, said: Sequence[str]) -> pl.DataFrame:
    """The rows beyond the first of a minute, with `is_same`: whether they say what it says.

    Each column of the first row stands beside its own, as `<name>_first`.
    """
    import polars as pl

    is_first = _firsts(timed)
    firsts, extras = timed.filter(is_first), timed.filter(~is_first)
    is_same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_first")) for name in said)
    pairs = extras.join(firsts, on=("symbol", "minute"), suffix="_first", maintain_order="left")
    return pairs.with_columns(is_same=is_same)


# -- invalid rows --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """One way in which a row can break SPEC section 1, and the column it shows in."""

    reason: str
    field: str
    broken: pl.Expr


def row_checks(columns: Sequence[str]) -> Iterator[Check]:
    """All checks on these columns. NaN compares like a number: only finite cells are compared."""
    import polars as pl

    def finite(broken: pl.Expr, *names: str) -> pl.Expr:
        return pl.all_horizontal(broken, *(pl.col(name).is_finite() for name in names))

    yield Check("time outside the years 2009 to 2100", "open_time", ~in_years())
    for name in ("open_time", *_REQUIRED):
        yield Check("value missing", name, pl.col(name).is_null())
    for name in _numbers(columns):
        size = pl.col(name).abs()
        is_extreme = (size > _LARGEST) | ((size < _SMALLEST) & (size > 0))
        yield Check("value not finite", name, ~pl.col(name).is_finite())
        yield Check("value beyond 1e-30 to 1e30", name, finite(is_extreme, name))
    for name in _PRICES:
        yield Check("price not above 0", name, finite(pl.col(name) <= 0, name))
    low, high = pl.col("low"), pl.col("high")
    yield Check("high below low", "high", finite(high < low, "high", "low"))
    for name in ("open", "close"):
        is_outside = (low <= high) & ~pl.col(name).is_between(low, high)
        yield Check("open or close outside low to high", name, finite(is_outside, *_PRICES))
    for name in _VOLUMES:
        if name in columns:
            yield Check("volume or trades below 0", name, finite(pl.col(name) < 0, name))
    for part, total in _PARTS.items():
        if part in columns and total in columns:
            is_more = finite(pl.col(part) > pl.col(total) * (1 + _ROUNDING), part, total)
            yield Check("taker volume above the total", part, is_more)


def _failed_checks(rows: pl.DataFrame) -> list[Check]:
    """The checks that any row fails: one pass over the frame, and no other where all is well."""
    checks = list(row_checks(rows.columns))
    counts = rows.select(check.broken.any().alias(str(n)) for n, check in enumerate(checks)).row(0)
    return [check for check, has_failed in zip(checks, counts, strict=True) if has_failed]


def _invalid_rows(rows: pl.DataFrame, failed: Sequence[Check]) -> pl.DataFrame:
    import polars as pl

    is_invalid = pl.any_horizontal(pl.lit(value=False), *(check.broken for check in failed))
    return rows.filter(is_invalid).group_by("symbol").agg(invalid_rows=pl.len())


def _invalid(rows: pl.DataFrame, failed: Sequence[Check]) -> dict[str, list[InvalidRows]]:
    invalid: dict[str, list[InvalidRows]] = {}
    for reason in dict.fromkeys(check.reason for check in failed):
        checks = [check for check in failed if check.reason == reason]
        for symbol, *found in _examples(rows, checks).iter_rows():
            invalid.setdefault(symbol, []).append(InvalidRows(reason, *found))
    return invalid


def _examples(rows: pl.DataFrame, checks: Sequence[Check]) -> pl.DataFrame:
    """For each symbol the rows that fail one of the checks: their number, and the first."""
    import polars as pl

    field = pl.coalesce(pl.when(check.broken).then(pl.lit(check.field)) for check in checks)
    value = pl.coalesce(
        pl.when(check.broken).then(pl.col(check.field).cast(pl.Float64)) for check in checks
    )
    return (
        rows.filter(pl.any_horizontal(check.broken for check in checks))
        .group_by("symbol")
        .agg(pl.len(), pl.col("row", "open_time").first(), field=field.first(), value=value.first())
    )


# -- the report as text and as data --------------------------------------------------------------


def _plain(symbol: SymbolQuality) -> dict[str, object]:
    invalid = [{**asdict(found), "value": _json_number(found.value)} for found in symbol.invalid]
    return {**asdict(symbol), "invalid": invalid}


def _json_number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def _table(report: KlineReport) -> Iterator[str]:
    """The symbols, those with problems first where not all fit, and the totals."""
    symbols = sorted(report.symbols, key=lambda symbol: symbol.clean)
    shown = report.symbols if len(symbols) <= _MOST_TABLE_ROWS else symbols[:_MOST_TABLE_ROWS]
    lines = [_HEADINGS, *map(_symbol_cells, shown), _total_cells(report)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        name, *numbers = map(_padding, cells, widths)
        yield "  ".join([cells[0] + name, *map(str.__add__, numbers, cells[1:])]).rstrip()
    if len(shown) < len(symbols):
        yield f"({len(symbols) - len(shown)} more symbols: to_dict() has them all)"


_HEADINGS = (
    "symbol",
    "rows",
    "first",
    "last",
    "duplicates",
    "missing",
    "longest hole",
    "out of order",
    "misaligned",
    "invalid",
    "zero volume",
)


def _symbol_cells(symbol: SymbolQuality) -> tuple[str, ...]:
    return (
        symbol.symbol,
        f"{symbol.rows:,}",
        utc(symbol.first),
        utc(symbol.last),
        *_counts(symbol),
    )


def _total_cells(report: KlineReport) -> tuple[str, ...]:
    return (f"{len(report.symbols):,} symbols", f"{report.rows:,}", "", "", *_counts(report))


def _counts(entry: SymbolQuality | KlineReport) -> tuple[str, ...]:
    counts = (
        entry.duplicates,
        entry.missing,
        entry.longest_hole,
        entry.out_of_order,
        entry.misaligned,
        entry.invalid_rows,
        entry.zero_volume,
    )
    return tuple(f"{count:,}" for count in counts)


def _width(text: str) -> int:
    """Columns of a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _padding(text: str, width: int) -> str:
    return " " * (width - _width(text))


def utc(milliseconds: int | None) -> str:
    """A time to the minute, as people read it."""
    if milliseconds is None:
        return "-"
    return f"{_EPOCH + timedelta(milliseconds=milliseconds):%Y-%m-%d %H:%M}"


def _problems(report: KlineReport) -> Iterator[str]:
    yield from _duplicate_problems(report)
    yield from _hole_problems(report)
    yield from _time_problems(report)
    yield from _invalid_problems(report)


def _duplicate_problems(report: KlineReport) -> Iterator[str]:
    equal = {symbol.symbol: symbol.duplicates_equal for symbol in report.symbols}
    if any(equal.values()):
        yield (
            f"duplicates: {_sum(equal)} rows repeat a minute with the same values "
            f"({_names(equal)}). The engine counts and skips them; "
            'frame.unique(["symbol", "open_time"], maintain_order=True) drops them.'
        )
    differing = {symbol.symbol: symbol.duplicates_differing for symbol in report.symbols}
    if any(differing.values()):
        yield (
            f"duplicates: {_sum(differing)} rows repeat a minute with other values "
            f"({_names(differing)}). The engine takes the later row for a correction; "
            "keep the version you trust."
        )


def _hole_problems(report: KlineReport) -> Iterator[str]:
    missing = {symbol.symbol: symbol.missing for symbol in report.symbols}
    if any(missing.values()):
        worst = max(report.symbols, key=lambda symbol: symbol.longest_hole)
        holes = f"{report.holes:,} hole{'s' if report.holes > 1 else ''}"
        yield (
            f"missing: {_sum(missing)} minutes in {holes} ({_names(missing)}), the longest "
            f"{worst.longest_hole:,} from {utc(worst.longest_hole_start)} ({worst.symbol}). The "
            "engine fills up to a day and keeps rules over it silent, and starts afresh after a "
            'longer hole; fetch the minutes, or pass gaps="absent" if the exchange has none.'
        )


def _time_problems(report: KlineReport) -> Iterator[str]:
    out_of_order = {symbol.symbol: symbol.out_of_order for symbol in report.symbols}
    if any(out_of_order.values()):
        yield (
            f"out of order: {_sum(out_of_order)} rows are older than a row before them "
            f"({_names(out_of_order)}). replay and warm_up sort by themselves; before "
            'Engine.update_many: frame.sort("open_time", maintain_order=True).'
        )
    misaligned = {symbol.symbol: symbol.misaligned for symbol in report.symbols}
    if any(misaligned.values()):
        yield (
            f"misaligned: {_sum(misaligned)} times are no whole minutes ({_names(misaligned)}). "
            "The engine refuses them: they are open times of something else, or shifted."
        )


def _invalid_problems(report: KlineReport) -> Iterator[str]:
    found = [(symbol.symbol, entry) for symbol in report.symbols for entry in symbol.invalid]
    for reason in dict.fromkeys(entry.reason for _, entry in found):
        entries = {symbol: entry for symbol, entry in found if entry.reason == reason}
        counts = {symbol: entry.count for symbol, entry in entries.items()}
        first = min(entries.values(), key=lambda entry: entry.row)
        yield (
            f"invalid: {_sum(counts)} rows with {reason} ({_names(counts)}), the first is row "
            f"{first.row:,}: {first.field} = {first.value}. The engine refuses them; correct "
            "them or leave them out."
        )


def _sum(counts: Mapping[str, int]) -> str:
    return f"{sum(counts.values()):,}"


def _names(counts: Mapping[str, int]) -> str:
    """The symbols with the highest counts."""
    worst = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
    named = [f"{name} {counts[name]:,}" for name in worst[:_MOST_NAMES]]
    others = len(worst) - len(named)
    return ", ".join([*named, f"{others} more"] if others else named)
