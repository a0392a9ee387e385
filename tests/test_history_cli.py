"""`screener check | repair | undo | export` as a user types them."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from history_faults import START, at, clean, repeated, with_cell, without
from history_truth import Truth, served
from screener.cli import main
from screener.history import Store
from screener.history.absent import confirm_absent
from screener.history.archive import read_archive

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Run:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Run]:
    """Runs `screener` with these arguments in this process, on a store of its own."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SCREENER_HISTORY", str(tmp_path / "store"))

    def call(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["screener", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        code = stopped.value.code or 0
        assert isinstance(code, int)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Run(code, captured.out, captured.err)

    return call


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two symbols, one with a hole and a row that cannot be."""
    store = Store(tmp_path / "store")
    one, two = clean(2, 2).partition_by("symbol", maintain_order=True)
    store.merge(pl.concat([with_cell(50, high=1e40)(without(100, 7)(one)), two]), source="rest")
    return store


# -- check ---------------------------------------------------------------------------------------


def test_checking_a_store(run: Callable[..., Run], store: Store) -> None:
    told = run("check")
    assert told.code == 0
    assert "NARWHALUSDT" in told.out
    assert "minutes missing" in told.out
    assert "1 run, the longest 7 from 2025-02-01 01:40" in told.out
    assert "high = 1e+40 at 2025-02-01T00:50:00Z" in told.out
    assert "screener repair" in told.out
    document = run("check", "--json").json()
    assert [found["kind"] for found in document["findings"]] == ["out_of_range", "missing"]
    assert run("check", "TURNIPUSDT", "--json").json()["clean"]
    assert store.symbols == ["NARWHALUSDT", "TURNIPUSDT"]


def test_parts_and_wholes(run: Callable[..., Run], store: Store) -> None:
    assert run("check", "--start", "2025-02-02", "--json").json()["clean"]
    part = ("--start", "2025-01-31T23:00", "--end", "2025-02-01T02:00", "--json")
    assert run("check", "TURNIPUSDT", *part).json()["clean"]
    whole = run("check", "TURNIPUSDT", "--whole", *part).json()
    assert [(found["kind"], found["count"]) for found in whole["findings"]] == [("missing", 60)]
    assert run("check", "--whole", "--start", "2025-02-01").code == 2
    assert store.symbols


@pytest.mark.parametrize(("level", "code"), [("error", 1), ("warning", 1), ("notice", 1)])
def test_failing_on_a_severity(
    run: Callable[..., Run], store: Store, level: str, code: int
) -> None:
    assert run("check", "--fail-on", level).code == code
    assert run("check", "TURNIPUSDT", "--fail-on", level).code == 0
    assert store.symbols


def test_a_warning_is_no_error(run: Callable[..., Run], tmp_path: Path) -> None:
    path = tmp_path / "holes.parquet"
    without(5, 5)(clean(1, 1)).write_parquet(path)
    assert run("check", path, "--fail-on", "error").code == 0
    assert run("check", path, "--fail-on", "warning").code == 1


def test_checking_files(run: Callable[..., Run], tmp_path: Path) -> None:
    path = tmp_path / "BTC_USDT_USDT-1m-futures.json"
    ohlcv = without(5, 5)(clean(1, 1)).select("open_time", "open", "high", "low", "close", "volume")
    path.write_text(json.dumps([list(row) for row in ohlcv.iter_rows()]))
    told = run("check", path)
    assert told.code == 0
    assert "note: the symbol BTCUSDT was made of the pair BTC/USDT" in told.err
    assert "minutes missing" in told.out
    page = tmp_path / "report.html"
    assert f"wrote {page}" in run("check", path, "--html", page).err
    assert "BTCUSDT" in page.read_text(encoding="utf-8")


def test_against_another_source(run: Callable[..., Run], tmp_path: Path, store: Store) -> None:
    other = tmp_path / "other.parquet"
    changed = pl.when(pl.col("open_time") == at(9)).then(1e6).otherwise("volume")
    clean(2, 2).filter(symbol="TURNIPUSDT").with_columns(volume=changed).write_parquet(other)
    document = run("check", "TURNIPUSDT", "--against", other, "--json").json()
    found = document["findings"][0]
    assert (found["kind"], found["first"], found["count"]) == ("source_difference", at(9), 1)
    assert store.symbols


def test_what_cannot_be_checked(run: Callable[..., Run], tmp_path: Path, store: Store) -> None:
    for arguments, code, words in (
        (["NARWALUSDT"], 1, "did you mean 'NARWHALUSDT'?"),
        (["NARWHALUSDT", "a.csv"], 2, "'a.csv' is a file and 'NARWHALUSDT' is none"),
        (["a.csv"], 1, "there is no such file"),
        (["--start", "yesterday"], 2, "'yesterday' is no time"),
        (["--fail-on", "nothing"], 2, "nothing"),
        (["--store", tmp_path / "none"], 1, "nothing is stored here"),
        (["--html", tmp_path / "none" / "x.html"], 1, "the page cannot be written"),
        (["--html", tmp_path], 1, "the page cannot be written"),
    ):
        told = run("check", *arguments)
        assert (told.code, words in told.err) == (code, True), told.err
    assert store.symbols


def test_ranges_that_cannot_be(run: Callable[..., Run], tmp_path: Path, store: Store) -> None:
    path = tmp_path / "one.parquet"
    clean(1, 1).write_parquet(path)
    kept = tmp_path / "kept.parquet"
    kept.write_bytes(b"what was there")
    url = "http://127.0.0.1:9"
    commands = (
        ["check"],
        ["check", path],
        ["repair", "--url", url, "--archive-url", url],
        ["repair", "--offline"],
        ["load", tmp_path / "no.db"],
        ["export", "--out", kept],
        ["export", "--archive", tmp_path / "a"],
    )
    ranges = (
        (["--start", "9999999999999999"], "is no time of the years 2009 to 2100"),
        (["--start", "2025-02-02", "--end", "2025-02-01"], "let the start come before the end"),
    )
    for command in commands:
        for ends, words in ranges:
            told = run(*command, *ends)
            assert (told.code, told.out, words in told.err) == (1, "", True), told.err
    for target in (["--out", kept], ["--archive", tmp_path / "a"]):
        told = run("export", *target, "--start", "2026-01-01", "--end", "2026-02-01")
        assert (told.code, told.out) == (1, "")
        assert "there is no minute in this range" in told.err
    assert kept.read_bytes() == b"what was there"
    assert not (tmp_path / "a").exists()
    assert store.symbols


@pytest.mark.parametrize("end", ["2025-02-01T00:00:40", "2025-02-01T00:01:40"])
def test_a_page_of_a_span_within_minutes(
    run: Callable[..., Run], tmp_path: Path, store: Store, end: str
) -> None:
    page = tmp_path / "page.html"
    part = ("--whole", "--start", "2025-02-01T00:00:10", "--end", end, "--html", page, "--json")
    told = run("check", *part)
    assert told.code == 0, told.err
    assert page.stat().st_size > 1000
    assert told.json()["clean"], "the minute that opens in the range is held"
    assert store.symbols


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("repair --offline --url http://127.0.0.1:9", "--offline asks nobody"),
        ("repair --offline --archive-url http://127.0.0.1:9", "--offline asks nobody"),
        ("repair NARWHALUSDT --offline --symbol X", "no file is given"),
        ("check NARWHALUSDT --symbol X", "no file is given"),
        ("check --symbol X", "no file is given"),
        ("check a.csv --store s", "files are given"),
        ("undo --list 20260101", "--list undoes nothing"),
        ("undo --list --force", "--list undoes nothing"),
        ("fetch BTCUSDT --start 2025-02 --quote USDC", "symbols are named"),
        ("fetch --all --top 5 --start 2025-02", "give one of the two"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    run: Callable[..., Run], store: Store, command: str, words: str
) -> None:
    before = {path: path.read_bytes() for path in store.root.rglob("*.parquet")}
    told = run(*command.split())
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("error: ")
    assert words in told.err
    assert {path: path.read_bytes() for path in store.root.rglob("*.parquet")} == before
    assert not list(store.root.rglob(".journal"))


def test_whose_the_files_of_another_source_are(
    run: Callable[..., Run], tmp_path: Path, store: Store
) -> None:
    other = tmp_path / "other.parquet"
    clean(2, 2).filter(symbol="TURNIPUSDT").drop("symbol").write_parquet(other)
    against = ("--against", other, "--symbol", "TURNIPUSDT", "--json")
    assert run("check", "TURNIPUSDT", *against).json()["clean"]
    assert store.symbols


def test_a_damaged_month_is_named(run: Callable[..., Run], store: Store) -> None:
    path = store.path("NARWHALUSDT", "2025-02")
    path.write_bytes(path.read_bytes()[:-100])
    for arguments in (
        ["check"],
        ["repair", "--offline"],
        ["export", "--archive", store.root / "a"],
    ):
        told = run(*arguments)
        assert told.code == 1
        assert f"{path}: the file is damaged" in told.err
        assert "fetch the month again" in told.err
        assert told.out == ""


# -- repair and undo -----------------------------------------------------------------------------


def test_repairing_and_undoing(run: Callable[..., Run], store: Store) -> None:
    before = {p: p.read_bytes() for p in store.root.rglob("*.parquet")}
    with served(Truth(clean(2, 2))) as url:
        told = run("repair", "--url", url, "--archive-url", url)
        assert told.code == 0, told.err
        assert "8  minutes added" in told.out
        assert "1  rows moved to quarantine" in told.out
        assert run("check", "--json").json()["clean"]
        again = run("repair", "--url", url, "--archive-url", url)
        assert (again.code, again.out) == (0, "Nothing to repair.\n")
    listed = run("undo", "--list").out
    (entry,) = run("undo", "--list", "--json").json()["repairs"]
    assert entry["id"] in listed
    assert "8 added, 1 quarantined" in listed
    assert f"undone: {entry['id']}, 1 files are as they were" in run("undo").out
    assert {p: p.read_bytes() for p in before} == before
    told = run("undo")
    assert (told.code, told.err) == (1, "error: no repair is left to undo\n")


def test_repairing_whole_minutes_of_a_range(run: Callable[..., Run], store: Store) -> None:
    part = ("--start", "2025-02-01T01:40:10", "--end", "2025-02-01T01:43:40")
    truth = clean(2, 2).filter(pl.col("open_time") != at(102))
    # The minutes that the range begins and ends in are not whole in it, so none is made up there.
    edges = [(at(100), at(101)), (at(103), at(104))]
    confirm_absent(store, "NARWHALUSDT", edges, source="rest", asked_at=at(2000))
    with served(Truth(truth)) as url:
        told = run("repair", *part, "--synthetic", "--url", url, "--archive-url", url, "--json")
    assert told.code == 0, told.err
    assert (told.json()["merged"]["inserted"], told.json()["absent"]) == (1, 1)
    found = store.scan("NARWHALUSDT", at(98), at(108)).collect()
    assert found["open_time"].to_list() == [at(minute) for minute in (98, 99, 101, 102, 107)]
    assert found["source"][3] == "synthetic"


def test_repairing_files_into_the_store(
    run: Callable[..., Run], tmp_path: Path, store: Store
) -> None:
    path = tmp_path / "dirty.parquet"
    truth = clean(3, 2).filter(symbol="1000CRUMBUSDT")
    repeated(9)(without(20, 30)(truth)).write_parquet(path)
    with served(Truth(truth)) as url:
        done = run("repair", path, "--url", url, "--archive-url", url, "--json").json()
    assert done["lacking"] == 0
    assert done["merged"]["duplicate"] >= 1
    held = store.scan("1000CRUMBUSDT").collect()
    assert held.drop("source", "revision").equals(truth.select(held.columns[:-2]))
    assert run("undo", "--json").json()["state"] == "undone"
    assert store.symbols == ["NARWHALUSDT", "TURNIPUSDT"]


def test_without_a_network(run: Callable[..., Run], store: Store) -> None:
    before = {p: p.read_bytes() for p in store.root.rglob("*.parquet")}
    url = "http://127.0.0.1:9"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("screener.history.http.FIRST_WAIT", 0.001)
        told = run("repair", "--url", url, "--archive-url", url)
    assert told.code == 1
    assert "no answer" in told.err
    assert "check the network" in told.err
    assert {p: p.read_bytes() for p in store.root.rglob("*.parquet")} == before
    offline = run("repair", "--offline")
    assert offline.code == 0
    assert "1  rows moved to quarantine" in offline.out
    assert run("repair", "--offline", "--doubts").code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(run: Callable[..., Run], store: Store) -> None:
    folder = store.root / "exchange=binance"
    folder.chmod(0o500)
    try:
        told = run("repair", "--offline")
    finally:
        folder.chmod(0o700)
    assert told.code == 1
    assert "check who may write to the folder" in told.err


def test_a_file_where_the_journal_should_be(run: Callable[..., Run], store: Store) -> None:
    (store.root / "exchange=binance" / ".journal").write_text("a file")
    told = run("repair", "--offline")
    assert told.code == 1
    assert "the journal cannot be written" in told.err
    assert "a file is where a folder should be" in told.err
    assert run("check", "--json").json()["findings"][0]["kind"] == "out_of_range"


# -- export and load -----------------------------------------------------------------------------


def test_exporting(run: Callable[..., Run], tmp_path: Path, store: Store) -> None:
    one = tmp_path / "one.parquet"
    told = run("export", "TURNIPUSDT", "--out", one)
    assert "wrote 2,880 minutes into 1 file" in told.out
    assert pl.read_parquet(one).equals(store.scan("TURNIPUSDT").collect())
    document = run("export", "--archive", tmp_path / "a", "--json").json()
    assert (document["rows"], document["files"]) == (2 * 2880 - 7, 2)
    path = next((tmp_path / "a").rglob("TURNIPUSDT-1m-2025-02.zip"))
    rows = read_archive(path.read_bytes(), "TURNIPUSDT", path.name)
    assert rows["close"].to_list() == store.scan("TURNIPUSDT").collect()["close"].to_list()


def test_exports_that_cannot_be(run: Callable[..., Run], tmp_path: Path, store: Store) -> None:
    for arguments, code, words in (
        ([], 2, "give one of --out, --archive and --to-store"),
        (["--out", "x.csv"], 2, "the name has to end with .parquet"),
        (["--to-store"], 2, "--to-store needs --database"),
        (["--out", tmp_path / "none" / "x.parquet"], 1, "cannot be written"),
        (["NARWALUSDT", "--out", tmp_path / "x.parquet"], 1, "did you mean 'NARWHALUSDT'?"),
        (["--out", tmp_path / "x.parquet", "--database", tmp_path / "no.db"], 1, "no such file"),
    ):
        told = run("export", *arguments)
        assert (told.code, words in told.err) == (code, True), told.err
    assert not list(tmp_path.glob("x.*"))
    assert store.symbols


def test_loading_into_what_is_no_database(
    run: Callable[..., Run], tmp_path: Path, store: Store
) -> None:
    told = run("load", tmp_path / "no.db")
    assert told.code == 1
    assert "start screenerd once with this database" in told.err
    assert store.scan(None, START, START + 60_000).collect().height == 2
