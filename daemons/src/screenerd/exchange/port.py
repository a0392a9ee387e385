"""What the roles ask of an exchange, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from screenerd.model import Candle, FeedLost, Reconnected


class ExchangeError(Exception):
    """The exchange could not or would not answer; says what, and what to do about it."""


class RefusedError(ExchangeError):
    """The exchange does not serve this address at all: trying again is of no use."""


class UnknownSymbolError(ExchangeError):
    """The exchange does not know the symbol (any more)."""


@dataclass(slots=True)
class ConnectionStatus:
    """What health asks of one connection."""

    number: int
    symbols: int = 0
    delivering: bool = False
    circuit_open: bool = False
    failures: int = 0
    frames: int = 0
    last_frame_at: int = 0
    silent: int = 0
    reason: str = ""


class Exchange(Protocol):
    """Symbols and history by request."""

    name: str

    async def symbols(self) -> tuple[str, ...]:
        """The symbols to follow now, sorted."""
        ...

    async def minutes(self, symbol: str, start: int, end: int) -> list[Candle]:
        """Closed minutes that open in [start, end) ms, oldest first; those that exist."""
        ...

    async def bars(self, symbol: str, timeframe: str, count: int) -> list[tuple[int, float]]:
        """The newest closed bars as (open_time, close), oldest first."""
        ...


class Feed(Protocol):
    """Candles as they come."""

    async def run(self) -> None:
        """Delivers until cancelled."""
        ...

    def follow(self, symbols: Sequence[str]) -> None:
        """Follows these symbols from now on, and no others."""
        ...

    def prices(self) -> Mapping[str, float]:
        """Prices of running minutes that have come since this was last asked, by symbol."""
        ...


CandleSink = Callable[[Candle], None]
"""Takes a candle; must not wait."""

EventSink = Callable[[FeedLost | Reconnected], None]
"""Takes what became of a connection; must not wait."""

LetterSink = Callable[[bytes, str], None]
"""Takes a frame that could not be read, and why; must not wait."""
