"""How long to wait before trying again, and when to stop trying fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

_MOST_DOUBLINGS: Final = 30


@dataclass(slots=True)
class Backoff:
    """Exponential with full jitter, 0.5 s to a minute; a circuit that opens after ten failures.

    It resets only when data has arrived: a connection that opens and stays silent is a failure.
    """

    random: Random = field(default_factory=Random)
    first: float = 0.5
    longest: float = 60.0
    limit: int = 10
    failures: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open: one try a minute goes on."""
        return self.failures >= self.limit

    def failed(self) -> float:
        """Counts a failure; gives the seconds to wait."""
        self.failures += 1
        if self.is_open:
            return self.longest
        # What has failed for days must not end in a number that is too large.
        ceiling = min(self.longest, self.first * 2.0 ** min(self.failures - 1, _MOST_DOUBLINGS))
        return self.random.uniform(self.first / 2, ceiling)

    def succeeded(self) -> None:
        """Data has arrived."""
        self.failures = 0
