"""`check`: every planted fault is told and no other; holes of one symbol apart from everybody's."""

from __future__ import annotations

import json
import math
import random
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from history_faults import (
    AMOUNTS,
    MINUTE,
    PLANTED,
    PLANTS,
    START,
    at,
    clean,
    repeated,
    scaled,
    without,
)
from screener.errors import DataError
from screener.history.checks import KINDS, HistoryReport, check
from screener.history.checks.glance import Glance, glance
from screener.history.checks.minutes import common, joined, make_runs, runs_of
from screener.history.checks.minutes import without as left
from screener.history.checks.outliers import doubts
from screener.history.checks.values import KIND_OF_REASON, broken_rows, numbers
from screener.klines import read_klines
from screener.quality import inspect_klines, row_checks

if TYPE_CHECKING:
    from pathlib import Path

Told = tuple[str, str | None, int | None, int]


def told(report: HistoryReport) -> set[Told]:
    return {(found.kind, found.symbol, found.first, found.count) for found in report.findings}


def parts(frame: pl.DataFrame) -> list[pl.DataFrame]:
    return frame.partition_by("symbol", maintain_order=True)


def test_a_clean_market_is_clean() -> None:
    report = check(clean())
    assert report.findings == ()
    assert report.clean
    assert "No problem found." in str(report)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_told_and_no_other(name: str) -> None:
    kind, first, count, plant = PLANTED[name]
    one, *others = parts(clean())
    broken = plant(one)
    report = check(pl.concat([broken, *others], how="vertical_relaxed"))
    time = None if kind == "out_of_years" else at(first)
    assert told(report) == {(kind, broken["symbol"][0], time, count)}


def test_every_kind_is_planted_somewhere() -> None:
    planted = {kind for kind, *_ in PLANTED.values()}
    elsewhere = {"exchange_hole", "absent", "synthetic", "future", "source_difference"}
    assert planted | elsewhere == set(KINDS)


def test_all_faults_at_once_each_in_a_symbol_of_its_own() -> None:
    symbol = parts(clean(1))[0]
    frames, expected = [], set()
    for number, (kind, first, count, plant) in enumerate(PLANTED.values()):
        name = f"{number}USDT"
        frames.append(plant(symbol.with_columns(symbol=pl.lit(name))))
        expected.add((kind, name, None if kind == "out_of_years" else at(first), count))
    assert told(check(pl.concat(frames, how="vertical_relaxed"))) == expected


# Values at the edges of what can be and of what is usual, as factors of the minute's own.
EDGES = (
    None, 0.0, 0.5, 1 / 1.2, 0.95, math.nextafter(0.95, 1), 1 - 1e-6, 1 + 1e-9, 1 + 2e-9, 1 + 1e-6,
    math.nextafter(1.05, 2), 1.05, 1.2, math.nextafter(1.2, 2), 999.0, 1001.0, -1.0, 1e-32, 1e-33,
    1e28, 1e30, math.nan, math.inf, -math.inf,
)  # fmt: skip


PLACES = st.integers(0, 2099)
CELLS = st.tuples(PLACES, st.sampled_from(numbers(clean().columns)), st.sampled_from(EDGES))
MOVES = st.tuples(PLACES, st.sampled_from((-60_000, -1, 1, 60_000)))


@given(st.integers(1, 2100), st.lists(CELLS, max_size=5), st.lists(MOVES, max_size=1))
def test_a_glance_overlooks_nothing(
    count: int, cells: list[tuple[int, str, float | None]], moves: list[tuple[int, int]]
) -> None:
    whole = parts(clean(1))[0].head(count).cast(dict.fromkeys(numbers(clean().columns), pl.Float64))
    rows = whole.clone()
    for place, name, factor in cells:
        value = None if factor is None else whole[name][place % count] * factor
        rows[place % count, name] = value
    for place, by in moves:
        rows[place % count, "open_time"] = rows["open_time"][place % count] + by
    seen = glance(rows)
    broken = broken_rows(rows)
    minutes = runs_of(rows["open_time"]).height == 1
    assert not (seen.are_sound and broken.height)
    assert not (seen.are_minutes and not minutes)
    if seen.are_minutes and seen.are_sound:
        assert not (seen.are_plausible and list(doubts(rows, broken["open_time"])))
    if not cells and not moves:
        assert seen == Glance(are_minutes=True, are_sound=True, are_plausible=True)


