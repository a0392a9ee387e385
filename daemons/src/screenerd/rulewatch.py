"""Files of rules while the daemon runs: what changes in them comes into force, if it can."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import structlog

from screener import RuleSet
from screenerd.bus.port import Bus
from screenerd.clock import Clock
from screenerd.model import RulesChanged, RulesFault, RulesStatus
from screenerd.rulefiles import MissingError, RulesError, RuleSources, assemble, read

log = structlog.get_logger("rules")

LOOK_SECONDS = 1.0
SETTLE_SECONDS = 0.3
"""So long a file has to stay as it is: who writes it may be in the middle of it."""

GONE_SECONDS = 3.0
"""So long a file may be away: editors, and whoever deploys, put another in its place."""

RACY_SECONDS = 2.0
"""A file written so short a while ago may change again and keep its time: it is read anyway."""

Found = bytes | RulesError
"""What a file holds, or why it cannot be had."""


class RulesWatch:
    """Loads the rules, watches their files, and tells everybody of what has come into force.

    The seconds here are the machine's, whatever the speed of the market.

    Attributes:
        rules: those in force, as they are before anybody switches them.
        status: how their files do.
    """

    def __init__(self, bus: Bus, clock: Clock, sources: RuleSources) -> None:
        """Loads the rules.

        Args:
            bus: where changes are told.
            clock: what tells when something came into force.
            sources: where the rules come from.

        Raises:
            RulesError: they cannot be in force.
        """
        self._bus, self._clock, self._sources = bus, clock, sources
        self._files = _Files(sources.paths)
        found = self._files.look(anew=True)
        self.rules = _assembled(sources, found)
        for name in sources.shadow:
            if name not in self.rules:
                told = f"there is no rule {name!r}: `GET /api/rules` and `screener rules list` tell"
                raise RulesError("rules.shadow", told)
        self.status = RulesStatus(clock.now_ms())
        self._known = _facts(found)
        self._seen = self._known, self._files.signs
        self._seen_at = time.monotonic()
        self._asked = asyncio.Event()

    def hurry(self) -> None:
        """Looks at once, and waits for nothing to settle."""
        self._asked.set()

    async def run(self) -> None:
        """Watches until cancelled."""
        if not self._sources.paths:
            return
        while True:
            asked = self._asked.is_set()
            self._asked.clear()
            found = await asyncio.to_thread(self._files.look, anew=asked)
            settled = asked or self._is_settled(found)
            if asked or (settled and _facts(found) != self._known):
                await self._act(found)
            await self._pause(LOOK_SECONDS if settled else SETTLE_SECONDS)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()

    def _is_settled(self, found: Mapping[Path, Found]) -> bool:
        """Whether the files have been as they are for long enough.

        What is the same at two looks may have been something else between them, as a file that is
        emptied and written again and again: its times tell.
        """
        facts, now = _facts(found), time.monotonic()
        if (facts, self._files.signs) != self._seen:
            self._seen, self._seen_at = (facts, self._files.signs), now
        if facts == self._known:
            return True
        away = any(isinstance(one, MissingError) for one in found.values())
        return now - self._seen_at >= (GONE_SECONDS if away else SETTLE_SECONDS)

    async def _act(self, found: Mapping[Path, Found]) -> None:
        self._known = _facts(found)
        self._seen = self._known, self._files.signs
        try:
            rules = await asyncio.to_thread(_assembled, self._sources, found)
        except RulesError as error:
            await self._refuse(error)
        else:
            await self._put_into_force(rules)

    async def _refuse(self, error: RulesError) -> None:
        """The rules stay; everybody is told why."""
        now = self._clock.now_ms()
        fault = RulesFault(error.file, error.told, error.line, error.column, now)
        self.status = replace(self.status, failures=self.status.failures + 1, fault=fault)
        log.warning("rules refused, those before stay", where=fault.where, error=fault.told)
        await self._bus.publish(RulesChanged(self.rules, fault))

    async def _put_into_force(self, rules: RuleSet) -> None:
        status, before = self.status, self.rules
        if rules == before:
            self.status = replace(status, fault=None)
            log.info("rules are as they were", rules=len(rules))
            if status.fault is not None:
                await self._bus.publish(RulesChanged(before))
            return
        self.rules = rules
        self.status = replace(
            status, loaded_at=self._clock.now_ms(), loads=status.loads + 1, fault=None
        )
        log.info("rules loaded", rules=len(rules), **_difference(before, rules))
        await self._bus.publish(RulesChanged(rules))


class _Files:
    """What files hold now, read again only where something about them has changed.

    Attributes:
        signs: what has changed of each file if somebody has touched it; `None` of one that is away.
    """

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths
        self.signs: dict[Path, Sign | None] = {}
        self._read: dict[Path, Sign | None] = {}
        self._found: dict[Path, Found] = {}

    def look(self, *, anew: bool) -> dict[Path, Found]:
        """What each file holds; `anew` reads them all."""
        self.signs = {path: _sign(path) for path in self._paths}
        for path, sign in self.signs.items():
            if anew or sign is None or sign != self._read.get(path):
                self._found[path] = _found(path)
                self._read[path] = None if sign is None or sign.racy else sign
        return dict(self._found)


class Sign(NamedTuple):
    """What is known of a file without reading it."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @property
    def racy(self) -> bool:
        """Whether it may still change and keep its time."""
        return abs(time.time() - self.modified_ns / 1e9) < RACY_SECONDS


def _sign(path: Path) -> Sign | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return Sign(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _found(path: Path) -> Found:
    try:
        return read(path)
    except RulesError as error:
        return error


def _facts(found: Mapping[Path, Found]) -> dict[Path, object]:
    """The same, so that it can be compared."""
    return {path: one if isinstance(one, bytes) else str(one) for path, one in found.items()}


def _assembled(sources: RuleSources, found: Mapping[Path, Found]) -> RuleSet:
    contents: dict[Path, bytes] = {}
    for path, one in found.items():
        if isinstance(one, RulesError):
            raise one
        contents[path] = one
    return assemble(sources, contents)


def _difference(before: RuleSet, after: RuleSet) -> dict[str, list[str]]:
    """The names of rules that have come, gone and changed, of each kind if there are any."""
    old, new = ({rule.name: rule for rule in rules} for rules in (before, after))
    kinds = {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
    }
    return {kind: names for kind, names in kinds.items() if names}
