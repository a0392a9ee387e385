"""`read_klines`: every format, every name, every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import subprocess
import sys
import tarfile
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screener.demo import demo_market
from screener.errors import DataError
from screener.klines import read_klines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = 1_738_368_000_000
NAME = "NEARUSDT-1m-2025-02"
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
COLUMNS = [
    "symbol",
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
]
SCHEMA = dict.fromkeys(COLUMNS, pl.Float64) | {
    "symbol": pl.String,
    "open_time": pl.Int64,
    "trades": pl.Int64,
}
SMALL = f"{HEADER}\n{START},1,2,0.5,1.5,10,{START + 59_999},15,3,4,6,0\n"


def market(minutes: int = 30) -> pl.DataFrame:
    """Candles of NEARUSDT with all columns, as `read_klines` is to give them."""
    demo = demo_market(symbols=1, days=1, start=START).head(minutes)
    return demo.with_columns(symbol=pl.lit("NEARUSDT"))


def rows(frame: pl.DataFrame, unit: int = 1) -> list[list[str]]:
    """The 12 columns of the archive, as texts; `unit` is what a ms has of the stamps' unit."""
    return [
        [
            str(time * unit),
            *map(str, prices),
            str(volume),
            str((time + 60_000) * unit - 1),
            *map(str, others),
            "0",
        ]
        for _, time, *prices, volume, quote, trades, base, taker in frame.iter_rows()
        for others in [(quote, trades, base, taker)]
    ]


def archive_csv(frame: pl.DataFrame, *, header: bool = True, unit: int = 1) -> str:
    lines = [HEADER] * header + [",".join(row) for row in rows(frame, unit)]
    return "".join(f"{line}\n" for line in lines)


def rest(frame: pl.DataFrame) -> list[list[object]]:
    """The rows of the REST answer: stamps and counts are numbers, the rest texts."""
    return [
        [int(cell) if index in (0, 6, 8) else cell for index, cell in enumerate(row)]
        for row in rows(frame)
    ]


