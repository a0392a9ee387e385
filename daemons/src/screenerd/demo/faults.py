"""What the demo exchange does wrong when asked to; each fault is counted when it happens."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field

from screenerd.demo.archive import ArchiveFaults

ALWAYS = 1 << 62
"""As `times`: until it is disarmed."""


class Fault(enum.StrEnum):
    """The faults. Those of a symbol hit only symbols that somebody is subscribed to."""

    DROP_CLOSE = "drop_close"
    """The closing frame of a symbol's minute never comes."""
    LATE_CLOSE = "late_close"
    """It comes `Faults.late_by` seconds late."""
    DUPLICATE_CLOSE = "duplicate_close"
    """It comes twice."""
    CORRECTED_CLOSE = "corrected_close"
    """It has other values than REST will have."""
    TRUNCATED_FRAME = "truncated_frame"
    """Its second half is missing."""
    GARBAGE_FRAME = "garbage_frame"
    """A frame that is not JSON comes before it."""
    UNKNOWN_FRAME = "unknown_frame"
    """A frame of an unknown shape comes before it."""
    REORDER_CLOSES = "reorder_closes"
    """The closing frames of a minute come in reverse, each followed by an older open version."""
    LOSE_MINUTE = "lose_minute"
    """Neither the stream nor REST has a minute; see `Faults.lose_minute`."""
    STALL = "stall"
    """The oldest connection that is not stalled yet stays open and silent."""
    DISCONNECT = "disconnect"
    """All connections are cut."""
    REFUSE_CONNECTION = "refuse_connection"
    """A WebSocket handshake is cut."""
    REST_FAILURE = "rest_failure"
    """A REST request fails; see `Faults.fail_rest`."""


@dataclass(slots=True)
class _RestFailure:
    status: int
    times: int
    path: str
    seconds: float | None
    until: int | None = None


@dataclass(slots=True)
class Faults:
    """What is armed now; may be changed while the exchange runs.

    Attributes:
        late_by: how many seconds of market time a late close is late.
        archive: what is wrong with the files of the archive.
        happened: how often each fault has happened.
    """

    late_by: float = 5.0
    archive: ArchiveFaults = field(default_factory=ArchiveFaults)
    happened: Counter[Fault] = field(default_factory=Counter)
    _armed: dict[tuple[Fault, str], int] = field(default_factory=dict)
    _lost: set[tuple[str, int]] = field(default_factory=set)
    _rest: list[_RestFailure] = field(default_factory=list)

    def arm(self, fault: Fault, symbol: str = "", *, times: int = 1) -> None:
        """Lets a fault happen the next `times` times it can.

        Args:
            fault: any but `LOSE_MINUTE` and `REST_FAILURE`, which have methods of their own.
            symbol: whose frames it hits; all symbols count as one where it is empty.
            times: how often; `ALWAYS` until it is disarmed.

        Raises:
            ValueError: the fault has a method of its own, or `times` is below 1.
        """
        if fault in (Fault.LOSE_MINUTE, Fault.REST_FAILURE):
            raise ValueError(f"{fault} cannot be armed: call lose_minute() or fail_rest()")
        if times < 1:
            raise ValueError(f"times = {times}: give at least 1")
        self._armed[fault, symbol] = times

    def disarm(self, fault: Fault | None = None) -> None:
        """Ends a fault for all symbols, or every fault; a lost minute stays so until found."""
        self._armed = {
            key: times for key, times in self._armed.items() if fault not in (None, key[0])
        }
        if fault in (None, Fault.REST_FAILURE):
            self._rest.clear()

    def lose_minute(self, symbol: str, open_time: int) -> None:
        """The exchange has no such minute (ms); ask for one whose first frame is still to come."""
        self._lost.add((symbol, open_time))

    def find_minute(self, symbol: str, open_time: int) -> None:
        """The exchange has a minute (ms) after all that was lost."""
        self._lost.discard((symbol, open_time))

    def fail_rest(
        self, status: int, *, times: int = ALWAYS, seconds: float | None = None, path: str = ""
    ) -> None:
        """REST requests are answered with an error.

        Args:
            status: 429, 418, 500 or another.
            times: how many of them.
            seconds: for how long from the first of them on, in market time.
            path: only requests whose path ends so, such as `klines`.
        """
        self._rest.append(_RestFailure(status, times, path, seconds))

    def take(self, fault: Fault, symbol: str = "") -> bool:
        """Whether a fault happens here and now; the exchange asks, and it is counted."""
        if not self._armed:
            return False
        for key in ((fault, symbol), (fault, "")):
            left = self._armed.get(key, 0)
            if left > 1:
                self._armed[key] = left - 1
            elif left == 1:
                del self._armed[key]
            if left:
                self.happened[fault] += 1
                return True
        return False

    def lost(self, symbol: str, open_time: int) -> bool:
        """Whether a minute is lost."""
        return bool(self._lost) and (symbol, open_time) in self._lost

    def leaves_out(self, symbol: str, open_time: int) -> bool:
        """Whether a minute is lost; counted, as the exchange now leaves it out."""
        lost = self.lost(symbol, open_time)
        if lost:
            self.happened[Fault.LOSE_MINUTE] += 1
        return lost

    def rest_status(self, path: str, now: int) -> int | None:
        """The status with which a request fails at a time (ms), or `None`."""
        for failure in self._rest:
            if not path.endswith(failure.path):
                continue
            if failure.seconds is not None and failure.until is None:
                failure.until = now + int(failure.seconds * 1000)
            if failure.until is not None and now >= failure.until:
                continue
            if failure.times > 0:
                failure.times -= 1
                self.happened[Fault.REST_FAILURE] += 1
                return failure.status
        return None
