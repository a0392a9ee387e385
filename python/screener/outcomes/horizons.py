"""Lengths of time as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from screener.errors import DataError
from screener.moments import length_in_minutes

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["in_minutes"]

_LONGEST: Final = 30 * 1440


def in_minutes(horizons: Sequence[str]) -> dict[str, int]:
    """The minutes of each horizon, in the order given.

    Raises:
        DataError: A text is no length from 1m to 30d, two are the same, or there is none.

    Example:
        >>> in_minutes(["5m", "4h"])
        {'5m': 5, '4h': 240}
    """
    names = [horizons] if isinstance(horizons, str) else list(horizons)
    minutes: dict[str, int] = {}
    for name in names:
        length = _length(name)
        if length in minutes.values():
            raise DataError(reason=f"horizon {name!r} is there twice", remedy="name it once")
        minutes[name] = length
    if not minutes:
        raise DataError(reason="no horizon", remedy='name at least one, such as "1h"')
    return minutes


def _length(name: object) -> int:
    length = length_in_minutes(name)
    if not 1 <= length <= _LONGEST:
        raise DataError(
            reason=f"horizon {name!r} is no length of time",
            remedy='write whole minutes, hours or days from "1m" to "30d"',
        )
    return length
