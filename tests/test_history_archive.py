"""The archive's bytes and REST rows as minutes: header or not, ms or µs, damage told."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import screener
from screener.errors import DataError
from screener.history import archive, rest, weight

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore\n"
)
START = 1_738_368_000_000
ROWS = 50


def row(number: int, *, unit: int = 1) -> str:
    """A line of the archive; `unit` is how many of the time's unit make a ms."""
    at = (START + number * 60_000) * unit
    return (
        f"{at},1.{number:04},2.5000,0.5000,1.25,{number},{at + 60_000 * unit - 1},"
        f"{number}.5,{number},0.5,0.25,0\n"
    )


def zipped(text: str | bytes, *, name: str = "BTCUSDT-1m-2025-02.csv", method: int = 8) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr(name, text)
    return buffer.getvalue()


def text(*, header: bool = True, unit: int = 1) -> str:
    return (HEADER if header else "") + "".join(row(number, unit=unit) for number in range(ROWS))


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_of_every_age_are_the_same_minutes(
    *, header: bool, unit: int, method: int, end: str
) -> None:
    data = zipped(text(header=header, unit=unit).replace("\n", end), method=method)
    frame = archive.read_archive(data, "BTCUSDT")
    assert frame.equals(archive.read_archive(zipped(text()), "BTCUSDT"))
    assert frame["open_time"].to_list() == [START + number * 60_000 for number in range(ROWS)]
    assert frame["open"].to_list() == [float(f"1.{number:04}") for number in range(ROWS)]
    assert frame.row(7, named=True) | {"open": 1.0} == {
        "symbol": "BTCUSDT",
        "open_time": START + 7 * 60_000,
        "open": 1.0,
        "high": 2.5,
        "low": 0.5,
        "close": 1.25,
        "volume": 7.0,
        "quote_volume": 7.5,
        "trades": 7,
        "taker_buy_volume": 0.5,
        "taker_buy_quote_volume": 0.25,
    }


def test_the_fast_way_reads_what_read_klines_reads(shared_data: Path, tmp_path: Path) -> None:
    packed = shared_data / "archive_csv" / "NEARUSDT-1m-2025-02.csv.gz"
    data = zipped(gzip.decompress(packed.read_bytes()))
    file = tmp_path / "NEARUSDT-1m-2025-02.zip"
    file.write_bytes(data)
    frame = archive.read_archive(data, "NEARUSDT")
    assert frame.height == 40_320
    assert frame.equals(screener.read_klines(file))


