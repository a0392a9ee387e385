"""Exports: what comes out is what is stored, in files that others read too."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest

from history_faults import MINUTE, clean
from screener.errors import DataError
from screener.history import Store
from screener.history.archive import read_archive
from screener.history.export import export_archive, export_parquet
from screener.klines import read_klines

DAY = 1440 * MINUTE


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    days = [clean(2, 1).with_columns(open_time=pl.col("open_time") + n * DAY) for n in (26, 27, 28)]
    tiny = clean(1, 1).with_columns(
        pl.col("open", "high", "low", "close") * 1e-9, symbol=pl.lit("币安人生USDT"), trades=None
    )
    store.merge(pl.concat([*days, tiny], how="vertical_relaxed"), source="archive")
    return store


def values(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("source", "revision", strict=False)


def test_the_archives_layout(store: Store, tmp_path: Path) -> None:
    frames = (store.scan(name).collect() for name in store.symbols)
    done = export_archive(frames, tmp_path / "out")
    assert (done.rows, done.files) == (2 * 3 * 1440 + 1440, 5)
    folder = tmp_path / "out/data/futures/um/monthly/klines"
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.zip"))
    assert names[:2] == [
        "NARWHALUSDT/1m/NARWHALUSDT-1m-2025-02.zip",
        "NARWHALUSDT/1m/NARWHALUSDT-1m-2025-03.zip",
    ]
    assert "币安人生USDT/1m/币安人生USDT-1m-2025-02.zip" in names
    for path in folder.rglob("*.zip"):
        said = path.with_name(path.name + ".CHECKSUM").read_text(encoding="utf-8")
        assert said == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
    for symbol in store.symbols:
        paths = sorted(map(str, (folder / symbol).rglob("*.zip")))
        assert read_klines(paths).equals(values(store.scan(symbol).collect()))


def test_the_archive_reader_reads_it(store: Store, tmp_path: Path) -> None:
    export_archive([store.scan("NARWHALUSDT").collect()], tmp_path, market="spot")
    name = "NARWHALUSDT-1m-2025-02.zip"
    path = tmp_path / "data/spot/monthly/klines/NARWHALUSDT/1m" / name
    got = read_archive(path.read_bytes(), "NARWHALUSDT", name)
    held = values(store.read("NARWHALUSDT", "2025-02"))
    assert got.select(held.columns).equals(held)


@pytest.mark.parametrize(
    ("symbol", "plain"),
    [
        ("../../x", "%2E%2E%2F..%2Fx"),
        ("/x", "%2Fx"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("A/B", "A%2FB"),
        ("A%2FB", "A%252FB"),
        ("A\\B", "A%5CB"),
        ("A\nB", "A%0AB"),
        ("a.b", "a.b"),
        ("币安人生USDT", "币安人生USDT"),
    ],
)
def test_a_symbol_leads_to_no_other_folder(tmp_path: Path, symbol: str, plain: str) -> None:
    rows = clean(1, 1).with_columns(symbol=pl.lit(symbol), source=pl.lit("rest"))
    folder = tmp_path / "a" / "b" / "out"
    assert export_archive([rows], folder).files == 1
    path = folder / f"data/futures/um/monthly/klines/{plain}/1m/{plain}-1m-2025-02.zip"
    checksum = path.with_name(path.name + ".CHECKSUM")
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == {path, checksum}
    assert set(read_klines(path)["symbol"]) == {symbol}


def test_the_same_minutes_are_the_same_bytes(store: Store, tmp_path: Path) -> None:
    whole = store.scan("NARWHALUSDT").collect()
    for folder, frames in (("a", [whole]), ("b", [whole.head(700), whole[700:]])):
        export_archive(frames, tmp_path / folder)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).rglob("*.zip")}
        for folder in ("a", "b")
    )
    assert one == two


def test_one_parquet_file(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "all.parquet"
    done = export_parquet(store.scan(), target)
    assert (done.rows, done.bytes) == (store.scan().collect().height, target.stat().st_size)
    assert pl.read_parquet(target).equals(store.scan().collect())
    assert read_klines(target).height == done.rows


def test_a_folder_that_is_not_there_or_a_file_in_its_place(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        export_parquet(store.scan(), tmp_path / "none" / "all.parquet")
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        export_archive([store.scan().collect()], tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_full_disk_keeps_the_old_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "all.parquet"
    target.write_bytes(b"what was there")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="No space left") as refused:
        export_parquet(store.scan(), target)
    assert "make room" in str(refused.value)
    assert target.read_bytes() == b"what was there"
    assert not list(tmp_path.glob("*.tmp"))


def test_where_there_is_no_minute_nothing_is_written(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "all.parquet"
    target.write_bytes(b"what was there")
    none = store.scan(None, "2024-01", "2024-02")
    for frame in (none, Store(tmp_path / "none").scan()):
        with pytest.raises(DataError, match="there is no minute"):
            export_parquet(frame, target)
        with pytest.raises(DataError, match="there is no minute"):
            export_archive([frame.collect()], tmp_path / "out")
    assert target.read_bytes() == b"what was there"
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))
