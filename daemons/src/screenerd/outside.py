"""Alerts and metrics as those outside see them, by REST and on the bus alike. Pure."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import polars as pl

from screenerd.columns import TIMEFRAMES, metrics_of
from screenerd.model import MINUTE_MS, Alert, Stamps

ISO = "%Y-%m-%dT%H:%M:%S%.3fZ"
"""ISO 8601 with ms, as polars writes and reads it."""

STAMPS = tuple(field.name for field in fields(Stamps))

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(16_384)
def iso(ms: int) -> str:
    """A time in ms since the epoch as ISO 8601, UTC."""
    return (_EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03}Z"


def alert_value(alert: Alert) -> dict[str, Any]:
    """An alert as JSON has it."""
    return {
        "id": alert.id,
        "triggered_at": iso(alert.triggered_at),
        "exchange": alert.exchange,
        "symbol": alert.symbol,
        "alert_type": alert.rule,
        "timeframe": alert.timeframe,
        "price": alert.price,
        "volume": alert.quote_volume,
        "change_pct": alert.change,
        "state": alert.state,
        "rule_version": alert.rule_version,
        "shadow": alert.shadow,
        "metadata": {
            "title": alert.title,
            "direction": alert.direction,
            "vcp": alert.vcp,
            "evidence": alert.evidence,
            "stamps": {
                name: None if (ms := getattr(alert.stamps, name)) is None else iso(ms)
                for name in STAMPS
            },
        },
    }


def metrics(frame: pl.DataFrame, **constants: str) -> dict[str, bytes]:
    """The metrics of every symbol of a snapshot as JSON, by symbol; constants stand first."""
    timeframes = [
        pl.struct(metrics_of(frame, timeframe)).alias(timeframe) for timeframe in TIMEFRAMES
    ]
    told = pl.struct(
        *(pl.lit(value).alias(name) for name, value in constants.items()),
        "symbol",
        _iso_column(pl.col("open_time") + MINUTE_MS).alias("timestamp"),
        "price",
        pl.struct(timeframes).alias("timeframes"),
    )
    texts = frame.select("symbol", told.struct.json_encode().alias("text"))
    return {symbol: text.encode() for symbol, text in texts.iter_rows()}


def _iso_column(ms: pl.Expr) -> pl.Expr:
    return ms.cast(pl.Datetime("ms")).dt.strftime(ISO)
