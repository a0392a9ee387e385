"""What is read: each function sees one snapshot of the file, and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import orjson
import polars as pl

from screenerd.model import MINUTE_MS, Alert, Candle, DeadLetter, RuleSwitch
from screenerd.store.audit import Held, audit_symbol
from screenerd.store.frames import BARS, MINUTES, STRETCHES
from screenerd.store.port import (
    AlertFilter,
    AlertPage,
    AuditRow,
    Delivery,
    JournalPage,
    MinuteRow,
    Settings,
    Span,
)
from screenerd.store.rows import (
    ALERT_COLUMNS,
    CANDLE_COLUMNS,
    DELIVERY_COLUMNS,
    SENT_COLUMN,
    Row,
    alert_from,
    audit_from,
    candle_from,
    delivery_from,
)
from screenerd.store.totals import Counted

# One seek a name, where DISTINCT would walk the whole table.
_NAMES = (
    "WITH RECURSIVE held (name) AS ("
    "SELECT min({column}) FROM {table} WHERE {where} UNION ALL "
    "SELECT (SELECT min({column}) FROM {table} WHERE {where} AND {column} > held.name) "
    "FROM held WHERE held.name IS NOT NULL)"
)
_SYMBOLS = _NAMES.format(column="symbol", table="candles_1m", where="exchange = ?1")


def _qualified(columns: str, table: str) -> str:
    return ", ".join(f"{table}.{column}" for column in columns.split(", "))


_CANDLES_OF_ALL = (
    f"{_SYMBOLS} SELECT {_qualified(CANDLE_COLUMNS, 'c')} FROM held "  # noqa: S608
    "CROSS JOIN candles_1m AS c ON c.exchange = ?1 AND c.symbol = held.name "
    "AND c.time >= ?2 AND c.time < ?3 ORDER BY c.time, c.symbol"
)
_CANDLES_OF_ONE = (
    f"SELECT {CANDLE_COLUMNS} FROM candles_1m "  # noqa: S608
    "WHERE exchange = ?1 AND time >= ?2 AND time < ?3 AND symbol = ?4 ORDER BY time"
)
_JOURNAL_FIRST = (
    "SELECT min(id) FROM candle_journal WHERE exchange = ? AND received_at >= ? AND received_at < ?"
)
# `+`: by its number, rather than that all of it is found by its time and sorted for every page.
_JOURNAL = (
    f"SELECT {CANDLE_COLUMNS}, id FROM candle_journal "  # noqa: S608
    "WHERE id > ?6 AND +exchange = ?1 AND +received_at >= ?2 AND +received_at < ?3 AND time >= ?4 "
    "AND (?5 IS NULL OR symbol IN (SELECT value FROM json_each(?5))) ORDER BY id LIMIT ?7"
)
_TOLD_COLUMNS = f"{ALERT_COLUMNS}, {SENT_COLUMN}"
_ALERTS = (
    f"SELECT {_TOLD_COLUMNS} FROM alert_history "  # noqa: S608
    "WHERE triggered_at >= ?1 AND (?2 IS NULL OR symbol IN (SELECT value FROM json_each(?2))) "
    "ORDER BY triggered_at, symbol, alert_type, id"
)
_DUE = (
    f"SELECT {_qualified(DELIVERY_COLUMNS, 'o')}, {_qualified(_TOLD_COLUMNS, 'a')} "  # noqa: S608
    "FROM outbox AS o JOIN alert_history AS a ON a.id = o.alert_id "
    "WHERE o.state = 'pending' AND o.next_try <= ? ORDER BY o.next_try, o.id LIMIT ?"
)
_UNCLAIMED = (
    f"SELECT {_TOLD_COLUMNS} FROM alert_history AS a "  # noqa: S608
    "WHERE triggered_at >= ?1 AND shadow = 0 AND NOT EXISTS (SELECT 1 FROM outbox AS o "
    "WHERE o.alert_id = a.id AND o.channel = ?2) ORDER BY triggered_at, symbol, alert_type, id"
)
_UNSCORED = (
    f"SELECT {_TOLD_COLUMNS} FROM alert_history AS a "  # noqa: S608
    "WHERE exchange = ?1 AND triggered_at >= ?2 AND (triggered_at, id) > (?2, ?3) "
    "AND triggered_at <= ?4 AND NOT EXISTS (SELECT 1 FROM alert_scores AS s "
    "WHERE s.alert_id = a.id) ORDER BY triggered_at, id LIMIT ?5"
)
_MINUTES = (
    "SELECT symbol, time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, "
    "taker_buy_quote_volume, source FROM candles_1m "
    "WHERE exchange = ? AND symbol = ? AND time >= ? AND time < ? ORDER BY time"
)
_STRETCH = (
    "SELECT symbol, time, open, high, low, close FROM candles_1m "
    "WHERE exchange = ? AND symbol = ? AND time >= ? AND time < ? ORDER BY time"
)
# The minutes of a run all lie as far from their own number as the first.
_RUNS = (
    f"{_SYMBOLS} SELECT symbol, min(time), max(time) FROM (SELECT c.symbol, c.time, "  # noqa: S608
    "c.time - 60000 * row_number() OVER (PARTITION BY c.symbol ORDER BY c.time) AS run "
    "FROM held CROSS JOIN candles_1m AS c ON c.exchange = ?1 AND c.symbol = held.name "
    "AND c.time >= ?2 AND c.time < ?3) GROUP BY symbol, run ORDER BY symbol, run"
)
_EARLIEST: Final = -(1 << 62)
_LATEST: Final = 1 << 62
_DELIVERY_WIDTH: Final = DELIVERY_COLUMNS.count(",") + 1


def exchanges(connection: sqlite3.Connection) -> list[str]:
    """The exchanges of which minutes are held."""
    return _exchanges(connection, "candles_1m")


def journalled(connection: sqlite3.Connection) -> list[str]:
    """The exchanges that have a journal."""
    return _exchanges(connection, "candle_journal")


def oldest_minutes(connection: sqlite3.Connection, exchange: str) -> dict[str, int]:
    """The oldest stored minute of every symbol."""
    return _edge_minutes(connection, exchange, "min")


def newest_minutes(connection: sqlite3.Connection, exchange: str) -> dict[str, int]:
    """The newest stored minute of every symbol."""
    return _edge_minutes(connection, exchange, "max")


def candles(
    connection: sqlite3.Connection, exchange: str, symbol: str | None, start: int, end: int
) -> list[Candle]:
    """Candles that open in [start, end), of one symbol or of all, by time and symbol."""
    if symbol is None:
        found = connection.execute(_CANDLES_OF_ALL, (exchange, start, end))
    else:
        found = connection.execute(_CANDLES_OF_ONE, (exchange, start, end, symbol))
    return [candle_from(row) for row in found]


def minutes(
    connection: sqlite3.Connection, exchange: str, symbols: Sequence[str], start: int, end: int
) -> pl.DataFrame:
    """Candles of some symbols that open in [start, end), as a frame."""
    rows: list[Row] = []
    for symbol in symbols:
        rows += connection.execute(_MINUTES, (exchange, symbol, start, end)).fetchall()
    return pl.DataFrame(rows, schema=MINUTES, orient="row")


def page(
    connection: sqlite3.Connection,
    exchange: str,
    symbol: str,
    start: int | None,
    end: int | None,
    limit: int,
) -> list[MinuteRow]:
    """The first candles that open in [start, end), or without a start the last; oldest first."""
    order = "time" if start is not None else "time DESC"
    found = connection.execute(
        _MINUTES.replace("SELECT symbol, ", "SELECT ").replace(
            "ORDER BY time", f"ORDER BY {order} LIMIT ?"
        ),
        (
            exchange,
            symbol,
            _EARLIEST if start is None else start,
            _LATEST if end is None else end,
            limit,
        ),
    ).fetchall()
    if start is None:
        found.reverse()
    return found


def held(
    connection: sqlite3.Connection, exchange: str, start: int, end: int
) -> dict[str, list[tuple[int, int]]]:
    """The runs of minutes in [start, end) that are held, as [first, end)."""
    runs: dict[str, list[tuple[int, int]]] = {}
    for symbol, first, last in connection.execute(_RUNS, (exchange, start, end)):
        runs.setdefault(symbol, []).append((first, last + MINUTE_MS))
    return runs


def journal(
    connection: sqlite3.Connection,
    exchange: str,
    start: int,
    end: int,
    opens_from: int,
    symbols: Sequence[str] | None,
    after: int,
    limit: int,
) -> JournalPage:
    """At most so many versions received in [start, end) of minutes from `opens_from` on.

    As they arrived, those after a mark.
    """
    ((first,),) = connection.execute(_JOURNAL_FIRST, (exchange, start, end))
    if first is None:
        return JournalPage([], None)
    after = max(after, first - 1)
    found = connection.execute(
        _JOURNAL, (exchange, start, end, opens_from, _as_json(symbols), after, limit)
    ).fetchall()
    more = len(found) == limit
    return JournalPage([candle_from(row) for row in found], found[-1][-1] if more else None)


def marks(connection: sqlite3.Connection, exchange: str) -> tuple[int, int]:
    """Up to where the journal of an exchange and the alerts go."""
    journal_mark: int = connection.execute(
        "SELECT coalesce(max(id), 0) FROM candle_journal WHERE exchange = ?", (exchange,)
    ).fetchone()[0]
    alert_mark: int = connection.execute(
        "SELECT coalesce(max(rowid), 0) FROM alert_history"
    ).fetchone()[0]
    return journal_mark, alert_mark


def journalled_after(
    connection: sqlite3.Connection, exchange: str, mark: int, limit: int
) -> tuple[list[Candle], int]:
    """At most so many versions journalled after a mark, in order, and the next mark."""
    found = connection.execute(
        f"SELECT {CANDLE_COLUMNS}, id FROM candle_journal "  # noqa: S608
        "WHERE id > ? AND exchange = ? ORDER BY id LIMIT ?",
        (mark, exchange, limit),
    ).fetchall()
    return [candle_from(row) for row in found], found[-1][-1] if found else mark


def alerts_after(connection: sqlite3.Connection, mark: int, limit: int) -> tuple[list[Alert], int]:
    """At most so many alerts stored after a mark, in order, and the next mark."""
    found = connection.execute(
        f"SELECT {_TOLD_COLUMNS}, rowid FROM alert_history "  # noqa: S608
        "WHERE rowid > ? ORDER BY rowid LIMIT ?",
        (mark, limit),
    ).fetchall()
    return [alert_from(row) for row in found], found[-1][-1] if found else mark


def oldest_arrival(
    connection: sqlite3.Connection, exchange: str, since: int, opens_from: int
) -> int | None:
    """The oldest minute, but of histories, of which a version was received since a time."""
    oldest: int | None = connection.execute(
        "SELECT min(time) FROM candle_journal AS journal "
        "WHERE exchange = ? AND received_at >= ? AND time >= ? AND NOT EXISTS ("
        "SELECT 1 FROM tracking WHERE exchange = journal.exchange AND symbol = journal.symbol "
        "AND judged_from > journal.time)",
        (exchange, since, opens_from),
    ).fetchone()[0]
    return oldest


def judged_from(connection: sqlite3.Connection, exchange: str) -> dict[str, int]:
    """The first minute that is judged of the symbols that were listed later."""
    found = connection.execute(
        "SELECT symbol, max(judged_from) FROM tracking "
        "WHERE exchange = ? AND judged_from IS NOT NULL GROUP BY symbol",
        (exchange,),
    )
    return dict(found.fetchall())


def tracked(connection: sqlite3.Connection, exchange: str) -> dict[str, int]:
    """Since when each symbol that is followed now is."""
    spans = tracking(connection, exchange)
    return {symbol: its[-1].start for symbol, its in spans.items() if its[-1].end is None}


def bars(
    connection: sqlite3.Connection, exchange: str, timeframe: str, symbols: Sequence[str] | None
) -> pl.DataFrame:
    """The bars of a length, by symbol and time."""
    found = connection.execute(
        "SELECT symbol, time, close FROM bars WHERE exchange = ?1 AND timeframe = ?2 "
        "AND (?3 IS NULL OR symbol IN (SELECT value FROM json_each(?3))) ORDER BY symbol, time",
        (exchange, timeframe, _as_json(symbols)),
    )
    return pl.DataFrame(found.fetchall(), schema=BARS, orient="row")


def newest_bars(connection: sqlite3.Connection, exchange: str) -> dict[tuple[str, str], int]:
    """The newest bar of every symbol and length."""
    found = connection.execute(
        "SELECT symbol, timeframe, max(time) FROM bars WHERE exchange = ? "
        "GROUP BY timeframe, symbol",
        (exchange,),
    )
    return {(symbol, timeframe): time for symbol, timeframe, time in found}


def alerts(
    connection: sqlite3.Connection, since: int, symbols: Sequence[str] | None = None
) -> list[Alert]:
    """Alerts triggered at `since` or later, oldest first; of these symbols, where given."""
    return [alert_from(row) for row in connection.execute(_ALERTS, (since, _as_json(symbols)))]


def alert_page(
    connection: sqlite3.Connection,
    wanted: AlertFilter,
    limit: int,
    offset: int,
    named: Sequence[str],
    counted: Counted | None = None,
) -> tuple[AlertPage, Counted]:
    """A page of alerts, newest first; and which of the ids that are named are stored.

    Where they were counted before, only what has been stored since is.
    """
    asked = {
        "symbol = ?": wanted.symbol,
        "alert_type = ?": wanted.rule,
        "triggered_at >= ?": wanted.since,
    }
    values = [value for value in asked.values() if value is not None]
    clauses = [key for key, value in asked.items() if value is not None]
    where = " AND ".join([*clauses, *(["TRUE"] if wanted.shadow else ["shadow = 0"])])
    (mark,) = connection.execute("SELECT coalesce(max(rowid), 0) FROM alert_history").fetchone()
    total = _total(connection, where, values, counted, mark)
    found = connection.execute(
        f"SELECT {_TOLD_COLUMNS} FROM alert_history WHERE {where} "  # noqa: S608
        "ORDER BY triggered_at DESC, symbol, alert_type, id LIMIT ? OFFSET ?",
        (*values, limit, offset),
    )
    alerts = [alert_from(row) for row in found]
    held: list[tuple[str]] = []
    if named:
        held = connection.execute(
            "SELECT id FROM alert_history WHERE id IN (SELECT value FROM json_each(?))",
            (_as_json(named),),
        ).fetchall()
    page = AlertPage(alerts, total, offset, frozenset(row[0] for row in held))
    return page, Counted(total, mark)


def _total(
    connection: sqlite3.Connection,
    where: str,
    values: list[str | int],
    counted: Counted | None,
    mark: int,
) -> int:
    if counted is None:
        # By an index alone, which has all that can be asked for, and not the number.
        before, since, asked = 0, "", values
    elif counted.mark < mark:
        before, since, asked = counted.total, "AND rowid > ?", [*values, counted.mark]
    else:
        return counted.total
    sql = f"SELECT count(*) FROM alert_history WHERE {where} {since}"  # noqa: S608
    (more,) = connection.execute(sql, asked).fetchone()
    return before + int(more)


def rule_switches(connection: sqlite3.Connection) -> dict[str, RuleSwitch]:
    """What was changed of the rules for everybody."""
    found = connection.execute(
        "SELECT rule_type, enabled, json_extract(config, '$.cooldown_ms') FROM alert_rules"
    )
    return {rule: RuleSwitch(rule, bool(enabled), cooldown) for rule, enabled, cooldown in found}


def user_switches(connection: sqlite3.Connection) -> dict[str, dict[str, RuleSwitch]]:
    """What users have changed of the rules for themselves."""
    switches: dict[str, dict[str, RuleSwitch]] = {}
    for user, rule, enabled, cooldown in connection.execute(
        "SELECT user_id, rule_type, enabled, cooldown_ms FROM user_rules"
    ):
        switches.setdefault(user, {})[rule] = RuleSwitch(rule, bool(enabled), cooldown)
    return switches


def settings(connection: sqlite3.Connection, user: str | None = None) -> dict[str, Settings]:
    """What a user, or every user, has chosen."""
    found = connection.execute(
        "SELECT user_id, selected_alerts, webhook_url, notification_enabled FROM user_settings "
        "WHERE ?1 IS NULL OR user_id = ?1",
        (user,),
    )
    return {
        name: Settings(tuple(orjson.loads(selected)), url, bool(enabled))
        for name, selected, url, enabled in found
    }


def unclaimed(connection: sqlite3.Connection, channel: str, since: int) -> list[Alert]:
    """Alerts triggered at `since` or later that a channel's outbox does not hold."""
    return [alert_from(row) for row in connection.execute(_UNCLAIMED, (since, channel))]


