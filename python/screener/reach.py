"""How far back a metric looks, as docs/semantics.md says. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from screener.moments import length_in_minutes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_indicator", "reach"]

_NAME: Final = re.compile(
    r"(?P<kind>[a-z][a-z0-9_]*?)_(?P<window>[0-9]+[mhd])\b(?:\[(?P<lag>[0-9]+[mhd])\])?"
)
_INDICATOR: Final = re.compile(r"\b(?:rsi|macd|bb)_")
_SYMBOL: Final = re.compile(r'"[^"]*"')


def reach(metrics: Iterable[str]) -> int:
    """The newest minutes that rules over these metrics look at: none may be missing.

    With what a metric was some time ago, so long before that; of what is asked of all symbols,
    those of each of them.

    Example:
        >>> reach(["price", "change_5m", "volume_ratio_1h"])
        120
        >>> reach(["change_5m[15m]", "rank(change_1h - change_1h[5m])"])
        65
    """
    return max(map(_reach, metrics), default=0)


def _reach(metric: str) -> int:
    return max(map(_of_one, _NAME.finditer(_SYMBOL.sub("", metric))), default=0)


def _of_one(found: re.Match[str]) -> int:
    window = length_in_minutes(found["window"])
    ago = 0 if found["lag"] is None else length_in_minutes(found["lag"])
    return window * (2 if found["kind"] == "volume_ratio" else 1) + ago


def is_indicator(metric: str) -> bool:
    """Whether it, or what it asks of all symbols, is computed over bars.

    Those look back for longer than their window.
    """
    return _INDICATOR.search(metric) is not None
