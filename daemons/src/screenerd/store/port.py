"""What the roles ask of a store, whichever keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from screenerd.model import Alert, Candle, CandleBatch


class StoreError(Exception):
    """The store could not do what it was asked; says what, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A closed bar of one of the longer lengths, for indicators that need weeks."""

    symbol: str
    timeframe: str
    open_time: int
    close: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A frame that could not be read, kept as it came."""

    exchange: str
    received_at: int
    reason: str
    frame: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert on its way to one channel; the outbox's row.

    `state` is `pending`, `sent` or `dead`. `attempts` counts what failed; a 429 does not count.
    """

    id: int
    alert_id: str
    channel: str
    state: str
    attempts: int
    next_try: int
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One hour of one symbol: minutes expected, held, and known absent at the source.

    `holes` are the runs of minutes that are missing, as (first open_time, minutes).
    """

    symbol: str
    hour: int
    expected: int
    held: int
    absent: int
    holes: tuple[tuple[int, int], ...]


class Store(Protocol):
    """Candles, alerts and deliveries; every write is durable when it returns."""

    async def write(self, *items: CandleBatch | Alert | DeadLetter | Bar) -> None:
        """Stores items; returns when they are committed.

        A closed candle is upserted by (exchange, symbol, open_time), gets its revision and a row in
        the journal; open ones are ignored. An alert that is there already is left as it is, but for
        its state.
        """
        ...

    async def candles(
        self, exchange: str, symbol: str | None, start: int, end: int
    ) -> list[Candle]:
        """Closed candles that open in [start, end), ordered by time, symbol."""
        ...

    async def journal(self, exchange: str, start: int, end: int) -> list[Candle]:
        """Every closed version received in [start, end) ms, in order of arrival."""
        ...

    async def newest(self, exchange: str) -> dict[str, int]:
        """The newest stored minute of every symbol, ms."""
        ...

    async def bars(self, exchange: str, timeframe: str) -> list[Bar]:
        """All stored bars of a length, by symbol and time."""
        ...

    async def alerts(self, since: int) -> list[Alert]:
        """Alerts triggered at `since` or later, oldest first."""
        ...

    async def enqueue(self, alert_id: str, channels: Sequence[str], now: int) -> None:
        """Puts an alert into the outbox, once a channel however often it is asked."""
        ...

    async def due(self, now: int, limit: int = 100) -> list[tuple[Delivery, Alert]]:
        """Deliveries to try now, oldest first."""
        ...

    async def delivered(self, delivery: Delivery, at: int) -> None:
        """Records that a delivery was made; sets `webhook_sent` of its alert."""
        ...

    async def postponed(self, delivery: Delivery) -> None:
        """Records a failed try: attempts, next_try, last_error, state."""
        ...

    async def audit(self, exchange: str, start: int, end: int) -> list[AuditRow]:
        """What is expected and what is held, hour by hour; times in ms, hours whole."""
        ...

    async def set_tracking(self, exchange: str, symbol: str, since: int, until: int | None) -> None:
        """Minutes of a symbol are expected from `since` on (and before `until`), ms."""
        ...

    async def prune(self, now: int) -> int:
        """Drops what is older than the retention; gives how many rows."""
        ...
