"""`inspect_klines` against hand-made faults, a naive recount and the real dirty files."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screener import Engine
from screener.demo import demo_market
from screener.errors import CandleError, DataError
from screener.klines import read_klines
from screener.quality import KlineReport, SymbolQuality, inspect_klines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MINUTE = 60_000
START = 1_738_368_000_000
NAN = math.nan


def candles(minutes: Sequence[float], **columns: Sequence[object]) -> pl.DataFrame:
    """Valid candles of one symbol at these minutes after START, with some columns replaced."""
    count = len(minutes)
    base = {
        "symbol": ["AUSDT"] * count,
        "open_time": [int(START + minute * MINUTE) for minute in minutes],
        "open": [2.0] * count,
        "high": [3.0] * count,
        "low": [1.0] * count,
        "close": [2.5] * count,
        "volume": [10.0] * count,
        "quote_volume": [20.0] * count,
        "trades": [5] * count,
        "taker_buy_volume": [4.0] * count,
        "taker_buy_quote_volume": [8.0] * count,
    }
    return pl.DataFrame({**base, **columns}, strict=False)


def only(report: KlineReport) -> SymbolQuality:
    (symbol,) = report.symbols
    return symbol


def test_a_clean_frame_is_clean() -> None:
    report = inspect_klines(candles([0, 1, 2]))
    assert report.clean
    assert (report.rows, only(report).first, only(report).last) == (3, START, START + 2 * MINUTE)
    assert report.problems == ()
    assert "No problem found." in str(report)


def test_an_empty_frame_is_clean() -> None:
    report = inspect_klines(candles([]))
    assert report.clean
    assert report.symbols == ()
    assert "0 symbols" in str(report)


def test_holes() -> None:
    found = only(inspect_klines(candles([0, 1, 4, 5, 9])))
    assert (found.missing, found.holes, found.longest_hole) == (5, 2, 3)
    assert found.longest_hole_start == START + 6 * MINUTE


def test_no_hole_has_no_start() -> None:
    assert only(inspect_klines(candles([0, 1]))).longest_hole_start is None


def test_duplicates_are_compared_with_the_first_of_their_minute() -> None:
    frame = candles([0, 1, 1, 1, 2], close=[2.5, 2.5, 2.5, 2.0, 2.5])
    found = only(inspect_klines(frame))
    assert (found.duplicates_equal, found.duplicates_differing, found.duplicates) == (1, 1, 2)


def test_unknown_values_are_equal_to_each_other_only() -> None:
    frame = candles([0, 0, 1, 1], taker_buy_volume=[None, None, None, 1.0])
    found = only(inspect_klines(frame))
    assert (found.duplicates_equal, found.duplicates_differing) == (1, 1)


def test_rows_older_than_any_before_are_out_of_order() -> None:
    assert only(inspect_klines(candles([0, 3, 1, 2, 3, 4]))).out_of_order == 2


def test_symbols_are_apart_and_in_the_order_of_the_frame() -> None:
    other = candles([0, 2]).with_columns(symbol=pl.lit("月饼USDT"))
    report = inspect_klines(pl.concat([other, candles([1, 0])]))
    assert [symbol.symbol for symbol in report.symbols] == ["月饼USDT", "AUSDT"]
    assert (report.missing, report.out_of_order, report.rows) == (1, 1, 4)


def test_misaligned_times() -> None:
    found = only(inspect_klines(candles([0, 1.5, 2])))
    assert (found.misaligned, found.missing, found.duplicates) == (1, 0, 0)


def test_zero_volume_is_no_fault() -> None:
    nothing = [0.0, 1.0]
    frame = candles([0, 1], volume=nothing, quote_volume=nothing, taker_buy_volume=[0.0, 0.0])
    report = inspect_klines(frame.drop("taker_buy_quote_volume"))
    assert report.clean
    assert report.zero_volume == 1


@pytest.mark.parametrize(
    ("reason", "field", "values"),
    [
        ("value not finite", "close", [2.5, NAN, math.inf]),
        ("value not finite", "volume", [10.0, math.inf, NAN]),
        ("value missing", "low", [1.0, None, None]),
        ("value beyond 1e-30 to 1e30", "quote_volume", [20.0, 1e31, 1e300]),
        ("value beyond 1e-30 to 1e30", "taker_buy_volume", [4.0, 1e-31, 1e-300]),
        ("price not above 0", "low", [1.0, 0.0, -1.0]),
        ("high below low", "high", [3.0, 0.5, 0.5]),
        ("open or close outside low to high", "open", [2.0, 3.5, 0.5]),
        ("open or close outside low to high", "close", [2.0, 3.5, 0.5]),
        ("volume or trades below 0", "trades", [5, -1, -2]),
        ("volume or trades below 0", "taker_buy_quote_volume", [8.0, -1.0, -1e9]),
        ("taker volume above the total", "taker_buy_volume", [10.0, 10.1, 11.0]),
        ("taker volume above the total", "taker_buy_quote_volume", [20.0, 20.1, 21.0]),
        ("time outside the years 2009 to 2100", "open_time", [START, 0, 2**62 // MINUTE * MINUTE]),
    ],
)
def test_invalid_rows(reason: str, field: str, values: list[float | None]) -> None:
    report = inspect_klines(candles([0, 1, 2], **{field: values}))
    found = only(report)
    entry = {entry.reason: entry for entry in found.invalid}[reason]
    assert (entry.count, entry.row, entry.field, found.invalid_rows) == (2, 1, field, 2)
    assert repr(entry.value) == repr(None if values[1] is None else float(values[1]))
    assert not report.clean
    assert reason in str(report)
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("part", "total", "clean"),
    [
        (463.68016, 463.68015999999994, True),  # of a real file
        (10.0 * (1 + 1e-9), 10.0, True),
        (10.0 * (1 + 2e-9), 10.0, False),
        (1e-30, 0.0, False),
    ],
)
def test_a_part_may_exceed_its_total_by_rounding(part: float, total: float, clean: bool) -> None:
    frame = candles([0], quote_volume=[total], taker_buy_quote_volume=[part])
    assert inspect_klines(frame).clean is clean
    engine = Engine()
    if clean:
        engine.warm_up(frame)
    else:
        with pytest.raises(CandleError):
            engine.warm_up(frame)


def test_a_row_with_two_faults_is_one_invalid_row() -> None:
    found = only(inspect_klines(candles([0], open=[NAN], close=[-1.0])))
    assert found.invalid_rows == 1
    assert [entry.reason for entry in found.invalid] == ["value not finite", "price not above 0"]


def test_nan_breaks_no_other_check() -> None:
    found = only(inspect_klines(candles([0], low=[NAN])))
    assert [entry.reason for entry in found.invalid] == ["value not finite"]


def test_a_wild_time_makes_no_holes() -> None:
    frame = candles([0, 1, 2]).with_columns(open_time=pl.Series([START, 0, START + MINUTE]))
    found = only(inspect_klines(frame))
    assert (found.missing, found.first, found.out_of_order, found.invalid_rows) == (0, START, 0, 1)


def test_a_symbol_without_any_time_has_neither_first_nor_last() -> None:
    report = inspect_klines(candles([0]).with_columns(open_time=pl.lit(None)))
    assert (only(report).first, only(report).last, only(report).invalid_rows) == (None, None, 1)
    assert "value missing" in str(report)


def test_optional_columns_may_be_absent() -> None:
    frame = candles([0, 1]).select("symbol", "open_time", "open", "high", "low", "close", "volume")
    assert inspect_klines(frame).clean


def test_any_arrow_stream_will_do() -> None:
    arrow = candles([0, 2]).to_arrow()
    assert inspect_klines(arrow).missing == 1


@pytest.mark.parametrize(
    ("frame", "column"),
    [
        (candles([0]).drop("high"), "high"),
        (candles([0]).drop("symbol"), "symbol"),
        (candles([0]).with_columns(open=pl.lit("2.0")), "open"),
        (candles([0]).with_columns(open_time=pl.lit(1.5)), "open_time"),
    ],
)
def test_frames_that_hold_no_candles(frame: pl.DataFrame, column: str) -> None:
    with pytest.raises(DataError) as caught:
        inspect_klines(frame)
    assert caught.value.column == column
    assert caught.value.remedy is not None


# -- the report ----------------------------------------------------------------------------------


def test_the_table_is_aligned_also_under_chinese_names() -> None:
    lines = str(inspect_klines(demo_market(symbols=12, days=1))).splitlines()
    table = lines[: lines.index("")]
    assert len(table) == 1 + 12 + 1
    # A Chinese character takes two columns of a terminal and one of a string.
    columns = {len(line) + sum(character > "⺀" for character in line) for line in table}
    assert len(columns) == 1


def test_a_long_table_shows_the_symbols_with_problems() -> None:
    names = [f"S{number:03}USDT" for number in range(100)]
    many = pl.concat(candles([0, 1]).with_columns(symbol=pl.lit(name)) for name in names)
    holed = candles([0, 5]).with_columns(symbol=pl.lit("HOLEUSDT"))
    text = str(inspect_klines(pl.concat([many, holed])))
    assert "HOLEUSDT" in text
    assert "61 more symbols" in text
    assert "4 minutes in 1 hole (HOLEUSDT 4)" in text


def test_every_kind_of_problem_has_a_line_with_a_remedy() -> None:
    frame = candles([0, 0, 0, 4, 3, 7.5], close=[2.5, 2.5, 2.4, 2.5, 2.5, 9.0])
    text = str(inspect_klines(frame))
    lines = text.splitlines()[3:]
    kinds = [line.partition(":")[0] for line in lines if line]
    assert kinds == [
        "duplicates",
        "duplicates",
        "missing",
        "out of order",
        "misaligned",
        "invalid",
    ]


def test_the_dict_holds_totals_and_symbols() -> None:
    data = inspect_klines(candles([0, 0, 5], close=[2.5, 2.5, NAN])).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data | {"symbols": data["symbols"]}
    assert (data["clean"], data["duplicates"], data["missing"]) == (False, 1, 4)
    symbols = data["symbols"]
    assert isinstance(symbols, list)
    assert symbols[0]["invalid"][0]["value"] == "nan"


# -- the naive recount ---------------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["A", "B"]),
        st.integers(0, 12).map(lambda minute: minute * MINUTE // 2),
        st.sampled_from([0.5, 2.0, 2.5, 9.0, NAN, math.inf, 0.0]),
        st.sampled_from([0.0, 1.0, -1.0]),
    ),
    max_size=20,
)


def recount(rows: list[tuple[str, int, float, float]]) -> dict[str, int]:
    """The counts of one symbol, by their definitions."""
    minutes = [time // MINUTE for _, time, _, _ in rows]
    seen: dict[int, tuple[int, str, float]] = {}
    counts = dict.fromkeys(("equal", "differing", "out_of_order", "misaligned", "invalid"), 0)
    latest = -1
    for (_, time, close, volume), minute in zip(rows, minutes, strict=True):
        said = (time, repr(close), volume)
        if minute in seen:
            counts["equal" if seen[minute] == said else "differing"] += 1
        seen.setdefault(minute, said)
        counts["out_of_order"] += time < latest
        counts["misaligned"] += time % MINUTE != 0
        counts["invalid"] += not (1.0 <= close <= 3.0 and volume >= 0)
        latest = max(latest, time)
    gaps = [later - earlier - 1 for earlier, later in pairwise(sorted(seen))]
    counts["missing"] = sum(gaps)
    counts["holes"] = sum(gap > 0 for gap in gaps)
    counts["longest"] = max(gaps, default=0)
    counts["zero_volume"] = sum(volume == 0 for _, _, volume in seen.values())
    return counts


@given(rows=ROWS)
def test_every_count_equals_the_naive_recount(rows: list[tuple[str, int, float, float]]) -> None:
    frame = candles(
        [time / MINUTE for _, time, _, _ in rows],
        symbol=[symbol for symbol, _, _, _ in rows],
        close=[close for _, _, close, _ in rows],
        volume=[volume for _, _, _, volume in rows],
    ).drop("taker_buy_volume")
    for found in inspect_klines(frame).symbols:
        counts = {
            "equal": found.duplicates_equal,
            "differing": found.duplicates_differing,
            "out_of_order": found.out_of_order,
            "misaligned": found.misaligned,
            "invalid": found.invalid_rows,
            "missing": found.missing,
            "holes": found.holes,
            "longest": found.longest_hole,
            "zero_volume": found.zero_volume,
        }
        assert counts == recount([row for row in rows if row[0] == found.symbol])


# -- real files ----------------------------------------------------------------------------------


def test_the_dirty_files_are_as_dirty_as_known(shared_data: Path) -> None:
    files = shared_data / "klines" / "spot_dirty" / "*.parquet"
    report = inspect_klines(read_klines(str(files), quote_volume="typical"))
    found = {symbol.symbol: symbol for symbol in report.symbols}
    assert (report.rows, report.duplicates, report.missing) == (129_057, 27_398, 1_084)
    assert {name: symbol.duplicates for name, symbol in found.items()} == {
        "BRDBTC": 542,
        "BTCRUB": 26_856,
        "SNGLSBTC": 0,
    }
    assert {name: symbol.missing for name, symbol in found.items()} == {
        "BRDBTC": 542,
        "BTCRUB": 0,
        "SNGLSBTC": 542,
    }
    assert report.longest_hole == 354
    assert found["BRDBTC"].longest_hole_start == 1_582_112_160_000
    assert report.invalid_rows == 0


def test_the_archive_files_are_clean(shared_data: Path) -> None:
    report = inspect_klines(read_klines(str(shared_data / "klines/um_full_2025-02/*.parquet")))
    assert report.clean
    assert report.rows == 4 * 40_320
