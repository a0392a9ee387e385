"""Candles into the table: copied beside it, compared with what is held, and the better ones taken.

The rules are those of `screenerd.store.rows`, on all rows of a batch at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import polars as pl

from screener.history.precedence import RANKS, VALUES
from screenerd.model import Candle, CandleBatch
from screenerd.store.items import Counts
from screenerd.store.postgres.connect import Connection
from screenerd.store.postgres.copy import copy_frame
from screenerd.store.postgres.divided import day_of, make_days
from screenerd.store.postgres.values import instant
from screenerd.store.rows import CANDLE_COLUMNS, OPTIONAL_VALUES, candle_row

_COLUMNS: Final = CANDLE_COLUMNS.split(", ")
_WHOLE: Final = ("time", "trades", "revision", "event_time", "received_at")
_SCHEMA: Final = {
    "place": pl.Int64,
    **dict.fromkeys(_COLUMNS, pl.Float64),
    **dict.fromkeys(_WHOLE, pl.Int64),
    **dict.fromkeys(("symbol", "source"), pl.String),
}
_TIMES: Final = ("time", "event_time", "received_at")

_STAGE: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS staged_candles ON COMMIT DELETE ROWS AS "  # noqa: S608
    f"SELECT 0::bigint AS place, {CANDLE_COLUMNS} FROM candles_1m WITH NO DATA"
)

_AGREES: Final = " AND ".join(
    f"(s.{name} IS NULL OR s.{name} IS NOT DISTINCT FROM {{0}}.{name})" for name in VALUES
)
_RANK: Final = "array_position(ARRAY[{}], {{}}.source)".format(
    ", ".join(f"'{source}'" for source in sorted(RANKS, key=RANKS.__getitem__))
)
_BETTER: Final = f"{_RANK.format('s')} - {_RANK.format('h')}"
# The very same arrival, told twice, must not undo what came after it.
_CAME_BEFORE: Final = (
    "s.received_at <> 'epoch' AND EXISTS (SELECT 1 FROM candle_journal AS j "  # noqa: S608
    "WHERE j.exchange = %(exchange)s AND j.received_at = s.received_at AND j.symbol = s.symbol "
    f"AND j.time = s.time AND j.source = s.source AND {_AGREES.format('j')})"
)
_CHANGE: Final = (
    f"CASE WHEN h.source IS NULL THEN 'new' "
    f"WHEN {_AGREES.format('h')} THEN CASE WHEN {_BETTER} > 0 THEN 'improved' ELSE 'duplicate' END "
    f"WHEN {_BETTER} < 0 THEN 'outranked' "
    f"WHEN {_CAME_BEFORE} THEN 'duplicate' ELSE 'revised' END"
)


def _taken(column: str) -> str:
    """What of a column is stored: what is held keeps what the better version does not know."""
    if column in OPTIONAL_VALUES:
        return f"coalesce(s.{column}, h.{column})"
    if column == "revision":
        return (
            "CASE WHEN h.source IS NULL THEN 0 "
            f"ELSE h.revision + (h.source <> 'synthetic' AND NOT ({_AGREES.format('h')}))::int END"
        )
    if column in ("event_time", "received_at"):
        kept = f"h.source IS NOT NULL AND {_AGREES.format('h')}"
        return f"CASE WHEN {kept} THEN h.{column} ELSE s.{column} END"
    return f"s.{column}"


_JUDGED: Final = (
    f"SELECT s.place, {_CHANGE} AS change, "  # noqa: S608
    + ", ".join(f"{_taken(name)} AS {name}" for name in _COLUMNS)
    # Looked up by its key, a row at a time: nobody has counted what is staged, and the planner
    # might read whole days to join it.
    + " FROM staged_candles AS s LEFT JOIN LATERAL (SELECT * FROM candles_1m AS c "
    "WHERE c.exchange = %(exchange)s AND c.symbol = s.symbol AND c.time = s.time OFFSET 0) AS h "
    "ON true"
)
_MERGE: Final = (
    f"WITH judged AS MATERIALIZED ({_JUDGED}), taken AS ("  # noqa: S608
    f"INSERT INTO candles_1m (exchange, {CANDLE_COLUMNS}) "
    f"SELECT %(exchange)s, {CANDLE_COLUMNS} FROM judged "
    "WHERE change IN ('new', 'improved', 'revised') "
    "ON CONFLICT (exchange, symbol, time) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("symbol", "time"))
    + f"), told AS (INSERT INTO candle_journal (exchange, {CANDLE_COLUMNS}) "  # noqa: S608
    f"SELECT %(exchange)s, {CANDLE_COLUMNS} FROM judged WHERE change IN ('new', 'revised') "
    "ORDER BY place) SELECT place, change FROM judged"
)


async def write_candles(
    connection: Connection, batches: Sequence[CandleBatch], *, by_day: bool
) -> list[Counts]:
    """Stores the closed candles of batches, and journals the versions that were taken.

    Args:
        connection: one in a transaction.
        batches: of one exchange, in their order.
        by_day: whether days have to be made.

    Returns:
        What became of each batch.
    """
    counts = [Counts() for _ in batches]
    closed = [
        (candle, told)
        for batch, told in zip(batches, counts, strict=True)
        for candle in batch.candles
        if candle.closed
    ]
    if not closed:
        return counts
    if by_day:
        times = {day_of(candle.open_time) for candle, _ in closed}
        await make_days(connection, "candles_1m", times)
        arrivals = {day_of(candle.received_at) for candle, _ in closed}
        await make_days(connection, "candle_journal", arrivals)
    await connection.execute(_STAGE.encode())
    for versions in _one_a_minute(closed):
        changes = await _merge(connection, batches[0].exchange, [one for one, _ in versions])
        for place, change in changes:
            versions[place][1].add(Counts(**{change: 1}))
    return counts


def _one_a_minute(
    candles: Iterable[tuple[Candle, Counts]],
) -> Iterator[list[tuple[Candle, Counts]]]:
    """Candles in their order, in runs that have no minute twice: nearly always one."""
    run: list[tuple[Candle, Counts]] = []
    seen: set[tuple[str, int]] = set()
    for candle, counts in candles:
        key = (candle.symbol, candle.open_time)
        if key in seen:
            yield run
            run, seen = [], set()
        seen.add(key)
        run.append((candle, counts))
    yield run


async def _merge(
    connection: Connection, exchange: str, candles: list[Candle]
) -> list[tuple[int, str]]:
    """The places of candles, and what became of each."""
    await copy_frame(connection, "staged_candles", _frame(candles))
    found = await connection.execute(_MERGE.encode(), {"exchange": exchange})
    changes = await found.fetchall()
    await connection.execute("DELETE FROM staged_candles")
    return [(place, change) for place, change in changes]


def _frame(candles: list[Candle]) -> pl.DataFrame:
    rows = [(place, *candle_row(candle, 0)) for place, candle in enumerate(candles)]
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    return frame.with_columns(map(instant, _TIMES))
