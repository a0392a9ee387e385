"""A frame into a table: its bytes are made by columns, and sent as one COPY."""

from __future__ import annotations

import polars as pl

from screener.history.binary import END, HEADER, blocks
from screenerd.store.postgres.connect import Connection


async def copy_frame(
    connection: Connection, table: str, frame: pl.DataFrame, texts: dict[str, str] | None = None
) -> None:
    """Copies rows, in whatever order; instants are in the server's own count.

    Args:
        connection: one in a transaction.
        table: where they go.
        frame: columns of the table.
        texts: further columns that are the same in every row.
    """
    names = ", ".join((*(texts or {}), *frame.columns))
    statement = f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)"
    async with connection.cursor().copy(statement.encode()) as copy:
        await copy.write(HEADER + b"".join(blocks(frame, texts)) + END)
