"""Answers that are asked for again within a moment are made once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

FRESH_SECONDS = 0.25
MOST = 256


class Recent(Generic[T]):
    """Keeps the newest answers for a moment; who asks meanwhile shares them."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Takes what tells the time, in seconds of the machine."""
        self._now = now
        self._made: OrderedDict[Hashable, tuple[float, asyncio.Future[T]]] = OrderedDict()

    async def get(
        self, key: Hashable, make: Callable[[], Awaitable[T]], *, fresh: float = FRESH_SECONDS
    ) -> T:
        """The answer, made now if there is no fresh one.

        Args:
            key: what is asked.
            make: makes the answer.
            fresh: for how long it is one, seconds of the machine.

        Raises:
            Exception: what making it raised, to everybody who waited for it.
        """
        found = self._made.get(key)
        if found is None or self._now() - found[0] > fresh:
            found = (self._now(), asyncio.ensure_future(make()))
            self._made[key] = found
            self._made.move_to_end(key)
            if len(self._made) > MOST:
                self._made.popitem(last=False)
        return await asyncio.shield(found[1])
