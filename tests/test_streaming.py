"""A replay of a store is that of all its minutes at once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import screener
from screener.history import Store

MARKET = screener.demo_market(symbols=6, days=3)
DAY = 86_400_000
NAMES = sorted(MARKET["symbol"].unique().to_list())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The market, stored."""
    made = Store(tmp_path_factory.mktemp("store"))
    made.merge(MARKET)
    return made


LEADERS = """
[[rule]]
name = "leader"
timeframe = "5m"
when = "rank(change_5m) == 1 and change_5m > 0.3"
"""


@pytest.mark.parametrize("workers", [None, 1, 3, 50])
@pytest.mark.parametrize("rules", ["futures", "classic", "quiet", LEADERS])
def test_all_at_once_and_symbol_by_symbol(store: Store, rules: str, workers: int | None) -> None:
    named = screener.RuleSet.parse(rules) if "[[" in rules else screener.RuleSet.load(rules)
    seen: list[str] = []
    found = screener.replay_store(store, named, workers=workers, on_symbol=seen.append)
    whole = screener.replay(MARKET, named)
    assert found.alerts.equals(whole.alerts)
    assert found.stats == whole.stats
    assert sorted(seen) == NAMES
    assert not found.alerts.is_empty() or rules == "quiet"


def test_a_part_of_it(store: Store) -> None:
    first = int(MARKET["open_time"].min())  # type: ignore[arg-type]
    start, end = first + DAY, first + 2 * DAY
    found = screener.replay_store(store, floors=True, symbols=NAMES[:2], start=start, end=end)
    some = MARKET.filter(pl.col("symbol").is_in(NAMES[:2]), pl.col("open_time") < end)
    assert found.alerts.equals(screener.replay(some, floors=True, start=start).alerts)
    assert found.stats["appended"] == 2 * 2 * 1440


def test_what_cannot_be(store: Store, tmp_path: Path) -> None:
    with pytest.raises(screener.DataError, match="nothing is stored here"):
        screener.replay_store(Store(tmp_path))
    with pytest.raises(screener.DataError, match="nothing is stored of"):
        screener.replay_store(store, symbols=["NOUSDT"])
    for other in (str(tmp_path), MARKET, None):
        with pytest.raises(screener.DataError, match="is no store"):
            screener.replay_store(other)  # type: ignore[arg-type]
    with pytest.raises(screener.DataError, match="workers"):
        screener.replay_store(store, workers=0)
    with pytest.raises(screener.RuleError, match="no rule set"):
        screener.replay_store(store, "futurs")
    with pytest.raises(screener.DataError):
        screener.replay_store(store, start="2026-02-01", end="2026-01-01")


def test_a_damaged_file_is_named_and_ends_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.merge(MARKET)
    path = next(store.folder(NAMES[3]).glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(screener.DataError, match=path.name):
        screener.replay_store(store, workers=2)
