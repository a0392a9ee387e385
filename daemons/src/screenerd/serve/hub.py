"""Alerts to the clients of a websocket: each at its own pace, none held up by another."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import Protocol

from screenerd.model import RuleSwitch
from screenerd.serve import frames

REMEMBERED = 10_000
"""The newest alerts that a client can still ask for when it comes back."""

MOST_WAITING = 1_000
"""Frames that may wait for a client that reads too slowly."""

MOST_AHEAD = 1_000
"""So many alerts more than here may be known where a client comes from, of the same epoch."""

MOST_STUCK_SECONDS = 8.0
"""So long a client may take nothing at all."""

TOO_SLOW = 1013


class Outlet(Protocol):
    """A client's connection."""

    @property
    def ready(self) -> bool:
        """Whether it takes more now; once it does again, `Client.resumed` is to be called."""
        ...

    def write(self, frame: bytes) -> None:
        """Sends bytes, or keeps them until they can be sent."""
        ...

    def abort(self) -> None:
        """Ends it at once, whatever is still to be sent."""
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """An alert as every client gets it."""

    offset: int
    symbol: str
    rule: str
    triggered_at: int
    frame: bytes
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client wants to hear of; `None` is everything.

    `changes` are those of the rules, `shadow` asks for shadow alerts, too.
    """

    alerts: bool = True
    metrics: bool = False
    prices: bool = False
    changes: bool = False
    shadow: bool = False
    symbols: frozenset[str] | None = None
    rules: frozenset[str] | None = None


@dataclass(slots=True, eq=False)
class Client:
    """One client: what it wants, and what waits for it.

    Attributes:
        outlet: its connection.
        switches: the rules as its user has them; the same object for all clients of a user.
        wish: what it has subscribed to; nothing is sent before it has.
        after: the offset up to which it has heard everything already.
    """

    outlet: Outlet
    switches: Mapping[str, RuleSwitch]
    wish: Wish | None = None
    after: int = 0
    _waiting: deque[bytes] = field(default_factory=deque)
    _stuck_since: float | None = None
    _told_at: dict[tuple[str, str], int] = field(default_factory=dict)

    def offer(self, frame: bytes) -> None:
        """Sends a frame, or lets it wait; a client that lets too many wait is ended."""
        if not self._waiting and self.outlet.ready:
            self.outlet.write(frame)
        elif len(self._waiting) >= MOST_WAITING:
            self.outlet.abort()
        else:
            self._waiting.append(frame)

    def offer_now(self, frame: bytes) -> None:
        """Sends a frame if the connection takes it now; there will be a newer one."""
        if not self._waiting and self.outlet.ready:
            self.outlet.write(frame)

    def resumed(self) -> None:
        """Sends what waits, as far as the connection takes it."""
        while self._waiting and self.outlet.ready:
            self.outlet.write(self._waiting.popleft())

    def stuck(self, now: float) -> bool:
        """Whether it has taken nothing for too long."""
        if self.outlet.ready:
            self._stuck_since = None
            return False
        if self._stuck_since is None:
            self._stuck_since = now
        return now - self._stuck_since > MOST_STUCK_SECONDS

    def wants(self, sent: Sent) -> bool:
        """Whether an alert is for this client, by its wish and its user's switches."""
        wish = self.wish
        if wish is None or not wish.alerts or (sent.shadow and not wish.shadow):
            return False
        if wish.symbols is not None and sent.symbol not in wish.symbols:
            return False
        if wish.rules is not None and sent.rule not in wish.rules:
            return False
        switch = self.switches.get(sent.rule)
        return switch is None or self._passes(switch, sent)

    def _passes(self, switch: RuleSwitch, sent: Sent) -> bool:
        if not switch.enabled:
            return False
        if switch.cooldown_ms is None:
            return True
        key = (sent.symbol, sent.rule)
        told = self._told_at.get(key)
        if told is not None and sent.triggered_at < told + switch.cooldown_ms:
            return False
        self._told_at[key] = sent.triggered_at
        return True


