"""What is written: each function runs inside a transaction that somebody else began.

All of them may run twice on the same arguments and leave what one run leaves, because a commit
whose answer was lost is repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import orjson
import polars as pl

from screenerd.clock import Clock
from screenerd.columns import METRICS, metric_rows
from screenerd.model import (
    Alert,
    AlertScore,
    Bars,
    CandleBatch,
    DeadLetter,
    Metrics,
    RuleSwitch,
)
from screenerd.store.audit import judged_from
from screenerd.store.items import Counts, Item
from screenerd.store.kept import DEAD_LETTERS_KEPT
from screenerd.store.port import AuditRow, Delivery, Settings, Span, StoreError
from screenerd.store.postgres import queries
from screenerd.store.postgres.candles import write_candles
from screenerd.store.postgres.connect import Connection
from screenerd.store.postgres.copy import copy_frame
from screenerd.store.postgres.divided import day_of, make_days
from screenerd.store.postgres.values import Ms, instant, optional, timed
from screenerd.store.rows import (
    ALERT_COLUMNS,
    SCORE_COLUMNS,
    alert_row,
    audit_row,
    score_row,
)

_ALERT_TIMES: Final = (ALERT_COLUMNS.split(", ").index("triggered_at"),)
_SCORE_TIMES: Final = (SCORE_COLUMNS.split(", ").index("triggered_at"),)
_AUDIT_TIMES: Final = (2,)


@cache
def _marks(columns: str) -> str:
    return ", ".join(["%s"] * (columns.count(",") + 1))


_ALERT = (
    f"INSERT INTO alert_history ({ALERT_COLUMNS}) VALUES ({_marks(ALERT_COLUMNS)}) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state "
    "WHERE alert_history.state = 'provisional'"
)
_DEAD_LETTER = (
    "INSERT INTO dead_letters (exchange, received_at, reason, frame) "
    "SELECT %(exchange)s, %(at)s, %(reason)s, %(frame)s WHERE NOT EXISTS ("
    "SELECT 1 FROM dead_letters WHERE received_at = %(at)s AND exchange = %(exchange)s "
    "AND reason = %(reason)s AND frame = %(frame)s)"
)
_METRIC_COLUMNS: Final = f"symbol, time, timeframe, {', '.join(METRICS)}"
_STAGE_METRICS = (
    "CREATE TEMP TABLE IF NOT EXISTS staged_metrics ON COMMIT DELETE ROWS AS "  # noqa: S608
    f"SELECT {_METRIC_COLUMNS} FROM metrics_calculated WITH NO DATA"
)
_HAS_METRICS = (
    "SELECT EXISTS (SELECT 1 FROM unnest(%s::text[]) AS given (symbol), LATERAL ("
    "SELECT 1 FROM metrics_calculated AS m WHERE m.exchange = %s AND m.symbol = given.symbol "
    "AND m.time >= %s AND m.time <= %s LIMIT 1) AS held)"
)
_METRICS = (
    f"INSERT INTO metrics_calculated (exchange, {_METRIC_COLUMNS}) "  # noqa: S608
    f"SELECT %s, {_METRIC_COLUMNS} FROM staged_metrics "
    "ON CONFLICT (exchange, symbol, time, timeframe) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in METRICS)
)


@dataclass(frozen=True, slots=True)
class Writing:
    """What one call writes, as an operation; candles or metrics of many can be written at once.

    Attributes:
        items: what is written.
        clock: tells when.
        by_day: whether days have to be made.
    """

    items: Sequence[Item]
    clock: Clock
    by_day: bool

    async def __call__(self, connection: Connection) -> Counts:
        """Stores the items."""
        now = self.clock.now_ms()
        return await write_items(connection, self.items, now, by_day=self.by_day)

    @property
    def only(self) -> CandleBatch | Metrics | None:
        """The candles or the metrics that it is, if it is nothing else."""
        match self.items:
            case [CandleBatch() | Metrics() as one]:
                return one
            case _:
                return None


async def write_together(connection: Connection, writings: Sequence[Writing]) -> list[Counts]:
    """Stores what is candles of one exchange only, or its metrics; gives what became of each."""
    by_day = writings[0].by_day
    batches = [one.only for one in writings if isinstance(one.only, CandleBatch)]
    if batches:
        return await write_candles(connection, batches, by_day=by_day)
    some = [one.only for one in writings if isinstance(one.only, Metrics)]
    await _write_metrics(connection, some, by_day=by_day)
    return [Counts() for _ in some]


async def write_items(
    connection: Connection, items: Iterable[Item], now: int, *, by_day: bool
) -> Counts:
    """Stores items in their order; alerts are stamped with the time."""
    counts = Counts()
    for item in items:
        match item:
            case CandleBatch():
                counts.add(*await write_candles(connection, [item], by_day=by_day))
            case Alert():
                await write_alert(connection, item, now)
            case DeadLetter():
                await _write_dead_letter(connection, item)
            case Bars():
                await _write_bars(connection, item)
            case Metrics():
                await _write_metrics(connection, [item], by_day=by_day)
            case _:
                raise StoreError(f"the store cannot keep a {type(item).__name__}")
    return counts


async def write_alert(connection: Connection, alert: Alert, now: int) -> None:
    """Stores an alert; of one that is there already only a newer state."""
    await connection.execute(_ALERT.encode(), timed(alert_row(alert.at(stored=now)), *_ALERT_TIMES))


async def _write_dead_letter(connection: Connection, letter: DeadLetter) -> None:
    await connection.execute(
        _DEAD_LETTER.encode(),
        {
            "exchange": letter.exchange,
            "at": Ms(letter.received_at),
            "reason": letter.reason,
            "frame": letter.frame,
        },
    )
    await connection.execute(
        "DELETE FROM dead_letters WHERE id <= (SELECT max(id) FROM dead_letters) - %s",
        (DEAD_LETTERS_KEPT,),
    )


async def _write_bars(connection: Connection, bars: Bars) -> None:
    await connection.execute(
        "INSERT INTO bars (exchange, timeframe, symbol, time, close) "
        "SELECT %s, %s, %s, 'epoch'::timestamptz + time * INTERVAL '1 millisecond', close "
        "FROM unnest(%s::bigint[], %s::float8[]) AS given (time, close) "
        "ON CONFLICT (exchange, timeframe, symbol, time) DO UPDATE SET close = excluded.close",
        (
            bars.exchange,
            bars.timeframe,
            bars.symbol,
            [time for time, _ in bars.closes],
            [close for _, close in bars.closes],
        ),
    )


async def _write_metrics(connection: Connection, some: Sequence[Metrics], *, by_day: bool) -> None:
    """Of one exchange; of a symbol's minute that is told more than once the last."""
    exchange = some[0].exchange
    frame = pl.concat([one.frame for one in some], how="diagonal_relaxed", rechunk=True)
    frame = frame.unique(["symbol", "open_time"], keep="last", maintain_order=True)
    times = frame["open_time"].unique().to_list()
    if by_day:
        await make_days(connection, "metrics_calculated", {day_of(time) for time in times})
    rows = metric_rows(frame).with_columns(instant("open_time")).rename({"open_time": "time"})
    asked = (frame["symbol"].to_list(), exchange, Ms(min(times)), Ms(max(times)))
    found = await connection.execute(_HAS_METRICS.encode(), asked)
    if await found.fetchone() == (False,):
        await copy_frame(connection, "metrics_calculated", rows, {"exchange": exchange})
        return
    await connection.execute(_STAGE_METRICS.encode())
    await copy_frame(connection, "staged_metrics", rows)
    await connection.execute(_METRICS.encode(), (exchange,))
    await connection.execute("DELETE FROM staged_metrics")


