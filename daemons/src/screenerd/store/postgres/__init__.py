"""The store of many machines, in PostgreSQL.

`store` is its face, and `reader` what of it needs no writer. `migrations`, `candles`, `writes`,
`queries`, `scorecard` and `retention` are the SQL; `days` and `timescale` are the two ways in which
the tables that grow by the minute are divided; `connect` says how the server is reached and
`values` how rows travel; `writer` and `readers` own the connections.
"""

from screenerd.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
