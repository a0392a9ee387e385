"""Bad input gets its error, with every field filled, and leaves the engine exactly as it was.

Good input of every make is here too: the same candles in whatever a frame can be made of end in
the same state, byte for byte.
"""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import itertools
import math
import types
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import screener
from profile_scale import examples
from screener import CandleError, DataError, Engine, RuleError, ScreenerError, UnknownSymbolError

if TYPE_CHECKING:
    from screener.types import Evaluate

START = 1_738_368_000_000  # 2025-02-01
MINUTE = 60_000
REQUIRED = ("open", "high", "low", "close", "volume", "quote_volume")
OPTIONAL = ("trades", "taker_buy_volume", "taker_buy_quote_volume")
EVENT_TIME = {"event_time": pl.Int64()}
Columns = dict[str, list[Any]]


def candle(**changed: Any) -> dict[str, Any]:
    """A good candle with some fields changed; `...` leaves a field out."""
    good = {
        "symbol": "BTCUSDT",
        "open_time": START + 30 * MINUTE,
        "open": 100.0,
        "high": 110.0,
        "low": 90.0,
        "close": 105.0,
        "volume": 10.0,
        "quote_volume": 1000.0,
        "trades": 7,
        "taker_buy_volume": 4.0,
        "taker_buy_quote_volume": 400.0,
        "closed": True,
        "event_time": START + 31 * MINUTE,
        "source": "stream",
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not ...}


