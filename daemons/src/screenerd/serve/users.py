"""What users have changed of the rules for themselves, and everybody of all; kept in the store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from screener import RuleSet
from screenerd.model import RuleSwitch
from screenerd.serve.port import ServeStore
from screenerd.serve.schemas import RuleChange
from screenerd.switches import with_cooldowns


class Users:
    """The switches of every user, the same objects that the websocket's clients look at.

    Attributes:
        rules: the rules as they are for everybody now.
        everybody: what was changed of them.
        changes: counts whatever changes here.
    """

    def __init__(self, store: ServeStore, rules: RuleSet) -> None:
        """Takes the store, and the rules as they were before anybody switched them."""
        self._store, self._given = store, rules
        self.rules = rules
        self.everybody: dict[str, RuleSwitch] = {}
        self.changes = 0
        self._of: dict[str, dict[str, RuleSwitch]] = {}
        # What is read must not be older than what has been written since.
        self._alone = asyncio.Lock()

    async def load(self) -> None:
        """Reads what the store holds; also what another process has changed there.

        Raises:
            StoreError: the store cannot be read.
        """
        async with self._alone:
            self._take(await self._store.rule_switches())
            for user, switches in (await self._store.user_switches()).items():
                self.of(user).update(switches)
            self.changes += 1

    def set_rules(self, rules: RuleSet) -> None:
        """Takes other rules, as they are before anybody switches them."""
        self._given = rules
        self._take(self.everybody)

    def of(self, user: str) -> dict[str, RuleSwitch]:
        """A user's switches."""
        return self._of.setdefault(user, {})

    async def change(self, user: str, rule: str, change: RuleChange) -> None:
        """Changes a rule for one user."""
        async with self._alone:
            switch = changed(self.of(user).get(rule, RuleSwitch(rule)), change)
            await self._store.set_user_switch(user, switch)
            self.of(user)[rule] = switch
            self.changes += 1

    async def change_for_all(self, rule: str, change: RuleChange) -> RuleSwitch:
        """Changes a rule for everybody; gives what is to be told to those who judge."""
        async with self._alone:
            switch = changed(self.everybody.get(rule, RuleSwitch(rule)), change)
            await self._store.set_rule_switch(switch)
            self._take(self.everybody | {rule: switch})
            return switch

    def _take(self, everybody: dict[str, RuleSwitch]) -> None:
        self.everybody = everybody
        self.rules = with_cooldowns(self._given, everybody)
        self.changes += 1


def changed(switch: RuleSwitch, change: RuleChange) -> RuleSwitch:
    """A switch with what was given."""
    if change.enabled is not None:
        switch = replace(switch, enabled=change.enabled)
    if "cooldown_seconds" in change.model_fields_set:
        seconds = change.cooldown_seconds
        switch = replace(switch, cooldown_ms=None if seconds is None else seconds * 1000)
    return switch
