"""What is written: each function runs inside a transaction that somebody else began.

All of them may run twice on the same arguments and leave what one run leaves, because a commit that
failed is repeated even if its rows had reached the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import orjson

from screenerd.columns import METRICS, metric_rows
from screenerd.model import (
    Alert,
    AlertScore,
    Bars,
    Candle,
    CandleBatch,
    DeadLetter,
    Metrics,
    RuleSwitch,
)
from screenerd.store.audit import judged_from
from screenerd.store.items import Counts, Item
from screenerd.store.kept import DEAD_LETTERS_KEPT
from screenerd.store.port import AuditRow, Delivery, Settings, Span, StoreError
from screenerd.store.rows import (
    ALERT_COLUMNS,
    CANDLE_COLUMNS,
    SCORE_COLUMNS,
    Change,
    Row,
    agrees,
    alert_row,
    audit_row,
    candle_from,
    candle_row,
    compare,
    completed,
    next_revision,
    score_row,
)
from screenerd.store.sqlite import queries


def _marks(columns: str) -> str:
    return ", ".join("?" * (columns.count(",") + 1))


_INSERT_CANDLE = (
    f"INSERT INTO candles_1m (exchange, {CANDLE_COLUMNS}) VALUES (?, {_marks(CANDLE_COLUMNS)}) "  # noqa: S608
    "ON CONFLICT (exchange, symbol, time) DO NOTHING"
)
_HELD_CANDLE = (
    f"SELECT {CANDLE_COLUMNS} FROM candles_1m WHERE exchange = ? AND symbol = ? AND time = ?"  # noqa: S608
)
_BETTER_SOURCE = "UPDATE candles_1m SET source = ? WHERE exchange = ? AND symbol = ? AND time = ?"
_REPLACE_CANDLE = (
    f"REPLACE INTO candles_1m (exchange, {CANDLE_COLUMNS}) VALUES (?, {_marks(CANDLE_COLUMNS)})"  # noqa: S608
)
_JOURNAL = (
    f"INSERT INTO candle_journal (exchange, {CANDLE_COLUMNS}) VALUES (?, {_marks(CANDLE_COLUMNS)})"  # noqa: S608
)
_ARRIVALS = (
    f"SELECT {CANDLE_COLUMNS} FROM candle_journal "  # noqa: S608
    "WHERE exchange = ? AND received_at = ? AND symbol = ? AND time = ? AND source = ?"
)
_ALERT = (
    f"INSERT INTO alert_history ({ALERT_COLUMNS}) VALUES ({_marks(ALERT_COLUMNS)}) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state "
    "WHERE alert_history.state = 'provisional'"
)
_DEAD_LETTER = (
    "INSERT INTO dead_letters (exchange, received_at, reason, frame) SELECT ?1, ?2, ?3, ?4 "
    "WHERE NOT EXISTS (SELECT 1 FROM dead_letters "
    "WHERE received_at = ?2 AND exchange = ?1 AND reason = ?3 AND frame = ?4)"
)
_METRICS = (
    f"REPLACE INTO metrics_calculated (exchange, symbol, time, timeframe, {', '.join(METRICS)}) "  # noqa: S608
    f"VALUES ({', '.join('?' * (4 + len(METRICS)))})"
)


def write_items(connection: sqlite3.Connection, items: Iterable[Item], now: int) -> Counts:
    """Stores items in their order; alerts are stamped with the time."""
    counts = Counts()
    for item in items:
        match item:
            case CandleBatch():
                counts.add(write_candles(connection, item))
            case Alert():
                write_alert(connection, item, now)
            case DeadLetter():
                _write_dead_letter(connection, item)
            case Bars():
                _write_bars(connection, item)
            case Metrics():
                _write_metrics(connection, item)
            case _:
                raise StoreError(f"the store cannot keep a {type(item).__name__}")
    return counts


def write_alert(connection: sqlite3.Connection, alert: Alert, now: int) -> None:
    """Stores an alert; of one that is there already only a newer state."""
    connection.execute(_ALERT, alert_row(alert.at(stored=now)))


def write_candles(connection: sqlite3.Connection, batch: CandleBatch) -> Counts:
    """Stores the closed candles of a batch, and journals the versions that were taken."""
    counts = Counts()
    journal: list[Row] = []
    for candle in batch.candles:
        if candle.closed:
            _write_candle(connection, batch.exchange, candle, counts, journal)
    connection.executemany(_JOURNAL, journal)
    return counts


def _write_candle(
    connection: sqlite3.Connection,
    exchange: str,
    candle: Candle,
    counts: Counts,
    journal: list[Row],
) -> None:
    first = (exchange, *candle_row(candle, 0))
    # Nearly every minute is new: trying to insert costs one statement where asking costs two.
    if connection.execute(_INSERT_CANDLE, first).rowcount == 1:
        counts.new += 1
        journal.append(first)
        return
    key = (exchange, candle.symbol, candle.open_time)
    held = candle_from(connection.execute(_HELD_CANDLE, key).fetchone())
    change = compare(held, candle)
    if change is Change.REPLACED and _came_before(connection, exchange, candle):
        change = Change.NONE
    match change:
        case Change.NONE:
            counts.duplicate += 1
        case Change.OUTRANKED:
            counts.outranked += 1
        case Change.SOURCE:
            counts.improved += 1
            connection.execute(_BETTER_SOURCE, (candle.source, *key))
        case Change.REPLACED:
            counts.revised += 1
            row = (exchange, *candle_row(completed(candle, held), next_revision(held)))
            connection.execute(_REPLACE_CANDLE, row)
            journal.append(row)


def _came_before(connection: sqlite3.Connection, exchange: str, candle: Candle) -> bool:
    """Whether this very arrival is journalled; without a time of arrival nobody knows.

    A bus that delivers it twice must not undo what came after it, nor may a repeated transaction.
    The journal may know more of it: what was held before completed it.
    """
    if not candle.received_at:
        return False
    key = (exchange, candle.received_at, candle.symbol, candle.open_time, candle.source)
    return any(agrees(candle, candle_from(row)) for row in connection.execute(_ARRIVALS, key))


def _write_dead_letter(connection: sqlite3.Connection, letter: DeadLetter) -> None:
    row = (letter.exchange, letter.received_at, letter.reason, letter.frame)
    connection.execute(_DEAD_LETTER, row)
    connection.execute(
        "DELETE FROM dead_letters WHERE id <= (SELECT max(id) FROM dead_letters) - ?",
        (DEAD_LETTERS_KEPT,),
    )


def _write_bars(connection: sqlite3.Connection, bars: Bars) -> None:
    connection.executemany(
        "INSERT INTO bars (exchange, timeframe, symbol, time, close) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (exchange, timeframe, symbol, time) DO UPDATE SET close = excluded.close",
        [(bars.exchange, bars.timeframe, bars.symbol, *bar) for bar in bars.closes],
    )


def _write_metrics(connection: sqlite3.Connection, metrics: Metrics) -> None:
    rows = metric_rows(metrics.frame).iter_rows()
    connection.executemany(_METRICS, ((metrics.exchange, *row) for row in rows))


def enqueue(
    connection: sqlite3.Connection, alert: Alert, channels: Sequence[str], now: int
) -> None:
    """Stores an alert and puts it into the outbox of every channel that does not have it."""
    write_alert(connection, alert, now)
    connection.executemany(
        "INSERT INTO outbox (alert_id, channel, next_try, created_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (alert_id, channel) DO NOTHING",
        [(alert.id, channel, now, now) for channel in channels],
    )


def write_scores(connection: sqlite3.Connection, scores: Iterable[AlertScore]) -> None:
    """Keeps scores; of an alert that has one the first stands."""
    connection.executemany(
        f"INSERT INTO alert_scores ({SCORE_COLUMNS}) VALUES ({_marks(SCORE_COLUMNS)}) "  # noqa: S608
        "ON CONFLICT (alert_id) DO NOTHING",
        map(score_row, scores),
    )


def first_seen(connection: sqlite3.Connection, names: Sequence[str], now: int) -> list[int]:
    """When each thing was first heard of, which is now if it never was."""
    connection.executemany(
        "INSERT INTO first_seen (name, time) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
        [(name, now) for name in names],
    )
    asked = "SELECT time FROM first_seen WHERE name = ?"
    return [connection.execute(asked, (name,)).fetchone()[0] for name in names]


def delivered(connection: sqlite3.Connection, delivery: Delivery, at: int) -> None:
    """Marks a delivery as made, and its alert as sent if it is the first of it."""
    done = connection.execute(
        "UPDATE outbox SET state = 'sent', sent_at = coalesce(sent_at, ?) WHERE id = ?",
        (at, delivery.id),
    )
    _must_exist(done, delivery)
    _alert_sent(connection, delivery.alert_id, at)


def delivered_to(connection: sqlite3.Connection, alert_id: str, channel: str, at: int) -> None:
    """Marks the delivery of an alert to a channel as made, if there is one that was not."""
    done = connection.execute(
        "UPDATE outbox SET state = 'sent', sent_at = ? "
        "WHERE alert_id = ? AND channel = ? AND state <> 'sent'",
        (at, alert_id, channel),
    )
    if done.rowcount:
        _alert_sent(connection, alert_id, at)


def _alert_sent(connection: sqlite3.Connection, alert_id: str, at: int) -> None:
    connection.execute(
        "UPDATE alert_history SET webhook_sent = 1, webhook_sent_at = coalesce(webhook_sent_at, ?) "
        "WHERE id = ?",
        (at, alert_id),
    )


def postponed(connection: sqlite3.Connection, delivery: Delivery) -> None:
    """Records a failed try; a delivery that was made stays made."""
    done = connection.execute(
        "UPDATE outbox SET attempts = ?1, next_try = ?2, last_error = ?3, "
        "state = CASE state WHEN 'sent' THEN state ELSE ?4 END WHERE id = ?5",
        (
            delivery.attempts,
            delivery.next_try,
            delivery.last_error,
            delivery.state,
            delivery.id,
        ),
    )
    _must_exist(done, delivery)


def set_tracking(connection: sqlite3.Connection, exchange: str, spans: Mapping[str, Span]) -> None:
    """Makes spans the truth about symbols from their starts on, as far as they reach.

    What was said about earlier minutes stays; so does a later span that one does not touch. Ends
    that are known stay: they tell until when a symbol was judged.
    """
    held = queries.tracking(connection, exchange)
    keys = [
        (exchange, symbol, span.start, span.end, judged_from(span, held.get(symbol, ())))
        for symbol, span in spans.items()
    ]
    connection.executemany(
        "DELETE FROM tracking WHERE exchange = ?1 AND symbol = ?2 AND since >= ?3 "
        "AND (?4 IS NULL OR since < ?4)",
        [key[:4] for key in keys],
    )
    connection.executemany(
        "UPDATE tracking SET until = ?3 WHERE exchange = ?1 AND symbol = ?2 AND since < ?3 "
        "AND until IS NULL",
        [key[:3] for key in keys],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO tracking (exchange, symbol, since, until, judged_from) "
        "VALUES (?, ?, ?, ?, ?)",
        [key for key, span in zip(keys, spans.values(), strict=True) if not span.is_empty],
    )


def set_rule_switch(connection: sqlite3.Connection, switch: RuleSwitch) -> None:
    """Changes a rule for everybody."""
    config = orjson.dumps({"cooldown_ms": switch.cooldown_ms}).decode()
    connection.execute(
        "INSERT INTO alert_rules (rule_type, enabled, config) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (rule_type) DO UPDATE SET enabled = ?2, config = ?3",
        (switch.rule, switch.enabled, config),
    )


def set_user_switch(connection: sqlite3.Connection, user: str, switch: RuleSwitch) -> None:
    """Changes a rule for one user."""
    connection.execute(
        "INSERT OR REPLACE INTO user_rules (user_id, rule_type, enabled, cooldown_ms) "
        "VALUES (?, ?, ?, ?)",
        (user, switch.rule, switch.enabled, switch.cooldown_ms),
    )


def set_settings(connection: sqlite3.Connection, user: str, settings: Settings, now: int) -> None:
    """Keeps what a user has chosen."""
    selected = orjson.dumps(settings.selected_alerts).decode()
    connection.execute(
        "INSERT OR REPLACE INTO user_settings "
        "(user_id, selected_alerts, webhook_url, notification_enabled, updated_at) "
        "VALUES (?, ?, ?, ?, ?)",
        (user, selected, settings.webhook_url, settings.notification_enabled, now),
    )


def record_audit(connection: sqlite3.Connection, exchange: str, rows: Iterable[AuditRow]) -> None:
    """Keeps what an hour held for when its candles are gone; the first record stands."""
    connection.executemany(
        "INSERT INTO audit (exchange, symbol, time, expected, held, absent, holes) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (exchange, time, symbol) DO NOTHING",
        [audit_row(exchange, row) for row in rows],
    )


def _must_exist(done: sqlite3.Cursor, delivery: Delivery) -> None:
    if done.rowcount == 0:
        raise StoreError(
            f"delivery {delivery.id} of alert {delivery.alert_id} to {delivery.channel} is not in "
            "the outbox: it was pruned, or another store gave it out"
        )
