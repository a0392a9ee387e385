"""Rows that cannot be: found in a store or in what is added to it, and kept apart."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from screener.history import journal
from screener.history.atomic import file_error
from screener.history.checks import check
from screener.history.checks.values import as_numbers, impossible_rows
from screener.history.precedence import COLUMNS
from screener.history.stored import minutes_of
from screener.history.times import as_ms, month_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import polars as pl

    from screener.history.store import Store
    from screener.history.times import Moment

__all__ = ["QUARANTINE", "Added", "impossible_stored", "take_out"]

QUARANTINE: Final = "quarantine.parquet.kept"
"""The file of an entry; who reads `**/*.parquet` of the store does not find it."""


class Added:
    """Rows that are to be added to a store.

    Attributes:
        rows: Those that can be; None where nothing is added.
        refused: Those that cannot be, each with `kind, field, value`.
        disputed: Minutes that the rows tell differently: symbol, first, how many.
        names: The symbols, in the order of the rows.
        notes: What was left out as it is of other symbols, a line each.
    """

    def __init__(
        self,
        rows: pl.DataFrame | None,
        now: int,
        symbols: Collection[str] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> None:
        """Sorts the rows of some symbols that open in [start, end); `now` is the time, ms."""
        self.rows: pl.DataFrame | None = None
        self.refused: pl.DataFrame | None = None
        self.disputed: list[tuple[str, int, int]] = []
        self.names: list[str] = []
        self.notes: list[str] = []
        if rows is None:
            return
        if symbols is not None:
            rows = self._of(rows, symbols)
        self.names = rows["symbol"].unique(maintain_order=True).to_list()
        looked_at = as_numbers(rows)
        inside = _inside(looked_at["open_time"], start, end)
        numbered = rows.filter(inside).with_row_index("row")
        looked_at = looked_at.filter(inside).with_row_index("row")
        refused = impossible_rows(looked_at, now=now)
        self.refused = numbered.join(
            refused.select("row", "kind", "field", "value"), on="row", maintain_order="left"
        ).drop("row")
        self.rows = numbered.join(refused, on="row", how="anti", maintain_order="left").drop("row")
        for entry in check(self.rows).symbols:
            for kind in ("duplicate_differing", "source_difference"):
                if kind in entry.runs:
                    runs = entry.runs[kind].iter_rows()
                    self.disputed += [(entry.symbol, first, count) for first, count in runs]

    def _of(self, rows: pl.DataFrame, symbols: Collection[str]) -> pl.DataFrame:
        """The rows of these symbols; the others are noted."""
        asked = rows["symbol"].is_in(list(symbols)).fill_null(value=False)
        others = rows.filter(~asked)["symbol"].value_counts(name="rows").sort("symbol")
        self.notes = [
            f"{name}: {count:,} rows were left out, as only other symbols are repaired"
            for name, count in others.iter_rows()
        ]
        return rows.filter(asked)


def _inside(times: pl.Series, start: Moment | None, end: Moment | None) -> pl.Series:
    """Which times lie in [start, end); one that is missing may, and is looked at."""
    import polars as pl

    inside = pl.repeat(value=True, n=len(times), dtype=pl.Boolean, eager=True)
    if start is not None:
        inside &= times >= as_ms(start)
    if end is not None:
        inside &= times < as_ms(end)
    return inside.fill_null(value=True)


def impossible_stored(
    store: Store, symbol: str, start: Moment | None, end: Moment | None, now: int
) -> pl.DataFrame | None:
    """The stored rows that cannot be, each with its reason."""
    held = minutes_of(store, symbol, start, end).with_row_index("row")
    looked_at = as_numbers(held).with_columns(held["row"])
    broken = impossible_rows(looked_at, now=now)
    if broken.is_empty():
        return None
    return held.join(
        broken.select("row", "kind", "field", "value"), on="row", maintain_order="left"
    ).drop("row")


def take_out(
    store: Store,
    entry: journal.Entry,
    refused: pl.DataFrame | None,
    found: Sequence[pl.DataFrame | None],
) -> int:
    """Keeps rows that cannot be in the journal, then takes them out of their months.

    Args:
        store: Where they are.
        entry: The repair's entry.
        refused: Rows that were to be added and cannot be.
        found: Rows of each symbol, as `impossible_stored` gives them.

    Returns:
        How many rows it were.

    Raises:
        DataError: The quarantine or a month cannot be written.
    """
    import polars as pl

    parts = [part for part in (refused, *found) if part is not None and part.height]
    if not parts:
        return 0
    path = journal.folder_of(store, entry.id) / QUARANTINE
    quarantine = pl.concat(parts, how="diagonal_relaxed")
    try:
        quarantine.write_parquet(path)
    except OSError as error:
        raise file_error(error, path, "the quarantine cannot be written") from error
    for part in found:
        if part is not None:
            name = part["symbol"][0]
            for month in dict.fromkeys(map(month_of, part["open_time"].to_list())):
                store.change(name, month, partial(_less, taken=part))
    return quarantine.height


def _less(held: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """The minutes without those that are taken; one that was mended meanwhile stays."""
    values = [name for name in COLUMNS if name != "symbol"]
    return held.join(
        taken.select(values), on=values, how="anti", nulls_equal=True, maintain_order="left"
    )
