"""What is read: each function sees one moment's state, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

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
from screenerd.store.postgres.connect import Connection
from screenerd.store.postgres.gathered import frame, gather
from screenerd.store.postgres.values import Ms, optional
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

# One seek a name and day, where DISTINCT would walk the whole table.
_NAMES = (
    "WITH RECURSIVE held (name) AS ("
    "(SELECT {column} FROM {table} WHERE {where} ORDER BY {column} LIMIT 1) UNION ALL "
    "SELECT (SELECT {column} FROM {table} WHERE {where} AND {column} > held.name "
    "ORDER BY {column} LIMIT 1) FROM held WHERE held.name IS NOT NULL)"
)
_SYMBOLS = _NAMES.format(column="symbol", table="candles_1m", where="exchange = %(exchange)s")


def _qualified(columns: str, table: str) -> str:
    return ", ".join(f"{table}.{column}" for column in columns.split(", "))


_CANDLES = (
    f"SELECT {CANDLE_COLUMNS} FROM candles_1m "  # noqa: S608
    "WHERE exchange = %s AND time >= %s AND time < %s AND (%s::text IS NULL OR symbol = %s) "
    "ORDER BY time, symbol"
)
_JOURNAL = (
    f"SELECT {CANDLE_COLUMNS}, id FROM candle_journal "  # noqa: S608
    "WHERE exchange = %s AND received_at >= %s AND received_at < %s AND time >= %s "
    "AND (%s::text[] IS NULL OR symbol = ANY(%s)) AND id > %s ORDER BY id LIMIT %s"
)
_TOLD_COLUMNS = f"{ALERT_COLUMNS}, {SENT_COLUMN}"
_ALERTS = (
    f"SELECT {_TOLD_COLUMNS} FROM alert_history "  # noqa: S608
    "WHERE triggered_at >= %s AND (%s::text[] IS NULL OR symbol = ANY(%s)) "
    "ORDER BY triggered_at, symbol, alert_type, id"
)
_DUE = (
    f"SELECT {_qualified(DELIVERY_COLUMNS, 'o')}, {_qualified(_TOLD_COLUMNS, 'a')} "  # noqa: S608
    "FROM outbox AS o JOIN alert_history AS a ON a.id = o.alert_id "
    "WHERE o.state = 'pending' AND o.next_try <= %s ORDER BY o.next_try, o.id LIMIT %s"
)
_UNCLAIMED = (
    f"SELECT {_TOLD_COLUMNS} FROM alert_history AS a "  # noqa: S608
    "WHERE triggered_at >= %s AND NOT shadow AND NOT EXISTS (SELECT 1 FROM outbox AS o "
    "WHERE o.alert_id = a.id AND o.channel = %s) ORDER BY triggered_at, symbol, alert_type, id"
)
_UNSCORED = (
    f"SELECT {_TOLD_COLUMNS} FROM alert_history AS a "  # noqa: S608
    "WHERE exchange = %(exchange)s AND triggered_at >= %(after)s "
    "AND (triggered_at, id) > (%(after)s, %(id)s) AND triggered_at <= %(until)s "
    "AND NOT EXISTS (SELECT 1 FROM alert_scores AS s WHERE s.alert_id = a.id) "
    "ORDER BY triggered_at, id LIMIT %(limit)s"
)
_MINUTE_COLUMNS = (
    "time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, "
    "taker_buy_quote_volume, source"
)
_MINUTES = gather(
    "candles_1m", MINUTES, "exchange = %s AND symbol = ANY(%s) AND time >= %s AND time < %s"
)
_BARS = gather(
    "bars",
    BARS,
    "exchange = %s AND timeframe = %s AND (%s::text[] IS NULL OR symbol = ANY(%s))",
)
_STRETCH = (
    "SELECT symbol, time, open, high, low, close FROM candles_1m "
    "WHERE exchange = %s AND symbol = %s AND time >= %s AND time < %s ORDER BY time"
)
# The minutes of a run all lie as far from their own number as the first.
_RUNS = (
    "SELECT symbol, min(time), max(time) FROM (SELECT symbol, time, "
    "time - INTERVAL '1 minute' * row_number() OVER (PARTITION BY symbol ORDER BY time) AS run "
    "FROM candles_1m WHERE exchange = %s AND time >= %s AND time < %s) AS numbered "
    "GROUP BY symbol, run ORDER BY symbol, run"
)
_AT_ONCE: Final = 5_000
_EARLIEST: Final = -(1 << 62)
_LATEST: Final = 1 << 62
_DELIVERY_WIDTH: Final = DELIVERY_COLUMNS.count(",") + 1


async def _rows(
    connection: Connection, sql: str, asked: Sequence[Any] | dict[str, Any] = ()
) -> list[Row]:
    found = await connection.execute(sql.encode(), asked, binary=True)
    return await found.fetchall()


async def exchanges(connection: Connection) -> list[str]:
    """The exchanges of which minutes are held."""
    names = _NAMES.format(column="exchange", table="candles_1m", where="TRUE")
    found = await _rows(connection, names + " SELECT name FROM held WHERE name IS NOT NULL")  # noqa: S608
    return [name for (name,) in found]


async def oldest_minutes(connection: Connection, exchange: str) -> dict[str, int]:
    """The oldest stored minute of every symbol."""
    return await _edge_minutes(connection, exchange, "min")


async def newest_minutes(connection: Connection, exchange: str) -> dict[str, int]:
    """The newest stored minute of every symbol."""
    return await _edge_minutes(connection, exchange, "max")


async def candles(
    connection: Connection, exchange: str, symbol: str | None, start: int, end: int
) -> list[Candle]:
    """Candles that open in [start, end), of one symbol or of all, by time and symbol."""
    found = await _rows(connection, _CANDLES, (exchange, Ms(start), Ms(end), symbol, symbol))
    return [candle_from(row) for row in found]


async def minutes(
    connection: Connection, exchange: str, symbols: Sequence[str], start: int, end: int
) -> pl.DataFrame:
    """Candles of some symbols that open in [start, end), as a frame."""
    found = await _rows(connection, _MINUTES, (exchange, list(symbols), Ms(start), Ms(end)))
    return frame(found, MINUTES, symbols)


async def page(
    connection: Connection,
    exchange: str,
    symbol: str,
    start: int | None,
    end: int | None,
    limit: int,
) -> list[MinuteRow]:
    """The first candles that open in [start, end), or without a start the last; oldest first."""
    order = "time" if start is not None else "time DESC"
    low, high = (_EARLIEST if start is None else start), (_LATEST if end is None else end)
    found: list[Any] = await _rows(
        connection,
        f"SELECT {_MINUTE_COLUMNS} FROM candles_1m WHERE exchange = %s AND symbol = %s "  # noqa: S608
        f"AND time >= %s AND time < %s ORDER BY {order} LIMIT %s",
        (exchange, symbol, Ms(low), Ms(high), limit),
    )
    if start is None:
        found.reverse()
    return found


async def held(
    connection: Connection, exchange: str, start: int, end: int
) -> dict[str, list[tuple[int, int]]]:
    """The runs of minutes in [start, end) that are held, as [first, end)."""
    runs: dict[str, list[tuple[int, int]]] = {}
    for symbol, first, last in await _rows(connection, _RUNS, (exchange, Ms(start), Ms(end))):
        runs.setdefault(symbol, []).append((first, last + MINUTE_MS))
    return runs


async def journal(
    connection: Connection,
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
    names = None if symbols is None else list(symbols)
    asked = (exchange, Ms(start), Ms(end), Ms(opens_from), names, names, after, limit)
    found = await connection.execute(_JOURNAL.encode(), asked, binary=True)
    candles: list[Candle] = []
    while rows := await found.fetchmany(_AT_ONCE):
        candles += map(candle_from, rows)
        after = rows[-1][-1]
        await asyncio.sleep(0)  # an hour of all symbols takes a second, and others have to go on
    return JournalPage(candles, after if len(candles) == limit else None)


async def marks(connection: Connection, exchange: str) -> tuple[int, int]:
    """Up to where the journal of an exchange and the alerts go."""
    ((journal_mark, alert_mark),) = await _rows(
        connection,
        "SELECT (SELECT coalesce(max(id), 0) FROM candle_journal WHERE exchange = %s), "
        "(SELECT coalesce(max(number), 0) FROM alert_history)",
        (exchange,),
    )
    return journal_mark, alert_mark


async def journalled_after(
    connection: Connection, exchange: str, mark: int, limit: int
) -> tuple[list[Candle], int]:
    """At most so many versions journalled after a mark, in order, and the next mark."""
    found = await _rows(
        connection,
        f"SELECT {CANDLE_COLUMNS}, id FROM candle_journal "  # noqa: S608
        "WHERE id > %s AND exchange = %s ORDER BY id LIMIT %s",
        (mark, exchange, limit),
    )
    return [candle_from(row) for row in found], found[-1][-1] if found else mark


async def alerts_after(connection: Connection, mark: int, limit: int) -> tuple[list[Alert], int]:
    """At most so many alerts stored after a mark, in order, and the next mark."""
    found = await _rows(
        connection,
        f"SELECT {_TOLD_COLUMNS}, number FROM alert_history "  # noqa: S608
        "WHERE number > %s ORDER BY number LIMIT %s",
        (mark, limit),
    )
    return [alert_from(row) for row in found], found[-1][-1] if found else mark


async def oldest_arrival(
    connection: Connection, exchange: str, since: int, opens_from: int
) -> int | None:
    """The oldest minute, but of histories, of which a version was received since a time."""
    ((oldest,),) = await _rows(
        connection,
        "SELECT min(time) FROM candle_journal AS journal "
        "WHERE exchange = %s AND received_at >= %s AND time >= %s AND NOT EXISTS ("
        "SELECT 1 FROM tracking WHERE exchange = journal.exchange AND symbol = journal.symbol "
        "AND judged_from > journal.time)",
        (exchange, Ms(since), Ms(opens_from)),
    )
    found: int | None = oldest
    return found


async def judged_from(connection: Connection, exchange: str) -> dict[str, int]:
    """The first minute that is judged of the symbols that were listed later."""
    found = await _rows(
        connection,
        "SELECT symbol, max(judged_from) FROM tracking "
        "WHERE exchange = %s AND judged_from IS NOT NULL GROUP BY symbol",
        (exchange,),
    )
    return dict(found)


async def tracked(connection: Connection, exchange: str) -> dict[str, int]:
    """Since when each symbol that is followed now is."""
    spans = await tracking(connection, exchange)
    return {symbol: its[-1].start for symbol, its in spans.items() if its[-1].end is None}


async def bars(
    connection: Connection, exchange: str, timeframe: str, symbols: Sequence[str] | None
) -> pl.DataFrame:
    """The bars of a length, by symbol and time."""
    names = None if symbols is None else list(symbols)
    found = await _rows(connection, _BARS, (exchange, timeframe, names, names))
    return frame(found, BARS, sorted(row[0] for row in found))


async def newest_bars(connection: Connection, exchange: str) -> dict[tuple[str, str], int]:
    """The newest bar of every symbol and length."""
    found = await _rows(
        connection,
        "SELECT symbol, timeframe, max(time) FROM bars WHERE exchange = %s "
        "GROUP BY timeframe, symbol",
        (exchange,),
    )
    return {(symbol, timeframe): time for symbol, timeframe, time in found}


async def alerts(
    connection: Connection, since: int, symbols: Sequence[str] | None = None
) -> list[Alert]:
    """Alerts triggered at `since` or later, oldest first; of these symbols, where given."""
    names = None if symbols is None else list(symbols)
    return [alert_from(row) for row in await _rows(connection, _ALERTS, (Ms(since), names, names))]


async def alert_page(
    connection: Connection,
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
        "symbol = %s": wanted.symbol,
        "alert_type = %s": wanted.rule,
        "triggered_at >= %s": optional(wanted.since),
    }
    values = [value for value in asked.values() if value is not None]
    clauses = [key for key, value in asked.items() if value is not None]
    where = " AND ".join([*clauses, *(["TRUE"] if wanted.shadow else ["NOT shadow"])])
    async with connection.transaction():
        ((mark,),) = await _rows(connection, "SELECT coalesce(max(number), 0) FROM alert_history")
        total = await _total(connection, where, values, counted, mark)
        found = await _rows(
            connection,
            f"SELECT {_TOLD_COLUMNS} FROM alert_history WHERE {where} "  # noqa: S608
            "ORDER BY triggered_at DESC, symbol, alert_type, id LIMIT %s OFFSET %s",
            (*values, limit, offset),
        )
        held: list[Row] = []
        if named:
            held = await _rows(
                connection, "SELECT id FROM alert_history WHERE id = ANY(%s)", (list(named),)
            )
    alerts = [alert_from(row) for row in found]
    page = AlertPage(alerts, total, offset, frozenset(row[0] for row in held))
    return page, Counted(total, mark)


async def _total(
    connection: Connection, where: str, values: list[Any], counted: Counted | None, mark: int
) -> int:
    if counted is None:
        # By an index alone, which has all that can be asked for, and not the number.
        before, since, asked = 0, "", values
    elif counted.mark < mark:
        before, since, asked = counted.total, "AND number > %s", [*values, counted.mark]
    else:
        return counted.total
    sql = f"SELECT count(*) FROM alert_history WHERE {where} {since}"  # noqa: S608
    ((more,),) = await _rows(connection, sql, asked)
    return before + int(more)


async def rule_switches(connection: Connection) -> dict[str, RuleSwitch]:
    """What was changed of the rules for everybody."""
    found = await _rows(
        connection,
        "SELECT rule_type, enabled, (config ->> 'cooldown_ms')::bigint FROM alert_rules",
    )
    return {rule: RuleSwitch(rule, enabled, cooldown) for rule, enabled, cooldown in found}


async def user_switches(connection: Connection) -> dict[str, dict[str, RuleSwitch]]:
    """What users have changed of the rules for themselves."""
    switches: dict[str, dict[str, RuleSwitch]] = {}
    for user, rule, enabled, cooldown in await _rows(
        connection, "SELECT user_id, rule_type, enabled, cooldown_ms FROM user_rules"
    ):
        switches.setdefault(user, {})[rule] = RuleSwitch(rule, enabled, cooldown)
    return switches


async def settings(connection: Connection, user: str | None = None) -> dict[str, Settings]:
    """What a user, or every user, has chosen."""
    found = await _rows(
        connection,
        "SELECT user_id, selected_alerts, webhook_url, notification_enabled FROM user_settings "
        "WHERE %s::text IS NULL OR user_id = %s",
        (user, user),
    )
    return {name: Settings(tuple(chosen), url, enabled) for name, chosen, url, enabled in found}


async def unclaimed(connection: Connection, channel: str, since: int) -> list[Alert]:
    """Alerts triggered at `since` or later that a channel's outbox does not hold."""
    return [alert_from(row) for row in await _rows(connection, _UNCLAIMED, (Ms(since), channel))]


