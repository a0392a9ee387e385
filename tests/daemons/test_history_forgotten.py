"""What exchangeInfo lists no more is fetched all the same, out of the archive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fetching import NOW, SCREENER, SLOW, rigged

from screener.history import Store
from screener.history.absent import absent_spans
from screener.history.choose import Target, choose
from screener.history.fetch import fetch_into
from screener.history.http import open_source
from screener.history.layout import archive_folder
from screener.history.times import as_ms, month_start
from screenerd.clock import SystemClock
from screenerd.demo import DemoExchange, Limits, Market
from screenerd.demo.archive import FORGOTTEN
from screenerd.model import MINUTE_MS

NAME, _, END = FORGOTTEN


@contextlib.asynccontextmanager
async def market(symbols: int) -> AsyncIterator[str]:
    """The address of `screenerd market`, started for this."""
    process = await asyncio.create_subprocess_exec(
        str(SCREENER.with_name("screenerd")),
        *("market", "--port", "0", "--symbols", str(symbols)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            found = None
            while found is None:
                line = await process.stdout.readline()
                assert line, "it ended before it listened"
                found = re.search(rb"http://127\.0\.0\.1:\d+", line)
        yield found[0].decode()
    finally:
        process.terminate()
        await process.wait()


async def fetched(url: str, root: Path, *more: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of fetching what is forgotten too."""
    options = ("--all", "--include-delisted", "--start", "2025-02-16", "--end", "2025-02-19")
    process = await asyncio.create_subprocess_exec(
        *(str(SCREENER), "fetch", *options),
        *("--url", url, "--archive-url", url, "--store", str(root), *more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.asyncio
async def test_what_only_the_archive_lists_is_fetched(tmp_path: Path) -> None:
    # More symbols than a page of the listing has.
    async with market(Limits().listing + 2) as url:
        code, out, err = await fetched(url, tmp_path, "--json")
        assert code == 0, err
        told = json.loads(out)
        assert NAME in told["symbols"]
        assert "SRMUSDT" in told["symbols"], "what exchangeInfo lists as delisted, as before"
        assert told["remarks"] == []
        times = Store(tmp_path).times(NAME, "2025-02")
        # REST does not know it, so the month came as a file, and all of it is stored.
        assert len(times) == (END - month_start("2025-02")) // MINUTE_MS
        assert times[-1] == END - MINUTE_MS
        # What is not in its files is asked for no more: nobody else can have it.
        code, out, _ = await fetched(url, tmp_path, "--json")
        told = json.loads(out)
        assert (code, told["stored"], told["files"], told["complete"]) == (0, 0, 0, True)


@pytest.mark.asyncio
async def test_minutes_of_a_file_that_cannot_be_used_are_not_called_absent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    start, end = as_ms("2025-02-16"), as_ms("2025-02-19")
    async with rigged(1) as rig, rig.source() as source:
        rig.exchange.faults.archive.wrong_checksum[f"{NAME}-1m-2025-02-17.zip"] = 2
        chosen = await choose(source, Target((NAME,), include_delisted=True))
        done = await fetch_into(store, source, chosen, start, end, now=NOW)
        assert absent_spans(store, NAME) == [(as_ms("2025-02-18"), end)]
        assert done.lacking == (as_ms("2025-02-18") - END) // MINUTE_MS
        done = await fetch_into(store, source, chosen, start, end, now=NOW)
        assert (done.complete, done.absent) == (True, (as_ms("2025-02-18") - END) // MINUTE_MS)


@pytest.mark.asyncio
async def test_where_no_listing_is_to_be_had_the_rest_is_fetched(tmp_path: Path) -> None:
    async with rigged(1) as rig:
        url = rig.exchange.rest_url
        rig.exchange.faults.fail_rest(403, path="/")
        code, out, err = await fetched(url, tmp_path)
        assert code == 0, err
        assert "the archive's listing cannot be had: this address is refused" in out
        assert Store(tmp_path).symbols == ["BTCUSDT"]
        code, out, _ = await fetched(url, tmp_path, "--listing-url", f"{url}/none", "--json")
        assert code == 0
        assert "there is no listing" in json.loads(out)["remarks"][0]


@pytest.mark.asyncio
async def test_an_address_of_listings_that_nobody_asks_is_wrong_usage(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(SCREENER), "fetch", "BTCUSDT", "--start", "2025-02", "--listing-url", "http://x"),
        *("--store", str(tmp_path)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert b"--listing-url goes with --all --include-delisted" in err


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_pages_of_any_size_tell_the_same(size: int) -> None:
    clock = SystemClock(SLOW, start_ms=NOW)
    names = [contract.symbol for contract in Market(6).contracts]
    async with (
        DemoExchange(Market(6), clock, limits=Limits(listing=size)) as exchange,
        open_source(rest_url=exchange.rest_url, archive_url=exchange.rest_url) as source,
    ):
        folders = await source.archive_names(archive_folder())
        assert folders == [f"{name}/" for name in sorted([*names, NAME])]
        assert exchange.counters.requests["/"] == -(-len(folders) // size)
        files = await source.archive_names(archive_folder(NAME))
        assert files[:2] == [f"{NAME}-1m-2023-11.zip", f"{NAME}-1m-2023-11.zip.CHECKSUM"]
        assert len(files) == 2 * 16
        everything = await choose(source, Target(all=True, include_delisted=True))
        assert set(everything.symbols) == {*names, NAME, "SRMUSDT"}
        assert everything.listed[NAME] == (month_start("2023-11"), month_start("2025-03"))
        assert set((await choose(source, Target(all=True))).symbols) == set(names)
