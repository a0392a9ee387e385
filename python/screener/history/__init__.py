"""History you can trust: fetched, checked, repaired, kept.

`screener[history]` brings what fetching needs; reading the store needs only polars.

The way of a minute: `choose` (which symbols; `forgotten` and `folders`: those that the archive
alone knows) -> `plan` (what is wanted and not held -> pieces) ->
`http` (bytes, within the exchange's weight budget) -> `archive` or `rest` (bytes -> rows) ->
`precedence` (which version of a minute is kept) -> `store` (Parquet). `fetch` runs it, `session`
begins it. `checks` says what is wrong (`kinds`, `report`, `page`), `repair` mends it (`quarantine`,
`absent`, `journal`), `database` and `export` take it elsewhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from screener.history.checks import check
    from screener.history.database import Loaded, database_frames, load, read_database
    from screener.history.export import Exported, export_archive, export_parquet
    from screener.history.fetch import Fetched
    from screener.history.journal import undo
    from screener.history.precedence import Merged
    from screener.history.repair import Repaired, repair_minutes
    from screener.history.report import Finding, HistoryReport
    from screener.history.session import fetch_minutes
    from screener.history.store import Store, scan
    from screener.history.stored import check_stored

__all__ = [
    "Exported",
    "Fetched",
    "Finding",
    "HistoryReport",
    "Loaded",
    "Merged",
    "Repaired",
    "Store",
    "check",
    "check_stored",
    "database_frames",
    "export_archive",
    "export_parquet",
    "fetch_minutes",
    "load",
    "read_database",
    "repair_minutes",
    "scan",
    "undo",
]

# Where each name is: a command that only needs times is not to wait for aiohttp's neighbours.
_HOMES = {
    "Exported": "screener.history.export",
    "Fetched": "screener.history.fetch",
    "Finding": "screener.history.report",
    "HistoryReport": "screener.history.report",
    "Loaded": "screener.history.database",
    "Merged": "screener.history.precedence",
    "Repaired": "screener.history.repair",
    "Store": "screener.history.store",
    "check": "screener.history.checks",
    "check_stored": "screener.history.stored",
    "database_frames": "screener.history.database",
    "export_archive": "screener.history.export",
    "export_parquet": "screener.history.export",
    "fetch_minutes": "screener.history.session",
    "load": "screener.history.database",
    "read_database": "screener.history.database",
    "repair_minutes": "screener.history.repair",
    "scan": "screener.history.store",
    "undo": "screener.history.journal",
}


def __getattr__(name: str) -> object:
    """Imports a name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
