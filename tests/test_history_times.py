"""Moments, months and days; names and paths of the archive and the store."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from history_faults import clean
from screener.errors import DataError
from screener.history import Store, check, check_stored, choose, layout, times
from screener.history.database import load, read_database
from screener.history.repair import repair, repair_minutes

if TYPE_CHECKING:
    from collections.abc import Callable

FEBRUARY = 1_738_368_000_000


@pytest.mark.parametrize(
    "moment",
    [
        FEBRUARY,
        str(FEBRUARY),
        "2025-02",
        "2025-02-01",
        "2025-02-01T00:00",
        "2025-02-01T02:00+02:00",
        datetime(2025, 2, 1),
        datetime(2025, 2, 1, tzinfo=UTC),
        datetime(2025, 2, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_moment_is_milliseconds(moment: times.Moment) -> None:
    assert times.as_ms(moment) == FEBRUARY


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13", "2025-02-30", "20250", "2025"])
def test_what_is_no_moment_is_refused_with_a_pattern(text: str) -> None:
    with pytest.raises(DataError, match="is no time") as caught:
        times.as_ms(text)
    assert "2025-02-03T02:10" in str(caught.value)


def test_months_and_days_of_a_range() -> None:
    start, end = times.as_ms("2023-12-31T23:59"), times.as_ms("2024-03-01")
    assert list(times.months_between(start, end)) == ["2023-12", "2024-01", "2024-02"]
    assert list(times.months_between(start, end + 1))[-1] == "2024-03"
    days = list(times.days_between(times.as_ms("2024-02-28T12:00"), end))
    assert days == ["2024-02-28", "2024-02-29"]
    assert list(times.months_between(end, end)) == list(times.days_between(end, end)) == []


@pytest.mark.parametrize(
    ("start", "end", "whole"),
    [(0, 120, (0, 120)), (1, 120, (60, 120)), (0, 119, (0, 60)), (1, 119, (60, 60))],
)
def test_the_start_is_rounded_up_and_the_end_down(
    start: int, end: int, whole: tuple[int, int]
) -> None:
    def seconds(at: int) -> int:
        return FEBRUARY + at * 1000

    found = times.whole_minutes(seconds(start), seconds(end))
    assert found == (seconds(whole[0]), seconds(whole[1]))
    ends = choose.span(seconds(start), seconds(end) + 60_000, FEBRUARY + times.DAY_MS)
    assert ends == (seconds(whole[0]), seconds(whole[1] + 60))


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("2025-02-02", "2025-02-01", "starts at 2025-02-02T00:00:00Z and ends at 2025-02-01"),
        (FEBRUARY, FEBRUARY, "the range is empty"),
        (9_999_999_999_999_999, None, "the start, 9999999999999999, is no time of the years 2009"),
        (None, "1999-12-31", "the end, 946598400000, is no time"),
        ("0001-01-01", None, "is no time"),
        (None, 10**30, "is no time"),
    ],
)
def test_a_range_that_cannot_be_is_refused_with_a_sentence(
    start: times.Moment | None, end: times.Moment | None, told: str, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    callers: list[Callable[[], object]] = [
        lambda: times.range_ms(start, end),
        lambda: store.scan("BTCUSDT", start, end),
        lambda: check_stored(store, None, start, end),
        lambda: check(clean(1, 1), start=start, end=end),
        lambda: load(store, tmp_path / "no.db", None, start, end, now=FEBRUARY),
        lambda: read_database(tmp_path / "no.db", "BTCUSDT", start, end),
        lambda: asyncio.run(repair(store, None, None, start, end, now=FEBRUARY)),
        lambda: repair_minutes(None, start, end, store=store, rest_url="http://127.0.0.1:9"),
        lambda: choose.span(
            times.as_ms(FEBRUARY if start is None else start),
            None if end is None else times.as_ms(end),
            FEBRUARY + times.DAY_MS,
        ),
    ]
    for call in callers:
        with pytest.raises(DataError) as caught:
            call()
        assert told in str(caught.value)


def test_a_range_that_can_be_is_milliseconds() -> None:
    assert times.range_ms("2025-02", None) == (FEBRUARY, None)
    assert times.range_ms(None, None) == (None, None)
    assert times.range_ms("2009-01-01", "2101-01-01") == (times.EARLIEST, times.LATEST)
    assert times.opening(FEBRUARY - 1, FEBRUARY + 1) == (FEBRUARY, FEBRUARY + 60_000)


def test_a_month_ends_where_the_next_begins() -> None:
    assert times.month_end("2023-12") == times.month_start("2024-01")
    assert times.month_end("2024-02") - times.month_start("2024-02") == 29 * times.DAY_MS
    assert times.month_of(times.month_end("2024-02") - 1) == "2024-02"
    assert times.day_of(times.day_start("2024-02-29")) == "2024-02-29"


def test_archive_paths_are_the_archives_own() -> None:
    monthly = layout.archive_path("BTCUSDT", "2025-02")
    assert monthly == "/data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02.zip"
    daily = layout.archive_path("BTCUSDT", "2025-02-03", market="spot")
    assert daily == "/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02-03.zip"
    encoded = "%E9%BE%99%E8%99%BEUSDT"
    path = layout.archive_path("龙虾USDT", "2025-02")
    assert path == f"/data/futures/um/monthly/klines/{encoded}/1m/{encoded}-1m-2025-02.zip"


@pytest.mark.parametrize(
    "symbol", ["BTCUSDT", "龙虾USDT", "a/b", "..", "x y%*?[=", "BTCUSDT_261225"]
)
def test_a_symbol_comes_back_from_its_folder(symbol: str) -> None:
    folder = layout.symbol_folder(Path("store"), "binance", symbol)
    assert folder.parent == Path("store/exchange=binance")
    assert layout.symbol_of(folder) == symbol
    assert layout.symbol_of(Path("store")) is None


def test_the_store_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SCREENER_HISTORY", str(tmp_path / "here"))
    assert layout.default_root() == tmp_path / "here"
    monkeypatch.delenv("SCREENER_HISTORY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert layout.default_root() == tmp_path / "screener" / "history"
