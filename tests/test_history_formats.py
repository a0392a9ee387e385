"""Other people's files: freqtrade's and ccxt's, what they are taken for, and what is doubted."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from history_faults import MINUTE, START, clean
from screener.errors import DataError
from screener.history.checks import check
from screener.klines import read_klines, recognise_klines

OHLCV = ("open", "high", "low", "close", "volume")
FUTURES = "BTC_USDT_USDT-1m-futures"


@pytest.fixture
def candles() -> pl.DataFrame:
    return clean(1, 1).head(120).select("open_time", *OHLCV)


def expected(candles: pl.DataFrame, symbol: str) -> pl.DataFrame:
    """The candles as they have to be read, with the quote volume that was asked for."""
    typical = pl.col("volume") * (pl.col("high") + pl.col("low") + pl.col("close")) / pl.lit(3.0)
    return candles.with_columns(symbol=pl.lit(symbol), quote_volume=typical).select(
        "symbol", "open_time", *OHLCV, "quote_volume"
    )


def same(got: pl.DataFrame, wanted: pl.DataFrame) -> bool:
    exact = [name for name in wanted.columns if name != "quote_volume"]
    off = ((got["quote_volume"] / wanted["quote_volume"]) - 1).abs().max()
    return got.select(exact).equals(wanted.select(exact)) and float(str(off)) < 1e-15


def freqtrade_feather(path: Path, candles: pl.DataFrame) -> Path:
    """As freqtrade writes it: date (ms, UTC), open, high, low, close, volume."""
    date = pl.from_epoch("open_time", time_unit="ms").dt.replace_time_zone("UTC").alias("date")
    candles.select(date, *OHLCV).write_ipc(path, compression="lz4")
    return path


def rows(candles: pl.DataFrame) -> list[list[object]]:
    return [list(row) for row in candles.iter_rows()]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        (f"{FUTURES}.feather", "BTCUSDT"),
        ("BTC_USDT-1m.feather", "BTCUSDT"),
        ("1000PEPE_USDC_USDC-1m-futures.feather", "1000PEPEUSDC"),
    ],
)
def test_freqtrade_feather(tmp_path: Path, candles: pl.DataFrame, name: str, symbol: str) -> None:
    path = freqtrade_feather(tmp_path / name, candles)
    got = read_klines(path, quote_volume="typical")
    assert same(got, expected(candles, symbol))
    assert check(got).clean


@pytest.mark.parametrize("packed", [False, True])
def test_freqtrade_json(tmp_path: Path, candles: pl.DataFrame, packed: bool) -> None:
    path = tmp_path / f"{FUTURES}.json{'.gz' if packed else ''}"
    data = json.dumps(rows(candles)).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    assert same(read_klines(path, quote_volume="typical"), expected(candles, "BTCUSDT"))


def test_ccxt_json_of_several_pages(tmp_path: Path, candles: pl.DataFrame) -> None:
    path = tmp_path / "ohlcv.jsonl"
    pages = [rows(candles.head(50)), rows(candles[50:])]
    path.write_text("".join(f"{json.dumps(page)}\n" for page in pages))
    got = read_klines(path, symbol="BTC/USDT:USDT", quote_volume="typical")
    assert same(got, expected(candles, "BTC/USDT:USDT"))


def test_the_quote_volume_has_to_be_asked_for(tmp_path: Path, candles: pl.DataFrame) -> None:
    path = freqtrade_feather(tmp_path / f"{FUTURES}.feather", candles)
    with pytest.raises(DataError, match='quote_volume="typical"'):
        read_klines(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("BTC_USDT_USDT-5m-futures.feather", "candles of 5m"),
        ("BTC_USDT-1h.json", "candles of 1h"),
        ("BTC_USDT_USDT-1m-mark.feather", "holds mark, at which nobody traded"),
        ("BTC_USDT_USDT-1m-funding_rate.feather", "holds funding_rate, at which nobody traded"),
    ],
)
def test_freqtrade_files_of_something_else(
    tmp_path: Path, candles: pl.DataFrame, name: str, words: str
) -> None:
    path = freqtrade_feather(tmp_path / name, candles)
    for call in (read_klines, recognise_klines):
        with pytest.raises(DataError, match=words):
            call(path)


def test_a_delivery_contract_is_no_pair(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT_261225-1m-2026-02.parquet"
    clean(1, 1).drop("symbol").write_parquet(path)
    assert read_klines(path)["symbol"].unique().to_list() == ["BTCUSDT_261225"]
    assert recognise_klines(path)[0].format == "parquet"


def test_the_order_of_another_exchange_is_refused(tmp_path: Path, candles: pl.DataFrame) -> None:
    path = tmp_path / "coinbase.json"
    theirs = candles.select("open_time", "low", "high", "open", "close", "volume")
    path.write_text(json.dumps(rows(theirs)))
    with pytest.raises(DataError, match="Coinbase's order"):
        read_klines(path, symbol="BTCUSD", quote_volume="typical")


def test_rows_of_another_interval_are_refused(tmp_path: Path, candles: pl.DataFrame) -> None:
    path = tmp_path / "ohlcv.json"
    fives = candles.gather_every(5)
    path.write_text(json.dumps(rows(fives)))
    with pytest.raises(DataError, match="5 minutes apart"):
        read_klines(path, symbol="X", quote_volume="typical")
    # One step of a minute tells that the others are holes.
    path.write_text(json.dumps(rows(pl.concat([candles.head(2), fives[1:]]))))
    assert read_klines(path, symbol="X", quote_volume="typical").height == fives.height + 1


@pytest.mark.parametrize("width", [5, 7, 8, 11])
def test_rows_of_other_widths(tmp_path: Path, width: int) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([[START, *range(1, width)]]))
    with pytest.raises(DataError, match=f"{width} items instead of 6 or 12"):
        read_klines(path, symbol="X")


def test_rows_of_two_widths(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([[START, 2, 3, 1, 2, 5], [START + MINUTE, 2, 3, 1, 2, 5, 6]]))
    with pytest.raises(DataError, match="row 1: 7 items instead of 6") as refused:
        read_klines(path, symbol="X")
    assert refused.value.row == 1


# -- what files are taken for --------------------------------------------------------------------


def test_what_a_freqtrade_file_is_taken_for(tmp_path: Path, candles: pl.DataFrame) -> None:
    path = freqtrade_feather(tmp_path / f"{FUTURES}.feather", candles)
    (facts,) = recognise_klines(path)
    assert facts.format == "Arrow as freqtrade writes it"
    assert facts.columns["open_time"] == "date"
    assert (facts.unit, facts.rows, facts.symbols) == ("datetime", 120, ("BTCUSDT",))
    assert (facts.first, facts.last) == (START, START + 119 * MINUTE)
    text = str(facts)
    assert "made of the pair BTC/USDT" in text
    assert "of some exchanges it counts contracts" in text
    assert 'quote_volume="typical"' in text
    assert "trades, taker_buy_volume, taker_buy_quote_volume" in text
    assert json.loads(json.dumps(facts.to_dict()))["doubts"] == list(facts.doubts)


def test_what_ccxt_rows_are_taken_for(tmp_path: Path, candles: pl.DataFrame) -> None:
    path = tmp_path / "ohlcv.json"
    path.write_text(json.dumps(rows(candles)))
    (facts,) = recognise_klines(path, symbol="X")
    assert facts.format == "JSON rows as ccxt gives them"
    assert facts.unit == "ms"
    assert any("six items without names" in doubt for doubt in facts.doubts)


def test_what_is_not_doubted(tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    clean(1, 1).with_columns(other=pl.lit(1)).write_parquet(path)
    (facts,) = recognise_klines(path)
    assert facts.doubts == ()
    assert facts.ignored == ("other",)


def test_doubts_about_times(tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    frame = clean(1, 1)
    mixed = frame.with_columns(
        open_time=pl.when(pl.col("open_time") > START + 5 * MINUTE)
        .then(pl.col("open_time") * 1000)
        .otherwise("open_time")
    )
    mixed.write_parquet(path)
    assert any("ms and µs, told apart" in doubt for doubt in recognise_klines(path)[0].doubts)
    frame.with_columns(open_time=pl.from_epoch("open_time", time_unit="ms")).write_parquet(path)
    assert recognise_klines(path)[0].doubts == ("times without a zone are taken for UTC",)
    frame.with_columns(pl.col("open_time") + 59_999).write_parquet(path)
    assert any("1,440 times are no whole minute" in d for d in recognise_klines(path)[0].doubts)


def test_the_archives_csv(shared_data: Path) -> None:
    (facts,) = recognise_klines(shared_data / "archive_csv/NEARUSDT-1m-2025-02.csv.gz")
    assert facts.format == "CSV"
    assert facts.columns["trades"] == "count"
    assert facts.ignored == ("ignore",)
    assert facts.doubts == ()
