"""Files of one-minute candles, in the formats people have them, read into one frame.

The way of a file: `unpack` (names -> bytes, out of zip and gz) -> `parse` (bytes -> a table of
cells as found, by its content and not by its suffix) -> `candles` (a table -> candles with the
names and types of SPEC section 1); `table` is what they hand on. `recognise` tells what a file is
taken for. Whatever is wrong with a file leaves as a `DataError` that names the place. Values are
read, never judged: what a frame holds is the business of `inspect_klines` and of the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from screener.errors import DataError
from screener.klines.candles import TYPICAL, to_candles
from screener.klines.parse import parse
from screener.klines.recognise import FileFacts, recognise_klines
from screener.klines.table import COLUMNS
from screener.klines.unpack import FilePath, expand, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

__all__ = ["FileFacts", "read_klines", "recognise_klines"]


def read_klines(
    paths: FilePath | Iterable[FilePath],
    *,
    symbol: str | None = None,
    quote_volume: Literal["typical"] | None = None,
) -> pl.DataFrame:
    """Read one-minute candles from one file or many.

    Understood, by content: the exchange archive's CSV, plain, `.gz` or `.zip`, with or without
    a header row; parquet; Arrow IPC (Feather) files and streams, such as freqtrade's; the REST
    answer as JSON, a list of 12-item rows (or of objects), or one such list or row a line; rows of
    6 (time, open, high, low, close, volume) as ccxt gives them and freqtrade keeps them. Stamps in
    s, ms, µs and ns are told apart by their size, a naive datetime is UTC. Common names of columns
    in other tools (`count`, `quote_asset_volume`, `openTime`, …) are known; other columns are left
    out.

    Rows keep the order of the files and of the rows in them; nothing is dropped or mended
    (`inspect_klines` tells what deserves it, `recognise_klines` what a file is taken for).

    Args:
        paths: A path, or several. A text with `*`, `?` or `[` that names no file is a pattern;
            its matches are read in the order of their names.
        symbol: Symbol of the rows that name none. Without it the file's name tells, as the archive
            (`NEARUSDT-1m-2025-02.zip`) or freqtrade (`NEAR_USDT_USDT-1m-futures.feather`) names it.
        quote_volume: `"typical"` fills a missing quote volume with
            `volume * (high + low + close) / 3`.

    Returns:
        The columns `symbol, open_time` (int64 ms, UTC)`, open, high, low, close, volume,
        quote_volume`, and those of `trades, taker_buy_volume, taker_buy_quote_volume, closed,
        event_time, source` that at least one file has (null where a file has it not).

    Raises:
        DataError: A file is missing, damaged, not of candles or not of one minute; a number, a
            column, the symbol or the quote volume is missing.

    Example:
        >>> from screener.klines import read_klines
        >>> frame = read_klines("NEARUSDT-1m-2025-*.zip")  # doctest: +SKIP
    """
    import polars as pl

    if quote_volume not in (None, TYPICAL):
        raise DataError(
            reason=f"quote_volume={quote_volume!r} is not known",
            remedy=f'leave it out, or pass quote_volume="{TYPICAL}"',
        )
    tables = (parse(origin, data) for path in expand(paths) for origin, data in unpack(path))
    frames = [to_candles(table, symbol, fill=quote_volume == TYPICAL) for table in tables]
    candles = pl.concat(frames, how="diagonal")
    return candles.select(name for name in COLUMNS if name in candles.columns)