async def due(connection: Connection, now: int, limit: int) -> list[tuple[Delivery, Alert]]:
    """Pending deliveries whose time has come, oldest first, each with its alert."""
    return [
        (delivery_from(row[:_DELIVERY_WIDTH]), alert_from(row[_DELIVERY_WIDTH:]))
        for row in await _rows(connection, _DUE, (Ms(now), limit))
    ]


async def unscored(
    connection: Connection, exchange: str, after: tuple[int, str], until: int, limit: int
) -> list[Alert]:
    """The first alerts behind one, as (triggered_at, id), up to a time, that have no score."""
    asked = {
        "exchange": exchange,
        "after": Ms(after[0]),
        "id": after[1],
        "until": Ms(until),
        "limit": limit,
    }
    return [alert_from(row) for row in await _rows(connection, _UNSCORED, asked)]


async def stretches(
    connection: Connection, exchange: str, spans: Sequence[tuple[str, int, int]]
) -> pl.DataFrame:
    """The prices of minutes of symbols that open in [start, end), as `screener.outcomes` takes."""
    rows: list[Row] = []
    async with connection.transaction():
        for symbol, start, end in spans:
            rows += await _rows(connection, _STRETCH, (exchange, symbol, Ms(start), Ms(end)))
    return pl.DataFrame(rows, schema=STRETCHES, orient="row")


