"""What the roles ask of leases: a name that one process at a time holds, as long as it lives."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Lease(Protocol):
    """A name that is ours until `lost`."""

    @property
    def lost(self) -> asyncio.Event:
        """Set at the latest when another may have it, by our own clock."""
        ...

    @property
    def held(self) -> bool:
        """Whether it is ours now, whatever time has passed unnoticed."""
        ...

    async def release(self) -> None:
        """Lets others have it at once."""
        ...


class Leases(Protocol):
    """Hands out names."""

    async def acquire(self, name: str, owner: str, *, reserve: float = 0.0) -> Lease | None:
        """The lease of a name, or `None` while another holds it.

        It is lost `reserve` seconds before another may have it.

        Raises:
            NoAnswerError: nobody can say.
        """
        ...
