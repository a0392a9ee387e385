"""The connections that read: a few, shared, and none waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from screenerd.store.port import StoreError
from screenerd.store.postgres.connect import (
    CONNECT_SECONDS,
    Address,
    Connection,
    close,
    prepare_reader,
    told,
)

T = TypeVar("T")

Query = Callable[[Connection], Awaitable[T]]
"""Reads, and changes nothing."""

_LOG = structlog.get_logger(__name__)
_SPARE_SECONDS: Final = 5.0
_CLOSING_SECONDS: Final = 5.0


class Readers:
    """Runs queries on a pool of connections, each within a time.

    A query ends after `longest` seconds at the server, and a little later here, whatever the
    network does. A pool that gives no connection while the server does is given up for a new one.
    """

    def __init__(
        self, address: Address, *, connections: int = 4, longest: float = 60.0, wait: float = 5.0
    ) -> None:
        """Opens nothing yet.

        Args:
            address: where the database is.
            connections: how many there are at most.
            longest: seconds a query may take.
            wait: seconds it may wait for a connection.
        """
        self._address = address
        self._connections = connections
        self._longest = longest
        self._wait = wait
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def run(self, query: Query[T]) -> T:
        """Runs a query.

        Raises:
            StoreError: the database cannot be read now, or the query took too long.
        """
        pool = await self._opened()
        try:
            async with asyncio.timeout(self._wait + self._longest + _SPARE_SECONDS):
                async with pool.connection(timeout=self._wait) as connection:
                    return await query(connection)
        except PoolTimeout as error:
            raise await self._none_free(pool) from error
        except PoolClosed as error:
            raise StoreError("the store is closed") from error
        except (psycopg.errors.QueryCanceled, TimeoutError) as error:
            raise StoreError(
                f"a query took more than {self._longest:g} s: ask for less at once"
            ) from error
        except (psycopg.Error, OSError) as error:
            raise StoreError(f"{self._address} could not be read: {told(error)}") from error

    async def close(self) -> None:
        """Ends the queries that run and closes the connections."""
        self._closed = True
        if self._pool is not None:
            await _end(self._pool)

    async def _opened(self) -> AsyncConnectionPool[Connection]:
        async with self._opening:
            if self._closed:
                raise StoreError("the store is closed")
            if self._pool is None:
                self._pool = await self._open()
            return self._pool

    async def _open(self) -> AsyncConnectionPool[Connection]:
        async def configure(connection: Connection) -> None:
            await prepare_reader(connection, self._longest)

        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            kwargs=self._address.parameters,
            min_size=1,
            max_size=self._connections,
            open=False,
            configure=configure,
            check=AsyncConnectionPool.check_connection,
            timeout=self._wait,
            reconnect_timeout=_SPARE_SECONDS,
            max_waiting=1_000,
            name="store-reader",
        )
        await pool.open()
        return pool

    async def _none_free(self, pool: AsyncConnectionPool[Connection]) -> StoreError:
        """Why the pool gives no connection; it is given up if the server would."""
        stats = pool.get_stats()
        if stats.get("pool_size", 0) and not stats.get("pool_available", 0):
            busy = stats.get("pool_size", 0) >= self._connections
            if busy and stats.get("connections_lost", 0) == 0:
                return StoreError(
                    f"no connection to {self._address} was free for {self._wait:g} s: "
                    "ask less often, or for less at once"
                )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await close(await psycopg.AsyncConnection.connect(**self._address.parameters))
        except (psycopg.Error, OSError, TimeoutError) as error:
            return StoreError(f"{self._address} cannot be reached: {told(error)}")
        async with self._opening:
            if self._pool is pool:
                _LOG.warning("store_pool_replaced", **stats)
                self._pool = None
        await _end(pool)
        return StoreError(f"{self._address} is back after it was gone: ask again")


async def _end(pool: AsyncConnectionPool[Any]) -> None:
    with suppress(psycopg.Error, OSError, TimeoutError):
        await pool.close(timeout=_CLOSING_SECONDS)