async def dead(connection: Connection, channel: str) -> list[Delivery]:
    """Deliveries of a channel that were given up, oldest first."""
    found = await _rows(
        connection,
        f"SELECT {DELIVERY_COLUMNS} FROM outbox "  # noqa: S608
        "WHERE channel = %s AND state = 'dead' ORDER BY id",
        (channel,),
    )
    return [delivery_from(row) for row in found]


async def dead_letters(connection: Connection, limit: int) -> list[DeadLetter]:
    """The newest dead letters, newest first."""
    found = await _rows(
        connection,
        "SELECT exchange, received_at, reason, frame FROM dead_letters ORDER BY id DESC LIMIT %s",
        (limit,),
    )
    return [DeadLetter(*row) for row in found]


async def tracking(connection: Connection, exchange: str) -> dict[str, list[Span]]:
    """When each symbol was to be followed."""
    spans: dict[str, list[Span]] = {}
    for symbol, *span in await _rows(
        connection,
        "SELECT symbol, since, until, judged_from FROM tracking WHERE exchange = %s "
        "ORDER BY symbol, since",
        (exchange,),
    ):
        spans.setdefault(symbol, []).append(Span(*span))
    return spans


async def audit(connection: Connection, exchange: str, start: int, end: int) -> list[AuditRow]:
    """The audit of [start, end), by hour and symbol.

    An hour that was recorded before its candles were dropped is told as it was recorded.
    """
    async with connection.transaction():
        counted = await _counted(connection, exchange, start, end)
        recorded = await _recorded(connection, exchange, start, end)
    found = {(row.hour, row.symbol): row for row in (*counted, *recorded)}
    return [found[key] for key in sorted(found)]


