"""A preview of what is in the daemons' database is one of the same minutes in a frame."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest
import pytest_asyncio

import screener
from screener.cli import main
from screener.errors import DataError
from screener.history import Store
from screener.history.database import load, newest_minute
from screener.preview.sources import DatabaseMinutes
from screenerd.clock import SystemClock
from screenerd.store.sqlite import SqliteStore

MINUTE = 60_000
DAY = 1440 * MINUTE
START = 1_767_571_200_000  # of the made-up market


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return screener.demo_market()


@pytest_asyncio.fixture
async def empty(tmp_path: Path) -> Path:
    """A database as a daemon leaves it."""
    path = tmp_path / "screener.db"
    async with SqliteStore(path, SystemClock()):
        pass
    return path


@pytest.fixture
def database(empty: Path, market: pl.DataFrame, tmp_path: Path) -> Path:
    """The same with the made-up market in it."""
    store = Store(tmp_path / "store")
    store.merge(market)
    load(store, empty, now=START + 3 * DAY)
    return empty


def test_a_preview_of_a_database(
    database: Path,
    market: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["screener", "rules", "preview", "futures", "--database", str(database), "--json"]
    monkeypatch.setattr(sys, "argv", [*command, "--last", "20h"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    told = json.loads(capsys.readouterr().out)
    expected = screener.preview("futures", market, start=START + 28 * 60 * MINUTE)
    alerts = told.pop("alerts")
    assert told == expected.to_dict()
    assert [alert["id"] for alert in alerts] == expected.alerts["id"].to_list()
    assert alerts


def test_a_symbol_at_a_time(database: Path) -> None:
    minutes = DatabaseMinutes(database, ["月饼USDT", "TEACUPUSDT"])
    assert minutes.newest() == START + 2 * DAY - MINUTE
    frames = minutes.frames(START + DAY + MINUTE, None)
    assert next(frames)["symbol"].unique().to_list() == ["月饼USDT"]
    assert next(frames).height == 2880 - 1
    with pytest.raises(DataError, match="did you mean 'TEACUPUSDT'"):
        DatabaseMinutes(database, ["TEACUPUSD"])


def test_a_database_without_minutes(empty: Path) -> None:
    assert newest_minute(empty, "TEACUPUSDT") is None
    with pytest.raises(DataError, match="it has no minutes"):
        DatabaseMinutes(empty)
