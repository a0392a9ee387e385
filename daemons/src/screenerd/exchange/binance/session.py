"""One websocket connection as a state: what to send next, and when silence means that it is dead.

No socket and no clock in here: every method is told the time, in seconds that never go back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from screenerd.exchange.binance import messages

NAMES_A_MESSAGE = 200
SECONDS_BETWEEN_MESSAGES = 0.25
ACK_SECONDS = 10.0
FIRST_FRAME_SECONDS = 30.0
SILENCE_SECONDS = 30.0
SYMBOL_SECONDS = 90.0
"""A symbol that trades at all has closed a minute by then."""

ASK_AGAIN_SECONDS = 600.0


@dataclass(slots=True)
class Session:
    """What one connection has asked for, and what it has delivered.

    Attributes:
        opened: when the connection was made.
        delivered: symbols a candle has come for.
    """

    opened: float
    delivered: set[str] = field(default_factory=set)
    _wanted: set[str] = field(default_factory=set)
    _requests: deque[tuple[bool, list[str]]] = field(default_factory=deque)
    _unanswered: dict[int, float] = field(default_factory=dict)
    _next_id: int = 1
    _next_send: float = 0.0
    _last_frame: float = 0.0
    _asked: float | None = None
    _patience: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The connection itself was a sign of life."""
        self._last_frame = self.opened

    def follow(self, symbols: Iterable[str]) -> None:
        """From now on these symbols are wanted, and no others."""
        wanted = set(symbols)
        self._ask(subscribing=True, symbols=sorted(wanted - self._wanted))
        self._ask(subscribing=False, symbols=sorted(self._wanted - wanted))
        self._wanted = wanted
        self.delivered &= wanted
        self._patience = {s: at for s, at in self._patience.items() if s in wanted}

    @property
    def complete(self) -> bool:
        """Whether every symbol has delivered."""
        return len(self.delivered) == len(self._wanted)

    def next_message(self, now: float) -> bytes | None:
        """The next request, when it may be sent."""
        if not self._requests or now < self._next_send:
            return None
        subscribing, symbols = self._requests.popleft()
        request = messages.subscribe if subscribing else messages.unsubscribe
        message = request([messages.stream_name(symbol) for symbol in symbols], self._next_id)
        for symbol in symbols if subscribing else ():
            self._patience.setdefault(symbol, now + SYMBOL_SECONDS)
        self._unanswered[self._next_id] = now + ACK_SECONDS
        self._next_id += 1
        self._next_send = now + SECONDS_BETWEEN_MESSAGES
        self._asked = now if self._asked is None else self._asked
        return message

    def alive(self, now: float) -> None:
        """Something has come, if only a ping."""
        self._last_frame = now

    def answered(self, ack: messages.Ack) -> str | None:
        """Takes an answer; what is wrong if it is an error."""
        if ack.id is not None:
            self._unanswered.pop(ack.id, None)
        return None if ack.error is None else f"the exchange refused a request: {ack.error}"

    def candle(self, symbol: str) -> bool:
        """Takes note of a candle; whether it is the connection's first."""
        first = not self.delivered
        self.delivered.add(symbol)
        return first

    def silent(self, now: float) -> list[str]:
        """Symbols that were asked for long ago and have delivered nothing.

        They are asked for again, at times: an acknowledgement proves nothing.
        """
        silent = [
            symbol
            for symbol in sorted(self._wanted - self.delivered)
            if now > self._patience.get(symbol, now)
        ]
        if silent:
            self._patience |= dict.fromkeys(silent, now + ASK_AGAIN_SECONDS)
            self._ask(subscribing=True, symbols=silent)
        return silent

    def verdict(self, now: float) -> str | None:
        """Why the connection has to be given up, if it has to."""
        if now - self._last_frame > SILENCE_SECONDS:
            return f"no frame for {SILENCE_SECONDS:.0f} s"
        if any(now > deadline for deadline in self._unanswered.values()):
            return f"a request was not answered within {ACK_SECONDS:.0f} s"
        waiting = bool(self._wanted) and not self.delivered
        if waiting and self._asked is not None and now - self._asked > FIRST_FRAME_SECONDS:
            return (
                f"subscribed, and no candle within {FIRST_FRAME_SECONDS:.0f} s: "
                "is the address the routed one (/market/stream)?"
            )
        return None

    def _ask(self, *, subscribing: bool, symbols: list[str]) -> None:
        for begin in range(0, len(symbols), NAMES_A_MESSAGE):
            self._requests.append((subscribing, symbols[begin : begin + NAMES_A_MESSAGE]))
