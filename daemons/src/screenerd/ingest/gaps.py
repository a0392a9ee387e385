"""Which minutes are known, and which are missing. Arithmetic only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from screenerd.model import MINUTE_MS

DAY_MS = 1440 * MINUTE_MS


def minute_of(ms: int) -> int:
    """The start of the minute a time lies in, ms."""
    return ms - ms % MINUTE_MS


@dataclass(slots=True)
class Known:
    """The minutes of one symbol that are known, over the newest day and a bit.

    Attributes:
        since: minutes are expected from here on, ms.
        complete_until: every expected minute before this one is known, ms.
    """

    since: int
    complete_until: int = 0
    _ahead: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Nothing is known yet."""
        self.complete_until = max(self.complete_until, self.since)

    def add(self, open_time: int) -> None:
        """A minute is known."""
        if open_time < self.complete_until:
            return
        self._ahead.add(open_time)
        while self.complete_until in self._ahead:
            self._ahead.discard(self.complete_until)
            self.complete_until += MINUTE_MS

    def add_runs(self, runs: Iterable[tuple[int, int]]) -> None:
        """Minutes in [first, end) are known, for each of the runs."""
        for first, end in runs:
            if first <= self.complete_until < end:
                self.complete_until = end
            else:
                for minute in range(max(first, self.complete_until), end, MINUTE_MS):
                    self.add(minute)

    def knows(self, open_time: int) -> bool:
        """Whether a minute is known, or was never expected."""
        return open_time < self.complete_until or open_time in self._ahead

    def missing(self, end: int) -> list[tuple[int, int]]:
        """Runs of minutes that open before `end` and are not known, as [first, end) in ms."""
        runs: list[tuple[int, int]] = []
        first = self.complete_until
        if first >= end:  # as it nearly always is, and asked of every symbol again and again
            return runs
        for minute in sorted(minute for minute in self._ahead if minute < end):
            if first < minute:
                runs.append((first, minute))
            first = minute + MINUTE_MS
        if first < end:
            runs.append((first, end))
        return runs

    def give_up_before(self, start: int) -> None:
        """Minutes before `start` are expected no longer."""
        if start > self.complete_until:
            self.complete_until = start
            self._ahead = {minute for minute in self._ahead if minute >= start}
            ahead, self._ahead = self._ahead, set()
            for minute in ahead:
                self.add(minute)
