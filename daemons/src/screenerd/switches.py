"""Rules as a user has changed them: switched off, or with another cooldown. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from screener import RuleSet, cooldowns
from screenerd.model import RuleSwitch


def with_cooldowns(rules: RuleSet, switches: Mapping[str, RuleSwitch]) -> RuleSet:
    """The same rules with the cooldowns that were set; their versions tell them apart.

    A rule that is off stays in the set, so that its cooldowns and windows are right when it is
    switched on again.
    """
    given = {name: switch.cooldown_ms for name, switch in switches.items()}
    return cooldowns.with_cooldowns(
        rules, {name: ms for name, ms in given.items() if ms is not None}
    )
