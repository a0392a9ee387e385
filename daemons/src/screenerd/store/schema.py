"""The tables, as numbered steps that every store takes once each and in order.

What a step says is the same for all; each store writes it in its own SQL. A step is never changed
once it has been released; what comes later is a new step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from screenerd.store.port import StoreError


class Type(Enum):
    """What a column holds."""

    TEXT = "text"
    WHOLE = "a whole number"
    REAL = "a double"
    TIME = "an instant, to the ms"
    FLAG = "yes or no"
    JSON = "a JSON value"
    TEXTS = "a list of texts"
    BYTES = "bytes"
    NUMBER = "the row's own number, which rises; the key"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name.
        type: what it holds.
        optional: whether a row may be without.
        default: what a row has that does not say, as a JSON value; `None` if it must say.
        among: the only values it may have, where they are few.
    """

    name: str
    type: Type
    optional: bool = False
    default: str | int | bool | None = None
    among: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be made.

    Attributes:
        name: its name.
        columns: its columns.
        key: the columns of its key, where that is not a number of its own.
        unique: columns that together are there once.
        by_time: the column by which old rows are found and dropped a day at a time, where rows
            come by the minute.
        followed: whether rows are read in the order they were stored, and the key does not tell it.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()
    by_time: str | None = None
    followed: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """An index to be made; `where` says which rows it has, as SQL that every store knows."""

    name: str
    table: str
    columns: tuple[str, ...]
    where: str | None = None


@dataclass(frozen=True, slots=True)
class AddColumn:
    """A column to be added to a table."""

    table: str
    column: Column


@dataclass(frozen=True, slots=True)
class DropIndex:
    """An index that is not needed any more."""

    name: str


