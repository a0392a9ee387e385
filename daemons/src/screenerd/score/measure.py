"""Alerts and minutes to scores, by `screener.outcomes`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

import polars as pl

import screener
from screenerd.model import HORIZONS, MINUTE_MS, Alert, AlertScore

LONGEST_MS: Final = 240 * MINUTE_MS
"""The longest of `HORIZONS`."""

Span = tuple[str, int, int]
"""Minutes of a symbol that open in [start, end), ms."""


def over_at(alert: Alert) -> int:
    """When the longest horizon of an alert is over, ms."""
    return _entry(alert) + LONGEST_MS


def spans(alerts: Iterable[Alert]) -> list[Span]:
    """The minutes that are needed to score alerts, each once."""
    wanted = sorted((alert.symbol, _entry(alert), over_at(alert)) for alert in alerts)
    merged: list[Span] = []
    for symbol, start, end in wanted:
        if merged and merged[-1][0] == symbol and start <= merged[-1][2]:
            merged[-1] = symbol, merged[-1][1], max(end, merged[-1][2])
        else:
            merged.append((symbol, start, end))
    return merged


def minutes_of(alert: Alert, minutes: pl.DataFrame) -> pl.DataFrame:
    """Those of minutes that are needed to score one alert."""
    [(symbol, start, end)] = spans([alert])
    inside = pl.col("open_time").is_between(start, end, closed="left")
    return minutes.filter((pl.col("symbol") == symbol) & inside)


def measured(alerts: Sequence[Alert], minutes: pl.DataFrame) -> list[AlertScore]:
    """The scores of alerts, in their order.

    Args:
        alerts: different ones.
        minutes: the prices of the minutes of `spans`, as far as they are known.

    Raises:
        screener.ScreenerError: a minute or an alert holds what cannot be.
    """
    columns = ("id", "symbol", "rule", "direction", "triggered_at")
    frame = pl.DataFrame({name: [getattr(one, name) for one in alerts] for name in columns})
    found = screener.outcomes(frame, minutes, HORIZONS, benchmark=None)
    rows = found.select("alert", "return", "mfe", "mae").rows()
    return [
        _score(alerts[number], [row[1:] for row in its])
        for number, its in groupby(rows, key=lambda row: row[0])
    ]


def unmeasured(alert: Alert) -> AlertScore:
    """The score of an alert of which nothing can be known."""
    return _score(alert, [(None, None, None)] * len(HORIZONS))


def is_whole(score: AlertScore) -> bool:
    """Whether every horizon is known."""
    return None not in score.returns


def _entry(alert: Alert) -> int:
    """The first minute that opens at or after an alert, ms."""
    return -(-alert.triggered_at // MINUTE_MS) * MINUTE_MS


def _score(alert: Alert, values: Sequence[tuple[float | None, ...]]) -> AlertScore:
    returns, mfe, mae = zip(*values, strict=True)
    return AlertScore(
        alert_id=alert.id,
        exchange=alert.exchange,
        symbol=alert.symbol,
        rule=alert.rule,
        rule_version=alert.rule_version,
        shadow=alert.shadow,
        triggered_at=alert.triggered_at,
        returns=returns,
        mfe=mfe,
        mae=mae,
    )
