"""The store of one machine, in a SQLite file.

`store` is its face, and `reader` what of it needs no writer. `migrations`, `writes`, `queries`,
`scorecard` and `retention` are the SQL; `connect` and `lock` say how the file is opened; `writer`
and `readers` own the threads that use it; `soundness` tells what is wrong with what it holds.
"""

from screenerd.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
