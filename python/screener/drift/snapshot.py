"""What the daemons' database tells of a range, all of one moment; it may be in use."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from screener.errors import DataError
from screener.history.database import FRAME_ROWS, reading
from screener.history.precedence import VALUES
from screener.history.times import LATEST

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Iterator

__all__ = ["Raised", "Snapshot", "Switch", "opened"]

_CANDLES = (
    f"SELECT symbol, time, {', '.join(VALUES)}, source, received_at FROM candles_1m "  # noqa: S608
    "WHERE exchange = ? AND symbol = ? AND time >= ? AND time < ? ORDER BY time"
)
_JOURNAL = (
    f"SELECT symbol, time, {', '.join(VALUES)}, source, received_at, id "  # noqa: S608
    "FROM candle_journal WHERE exchange = ? AND received_at >= ? AND time >= ? AND time < ?"
)
_ALERTS = (
    "SELECT symbol, alert_type, triggered_at, price, volume, change_pct, rule_version, metadata "
    "FROM alert_history WHERE exchange = ? AND triggered_at > ? "
    "ORDER BY triggered_at, symbol, alert_type"
)
_ALERTS_BEFORE = (
    "SELECT symbol, alert_type, triggered_at, json_extract(metadata, '$.stamps.received') "
    "FROM alert_history WHERE exchange = ? AND triggered_at > ? AND triggered_at <= ? UNION "
    "SELECT symbol, alert_type, max(triggered_at), max(triggered_at) FROM alert_history "
    "WHERE exchange = ? AND triggered_at <= ? GROUP BY symbol, alert_type"
)
_IN_FORCE = "SELECT name, time FROM first_seen WHERE name = 'rules' OR name LIKE 'rule:%'"
_BARS = "SELECT timeframe, time, close FROM bars WHERE exchange = ? AND symbol = ? ORDER BY time"
_SWITCHES = "SELECT rule_type, enabled, json_extract(config, '$.cooldown_ms') FROM alert_rules"
_SYMBOLS = "SELECT DISTINCT symbol FROM {} WHERE exchange = ?"
_TABLES: Final = (
    "candle_journal", "alert_history", "bars", "alert_rules", "first_seen", "tracking",
)  # fmt: skip
_HAS_LISTED = "SELECT 1 FROM pragma_table_info('tracking') WHERE name = 'judged_from'"
_FOLLOWED = "SELECT symbol, judged_from, until FROM tracking WHERE exchange = ? ORDER BY since"
_MINUTE: Final = 60_000
_ROW: Final = {
    "symbol": pl.String,
    "open_time": pl.Int64,
    **dict.fromkeys(VALUES, pl.Float64),
    "source": pl.String,
    "received_at": pl.Int64,
}


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert as it is stored, or as a replay raises it."""

    symbol: str
    rule: str
    triggered_at: int
    version: str
    values: dict[str, float | None]
    """`price`, `quote_volume`, `change`, `vcp` and the evidence, by name."""
    decided_after: int = 0
    """Time from the arrival of its candle to its alert, ms."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What alerts are told apart by: the id is made of it."""
        return self.symbol, self.rule, self.triggered_at


