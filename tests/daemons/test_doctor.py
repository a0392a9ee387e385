"""`screenerd doctor` on a store: sound, with holes, with rows that cannot be, in use, of many."""

from __future__ import annotations

import subprocess
import sys
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from screener.demo import demo_market
from screener.history import database
from screener.history.times import DAY_MS
from screenerd.clock import SystemClock
from screenerd.config import Config, ExchangeConfig, RulesConfig, StoreConfig
from screenerd.doctor import Check, examine
from screenerd.model import MINUTE_MS, Candle, CandleBatch
from screenerd.store.sqlite import SqliteStore, soundness

pytestmark = pytest.mark.asyncio

NOWHERE = "http://127.0.0.1:9"


def minutes(symbols: int = 2, days: int = 1) -> list[Candle]:
    """A market whose last minute is just over."""
    rows = demo_market(symbols=symbols, days=days)
    end = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS
    late = end - MINUTE_MS - int(rows["open_time"].max())  # type: ignore[arg-type]
    shifted = rows.with_columns(pl.col("open_time") + late)
    known = [name for name in shifted.columns if name in Candle.__slots__]
    return [Candle(**row) for row in shifted.select(known).iter_rows(named=True)]


async def keep(path: Path, candles: list[Candle]) -> None:
    """Stored as a daemon stores them."""
    async with SqliteStore(path, SystemClock()) as store:
        await store.write(CandleBatch("binance", tuple(candles)))


async def told(path: Path) -> Check:
    """The line for data."""
    exchange = ExchangeConfig(rest_url=NOWHERE, stream_url=NOWHERE.replace("http", "ws"))
    found = await examine(Config(exchange=exchange, store=StoreConfig(path=path)))
    return next(check for check in found if check.name == "data")


async def test_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    exchange = ExchangeConfig(rest_url=NOWHERE, stream_url=NOWHERE.replace("http", "ws"))
    config = Config(
        exchange=exchange,
        store=StoreConfig(path=tmp_path / "s.db"),
        rules=RulesConfig(name="classic", files=(file,)),
    )
    for text, well, words in (
        ('[[rule]]\nname = "x"\ntimeframe = "5m"\nwhen = "change_5m > 1"', True, "7 rules, 0 of"),
        ("[[rule]]", False, f"{file}, line 1, column 1: "),
    ):
        file.write_text(text)
        [found] = [check for check in await examine(config) if check.name == "rules"]
        assert found.well is well
        assert found.told.startswith(words)


async def test_a_sound_store(tmp_path: Path) -> None:
    path = tmp_path / "screener.db"
    await keep(path, [])
    assert await told(path) == Check("data", True, "nothing is stored yet")
    await keep(path, minutes())
    found = await told(path)
    assert found.well
    assert found.told.startswith("nothing is wrong with its last day, 2,880 minutes of 2 symbols")


async def test_what_is_wrong_is_told_by_kind_and_count(tmp_path: Path) -> None:
    path = tmp_path / "screener.db"
    candles = minutes(3, 2)
    one, two, three = sorted({candle.symbol for candle in candles})
    of = {name: [c for c in candles if c.symbol == name] for name in (one, two, three)}
    of[one][-9] = replace(of[one][-9], high=of[one][-9].low / 2)
    del of[two][-40:-33], of[two][-20], of[three][500]
    await keep(path, [candle for some in of.values() for candle in some])
    found = await told(path)
    assert not found.well
    # The hole of the third is older than a day.
    assert "in its last day, 4,312 minutes of 3 symbols: " in found.told
    assert "prices that cannot be (1), " in found.told
    assert "minutes missing (8)" in found.told
    for command in ("screener check", "screener repair", f"screener load {path}"):
        assert command in found.remedy


async def test_the_command_says_it_beside_a_daemon_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "screener.db"
    candles = minutes()
    late = [candle for candle in candles if candle.symbol == candles[0].symbol][-30:-25]
    async with SqliteStore(path, SystemClock()) as store:
        await store.write(CandleBatch("binance", tuple(c for c in candles if c not in late)))
        before = {name.name: name.read_bytes() for name in tmp_path.glob("screener.db*")}
        command = [str(Path(sys.executable).with_name("screenerd")), "doctor", "--db", str(path)]
        environment = {
            "SCREENER_EXCHANGE__REST_URL": NOWHERE,
            "SCREENER_EXCHANGE__STREAM_URL": NOWHERE.replace("http", "ws"),
        }
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
        )
        after = {name.name: name.read_bytes() for name in tmp_path.glob("screener.db*")}
        await store.write(CandleBatch("binance", tuple(late)))
    (line,) = (line for line in done.stdout.splitlines() if " data: " in line)
    assert done.returncode == 1, done.stderr
    assert line.startswith("FAIL data: the newest minute closed ")
    assert "minutes missing (5)" in line
    # Readers mark themselves in the shared memory beside the file.
    assert {**after, "screener.db-shm": b""} == {**before, "screener.db-shm": b""}
    assert "minutes missing" not in (await told(path)).told


async def test_a_store_is_looked_at_symbol_by_symbol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "screener.db"
    candles = minutes(6, 2)
    await keep(path, candles)
    alive, most = 0, 0

    def gone(rows: int) -> None:
        nonlocal alive
        alive -= rows

    def read(*args: Any, **more: Any) -> pl.DataFrame:
        nonlocal alive, most
        frame = database.read_database(*args, **more)
        alive += frame.height
        most = max(most, alive)
        weakref.finalize(frame, gone, frame.height)
        return frame

    monkeypatch.setattr(soundness, "read_database", read)
    newest = {candle.symbol: candle.open_time for candle in candles}
    report = soundness.last_day(path, "binance", newest, max(newest.values()))
    assert (report.rows, len(report.symbols)) == (6 * 1440, 6)
    assert most <= 2 * 1440, "a day of a symbol, and the one before it that is not gone yet"


async def test_a_symbol_that_has_ended_is_no_hole(tmp_path: Path) -> None:
    path = tmp_path / "screener.db"
    candles = minutes(2, 3)
    name = candles[0].symbol
    last = max(candle.open_time for candle in candles)
    await keep(path, [c for c in candles if c.symbol != name or c.open_time < last - DAY_MS])
    assert "1,440 minutes of 1 symbol" in (await told(path)).told