def zipped(members: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def lines_of(values: list[object]) -> str:
    return "".join(f"{json.dumps(value)}\n" for value in values)


def formats() -> dict[str, bytes]:
    """The same candles in every format."""
    frame = market()
    csv = archive_csv(frame)
    answer = rest(frame)
    objects = frame.drop("symbol").rename({"open_time": "openTime", "trades": "numberOfTrades"})
    return {
        "csv": csv.encode(),
        "csv-bare": archive_csv(frame, header=False).encode(),
        "csv-bom-crlf": csv.replace("\n", "\r\n").encode("utf-8-sig"),
        "csv-semicolons": csv.replace(",", ";").encode(),
        "csv-tabs": csv.replace(",", "\t").encode(),
        "csv-quotes": re.sub(r"[^,\n]+", r'"\g<0>"', csv).encode(),
        "csv-blank-lines": f"\n{csv}\n\n".replace("\n1738368060000", "\n\n1738368060000").encode(),
        "csv-no-last-newline": csv.rstrip().encode(),
        "gz": gzip.compress(csv.encode()),
        "zip": zipped({f"{NAME}.csv": csv}),
        "zip-with-folders": zipped({"a/": b"", f"a/{NAME}.csv": csv, "__MACOSX/._a": b"\0"}),
        "parquet": written(frame.write_parquet),
        "parquet-gz": gzip.compress(written(frame.write_parquet)),
        "arrow": written(frame.write_ipc),
        "feather": written(lambda file: frame.write_ipc(file, compression="lz4")),
        "arrow-stream": written(frame.write_ipc_stream),
        "rest-json": json.dumps(answer).encode(),
        "rest-json-pretty": json.dumps(answer, indent=1).encode(),
        "rest-jsonl-rows": lines_of([*answer]).encode(),
        "rest-jsonl-pages": lines_of([answer[:7], answer[7:], []]).encode(),
        "objects-json": json.dumps(objects.to_dicts()).encode(),
        "objects-jsonl": lines_of([*objects.to_dicts()]).encode(),
    }


FORMATS = formats()


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file, by default under a name of the archive."""

    def write(content: str | bytes, name: str = f"{NAME}.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def refused(put: Callable[..., Path]) -> Callable[..., DataError]:
    """The error for this content; it always names the file and says what to do."""

    def read(content: str | bytes, name: str = f"{NAME}.csv", **options: str) -> DataError:
        path = put(content, name)
        with pytest.raises(DataError) as caught:
            read_klines(path, **options)  # type: ignore[arg-type]
        assert caught.value.path == str(path)
        assert caught.value.remedy
        return caught.value

    return read


# -- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("suffix", ["csv", "zip", "bin"])
def test_the_content_tells_the_format(put: Callable[..., Path], kind: str, suffix: str) -> None:
    frame = read_klines(put(FORMATS[kind], f"{NAME}.{suffix}"))
    assert frame.schema == pl.Schema(SCHEMA)
    assert frame.equals(market())


def test_all_members_of_a_zip_are_read_in_their_order(put: Callable[..., Path]) -> None:
    members: dict[str, str | bytes] = {
        f"{symbol}-1m-2025-02.csv": archive_csv(market(3)) for symbol in ("B", "A", "币安人生USDT")
    }
    frame = read_klines(put(zipped(members), "bundle.zip"))
    assert frame["symbol"].to_list() == ["B"] * 3 + ["A"] * 3 + ["币安人生USDT"] * 3


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000])
def test_stamps_in_any_unit(put: Callable[..., Path], unit: int) -> None:
    csv = archive_csv(market(), unit=unit).replace(f",{START * unit + 60_000 * unit - 1},", ",0,")
    assert read_klines(put(csv)).equals(market())


def test_units_may_change_within_a_file(put: Callable[..., Path]) -> None:
    early, late = market().head(10), market().tail(-10)
    csv = archive_csv(early, header=False) + archive_csv(late, header=False, unit=1_000)
    assert read_klines(put(csv)).equals(market())


def test_stamps_in_seconds(put: Callable[..., Path]) -> None:
    frame = market(2).with_columns(pl.col("open_time") // 1_000)
    assert read_klines(put(written(frame.write_parquet))).equals(market(2))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_datetimes_become_utc_milliseconds(
    put: Callable[..., Path], unit: str, zone: str | None
) -> None:
    utc = pl.from_epoch("open_time", "ms").dt.cast_time_unit(unit)  # type: ignore[arg-type]
    stamped = utc.dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else utc
    frame = market().with_columns(stamped).rename({"open_time": "date"})
    assert read_klines(put(written(frame.write_parquet))).equals(market())


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Decimal(20, 3), pl.String, pl.Int32])
def test_numbers_of_any_type(put: Callable[..., Path], dtype: pl.DataType) -> None:
    whole = market(5).with_columns(pl.col(COLUMNS[2:]).cast(pl.Int64).cast(pl.Float64))
    frame = whole.with_columns(pl.col(COLUMNS[2:]).cast(pl.Int64).cast(dtype))
    read = read_klines(put(written(frame.write_parquet)))
    assert read.equals(whole.with_columns(pl.col("trades").cast(pl.Int64)))


def test_whole_numbers_may_be_written_as_floats(put: Callable[..., Path]) -> None:
    csv = SMALL.replace(",3,4,6,0", ",3.0,4,6,0").replace(f"{START},", f"{START}.0,")
    frame = read_klines(put(csv))
    assert frame.select("open_time", "trades").row(0) == (START, 3)


def test_every_decimal_is_read_as_python_reads_it(put: Callable[..., Path]) -> None:
    rng = random.Random(5)
    texts = [
        f"{rng.uniform(0, 10 ** rng.randrange(-12, 12)):.{rng.randrange(17)}f}" for _ in range(500)
    ]
    csv = "open_time,open,high,low,close,volume,quote_volume\n" + "".join(
        f"{START + n * 60_000},{text},{text},{text},{text},{text},{text}\n"
        for n, text in enumerate(texts)
    )
    assert read_klines(put(csv))["close"].to_list() == [float(text) for text in texts]


def test_flags_event_times_and_sources_are_kept(put: Callable[..., Path]) -> None:
    csv = (
        "symbol,open_time,open,high,low,close,volume,quote_volume,closed,event_time,source\n"
        f"AUSDT,{START},1,1,1,1,0,0,true,{(START + 60_001) * 1000},rest\n"
        f"AUSDT,{START},1,1,1,1,0,0,False,,\n"
    )
    frame = read_klines(put(csv, "any.csv"))
    assert frame.columns[-3:] == ["closed", "event_time", "source"]
    assert frame["closed"].to_list() == [True, False]
    assert frame["event_time"].to_list() == [START + 60_001, None]
    assert frame["source"].to_list() == ["rest", None]


@pytest.mark.parametrize(
    "header",
    [
        (
            "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades,"
            "Taker buy base asset volume,Taker buy quote asset volume,Ignore"
        ),
        (
            "openTime,open,high,low,close,volume,closeTime,quoteAssetVolume,numberOfTrades,"
            "takerBuyBaseAssetVolume,takerBuyQuoteAssetVolume,ignore"
        ),
        "timestamp,open,high,low,close,vol,close_time,quote_av,trades,tb_base_av,tb_quote_av,ignore",
        "time,open,high,low,close,volume,end_time,quote_vol,count,taker_base_vol,taker_quote_vol,x",
    ],
)
def test_names_of_other_tools(put: Callable[..., Path], header: str) -> None:
    frame = read_klines(put(archive_csv(market()).replace(HEADER, header)))
    assert frame.equals(market())


def test_our_name_wins_over_an_alias(put: Callable[..., Path]) -> None:
    frame = market().with_columns(timestamp=pl.lit("yesterday"), note=pl.lit([1, 2]))
    assert read_klines(put(written(frame.write_parquet))).equals(market())


def test_nothing_is_dropped_or_mended_or_sorted(put: Callable[..., Path]) -> None:
    dirty = market(9).select(pl.all().gather([5, 5, 0, 8, 0, 1]))
    dirty = dirty.with_columns(pl.col("close") * -1, high=pl.lit(float("nan")))
    assert read_klines(put(archive_csv(dirty))).equals(dirty, null_equal=True)


# -- the symbol ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("NEARUSDT-1m-2025-02.csv", "NEARUSDT"),
        ("NEARUSDT-1m-2025-02-03.csv", "NEARUSDT"),
        ("NEARUSDT-1m-2025-02.csv.gz", "NEARUSDT"),
        ("NEARUSDT-1m-2025-02 (1).zip", "NEARUSDT"),
        ("NEARUSDT-1m.parquet", "NEARUSDT"),
        ("1000PEPEUSDT-1m-2025-02.zip", "1000PEPEUSDT"),
        ("币安人生USDT-1m-2025-02.zip", "币安人生USDT"),
        ("%E9%BE%99%E8%99%BEUSDT-1m-2025-02.zip", "龙虾USDT"),
        ("BTCUSDT_261225-1m-2025-02.zip", "BTCUSDT_261225"),
    ],
)
def test_the_name_of_the_file_tells_the_symbol(
    put: Callable[..., Path], name: str, symbol: str
) -> None:
    assert read_klines(put(SMALL, name))["symbol"].to_list() == [symbol]


def test_an_argument_wins_over_the_name_and_a_column_over_both(put: Callable[..., Path]) -> None:
    assert read_klines(put(SMALL), symbol="XUSDT")["symbol"].item() == "XUSDT"
    with_column = SMALL.replace("ignore", "symbol").replace(",0\n", ",YUSDT\n")
    assert read_klines(put(with_column), symbol="XUSDT")["symbol"].item() == "YUSDT"


def test_the_argument_fills_a_symbol_that_is_missing(put: Callable[..., Path]) -> None:
    frame = market(2).with_columns(symbol=pl.Series(["AUSDT", None], dtype=pl.Categorical))
    path = put(written(frame.write_parquet), "x.parquet")
    assert read_klines(path, symbol="B")["symbol"].to_list() == ["AUSDT", "B"]


def test_an_unknown_symbol_is_refused(refused: Callable[..., DataError]) -> None:
    error = refused(SMALL, "data.csv")
    assert error.column == "symbol"
    assert "symbol=" in str(error.remedy)


@pytest.mark.parametrize("interval", ["1s", "3m", "5m", "15m", "1h", "4h", "1d", "1w", "1mo", "1M"])
def test_other_intervals_are_refused_by_name(
    refused: Callable[..., DataError], interval: str
) -> None:
    error = refused(SMALL, f"NEARUSDT-{interval}-2025-02.csv", symbol="NEARUSDT")
    assert interval in error.reason


def test_other_intervals_are_refused_inside_a_zip(refused: Callable[..., DataError]) -> None:
    assert "5m" in refused(zipped({"NEARUSDT-5m-2025-02.csv": SMALL}), "a.zip").reason


def test_other_intervals_are_refused_by_the_end_of_the_candle(
    refused: Callable[..., DataError],
) -> None:
    five = SMALL.replace(str(START + 59_999), str(START + 299_999))
    assert refused(five).column == "close_time"


@pytest.mark.parametrize("end", [START + 59_000, START + 60_000, (START + 59_999) * 1_000, ""])
def test_ends_of_a_minute_in_several_fashions(put: Callable[..., Path], end: object) -> None:
    assert read_klines(put(SMALL.replace(str(START + 59_999), str(end)))).height == 1


def test_an_end_that_is_no_time_tells_no_interval(put: Callable[..., Path]) -> None:
    frame = market(2).with_columns(close_time=pl.lit(True))
    assert read_klines(put(written(frame.write_parquet))).equals(market(2))


@pytest.mark.parametrize("closed", [[True, False], [1, 0], [None, None], ["1", "FALSE"]])
def test_flags_of_any_type(put: Callable[..., Path], closed: list[object]) -> None:
    frame = market(2).with_columns(closed=pl.Series(closed))
    read = read_klines(put(written(frame.write_parquet)))
    assert read.schema["closed"] == pl.Boolean
    assert read["closed"].to_list() == [
        None if flag is None else index == 0 for index, flag in enumerate(closed)
    ]


# -- quote volume and the optional columns -------------------------------------------------------


def test_a_missing_quote_volume_names_the_remedy(refused: Callable[..., DataError]) -> None:
    no_column = refused(written(market().drop("quote_volume").write_parquet))
    no_value = refused(SMALL.replace(",15,3,", ",,3,"))
    for error in (no_column, no_value):
        assert error.column == "quote_volume"
        assert 'quote_volume="typical"' in str(error.remedy)
    assert no_value.line == 2


def test_typical_fills_only_what_is_missing(put: Callable[..., Path]) -> None:
    frame = market(100).with_columns(quote_volume=pl.Series([None, 7.5] + [None] * 98))
    read = read_klines(put(written(frame.write_parquet)), quote_volume="typical")
    typical = [
        volume * (high + low + close) / 3
        for high, low, close, volume in frame.select("high", "low", "close", "volume").iter_rows()
    ]
    assert read["quote_volume"].to_list() == [typical[0], 7.5, *typical[2:]]


def test_another_word_for_typical_is_refused(put: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="typical"):
        read_klines(put(SMALL), quote_volume="close")  # type: ignore[arg-type]


def test_optional_columns_that_no_file_has_are_left_out(put: Callable[..., Path]) -> None:
    required = market().select(COLUMNS[:8])
    read = read_klines(put(written(required.write_parquet)))
    assert read.columns == COLUMNS[:8]


def test_optional_columns_that_some_files_have_are_null_elsewhere(
    put: Callable[..., Path],
) -> None:
    frame = market(2)
    few = put(written(frame.select(COLUMNS[:8]).write_parquet), "A-1m.parquet")
    full = put(written(frame.write_parquet), "B-1m.parquet")
    read = read_klines([few, full])
    assert read.columns == COLUMNS
    assert read["trades"].to_list() == [None, None, *frame["trades"]]


def test_a_column_of_nulls_stays_unknown(put: Callable[..., Path]) -> None:
    frame = market(2).with_columns(trades=pl.lit(None), taker_buy_volume=pl.lit(None))
    read = read_klines(put(written(frame.write_parquet)))
    assert read.schema == pl.Schema(SCHEMA)
    assert read["trades"].null_count() == 2


# -- which files ---------------------------------------------------------------------------------


def test_files_are_read_in_the_order_given(put: Callable[..., Path]) -> None:
    paths = [put(SMALL, f"{name}-1m-2025-02.csv") for name in "CAB"]
    assert read_klines(paths)["symbol"].to_list() == ["C", "A", "B"]
    assert read_klines(str(path) for path in paths)["symbol"].to_list() == ["C", "A", "B"]


def test_a_pattern_names_its_files_in_order(put: Callable[..., Path]) -> None:
    for name in "CAB":
        folder = put(SMALL, f"{name}-1m-2025-02.csv").parent
    assert read_klines(folder / "*.csv")["symbol"].to_list() == ["A", "B", "C"]
    assert read_klines(str(folder / "[BC]-*"))["symbol"].to_list() == ["B", "C"]


def test_a_file_with_brackets_in_its_name_is_a_file(put: Callable[..., Path]) -> None:
    assert read_klines(put(SMALL, "[A]-1m-2025-02.csv")).height == 1


def test_a_directory_is_refused_with_the_pattern_to_use(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="directory") as caught:
        read_klines(tmp_path)
    assert repr(str(tmp_path / "*")) in str(caught.value.remedy)


@pytest.mark.parametrize("name", ["nothing.csv", "*.nothing", "https://x.y/z.zip", "nul\0.csv"])
def test_files_that_are_not_there(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        read_klines(name)
    assert caught.value.path == name
    assert caught.value.remedy


def test_no_file_at_all() -> None:
    with pytest.raises(DataError, match="no file was named"):
        read_klines([])


# -- what is wrong with a file -------------------------------------------------------------------

GOOD_LINE = SMALL.splitlines()[1]
BAD_TEXTS = {
    "empty": ("", "empty"),
    "blank": (" \n\n", "empty"),
    "quotes only": ('"', "empty"),
    "header only": (f"{HEADER}\n", "no candle"),
    "web page": ("\n<!DOCTYPE html><html>502</html>", "web page"),
    "plain text": ("404 page not found", "neither CSV nor JSON"),
    "UTF-16": (SMALL.encode("utf-16"), "UTF-16"),
    "Latin-1": (b"caf\xe9,open\n1,2\n", "UTF-8"),
    "zstd": (b"\x28\xb5\x2f\xfd\0\0", "zstd"),
    "tar": (b"BZh91AY", "bzip2"),
    "gz in gz": (gzip.compress(gzip.compress(b"x")), "twice"),
    "zip in zip": (zipped({"a.zip": zipped({"a.csv": SMALL})}), "twice"),
    "empty zip": (zipped({}), "no file"),
    "zip of folders": (zipped({"a/": b""}), "no file"),
    "empty list": ("[]", "no list of candles"),
    "error of the exchange": ('{"code":-1121,"msg":"Invalid symbol."}', "Invalid symbol"),
    "JSON numbers": ("[1, 2]", "2 items instead of 6 or 12"),
    "JSON texts": ('["a"]', "1 items instead of 6 or 12"),
    "JSON mixed": ('[[1],{"open":1}]', "no list of candles"),
    "JSON cut off": (json.dumps(rest(market()))[:-9], "line 1"),
    "JSON cut off line": (lines_of([*rest(market())])[:-9], "line 30"),
    "JSON deep": ("[" * 100_000, "JSON"),
    "JSON surrogate": (json.dumps([["\ud800"] * 12]), "half a character"),
    "JSON huge integer": (f"[[{'9' * 5000},1]]", "JSON"),
    "no header, 6 columns": (f"{START},1,1,1,1,1\n", "6 columns without a header"),
    "other header": ("a,b\n1,2\n", "open_time"),
    "two times the same column": (SMALL.replace("ignore", "Open"), "two columns"),
    "parquet damaged": (FORMATS["parquet"][:200], "parquet"),
    "parquet of nothing": (written(market(0).write_parquet), "no candle"),
    "arrow damaged": (FORMATS["arrow"][:200], "Arrow"),
    "arrow stream damaged": (FORMATS["arrow-stream"][:200], "Arrow"),
}


@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_files_that_are_no_candles(refused: Callable[..., DataError], kind: str) -> None:
    content, words = BAD_TEXTS[kind]
    assert words in str(refused(content))


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        (GOOD_LINE.replace(",1.5,", ",1.5x,"), "close", "'1.5x' is not a number"),
        (GOOD_LINE.replace(",1.5,", ",,"), "close", "missing"),
        (GOOD_LINE.replace(",10,", ",null,"), "volume", "'null' is not a number"),
        (GOOD_LINE.replace(",3,4,", ",3.5,4,"), "trades", "'3.5' is not a whole number"),
        (GOOD_LINE.replace(",3,4,", f",{10**19},4,"), "trades", "is not a whole number"),
        (GOOD_LINE.replace(f"{START},", "2025-02-01,"), "open_time", "is not a time"),
        (HEADER, "open_time", "'open_time' is not a time"),
        (GOOD_LINE[:-2], None, "11 columns instead of 12"),
        (f"{GOOD_LINE},1", None, "13 columns instead of 12"),
    ],
)
def test_a_bad_line_is_named(
    refused: Callable[..., DataError], line: str, column: str | None, words: str
) -> None:
    error = refused(f"{SMALL}\n{line}\n{GOOD_LINE}\n")
    assert (error.line, error.column) == (4, column)
    assert words in error.reason


def test_a_bad_row_of_a_frame_is_named(refused: Callable[..., DataError]) -> None:
    frame = market(3).with_columns(close=pl.Series(["1", "2", "x"]))
    error = refused(written(frame.write_parquet))
    assert (error.row, error.column) == (2, "close")


@pytest.mark.parametrize(
    "column",
    [
        pl.lit(True).alias("open"),
        pl.lit([1.0]).alias("volume"),
        pl.lit(datetime(2025, 1, 1, tzinfo=UTC)).alias("trades"),
        pl.lit("maybe").alias("closed"),
        pl.lit(1.0).alias("closed"),
        pl.lit(True).alias("event_time"),
        pl.lit(1.5).alias("open_time"),
        pl.lit(3).alias("symbol"),
        pl.lit(3).alias("source"),
    ],
)
def test_columns_of_the_wrong_type(refused: Callable[..., DataError], column: pl.Expr) -> None:
    error = refused(written(market(2).with_columns(column).write_parquet))
    assert error.column == column.meta.output_name()


@pytest.mark.parametrize("item", [[], [1] * 11, [1] * 13])
def test_rows_of_the_wrong_width(refused: Callable[..., DataError], item: list[int]) -> None:
    error = refused(json.dumps([*rest(market(2)), item]))
    assert error.row == 2


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_archives_that_were_cut_off(refused: Callable[..., DataError], kind: str) -> None:
    content = FORMATS[kind]
    for size in (10, len(content) // 2, len(content) - 1):
        assert "unpacked" in refused(content[:size]).reason


def test_a_member_of_a_zip_is_named(refused: Callable[..., DataError]) -> None:
    bad = SMALL.replace(",1.5,", ",?,")
    error = refused(zipped({f"{NAME}.csv": SMALL, "B-1m-2025-02.csv": bad}))
    assert error.reason.startswith("B-1m-2025-02.csv: ")


def test_an_encrypted_zip(refused: Callable[..., DataError]) -> None:
    content = bytearray(FORMATS["zip"])
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refused(bytes(content)).reason


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zipped({f"{NAME}.csv": data})])
def test_bombs_are_not_unpacked(
    refused: Callable[..., DataError], pack: Callable[[bytes], bytes]
) -> None:
    assert "large" in refused(pack(b"0" * (65 << 20))).reason


def test_a_tar_is_no_candles(refused: Callable[..., DataError]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(f"{NAME}.csv")
        member.size = len(SMALL)
        archive.addfile(member, io.BytesIO(SMALL.encode()))
    refused(buffer.getvalue(), "a.tar.gz", symbol="AUSDT")


# -- whatever comes, nothing but a DataError -----------------------------------------------------


def read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    frame = read_klines_or_none(path)
    if frame is not None:
        assert frame.height > 0
        assert frame.columns[:8] == COLUMNS[:8]
        assert frame.select(COLUMNS[:7]).null_count().sum_horizontal().item() == 0


def read_klines_or_none(path: Path) -> pl.DataFrame | None:
    try:
        return read_klines(path, symbol="AUSDT", quote_volume="typical")
    except DataError:
        return None


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "any.bin"


EDITS = st.lists(
    st.tuples(st.integers(0, 20_000), st.integers(0, 4), st.binary(max_size=6)),
    min_size=1,
    max_size=4,
)
TEXTUAL = [kind for kind in FORMATS if kind.startswith(("csv", "rest", "objects"))]


@given(
    kind=st.sampled_from([*TEXTUAL, "gz", "zip"]),
    edits=EDITS,
    size=st.none() | st.integers(0, 20_000),
)
def test_damaged_bytes(
    scratch: Path, kind: str, edits: list[tuple[int, int, bytes]], size: int | None
) -> None:
    content = bytearray(FORMATS[kind])
    for position, removed, added in edits:
        start = position % len(content)
        content[start : start + removed] = added
    read_or_refuse(scratch, bytes(content[:size]))


@given(
    cells=st.lists(
        st.tuples(
            st.integers(0, 30),
            st.integers(0, 11),
            st.text(max_size=8) | st.floats().map(str) | st.integers().map(str),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_damaged_cells(scratch: Path, cells: list[tuple[int, int, str]]) -> None:
    table = [line.split(",") for line in archive_csv(market()).splitlines()]
    for row, column, text in cells:
        table[row][column] = text
    text = "\n".join(",".join(row) for row in table)
    read_or_refuse(scratch, text.encode("utf-8", "surrogatepass"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=12)
        | st.dictionaries(st.sampled_from(["open", "openTime", "high", "x"]), inner, max_size=4)
    ),
)


@given(value=JSON)
def test_any_json(scratch: Path, value: object) -> None:
    read_or_refuse(scratch, json.dumps(value).encode())


@given(content=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode()))
def test_any_bytes(scratch: Path, content: bytes) -> None:
    read_or_refuse(scratch, content)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "feather", "arrow-stream"])
def test_damaged_binary_tables(scratch: Path, kind: str) -> None:
    # Seeded and not drawn anew at each run: about one damage in 50,000 makes polars 2.1 allocate
    # 2**61 bytes and abort the process, which no caller can catch.
    rng = random.Random(11)
    for _ in range(150):
        content = bytearray(FORMATS[kind])
        for _ in range(rng.randrange(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        cut = rng.choice([len(content), rng.randrange(len(content))])
        read_or_refuse(scratch, bytes(content[:cut]))


# -- real files, and the cost of the import ------------------------------------------------------


def test_the_archive_file_equals_its_parquet(shared_data: Path) -> None:
    archive = read_klines(shared_data / "archive_csv" / "NEARUSDT-1m-2025-02.csv.gz")
    parquet = read_klines(shared_data / "klines" / "um_full_2025-02" / "NEARUSDT.parquet")
    assert archive.height == 40_320
    assert archive.equals(parquet)
    assert archive.schema == pl.Schema(SCHEMA)


def test_all_real_files_at_once(shared_data: Path) -> None:
    frame = read_klines(str(shared_data / "klines" / "um_*" / "*.parquet"), quote_volume="typical")
    assert frame.height == 4 * 40_320 + 16 * 35_834
    assert frame["quote_volume"].null_count() == 0
    assert frame["trades"].null_count() == 16 * 35_834


def test_real_files_without_quote_volume(shared_data: Path) -> None:
    with pytest.raises(DataError, match="typical"):
        read_klines(shared_data / "klines" / "um_ohlcv_2025-05" / "BTCUSDT.parquet")


def test_importing_costs_no_polars() -> None:
    modules = "errors", "klines", "quality", "demo"
    code = f"import sys; from screener import {', '.join(modules)}; print('polars' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