@dataclass(frozen=True, slots=True)
class Switch:
    """What was changed of a rule for everybody."""

    enabled: bool
    cooldown: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Reads one exchange's rows of a database."""

    connection: sqlite3.Connection
    exchange: str

    def symbols(self) -> list[str]:
        """Those with minutes, arrivals or alerts, sorted."""
        names: set[str] = set()
        for table in ("candles_1m", "candle_journal", "alert_history"):
            rows = self.connection.execute(_SYMBOLS.format(table), (self.exchange,))
            names.update(name for (name,) in rows)
        return sorted(names)

    def newest(self) -> int | None:
        """When the newest version arrived, ms."""
        return self._one(
            "SELECT max(received_at) FROM candle_journal WHERE exchange = ?", self.exchange
        )

    def oldest(self, symbols: Iterable[str]) -> int | None:
        """The oldest minute that is kept of any of these, ms."""
        sql = "SELECT min(time) FROM candles_1m WHERE exchange = ? AND symbol = ?"
        found = (self._one(sql, self.exchange, symbol) for symbol in symbols)
        return min((time for time in found if time is not None), default=None)

    def judged_from(self) -> int:
        """The first minute that was judged at all, ms."""
        name = f"screen:{self.exchange}"
        return self._one("SELECT time FROM first_seen WHERE name = ?", name) or 0

    def followed(self) -> dict[str, list[tuple[int, int]]]:
        """The minutes of each symbol that were somebody's to judge, as [first, end) in ms.

        What had closed when a symbol was listed while others were followed is its history; what
        closed when it was not listed, nobody judged.
        """
        spans: dict[str, list[tuple[int, int]]] = {}
        for symbol, first, end in self.connection.execute(_FOLLOWED, (self.exchange,)):
            spans.setdefault(symbol, []).append((first or 0, LATEST if end is None else end))
        return spans

    def journal(self, start: int, end: int) -> pl.DataFrame:
        """Every version of the minutes that open in [start, end), in order of arrival."""
        # Nothing arrives before it opens; clocks may differ by a minute.
        asked = (self.exchange, start - _MINUTE, start, end)
        rows = self.connection.execute(_JOURNAL, asked)
        frames = [pl.DataFrame(schema=_ROW | {"id": pl.Int64})]
        while some := rows.fetchmany(FRAME_ROWS):
            frames.append(pl.DataFrame(some, schema=frames[0].schema, orient="row"))
        return pl.concat(frames).sort("id").drop("id")

    def candles(self, symbol: str, start: int, end: int) -> pl.DataFrame:
        """The minutes of a symbol that open in [start, end), as they are now."""
        rows = self.connection.execute(_CANDLES, (self.exchange, symbol, start, end)).fetchall()
        return pl.DataFrame(rows, schema=_ROW, orient="row")

    def bars(self, symbol: str) -> dict[str, pl.DataFrame]:
        """The closed bars of a symbol by their length, oldest first."""
        closes: dict[str, list[tuple[str, int, float]]] = {}
        for timeframe, time, close in self.connection.execute(_BARS, (self.exchange, symbol)):
            closes.setdefault(timeframe, []).append((symbol, time, close))
        schema = {"symbol": pl.String, "open_time": pl.Int64, "close": pl.Float64}
        return {
            name: pl.DataFrame(rows, schema=schema, orient="row") for name, rows in closes.items()
        }

    def alerts(self, after: int) -> list[Raised]:
        """The alerts raised after a moment, by time."""
        return [_raised(row) for row in self.connection.execute(_ALERTS, (self.exchange, after))]

    def alerts_before(self, after: int, until: int) -> pl.DataFrame:
        """The alerts in (after, until], and the newest before of each symbol and rule.

        They are what cooldowns count from; `known_at` is when what raised them arrived, ms.
        """
        asked = (self.exchange, after, until, self.exchange, after)
        rows = self.connection.execute(_ALERTS_BEFORE, asked).fetchall()
        schema = {
            "symbol": pl.String, "rule": pl.String, "triggered_at": pl.Int64, "known_at": pl.Int64,
        }  # fmt: skip
        return pl.DataFrame(rows, schema=schema, orient="row").sort("known_at")

    def in_force(self) -> dict[tuple[str, str], int]:
        """Since when rules are in force, by name and version, ms; those of the start are not in."""
        known = dict(self.connection.execute(_IN_FORCE))
        first = known.pop("rules", None)
        since: dict[tuple[str, str], int] = {}
        for told, time in known.items():
            _, _, told = told.partition(":")
            name, _, version = told.rpartition(":")
            if first is not None and time > first:
                since[name, version] = time
        return since

    def switches(self) -> dict[str, Switch]:
        """What is changed of the rules now, by rule."""
        rows = self.connection.execute(_SWITCHES)
        return {name: Switch(bool(enabled), cooldown) for name, enabled, cooldown in rows}

    def _one(self, sql: str, *parameters: str) -> int | None:
        row = self.connection.execute(sql, parameters).fetchone()
        return None if row is None or row[0] is None else int(row[0])


@contextmanager
def opened(path: str | os.PathLike[str], exchange: str) -> Iterator[Snapshot]:
    """One moment's state of a database. Who writes is not held up.

    Raises:
        DataError: The file is no database of `screenerd`, or it cannot be read.
    """
    with reading(path) as connection:
        connection.execute("BEGIN")
        held = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        lacking = [f"table {name}" for name in _TABLES if name not in held]
        if not (lacking or connection.execute(_HAS_LISTED).fetchone()):
            lacking = ["column judged_from of tracking"]
        if lacking:
            raise DataError(
                reason=f"it has no {lacking[0]}",
                path=path,
                remedy="start screenerd once with this database: it brings the tables up to date",
            )
        yield Snapshot(connection, exchange)


def _raised(row: tuple[Any, ...]) -> Raised:
    symbol, rule, at, price, volume, change, version, text = row
    metadata = json.loads(text)
    stamps = metadata["stamps"]
    values = {
        "price": price,
        "quote_volume": volume,
        "change": change,
        "vcp": metadata["vcp"],
        **metadata["evidence"],
    }
    return Raised(symbol, rule, at, version, values, stamps["decided"] - stamps["received"])
