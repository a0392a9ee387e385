"""The triple barrier: target, stop and the end of the holding, whichever is touched first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from screener.errors import DataError

__all__ = ["Barriers"]


@dataclass(frozen=True, slots=True)
class Barriers:
    """Where the barriers lie.

    Attributes:
        target: Average true ranges from the entry to the favourable barrier.
        stop: Average true ranges from the entry to the adverse one.
        atr: Minutes of the average true range.

    Raises:
        DataError: A distance is not above 0, or the minutes are not a whole number above 0.
    """

    target: float
    stop: float
    atr: int

    def __post_init__(self) -> None:
        """Refuse what makes no barrier."""
        for name in ("target", "stop"):
            distance = getattr(self, name)
            if not (math.isfinite(distance) and distance > 0):
                raise DataError(
                    reason=f"{name}={distance!r} is no distance",
                    remedy="give average true ranges, above 0",
                )
        if self.atr < 1 or self.atr != int(self.atr):
            raise DataError(
                reason=f"atr={self.atr!r} is no number of minutes", remedy="it is at least 1"
            )