@pytest.mark.parametrize("seed", range(20))
def test_faults_at_random_in_one_symbol(seed: int) -> None:
    dice = random.Random(seed)
    frame = parts(clean(1))[0]
    minutes = sorted(dice.sample(range(1, 10), 8))
    names = dice.sample([name for name in PLANTS if name != "before 2009"], len(minutes))
    expected: dict[str, tuple[int, int]] = {}
    for place, name in zip(minutes, names, strict=True):
        kind, count, plant = PLANTS[name]
        minute = place * 400 + dice.randrange(200)
        frame = plant(minute)(frame)
        first, before = expected.get(kind, (at(minute), 0))
        expected[kind] = (first, before + count)
    found = {found.kind: (found.first, found.count) for found in check(frame).findings}
    assert found == expected


def test_interleaved_symbols_are_told_as_those_in_one_piece() -> None:
    one, two, three = parts(clean())
    frame = pl.concat([PLANTED["a hole"][3](one), PLANTED["close NaN"][3](two), three])
    mixed = frame.sort("open_time", maintain_order=True)
    assert told(check(mixed)) == told(check(frame))


def test_shuffled_rows_are_told_as_sorted_ones_but_for_their_order() -> None:
    frame = PLANTED["a hole"][3](PLANTED["twice"][3](parts(clean(1))[0]))
    order = list(range(frame.height))
    random.Random(7).shuffle(order)
    shuffled = {row for row in told(check(frame[order])) if row[0] != "out_of_order"}
    assert shuffled == told(check(frame))


# -- holes ---------------------------------------------------------------------------------------


def test_what_most_symbols_lack_is_told_once_and_apart() -> None:
    one, two, three = parts(clean())
    frame = pl.concat([without(100, 30)(one), without(110, 40)(two), without(500, 5)(three)])
    report = check(frame)
    names = [part["symbol"][0] for part in (one, two, three)]
    assert told(report) == {
        ("exchange_hole", None, at(110), 20),
        ("missing", names[0], at(100), 10),
        ("missing", names[1], at(130), 20),
        ("missing", names[2], at(500), 5),
    }
    assert report.everywhere.rows() == [(at(110), 20)]


def test_two_of_four_are_not_most() -> None:
    frames = [without(10, 5)(part) if n < 2 else part for n, part in enumerate(parts(clean(4)))]
    assert {found.kind for found in check(pl.concat(frames)).findings} == {"missing"}


def test_only_symbols_whose_span_holds_the_minute_count() -> None:
    one, two, three = parts(clean())
    late = three.filter(pl.col("open_time") >= at(1000))
    report = check(pl.concat([without(10, 5)(one), without(10, 5)(two), late]))
    assert told(report) == {("exchange_hole", None, at(10), 5)}
    assert "in 2 of 2 symbols" in report.findings[0].told


def test_minutes_confirmed_absent_are_a_notice() -> None:
    one = without(100, 30)(parts(clean(1))[0])
    name = one["symbol"][0]
    report = check(one, absent={name: make_runs([(at(100), 20)])})
    assert told(report) == {("absent", name, at(100), 20), ("missing", name, at(120), 10)}


def test_start_and_end_say_what_a_symbol_should_have() -> None:
    one = parts(clean(1, days=1))[0]
    name = one["symbol"][0]
    report = check(one, start=at(-60), end=at(1440 + 30))
    assert told(report) == {("missing", name, at(-60), 90)}
    assert report.symbols[0].runs["missing"].rows() == [(at(-60), 60), (at(1440), 30)]
    assert check(one, start="2025-02-01T00:10", end="2025-02-01T01:00").clean


# -- other sources, synthetic, future ------------------------------------------------------------


def test_minutes_of_the_future() -> None:
    one = parts(clean(1, days=1))[0]
    report = check(one, now=at(1430))
    assert told(report) == {("future", one["symbol"][0], at(1431), 9)}
    assert check(one, now=at(1439)).clean
    assert check(one).clean


