"""The schema, as numbered steps that are taken once each and in order.

A step is never changed once it has been released; what comes later is a new step. Each runs in a
transaction of its own together with its row in `schema_migrations`, so that a process killed at any
statement leaves the step either done or not begun.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from screenerd.store.port import StoreError


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    statements: tuple[str, ...]


_VALUES = """
    open REAL NOT NULL,
    high REAL NOT NULL,
    low REAL NOT NULL,
    close REAL NOT NULL,
    volume REAL NOT NULL,
    quote_volume REAL NOT NULL,
    trades INTEGER,
    taker_buy_volume REAL,
    taker_buy_quote_volume REAL,
    source TEXT NOT NULL CHECK (source IN ('synthetic', 'stream', 'rest', 'archive')),
    revision INTEGER NOT NULL,
    event_time INTEGER,
    received_at INTEGER NOT NULL"""

_CANDLES = Migration(
    1,
    "candles",
    (
        f"""CREATE TABLE candles_1m (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    time INTEGER NOT NULL,{_VALUES},
    PRIMARY KEY (exchange, symbol, time)
) WITHOUT ROWID, STRICT""",
        f"""CREATE TABLE candle_journal (
    id INTEGER PRIMARY KEY,
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    time INTEGER NOT NULL,{_VALUES}
) STRICT""",
        "CREATE INDEX candle_journal_received ON candle_journal (exchange, received_at)",
        """CREATE TABLE bars (
    exchange TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    symbol TEXT NOT NULL,
    time INTEGER NOT NULL,
    close REAL NOT NULL,
    PRIMARY KEY (exchange, timeframe, symbol, time)
) WITHOUT ROWID, STRICT""",
        """CREATE TABLE metrics_calculated (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    time INTEGER NOT NULL,
    timeframe TEXT NOT NULL,
    open REAL, high REAL, low REAL, close REAL,
    volume REAL, quote_volume REAL, change_pct REAL, vwap REAL, vcp REAL, volume_ratio REAL,
    rsi_14 REAL, macd REAL, macd_signal REAL,
    bb_upper REAL, bb_middle REAL, bb_lower REAL,
    fib_r3 REAL, fib_r2 REAL, fib_r1 REAL, fib_pivot REAL, fib_s1 REAL, fib_s2 REAL, fib_s3 REAL,
    PRIMARY KEY (exchange, symbol, time, timeframe)
) WITHOUT ROWID, STRICT""",
    ),
)

_ALERTS = Migration(
    2,
    "alerts and their deliveries",
    (
        """CREATE TABLE alert_history (
    id TEXT PRIMARY KEY,
    triggered_at INTEGER NOT NULL,
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    alert_type TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    price REAL NOT NULL,
    volume REAL,
    change_pct REAL,
    state TEXT NOT NULL CHECK (state IN ('confirmed', 'provisional', 'withdrawn')),
    rule_version TEXT NOT NULL,
    metadata TEXT NOT NULL,
    webhook_sent INTEGER NOT NULL DEFAULT 0,
    webhook_sent_at INTEGER
) STRICT""",
        "CREATE INDEX alert_history_triggered ON alert_history (triggered_at, symbol, alert_type)",
        """CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    alert_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER NOT NULL,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    sent_at INTEGER,
    UNIQUE (alert_id, channel)
) STRICT""",
        "CREATE INDEX outbox_due ON outbox (next_try, id) WHERE state = 'pending'",
        "CREATE INDEX outbox_finished ON outbox (created_at) WHERE state <> 'pending'",
        """CREATE TABLE alert_rules (
    rule_type TEXT PRIMARY KEY,
    enabled INTEGER NOT NULL DEFAULT 1,
    config TEXT NOT NULL DEFAULT '{}',
    description TEXT NOT NULL DEFAULT ''
) STRICT""",
        """CREATE TABLE first_seen (
    name TEXT PRIMARY KEY,
    time INTEGER NOT NULL
) WITHOUT ROWID, STRICT""",
        """CREATE TABLE user_settings (
    user_id TEXT PRIMARY KEY,
    selected_alerts TEXT NOT NULL DEFAULT '[]',
    webhook_url TEXT,
    notification_enabled INTEGER NOT NULL DEFAULT 1,
    updated_at INTEGER
) STRICT""",
    ),
)

_AUDIT = Migration(
    3,
    "tracking, audit and dead letters",
    (
        """CREATE TABLE tracking (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER,
    PRIMARY KEY (exchange, symbol, since)
) WITHOUT ROWID, STRICT""",
        """CREATE TABLE audit (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    time INTEGER NOT NULL,
    expected INTEGER NOT NULL,
    held INTEGER NOT NULL,
    absent INTEGER NOT NULL,
    holes TEXT NOT NULL,
    PRIMARY KEY (exchange, time, symbol)
) WITHOUT ROWID, STRICT""",
        """CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY,
    exchange TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    frame BLOB NOT NULL
) STRICT""",
        "CREATE INDEX dead_letters_received ON dead_letters (received_at)",
    ),
)

_USERS = Migration(
    4,
    "rules as users have them",
    (
        """CREATE TABLE user_rules (
    user_id TEXT NOT NULL,
    rule_type TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    cooldown_ms INTEGER,
    PRIMARY KEY (user_id, rule_type)
) WITHOUT ROWID, STRICT""",
        "CREATE INDEX alert_history_symbol ON alert_history (symbol, triggered_at)",
    ),
)

_SHADOW = Migration(
    5,
    "alerts that are told to nobody",
    (
        "ALTER TABLE alert_history ADD COLUMN shadow INTEGER NOT NULL DEFAULT 0",
        # Alerts are counted without a look at the table, where their evidence is.
        "DROP INDEX alert_history_triggered",
        "DROP INDEX alert_history_symbol",
        """CREATE INDEX alert_history_triggered
    ON alert_history (triggered_at, symbol, alert_type, shadow)""",
        """CREATE INDEX alert_history_symbol
    ON alert_history (symbol, triggered_at, alert_type, shadow)""",
    ),
)

_SCORES = Migration(
    6,
    "what came after alerts",
    (
        """CREATE TABLE alert_scores (
    alert_id TEXT PRIMARY KEY,
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    alert_type TEXT NOT NULL,
    rule_version TEXT NOT NULL,
    shadow INTEGER NOT NULL,
    triggered_at INTEGER NOT NULL,
    return_5m REAL, return_15m REAL, return_1h REAL, return_4h REAL,
    mfe_5m REAL, mfe_15m REAL, mfe_1h REAL, mfe_4h REAL,
    mae_5m REAL, mae_15m REAL, mae_1h REAL, mae_4h REAL
) WITHOUT ROWID, STRICT""",
        "CREATE INDEX alert_scores_triggered ON alert_scores (triggered_at)",
    ),
)

MIGRATIONS: Final[tuple[Migration, ...]] = (
    _CANDLES,
    _ALERTS,
    _AUDIT,
    _USERS,
    _SHADOW,
    _SCORES,
)
"""Every step, in order."""

_REGISTER = """CREATE TABLE IF NOT EXISTS schema_migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT"""


def migrate(
    connection: sqlite3.Connection, now: int, migrations: Sequence[Migration] = MIGRATIONS
) -> list[int]:
    """Takes the steps that have not been taken; gives their numbers.

    The connection must not be in a transaction, and begin none by itself.

    Raises:
        StoreError: the file has steps that this program does not know.
        sqlite3.Error: a step failed; it and those after it have not been taken.
    """
    applied = applied_numbers(connection)
    _refuse_newer(applied, migrations)
    todo = [step for step in migrations if step.number not in applied]
    for step in todo:
        _take(connection, step, now)
    return [step.number for step in todo]


def applied_numbers(connection: sqlite3.Connection) -> set[int]:
    """The numbers of the steps that a file has."""
    known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'"
    if connection.execute(known).fetchone() is None:
        return set()
    return {number for (number,) in connection.execute("SELECT number FROM schema_migrations")}


def _refuse_newer(applied: set[int], migrations: Sequence[Migration]) -> None:
    unknown = applied - {step.number for step in migrations}
    if unknown:
        newest = max((step.number for step in migrations), default=0)
        raise StoreError(
            f"the store's schema is at step {max(unknown)}, this program knows steps up to "
            f"{newest}: run the version of screenerd that wrote it, or a newer one"
        )


def _take(connection: sqlite3.Connection, step: Migration, now: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_REGISTER)
        for statement in step.statements:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO schema_migrations (number, name, applied_at) VALUES (?, ?, ?)",
            (step.number, step.name, now),
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise
