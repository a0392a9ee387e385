"""The store: candles, alerts and deliveries, durable when a write returns.

`port` says what the roles ask for. `sqlite` is the store of one machine, `postgres` that of many;
what both share stands here: `schema` the tables and their steps, `rows` and `audit` arithmetic,
`items` what is written, `frames` what is read by
the column, `kept` how much stays, `group` how writes of many tasks become one.
"""