def test_two_sources_in_one_frame() -> None:
    one = parts(clean(1, days=1))[0]
    rest = repeated(50, trades=999, source="rest")(one.with_columns(source=pl.lit("archive")))
    report = check(rest)
    assert told(report) == {("source_difference", one["symbol"][0], at(50), 1)}
    assert report.symbols[0].sources == {"archive": 1440, "rest": 1}


def test_against_another_source() -> None:
    one, two, _ = parts(clean())
    other = scaled(70, 3, 1.5, *AMOUNTS)(one)
    report = check(pl.concat([one, two]), against=other)
    assert told(report) == {("source_difference", one["symbol"][0], at(70), 3)}
    unknown = other.with_columns(**{name: pl.lit(None, pl.Float64) for name in AMOUNTS[1:]})
    assert check(one, against=unknown).findings[0].told.startswith("volume = ")
    assert check(one, against=one).clean


def test_synthetic_minutes_are_told() -> None:
    one = parts(clean(1, days=1))[0]
    here = pl.col("open_time").is_between(at(3), at(4))
    marked = one.with_columns(
        source=pl.when(here).then(pl.lit("synthetic")).otherwise(pl.lit("rest"))
    )
    assert told(check(marked)) == {("synthetic", one["symbol"][0], at(3), 2)}


# -- frames --------------------------------------------------------------------------------------


def test_frames_of_other_types_and_with_fewer_columns() -> None:
    frame = clean(2, days=1).select(
        "symbol", "open_time", *("open", "high", "low", "close"), "volume"
    )
    assert check(frame.to_arrow()).clean
    assert check(frame.with_columns(pl.col("volume").cast(pl.Int64))).clean
    assert check(frame.clear()).clean


def test_what_is_no_frame_of_candles_is_refused() -> None:
    with pytest.raises(DataError, match="no such column"):
        check(clean(1, days=1).drop("close"))
    with pytest.raises(DataError, match="is no time"):
        check(clean(1, days=1), start="yesterday")


def test_checking_changes_nothing() -> None:
    frame = PLANTED["a hole"][3](parts(clean(1, days=1))[0])
    before = frame.clone()
    check(frame)
    assert frame.equals(before)


def test_the_reasons_of_quality_all_have_a_kind() -> None:
    columns = clean(1, days=1).columns
    assert {check.reason for check in row_checks(columns)} == set(KIND_OF_REASON)


# -- runs ----------------------------------------------------------------------------------------

RUNS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=8)


def _minutes(runs: pl.DataFrame) -> set[int]:
    return {first + n * MINUTE for first, count in runs.iter_rows() for n in range(count)}


def _runs(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    return make_runs((minute * MINUTE, count) for minute, count in pairs)


@given(RUNS, RUNS)
def test_runs_are_sets_of_minutes(
    some: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    one, two = joined(_runs(some)), joined(_runs(others))
    assert _minutes(one) == _minutes(_runs(some))
    assert joined(one).equals(one)
    assert _minutes(common(one, two)) == _minutes(one) & _minutes(two)
    assert _minutes(left(one, two)) == _minutes(one) - _minutes(two)


@given(st.lists(st.integers(0, 40), max_size=30))
def test_runs_of_rows_hold_every_row(minutes: list[int]) -> None:
    runs = runs_of(pl.Series([minute * MINUTE for minute in minutes], dtype=pl.Int64))
    assert runs["minutes"].sum() == len(minutes)
    assert _minutes(runs) == {minute * MINUTE for minute in minutes}


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=40),
)
def test_counts_agree_with_inspect_klines(rows: list[tuple[int, bool]]) -> None:
    times = [START + minute * MINUTE + 7 * shifted for minute, shifted in rows]
    frame = (
        clean(1, days=1)
        .head(1)
        .select(pl.exclude("open_time"))
        .join(pl.DataFrame({"open_time": times}, schema={"open_time": pl.Int64}), how="cross")
    )
    report, known = check(frame), inspect_klines(frame)
    assert report.count("missing") == known.missing
    assert report.count("out_of_order") == known.out_of_order
    assert report.count("misaligned") == known.misaligned
    assert report.count("duplicate_same") == known.symbols[0].duplicates_equal
    assert report.count("duplicate_differing") == known.symbols[0].duplicates_differing


# -- the report ----------------------------------------------------------------------------------


