"""Work that one process at a time does: whoever holds its lease; the others stand by."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from screenerd.backoff import Backoff
from screenerd.bus.jetstream.bucket import NoAnswerError
from screenerd.cluster.leases import Lease, Leases
from screenerd.store.port import StoreError

log = structlog.get_logger("cluster")

ASK_SECONDS = 1.0
"""How often who stands by asks for the lease, in seconds of the machine."""


async def held(
    leases: Leases,
    names: Callable[[], Awaitable[list[str]]],
    owner: str,
    *,
    reserve: float = 0.0,
) -> tuple[str, Lease]:
    """Waits for the first of some names that nobody holds, and takes it.

    Args:
        leases: hands them out.
        names: what may be taken now, best first; asked each time.
        owner: who takes it.
        reserve: seconds that it is lost before another may have it.
    """
    while True:
        with contextlib.suppress(NoAnswerError):
            for name in await names():
                lease = await leases.acquire(name, owner, reserve=reserve)
                if lease is not None:
                    log.info("lease taken", name=name)
                    return name, lease
        await asyncio.sleep(ASK_SECONDS)


class Turn:
    """Runs something while this process holds a lease, again and again.

    Attributes:
        active: whether it runs.
    """

    def __init__(
        self,
        leases: Leases,
        name: str,
        owner: str,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        reserve: float = 0.0,
    ) -> None:
        """Takes what it needs.

        Args:
            leases: hands out the lease.
            name: of the lease.
            owner: who takes it.
            work: what is to be done; begun anew each time, cancelled when the lease is lost.
            reserve: seconds that the work may take to end, once the lease is lost, before another
                may have it.
        """
        self.active = False
        self._leases, self._name, self._owner, self._work = leases, name, owner, work
        self._reserve = reserve
        self._lease: Lease | None = None

    @property
    def held(self) -> bool:
        """Whether the lease is ours now: asked before what cannot be taken back."""
        return self._lease is not None and self._lease.held

    async def run(self) -> None:
        """Waits for its turn, works, and waits again, until cancelled or the work is done."""
        while True:
            _, lease = await held(self._leases, self._names, self._owner, reserve=self._reserve)
            self._lease, self.active = lease, True
            try:
                if await while_held(lease, persistent(self._name, self._work)):
                    return
            finally:
                self._lease, self.active = None, False
                await lease.release()

    async def _names(self) -> list[str]:
        return [self._name]


async def while_held(lease: Lease, work: Coroutine[Any, Any, None]) -> bool:
    """Works until the lease is lost; whether the work came to its end before."""
    task = asyncio.create_task(work)
    lost = asyncio.create_task(lease.lost.wait())
    try:
        await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        log.warning("lease lost")
        return False
    finally:
        for one in (task, lost):
            one.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await one


async def persistent(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Does something again as long as the store keeps it from being done."""
    backoff = Backoff(first=0.2, longest=5.0)
    while True:
        try:
            return await work()
        except StoreError as error:
            log.warning("waiting for the store", name=name, error=str(error))
        except BaseExceptionGroup as errors:
            stored, others = errors.split(StoreError)
            if others is not None:
                raise
            log.warning("waiting for the store", name=name, error=str(_first(stored)))
        await asyncio.sleep(backoff.failed())


def _first(errors: BaseException | None) -> BaseException | None:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors
