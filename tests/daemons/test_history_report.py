"""A month of 20 symbols of an archive full of faults: told by the report, all of them and no other.

First what a user has who took the archive's files as they are, then what the store has.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from fetching import END, MONTH, NOW, START, Rig, rigged, stored, truth

from screener.errors import DataError
from screener.history import Store, journal
from screener.history.checks import check
from screener.history.fetch import Fetched
from screener.history.repair import repair
from screener.history.stored import check_stored
from screener.klines import read_klines
from screenerd.demo.archive import Minutes
from screenerd.model import MINUTE_MS

pytestmark = pytest.mark.asyncio

SYMBOLS = 20
Told = set[tuple[str, str | None, int]]


def minutes(some: list[Minutes], symbol: str) -> set[int]:
    """The minutes that were planted for a symbol, ms."""
    return {
        at for name, start, end in some if name == symbol for at in range(start, end, MINUTE_MS)
    }


def expected(rig: Rig, symbols: list[str]) -> Told:
    """What a check of the archive's files has to say, by what was planted."""
    faults = rig.exchange.faults.archive
    found: Told = set()
    for symbol in symbols:
        lost = {at for name, at in rig.planted.lost if name == symbol}
        missing = minutes(faults.holes, symbol) | lost
        differing = minutes(faults.conflicting, symbol) - missing
        same = minutes(faults.repeated, symbol) - missing - differing
        for kind, planted in (
            ("missing", missing), ("duplicate_differing", differing), ("duplicate_same", same),
        ):  # fmt: skip
            if planted:
                found.add((kind, symbol, len(planted)))
    return found


async def files_of(rig: Rig, folder: Path) -> tuple[list[Path], list[str]]:
    """The month's files that can be had and are what their checksum says, and their symbols."""
    paths, symbols = [], []
    async with rig.source() as source:
        for symbol in rig.symbols:
            try:
                data = await source.archive_file(symbol, MONTH)
            except DataError:
                continue
            if data is not None:
                path = folder / f"{symbol}-1m-{MONTH}.zip"
                path.write_bytes(data)
                paths.append(path)
                symbols.append(symbol)
    return paths, symbols


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_archives_files_as_they_are(tmp_path: Path, seed: int) -> None:
    async with rigged(SYMBOLS, seed=seed) as rig:
        paths, symbols = await files_of(rig, tmp_path)
        unusable = {symbol for symbol, period in rig.planted.unusable if period == MONTH}
        assert set(symbols) == set(rig.symbols) - unusable
        rows = read_klines(paths)
        report = check(rows, start=START, end=END, now=NOW)
        told = {(found.kind, found.symbol, found.count) for found in report.findings}
        assert told == expected(rig, symbols)

        # The files repaired, by REST alone and by the daily files, are the market.
        store = Store(tmp_path / "store")
        kept = rows.with_columns(source=pl.lit("stream"))
        async with rig.source() as source:
            done = await repair(store, source, symbols, START, END, now=NOW, rows=kept)
        whole = truth(rig.market, rig.planted).filter(pl.col("symbol").is_in(symbols))
        assert done.lacking == 0
        assert stored(store).equals(whole)
        journal.undo(store)
        assert store.symbols == []


async def test_what_was_fetched(tmp_path: Path) -> None:
    async with rigged(SYMBOLS, seed=3) as rig:
        store = Store(tmp_path)
        fetched: Fetched = await rig.fetch(store)
        report = check_stored(store, None, START, END, whole=True, now=NOW)
        lost = {symbol: minutes_lost(rig, symbol) for symbol in rig.symbols}
        assert {(f.kind, f.symbol, f.count) for f in report.findings} == {
            ("absent", symbol, count) for symbol, count in lost.items() if count
        }
        assert report.clean
        # What was wrong with the files themselves is told by the fetch.
        assert {(note.symbol, note.period) for note in fetched.notes} >= rig.planted.unusable
        assert stored(store).equals(truth(rig.market, rig.planted))


def minutes_lost(rig: Rig, symbol: str) -> int:
    """How many minutes of a symbol the exchange has not."""
    return len({at for name, at in rig.planted.lost if name == symbol})
