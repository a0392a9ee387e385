"""What happens in market time: updates of the running minute, and the burst at its end."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np

from screenerd.clock import Clock
from screenerd.demo.connection import Connection, Limits, Outgoing
from screenerd.demo.contracts import OPEN, TRADES, Floats
from screenerd.demo.faults import Fault, Faults
from screenerd.demo.market import MinuteSource
from screenerd.demo.wire import combined, correct, kline_event, stream_of
from screenerd.model import MINUTE_MS

_MOST_BURSTS = 10
"""Minutes whose end is sent late after a pause of the machine; older ones only REST has."""

_GARBAGE = '\x01{"stream":"\ufffd@kline'
_ODD_SHAPE = '{"e":"kline","E":"soon","k":[1,2,3],"surprise":true}'


@dataclass(order=True, slots=True)
class _Late:
    due: int
    frames: list[Outgoing] = field(compare=False)


class Feed:
    """Sends the market to the connections."""

    def __init__(
        self,
        market: MinuteSource,
        clock: Clock,
        faults: Faults,
        limits: Limits,
        connections: Collection[Connection],
    ) -> None:
        """Takes the market, and the connections of every moment."""
        self._market = market
        self._clock = clock
        self._faults = faults
        self._limits = limits
        self._connections = connections
        self._contracts = tuple(market.contracts)
        self._streams = tuple(stream_of(contract.symbol) for contract in self._contracts)
        self._scales = np.stack([contract.scales for contract in self._contracts])
        self._told = np.zeros(len(self._contracts))
        self._late: list[_Late] = []

    async def run(self) -> None:
        """Sends for ever."""
        loop = asyncio.get_running_loop()
        began, market_began = loop.time(), self._clock.monotonic()
        minute = self._clock.now_ms() // MINUTE_MS
        while True:
            now = self._clock.now_ms()
            minute = self._close_due(minute, now)
            self._apply_to_connections()
            self._send_late(now)
            self._update(minute, now)
            real = loop.time() - began
            speed = (self._clock.monotonic() - market_began) / real if real > 0 else 1.0
            step = max(self._limits.update_ms, self._limits.update_real_ms * speed)
            wake = min(now + step, self._due(minute), *(late.due for late in self._late[:1]))
            # A clock that stands still is asked again, rather than in a loop that starves others.
            await self._clock.sleep(max(wake - self._clock.now_ms(), 1) / 1000)

    def _due(self, minute: int) -> int:
        return (minute + 1) * MINUTE_MS + self._limits.close_after_ms

    def _close_due(self, minute: int, now: int) -> int:
        """Sends the end of each minute that is over; gives the minute that runs."""
        newest = (now - self._limits.close_after_ms) // MINUTE_MS
        for over in range(max(minute, newest - _MOST_BURSTS), newest):
            self._close(over, now)
        return max(minute, newest)

    def _watched(self) -> list[int]:
        return sorted(frozenset().union(*(each.symbols for each in self._connections)))

    def _send(self, frames: list[Outgoing]) -> None:
        if frames:
            for connection in tuple(self._connections):
                connection.offer(frames)

    def _frame(
        self, symbol: int, minute: int, row: list[float], now: int, *, closed: bool
    ) -> Outgoing:
        event = kline_event(self._contracts[symbol], minute, row, now, closed=closed)
        return Outgoing(symbol, event, combined(self._streams[symbol], event))

    def _update(self, minute: int, now: int) -> None:
        """The running minute of each symbol that has traded since it was last sent."""
        fraction = (now - minute * MINUTE_MS) / MINUTE_MS
        watched = self._watched()
        if not watched or not 0 < fraction < 1:
            return
        rows = self._market.running(minute, fraction)
        traded = rows[:, TRADES] > self._told
        self._told = np.where(traded, rows[:, TRADES], self._told)
        values = (rows / self._scales).tolist()
        open_time = minute * MINUTE_MS
        self._send(
            [
                self._frame(symbol, minute, values[symbol], now, closed=False)
                for symbol in watched
                if traded[symbol] and not self._faults.lost(self._symbol(symbol), open_time)
            ]
        )

    def _close(self, minute: int, now: int) -> None:
        """The final version of a minute, of all symbols at once."""
        self._told[:] = 0
        watched = self._watched()
        if not watched:
            return
        rows = self._market.at(minute)
        frames: list[Outgoing] = []
        for symbol in watched:
            if not np.isnan(rows[symbol, OPEN]):
                frames += self._closing(symbol, minute, rows[symbol], now)
        if self._faults.take(Fault.REORDER_CLOSES):
            frames = list(self._reordered(frames, minute, now))
        self._send(frames)

    def _closing(self, symbol: int, minute: int, row: Floats, now: int) -> list[Outgoing]:
        """The frames of a symbol at the end of a minute: one, if nothing is armed."""
        name, take = self._symbol(symbol), self._faults.take
        if self._faults.leaves_out(name, minute * MINUTE_MS) or take(Fault.DROP_CLOSE, name):
            return []
        if take(Fault.CORRECTED_CLOSE, name):
            row = correct(row)
        values = (row / self._scales[symbol]).tolist()
        if take(Fault.LATE_CLOSE, name):
            due = now + int(self._faults.late_by * 1000)
            late = self._frame(symbol, minute, values, due, closed=True)
            heapq.heappush(self._late, _Late(due, [late]))
            return []
        frame = self._frame(symbol, minute, values, now, closed=True)
        frames = [frame]
        if take(Fault.TRUNCATED_FRAME, name):
            frames = [Outgoing(symbol, _half(frame.raw), _half(frame.combined))]
        if take(Fault.DUPLICATE_CLOSE, name):
            frames *= 2
        if take(Fault.GARBAGE_FRAME, name):
            frames.insert(0, Outgoing(symbol, _GARBAGE, _GARBAGE))
        if take(Fault.UNKNOWN_FRAME, name):
            odd = combined(self._streams[symbol], _ODD_SHAPE)
            frames.insert(0, Outgoing(symbol, _ODD_SHAPE, odd))
        return frames

    def _reordered(self, frames: list[Outgoing], minute: int, now: int) -> Iterator[Outgoing]:
        values = (self._market.running(minute, 0.5) / self._scales).tolist()
        older = now - MINUTE_MS // 2
        for frame in reversed(frames):
            yield frame
            if not np.isnan(values[frame.symbol][OPEN]):
                yield self._frame(frame.symbol, minute, values[frame.symbol], older, closed=False)

    def _send_late(self, now: int) -> None:
        while self._late and self._late[0].due <= now:
            self._send(heapq.heappop(self._late).frames)

    def _apply_to_connections(self) -> None:
        """Faults of whole connections."""
        for connection in tuple(self._connections):
            if not connection.stalled and self._faults.take(Fault.STALL):
                connection.stalled = True
        if self._connections and self._faults.take(Fault.DISCONNECT):
            for connection in tuple(self._connections):
                connection.abort()

    def _symbol(self, index: int) -> str:
        return self._contracts[index].symbol


def _half(text: str) -> str:
    return text[: len(text) // 2]
