"""How many alerts answer what is asked: counted once, and from there on only what came after."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from screenerd.clock import Clock
from screenerd.store.port import AlertFilter

FRESH_SECONDS: Final = 15.0
"""After so many seconds of the machine all are counted anew: another process may have dropped some.

What this one drops itself is known at once.
"""

MOST: Final = 256


@dataclass(frozen=True, slots=True)
class Counted:
    """How many there were.

    Attributes:
        total: the count.
        mark: the number of the last alert that was stored when they were counted, asked for or not.
    """

    total: int
    mark: int


class Totals:
    """The newest counts."""

    def __init__(self, clock: Clock) -> None:
        """Knows none."""
        self._clock = clock
        self._counts: OrderedDict[AlertFilter, tuple[float, Counted]] = OrderedDict()

    def known(self, wanted: AlertFilter) -> Counted | None:
        """A count that can be gone on from."""
        since, counted = self._counts.get(wanted, (0.0, None))
        return counted if self._now() - since < FRESH_SECONDS else None

    def keep(self, wanted: AlertFilter, before: Counted | None, counted: Counted) -> None:
        """Keeps a count; one that went on from another is as old as that."""
        since = self._now() if before is None else self._counts.get(wanted, (0.0,))[0]
        self._counts[wanted] = (since, counted)
        self._counts.move_to_end(wanted)
        if len(self._counts) > MOST:
            self._counts.popitem(last=False)

    def forget(self) -> None:
        """All is counted anew: something was dropped."""
        self._counts.clear()

    def _now(self) -> float:
        return self._clock.real(self._clock.monotonic())
