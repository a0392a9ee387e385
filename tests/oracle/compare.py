"""How the tests compare: bit for bit, except the indicators of SPEC 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .names import INDICATORS, is_indicator, split

ALERT_FIELDS = (
    "id",
    "triggered_at",
    "exchange",
    "symbol",
    "rule",
    "timeframe",
    "price",
    "quote_volume",
    "change",
    "vcp",
    "state",
)

CANDLE_FIELDS = (
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
    "synthetic",
)


def allowed(value: float, close: float) -> float:
    """How far an indicator may be from the reference's value (SPEC 4)."""
    return 1e-9 * max(abs(value), 1e-3 * close)


def alert_dict(alert: Any) -> dict[str, Any]:
    """An alert of the engine as a dict like the oracle's; `rule_version` is left out."""
    found = {name: getattr(alert, name) for name in ALERT_FIELDS}
    found["id"] = str(found["id"])
    found["state"] = str(found["state"])
    found["evidence"] = dict(alert.evidence)
    return found


def alert_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of `replay(...).alerts` without evidence, instants as milliseconds."""
    instant = pl.col("triggered_at")
    if frame.schema["triggered_at"].is_temporal():
        instant = instant.dt.epoch("ms")
    return frame.with_columns(instant).select(ALERT_FIELDS).to_dicts()


def candle_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of `Engine.candles` as the oracle gives them, instants as milliseconds."""
    instant = pl.col("open_time")
    if frame.schema["open_time"].is_temporal():
        instant = instant.dt.epoch("ms")
    return frame.with_columns(instant).select(CANDLE_FIELDS).to_dicts()


def metric_differences(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """What is wrong with a mapping of metrics, in words; empty if nothing is."""
    wrong = [f"{name}: missing" for name in expected if name not in actual]
    wrong += [f"{name}: nobody asked for it" for name in actual if name not in expected]
    close = expected["price"]
    for name, value in expected.items():
        if name not in actual:
            continue
        found = actual[name]
        if found is None or value is None:
            same = found is value
        elif is_indicator(name):
            same = abs(found - value) <= allowed(value, close)
        else:
            same = found == value
        if not same:
            wrong.append(f"{name}: {found!r}, not {value!r}")
    return wrong


def column_differences(
    frame: pl.DataFrame,
    expected: Mapping[str, NDArray[np.float64]],
    close: NDArray[np.float64],
    *,
    names: Sequence[str] | None = None,
) -> list[str]:
    """What is wrong with the columns of `screener.windows`, row by row with the arrays.

    Args:
        frame: One row a minute, the minutes of the arrays.
        expected: One array a metric, NaN for not ready (null in the frame).
        close: The last close at every minute, for the tolerance of indicators.
        names: The metrics to look at; all that are expected where absent.
    """
    wrong: list[str] = []
    for name in expected if names is None else names:
        if name not in frame.columns:
            wrong.append(f"{name}: missing")
            continue
        column = frame[name].cast(pl.Float64)
        if column.is_nan().any():
            wrong.append(f"{name}: NaN in row {column.is_nan().arg_max()}")
            continue
        found = column.fill_null(float("nan")).to_numpy()
        value = expected[name]
        same = (found == value) | (np.isnan(found) & np.isnan(value))
        if split(name)[0] in INDICATORS:
            bound = 1e-9 * np.maximum(np.abs(value), 1e-3 * close)
            same |= np.abs(found - value) <= bound
        if not same.all():
            row = int(np.argmin(same))
            wrong.append(
                f"{name}: {int((~same).sum())} rows, first {row}: {found[row]!r}, "
                f"not {value[row]!r}"
            )
    return wrong