def due(connection: sqlite3.Connection, now: int, limit: int) -> list[tuple[Delivery, Alert]]:
    """Pending deliveries whose time has come, oldest first, each with its alert."""
    return [
        (delivery_from(row[:_DELIVERY_WIDTH]), alert_from(row[_DELIVERY_WIDTH:]))
        for row in connection.execute(_DUE, (now, limit))
    ]


def unscored(
    connection: sqlite3.Connection, exchange: str, after: tuple[int, str], until: int, limit: int
) -> list[Alert]:
    """The first alerts behind one, as (triggered_at, id), up to a time, that have no score."""
    return [
        alert_from(row) for row in connection.execute(_UNSCORED, (exchange, *after, until, limit))
    ]


def stretches(
    connection: sqlite3.Connection, exchange: str, spans: Sequence[tuple[str, int, int]]
) -> pl.DataFrame:
    """The prices of minutes of symbols that open in [start, end), as `screener.outcomes` takes."""
    rows: list[Row] = []
    for span in spans:
        rows += connection.execute(_STRETCH, (exchange, *span)).fetchall()
    return pl.DataFrame(rows, schema=STRETCHES, orient="row")


def dead(connection: sqlite3.Connection, channel: str) -> list[Delivery]:
    """Deliveries of a channel that were given up, oldest first."""
    found = connection.execute(
        f"SELECT {DELIVERY_COLUMNS} FROM outbox "  # noqa: S608
        "WHERE channel = ? AND state = 'dead' ORDER BY id",
        (channel,),
    )
    return [delivery_from(row) for row in found]