def test_rows_are_neither_sorted_nor_mended() -> None:
    lines = [row(3), row(1), row(1), row(7)]
    frame = archive.read_archive(zipped("".join(lines)), "BTCUSDT")
    minutes = ((frame["open_time"] - START) // 60_000).to_list()
    assert minutes == [3, 1, 1, 7]


def lasting(line: str) -> str:
    """A line whose candle lasts five minutes."""
    cells = line.split(",")
    if cells[0].isdigit():
        cells[6] = str(int(cells[0]) + 299_999)
    return ",".join(cells)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: [*lines[:4], "1,2,3\n", *lines[4:]], "line 5.*: 3 columns instead of 12"),
        (lambda lines: [*lines[:4], lines[4].replace("2.5000", "x"), *lines[5:]], "column high"),
        (lambda lines: [*lines[:4], lines[4].replace("2.5000", ""), *lines[5:]], "is missing"),
        (lambda lines: [*lines[:-1], lines[-1][:20]], "2 columns instead of 12"),
        (lambda _: [HEADER], "holds no candle"),
        (lambda _: [], "the file is empty"),
        (lambda _: ["<html>not found</html>"], "a web page"),
        (lambda lines: [lasting(line) for line in lines], "last 5 minutes"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(
    change: Callable[[list[str]], list[str]], told: str
) -> None:
    lines = text().splitlines(keepends=True)
    data = zipped("".join(change(lines)))
    with pytest.raises(DataError, match=told) as caught:
        archive.read_archive(data, "BTCUSDT", "BTCUSDT-1m-2025-02.zip")
    assert caught.value.path == "BTCUSDT-1m-2025-02.zip"


def test_no_damage_to_a_zip_file_goes_unnoticed() -> None:
    data, noise = zipped(text()), random.Random(5)
    right = archive.read_archive(data, "BTCUSDT")
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        place = noise.randrange(len(data))
        damaged[place] ^= 1 << noise.randrange(8)
        try:
            frame = archive.read_archive(bytes(damaged), "BTCUSDT")
        except DataError:
            refused += 1
        else:
            # What is not the content: a date, a comment, the name of the member.
            assert frame.equals(right)
    assert refused > 200
    for length in range(0, len(data), 37):
        with pytest.raises(DataError):
            archive.read_archive(data[:length], "BTCUSDT")


def test_a_zip_of_two_files_or_of_too_much_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.csv", text())
        file.writestr("b.csv", text())
    with pytest.raises(DataError, match="2 files instead of one"):
        archive.read_archive(buffer.getvalue(), "BTCUSDT")
    data = zipped(text())
    huge = data.replace(len(text()).to_bytes(4, "little"), (0x7FFFFFFF).to_bytes(4, "little"))
    with pytest.raises(DataError, match="2,147,483,647 bytes"):
        archive.read_archive(huge, "BTCUSDT")
    # A hundred kilobytes that unpack to nothing but the ends of lines.
    bomb = zipped(b"\n" * (65 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(DataError, match="68,157,440 bytes"):
        archive.read_archive(bomb, "BTCUSDT")


def test_checksums() -> None:
    digest = hashlib.sha256(b"content").hexdigest()
    for said in (f"{digest}  a.zip\n", f"{digest.upper()} *a.zip", digest, digest.encode()):
        assert archive.checksum(said, "a.zip") == digest
    archive.verify(b"content", digest, "a.zip")
    with pytest.raises(DataError, match="checksum is wrong") as caught:
        archive.verify(b"conten", digest, "a.zip")
    assert caught.value.path == "a.zip"
    for said in ("", "<html>", digest[:-1], f"x{digest}"):
        with pytest.raises(DataError, match="holds no SHA-256"):
            archive.checksum(said, "a.zip")


# -- REST ----------------------------------------------------------------------------------------


def answer(count: int) -> list[list[Any]]:
    """Rows as REST gives them."""
    rows = []
    for number in range(count):
        cells = row(number).strip().split(",")
        whole = {0, 6, 8}
        rows.append([int(cell) if place in whole else cell for place, cell in enumerate(cells)])
    return rows


def test_rest_rows_are_the_archives() -> None:
    now = START + ROWS * 60_000
    frame = rest.klines_frame(json.loads(json.dumps(answer(ROWS))), "BTCUSDT", now=now)
    assert frame.equals(archive.read_archive(zipped(text()), "BTCUSDT"))
    open_left_out = rest.klines_frame(answer(ROWS), "BTCUSDT", now=now - 1)
    assert open_left_out.equals(frame.head(ROWS - 1))
    assert rest.klines_frame([], "BTCUSDT", now=now).columns == frame.columns


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": -1121},
        [[START]],
        [["x", *answer(1)[0][1:]]],
        [[True, *answer(1)[0][1:]]],
        [[START, 1.5, *answer(1)[0][2:]]],
        [[START, "much", *answer(1)[0][2:]]],
        [None],
    ],
)
def test_what_is_no_list_of_klines_is_refused(wrong: object) -> None:
    with pytest.raises(DataError, match="klines of BTCUSDT"):
        rest.klines_frame(wrong, "BTCUSDT", now=START)


def contract(symbol: str, **more: object) -> dict[str, object]:
    usual = {
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "quoteAsset": "USDT",
        "onboardDate": START,
        "deliveryDate": 4_133_404_800_000,
    }
    return {"symbol": symbol, **usual, **more}


def test_the_universe_is_read_and_not_guessed() -> None:
    info = {
        "rateLimits": [
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 9},
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": 1000,
            },
        ],
        "symbols": [
            contract("龙虾USDT"),
            contract("BTCUSDC", quoteAsset="USDC"),
            contract("OLDUSDT", status="SETTLING", deliveryDate=START + 1),
            contract("SOONUSDT", status="PENDING_TRADING"),
            contract("TSLAUSDT", contractType="TRADIFI_PERPETUAL"),
            contract("BTCUSDT_261225", contractType="CURRENT_QUARTER"),
            contract("ODDUSDT", status="SOMETHING_NEW", onboardDate="then", deliveryDate=None),
            {"symbol": 7},
            "noise",
        ],
    }
    universe = rest.universe(info)
    assert universe.weight_limit == 1000
    assert universe.symbols() == ("龙虾USDT",)
    assert universe.symbols(quote="USDC") == ("BTCUSDC",)
    assert universe.symbols(tradfi=True) == ("TSLAUSDT", "龙虾USDT")
    assert universe.symbols(delisted=True) == ("OLDUSDT", "龙虾USDT")
    [old] = [each for each in universe.contracts if each.symbol == "OLDUSDT"]
    assert (old.since, old.until) == (START, START + 1)
    assert rest.universe({"symbols": []}).weight_limit == weight.DEFAULT_LIMIT
    wrong: object
    for wrong in (None, [], {"symbols": None}):
        with pytest.raises(DataError, match='no list "symbols"'):
            rest.universe(wrong)


def test_turnovers() -> None:
    assert rest.turnovers([{"symbol": "A", "quoteVolume": "1.5"}]) == {"A": 1.5}
    wrong: object
    for wrong in (None, [{}], [{"symbol": "A", "quoteVolume": "x"}], ["A"]):
        with pytest.raises(DataError, match="ticker/24hr"):
            rest.turnovers(wrong)


def test_slow_and_fast_ways_have_the_same_types() -> None:
    # A header the fast way does not know, with the columns in another order.
    names = HEADER.strip().split(",")
    order = [*reversed(range(len(names)))]
    lines = [[*line.split(",")] for line in text().splitlines()]
    other = "\n".join(",".join(cells[place] for place in order) for cells in lines)
    frame = archive.read_archive(zipped(other), "BTCUSDT")
    assert frame.equals(archive.read_archive(zipped(text()), "BTCUSDT"))
    assert frame.schema["trades"] == pl.Int64
