"""What users choose, while others choose and the store is read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from served import RULES

from screenerd.model import RuleSwitch
from screenerd.serve.schemas import RuleChange
from screenerd.serve.users import Users

pytestmark = pytest.mark.asyncio


@dataclass
class SlowStore:
    """Reads what there is at once, and tells it late."""

    everybody: dict[str, RuleSwitch] = field(default_factory=dict)
    users: dict[str, dict[str, RuleSwitch]] = field(default_factory=dict)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def rule_switches(self) -> dict[str, RuleSwitch]:
        """For everybody."""
        found = dict(self.everybody)
        await self.told.wait()
        return found

    async def user_switches(self) -> dict[str, dict[str, RuleSwitch]]:
        """Of every user."""
        found = {user: dict(its) for user, its in self.users.items()}
        await self.told.wait()
        return found

    async def set_rule_switch(self, switch: RuleSwitch) -> None:
        """Keeps it."""
        self.everybody[switch.rule] = switch

    async def set_user_switch(self, user: str, switch: RuleSwitch) -> None:
        """Keeps it."""
        self.users.setdefault(user, {})[switch.rule] = switch


async def test_what_was_read_before_a_choice_does_not_undo_it() -> None:
    store = SlowStore()
    users = Users(store, RULES)  # type: ignore[arg-type]
    reading = asyncio.create_task(users.load())
    await asyncio.sleep(0)
    off = RuleChange(enabled=False)
    choosing = [
        asyncio.create_task(users.change("one", "top_hunter", off)),
        asyncio.create_task(users.change_for_all("pioneer_bull", off)),
    ]
    await asyncio.sleep(0)
    store.told.set()
    await asyncio.gather(reading, *choosing)
    assert users.of("one")["top_hunter"] == RuleSwitch("top_hunter", enabled=False)
    assert users.everybody["pioneer_bull"] == RuleSwitch("pioneer_bull", enabled=False)
    await users.change("one", "top_hunter", RuleChange(cooldown_seconds=60))
    kept = store.users["one"]["top_hunter"]
    assert (kept.enabled, kept.cooldown_ms) == (False, 60_000)


async def test_what_another_process_has_chosen_is_read() -> None:
    store = SlowStore(
        {"pioneer_bull": RuleSwitch("pioneer_bull", cooldown_ms=600_000)},
        {"one": {"top_hunter": RuleSwitch("top_hunter", enabled=False)}},
    )
    store.told.set()
    users = Users(store, RULES)  # type: ignore[arg-type]
    mine = users.of("one")
    await users.load()
    assert not mine["top_hunter"].enabled, "the same object, which a client looks at"
    assert users.rules["pioneer_bull"].cooldown == 600_000
