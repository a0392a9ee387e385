"""Values to table rows and back, and which version of a minute is kept. No SQL is run here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import Enum
from typing import Any, Final

import orjson

from screener.history.precedence import RANKS
from screenerd.model import HORIZONS, Alert, AlertScore, Candle, HorizonScore, Stamps
from screenerd.store.port import AuditRow, Delivery

Row = tuple[Any, ...]
"""A row as the driver gives and takes it."""

CANDLE_COLUMNS: Final = (
    "symbol, time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, "
    "taker_buy_quote_volume, source, revision, event_time, received_at"
)
"""Columns of a candle, in the tables of candles and in the journal, in the order of its row."""

OPTIONAL_VALUES: Final = ("trades", "taker_buy_volume", "taker_buy_quote_volume")
"""What a source may not know of a minute."""

ALERT_COLUMNS: Final = (
    "id, triggered_at, exchange, symbol, alert_type, timeframe, price, volume, change_pct, state, "
    "rule_version, metadata, shadow"
)
"""Columns of an alert, in the order of its row."""

SENT_COLUMN: Final = "webhook_sent_at"
"""What is known of an alert only later; read after `ALERT_COLUMNS`."""

DELIVERY_COLUMNS: Final = "id, alert_id, channel, state, attempts, next_try, last_error"
"""Columns of a delivery, in the order of its row."""


SCORE_COLUMNS: Final = ", ".join(
    (
        "alert_id, exchange, symbol, alert_type, rule_version, shadow, triggered_at",
        *(f"{kind}_{horizon}" for kind in ("return", "mfe", "mae") for horizon in HORIZONS),
    )
)
"""Columns of a score, in the order of its row."""


class Change(Enum):
    """What becomes of a closed version of a minute that is stored already."""

    NONE = "equal as far as it is known, and its source ranks no higher"
    SOURCE = "equal as far as it is known, from a better source: only the source is recorded"
    REPLACED = "different, from a source that ranks as high or higher: takes the place"
    OUTRANKED = "different, from a worse source: not stored"


def compare(held: Candle, arrived: Candle) -> Change:
    """Says what an arriving version does to the one that is held.

    A value that it does not know contradicts nothing.
    """
    better = RANKS[arrived.source] - RANKS[held.source]
    if agrees(arrived, held):
        return Change.SOURCE if better > 0 else Change.NONE
    return Change.REPLACED if better >= 0 else Change.OUTRANKED


def agrees(arrived: Candle, held: Candle) -> bool:
    """Whether all that an arriving version knows is what is held."""
    pairs = zip(arrived.values, held.values, strict=True)
    return all(new is None or new == old for new, old in pairs)


def completed(arrived: Candle, held: Candle) -> Candle:
    """An arriving version that takes another's place: what it does not know stays as it was."""
    unknown = {
        name: getattr(held, name) for name in OPTIONAL_VALUES if getattr(arrived, name) is None
    }
    return replace(arrived, **unknown) if unknown else arrived


def next_revision(held: Candle) -> int:
    """The revision of a version that replaces the one held.

    A minute that was absent had no version, so the first real one is revision 0 whether or not the
    source was asked too early.
    """
    return held.revision + (held.source != "synthetic")


def candle_row(candle: Candle, revision: int) -> Row:
    """A closed candle as a row of `CANDLE_COLUMNS`."""
    return (
        candle.symbol,
        candle.open_time,
        *candle.values,
        candle.source,
        revision,
        candle.event_time,
        candle.received_at,
    )


def candle_from(row: Row) -> Candle:
    """The candle of a row of `CANDLE_COLUMNS`."""
    return Candle(
        symbol=row[0],
        open_time=row[1],
        open=row[2],
        high=row[3],
        low=row[4],
        close=row[5],
        volume=row[6],
        quote_volume=row[7],
        trades=row[8],
        taker_buy_volume=row[9],
        taker_buy_quote_volume=row[10],
        closed=True,
        source=row[11],
        revision=row[12],
        event_time=row[13],
        received_at=row[14],
    )


def alert_row(alert: Alert) -> Row:
    """An alert as a row of `ALERT_COLUMNS`."""
    metadata = {
        "title": alert.title,
        "direction": alert.direction,
        "vcp": alert.vcp,
        "evidence": alert.evidence,
        "stamps": asdict(alert.stamps),
    }
    return (
        alert.id,
        alert.triggered_at,
        alert.exchange,
        alert.symbol,
        alert.rule,
        alert.timeframe,
        alert.price,
        alert.quote_volume,
        alert.change,
        alert.state,
        alert.rule_version,
        orjson.dumps(metadata).decode(),
        alert.shadow,
    )


def alert_from(row: Row) -> Alert:
    """The alert of a row of `ALERT_COLUMNS` and `SENT_COLUMN`."""
    metadata = orjson.loads(row[11])
    stamps = metadata["stamps"] | {"sent": row[13]}
    return Alert(
        id=row[0],
        triggered_at=row[1],
        exchange=row[2],
        symbol=row[3],
        rule=row[4],
        title=metadata["title"],
        direction=metadata["direction"],
        timeframe=row[5],
        price=row[6],
        quote_volume=row[7],
        change=row[8],
        vcp=metadata["vcp"],
        state=row[9],
        rule_version=row[10],
        evidence=metadata["evidence"],
        stamps=Stamps(**stamps),
        shadow=bool(row[12]),
    )


def score_row(score: AlertScore) -> Row:
    """A score as a row of `SCORE_COLUMNS`."""
    return (
        score.alert_id,
        score.exchange,
        score.symbol,
        score.rule,
        score.rule_version,
        score.shadow,
        score.triggered_at,
        *score.returns,
        *score.mfe,
        *score.mae,
    )


def horizon_score(figures: Sequence[Any], median: float | None) -> HorizonScore:
    """A horizon's figures: n, missing, hit rate, mean, gained, lost, mfe, mae."""
    n, missing, hit_rate, mean, gained, lost, mfe, mae = figures
    return HorizonScore(
        n=n,
        missing=missing,
        hit_rate=hit_rate,
        mean=mean,
        median=median,
        profit_factor=gained / lost if lost > 0 else None,
        mfe=mfe,
        mae=mae,
    )


def delivery_from(row: Row) -> Delivery:
    """The delivery of a row of `DELIVERY_COLUMNS`."""
    return Delivery(*row)


def audit_row(exchange: str, row: AuditRow) -> Row:
    """An hour of the audit as a row of the table `audit`."""
    holes = orjson.dumps(row.holes).decode()
    return (exchange, row.symbol, row.hour, row.expected, row.held, row.absent, holes)


def audit_from(row: Sequence[Any]) -> AuditRow:
    """The hour of a row (symbol, time, expected, held, absent, holes)."""
    holes = tuple((first, minutes) for first, minutes in orjson.loads(row[5]))
    return AuditRow(row[0], row[1], row[2], row[3], row[4], holes)
