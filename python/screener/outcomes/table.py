"""Alerts and paths to the frame of outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from screener.outcomes.market import benchmark_returns, market_returns
from screener.outcomes.measure import Measures, measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from screener.outcomes.alerts import Alerts
    from screener.outcomes.barriers import Barriers
    from screener.outcomes.paths import Floats, Ints, Paths

__all__ = ["measured"]

_MINUTE: Final = 60_000
_REASONS: Final = pl.Series("reason", ["no_candles", "no_entry", "hole", "unfinished"])
_NO_CANDLES, _NO_ENTRY, _HOLE, _UNFINISHED, _WHOLE = 0, 1, 2, 3, -1


def measured(
    alerts: Alerts,
    paths: Paths,
    horizons: Mapping[str, int],
    barriers: Barriers,
    benchmark: str | None,
) -> pl.DataFrame:
    """The outcomes of alerts, a row an alert and horizon; columns as in `outcomes`."""
    codes = paths.codes(alerts.frame["symbol"])
    rows = paths.find(codes, alerts.entry)
    minutes = list(horizons.values())
    found = measure(paths, rows, alerts.sign, minutes, barriers)
    sign = alerts.sign[:, np.newaxis]
    returns = sign * np.stack([paths.returns(rows, length) for length in minutes], axis=1)
    market = market_returns(paths, alerts.entry, minutes)
    beside = benchmark_returns(paths, benchmark, alerts.entry, minutes)
    entry = np.full(len(rows), np.nan)
    entry[rows >= 0] = paths.open[rows[rows >= 0]]
    by_alert = alerts.frame.with_columns(
        pl.Series("entry_time", alerts.entry * _MINUTE, dtype=pl.Int64), _numbers("entry", entry)
    )
    names = pl.Series("horizon", list(horizons))
    alert = np.repeat(np.arange(len(rows)), len(minutes))
    return pl.DataFrame(
        [
            *by_alert[alert].select(*_BEFORE),
            names.gather(np.tile(np.arange(len(minutes)), len(rows))),
            *by_alert[alert].select("entry_time", "entry"),
            _numbers("return", returns),
            _numbers("mfe", found.mfe),
            _numbers("mae", found.mae),
            _minutes("mfe_after", found.mfe_after),
            _minutes("mae_after", found.mae_after),
            _numbers("against_benchmark", returns - sign * beside),
            _numbers("against_market", returns - sign * market),
            _numbers("atr", found.atr[alert]),
            _numbers("target", found.target[alert]),
            _numbers("stop", found.stop[alert]),
            _labels(found),
            _minutes("label_after", found.label_after),
            _numbers("label_return", found.label_return),
            _reasons(paths, codes, rows, minutes),
        ]
    )


_BEFORE: Final = ("alert", "id", "symbol", "rule", "direction", "triggered_at")


def _reasons(paths: Paths, codes: Ints, rows: Ints, horizons: list[int]) -> pl.Series:
    """Why each return is null: what lacks first."""
    number = np.full((len(rows), len(horizons)), _WHOLE)
    entered = np.flatnonzero(rows >= 0)
    room = paths.run_end[rows[entered]] - rows[entered]
    after = np.append(paths.code, -1)[paths.run_end[rows[entered]]]
    short = np.where(after == codes[entered], _HOLE, _UNFINISHED)
    for column, length in enumerate(horizons):
        number[entered, column] = np.where(room >= length, _WHOLE, short)
    number[rows < 0] = _NO_ENTRY
    number[codes < 0] = _NO_CANDLES
    return _REASONS.gather(_minutes("reason", number))


def _numbers(name: str, values: Floats) -> pl.Series:
    return pl.Series(name, values.ravel(), nan_to_null=True)


def _minutes(name: str, values: Ints) -> pl.Series:
    counts = pl.Series(name, values.ravel())
    return counts.set(counts < 0, None)


def _labels(found: Measures) -> pl.Series:
    unknown = pl.Series(found.label_after.ravel() < 0)
    return pl.Series("label", found.label.ravel(), dtype=pl.Int8).set(unknown, None)