def test_the_report_as_json_frame_and_text() -> None:
    one, two, _ = parts(clean(days=1))
    report = check(pl.concat([PLANTED["close NaN"][3](one), without(5, 3)(two)]))
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["clean"] is False
    assert [found["kind"] for found in document["findings"]] == ["not_finite", "missing"]
    assert document["symbols"][1]["runs"]["missing"] == [[at(5), 3]]
    assert report.to_frame()["count"].to_list() == [1, 3]
    assert report.worst() == "error"
    text = str(report)
    assert "close = nan at 2025-02-01T00:50:00Z" in text
    assert "1 run, the longest 3 from 2025-02-01 00:05" in text
    assert check(clean(1, days=1)).to_frame().height == 0


def test_the_page_stands_alone_and_names_every_finding() -> None:
    frames = []
    for number, (_, _, _, plant) in enumerate(PLANTED.values()):
        frames.append(plant(parts(clean(1))[0].with_columns(symbol=pl.lit(f"<{number}>&币"))))
    report = check(pl.concat(frames, how="vertical_relaxed"))
    page = report.to_html(title="Three <days>", made="2025-02-04 00:00")
    assert "<title>Three &lt;days&gt;</title>" in page
    assert "&lt;0&gt;&amp;币" in page
    assert "<0>" not in page
    assert "http" not in page
    assert "<script" not in page
    for found in report.findings:
        assert KINDS[found.kind].title in page
    assert "2025-02-01 (1,440 minutes)\nminutes missing: 7" in page
    assert "Nothing is wrong." in check(clean(1, days=1)).to_html()


def test_a_page_of_years_is_small_where_little_is_wrong() -> None:
    whole = pl.DataFrame({"open_time": [START + n * MINUTE for n in range(0, 3 * 525_600, 1)]})
    row = clean(1, days=1).head(1).drop("open_time")
    report = check(without(2_000, 5_000)(whole.join(row, how="cross")))
    page = report.to_html()
    assert len(page) < 20_000
    assert "One cell is 3 days of a symbol" in page


# -- real files ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def dirty(shared_data: Path) -> pl.DataFrame:
    """The real dirty files; their quote volume is made, because they have none."""
    return read_klines(str(shared_data / "klines/spot_dirty/*.parquet"), quote_volume="typical")


def test_the_dirty_files(dirty: pl.DataFrame) -> None:
    report = check(dirty)
    assert report.count("duplicate_same") == 27_398
    assert report.count("duplicate_same", "BTCRUB") == 26_856
    assert report.count("duplicate_same", "BRDBTC") == 542
    # The two lack the same minutes of one morning: the exchange was down.
    found = [entry for entry in report.findings if entry.kind == "exchange_hole"]
    assert [entry.count for entry in found] == [542]
    assert "the longest 354 from 2020-02-19 11:36, in 2 of 2 symbols" in found[0].told
    kinds = {entry.kind for entry in report.findings}
    assert kinds == {"duplicate_same", "exchange_hole", "zero_run"}


@pytest.mark.parametrize("name", ["BRDBTC", "SNGLSBTC"])
def test_the_dirty_files_one_by_one(dirty: pl.DataFrame, name: str) -> None:
    report = check(dirty.filter(symbol=name))
    assert report.count("missing") == 542
    assert report.symbols[0].runs["missing"]["minutes"].max() == 354
    assert report.symbols[0].runs["missing"].height == 3


@pytest.mark.parametrize("folder", ["um_full_2025-02", "um_ohlcv_2025-05"])
def test_real_months_with_a_crash_in_them_are_clean(shared_data: Path, folder: str) -> None:
    frame = pl.read_parquet(shared_data / "klines" / folder / "*.parquet")
    assert check(frame).findings == ()


@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_planted_in_a_real_month_is_told_and_no_other(shared_data: Path, name: str) -> None:
    kind, first, count, plant = PLANTED[name]
    folder = shared_data / "klines/um_full_2025-02"
    one, other = (pl.read_parquet(folder / f"{name}.parquet") for name in ("NEARUSDT", "FILUSDT"))
    report = check(pl.concat([other, plant(one)], how="vertical_relaxed"))
    time = None if kind == "out_of_years" else at(first)
    assert told(report) == {(kind, "NEARUSDT", time, count)}
