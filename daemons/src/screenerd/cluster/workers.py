"""The screening of one process: the shards of the slot it holds; without a slot it stands by."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from screener import RuleSet
from screener.conditions import asks_all
from screenerd.cluster.leases import Lease, Leases
from screenerd.cluster.turns import ASK_SECONDS, held, persistent, while_held
from screenerd.screen.judge import ScreenStatus
from screenerd.screen.scope import Scope
from screenerd.screen.service import Screen
from screenerd.shards import Shard, assignment

log = structlog.get_logger("cluster")

STOP_SECONDS = 2.0
"""What an engine is given to judge what has reached it, when its shard goes to another worker."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is told from outside; each is asked anew whenever it looks.

    Attributes:
        shards: how many parts there are.
        wanted: how many workers there are to be.
        rules: the rules in force.
        screen: makes what screens a part.
        close: ends the subscription of what screens a part.
    """

    shards: int
    wanted: Callable[[], Awaitable[int]]
    rules: Callable[[], RuleSet]
    screen: Callable[[Scope], Screen]
    close: Callable[[str], Awaitable[None]]


@dataclass(slots=True)
class _Part:
    """A part of the work that runs, and who does it now."""

    task: asyncio.Task[None]
    screen: Screen | None = None


@dataclass(slots=True)
class Workers:
    """Takes a slot and screens its shards, for as long as both are its own."""

    job: Job
    leases: Leases
    owner: str
    slot: int | None = None
    _parts: dict[Scope, _Part] = field(default_factory=dict)

    @property
    def status(self) -> ScreenStatus:
        """All its engines together."""
        together = ScreenStatus()
        for screen in self._screens:
            together.add(screen.status)
        return together

    @property
    def shards(self) -> list[int]:
        """The shards that are being judged here."""
        rebuilt = [scope for scope, one in self._parts.items() if _is_rebuilt(one)]
        return sorted(scope.shard.number for scope in rebuilt if scope.shard is not None)

    @property
    def judged_until(self) -> int | None:
        """The minute that every engine here has come to, ms; `None` if there are no symbols.

        0 if one has judged none of its symbols' minutes yet.
        """
        minutes = [one.status.last_minute for one in self._screens if one.status.symbols]
        return min(minutes, default=None)

    @property
    def ready(self) -> bool:
        """Whether it stands by, or judges everything that is its own."""
        return all(map(_is_rebuilt, self._parts.values()))

    @property
    def _screens(self) -> list[Screen]:
        return [one.screen for one in self._parts.values() if one.screen is not None]

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            name, lease = await held(self.leases, self._free, self.owner)
            self.slot = int(name.removeprefix(_SLOT))
            try:
                await while_held(lease, self._work(self.slot))
            finally:
                await self._leave(lease)

    async def _free(self) -> list[str]:
        return [f"{_SLOT}{number}" for number in range(await self.job.wanted())]

    async def _leave(self, lease: Lease) -> None:
        self.slot = None
        await asyncio.gather(*(self._stop(scope) for scope in tuple(self._parts)))
        await lease.release()

    async def _work(self, slot: int) -> None:
        """Has the right parts running, until the slot is one too many."""
        while slot < (count := await self.job.wanted()):
            due = self._due(slot, count)
            for scope in due - self._parts.keys():
                self._start(scope)
            await asyncio.gather(*(self._stop(scope) for scope in self._parts.keys() - due))
            for part in self._parts.values():
                if part.task.done():
                    part.task.result()
            await asyncio.sleep(ASK_SECONDS)
        log.info("slot no longer wanted", slot=slot)

    def _due(self, slot: int, count: int) -> set[Scope]:
        shards = self.job.shards
        due = {Scope(Shard(n, shards), "own") for n in assignment(shards, count)[slot]}
        if slot == 0 and asks_all(self.job.rules()):
            due.add(Scope(None, "among"))
        return due

    def _start(self, scope: Scope) -> None:
        log.info("screening", part=scope.name)

        async def once() -> None:
            part.screen = self.job.screen(scope)
            try:
                await part.screen.run()
            except BaseException:
                await self.job.close(scope.name)
                raise

        part = _Part(asyncio.create_task(persistent(scope.name, once)))
        self._parts[scope] = part

    async def _stop(self, scope: Scope) -> None:
        part = self._parts.pop(scope)
        log.info("screening no longer", part=scope.name)
        await self.job.close(scope.name)
        await asyncio.wait({part.task}, timeout=STOP_SECONDS)
        part.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await part.task


_SLOT = "screen."


def _is_rebuilt(part: _Part) -> bool:
    return part.screen is not None and part.screen.rebuilt.is_set()
