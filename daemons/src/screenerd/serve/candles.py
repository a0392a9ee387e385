"""Pages of candles: minutes as they are stored, or longer candles made of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import polars as pl

from screenerd.model import MINUTE_MS
from screenerd.outside import ISO, iso
from screenerd.store.port import MinuteRow

INTERVALS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "8h": 480, "1d": 1440}
"""Minutes of a candle."""

_SUMS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
_SCHEMA = {
    "open_time": pl.Int64,
    **dict.fromkeys(("open", "high", "low", "close", *_SUMS), pl.Float64),
    "source": pl.String,
}


def minutes_json(rows: Sequence[MinuteRow]) -> bytes:
    """Minutes as a JSON array; what most ask for, so without a frame, which takes twice as long."""
    return orjson.dumps(
        [
            {
                "open_time": iso(at),
                "open": first,
                "high": high,
                "low": low,
                "close": last,
                "volume": volume,
                "quote_volume": quote,
                "trades": trades,
                "taker_buy_volume": taker,
                "taker_buy_quote_volume": taken,
                "source": source,
                "synthetic": source == "synthetic",
            }
            for at, first, high, low, last, volume, quote, trades, taker, taken, source in rows
        ]
    )


def frame_json(frame: pl.DataFrame) -> bytes:
    """The same of candles of any length."""
    time = pl.col("open_time").cast(pl.Datetime("ms")).dt.strftime(ISO)
    return frame.with_columns(time).write_json().encode()


def candles(rows: Sequence[MinuteRow], length: int) -> pl.DataFrame:
    """Candles of so many ms, from minutes; one that has only made-up minutes is synthetic."""
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    synthetic = pl.col("source") == "synthetic"
    if length == MINUTE_MS:
        return frame.with_columns(synthetic.alias("synthetic"))
    return frame.group_by(pl.col("open_time") // length * length, maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        # A sum over minutes of which one is unknown is unknown.
        *(
            pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum()).alias(name)
            for name in _SUMS
        ),
        pl.col("source").first(),
        synthetic.all().alias("synthetic"),
    )
