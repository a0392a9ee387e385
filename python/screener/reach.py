"""How far back a metric looks, as docs/semantics.md says. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from screener.moments import length_in_minutes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_indicator", "reach"]

_NAME: Final = re.compile(r"(?P<kind>\w+?)(?:_(?P<window>[0-9]+[mhd]))?(?:\[(?P<lag>\w+)\])?")
_INDICATOR: Final = re.compile(r"(?:rsi|macd|bb)_")
_LONGEST: Final = 1440


def reach(metrics: Iterable[str]) -> int:
    """The newest minutes of which none may be missing for rules over these metrics to hold.

    Example:
        >>> reach(["price", "change_5m", "volume_ratio_1h"])
        120
    """
    return max(map(_reach, metrics), default=0)


def _reach(metric: str) -> int:
    found = _NAME.fullmatch(metric)
    if found is None:
        return _LONGEST
    window = length_in_minutes(found["window"])
    return window * (2 if found["kind"] == "volume_ratio" else 1) + length_in_minutes(found["lag"])


def is_indicator(metric: str) -> bool:
    """Whether it is computed over bars, and so looks back for longer than its window."""
    return _INDICATOR.match(metric) is not None