async def enqueue(connection: Connection, alert: Alert, channels: Sequence[str], now: int) -> None:
    """Stores an alert and puts it into the outbox of every channel that does not have it."""
    await write_alert(connection, alert, now)
    await connection.execute(
        "INSERT INTO outbox (alert_id, channel, next_try, created_at) "
        "SELECT %(alert)s, channel, %(now)s, %(now)s "
        "FROM unnest(%(channels)s::text[]) WITH ORDINALITY AS asked (channel, place) "
        "ORDER BY place ON CONFLICT (alert_id, channel) DO NOTHING",
        {"alert": alert.id, "channels": list(channels), "now": Ms(now)},
    )


async def write_scores(connection: Connection, scores: Iterable[AlertScore]) -> None:
    """Keeps scores; of an alert that has one the first stands."""
    await connection.cursor().executemany(
        f"INSERT INTO alert_scores ({SCORE_COLUMNS}) VALUES ({_marks(SCORE_COLUMNS)}) "  # noqa: S608
        "ON CONFLICT (alert_id) DO NOTHING".encode(),
        [timed(score_row(score), *_SCORE_TIMES) for score in scores],
    )


async def first_seen(connection: Connection, names: Sequence[str], now: int) -> list[int]:
    """When each thing was first heard of, which is now if it never was."""
    given = sorted(set(names))  # in one order, or two that start at once might wait for each other
    await connection.execute(
        "INSERT INTO first_seen (name, time) SELECT unnest(%s::text[]), %s "
        "ON CONFLICT (name) DO NOTHING",
        (given, Ms(now)),
    )
    found = await connection.execute(
        "SELECT name, time FROM first_seen WHERE name = ANY(%s)", (given,), binary=True
    )
    since: dict[str, int] = dict(await found.fetchall())
    return [since[name] for name in names]


async def delivered(connection: Connection, delivery: Delivery, at: int) -> None:
    """Marks a delivery as made, and its alert as sent if it is the first of it."""
    done = await connection.execute(
        "UPDATE outbox SET state = 'sent', sent_at = coalesce(sent_at, %s) WHERE id = %s",
        (Ms(at), delivery.id),
    )
    _must_exist(done.rowcount, delivery)
    await _alert_sent(connection, delivery.alert_id, at)


