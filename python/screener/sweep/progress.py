"""How far a sweep is: told to a function, or as a line on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor

__all__ = ["OnProgress", "Steps", "teller"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

OnProgress: TypeAlias = Callable[[int, int], None]
"""Called with the steps that are done and all there are."""


def teller(progress: OnProgress | bool) -> OnProgress:
    """What is to be called after each step; True writes a line where stderr is a terminal."""
    if not isinstance(progress, bool):
        return progress
    return _write if progress and sys.stderr.isatty() else _be_silent


class Steps:
    """Counts steps that are done by threads, and tells of each in the thread that waits."""

    def __init__(self, steps: int, tell: OnProgress) -> None:
        """Take how many there will be, and what is called after each."""
        self._steps, self._tell, self._done = steps, tell, 0

    def through(
        self, pool: Executor, work: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> list[_Result]:
        """The results in the order of the items; after a failure no other item is begun."""
        futures = [pool.submit(work, item) for item in items]
        results = []
        try:
            for future in futures:
                results.append(future.result())
                self._done += 1
                self._tell(self._done, self._steps)
        finally:
            for future in futures:
                future.cancel()
        return results


def _write(done: int, steps: int) -> None:
    end = "\n" if done == steps else ""
    sys.stderr.write(f"\rsweep: {done} of {steps} steps, {100 * done // steps} %{end}")
    sys.stderr.flush()


def _be_silent(_done: int, _steps: int) -> None:
    pass