Change = Table | Index | AddColumn | DropIndex | str
"""One statement of a step; a text is SQL as it stands."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    statements: tuple[Change, ...]


def _texts(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, Type.TEXT) for name in names)


def _reals(*names: str, optional: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, Type.REAL, optional) for name in names)


def _time(name: str = "time", *, optional: bool = False) -> Column:
    return Column(name, Type.TIME, optional)


_SYMBOL = _texts("exchange", "symbol")
_VALUES = (
    *_reals("open", "high", "low", "close", "volume", "quote_volume"),
    Column("trades", Type.WHOLE, optional=True),
    *_reals("taker_buy_volume", "taker_buy_quote_volume", optional=True),
    Column("source", Type.TEXT, among=("synthetic", "stream", "rest", "archive")),
    Column("revision", Type.WHOLE),
    _time("event_time", optional=True),
    _time("received_at"),
)
_NUMBER = Column("id", Type.NUMBER)

_CANDLES = Migration(
    1,
    "candles",
    (
        Table(
            "candles_1m",
            (*_SYMBOL, _time(), *_VALUES),
            key=("exchange", "symbol", "time"),
            by_time="time",
        ),
        Table("candle_journal", (_NUMBER, *_SYMBOL, _time(), *_VALUES), by_time="received_at"),
        Index("candle_journal_received", "candle_journal", ("exchange", "received_at")),
        Table(
            "bars",
            (*_texts("exchange", "timeframe", "symbol"), _time(), *_reals("close")),
            key=("exchange", "timeframe", "symbol", "time"),
        ),
        Table(
            "metrics_calculated",
            (
                *_SYMBOL,
                _time(),
                *_texts("timeframe"),
                *_reals("open", "high", "low", "close", "volume", "quote_volume", optional=True),
                *_reals("change_pct", "vwap", "vcp", "volume_ratio", optional=True),
                *_reals("rsi_14", "macd", "macd_signal", optional=True),
                *_reals("bb_upper", "bb_middle", "bb_lower", optional=True),
                *_reals("fib_r3", "fib_r2", "fib_r1", "fib_pivot", optional=True),
                *_reals("fib_s1", "fib_s2", "fib_s3", optional=True),
            ),
            key=("exchange", "symbol", "time", "timeframe"),
            by_time="time",
        ),
    ),
)

_ALERTS = Migration(
    2,
    "alerts and their deliveries",
    (
        Table(
            "alert_history",
            (
                *_texts("id"),
                _time("triggered_at"),
                *_texts("exchange", "symbol", "alert_type", "timeframe"),
                *_reals("price"),
                *_reals("volume", "change_pct", optional=True),
                Column("state", Type.TEXT, among=("confirmed", "provisional", "withdrawn")),
                *_texts("rule_version"),
                Column("metadata", Type.JSON),
                Column("webhook_sent", Type.FLAG, default=False),
                _time("webhook_sent_at", optional=True),
            ),
            key=("id",),
            followed=True,
        ),
        Index("alert_history_triggered", "alert_history", ("triggered_at", "symbol", "alert_type")),
        Table(
            "outbox",
            (
                _NUMBER,
                *_texts("alert_id", "channel"),
                Column("state", Type.TEXT, default="pending", among=("pending", "sent", "dead")),
                Column("attempts", Type.WHOLE, default=0),
                _time("next_try"),
                Column("last_error", Type.TEXT, optional=True),
                _time("created_at"),
                _time("sent_at", optional=True),
            ),
            unique=("alert_id", "channel"),
        ),
        Index("outbox_due", "outbox", ("next_try", "id"), "state = 'pending'"),
        Index("outbox_finished", "outbox", ("created_at",), "state <> 'pending'"),
        Table(
            "alert_rules",
            (
                *_texts("rule_type"),
                Column("enabled", Type.FLAG, default=True),
                Column("config", Type.JSON, default="{}"),
                Column("description", Type.TEXT, default=""),
            ),
            key=("rule_type",),
        ),
        Table("first_seen", (*_texts("name"), _time()), key=("name",)),
        Table(
            "user_settings",
            (
                *_texts("user_id"),
                Column("selected_alerts", Type.TEXTS, default="[]"),
                Column("webhook_url", Type.TEXT, optional=True),
                Column("notification_enabled", Type.FLAG, default=True),
                _time("updated_at", optional=True),
            ),
            key=("user_id",),
        ),
    ),
)

_AUDIT = Migration(
    3,
    "tracking, audit and dead letters",
    (
        Table(
            "tracking",
            (*_SYMBOL, _time("since"), _time("until", optional=True)),
            key=("exchange", "symbol", "since"),
        ),
        Table(
            "audit",
            (
                *_SYMBOL,
                _time(),
                *(Column(name, Type.WHOLE) for name in ("expected", "held", "absent")),
                Column("holes", Type.JSON),
            ),
            key=("exchange", "time", "symbol"),
        ),
        Table(
            "dead_letters",
            (
                _NUMBER,
                *_texts("exchange"),
                _time("received_at"),
                *_texts("reason"),
                Column("frame", Type.BYTES),
            ),
        ),
        Index("dead_letters_received", "dead_letters", ("received_at",)),
    ),
)

_USERS = Migration(
    4,
    "rules as users have them",
    (
        Table(
            "user_rules",
            (
                *_texts("user_id", "rule_type"),
                Column("enabled", Type.FLAG),
                Column("cooldown_ms", Type.WHOLE, optional=True),
            ),
            key=("user_id", "rule_type"),
        ),
        Index("alert_history_symbol", "alert_history", ("symbol", "triggered_at")),
    ),
)

_SHADOW = Migration(
    5,
    "alerts that are told to nobody",
    (
        AddColumn("alert_history", Column("shadow", Type.FLAG, default=False)),
        # Alerts are counted without a look at the table, where their evidence is.
        DropIndex("alert_history_triggered"),
        DropIndex("alert_history_symbol"),
        Index(
            "alert_history_triggered",
            "alert_history",
            ("triggered_at", "symbol", "alert_type", "shadow"),
        ),
        Index(
            "alert_history_symbol",
            "alert_history",
            ("symbol", "triggered_at", "alert_type", "shadow"),
        ),
    ),
)

_SCORES = Migration(
    6,
    "what came after alerts",
    (
        Table(
            "alert_scores",
            (
                *_texts("alert_id", "exchange", "symbol", "alert_type", "rule_version"),
                Column("shadow", Type.FLAG),
                _time("triggered_at"),
                *_reals("return_5m", "return_15m", "return_1h", "return_4h", optional=True),
                *_reals("mfe_5m", "mfe_15m", "mfe_1h", "mfe_4h", optional=True),
                *_reals("mae_5m", "mae_15m", "mae_1h", "mae_4h", optional=True),
            ),
            key=("alert_id",),
        ),
        Index("alert_scores_triggered", "alert_scores", ("triggered_at",)),
    ),
)

_LISTED = Migration(
    7,
    "the first minutes that are judged of symbols that were listed later",
    (AddColumn("tracking", _time("judged_from", optional=True)),),
)

MIGRATIONS: Final[tuple[Migration, ...]] = (
    _CANDLES,
    _ALERTS,
    _AUDIT,
    _USERS,
    _SHADOW,
    _SCORES,
    _LISTED,
)
"""Every step, in order."""

TABLES: Final = tuple(
    change for step in MIGRATIONS for change in step.statements if isinstance(change, Table)
)
"""The tables as they are first made."""


def missing(applied: set[int], migrations: Sequence[Migration]) -> list[Migration]:
    """The steps that are still to be taken.

    Raises:
        StoreError: steps have been taken that this program does not know.
    """
    unknown = applied - {step.number for step in migrations}
    if unknown:
        newest = max((step.number for step in migrations), default=0)
        raise StoreError(
            f"the store's schema is at step {max(unknown)}, this program knows steps up to "
            f"{newest}: run the version of screenerd that wrote it, or a newer one"
        )
    return [step for step in migrations if step.number not in applied]


def listed(names: Iterable[str]) -> str:
    """Names as SQL lists them."""
    return ", ".join(names)
