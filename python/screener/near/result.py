"""The moments rules came nearest without firing, as a frame and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from screener.history.times import iso
from screener.quality import utc
from screener.text import aligned

if TYPE_CHECKING:
    import polars as pl

__all__ = ["NearMisses"]

_WITH: Final = "would have fired with"
_HEAD: Final = ("time (UTC)", "symbol", "rule", "short by", "clauses", _WITH)


@dataclass(frozen=True, slots=True, repr=False)
class NearMisses:
    """Where rules came nearest without firing; print it. Times are ms, UTC.

    Attributes:
        frame: A row a moment, nearest first: symbol, rule, time (close of the minute), distance
            (the largest shortfall of a failing clause, as a share of the larger of its two
            values), failing (clauses that fail), clause (the worst of them), left, right (its
            values; null for what is no comparison), told (what it would have taken; empty where
            that does not follow from the clauses).
    """

    frame: pl.DataFrame

    def __len__(self) -> int:
        """How many moments there are."""
        return self.frame.height

    def __repr__(self) -> str:
        """The table."""
        return str(self)

    def __str__(self) -> str:
        """A line a moment."""
        if self.frame.is_empty():
            return "No rule could be judged, or none came near without firing."
        rows = [
            (
                utc(row["time"]),
                row["symbol"],
                row["rule"],
                f"{row['distance']:.1%}",
                str(row["failing"]),
                row["told"].removeprefix(_WITH).lstrip() or f"? ({row['clause']} fails)",
            )
            for row in self.frame.iter_rows(named=True)
        ]
        return "\n".join(aligned(_HEAD, rows, right=("short by", "clauses")))

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as JSON knows them."""
        return [{**row, "time": iso(row["time"])} for row in self.frame.iter_rows(named=True)]
