"""Minutes that a command looks at: of files, the local store, or the daemons' database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from screener.cli.history import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

__all__ = ["DatabaseOption", "HeldMinutes", "Minutes", "kept_minutes"]

DatabaseOption = Annotated[
    Path | None,
    typer.Option(
        "--database",
        help="Take minutes of screenerd's database, not of the store.",
        metavar="DATABASE",
        show_default=False,
    ),
]


class Minutes(Protocol):
    """Minutes of some symbols, a frame at a time."""

    symbols: list[str]

    def newest(self) -> int | None:
        """The open of the newest minute of all, ms."""

    def frames(self, start: int | None, end: int | None) -> Iterator[pl.DataFrame]:
        """[start, end) and what is needed before it."""


def kept_minutes(store: Path | None, database: Path | None, names: list[str] | None) -> Minutes:
    """Those of the daemons' database, if one is named, else of the local store."""
    from screener.preview.sources import DatabaseMinutes, StoredMinutes

    if database is not None:
        return DatabaseMinutes(database, names)
    return StoredMinutes(open_store(store), names)


class HeldMinutes:
    """Minutes in memory, of some symbols or all, as the store's are taken."""

    def __init__(self, frame: pl.DataFrame, names: list[str] | None) -> None:
        """Keeps the rows of these symbols; a name that is not among them is an error."""
        import polars as pl

        from screener.preview.sources import among

        if names is not None:
            known = sorted(frame["symbol"].unique())
            frame = frame.filter(pl.col("symbol").is_in(among(known, names)))
        self._frame = frame
        self.symbols = frame["symbol"].unique().to_list()

    def newest(self) -> int | None:
        """The open of the newest minute of all, ms."""
        from screener.outcomes.frames import milliseconds

        newest: Any = milliseconds(self._frame, "open_time").max()
        return None if newest is None else int(newest)

    def frames(self, start: int | None, end: int | None) -> Iterator[pl.DataFrame]:
        """All of them in one frame: the preview takes the range."""
        del start, end
        yield self._frame