class Hub:
    """Numbers alerts, remembers the newest, and hands them to every client that wants them."""

    def __init__(self, epoch: str, *, shared: bool = False) -> None:
        """Starts without clients.

        Args:
            epoch: names what offsets count: those of another one mean nothing here.
            shared: whether other hubs have the same epoch, and may be ahead of this one.
        """
        self.epoch = epoch
        self._most_ahead = MOST_AHEAD if shared else 0
        self.offset = 0
        self.clients: set[Client] = set()
        self._newest: deque[Sent] = deque()
        self._forgotten = 0

    def publish(
        self,
        symbol: str,
        rule: str,
        triggered_at: int,
        data: bytes,
        *,
        shadow: bool = False,
        offset: int | None = None,
    ) -> None:
        """Hands on an alert, encoded already; numbered by the bus, or else here."""
        self.offset = self.offset + 1 if offset is None else offset
        frame = frames.alert(self.offset, data)
        sent = Sent(self.offset, symbol, rule, triggered_at, frame, shadow)
        if not self._newest:
            self._forgotten = self.offset - 1
        self._newest.append(sent)
        if len(self._newest) > REMEMBERED:
            self._forgotten = self._newest.popleft().offset
        for client in self.clients:
            if sent.offset > client.after and client.wants(sent):
                client.offer(frame)

    def publish_metrics(self, told: Mapping[str, bytes]) -> None:
        """Hands on metrics, encoded already, by symbol."""
        listeners = [one for one in self.clients if one.wish is not None and one.wish.metrics]
        if not listeners:
            return
        made = {symbol: frames.metrics(data) for symbol, data in told.items()}
        together = b"".join(made.values())
        for client in listeners:
            wish = client.wish
            if wish is None or wish.symbols is None:
                client.offer(together)
            elif chosen := [made[symbol] for symbol in wish.symbols & made.keys()]:
                client.offer(b"".join(chosen))

    def publish_prices(self, at: int, prices: Mapping[str, float]) -> None:
        """Hands on the prices of running minutes, to those who can take them at once."""
        listeners = [one for one in self.clients if one.wish is not None and one.wish.prices]
        everything = frames.prices(at, prices) if listeners else b""
        for client in listeners:
            wish = client.wish
            if wish is None or wish.symbols is None:
                client.offer_now(everything)
            elif chosen := {name: prices[name] for name in wish.symbols & prices.keys()}:
                client.offer_now(frames.prices(at, chosen))

    def publish_rules(self) -> None:
        """Tells those who want to know that rules, or what users have changed of them, are others.

        What they are now differs from user to user: who is told asks.
        """
        for client in self.clients:
            if client.wish is not None and client.wish.changes:
                client.offer(frames.RULES)

    def wants_metrics(self) -> bool:
        """Whether anybody listens to metrics."""
        return any(one.wish is not None and one.wish.metrics for one in self.clients)

    def subscribe(self, client: Client, wish: Wish, since: int | None, epoch: str | None) -> None:
        """Gives a client its wish, and what it has missed since an offset of this epoch."""
        missed = self._since(since) if epoch == self.epoch else None
        client.wish = wish
        client.after = 0 if missed is None or since is None else since
        answer = {
            "type": "subscribed",
            "offset": self.offset,
            "epoch": self.epoch,
            "recovered": missed is not None,
        }
        client.offer(frames.message(answer))
        wanted = b"".join(sent.frame for sent in missed or () if client.wants(sent))
        if wanted:
            client.offer(wanted)

    def ping(self) -> None:
        """Asks every client whether it is still there."""
        for client in self.clients:
            client.offer(frames.PING)

    def drop_stuck(self, now: float) -> int:
        """Ends the connections of clients that take nothing; gives how many."""
        stuck = [client for client in self.clients if client.stuck(now)]
        for client in stuck:
            client.outlet.abort()
        return len(stuck)

    def _since(self, offset: int | None) -> Iterable[Sent] | None:
        """The alerts after an offset; `None` if some of them are forgotten, or never were."""
        if offset is None or not self._forgotten <= offset <= self.offset + self._most_ahead:
            return None
        first = bisect_right(self._newest, offset, key=attrgetter("offset"))
        return list(islice(self._newest, first, None))
