"""What exchangeInfo lists no more and the archive still has: its folders tell."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from screener.errors import DataError
from screener.history.layout import archive_folder, is_symbol, month_of_file
from screener.history.times import month_end, month_start

__all__ = ["Folders", "Forgotten", "forgotten"]


class Folders(Protocol):
    """Who tells what lies in the archive."""

    async def archive_names(self, prefix: str) -> list[str]:
        """What lies in a folder; folders end with a slash."""
        ...


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Symbols that the archive alone knows.

    Attributes:
        spans: For each the months it has files of, as [start, end) ms.
        remarks: What was left out, in sentences.
    """

    spans: Mapping[str, tuple[int, int]]
    remarks: tuple[str, ...] = ()


async def forgotten(source: Folders, known: Collection[str], quote: str) -> Forgotten:
    """The symbols that have a folder in the archive and are not known otherwise.

    The archive does not say what a contract is quoted in: its name has to end with the asset.
    Where no listing can be had there are none, and a remark says so.

    Args:
        source: Who is asked.
        known: The symbols that exchangeInfo lists; they are left out.
        quote: Only those quoted in this asset.
    """
    try:
        names = await source.archive_names(archive_folder())
        folders = [name.removesuffix("/") for name in names if name.endswith("/")]
        new = [symbol for symbol in folders if symbol not in known]
        symbols = [symbol for symbol in new if is_symbol(symbol) and _is_quoted(symbol, quote)]
        spans = await _spans(source, symbols)
    except DataError as error:
        told = f"the archive's listing cannot be had: {error.reason}; only what exchangeInfo lists"
        return Forgotten({}, (f"{told} is fetched",))
    odd = sum(not is_symbol(symbol) for symbol in new)
    remark = f"folders of the archive whose names are no symbols were left out: {odd:,}"
    return Forgotten(spans, (remark,) if odd else ())


def _is_quoted(symbol: str, quote: str) -> bool:
    return symbol.endswith(quote) and symbol != quote


async def _spans(source: Folders, symbols: list[str]) -> dict[str, tuple[int, int]]:
    try:
        async with asyncio.TaskGroup() as tasks:
            jobs = {each: tasks.create_task(_span(source, each)) for each in symbols}
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    found = {symbol: job.result() for symbol, job in jobs.items()}
    return {symbol: span for symbol, span in found.items() if span is not None}


async def _span(source: Folders, symbol: str) -> tuple[int, int] | None:
    """From the first to the last month of which there is a file; `None` where there is none."""
    names = await source.archive_names(archive_folder(symbol))
    months = [month for name in names if (month := month_of_file(symbol, name)) is not None]
    return (month_start(min(months)), month_end(max(months))) if months else None
