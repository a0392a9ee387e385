"""How the server is reached: one connection that writes, others that only read."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from screenerd.store.port import StoreError
from screenerd.store.postgres.values import adapt

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

CONNECT_SECONDS: Final = 5
"""How long a connection may take to come about."""

LOCK_SECONDS: Final = 5
"""How long a statement waits for what another one holds."""

WORK_MEMORY: Final = "32MB"
"""From where on a reader's sort goes to disk at the server; a day of fifty symbols takes 11 MB."""

DURABLE: Final = "on"
"""What `synchronous_commit` is for the writer where the server's own would lose commits."""

_LOSING: Final = frozenset({"off"})
_OLDEST: Final = 140_000
_KEEPING_ALIVE: Final = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


class Address:
    """Where the database is; tells it without the password."""

    def __init__(self, url: str) -> None:
        """Reads a URL, `postgresql://user:password@host:port/database`, or libpq's key = value.

        Raises:
            ValueError: it is neither.
        """
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error:
            raise ValueError(
                "the store's url is not one of PostgreSQL: write "
                "postgresql://user:password@host:5432/database"
            ) from None
        self._parameters: dict[str, Any] = {
            **_KEEPING_ALIVE,
            "application_name": "screenerd",
            **{name: value for name, value in given.items() if value is not None},
        }

    def __str__(self) -> str:
        """The host and the database."""
        of = self._parameters
        host = of.get("host") or "localhost"
        return f"postgresql://{host}:{of.get('port', 5432)}/{of.get('dbname', of.get('user', ''))}"

    __repr__ = __str__

    @property
    def parameters(self) -> dict[str, Any]:
        """What the driver connects with; holds the password."""
        return dict(self._parameters)


async def connect_writer(address: Address) -> Connection:
    """A connection whose commits have reached the disk when they return.

    Raises:
        StoreError: the server would lose what it acknowledges, or is too old.
        psycopg.Error: it cannot be reached.
    """
    connection = await psycopg.AsyncConnection.connect(**address.parameters, autocommit=True)
    try:
        adapt(connection)
        await _refuse_loss(connection, address)
        await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        # A writer that has died half-way must not keep the others out.
        await connection.execute("SET idle_in_transaction_session_timeout = '30s'")
        await connection.execute("SET timezone = 'UTC'")
        await connection.execute("SET jit = off")  # it takes seconds where a statement takes ms
    except BaseException:
        await close(connection)
        raise
    return connection


async def _refuse_loss(connection: Connection, address: Address) -> None:
    if connection.info.server_version < _OLDEST:
        raise StoreError(f"{address} is older than PostgreSQL 14: use a newer server")
    found = await connection.execute(
        "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
    )
    ((fsync, commit),) = await found.fetchall()
    if fsync != "on":
        raise StoreError(
            f"{address} has fsync = {fsync}: it would lose what it has acknowledged; set fsync = on"
        )
    if commit in _LOSING:
        await connection.execute(f"SET synchronous_commit = {DURABLE}")


async def prepare_reader(connection: Connection, longest: float) -> None:
    """Makes a connection read only, and its statements end in time."""
    await connection.set_autocommit(True)
    adapt(connection)
    await connection.execute("SET default_transaction_read_only = on")
    await connection.execute("SET default_transaction_isolation = 'repeatable read'")
    await connection.execute(f"SET statement_timeout = '{round(longest * 1000)}ms'")
    await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    await connection.execute("SET timezone = 'UTC'")
    await connection.execute("SET jit = off")
    await connection.execute(f"SET work_mem = '{WORK_MEMORY}'")
    # Who reads a lot must not take every core: what is alive needs one.
    await connection.execute("SET max_parallel_workers_per_gather = 0")


async def close(connection: Connection) -> None:
    """Closes a connection, whatever ails it."""
    with suppress(psycopg.Error, OSError):
        await connection.close()


def told(error: BaseException) -> str:
    """What the driver says, in a line."""
    return " ".join(str(error).split()) or type(error).__name__