def dead_letters(connection: sqlite3.Connection, limit: int) -> list[DeadLetter]:
    """The newest dead letters, newest first."""
    found = connection.execute(
        "SELECT exchange, received_at, reason, frame FROM dead_letters ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [DeadLetter(*row) for row in found]


def tracking(connection: sqlite3.Connection, exchange: str) -> dict[str, list[Span]]:
    """When each symbol was to be followed."""
    spans: dict[str, list[Span]] = {}
    for symbol, *span in connection.execute(
        "SELECT symbol, since, until, judged_from FROM tracking WHERE exchange = ? "
        "ORDER BY symbol, since",
        (exchange,),
    ):
        spans.setdefault(symbol, []).append(Span(*span))
    return spans


def audit(connection: sqlite3.Connection, exchange: str, start: int, end: int) -> list[AuditRow]:
    """The audit of [start, end), by hour and symbol.

    An hour that was recorded before its candles were dropped is told as it was recorded.
    """
    found = {(row.hour, row.symbol): row for row in _counted(connection, exchange, start, end)}
    found.update(((r.hour, r.symbol), r) for r in _recorded(connection, exchange, start, end))
    return [found[key] for key in sorted(found)]


def last_recorded_hour(connection: sqlite3.Connection, exchange: str) -> int | None:
    """The newest hour that the table of the audit holds."""
    row = connection.execute("SELECT max(time) FROM audit WHERE exchange = ?", (exchange,))
    hour: int | None = row.fetchone()[0]
    return hour


def _counted(connection: sqlite3.Connection, exchange: str, start: int, end: int) -> list[AuditRow]:
    return [
        row
        for symbol, spans in tracking(connection, exchange).items()
        for row in audit_symbol(
            symbol, spans, _held(connection, exchange, symbol, start, end), start, end
        )
    ]


def _held(connection: sqlite3.Connection, exchange: str, symbol: str, start: int, end: int) -> Held:
    real: set[int] = set()
    absent: set[int] = set()
    for time, source in connection.execute(
        "SELECT time, source FROM candles_1m "
        "WHERE exchange = ? AND symbol = ? AND time >= ? AND time < ?",
        (exchange, symbol, start, end),
    ):
        (absent if source == "synthetic" else real).add(time)
    return Held(real, absent)


def _recorded(
    connection: sqlite3.Connection, exchange: str, start: int, end: int
) -> list[AuditRow]:
    found = connection.execute(
        "SELECT symbol, time, expected, held, absent, holes FROM audit "
        "WHERE exchange = ? AND time >= ? AND time < ?",
        (exchange, start, end),
    )
    return [audit_from(row) for row in found]


def _as_json(names: Sequence[str] | None) -> str | None:
    return None if names is None else orjson.dumps(list(names)).decode()


def _exchanges(connection: sqlite3.Connection, table: str) -> list[str]:
    names = _NAMES.format(column="exchange", table=table, where="TRUE")
    found = connection.execute(names + " SELECT name FROM held WHERE name IS NOT NULL")  # noqa: S608
    return [name for (name,) in found]


def _edge_minutes(connection: sqlite3.Connection, exchange: str, which: str) -> dict[str, int]:
    edges = (
        f"{_SYMBOLS} SELECT name, (SELECT {which}(time) FROM candles_1m "  # noqa: S608
        "WHERE exchange = ?1 AND symbol = name) FROM held WHERE name IS NOT NULL"
    )
    return dict(connection.execute(edges, (exchange,)).fetchall())
