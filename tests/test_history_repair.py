"""`repair`: what lacks comes from the source, what cannot be goes to quarantine, all is undone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from history_faults import MINUTE, PLANTED, START, at, clean, repeated, scaled, with_cell, without
from history_truth import Truth, serving
from screener.errors import DataError, SourceError, StateError
from screener.history import Store, journal
from screener.history.absent import absent_spans, confirm_absent
from screener.history.checks import KINDS
from screener.history.http import HttpSource
from screener.history.quarantine import QUARANTINE
from screener.history.repair import Repaired, repair
from screener.history.stored import check_stored
from screener.klines import read_klines

NOW = START + 40 * 1440 * MINUTE
CELLS = ["symbol", "open_time", "open", "high", "low", "close", "volume", "quote_volume"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def truth_of(symbols: int = 1, days: int = 2) -> pl.DataFrame:
    return clean(symbols, days)


def keep(store: Store, frame: pl.DataFrame, source: str = "rest") -> pl.DataFrame:
    store.merge(frame.with_columns(source=pl.lit(source)))
    return frame


def held(store: Store) -> pl.DataFrame:
    return store.scan().collect()


def files(store: Store) -> dict[str, str]:
    """Every file of the months and registries by name, with its digest."""
    return {
        str(path.relative_to(store.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.root.rglob("*")
        if path.is_file() and ".journal" not in path.parts and path.name != ".lock"
    }


async def mend(store: Store, truth: Truth, **options: Any) -> Repaired:
    async with serving(truth) as source:
        return await repair(store, source, now=options.pop("now", NOW), **options)


def values(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("source", "revision", strict=False).sort("symbol", "open_time")


# -- filling -------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("archived", [False, True])
async def test_holes_are_filled_and_undone_to_the_byte(store: Store, archived: bool) -> None:
    truth = truth_of(2)
    one, two = truth.partition_by("symbol", maintain_order=True)
    keep(store, pl.concat([without(100, 700)(one), without(5, 2)(without(2000, 1)(two))]))
    before = files(store)
    done = await mend(store, Truth(truth, archived=archived))
    assert (done.merged.inserted, done.lacking, done.absent) == (703, 0, 0)
    assert values(held(store)).equals(values(truth))
    assert check_stored(store).clean
    assert files(store) != before
    undone = journal.undo(store)
    assert undone.id == done.entry
    assert files(store) == before


@pytest.mark.asyncio
async def test_where_nothing_lacks_nothing_is_changed_nor_kept(store: Store) -> None:
    truth = keep(store, truth_of())
    before = files(store)
    server = Truth(truth)
    done = await mend(store, server)
    assert not done.changed
    assert done.entry is None
    assert journal.entries(store) == []
    assert not server.asked
    assert files(store) == before


@pytest.mark.asyncio
async def test_a_second_repair_changes_nothing(store: Store) -> None:
    truth = truth_of()
    keep(store, without(100, 30)(truth))
    await mend(store, Truth(truth))
    before = files(store)
    assert not (await mend(store, Truth(truth))).changed
    assert files(store) == before


@pytest.mark.asyncio
async def test_what_the_source_has_not_is_recorded_and_not_asked_for_again(store: Store) -> None:
    truth = without(100, 30)(truth_of())
    keep(store, without(90, 60)(truth))
    symbol = truth["symbol"][0]
    before = files(store)
    done = await mend(store, Truth(truth))
    assert (done.merged.inserted, done.absent, done.lacking) == (30, 30, 0)
    assert absent_spans(store, symbol) == [(at(100), at(130))]
    report = check_stored(store)
    assert [(f.kind, f.first, f.count) for f in report.findings] == [("absent", at(100), 30)]
    assert report.clean
    server = Truth(truth)
    await mend(store, server)
    assert not server.asked
    journal.undo(store)
    assert files(store) == before
    assert absent_spans(store, symbol) == []


@pytest.mark.asyncio
async def test_no_candle_is_invented_unless_asked_and_then_marked(store: Store) -> None:
    truth = without(100, 30)(truth_of())
    keep(store, truth)
    await mend(store, Truth(truth))
    assert held(store).height == truth.height
    done = await mend(store, Truth(truth), synthetic=True)
    assert done.synthetic == 30
    made = held(store).filter(source="synthetic")
    assert made["open_time"].to_list() == [at(minute) for minute in range(100, 130)]
    close = truth.filter(open_time=at(99))["close"][0]
    for name in ("open", "high", "low", "close"):
        assert set(made[name]) == {close}
    assert set(made["volume"]) == {0.0}
    assert [f.kind for f in check_stored(store).findings] == ["synthetic"]
    assert not (await mend(store, Truth(truth), synthetic=True)).changed


@pytest.mark.asyncio
async def test_holes_between_months_and_whole_months(store: Store) -> None:
    day = 1440 * MINUTE
    truth = pl.concat(
        [clean(1, 1).with_columns(open_time=pl.col("open_time") + n * day) for n in range(60)]
    )
    edges = truth.filter(
        (pl.col("open_time") < START + 2 * day) | (pl.col("open_time") >= START + 59 * day)
    )
    keep(store, edges)
    assert store.months(truth["symbol"][0]) == ["2025-02", "2025-04"]
    before = files(store)
    done = await mend(store, Truth(truth, archived=True), now=START + 70 * day)
    assert done.lacking == 0
    assert values(held(store)).equals(values(truth))
    journal.undo(store)
    assert files(store) == before


# -- quarantine ----------------------------------------------------------------------------------

CANNOT_BE = [
    name for name, (kind, *_) in PLANTED.items()
    if "quarantine" in KINDS[kind].remedy and kind not in ("out_of_years", "value_missing")
]  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize("name", CANNOT_BE)
async def test_what_cannot_be_goes_to_quarantine_and_comes_from_the_source(
    store: Store, name: str
) -> None:
    kind, first, _, plant = PLANTED[name]
    truth = truth_of()
    keep(store, plant(truth), "archive")
    before = files(store)
    done = await mend(store, Truth(truth))
    assert (done.quarantined, done.lacking) == (1, 0)
    assert values(held(store)).equals(values(truth))
    kept = pl.read_parquet(journal.folder_of(store, done.entry or "") / QUARANTINE)
    assert kept["kind"].to_list() == [kind]
    assert kept["open_time"].to_list()[0] // MINUTE * MINUTE == at(first)
    journal.undo(store)
    assert files(store) == before


@pytest.mark.asyncio
async def test_minutes_of_the_future_are_quarantined(store: Store) -> None:
    truth = keep(store, truth_of())
    done = await mend(store, Truth(truth), now=at(2000))
    assert done.quarantined == truth.height - 2001
    assert held(store)["open_time"].max() == at(2000)


@pytest.mark.asyncio
async def test_what_is_in_quarantine_is_not_among_the_files_of_the_store(store: Store) -> None:
    keep(store, with_cell(50, high=1e40)(truth_of()))
    done = await repair(store, None, now=NOW)
    assert (journal.folder_of(store, done.entry or "") / QUARANTINE).exists()
    # As the documents tell other tools to read it.
    read = pl.read_parquet(store.root / "**" / "*.parquet")
    assert read["high"].max() < 1e40  # type: ignore[operator]
    assert read.height == held(store).height
    found = [path for path in store.root.rglob("*.parquet") if "symbol=" not in str(path.parent)]
    assert found == []


@pytest.mark.asyncio
@pytest.mark.parametrize("archived", [False, True])
async def test_what_cannot_be_is_not_taken_from_the_source_either(
    store: Store, archived: bool
) -> None:
    truth = truth_of()
    source = with_cell(50, high=1e40)(truth)
    # The hole is large enough for the daily file, in which the row is too.
    keep(store, without(100, 700)(source))
    done = await mend(store, Truth(source, archived=archived))
    assert (done.quarantined, done.merged.inserted, done.lacking, done.absent) == (1, 700, 1, 0)
    notes = [note for note in done.notes if "cannot be" in note]
    assert len(notes) == 1 + archived
    assert "2025-02-01T00:50:00Z, high 1e+40 (out_of_range)" in notes[0]
    assert values(held(store)).equals(values(truth.filter(pl.col("open_time") != at(50))))
    before = files(store)
    again = await mend(store, Truth(source, archived=archived))
    assert not again.changed
    assert (again.lacking, len(journal.entries(store))) == (1, 1)
    assert files(store) == before
    # Nobody said that there is no such minute: a source that has it right is asked.
    assert (await mend(store, Truth(truth))).merged.inserted == 1


@pytest.mark.asyncio
async def test_what_cannot_be_takes_no_sound_minutes_place(store: Store) -> None:
    truth = truth_of()
    source = with_cell(50, high=1e40)(truth)
    doubtful = scaled(50, 1, 3.0, "open", "high", "low", "close")(truth)
    keep(store, without(100, 700)(doubtful))
    done = await mend(store, Truth(source, archived=True), doubts=True)
    assert (done.merged.inserted, done.merged.corrected) == (700, 0)
    assert any(note.endswith("(out_of_range)") for note in done.notes)
    assert values(held(store)).equals(values(doubtful))


@pytest.mark.asyncio
async def test_without_a_source_what_cannot_be_is_taken_out_all_the_same(store: Store) -> None:
    keep(store, with_cell(50, high=1e40)(truth_of()))
    done = await repair(store, None, now=NOW)
    assert done.quarantined == 1
    assert check_stored(store).count("missing") == 1


# -- files and doubts ----------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_rows_of_files_are_added_sorted_out_and_completed(store: Store) -> None:
    truth = truth_of()
    told_twice = repeated(60, close=pl.select(pl.lit(truth["high"][60])).item())(truth)
    rows = without(100, 7)(with_cell(50, open_time=at(50) + 5)(told_twice))
    done = await mend(store, Truth(truth), rows=rows)
    assert done.quarantined == 1
    assert done.doubts == 1
    assert done.merged.conflicting == 1
    assert values(held(store)).equals(values(truth))
    journal.undo(store)
    assert store.symbols == []


def of_three_months(symbols: int = 1) -> pl.DataFrame:
    """A day of January, of February and of March."""
    day = 1440 * MINUTE
    one = clean(symbols, 1)
    moved = [one.with_columns(pl.col("open_time") + n * day) for n in (-1, 1, 28)]
    return pl.concat(moved).sort("symbol", "open_time")


@pytest.mark.asyncio
async def test_rows_of_files_outside_the_range_are_left_out(store: Store) -> None:
    rows = of_three_months()
    keep(store, rows.filter(pl.col("open_time") < at(0)).head(1000))
    before = files(store)
    done = await repair(store, None, start=at(1500), end=at(1600), now=NOW, rows=rows)
    assert done.merged.inserted == 100
    times = held(store).filter(pl.col("open_time") >= at(0))["open_time"]
    assert times.to_list() == [at(minute) for minute in range(1500, 1600)]
    journal.undo(store)
    assert files(store) == before


@pytest.mark.asyncio
async def test_a_range_without_rows_of_the_files_mends_no_other_symbol(store: Store) -> None:
    ours, other = truth_of(2).partition_by("symbol", maintain_order=True)
    keep(store, with_cell(50, high=1e40)(other))
    done = await repair(store, None, end=at(-1), now=NOW, rows=ours)
    assert not done.changed


@pytest.mark.asyncio
async def test_an_end_to_come_is_undone_with_the_months_after_now(store: Store) -> None:
    keep(store, of_three_months())
    before = files(store)
    done = await repair(store, None, end=at(40 * 1440), now=at(2000))
    assert done.quarantined == 1440 + 2880 - 2001
    assert store.months("NARWHALUSDT") == ["2025-01", "2025-02"]
    journal.undo(store)
    assert files(store) == before


@pytest.mark.asyncio
async def test_rows_of_symbols_that_were_not_asked_for_are_left_out(store: Store) -> None:
    truth = truth_of(2)
    ours, other = truth.partition_by("symbol", maintain_order=True)
    told_twice = repeated(60, close=pl.select(pl.lit(other["high"][60])).item())(other)
    rows = pl.concat([without(9, 3)(ours), told_twice], how="vertical_relaxed")
    symbol, left_out = ours["symbol"][0], other["symbol"][0]
    done = await mend(store, Truth(truth), symbols=[symbol], rows=rows)
    assert done.notes == [
        f"{left_out}: 2,881 rows were left out, as only other symbols are repaired"
    ]
    assert store.symbols == [symbol]
    assert values(held(store)).equals(values(ours))
    journal.undo(store)
    assert store.symbols == []


@pytest.mark.asyncio
async def test_minutes_hard_to_believe_are_asked_about_only_if_told_to(store: Store) -> None:
    truth = truth_of()
    keep(store, scaled(50, 1, 3.0, "open", "high", "low", "close")(truth))
    server = Truth(truth)
    assert not (await mend(store, server)).changed
    assert not server.asked
    done = await mend(store, server, doubts=True)
    assert (done.doubts, done.merged.corrected) == (2 + 1, 1)
    assert values(held(store)).equals(values(truth))


@pytest.mark.asyncio
async def test_the_dirty_files_become_the_truth(shared_data: Path, store: Store) -> None:
    dirty = read_klines(str(shared_data / "klines/spot_dirty/*.parquet"), quote_volume="typical")
    truth = _truth_about(dirty)
    done = await mend(store, Truth(truth), rows=dirty)
    assert done.merged.duplicate >= 27_398
    assert (done.lacking, done.absent, done.quarantined) == (0, 0, 0)
    assert values(held(store)).select(CELLS).equals(values(truth).select(CELLS))
    report = check_stored(store)
    assert report.clean
    assert {finding.kind for finding in report.findings} == {"zero_run"}
    before = held(store)
    assert not (await mend(store, Truth(truth))).changed
    assert held(store).equals(before)
    journal.undo(store)
    assert store.symbols == []


def _truth_about(dirty: pl.DataFrame) -> pl.DataFrame:
    """The files without duplicates, and a made-up candle where they lack one."""
    once = dirty.unique(["symbol", "open_time"], maintain_order=True).sort("symbol", "open_time")
    frames = []
    for part in once.partition_by("symbol", maintain_order=True):
        first, last = part["open_time"][0], part["open_time"][-1]
        times = pl.DataFrame({"open_time": range(first, last + 1, MINUTE)})
        whole = times.join(part, on="open_time", how="left", maintain_order="left")
        price = pl.col("close").forward_fill()
        whole = whole.with_columns(
            symbol=pl.lit(part["symbol"][0]),
            # A minute that was traded, so that no other hole looks like it.
            **{name: pl.col(name).fill_null(price) for name in ("open", "high", "low")},
            close=price,
            volume=pl.col("volume").fill_null(3.0),
            quote_volume=pl.coalesce("quote_volume", 3.0 * price),
            trades=pl.lit(7),
            taker_buy_volume=pl.lit(0.0),
            taker_buy_quote_volume=pl.lit(0.0),
        )
        frames.append(whole.select(CELLS + [n for n in whole.columns if n not in CELLS]))
    return pl.concat(frames)


# -- trouble -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_source_that_refuses_leaves_all_as_it_was(store: Store) -> None:
    truth = truth_of()
    keep(store, without(100, 30)(truth))
    before = files(store)
    with pytest.raises(SourceError, match="status 400"):
        await mend(store, Truth(truth, refuse=400))
    assert files(store) == before
    with pytest.raises(StateError, match="no repair is left to undo"):
        journal.undo(store)
    assert (await mend(store, Truth(truth))).merged.inserted == 30


@pytest.mark.asyncio
async def test_an_unknown_symbol_is_no_absence(store: Store) -> None:
    keep(store, without(100, 30)(truth_of()))
    done = await mend(store, Truth(truth_of(2).filter(pl.col("symbol") != "NARWHALUSDT")))
    assert (done.lacking, done.absent, done.changed) == (30, 0, False)


@pytest.mark.asyncio
async def test_nothing_stored_and_nothing_like_it(store: Store) -> None:
    with pytest.raises(DataError, match="nothing is stored here"):
        await repair(store, None, now=NOW)
    keep(store, truth_of())
    with pytest.raises(DataError, match="did you mean 'NARWHALUSDT'"):
        await repair(store, None, ["NARWALUSDT"], now=NOW)


@pytest.mark.asyncio
async def test_a_full_disk_leaves_months_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = truth_of(3)
    keep(store, pl.concat([without(9, 3)(p) for p in truth.partition_by("symbol")]))
    before = files(store)
    fsync = os.fsync
    written = 0

    def full(descriptor: int) -> None:
        nonlocal written
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        written += path.endswith(".tmp") and "symbol=" in path
        if written > 1 and path.endswith(".tmp"):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device") as refused:
        await mend(store, Truth(truth))
    assert "make room" in str(refused.value)
    monkeypatch.undo()
    assert not list(store.root.rglob("*.tmp"))
    now = files(store)
    assert sum(now[name] != before[name] for name in before) <= 1
    for symbol in store.symbols:
        assert store.scan(symbol).collect().height in (truth.height // 3, truth.height // 3 - 3)
    (entry,) = journal.entries(store)
    # Nor could the journal be finished, so undoing has to be insisted on.
    assert entry.state == "begun"
    journal.undo(store, force=True)
    assert files(store) == before


@pytest.mark.asyncio
async def test_a_source_that_fails_midway_leaves_what_was_mended_and_it_can_be_undone(
    store: Store,
) -> None:
    truth = truth_of()
    keep(store, with_cell(50, high=1e40)(truth))
    before = files(store)
    with pytest.raises(SourceError, match="status 400"):
        await mend(store, Truth(truth, refuse=400))
    (entry,) = journal.entries(store)
    assert (entry.state, entry.told["quarantined"], len(entry.files)) == ("done", 1, 1)
    mended = files(store)
    # What is fetched afterwards is not the repair's, and is not lost by undoing it.
    keep(store, truth)
    with pytest.raises(StateError, match="was changed after the repair"):
        journal.undo(store)
    assert values(held(store)).equals(values(truth))
    store.change(
        "NARWHALUSDT", "2025-02", lambda frame: frame.filter(pl.col("open_time") != at(50))
    )
    assert files(store) == mended
    journal.undo(store)
    assert files(store) == before


@pytest.mark.asyncio
async def test_what_came_after_a_killed_repair_is_lost_only_by_force(store: Store) -> None:
    truth = truth_of()
    keep(store, with_cell(50, high=1e40)(without(9, 3)(truth)))
    before = files(store)
    async with serving(Truth(truth)) as source:
        # The entry and the month without the row have been synced, each with its folder.
        assert await killed_at(5, store, source) == -signal.SIGKILL
    assert held(store).height == truth.height - 4
    (entry,) = journal.entries(store)
    assert entry.state == "begun"
    assert journal.touched(store, entry)
    keep(store, truth)
    after = files(store)
    with pytest.raises(StateError, match="was killed, and it is not known whether") as refused:
        journal.undo(store)
    assert "--force" in str(refused.value)
    assert files(store) == after
    journal.undo(store, force=True)
    assert files(store) == before


@pytest.mark.skipif(os.geteuid() == 0 and not os.path.exists("/proc/self/fd"), reason="no /proc")  # noqa: PTH110
@pytest.mark.asyncio
async def test_a_journal_that_cannot_be_written_stops_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, without(9, 3)(truth_of()))
    before = files(store)

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "link", read_only)
    monkeypatch.setattr("shutil.copyfile", read_only)
    with pytest.raises(DataError, match="Read-only file system") as refused:
        await mend(store, Truth(truth_of()))
    assert "name another folder" in str(refused.value)
    assert files(store) == before
    assert journal.entries(store) == []


@pytest.mark.asyncio
async def test_without_links_the_journal_copies(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    truth = truth_of()
    keep(store, without(9, 3)(truth))
    before = files(store)
    assert (await mend(store, Truth(truth))).changed
    journal.undo(store)
    assert files(store) == before


# -- undoing -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_later_repairs_are_undone_first(store: Store) -> None:
    truth = truth_of()
    keep(store, without(9, 3)(without(500, 5)(truth)))
    before = files(store)
    first = await mend(store, Truth(truth), end=at(100))
    second = await mend(store, Truth(truth))
    assert held(store).height == truth.height
    with pytest.raises(StateError, match=f"undo {second.entry} first"):
        journal.undo(store, first.entry)
    journal.undo(store)
    journal.undo(store)
    assert files(store) == before
    with pytest.raises(StateError, match="no repair is left"):
        journal.undo(store)
    with pytest.raises(StateError, match="undone already"):
        journal.undo(store, first.entry)
    with pytest.raises(StateError, match="there is no repair 'yesterday'"):
        journal.undo(store, "yesterday")


@pytest.mark.asyncio
async def test_what_came_after_a_repair_is_not_lost_by_undoing_it(store: Store) -> None:
    truth = truth_of()
    half = truth.filter(pl.col("open_time") < at(1440))
    keep(store, without(9, 3)(half))
    before = files(store)
    await mend(store, Truth(half))
    keep(store, truth)
    after = files(store)
    with pytest.raises(StateError, match="was changed after the repair"):
        journal.undo(store)
    assert files(store) == after
    journal.undo(store, force=True)
    assert files(store) == before


@pytest.mark.asyncio
async def test_an_entry_tells_what_was_done(store: Store) -> None:
    truth = truth_of()
    keep(store, without(9, 3)(truth))
    done = await mend(store, Truth(truth))
    (entry,) = journal.entries(store)
    assert (entry.id, entry.state, entry.at) == (done.entry, "done", NOW)
    assert entry.told["merged"]["inserted"] == 3
    assert [(file.symbol, file.name) for file in entry.files] == [
        ("NARWHALUSDT", "2025-02.parquet")
    ]
    path = journal.folder_of(store, entry.id) / "entry.json"
    path.write_text("{")
    with pytest.raises(DataError, match="entry of the journal is damaged"):
        journal.entries(store)


KILLED = """
import asyncio, os, signal, sys
from screener.history import Store, repair as module
from screener.history.http import open_source
store, url, stop = Store(sys.argv[1]), sys.argv[2], int(sys.argv[3])
writes = 0
def killing(real):
    def call(*args, **options):
        global writes
        writes += 1
        if writes == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    return call
