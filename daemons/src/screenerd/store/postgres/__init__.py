"""The store of many machines, in PostgreSQL.

`store` is its face, and `reader` what of it needs no writer. `migrations`, `candles`, `writes`,
`queries`, `scorecard` and `retention` are the SQL; `divided` says how the tables that grow by the
minute are divided by day, and `ordering` puts days that are over in the order in which they are
read; `connect` says how the server is reached and `values` how rows travel; `writer` and `readers`
own the connections.
"""

from screenerd.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
