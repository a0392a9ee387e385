"""What a piece brought, sorted into what is stored and what is doubted. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from screener.history.precedence import VALUES
from screener.history.times import MINUTE_MS

if TYPE_CHECKING:
    import polars as pl

    from screener.history.plan import Piece

__all__ = ["Got", "clean"]


@dataclass(frozen=True, slots=True)
class Got:
    """What a piece brought.

    Attributes:
        piece: What was asked for.
        rows: What is stored, with its source; `None` if there was no answer or no file.
        spare: Rows of minutes that the piece tells more than once, and not alike: REST decides,
            and where it has none the last of them is kept.
        misplaced: Rows that were left out: not at a minute, or outside the piece.
        unanswered: Whether REST knows no such symbol, or serves it not.
    """

    piece: Piece
    rows: pl.DataFrame | None = None
    spare: pl.DataFrame | None = None
    misplaced: int = 0
    unanswered: bool = False


def clean(piece: Piece, frame: pl.DataFrame) -> Got:
    """The rows of a piece that lie in it, those of one minute that differ set aside.

    Args:
        piece: What was asked for.
        frame: The rows as they came.
    """
    import polars as pl

    source = "rest" if piece.kind == "rest" else "archive"
    frame = frame.with_columns(source=pl.lit(source))
    time = pl.col("open_time")
    inside = time.is_between(piece.start, piece.end, closed="left") & (time % MINUTE_MS == 0)
    rows = frame.filter(inside)
    misplaced = frame.height - rows.height
    times = rows["open_time"]
    if len(times) < 2 or bool((times.diff().slice(1) > 0).all()):
        return Got(piece, rows, misplaced=misplaced)
    versions = rows.unique(["open_time", *VALUES]).group_by("open_time").len()
    doubted = versions.filter(pl.col("len") > 1)
    if doubted.is_empty():
        return Got(piece, rows, misplaced=misplaced)
    spare = rows.join(doubted, on="open_time", how="semi", maintain_order="left")
    rows = rows.join(doubted, on="open_time", how="anti", maintain_order="left")
    return Got(piece, rows, spare, misplaced)
