"""History you can trust: fetched, checked, repaired, kept.

`screener[history]` brings what fetching needs; reading the store needs only polars.

The way of a minute: `choose` (which symbols) -> `plan` (what is wanted and not held -> pieces) ->
`http` (bytes, within the exchange's weight budget) -> `archive` or `rest` (bytes -> rows) ->
`precedence` (which version of a minute is kept) -> `store` (Parquet). `fetch` runs it, `session`
begins it.
"""

from screener.history.fetch import Fetched
from screener.history.precedence import Merged
from screener.history.session import fetch_minutes
from screener.history.store import Store, scan

__all__ = ["Fetched", "Merged", "Store", "fetch_minutes", "scan"]