os.fsync, os.unlink = killing(os.fsync), killing(os.unlink)
async def main():
    async with open_source(rest_url=url, archive_url=url) as source:
        await module.repair(store, source, now=int(sys.argv[4]))
asyncio.run(main())
"""


async def killed_at(stop: int, store: Store, source: HttpSource) -> int | None:
    """Repairs in a process that is killed before it syncs or removes its `stop`th file."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(store.root), source.rest_url, str(stop), str(NOW),
        stderr=subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), said.decode()
    return process.returncode


def undo_all(store: Store) -> None:
    """Undoes whatever changed something, the newest first; a killed one has to be insisted on."""
    while touching := [
        entry
        for entry in journal.entries(store)
        if entry.state != "undone" and journal.touched(store, entry)
    ]:
        if touching[-1].state == "begun":
            left = files(store)
            with pytest.raises(StateError, match="was killed"):
                journal.undo(store)
            assert files(store) == left
        journal.undo(store, force=touching[-1].state == "begun")


@pytest.mark.asyncio
async def test_killed_at_every_write_it_can_go_on_or_be_undone(tmp_path: Path) -> None:
    truth = truth_of(2)
    parts = [with_cell(50, high=1e40)(without(9, 3)(p)) for p in truth.partition_by("symbol")]
    # A month and a registry that nothing is wrong with: the journal keeps them, and drops them.
    day = 1440 * MINUTE
    january = parts[0][-1440:].with_columns(pl.col("open_time") - 2 * day)
    truth = pl.concat([january, truth]).sort("symbol", "open_time")
    killed = 0
    for stop in range(1, 60):
        store = Store(tmp_path / str(stop))
        keep(store, pl.concat([january, *parts]))
        symbol = january["symbol"][0]
        confirm_absent(store, symbol, [(at(-9), at(-8))], source="rest", asked_at=NOW)
        assert store.months(symbol) == ["2025-01", "2025-02"]
        before = files(store)
        async with serving(Truth(truth)) as source:
            if await killed_at(stop, store, source) == 0:
                break
            killed += 1
            for symbol in store.symbols:
                assert store.read(symbol, "2025-02").height > 2_800
            if stop % 2:
                done = await repair(store, source, now=NOW + 1000 * stop)
                assert done.lacking == 0
                assert values(held(store)).equals(values(truth))
            undo_all(store)
            assert files(store) == before
    assert killed >= 9


@pytest.mark.asyncio
async def test_one_repair_at_a_time(store: Store) -> None:
    keep(store, truth_of())
    with journal.alone(store):
        with pytest.raises(StateError, match="another repair"):
            await repair(store, None, now=NOW)
        with pytest.raises(StateError, match="another repair"):
            journal.undo(store)
    assert not (await repair(store, None, now=NOW)).changed


def test_the_journal_is_json(store: Store) -> None:
    keep(store, truth_of())
    entry = journal.begin(store, [("NARWHALUSDT", "2025-02.parquet"), ("X", "absent.json")], NOW)
    text = (journal.folder_of(store, entry.id) / "entry.json").read_text()
    assert json.loads(text)["files"][1] == {
        "symbol": "X", "name": "absent.json", "kept": None, "before": None, "after": None,
    }  # fmt: skip
    assert journal.begin(store, [], NOW).id == f"{entry.id}-2"
