"""Which symbols belong together: a fixed hash, the same in every process. Pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache


@lru_cache(16_384)
def shard_of(symbol: str, shards: int) -> int:
    """The number of a symbol's shard: CRC-32 of its UTF-8, modulo how many there are."""
    return zlib.crc32(symbol.encode()) % shards


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` shards, counted from 0."""

    number: int
    of: int

    def __post_init__(self) -> None:
        """Refuses what does not exist."""
        if not 0 <= self.number < self.of:
            raise ValueError(f"shard {self.number} of {self.of} does not exist: 0 to {self.of - 1}")

    def owns(self, symbol: str) -> bool:
        """Whether a symbol is in it."""
        return shard_of(symbol, self.of) == self.number
