"""What goes onto the bus: candles that close together are one message.

Several messages may be on their way at once; of one symbol nothing overtakes what came before it.
"""

from __future__ import annotations

import asyncio
import logging
import time

import structlog

from screenerd import trace
from screenerd.bus.port import Bus
from screenerd.model import Candle, CandleBatch, DeadLetter, FeedLost, Reconnected

log = structlog.get_logger("ingest")

BURST_SECONDS = 0.002
"""Candles are put together for so long after the first of them."""

LARGEST_BURST = 5_000
MOST_FLYING = 4
"""Bursts that may be on their way; what comes then waits here, and makes the next one larger."""

MOST_AHEAD_MS = 1_000
"""A burst does not set out while another is on its way that was received so much earlier."""

QUIET_SECONDS = 0.1
"""No candle has come for so long: a minute's alerts are out, or nearly."""

LONGEST_WAIT = 0.5
"""Where candles come without a pause, what waits for one goes on after so long."""

MOST_NOTES = 1_000
"""Notes that may wait for the bus; those beyond are refused."""

Note = DeadLetter | FeedLost | Reconnected


class Bursts:
    """Gathers candles and notes; nobody who adds one waits."""

    def __init__(self, bus: Bus, exchange: str) -> None:
        """Takes where they go, and whose they are."""
        self._bus, self._exchange = bus, exchange
        self._candles: list[Candle] = []
        self._notes: list[Note] = []
        self._woken = asyncio.Event()
        self._newest = 0.0
        self._flying: dict[asyncio.Task[None], CandleBatch] = {}

    @property
    def waiting(self) -> int:
        """How many candles are not on their way yet."""
        return len(self._candles)

    def add(self, candle: Candle) -> None:
        """Takes a candle; in its symbol's order."""
        self._candles.append(candle)
        self._newest = time.monotonic()
        self._woken.set()

    def note(self, note: Note) -> bool:
        """Takes a note, which follows the candles before it; says whether there was room."""
        if isinstance(note, DeadLetter) and len(self._notes) >= MOST_NOTES:
            return False
        self._notes.append(note)
        self._woken.set()
        return True

    async def quiet(self) -> None:
        """Waits for a pause among the candles, if not for long: for what is no part of an alert."""
        began = time.monotonic()
        while (now := time.monotonic()) < began + LONGEST_WAIT:
            if now >= self._newest + QUIET_SECONDS:
                return
            await asyncio.sleep(min(self._newest + QUIET_SECONDS, began + LONGEST_WAIT) - now)

    async def run(self) -> None:
        """Hands on what comes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._woken.wait()
                await asyncio.sleep(BURST_SECONDS)
                self._woken.clear()
                await self._send(group)

    async def flush(self) -> None:
        """Hands on what is here; returns once it is safe with the bus, as a clean stop needs it."""
        async with asyncio.TaskGroup() as group:
            await self._send(group)
            while self._flying:
                await self._one_landed()

    async def _send(self, group: asyncio.TaskGroup) -> None:
        """Cut off at any moment, what is not on its way by then is here still."""
        while self._candles or self._notes:
            # However many notes there are, candles go first.
            if not self._candles:
                await self._send_note()
                continue
            burst = CandleBatch(self._exchange, tuple(self._candles[:LARGEST_BURST]))
            if len(self._flying) >= MOST_FLYING or self._overtakes(burst):
                await self._one_landed()
                continue
            task = group.create_task(self._bus.publish(burst))
            del self._candles[: len(burst.candles)]
            self._flying[task] = burst
            task.add_done_callback(self._settle)
            _tell(burst)

    async def _send_note(self) -> None:
        """The candles that came before it are safe by then."""
        while self._flying:
            await self._one_landed()
        await self._bus.publish(self._notes[0])
        del self._notes[0]

    def _overtakes(self, burst: CandleBatch) -> bool:
        """Whether it may not arrive before what is on its way.

        That is an earlier minute of one of its symbols; and what was received much earlier: rules
        among all symbols judge a minute when what comes late was received late.
        """
        symbols = {candle.symbol for candle in burst.candles}
        newest = max(candle.received_at for candle in burst.candles)
        ahead = (candle for other in self._flying.values() for candle in other.candles)
        return any(
            candle.symbol in symbols or candle.received_at < newest - MOST_AHEAD_MS
            for candle in ahead
        )

    async def _one_landed(self) -> None:
        await asyncio.wait(self._flying, return_when=asyncio.FIRST_COMPLETED)

    def _settle(self, task: asyncio.Task[None]) -> None:
        burst = self._flying.pop(task)
        if task.cancelled() or task.exception():
            # Nobody knows how far it came; told again it is the same.
            self._candles[:0] = burst.candles
            self._woken.set()


def _tell(burst: CandleBatch) -> None:
    if log.is_enabled_for(logging.DEBUG):
        for candle in burst.candles:
            log.debug(
                "candle told", correlation=trace.of_candle(candle), received=candle.received_at
            )