async def delivered_to(connection: Connection, alert_id: str, channel: str, at: int) -> None:
    """Marks the delivery of an alert to a channel as made, if there is one that was not."""
    done = await connection.execute(
        "UPDATE outbox SET state = 'sent', sent_at = %s "
        "WHERE alert_id = %s AND channel = %s AND state <> 'sent'",
        (Ms(at), alert_id, channel),
    )
    if done.rowcount:
        await _alert_sent(connection, alert_id, at)


async def _alert_sent(connection: Connection, alert_id: str, at: int) -> None:
    await connection.execute(
        "UPDATE alert_history SET webhook_sent = true, "
        "webhook_sent_at = coalesce(webhook_sent_at, %s) WHERE id = %s",
        (Ms(at), alert_id),
    )


async def postponed(connection: Connection, delivery: Delivery) -> None:
    """Records a failed try; a delivery that was made stays made."""
    done = await connection.execute(
        "UPDATE outbox SET attempts = %s, next_try = %s, last_error = %s, "
        "state = CASE state WHEN 'sent' THEN state ELSE %s END WHERE id = %s",
        (
            delivery.attempts,
            Ms(delivery.next_try),
            delivery.last_error,
            delivery.state,
            delivery.id,
        ),
    )
    _must_exist(done.rowcount, delivery)


async def set_tracking(connection: Connection, exchange: str, spans: Mapping[str, Span]) -> None:
    """Makes spans the truth about symbols from their starts on, as far as they reach.

    What was said about earlier minutes stays; so does a later span that one does not touch. Ends
    that are known stay: they tell until when a symbol was judged.
    """
    held = await queries.tracking(connection, exchange)
    keys = [
        {
            "exchange": exchange,
            "symbol": symbol,
            "since": Ms(span.start),
            "until": optional(span.end),
            "judged_from": optional(judged_from(span, held.get(symbol, ()))),
        }
        for symbol, span in spans.items()
    ]
    cursor = connection.cursor()
    await cursor.executemany(
        "DELETE FROM tracking WHERE exchange = %(exchange)s AND symbol = %(symbol)s "
        "AND since >= %(since)s "
        "AND (%(until)s::timestamptz IS NULL OR since < %(until)s::timestamptz)",
        keys,
    )
    await cursor.executemany(
        "UPDATE tracking SET until = %(since)s WHERE exchange = %(exchange)s "
        "AND symbol = %(symbol)s AND since < %(since)s AND until IS NULL",
        keys,
    )
    await cursor.executemany(
        "INSERT INTO tracking (exchange, symbol, since, until, judged_from) "
        "VALUES (%(exchange)s, %(symbol)s, %(since)s, %(until)s, %(judged_from)s) "
        "ON CONFLICT (exchange, symbol, since) DO UPDATE "
        "SET until = excluded.until, judged_from = excluded.judged_from",
        [key for key, span in zip(keys, spans.values(), strict=True) if not span.is_empty],
    )


async def set_rule_switch(connection: Connection, switch: RuleSwitch) -> None:
    """Changes a rule for everybody."""
    config = orjson.dumps({"cooldown_ms": switch.cooldown_ms}).decode()
    await connection.execute(
        "INSERT INTO alert_rules (rule_type, enabled, config) VALUES (%s, %s, %s) "
        "ON CONFLICT (rule_type) DO UPDATE SET enabled = excluded.enabled, "
        "config = excluded.config",
        (switch.rule, switch.enabled, config),
    )


async def set_user_switch(connection: Connection, user: str, switch: RuleSwitch) -> None:
    """Changes a rule for one user."""
    await connection.execute(
        "INSERT INTO user_rules (user_id, rule_type, enabled, cooldown_ms) "
        "VALUES (%s, %s, %s, %s) ON CONFLICT (user_id, rule_type) "
        "DO UPDATE SET enabled = excluded.enabled, cooldown_ms = excluded.cooldown_ms",
        (user, switch.rule, switch.enabled, switch.cooldown_ms),
    )


async def set_settings(connection: Connection, user: str, settings: Settings, now: int) -> None:
    """Keeps what a user has chosen."""
    await connection.execute(
        "INSERT INTO user_settings "
        "(user_id, selected_alerts, webhook_url, notification_enabled, updated_at) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (user_id) DO UPDATE SET "
        "selected_alerts = excluded.selected_alerts, webhook_url = excluded.webhook_url, "
        "notification_enabled = excluded.notification_enabled, updated_at = excluded.updated_at",
        (
            user,
            list(settings.selected_alerts),
            settings.webhook_url,
            settings.notification_enabled,
            Ms(now),
        ),
    )


async def record_audit(connection: Connection, exchange: str, rows: Iterable[AuditRow]) -> None:
    """Keeps what an hour held for when its candles are gone; the first record stands."""
    await connection.cursor().executemany(
        "INSERT INTO audit (exchange, symbol, time, expected, held, absent, holes) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (exchange, time, symbol) DO NOTHING",
        [timed(audit_row(exchange, row), *_AUDIT_TIMES) for row in rows],
    )


def _must_exist(rows: int, delivery: Delivery) -> None:
    if rows == 0:
        raise StoreError(
            f"delivery {delivery.id} of alert {delivery.alert_id} to {delivery.channel} is not in "
            "the outbox: it was pruned, or another store gave it out"
        )
