"""What a piece brought, sorted into what is stored and what is doubted. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from screener.history.checks.values import as_numbers, impossible_rows
from screener.history.precedence import VALUES
from screener.history.times import MINUTE_MS, iso

if TYPE_CHECKING:
    import polars as pl

    from screener.history.plan import Piece

__all__ = ["Got", "clean", "sort_out", "tell_refused"]


@dataclass(frozen=True, slots=True)
class Got:
    """What a piece brought.

    Attributes:
        piece: What was asked for.
        rows: What is stored, with its source; `None` if there was no answer or no file.
        spare: Rows of minutes that the piece tells more than once, and not alike: REST decides,
            and where it has none the last of them is kept.
        misplaced: Rows that were left out: not at a minute, or outside the piece.
        refused: Rows that cannot be and were left out, each with `kind, field, value`; `None` where
            nobody looked.
        unanswered: Whether REST knows no such symbol, or serves it not.
        unusable: Whether there is a file, and it is not as it should be.
    """

    piece: Piece
    rows: pl.DataFrame | None = None
    spare: pl.DataFrame | None = None
    misplaced: int = 0
    refused: pl.DataFrame | None = None
    unanswered: bool = False
    unusable: bool = False


def clean(piece: Piece, frame: pl.DataFrame, *, now: int | None = None) -> Got:
    """The rows of a piece that lie in it, those of one minute that differ set aside.

    Args:
        piece: What was asked for.
        frame: The rows as they came.
        now: The time, ms, where rows that cannot be are to be left out; without it they stay.
    """
    import polars as pl

    source = "rest" if piece.kind == "rest" else "archive"
    frame = frame.with_columns(source=pl.lit(source))
    time = pl.col("open_time")
    inside = time.is_between(piece.start, piece.end, closed="left") & (time % MINUTE_MS == 0)
    rows = frame.filter(inside)
    misplaced = frame.height - rows.height
    refused = None
    if now is not None:
        rows, refused = sort_out(rows, now)
    times = rows["open_time"]
    if len(times) < 2 or bool((times.diff().slice(1) > 0).all()):
        return Got(piece, rows, misplaced=misplaced, refused=refused)
    versions = rows.unique(["open_time", *VALUES]).group_by("open_time").len()
    doubted = versions.filter(pl.col("len") > 1)
    if doubted.is_empty():
        return Got(piece, rows, misplaced=misplaced, refused=refused)
    spare = rows.join(doubted, on="open_time", how="semi", maintain_order="left")
    rows = rows.join(doubted, on="open_time", how="anti", maintain_order="left")
    return Got(piece, rows, spare, misplaced, refused)


def sort_out(frame: pl.DataFrame, now: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that can be, and those that cannot, each with `kind, field, value`.

    Args:
        frame: Candles.
        now: The time, ms.
    """
    refused = impossible_rows(as_numbers(frame).with_row_index("row"), now=now)
    if refused.is_empty():
        return frame, refused.drop("row")
    numbered = frame.with_row_index("row")
    kept = numbered.join(refused, on="row", how="anti", maintain_order="left")
    return kept.drop("row"), refused.drop("row")


def tell_refused(refused: pl.DataFrame) -> str:
    """What was left out of what a source told, for a note."""
    time, kind, field, value = refused.select("open_time", "kind", "field", "value").row(0)
    count = refused.height
    first = f"{iso(time)}, {field} {value:g} ({kind})"
    if count == 1:
        return f"a row that cannot be was left out: {first}"
    return f"{count:,} rows that cannot be were left out, the first of them {first}"
