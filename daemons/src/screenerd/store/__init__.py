"""The store: candles, alerts and deliveries, durable when a write returns.

`port` says what the roles ask for, `sqlite` is the store of one machine. `rows` and `audit` are
arithmetic; `migrations`, `writes`, `queries` and `retention` are the SQL; `connect` and `lock` say
how the file is opened; `writer` and `readers` own the threads that use it.
"""
