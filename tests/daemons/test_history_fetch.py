"""Fetching from the built-in market: every fault of the archive, and what REST may answer."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import aiohttp
import polars as pl
import pytest
from fetching import END, MONTH, NOW, SCREENER, SLOW, START, Planted, Rig, rigged, stored, truth

import screener
from screener.errors import DataError, SourceError
from screener.history import Store
from screener.history.absent import absent_spans, confirm_absent
from screener.history.archive import checksum, read_archive, verify
from screener.history.choose import Chosen, Target, choose, span
from screener.history.fetch import Event, Note, cost_of, fetch_into
from screener.history.layout import archive_path
from screener.history.times import DAY_MS, days_between
from screenerd.clock import SystemClock
from screenerd.demo import DemoExchange, Limits, Market
from screenerd.model import MINUTE_MS

DAY = START + 3 * DAY_MS
FAST = 600.0
"""A minute of weight is over in a tenth of a second."""


# -- the archive of the built-in market ---------------------------------------------------------


async def got(rig: Rig, path: str) -> tuple[int, bytes]:
    """An answer as it comes over the wire."""
    async with aiohttp.ClientSession() as session, session.get(rig.exchange.rest_url + path) as its:
        return its.status, await its.read()


@pytest.mark.asyncio
async def test_the_archive_has_the_markets_minutes() -> None:
    async with rigged(6) as rig:
        for index, symbol in enumerate(rig.symbols):
            for period, start, end in ((MONTH, START, END), ("2026-02-04", DAY, DAY + DAY_MS)):
                path = archive_path(symbol, period)
                status, data = await got(rig, path)
                assert status == 200
                _, said = await got(rig, path + ".CHECKSUM")
                verify(data, checksum(said, path), path)
                expected = truth(rig.market, Planted(), start, end)
                found = read_archive(data, symbol)
                assert found.equals(expected.filter(pl.col("symbol") == symbol)), index


@pytest.mark.asyncio
async def test_the_archive_is_planted_with_faults() -> None:
    async with rigged(1) as rig:
        faults, name = rig.exchange.faults.archive, f"BTCUSDT-1m-{MONTH}.zip"
        path = archive_path("BTCUSDT", MONTH)

        async def text() -> str:
            _, data = await got(rig, path)
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                return file.read(file.namelist()[0]).decode()

        plain = await text()
        assert plain.startswith("open_time,")
        faults.no_header.add(name)
        assert await text() == plain.partition("\n")[2]
        faults.no_header.clear()
        faults.microseconds.add(name)
        assert (await text()).splitlines()[1].startswith(f"{START}000,")
        faults.microseconds.clear()
        faults.holes.append(("BTCUSDT", DAY, DAY + 5 * MINUTE_MS))
        faults.repeated.append(("BTCUSDT", DAY + 60 * MINUTE_MS, DAY + 63 * MINUTE_MS))
        faults.conflicting.append(("BTCUSDT", DAY + 70 * MINUTE_MS, DAY + 71 * MINUTE_MS))
        lines = (await text()).splitlines()
        assert len(lines) == 1 + 28 * 1440 - 5 + 3 + 1
        assert len(set(lines)) == len(lines) - 3
        faults.missing.add(name)
        assert (await got(rig, path))[0] == (await got(rig, path + ".CHECKSUM"))[0] == 404


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path",
    [
        archive_path("BTCUSDT", "2026-03"),
        archive_path("BTCUSDT", "2026-03-21"),
        archive_path("BTCUSDT", "2019-12"),
        archive_path("NONEUSDT", MONTH),
        "/data/futures/um/monthly/klines/BTCUSDT/1m/ETHUSDT-1m-2026-02.zip",
        "/data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2026-02.zip",
        "/data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2026-13.zip",
        "/data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-5m-2026-02.zip",
    ],
)
async def test_the_archive_has_no_other_files(path: str) -> None:
    async with rigged(2) as rig:
        assert (await got(rig, path))[0] == 404


@pytest.mark.asyncio
async def test_the_archive_keeps_no_more_than_the_newest_files() -> None:
    async with rigged(2) as rig:
        paths = [
            archive_path(name, day) for day in days_between(START, END) for name in rig.symbols
        ]
        sizes = []
        for path in paths:
            status, data = await got(rig, path)
            assert status == 200
            sizes.append(len(data))
        for number in range(50):
            assert (await got(rig, archive_path(f"NO{number}USDT", MONTH)))[0] == 404
        assert len(paths) == 56
        kept = list(rig.exchange._files.values())
        assert [len(data) for data in kept] == sizes[-32:]
        assert rig.exchange.counters.requests == {"/data": 56 + 50}
        assert rig.asked == 56 + 50
        # One that was dropped is made again, and is what it was.
        assert len((await got(rig, paths[0]))[1]) == sizes[0]


# -- fetching -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_every_fault_is_mended_and_told_and_no_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    async with rigged(5, seed=3) as rig:
        done = await rig.fetch(store)
        faults = rig.exchange.faults.archive.happened
        assert faults["missing"]
        assert faults["wrong_checksum"]
        assert stored(store).equals(truth(rig.market, rig.planted))
        assert {(note.symbol, note.period) for note in done.notes} == rig.planted.unusable
        assert len(done.notes) == len(rig.planted.unusable), "one is told twice"
        whats = {note.what.split(":")[0] for note in done.notes}
        assert whats == {"missing", "the checksum is wrong"}
        assert done.complete
        assert (done.absent, done.held) == (len(rig.planted.lost), 0)
        assert done.wanted == 5 * 28 * 1440
        assert done.merged.inserted == done.wanted - done.absent
        assert done.merged.corrected == done.merged.outranked == done.merged.conflicting == 0
        assert done.merged.duplicate >= 700, "the repeated rows"


@pytest.mark.asyncio
async def test_of_rows_that_differ_rest_decides(tmp_path: Path) -> None:
    store = Store(tmp_path)
    async with rigged(1) as rig:
        minutes = (DAY, DAY + 3 * MINUTE_MS)
        rig.exchange.faults.archive.conflicting.append(("BTCUSDT", *minutes))
        await rig.fetch(store)
        found = store.scan("BTCUSDT", *minutes).collect()
        assert found["source"].to_list() == ["rest"] * 3
        assert stored(store).equals(truth(rig.market, Planted()))


@pytest.mark.asyncio
async def test_of_rows_that_differ_the_last_is_kept_where_rest_has_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    async with rigged(1) as rig:
        rig.exchange.faults.archive.conflicting.append(("BTCUSDT", DAY, DAY + MINUTE_MS))
        rig.exchange.faults.fail_rest(451, path="klines")
        done = await rig.fetch(store, ["BTCUSDT"])
        [row] = store.scan("BTCUSDT", DAY, DAY + MINUTE_MS).collect().iter_rows(named=True)
        assert row["source"] == "archive"
        assert row["close"] == row["open"], "what the second row says"
        assert done.complete
        assert not done.by_rest


@pytest.mark.asyncio
async def test_where_rest_is_refused_the_archive_is_all_there_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    async with rigged(2) as rig:
        faults = rig.exchange.faults
        faults.archive.holes.append(("BTCUSDT", DAY, DAY + 7 * MINUTE_MS))
        faults.archive.missing.add(f"ETHUSDT-1m-{MONTH}.zip")
        faults.fail_rest(451, path="/fapi/v1/klines")
        faults.fail_rest(451, path="exchangeInfo")
        done = await rig.fetch(store, ["BTCUSDT", "ETHUSDT"])
        assert (done.by_rest, done.lacking, done.absent) == (False, 7, 0)
        assert absent_spans(store, "BTCUSDT") == [], "nobody has said that they are not there"
        with pytest.raises(SourceError, match="location is not served") as caught:
            await rig.fetch(store)
        assert "another region" in str(caught.value)
        faults.disarm()
        done = await rig.fetch(store)
        assert (done.complete, done.merged.inserted) == (True, 7)
        assert stored(store).equals(truth(rig.market, Planted()))


@pytest.mark.asyncio
async def test_what_is_asked_for_is_counted_as_the_exchange_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    async with rigged(3) as rig, rig.source() as source:
        rig.exchange.faults.archive.holes.append(("ETHUSDT", DAY, DAY + 300 * MINUTE_MS))
        first, last = span(START, None, NOW)
        chosen = await choose(source, Target(all=True))
        cost = cost_of(store, chosen, first, last, NOW)
        events: list[Event] = []
        before = source.traffic.requests, source.traffic.weight
        done = await fetch_into(store, source, chosen, first, last, now=NOW, on_event=events.append)
        # The hole that nobody knew of is one request of the dearer kind more.
        assert source.traffic.requests - before[0] == cost.requests + 1
        assert source.traffic.weight - before[1] == cost.weight + 2
        assert source.traffic.weight == rig.exchange.weight_used
        assert source.budget.limit == rig.exchange.limits.weight
        assert sum(event.minutes for event in events) == done.wanted == cost.minutes
        assert stored(store, first, last).equals(truth(rig.market, Planted(), first, last))
        assert last == NOW - MINUTE_MS, "the very last minute may still change"


@pytest.mark.asyncio
async def test_a_refusal_is_obeyed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    async with rigged(1) as rig, rig.source() as source:
        rig.exchange.faults.fail_rest(429, times=2, path="klines")
        began = source.clock()
        rows = await source.klines("BTCUSDT", DAY, DAY + 5 * MINUTE_MS)
        assert rows is not None
        assert len(rows) == 5
        assert source.traffic.retries == 2
        assert source.clock() - began >= 10_000, "five seconds each time, as the exchange says"
    assert store.symbols == []


@pytest.mark.asyncio
async def test_a_month_by_rest_alone_stays_within_the_weight_budget(tmp_path: Path) -> None:
    store, market, clock = Store(tmp_path), Market(2), SystemClock(FAST, start_ms=NOW)
    async with DemoExchange(market, clock, limits=Limits(weight=100)) as exchange:
        rig = Rig(market, exchange, Planted())
        for symbol in rig.symbols:
            for period in (MONTH, *days_between(START, END)):
                exchange.faults.archive.missing.add(f"{symbol}-1m-{period}.zip")
        async with rig.source() as source:
            source.clock, source.sleep = clock.now_ms, clock.sleep
            chosen = await choose(source, Target(all=True))
            done = await fetch_into(store, source, chosen, START, END, now=NOW)
        assert done.complete
        assert source.traffic.weight > 3 * 80, "more than some minutes allow"
        assert source.budget.peak <= 80, "four fifths of what the exchange allows"
        assert set(exchange.counters.statuses) == {200, 404}, "never refused"
        assert stored(store).equals(truth(market, Planted()))


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["klines", ".zip"])
async def test_what_fails_now_and_then_is_asked_for_again(tmp_path: Path, path: str) -> None:
    store = Store(tmp_path)
    async with rigged(2) as rig:
        rig.exchange.faults.archive.holes.append(("ETHUSDT", DAY, DAY + 9 * MINUTE_MS))
        rig.exchange.faults.fail_rest(503, times=3, path=path)
        done = await rig.fetch(store)
        assert done.complete
        assert done.notes == []
        assert stored(store).equals(truth(rig.market, Planted()))


@pytest.mark.asyncio
async def test_what_fails_for_good_ends_the_run_and_keeps_what_came(tmp_path: Path) -> None:
    store = Store(tmp_path)
    async with rigged(8) as rig:
        rig.exchange.faults.fail_rest(503, path=f"1INCHUSDT-1m-{MONTH}.zip")
        with pytest.raises(SourceError, match="status 503") as caught:
            await rig.fetch(store)
        assert "run it again" in str(caught.value)
        kept = store.symbols
        assert len(kept) >= 5, "others finish what they are at"
        assert "1INCHUSDT" not in kept
        rig.exchange.faults.disarm()
        assert (await rig.fetch(store)).complete
        assert stored(store).equals(truth(rig.market, Planted()))


@pytest.mark.asyncio
async def test_a_minute_that_is_late_at_the_exchange_is_not_called_absent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    late, old = NOW - 10 * MINUTE_MS, NOW - 100 * MINUTE_MS
    async with rigged(1) as rig:
        for minute in (late, old):
            rig.exchange.faults.lose_minute("BTCUSDT", minute)
        done = await rig.fetch(store, start=NOW - 200 * MINUTE_MS, end=None)
        assert (done.lacking, done.absent) == (1, 1)
        assert absent_spans(store, "BTCUSDT") == [(old, old + MINUTE_MS)]


@pytest.mark.asyncio
async def test_what_was_absent_is_asked_for_again_where_it_is_said_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lost, outside = DAY + 60 * MINUTE_MS, DAY + 3 * DAY_MS
    async with rigged(2) as rig:
        for minute in (lost, lost + MINUTE_MS, outside):
            rig.exchange.faults.lose_minute("BTCUSDT", minute)
        assert (await rig.fetch(store)).absent == 3
        rig.exchange.faults.find_minute("BTCUSDT", lost)
        rig.exchange.faults.find_minute("BTCUSDT", outside)

        async def run(*more: str) -> dict[str, Any]:
            span = ("--start", str(DAY), "--end", str(DAY + DAY_MS))
            url = rig.exchange.rest_url
            where = ("--url", url, "--archive-url", url, "--store", str(tmp_path), "--json")
            code, out, err = await ran([str(SCREENER), "fetch", "--all", *span, *where, *more])
            assert code == 0, err
            told: dict[str, Any] = json.loads(out)
            return told

        asked = rig.asked
        assert (await run())["stored"] == 0
        assert rig.asked == asked + 2, "the time, and what is listed"
        assert (await run("--dry-run"))["missing"] == 0
        assert (await run("--ask-again", "--dry-run"))["missing"] == 2
        assert len(absent_spans(store, "BTCUSDT")) == 2, "a dry run forgets nothing"
        told = await run("--ask-again")
        assert (told["stored"], told["absent"], told["lacking"]) == (1, 1, 0)
        # What is still not there, and what nobody asked for again, stays known.
        left = [(lost + MINUTE_MS, lost + 2 * MINUTE_MS), (outside, outside + MINUTE_MS)]
        assert absent_spans(store, "BTCUSDT") == left
        assert store.symbols == sorted(rig.symbols)
        assert not (store.folder("ETHUSDT") / "absent.json").exists()


@pytest.mark.asyncio
async def test_times_within_a_minute_are_settled_in_whole_ones(tmp_path: Path) -> None:
    store = Store(tmp_path)
    now, first = NOW + 37_123, NOW - 120 * MINUTE_MS
    edge = NOW - 60 * MINUTE_MS
    async with rigged(1) as rig, rig.source() as source:
        for minute in (edge - MINUTE_MS, edge, edge + MINUTE_MS):
            rig.exchange.faults.lose_minute("BTCUSDT", minute)
        # Listed until a moment within a minute, as a contract that is delivered may be.
        chosen = Chosen(("BTCUSDT",), {"BTCUSDT": (first + 59_999, NOW - 11_877)})
        done = await fetch_into(store, source, chosen, first - 17, NOW - 1, now=now)
        assert absent_spans(store, "BTCUSDT") == [(edge - MINUTE_MS, edge)]
        assert (done.wanted, done.absent, done.lacking) == (119, 1, 2)
        # What is left over an hour later is whole minutes too, and REST answers for them.
        later = await fetch_into(store, source, chosen, first, NOW - 1, now=now + 3_600_000)
        assert (later.held, later.absent, later.lacking) == (117, 2, 0)
        assert later.complete
        assert set(rig.exchange.counters.statuses) <= {200, 404}, "no request is refused"


@pytest.mark.asyncio
async def test_a_registry_with_ends_within_minutes_ends_no_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = NOW - 120 * MINUTE_MS
    told = (first, first + 5 * MINUTE_MS + 37_123)
    confirm_absent(store, "BTCUSDT", [told], source="rest", asked_at=NOW)
    async with rigged(1) as rig:
        done = await rig.fetch(store, start=first, end=first + 6 * MINUTE_MS)
        assert (done.complete, store.symbols) == (True, [])
        done = await rig.fetch(store, start=first, end=first + 7 * MINUTE_MS)
        assert (done.complete, done.merged.inserted) == (True, 1)


@pytest.mark.asyncio
async def test_symbols_are_chosen() -> None:
    async with rigged(12) as rig, rig.source() as source:
        assert set((await choose(source, Target(all=True))).symbols) == set(rig.symbols)
        top = (await choose(source, Target(top=3))).symbols
        assert top[0] == "BTCUSDT"
        assert len(top) == 3
        named = await choose(source, Target(("ETHUSDT", "BTCUSDT", "ETHUSDT")))
        assert named.symbols == ("ETHUSDT", "BTCUSDT")
        usdc = await choose(source, Target(all=True, quote="USDC"))
        assert usdc.symbols == ("BTCUSDC",)
        everything = await choose(source, Target(all=True, include_delisted=True))
        assert set(everything.symbols) - set(rig.symbols) == {"SRMUSDT", "FTTUSDT"}
        with pytest.raises(DataError, match="lists no 'btcusd'") as caught:
            await choose(source, Target(("btcusd",)))
        assert "did you mean 'BTCUSDT'" in str(caught.value)
        with pytest.raises(DataError, match="quoted in XYZ"):
            await choose(source, Target(all=True, quote="XYZ"))
        for wrong in (Target(), Target(("BTCUSDT",), all=True), Target(top=0)):
            with pytest.raises(DataError):
                wrong.refuse_wrong()


@pytest.mark.asyncio
async def test_what_is_delisted_is_lacking_where_nobody_has_it(tmp_path: Path) -> None:
    async with rigged(1) as rig, rig.source() as source:
        chosen = await choose(source, Target(("SRMUSDT",), include_delisted=True))
        until = 1_700_000_000_000
        store = Store(tmp_path)
        first = until // DAY_MS * DAY_MS
        done = await fetch_into(store, source, chosen, first, until + DAY_MS, now=NOW)
        assert done.wanted == (until - first) // MINUTE_MS + 1, "the minute it ended in too"
        assert done.lacking == done.wanted
        assert absent_spans(store, "SRMUSDT") == []
        assert {note.period for note in done.notes} == {"2023-11", "2023-11-14"}
        assert done.notes[0] == Note("SRMUSDT", "2023-11-14", "missing")


# -- the command --------------------------------------------------------------------------------


async def ran(command: list[str], **more: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        **more,  # type: ignore[arg-type]
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.asyncio
async def test_a_dry_run_tells_and_fetches_nothing(tmp_path: Path) -> None:
    root = tmp_path / "store"
    async with rigged(3) as rig:
        code, out, _ = await ran(rig.command(root, "--dry-run", "--json"))
        assert code == 0
        told = json.loads(out)
        assert told["minutes"] == told["missing"] == 3 * 28 * 1440
        assert (told["requests"], told["weight"]) == (6, 0)
        assert not root.exists()
        assert rig.asked == 2
        code, out, _ = await ran(rig.command(root, "--dry-run"))
        assert "6 requests" in out
        code, out, _ = await ran(rig.command(root))
        assert code == 0
        assert "120,960 came now, 0 the exchange has not, 0 could not be had" in out
        _, out, _ = await ran(rig.command(root, "--dry-run", "--json"))
        assert json.loads(out)["missing"] == 0
        files = [*map(str, root.rglob("*.parquet"))]
        assert screener.read_klines(files).height == 3 * 28 * 1440


@pytest.mark.asyncio
async def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    root = tmp_path / "store"
    async with rigged(1) as rig:
        limited = ["bash", "-c", "ulimit -f 100; trap '' XFSZ; exec \"$@\"", "-"]
        code, out, err = await ran([*limited, *rig.command(root)])
        assert (code, out) == (1, "")
        assert err.startswith("error: ")
        assert "the store cannot be written: File too large" in err
        assert len(err.splitlines()) == 2
        assert [path.name for path in root.rglob("*") if path.is_file()] == [".lock"]
        assert (await ran(rig.command(root)))[0] == 0


@pytest.mark.asyncio
async def test_without_a_network_a_sentence_is_told(tmp_path: Path) -> None:
    async with rigged(1) as rig:
        command = rig.command(tmp_path / "store")
    code, out, err = await ran(command)
    assert (code, out) == (1, "")
    assert "no answer: " in err
    assert "check the network" in err
    assert len(err.splitlines()) == 2
    assert not (tmp_path / "store").exists()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--start", "2026-02"], "no symbols"),
        (["BTCUSDT", "--all", "--start", "2026-02"], "by name and all"),
        (["BTCUSDT", "--start", "soon"], "'soon' is no time"),
        (["BTCUSDT"], "Missing option '--start'"),
        (["BTCUSDT", "--start", "2026-02", "--top", "0"], "Invalid value for '--top'"),
        (["BTCUSDT", "--start", "2026-02", "--end", "2026-02"], "the range is empty"),
        (["BTCUSDT", "--start", "2027-02"], "there is no minute that is over"),
        (["BTCUSD", "--start", "2026-02"], "did you mean 'BTCUSDT'"),
    ],
)
async def test_wrong_arguments_are_told(tmp_path: Path, options: list[str], told: str) -> None:
    async with rigged(1) as rig:
        program, fetch, *_ = rig.command(tmp_path)
        where = ["--url", rig.exchange.rest_url, "--archive-url", rig.exchange.rest_url]
        code, out, err = await ran([program, fetch, *options, *where, "--store", str(tmp_path)])
    assert code in (1, 2)
    assert out == ""
    assert told in err
    assert "Traceback" not in err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.asyncio
async def test_what_is_no_exchange_is_told(tmp_path: Path) -> None:
    async with DemoExchange(Market(1), SystemClock(SLOW, start_ms=NOW)) as exchange:
        program = Rig(Market(1), exchange, Planted()).command(tmp_path)
        place = program.index("--url") + 1
        program[place] = f"{exchange.rest_url}/nowhere"
        code, _, err = await ran(program)
    assert code == 1
    assert "there is no such route" in err
    assert "check the address" in err
