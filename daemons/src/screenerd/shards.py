"""Which symbols belong together: the same everywhere, for ever. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32


def shard_of(symbol: str, shards: int) -> int:
    """The shard of a symbol, from 0; the same in every process and version."""
    return crc32(symbol.encode()) % shards


@dataclass(frozen=True, slots=True)
class Shard:
    """One of so many parts of all symbols."""

    number: int
    of: int

    def __post_init__(self) -> None:
        """Refuses what is no part."""
        if not 0 <= self.number < self.of:
            raise ValueError(f"there is no shard {self.number} of {self.of}")

    def owns(self, symbol: str) -> bool:
        """Whether a symbol is in it."""
        return shard_of(symbol, self.of) == self.number


def assignment(shards: int, workers: int) -> list[set[int]]:
    """The shards of each worker, by number, so that another count moves no more than it must.

    One worker has all of them; each further one takes its fair share from those that have most. So
    a worker that comes takes only what it gets, and one that goes leaves only what it had.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers} is below 1")
    owned = [set(range(shards))]
    for count in range(2, workers + 1):
        taken: set[int] = set()
        for _ in range(shards // count):
            richest = max(owned, key=len)
            shard = max(richest)
            richest.remove(shard)
            taken.add(shard)
        owned.append(taken)
    return owned
