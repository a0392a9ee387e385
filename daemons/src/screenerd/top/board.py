"""All that is known: the rows, the alerts, the health, the connection. No terminal, no socket."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from screenerd.top.rows import FeedAlert, HealthTold, MetricsTold, Row

MOST_ALERTS = 500


@dataclass(frozen=True, slots=True)
class Connection:
    """How the conversation with the service goes.

    Attributes:
        state: `connecting` until it was live once.
        trouble: why it is not live, and what to do.
        retry_at: when it is tried again, in seconds of the event loop; `None` while it is tried.
    """

    state: Literal["connecting", "live", "reconnecting"] = "connecting"
    trouble: str = ""
    retry_at: float | None = None


class Board:
    """What the client writes and the screen shows."""

    def __init__(self, wanted: Collection[str] = ()) -> None:
        """Starts empty.

        Args:
            wanted: the symbols to follow; none: all of them.
        """
        self.wanted = frozenset(wanted)
        self.rows: dict[str, Row] = {}
        self.alerts: list[FeedAlert] = []
        self.health: HealthTold | None = None
        self.connection = Connection()
        self.unknown: tuple[str, ...] = ()
        self._ids: set[str] = set()

    def live(self) -> None:
        """The service answers."""
        self.connection = Connection("live")

    def trying(self) -> None:
        """The service is called now."""
        self.connection = Connection(self._not_live(), self.connection.trouble)

    def lost(self, trouble: str, retry_at: float) -> None:
        """The service does not answer, or not as it should."""
        self.health = None
        self.connection = Connection(self._not_live(), trouble, retry_at)

    def forget(self) -> None:
        """Another run of the service answers: what the last one told does not count any more."""
        self.rows = {symbol: Row(symbol) for symbol in self.rows}
        self.alerts.clear()
        self._ids.clear()

    def follow(self, symbols: Iterable[str]) -> None:
        """Takes the whole list of symbols; those that are not in it are gone."""
        told = set(symbols)
        kept = told & self.wanted if self.wanted else told
        self.rows = {symbol: self.rows.get(symbol) or Row(symbol) for symbol in sorted(kept)}
        self.unknown = tuple(sorted(self.wanted - told))

    def take_metrics(self, told: MetricsTold) -> None:
        """Takes the metrics of a symbol."""
        if self._is_wanted(told.symbol):
            row = self.rows.get(told.symbol) or Row(told.symbol)
            self.rows[told.symbol] = row.told(told)

    def take_prices(self, prices: Mapping[str, float]) -> None:
        """Takes prices of running minutes, of symbols whose metrics are known."""
        for symbol in prices.keys() & self.rows.keys():
            self.rows[symbol] = self.rows[symbol].at(prices[symbol])

    def take_sparklines(self, symbols: Mapping[str, Sequence[object]]) -> None:
        """Takes the closes of the last hour, of symbols that are followed."""
        for symbol in symbols.keys() & self.rows.keys():
            self.rows[symbol] = self.rows[symbol].with_closes(symbols[symbol])

    def take_alert(self, alert: FeedAlert) -> None:
        """Takes an alert; the newest stands first, one that is known is replaced."""
        if not self._is_wanted(alert.symbol):
            return
        if alert.id in self._ids:
            self.alerts = [one for one in self.alerts if one.id != alert.id]
        self._ids.add(alert.id)
        at = bisect_left(self.alerts, -alert.time, key=lambda one: -one.time)
        self.alerts.insert(at, alert)
        for forgotten in self.alerts[MOST_ALERTS:]:
            self._ids.discard(forgotten.id)
        del self.alerts[MOST_ALERTS:]

    def _is_wanted(self, symbol: str) -> bool:
        return not self.wanted or symbol in self.wanted

    def _not_live(self) -> Literal["connecting", "reconnecting"]:
        return "connecting" if self.connection.state == "connecting" else "reconnecting"
