"""Rules with other cooldowns than their own. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from screener._core import RuleSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["with_cooldowns"]

_COOLDOWN: Final = re.compile(r"^cooldown = .*$", re.MULTILINE)


def with_cooldowns(
    rules: RuleSet, cooldowns: Mapping[str, int], only: Sequence[str] | None = None
) -> RuleSet:
    """The same rules with other cooldowns; their versions tell them apart.

    Args:
        rules: The rules.
        cooldowns: By rule, ms; whole seconds count. A rule that is not named keeps its own.
        only: The rules that are wanted; by default all.

    Example:
        >>> shorter = with_cooldowns(RuleSet.load("futures"), {"pioneer_bull": 60_000})
        >>> shorter["pioneer_bull"].cooldown, shorter["pioneer_bear"].cooldown
        (60000, 300000)
    """
    texts = []
    for name in rules.names if only is None else only:
        text = rules[name].to_toml()
        if name in cooldowns:
            text = _COOLDOWN.sub(f'cooldown = "{cooldowns[name] // 1000}s"', text, count=1)
        texts.append(text)
    return RuleSet.parse("\n".join(texts), floors=rules.floors)