async def last_recorded_hour(connection: Connection, exchange: str) -> int | None:
    """The newest hour that the table of the audit holds."""
    ((hour,),) = await _rows(
        connection, "SELECT max(time) FROM audit WHERE exchange = %s", (exchange,)
    )
    found: int | None = hour
    return found


async def _counted(connection: Connection, exchange: str, start: int, end: int) -> list[AuditRow]:
    real: dict[str, set[int]] = {}
    absent: dict[str, set[int]] = {}
    for symbol, time, is_absent in await _rows(
        connection,
        "SELECT symbol, time, source = 'synthetic' FROM candles_1m "
        "WHERE exchange = %s AND time >= %s AND time < %s",
        (exchange, Ms(start), Ms(end)),
    ):
        (absent if is_absent else real).setdefault(symbol, set()).add(time)
    return [
        row
        for symbol, spans in (await tracking(connection, exchange)).items()
        for row in audit_symbol(
            symbol, spans, Held(real.get(symbol, set()), absent.get(symbol, set())), start, end
        )
    ]


async def _recorded(connection: Connection, exchange: str, start: int, end: int) -> list[AuditRow]:
    found = await _rows(
        connection,
        "SELECT symbol, time, expected, held, absent, holes FROM audit "
        "WHERE exchange = %s AND time >= %s AND time < %s",
        (exchange, Ms(start), Ms(end)),
    )
    return [audit_from(row) for row in found]


async def _edge_minutes(connection: Connection, exchange: str, which: str) -> dict[str, int]:
    edges = (
        f"{_SYMBOLS} SELECT name, (SELECT {which}(time) FROM candles_1m "  # noqa: S608
        "WHERE exchange = %(exchange)s AND symbol = name) FROM held WHERE name IS NOT NULL"
    )
    return dict(await _rows(connection, edges, {"exchange": exchange}))