def columns() -> Columns:
    """Eight minutes of two symbols; whole numbers, so that any type of number can hold them."""
    rows = [
        candle(
            symbol=["BTCUSDT", "币安人生USDT"][row % 2],
            open_time=START + (30 + row // 2) * MINUTE,
            close=95.0 + row,
            trades=row,
            event_time=START + (31 + row // 2) * MINUTE,
            source=["stream", "rest", "archive"][row % 3],
        )
        for row in range(8)
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


def frame(changed: Columns | None = None) -> pl.DataFrame:
    return pl.DataFrame({**columns(), **(changed or {})}, strict=False)


def put(column: str, row: int, value: Any) -> Columns:
    """The good column with one value changed."""
    cells = list(columns()[column])
    cells[row] = value
    return {column: cells}


def warm_engine(**options: Any) -> Engine:
    """An engine with two symbols, an alert raised, a market capitalisation and bars given."""
    engine = Engine(windows=("10m",), **options)
    bars = {"symbol": ["BTCUSDT"] * 3, "close": [1.0, 2.0, 3.0]}
    times = [START - 4 * 3_600_000 * back for back in (3, 2, 1)]
    engine.warm_up_bars(pl.DataFrame({**bars, "open_time": times}), "4h")
    raised = [
        alert
        for minute in range(30)
        for alert in engine.update(
            candle(
                open_time=START + minute * MINUTE,
                event_time=...,
                close=105.0 if minute == 29 else 100.0,
                quote_volume=1e6 if minute == 29 else 1000.0,
            )
        )
    ]
    assert raised
    engine.set_market_cap("ETHUSDT", 5e11)
    return engine


@cache
def warm_blob(evaluate: Evaluate = "close") -> bytes:
    return warm_engine(evaluate=evaluate).save()


@pytest.fixture
def engine() -> Engine:
    """Fresh for each test, so that one that fails does not spoil the next."""
    return Engine.load(warm_blob())


def unchanged(engine: Engine, kind: type[Exception], call: Callable[[], object]) -> Any:
    """The error of a call that has to fail, and has to change nothing."""
    before = engine.save()
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert engine.save() == before
    return caught.value


def refused(engine: Engine, given_frame: Any, kind: type[ScreenerError]) -> Any:
    """The error that every way in for candles gives for a frame; the engine stays as it is."""
    error = unchanged(engine, kind, lambda: engine.update_many(given_frame))
    entries: list[Callable[[Any], object]] = [engine.warm_up, screener.replay, screener.windows]
    for enter in entries:
        other = unchanged(engine, kind, partial(enter, given_frame))
        # NaN is a value of its own: compared as text.
        assert repr(vars(other)) == repr(vars(error)), enter
    return error


def fields(error: CandleError) -> tuple[Any, ...]:
    return error.row, error.symbol, error.open_time, error.field


# -- one candle

BAD_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, -1, -1e-9, 1e31, 1e-31, 5e-324]
NO_NUMBERS: list[Any] = ["100", b"100", [], {}, (1.0,), 1j, object(), float, "", 10**400]
OUTSIDE = [0, -MINUTE, 1, START // 1000, START * 1000, START * 10**6, 2**63 - 1, -(2**63)]
OUTSIDE += [1_230_768_000_000 - MINUTE, 4_133_980_800_000]
BAD_SYMBOLS: list[Any] = ["", "a" * 65, "é" * 33, "币" * 22, "a\n", "\x00", "\x1f", "\x7f", "\x85"]


def each(names: Iterable[str], values: list[Any], *, timed: bool = True) -> list[BadField]:
    return [(name, value, timed) for name in names for value in values]


BadField = tuple[str, Any, bool]  # field, its value, whether the error can tell the open time
NUMBERS = (*REQUIRED, *OPTIONAL)
ONE_BAD_FIELD: list[BadField] = [
    *each(REQUIRED, [..., None]),
    *each(NUMBERS, NO_NUMBERS),
    *each(NUMBERS, BAD_NUMBERS),
    *each(["open", "high", "low", "close"], [0, -0.0]),
    *each(["open"], [111.0, 89.0]),
    *each(["close"], [math.nextafter(110, 111), math.nextafter(90, 89)]),
    *each(["high"], [80.0]),
    *each(["taker_buy_volume"], [10.001, 1e30]),
    *each(["taker_buy_quote_volume"], [1000.1, 1e30]),
    *each(["open_time"], [*OUTSIDE, START + 1, START + 59_999, START - 1]),
    *each(["open_time"], [..., None, "x", 1.5, float(START), math.nan, []], timed=False),
    *each(["open_time"], [2**63, -(2**63) - 1, 10**400], timed=False),
    *each(["event_time"], [*OUTSIDE, 1.5, "x", math.nan, 2**63, []]),
    *each(["symbol"], BAD_SYMBOLS),
    *each(["symbol"], [..., None, 5, b"BTCUSDT", ["BTCUSDT"], "\ud800"], timed=False),
    *each(["closed"], [0, 1, 2, "true", "", [], math.nan]),
    *each(["source"], ["Stream", "", "live", 5, b"stream", "\ud800", []]),
]


@pytest.mark.parametrize(
    ("field", "value", "timed"),
    ONE_BAD_FIELD,
    ids=[f"{field}={repr(value)[:30].split(' at 0x')[0]}" for field, value, _ in ONE_BAD_FIELD],
)
@pytest.mark.parametrize("mapping", [dict, types.MappingProxyType, collections.UserDict])
def test_a_candle_with_one_bad_field(
    engine: Engine, field: str, value: Any, timed: bool, mapping: Callable[[Any], Any]
) -> None:
    bad = candle(**{field: value})
    error = unchanged(engine, CandleError, lambda: engine.update(mapping(bad)))
    assert (error.row, error.field) == (0, field)
    expected = None if value is ... else value
    assert repr(error.value) in (repr(expected), repr(_as_float(expected)))
    is_text = isinstance(bad.get("symbol"), str) and bad["symbol"] != "\ud800"
    assert error.symbol == (bad["symbol"] if is_text else None)
    assert error.open_time == (bad["open_time"] if timed else None)
    assert error.reason
    assert f"({field} = " in str(error)


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e300 else value


@pytest.mark.parametrize("field", ["open_time", "event_time", *REQUIRED, *OPTIONAL])
@pytest.mark.parametrize("truth", [True, np.True_])
def test_a_truth_is_no_number(engine: Engine, field: str, truth: Any) -> None:
    """As in frames, where a column of truths is refused."""
    flat: dict[str, Any] = {**candle(), **dict.fromkeys(("open", "high", "low", "close"), 1.0)}
    flat[field] = truth
    error = unchanged(engine, CandleError, lambda: engine.update(flat))
    assert error.field == field


@pytest.mark.parametrize(
    "value",
    [None, 5, "BTCUSDT", b"", [], [("symbol", "BTCUSDT")], (1, 2), object(), {1}, dict, candle],
)
def test_what_is_no_candle(engine: Engine, value: Any) -> None:
    error = unchanged(engine, CandleError, lambda: engine.update(value))
    assert (error.row, error.symbol, error.open_time) == (0, None, None)


def test_a_mapping_that_fails_by_itself(engine: Engine) -> None:
    """Its own exception comes through, and nothing has happened."""

    class Broken(collections.UserDict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            if key == "close":
                raise ZeroDivisionError
            return super().__getitem__(key)

    unchanged(engine, ZeroDivisionError, lambda: engine.update(Broken(candle())))


@pytest.mark.parametrize("absent", [..., None])
@pytest.mark.parametrize("make", [dict, "Candle"])
def test_event_time_is_needed_where_updates_are_judged(absent: Any, make: Any) -> None:
    engine = warm_engine(evaluate="update")
    bad = candle(closed=False, event_time=absent)
    given = screener.Candle(**bad) if make == "Candle" else bad
    error = unchanged(engine, CandleError, lambda: engine.update(given))
    assert fields(error) == (0, "BTCUSDT", START + 30 * MINUTE, "event_time")
    assert error.value is None
    one = pl.DataFrame([candle(closed=False, event_time=None)], schema_overrides=EVENT_TIME)
    for enter in (engine.update_many, engine.warm_up):
        error = unchanged(engine, CandleError, partial(enter, one))
        assert fields(error) == (0, "BTCUSDT", START + 30 * MINUTE, "event_time")
    with pytest.raises(CandleError):
        screener.replay(one, evaluate="update")
    # A closed candle, or one that carries it, is as good as ever.
    engine.update(candle(closed=False, event_time=START + 30 * MINUTE + 1))
    engine.update(candle(event_time=absent))
    assert engine.stats["updated"] == 1


def test_a_candle_object_is_checked_when_it_is_given(engine: Engine) -> None:
    """It is a record: what it holds is judged by the engine, with the same fields told."""
    for field, value in (("close", -1.0), ("open_time", 5), ("symbol", ""), ("trades", math.nan)):
        bad = screener.Candle(**candle(**{field: value}))
        error = unchanged(engine, CandleError, partial(engine.update, bad))
        assert (error.row, error.field) == (0, field)
        assert repr(error.value) == repr(value)
    with pytest.raises(CandleError) as caught:
        screener.Candle(**candle(source="live"))
    assert (caught.value.field, caught.value.value) == ("source", "live")
    for field, value in (("close", "x"), ("open_time", 1.5), ("symbol", 5), ("closed", "x")):
        with pytest.raises(TypeError):
            screener.Candle(**candle(**{field: value}))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"close": decimal.Decimal(105)},
        {"close": fractions.Fraction(105)},
        {"close": 105, "volume": 10},
        {
            "close": np.float32(105),
            "volume": np.int64(10),
            "open_time": np.int64(START + 30 * MINUTE),
        },
        {"closed": ..., "source": ..., "event_time": ...},
        {"closed": None, "source": None, "event_time": None},
        {"closed": np.True_},
        {"nonsense": object(), "row": "ignored"},
    ],
)
def test_good_candles_of_every_make(changed: dict[str, Any]) -> None:
    blobs = []
    makes: list[Any] = [candle(), candle(**changed), collections.UserDict(candle(**changed))]
    for some in makes:
        engine = warm_engine()
        engine.update(some)
        blobs.append(engine.save())
    assert blobs[0] == blobs[1] == blobs[2]


@pytest.mark.parametrize(
    "changed",
    [
        {"low": 1e-30},
        {"high": 1e30},
        {
            "volume": 0,
            "quote_volume": 0,
            "trades": 0,
            "taker_buy_volume": 0,
            "taker_buy_quote_volume": 0,
        },
        {"volume": 1e30, "taker_buy_volume": 1e30},
        {"volume": 1e-30, "taker_buy_volume": 1e-30},
        {"volume": -0.0, "taker_buy_volume": -0.0},
        {"open": 90.0, "close": 110.0},
        {"open": 90.0, "high": 90.0, "close": 90.0},
        {"open_time": 1_230_768_000_000},
        {"open_time": 4_133_980_800_000 - MINUTE},
        {"symbol": "币" * 21},
        {"symbol": "é" * 32},
        {"symbol": "1000PEPEUSDT"},
        {"symbol": "币安人生USDT"},
        {"symbol": "\U0001f680/USDT 'x' \"y\""},
    ],
)
def test_what_is_just_good_enough(changed: dict[str, Any]) -> None:
    engine = Engine()
    engine.update(candle(**changed))
    assert engine.stats["appended"] == 1
    assert Engine.load(engine.save()).save() == engine.save()


def test_an_engine_goes_on_after_an_error() -> None:
    engine, other = warm_engine(), warm_engine()
    with pytest.raises(CandleError):
        engine.update(candle(close=-1))
    with pytest.raises(CandleError):
        engine.update_many(frame(put("close", 3, -1.0)))
    assert engine.update_many(frame()) == other.update_many(frame())
    assert engine.save() == other.save()


# -- frames

NAMED = ("BTCUSDT", "币安人生USDT")


@pytest.mark.parametrize("row", [0, 3, 7])
@pytest.mark.parametrize("column", [*REQUIRED, *OPTIONAL])
def test_a_number_that_cannot_be(engine: Engine, column: str, row: int) -> None:
    for value in (math.nan, math.inf, -1.0, 1e31, 1e-31):
        error = refused(engine, frame(put(column, row, value)), CandleError)
        assert fields(error) == (row, NAMED[row % 2], START + (30 + row // 2) * MINUTE, column)
        assert repr(error.value) == repr(value)


@pytest.mark.parametrize("row", [0, 3, 7])
@pytest.mark.parametrize("column", ["symbol", "open_time", *REQUIRED])
def test_a_null_where_a_value_is_needed(engine: Engine, column: str, row: int) -> None:
    error = refused(engine, frame(put(column, row, None)), CandleError)
    assert (error.row, error.field, error.value) == (row, column, None)
    assert error.symbol == (None if column == "symbol" else NAMED[row % 2])
    time = START + (30 + row // 2) * MINUTE
    assert error.open_time == (None if column == "open_time" else time)


FAULTS: dict[str, tuple[str, Any]] = {
    "null symbol": ("symbol", None),
    "empty symbol": ("symbol", ""),
    "long symbol": ("symbol", "x" * 65),
    "null time": ("open_time", None),
    "misaligned time": ("open_time", START + 1),
    "time in microseconds": ("open_time", START * 1000),
    "null price": ("open", None),
    "infinite price": ("close", math.inf),
    "high below low": ("high", 80.0),
    "taker": ("taker_buy_volume", 11.0),
    "event time": ("event_time", 5),
    "source": ("source", "live"),
}


@pytest.mark.parametrize("first", FAULTS)
def test_the_first_invalid_row_is_told(engine: Engine, first: str) -> None:
    """Whatever is wrong with it, and whatever is wrong with those behind it."""
    wrong = []
    for later in FAULTS:
        cells = columns()
        for row, fault in ((5, later), (2, first)):
            column, value = FAULTS[fault]
            cells[column][row] = value
        before = engine.save()
        with pytest.raises(CandleError) as caught:
            engine.update_many(pl.DataFrame(cells, strict=False))
        assert engine.save() == before
        if (caught.value.row, caught.value.field) != (2, FAULTS[first][0]):
            wrong.append(f"row 2 {first}, row 5 {later}: row {caught.value.row} was told")
    assert wrong == []


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_an_instant_between_two_milliseconds(engine: Engine, unit: Literal["us", "ns"]) -> None:
    scale = {"us": 1_000, "ns": 1_000_000}[unit]
    times = [time * scale for time in columns()["open_time"]]
    times[4] += 1
    bad = frame().with_columns(pl.Series("open_time", times).cast(pl.Datetime(unit, "UTC")))
    error = refused(engine, bad, CandleError)
    assert fields(error) == (4, "BTCUSDT", START + 32 * MINUTE, "open_time")


@pytest.mark.parametrize("column", ["open_time", "event_time"])
def test_times_that_no_64_bits_hold(engine: Engine, column: str) -> None:
    """An integer above 2**63 is a wrong time, not an unknown one."""
    times = list(columns()[column])
    times[4] = 2**63 + MINUTE
    bad = frame().with_columns(pl.Series(column, times, dtype=pl.UInt64))
    error = refused(engine, bad, CandleError)
    assert (error.row, error.symbol, error.field) == (4, "BTCUSDT", column)
    assert error.value == times[4]


def test_a_time_that_overflows_its_unit(engine: Engine) -> None:
    table = frame().to_arrow()
    times = pa.array([START // 1000] * 7 + [2**62], pa.timestamp("s"))
    bad = table.set_column(table.column_names.index("open_time"), "open_time", times)
    error = refused(engine, bad, CandleError)
    assert (error.row, error.field) == (7, "open_time")


@pytest.mark.parametrize("column", ["symbol", "open_time", *REQUIRED])
def test_a_column_that_is_missing(engine: Engine, column: str) -> None:
    error = refused(engine, frame().drop(column), DataError)
    assert error.column == column
    assert column in error.reason
    expected = 'quote_volume="typical"' if column == "quote_volume" else "symbol, open_time, open"
    assert expected in error.remedy
    renamed = frame().rename({column: column.upper()})
    assert refused(engine, renamed, DataError).column == column


STRANGE: dict[str, pl.Series] = {
    "text": pl.Series(["1"] * 8),
    "binary": pl.Series([b"1"] * 8),
    "truth": pl.Series([True] * 8),
    "date": pl.Series([dt.date(2025, 2, 1)] * 8),
    "time": pl.Series([dt.time(1)] * 8),
    "duration": pl.Series([dt.timedelta(minutes=1)] * 8),
    "instant": pl.Series([START] * 8).cast(pl.Datetime("ms")),
    "list": pl.Series([[1.0]] * 8),
    "array": pl.Series([[1.0, 2.0]] * 8, dtype=pl.Array(pl.Float64, 2)),
    "struct": pl.Series([{"a": 1.0}] * 8),
    "category": pl.Series(["1"] * 8, dtype=pl.Categorical()),
    "integer": pl.Series([1] * 8),
    "float": pl.Series([1.0] * 8),
}
TYPES = {
    **dict.fromkeys((*REQUIRED, *OPTIONAL), ("integer", "float")),
    "symbol": ("text", "category"),
    "open_time": ("integer", "instant"),
    "event_time": ("integer", "instant"),
    "closed": ("truth",),
    "source": ("text", "category"),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("column", TYPES)
def test_a_column_of_a_wrong_type(engine: Engine, column: str, kind: str) -> None:
    if kind in TYPES[column]:
        return
    bad = frame().with_columns(STRANGE[kind].alias(column))
    error = refused(engine, bad, DataError)
    assert error.column == column
    assert column in error.reason
    assert error.row is None


@pytest.mark.parametrize("column", TYPES)
def test_a_dictionary_of_numbers_is_no_text(engine: Engine, column: str) -> None:
    table = frame().to_arrow()
    numbers = pa.array([1] * 8).dictionary_encode()
    bad = table.set_column(table.column_names.index(column), column, numbers)
    assert refused(engine, bad, DataError).column == column


class Stream:
    """Something with `__arrow_c_stream__` that does as it is told."""

    def __init__(self, answer: Callable[[], object]) -> None:
        """Answer with what `answer` gives."""
        self.answer = answer

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Ignore the schema asked for."""
        return self.answer()


def fails() -> object:
    raise ZeroDivisionError


def failing_reader() -> Any:
    """A stream that breaks after its first batch."""
    table = frame().to_arrow()

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()
        fails()

    return pa.RecordBatchReader.from_batches(table.schema, batches())


NO_FRAMES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "number": lambda: 5,
    "text": lambda: "candles.parquet",
    "bytes": lambda: b"x",
    "dict": columns,
    "rows": lambda: [candle()],
    "array": lambda: np.zeros((3, 3)),
    "lazy": lambda: frame().lazy(),
    "class": lambda: pl.DataFrame,
    "series": lambda: pl.Series("open", [1.0]),
    "arrow array": lambda: pa.array([1.0]),
    "chunked array": lambda: pa.chunked_array([[1.0]]),
    "raises": lambda: Stream(fails),
    "no capsule": lambda: Stream(lambda: 5),
    "wrong capsule": lambda: Stream(lambda: frame().to_arrow().schema.__arrow_c_schema__()),
    "breaks off": failing_reader,
}


@pytest.mark.parametrize("kind", NO_FRAMES)
def test_what_is_no_frame(engine: Engine, kind: str) -> None:
    enters: list[Callable[[Any], object]] = [
        engine.update_many,
        engine.warm_up,
        engine.restore_alerts,
        lambda given: engine.warm_up_bars(given, "4h"),
        screener.replay,
        screener.windows,
    ]
    for enter in enters:
        error = unchanged(engine, DataError, partial(enter, NO_FRAMES[kind]()))
        assert error.reason


@pytest.mark.parametrize(
    "nothing",
    [pl.DataFrame(), pa.table({}), pd.DataFrame(), pd.DataFrame(index=range(5))],
    ids=["polars", "pyarrow", "pandas", "rows without columns"],
)
def test_a_frame_without_columns(engine: Engine, nothing: Any) -> None:
    assert refused(engine, nothing, DataError).column == "symbol"


@pytest.mark.parametrize(
    "empty",
    [
        frame().clear(),
        frame().to_arrow().slice(0, 0),
        frame().to_arrow().schema.empty_table(),
        frame().to_pandas().iloc[:0],
    ],
    ids=["polars", "slice", "no chunks", "pandas"],
)
def test_an_empty_frame_is_nothing_new(engine: Engine, empty: Any) -> None:
    before = engine.save()
    assert engine.update_many(empty) == []
    engine.warm_up(empty)
    assert engine.save() == before
    assert screener.replay(empty).alerts.height == 0
    assert set(screener.replay(empty).stats.values()) == {0}
    assert screener.windows(empty, ["price"]).columns == ["symbol", "open_time", "price"]
    assert screener.windows(empty).height == 0


def dictionaries(table: pa.Table) -> pa.Table:
    """Each row a chunk, each chunk with a dictionary of its own, with unused and null entries."""
    place = table.column_names.index("symbol")
    chunks = []
    for row, symbol in enumerate(table["symbol"].to_pylist()):
        words = pa.array([f"unused {row}", None, symbol, ""])
        chunks.append(pa.DictionaryArray.from_arrays(pa.array([2], pa.int8()), words))
    return table.set_column(place, "symbol", pa.chunked_array(chunks))


def cast_column(table: pa.Table, column: str, kind: Any) -> pa.Table:
    place = table.column_names.index(column)
    return table.set_column(place, column, table[column].cast(kind))


def cast_numbers(kind: Any) -> pl.DataFrame:
    return frame().with_columns(pl.col(*REQUIRED, *OPTIONAL).cast(kind))


def with_offset() -> pl.DataFrame:
    junk = frame().with_columns(close=pl.lit(-1.0), symbol=pl.lit(""))
    return pl.concat([junk, frame(), junk], rechunk=True).slice(8, 8)


def pandas_frame(**changed: Any) -> pd.DataFrame:
    return pd.DataFrame({**columns(), **changed})


ZONE = "Asia/Kathmandu"
INSTANTS = [dt.datetime.fromtimestamp(t / 1000, dt.UTC) for t in columns()["open_time"]]
GOOD: dict[str, Callable[[], Any]] = {
    "polars": frame,
    "chunked": lambda: pl.concat([frame()[row] for row in range(8)], rechunk=False),
    "empty chunks": lambda: pl.concat([frame()[:0], frame()[:3], frame()[:0], frame()[3:]]),
    "offset": with_offset,
    "columns backwards": lambda: frame().select(reversed(frame().columns)),
    "more columns": lambda: frame().with_columns(
        s.alias(f"x {name}") for name, s in STRANGE.items()
    ),
    "a column of nulls": lambda: frame().with_columns(pl.lit(None).alias("note")),
    "table, a column of nulls": lambda: frame().to_arrow().append_column("note", pa.nulls(8)),
    "categorical": lambda: frame().cast({"symbol": pl.Categorical(), "source": pl.Categorical()}),
    "enum": lambda: frame().cast({"symbol": pl.Enum(["unused", *NAMED])}),
    **{
        f"datetime {unit} {zone}": partial(
            lambda unit, zone: frame().with_columns(
                pl.from_epoch("open_time", "ms").cast(pl.Datetime(unit)).dt.replace_time_zone("UTC")
                if zone
                else pl.from_epoch("open_time", "ms").cast(pl.Datetime(unit)),
            ),
            unit,
            zone,
        )
        for unit in ("ms", "us", "ns")
        for zone in (None, "UTC")
    },
    "zone": lambda: frame().with_columns(
        pl.from_epoch(pl.col("open_time", "event_time"), "ms")
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone(ZONE)
    ),
    "unsigned times": lambda: frame().cast({"open_time": pl.UInt64, "event_time": pl.UInt64}),
    "float32": lambda: cast_numbers(pl.Float32),
    "int16": lambda: cast_numbers(pl.Int16),
    "int32": lambda: cast_numbers(pl.Int32),
    "uint64": lambda: cast_numbers(pl.UInt64),
    "decimal": lambda: cast_numbers(pl.Decimal(20, 3)),
    "table": lambda: frame().to_arrow(),
    "table, plain text": lambda: cast_column(frame().to_arrow(), "symbol", pa.string()),
    "table, large text": lambda: cast_column(frame().to_arrow(), "symbol", pa.large_string()),
    "table, text view": lambda: cast_column(frame().to_arrow(), "symbol", pa.string_view()),
    "table, dictionary": lambda: cast_column(
        frame().to_arrow(), "symbol", pa.dictionary(pa.int8(), pa.string())
    ),
    "table, dictionaries": lambda: dictionaries(frame().to_arrow()),
    "table, seconds": lambda: cast_column(
        cast_column(frame().to_arrow(), "open_time", pa.timestamp("ms", "UTC")),
        "open_time",
        pa.timestamp("s", ZONE),
    ),
    "table, half": lambda: cast_column(frame().to_arrow(), "close", pa.float16()),
    "table, chunks": lambda: pa.concat_tables(
        [
            frame().to_arrow().slice(0, 0),
            frame().to_arrow().slice(0, 5),
            frame().to_arrow().slice(5),
        ]
    ),
    "table, offset": lambda: (
        pa.concat_tables([with_offset().to_arrow().slice(0, 3), frame().to_arrow()])
        .combine_chunks()
        .slice(3)
    ),
    "batch": lambda: frame().to_arrow().combine_chunks().to_batches()[0],
    "reader": lambda: frame().to_arrow().to_reader(max_chunksize=3),
    "struct array": lambda: frame().to_arrow().to_struct_array().combine_chunks(),
    "pandas": pandas_frame,
    "pandas, index": lambda: pandas_frame().set_index(pd.Index(range(100, 108), name="x")),
    "pandas, text": lambda: pandas_frame().astype({"symbol": "string", "source": "string"}),
    "pandas, category": lambda: pandas_frame().astype({"symbol": "category"}),
    "pandas, instants": lambda: pandas_frame(open_time=INSTANTS),
    "pandas, local": lambda: pandas_frame(open_time=pd.DatetimeIndex(INSTANTS).tz_convert(ZONE)),
    "pandas, slice": lambda: pd.concat([pandas_frame(), pandas_frame()]).iloc[8:],
    "stream": lambda: Stream(frame().__arrow_c_stream__),
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_frames_of_every_make(kind: str) -> None:
    plain, engine = warm_engine(), warm_engine()
    expected = plain.update_many(frame())
    assert plain.stats["appended"] == 38
    assert engine.update_many(GOOD[kind]()) == expected
    assert engine.save() == plain.save()
    warmed, other = warm_engine(), warm_engine()
    warmed.warm_up(frame())
    other.warm_up(GOOD[kind]())
    assert other.save() == warmed.save()
    assert screener.windows(GOOD[kind](), ["vwap_1m", "price"]).equals(
        screener.windows(frame(), ["vwap_1m", "price"])
    )
    assert screener.replay(GOOD[kind]()).stats == screener.replay(frame()).stats


@pytest.mark.parametrize("absent", ["column", "null", "typed null"])
@pytest.mark.parametrize("column", [*OPTIONAL, "closed", "event_time", "source"])
def test_what_is_optional_may_be_absent(column: str, absent: str) -> None:
    kinds = {"closed": pl.Boolean, "event_time": pl.Int64, "source": pl.String}
    lit = pl.lit(None, dtype=kinds.get(column, pl.Float64) if absent == "typed null" else None)
    some = frame().drop(column) if absent == "column" else frame().with_columns(lit.alias(column))
    engine, one_by_one = warm_engine(), warm_engine()
    engine.update_many(some)
    for row in frame().drop(column).to_dicts():
        one_by_one.update(row)
    assert engine.save() == one_by_one.save()
    held = engine.candles("BTCUSDT", 1)
    assert held["closed"].to_list() == [True]
    if column in OPTIONAL:
        assert held[column].to_list() == [None]
    if column == "source":
        assert held["source"].to_list() == ["stream"]


# -- bars, alerts, arguments

BARS: Columns = {
    "symbol": ["BTCUSDT"] * 4,
    "open_time": [START - back * 14_400_000 for back in (4, 3, 2, 1)],
    "close": [1.0, 2.0, 3.0, 4.0],
}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("symbol", None),
        ("symbol", ""),
        ("symbol", "a\n"),
        ("open_time", None),
        ("open_time", 5),
        ("open_time", START * 1000),
        ("open_time", START - 14_400_000 + MINUTE),
        ("open_time", START - 3_600_000),
        ("close", None),
        ("close", 0.0),
        ("close", -1.0),
        ("close", math.nan),
        ("close", math.inf),
        ("close", 1e31),
        ("close", 1e-31),
    ],
)
def test_a_bar_that_cannot_be(engine: Engine, column: str, value: Any) -> None:
    for row in (0, 2, 3):
        cells = {name: list(cell) for name, cell in BARS.items()}
        cells[column][row] = value
        bad = pl.DataFrame(cells, strict=False)
        error = unchanged(engine, CandleError, partial(engine.warm_up_bars, bad, "4h"))
        assert (error.row, error.field) == (row, column)
        assert repr(error.value) == repr(value)
        assert error.symbol == cells["symbol"][row]
        assert error.open_time == cells["open_time"][row]


def test_bars_that_are_no_bars(engine: Engine) -> None:
    for column in BARS:
        missing = pl.DataFrame(BARS).drop(column)
        error = unchanged(engine, DataError, partial(engine.warm_up_bars, missing, "4h"))
        assert error.column == column
        wrong = pl.DataFrame(BARS).with_columns(pl.lit(value=True).alias(column))
        error = unchanged(engine, DataError, partial(engine.warm_up_bars, wrong, "4h"))
        assert error.column == column
    timeframe: Any
    for timeframe in ("", "4", "10m", "2d", "4H", "rsi", "-4h", "1m"):
        with pytest.raises(ValueError, match="4h"):
            engine.warm_up_bars(pl.DataFrame(BARS), timeframe)
    both = {**BARS, "close": [1.0, 2.0, 3.0, -1.0], "open_time": [*BARS["open_time"]]}
    both["open_time"][1] += MINUTE
    error = unchanged(engine, CandleError, lambda: engine.warm_up_bars(pl.DataFrame(both), "4h"))
    assert (error.row, error.field) == (1, "open_time")


ALERTS: Columns = {
    "symbol": ["BTCUSDT", "ETHUSDT", "BTCUSDT"],
    "rule": ["pioneer_bull", "pioneer_bear", "no_such_rule"],
    "triggered_at": [START + 31 * MINUTE, START + 31 * MINUTE, START + 1],
    "state": ["confirmed", "provisional", None],
}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("symbol", None),
        ("symbol", ""),
        ("symbol", "x" * 65),
        ("rule", None),
        ("triggered_at", None),
        ("triggered_at", 5),
        ("triggered_at", START * 1000),
        ("state", "Confirmed"),
        ("state", ""),
    ],
)
def test_an_alert_that_cannot_be(engine: Engine, column: str, value: Any) -> None:
    for row in range(3):
        cells = {name: list(cell) for name, cell in ALERTS.items()}
        cells[column][row] = value
        bad = pl.DataFrame(cells, strict=False)
        error = unchanged(engine, CandleError, partial(engine.restore_alerts, bad))
        assert (error.row, error.field, error.value) == (row, column, value)
        assert error.symbol == cells["symbol"][row]


def test_alerts_that_are_no_alerts(engine: Engine) -> None:
    for column, told in (("symbol", "symbol"), ("rule", "alert_type"), ("triggered_at",) * 2):
        missing = pl.DataFrame(ALERTS).drop(column)
        error = unchanged(engine, DataError, partial(engine.restore_alerts, missing))
        assert error.column == told
    for column in ALERTS:
        wrong = pl.DataFrame(ALERTS).with_columns(pl.lit(1.5).alias(column))
        error = unchanged(engine, DataError, partial(engine.restore_alerts, wrong))
        assert error.column == column


def test_alerts_as_a_store_has_them() -> None:
    blobs = []
    for alerts in (
        pl.DataFrame(ALERTS),
        pl.DataFrame(ALERTS).rename({"rule": "alert_type"}),
        pl.DataFrame(ALERTS).with_columns(pl.from_epoch("triggered_at", "ms"), id=pl.lit("x")),
        pd.DataFrame(ALERTS),
        pl.DataFrame(ALERTS).to_arrow(),
    ):
        engine = warm_engine()
        engine.restore_alerts(alerts)
        blobs.append(engine.save())
    assert len(set(blobs)) == 1
    assert blobs[0] != warm_engine().save()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e31, 1e-31])
def test_a_market_cap_that_cannot_be(engine: Engine, value: float) -> None:
    for symbol in ("BTCUSDT", "NEWUSDT"):
        error = unchanged(engine, DataError, partial(engine.set_market_cap, symbol, value))
        assert error.column == "market_cap"


@pytest.mark.parametrize("symbol", ["", "a" * 65, "a\n"])
def test_a_market_cap_of_no_symbol(engine: Engine, symbol: str) -> None:
    error = unchanged(engine, CandleError, lambda: engine.set_market_cap(symbol, 1.0))
    assert (error.field, error.symbol, error.value) == ("symbol", symbol, symbol)


@pytest.mark.parametrize(
    ("symbol", "suggestion"),
    [
        ("BTCUSD", "BTCUSDT"),
        ("btcusdt", "BTCUSDT"),
        ("BTC-USDT", "BTCUSDT"),
        ("币安USDT", "币安人生USDT"),
    ],
)
def test_an_unknown_symbol_gets_a_suggestion(symbol: str, suggestion: str) -> None:
    engine = warm_engine()
    engine.update(candle(symbol="币安人生USDT"))
    asks: list[Callable[[str], object]] = [engine.metrics, engine.candles]
    for ask in asks:
        error = unchanged(engine, UnknownSymbolError, partial(ask, symbol))
        assert issubclass(UnknownSymbolError, KeyError)
        assert error.symbol == symbol
        assert error.suggestion == suggestion
        assert f"did you mean {suggestion!r}?" in str(error)


@pytest.mark.parametrize("symbol", ["", "nothing like it", "x" * 10_000, "ETHUSDT"])
def test_an_unknown_symbol_that_is_near_to_none(engine: Engine, symbol: str) -> None:
    """ETHUSDT has a market capitalisation but no candle: it is not followed yet."""
    for _ in range(2):
        error = unchanged(engine, UnknownSymbolError, partial(engine.metrics, symbol))
        assert error.symbol == symbol
    assert engine.remove("NEWUSDT") is False


BAD_ARGUMENTS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"rules": "nope"}, RuleError),
    ({"rules": 5}, RuleError),
    ({"rules": "absent.toml"}, RuleError),
    ({"rules": b"futures"}, RuleError),
    ({"evaluate": "Close"}, ValueError),
    ({"evaluate": ""}, ValueError),
    ({"evaluate": None}, TypeError),
    ({"gaps": "none"}, ValueError),
    ({"gaps": 1}, TypeError),
    ({"exchange": 5}, TypeError),
    ({"floors": 1}, TypeError),
    ({"windows": ["5x"]}, ValueError),
    ({"windows": ["0m"]}, ValueError),
    ({"windows": [0]}, ValueError),
    ({"windows": [1441]}, ValueError),
    ({"windows": [-5]}, ValueError),
    ({"windows": ["25h"]}, ValueError),
    ({"windows": [5.0]}, ValueError),
    ({"windows": [None]}, ValueError),
    ({"windows": [2**70]}, ValueError),
    ({"windows": "5x"}, ValueError),
    ({"windows": 0}, ValueError),
    ({"windows": object()}, TypeError),
    ({"window": ["5m"]}, TypeError),
]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    BAD_ARGUMENTS,
    ids=lambda value: str(value).split(" at 0x")[0],
)
def test_an_engine_that_cannot_be_made(arguments: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        Engine(**arguments)
    assert str(caught.value)


def test_windows_may_be_named_in_any_way() -> None:
    many = Engine(windows=["60m", 60, "1h", "7m", 90, "24h", int(np.int64(3))])
    assert many.windows == ["3m", "5m", "7m", "15m", "1h", "90m", "4h", "8h", "1d"]
    assert Engine(windows="90m").windows == Engine(windows=90).windows
    assert Engine(windows="90m").windows == ["5m", "15m", "1h", "90m", "4h", "8h", "1d"]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"rules": "nope"}, RuleError),
        ({"evaluate": "never"}, ValueError),
        ({"gaps": "never"}, ValueError),
        ({"start": "yesterday"}, DataError),
        ({"start": 1.5}, DataError),
        ({"start": True}, DataError),
        ({"start": b"2025"}, DataError),
    ],
    ids=str,
)
def test_a_replay_with_bad_arguments(arguments: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        screener.replay(frame(), **arguments)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("chnge_5m", "change_5m"),
        ("rsi_10m", "rsi_15m"),
        ("change_2d", "change_1d"),
        ("zzzzzz", None),
    ],
)
def test_windows_of_an_unknown_metric(name: str, suggestion: str | None) -> None:
    with pytest.raises(DataError) as caught:
        screener.windows(frame(), ["price", name])
    assert name in caught.value.reason
    assert caught.value.column == name
    assert suggestion is None or suggestion in str(caught.value)


def test_rules_that_cannot_be_leave_the_old_ones(engine: Engine) -> None:
    bad: Any
    for bad in ("nope", 5, None, "absent.toml"):
        unchanged(engine, RuleError, partial(engine.set_rules, bad))
    assert engine.rules == screener.RuleSet.load("futures")


# -- fuzz

EVALUATE: tuple[Evaluate, ...] = ("close", "update")
names = st.sampled_from(["BTCUSDT", "币安人生USDT", "NEWUSDT"])
some_times = st.integers(-3, 40).map(lambda minute: START + minute * MINUTE)
amounts = st.floats(0, 1e6).map(lambda value: 0.0 if value < 1e-9 else value)
any_int = st.one_of(st.integers(-(2**63), 2**63 - 1), some_times)
any_float = st.floats(allow_nan=True, allow_infinity=True)

MAKE: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "float64": (pa.float64(), any_float),
    "float32": (pa.float32(), st.floats(width=32)),
    "float16": (pa.float16(), st.floats(width=16).map(np.float16)),
    "int64": (pa.int64(), any_int),
    "int8": (pa.int8(), st.integers(-128, 127)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "decimal": (pa.decimal128(38, 4), st.decimals(-(10**30), 10**30, places=4)),
    "wide decimal": (pa.decimal256(70, 2), st.decimals(-(10**66), 10**66, places=2)),
    "text": (pa.string(), st.one_of(names, st.text(max_size=5))),
    "text view": (pa.string_view(), st.one_of(names, st.text(max_size=30))),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), names),
    "binary": (pa.binary(), st.binary(max_size=3)),
    "truth": (pa.bool_(), st.booleans()),
    "null": (pa.null(), st.none()),
    "date": (pa.date32(), st.dates()),
    "seconds": (pa.timestamp("s"), any_int),
    "ms": (pa.timestamp("ms", "UTC"), any_int),
    "us": (pa.timestamp("us", ZONE), any_int),
    "ns": (pa.timestamp("ns"), any_int),
    "duration": (pa.duration("ms"), any_int),
    "list": (pa.list_(pa.int8()), st.lists(st.integers(0, 3), max_size=2)),
    "struct": (pa.struct([("a", pa.int8())]), st.just({"a": 1})),
}
RIGHT: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "symbol": (pa.string(), names),
    "open_time": (pa.int64(), some_times),
    "open": (pa.float64(), st.sampled_from([90.0, 100.0, 110.0])),
    "high": (pa.float64(), st.just(110.0)),
    "low": (pa.float64(), st.just(90.0)),
    "close": (pa.float64(), st.sampled_from([90.0, 100.0, 110.0])),
    "volume": (pa.float64(), amounts),
    "quote_volume": (pa.float64(), amounts),
    "trades": (pa.int64(), st.integers(0, 9)),
    "taker_buy_volume": (pa.float64(), st.just(0.0)),
    "taker_buy_quote_volume": (pa.float64(), st.just(0.0)),
    "closed": (pa.bool_(), st.booleans()),
    "event_time": (pa.int64(), some_times),
    "source": (pa.string(), st.sampled_from(["stream", "rest", "archive", "synthetic"])),
}


@st.composite
def random_tables(draw: st.DrawFn) -> pa.Table:
    """Mostly right columns, a few of any type with any values; nulls, chunks and offsets."""
    rows = draw(st.integers(0, 12))
    arrays: dict[str, pa.Array] = {}
    strange = draw(st.sets(st.sampled_from([*RIGHT]), max_size=2))
    for name, right in RIGHT.items():
        kind, value = right
        if name in strange:
            chosen = draw(st.sampled_from(["nothing", "right", *MAKE]))
            if chosen == "nothing":
                continue
            kind, value = MAKE.get(chosen, right)
            value = st.one_of(st.none(), value) if draw(st.booleans()) else value
        cells = draw(st.lists(value, min_size=rows, max_size=rows))
        arrays[name] = pa.array(cells, kind)
    table = pa.table(arrays)
    cut = draw(st.integers(0, rows))
    return pa.concat_tables([table.slice(0, cut), table.slice(cut)]) if cut else table


@examples(400)
@given(table=random_tables(), evaluate=st.sampled_from(EVALUATE))
def test_fuzz_of_frames(table: pa.Table, evaluate: Evaluate) -> None:
    """Taken or refused; never a crash, never half."""
    engine = Engine.load(warm_blob(evaluate))
    before = counted(engine)
    try:
        engine.update_many(table)
    except ScreenerError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
        for enter in (engine.warm_up, partial(screener.replay, evaluate=evaluate)):
            with pytest.raises(type(error)):
                enter(table)
        assert engine.save() == warm_blob(evaluate)
        return
    assert counted(engine) - before == table.num_rows
    assert engine.snapshot().height == len(engine.symbols)
    assert same_after_loading(engine)
    assert screener.replay(table, evaluate=evaluate).alerts.columns[0] == "id"
    assert screener.windows(table, ["price", "rsi_5m"]).height >= min(table.num_rows, 1)


def same_after_loading(engine: Engine) -> bool:
    """Whether what was saved of it, loaded, shows the same."""
    loaded = Engine.load(engine.save())
    shown = [(each.stats, each.symbols, each.snapshot().to_dicts()) for each in (engine, loaded)]
    return shown[0] == shown[1]


def counted(engine: Engine) -> int:
    """Every candle that arrived, counted as one thing each."""
    return sum(count for name, count in engine.stats.items() if name not in ("filled", "restarted"))


anything = st.one_of(
    st.none(),
    st.booleans(),
    any_int,
    st.integers(),
    any_float,
    st.text(max_size=4),
    st.text(st.characters(), max_size=4),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.just(object()),
)


@examples(400)
@given(
    changed=st.dictionaries(st.sampled_from([*RIGHT, "other"]), anything, max_size=3),
    absent=st.sets(st.sampled_from([*RIGHT]), max_size=1),
    evaluate=st.sampled_from(EVALUATE),
)
def test_fuzz_of_candles(changed: dict[str, Any], absent: set[str], evaluate: Evaluate) -> None:
    engine = Engine.load(warm_blob(evaluate))
    some: Any = {k: v for k, v in {**candle(), **changed}.items() if k not in absent}
    try:
        engine.update(some)
    except CandleError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
        assert error.field in RIGHT  # noqa: PT017
        assert engine.save() == warm_blob(evaluate)
        return
    assert same_after_loading(engine)


@examples(200)
@given(table=random_tables(), timeframe=st.sampled_from(["5m", "4h", "1d"]))
def test_fuzz_of_bars_and_alerts(table: pa.Table, timeframe: Literal["5m", "4h", "1d"]) -> None:
    renamed = {"source": "state", "event_time": "triggered_at"}
    alerts = table.rename_columns([renamed.get(n, n) for n in table.column_names])
    if "symbol" in table.column_names:
        alerts = alerts.append_column("rule", table["symbol"])
    bars = table
    if "open_time" in table.column_names and table["open_time"].type == pa.int64():
        least = -(1 << 63)  # of which no day begins
        given = table["open_time"].to_pylist()
        times = [time and max(least, time - time % 86_400_000) for time in given]
        place = table.column_names.index("open_time")
        bars = table.set_column(place, "open_time", pa.array(times, pa.int64()))
    calls: list[Callable[[Engine], object]] = [
        lambda engine: engine.warm_up_bars(table, timeframe),
        lambda engine: engine.warm_up_bars(bars, timeframe),
        lambda engine: engine.restore_alerts(alerts),
    ]
    for call in calls:
        engine = Engine.load(warm_blob())
        try:
            call(engine)
        except ScreenerError:
            assert engine.save() == warm_blob()
        else:
            assert same_after_loading(engine)


def test_every_pair_of_types_is_covered() -> None:
    """What is refused and what is taken, together, are all columns of SPEC 1."""
    assert set(TYPES) == set(columns()) == set(RIGHT)
    assert len([*itertools.product(TYPES, STRANGE)]) == 14 * 13
