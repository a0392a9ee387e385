"""What is wrong with the last day that a store's file holds, as `screener check` sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from screener.history.checks import KINDS, HistoryReport, check_symbol, conclude
from screener.history.database import read_database
from screener.history.times import DAY_MS
from screenerd.model import MINUTE_MS

__all__ = ["is_sound", "last_day", "tell"]

_HOLES: Final = ("missing", "exchange_hole")


def last_day(path: Path, exchange: str, newest: Mapping[str, int], now: int) -> HistoryReport:
    """Looks at the day up to the newest minute, symbol by symbol; nothing is changed or locked.

    A symbol should have every minute between its first and its last of that day. Of a symbol that
    has none of it nothing is told.

    Args:
        path: the database, which may be in use.
        exchange: whose minutes.
        newest: the newest minute of every symbol, ms; of one at least.
        now: the time, ms: minutes that open later are wrong.

    Raises:
        DataError: the file cannot be read, or its newest minute is no time of 2009 to 2100.
    """
    end = max(newest.values()) + MINUTE_MS
    start = end - DAY_MS
    checked = [
        check_symbol(name, read_database(path, name, start, end, exchange=exchange), now=now)
        for name in sorted(newest)
        if newest[name] >= start
    ]
    return conclude(checked)


def is_sound(report: HistoryReport) -> bool:
    """Whether no row is impossible and no minute lacks; what is hard to believe may be true."""
    return not any(found.severity == "error" or found.kind in _HOLES for found in report.findings)


def tell(report: HistoryReport) -> str:
    """What is wrong by kind, the gravest first, and how often; notices are left out."""
    counts: Counter[str] = Counter()
    for found in report.findings:
        if found.severity != "notice":
            counts[found.kind] += found.count
    symbols = len(report.symbols)
    many = f"{symbols:,} symbol{'' if symbols == 1 else 's'}"
    of = f"its last day, {report.rows:,} minutes of {many}"
    if not counts:
        return f"nothing is wrong with {of}"
    kinds = ", ".join(f"{KINDS[kind].title} ({count:,})" for kind, count in counts.items())
    return f"in {of}: {kinds}"
