"""What the roles ask of a store, whichever keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import polars as pl

from screenerd.model import (
    Alert,
    AlertScore,
    Bars,
    Candle,
    CandleBatch,
    DeadLetter,
    Metrics,
    RuleScore,
    RuleSwitch,
)

MinuteRow = tuple[
    int, float, float, float, float, float, float, float | None, float | None, float | None, str
]
"""A stored minute: open_time, open, high, low, close, volume, quote_volume, trades,
taker_buy_volume, taker_buy_quote_volume, source."""


class StoreError(Exception):
    """The store could not do what it was asked; says what, and what to do about it."""


class StoreInUseError(StoreError):
    """Another process has the store; `told` says which."""

    def __init__(self, store: object, holder: str) -> None:
        """Names the store and the process."""
        self.told = f"{store} is in use by process {holder}"
        super().__init__(
            f"{self.told}: only one may write a store; stop it, or give this one another path"
        )


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Some of a journal.

    Attributes:
        candles: in their order of arrival.
        after: the mark after which the next page begins; `None` if there is no more.
    """

    candles: list[Candle]
    after: int | None


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Whether the store takes writes.

    Attributes:
        state: `up`, or `down` while nothing can be committed.
        error: why it is down.
        pending: rows that wait for a commit.
        since: when it came to be in this state, ms.
    """

    state: Literal["up", "down"]
    error: str | None
    pending: int
    since: int


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
class Span:
    """Times from `start` on and before `end`, ms, in which a symbol is followed.

    Attributes:
        start: the first minute that is expected.
        end: `None` is an end that is not known yet.
        judged_from: the first minute that is judged, where that is not the same as for all.
    """

    start: int
    end: int | None
    judged_from: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no time is in it."""
        return self.end is not None and self.end <= self.start


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


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are asked for; what is `None` is not asked. Shadow ones only on request."""

    symbol: str | None = None
    rule: str | None = None
    since: int | None = None
    shadow: bool = False

    def takes(self, alert: Alert) -> bool:
        """Whether an alert is asked for."""
        return (
            self.symbol in (None, alert.symbol)
            and self.rule in (None, alert.rule)
            and (self.since is None or alert.triggered_at >= self.since)
            and (self.shadow or not alert.shadow)
        )


@dataclass(frozen=True, slots=True)
class AlertPage:
    """A page of stored alerts.

    Attributes:
        alerts: newest first.
        total: how many there are in all.
        offset: how many come before.
        held: which of those that were named are stored, asked for or not.
    """

    alerts: list[Alert]
    total: int
    offset: int
    held: frozenset[str]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user has chosen: rules to be told of (none: all), where to, and whether at all."""

    selected_alerts: tuple[str, ...] = ()
    webhook_url: str | None = None
    notification_enabled: bool = True


FOREVER: Final = 1 << 52
"""Later than any instant, ms."""


class Past(Protocol):
    """What an engine is rebuilt from."""

    async def first_seen(self, names: Sequence[str], now: int) -> list[int]:
        """When each thing was first heard of, ms: now, which is kept, if it never was."""
        ...

    async def rule_switches(self) -> dict[str, RuleSwitch]:
        """What was changed of the rules for everybody, by rule."""
        ...

    async def newest(self, exchange: str) -> dict[str, int]:
        """The newest stored minute of every symbol, ms."""
        ...

    async def judged_from(self, exchange: str) -> dict[str, int]:
        """The first minute that is judged of each symbol that was listed later than others, ms.

        What it has of older minutes is its history, and nobody's to judge.
        """
        ...

    async def oldest_arrival(self, exchange: str, since: int, *, opens_from: int) -> int | None:
        """The oldest minute from `opens_from` on of which a version was received since a time.

        The history of symbols that were listed later is left out.
        """
        ...

    async def journal(
        self,
        exchange: str,
        start: int,
        end: int,
        *,
        opens_from: int = 0,
        symbols: Sequence[str] | None = None,
        after: int = 0,
        limit: int,
    ) -> JournalPage:
        """Closed versions received in [start, end) ms, in order of arrival, `limit` at most.

        Of minutes that open at `opens_from` or later, and of these symbols, where they are given;
        those after a mark, where the page before gave one.
        """
        ...

    async def bars(
        self, exchange: str, timeframe: str, *, symbols: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """All stored bars of a length: symbol, open_time in ms, close; by symbol and time.

        Of these symbols, where they are given.
        """
        ...

    async def minutes(
        self, exchange: str, symbols: Sequence[str], start: int, end: int
    ) -> pl.DataFrame:
        """Closed candles of some symbols that open in [start, end), as `Engine.warm_up` takes them.

        Hundreds of thousands of rows: as a frame they need a tenth of the memory.
        """
        ...

    async def alerts(self, since: int, *, symbols: Sequence[str] | None = None) -> list[Alert]:
        """Alerts triggered at `since` or later, oldest first; of these symbols, where given."""
        ...


class Store(Past, Protocol):
    """Candles, alerts and deliveries; every write is durable when it returns."""

    @property
    def health(self) -> StoreHealth:
        """Whether writes are being committed, and how many rows wait."""
        ...

    async def write(self, *items: CandleBatch | Alert | DeadLetter | Bars | Metrics) -> None:
        """Stores items; returns when they are committed.

        A closed candle is upserted by (exchange, symbol, open_time), gets its revision and a row in
        the journal; open ones are ignored. An alert that is there already is left as it is, but for
        its state. Metrics are kept where the store is to keep them, by (exchange, symbol, open_time
        of the newest minute, timeframe).
        """
        ...

    async def candles(
        self, exchange: str, symbol: str | None, start: int, end: int
    ) -> list[Candle]:
        """Closed candles that open in [start, end), ordered by time, symbol."""
        ...

    async def tracked(self, exchange: str) -> dict[str, int]:
        """Since when minutes of the symbols that are followed are expected, ms."""
        ...

    async def page(
        self, exchange: str, symbol: str, start: int | None, end: int | None, limit: int
    ) -> list[MinuteRow]:
        """At most `limit` closed candles of a symbol that open in [start, end), oldest first.

        The first of them, or where `start` is `None` the last.
        """
        ...

    async def held(self, exchange: str, start: int, end: int) -> dict[str, list[tuple[int, int]]]:
        """The runs of minutes of every symbol that are held, as [first, end) in ms."""
        ...

    async def newest_bars(self, exchange: str) -> dict[tuple[str, str], int]:
        """The newest stored bar of every (symbol, timeframe), its open_time in ms."""
        ...

    async def alert_page(
        self, wanted: AlertFilter, limit: int, offset: int, named: Sequence[str] = ()
    ) -> AlertPage:
        """A page of alerts, newest first; and which of the ids that are named are stored."""
        ...

    async def set_rule_switch(self, switch: RuleSwitch) -> None:
        """Changes a rule for everybody."""
        ...

    async def user_switches(self) -> dict[str, dict[str, RuleSwitch]]:
        """What users have changed of the rules for themselves, by user and rule."""
        ...

    async def set_user_switch(self, user: str, switch: RuleSwitch) -> None:
        """Changes a rule for one user."""
        ...

    async def settings(self, user: str) -> Settings:
        """What a user has chosen; the defaults if nothing."""
        ...

    async def set_settings(self, user: str, settings: Settings, now: int) -> None:
        """Keeps what a user has chosen."""
        ...

    async def all_settings(self) -> dict[str, Settings]:
        """What every user has chosen."""
        ...

    async def enqueue(self, alert: Alert, channels: Sequence[str], now: int) -> None:
        """Stores an alert and puts it into the outbox, once a channel however often it is asked."""
        ...

    async def unclaimed(self, channel: str, since: int) -> list[Alert]:
        """Alerts triggered at `since` or later that are not in a channel's outbox, oldest first.

        Without shadow ones.
        """
        ...

    async def unscored(
        self, exchange: str, after: tuple[int, str], until: int, limit: int
    ) -> list[Alert]:
        """The first alerts behind one, as (triggered_at, id), up to a time, that have no score."""
        ...

    async def stretches(self, exchange: str, spans: Sequence[tuple[str, int, int]]) -> pl.DataFrame:
        """Prices of the minutes of symbols that open in [start, end): symbol, open_time, …, close.

        In the order of the spans, each by time.
        """
        ...

    async def write_scores(self, scores: Sequence[AlertScore]) -> None:
        """Keeps what came after alerts; of an alert that has a score the first stands."""
        ...

    async def scorecard(self, since: int = 0, rule: str | None = None) -> dict[str, RuleScore]:
        """How each rule, or one, did since a time in ms, by rule."""
        ...

    async def due(self, now: int, limit: int = 100) -> list[tuple[Delivery, Alert]]:
        """Deliveries to try now, oldest first."""
        ...

    async def dead(self, channel: str) -> list[Delivery]:
        """Deliveries of a channel that were given up, oldest first."""
        ...

    async def delivered(self, delivery: Delivery, at: int) -> None:
        """Records that a delivery was made; sets `webhook_sent` of its alert."""
        ...

    async def delivered_to(self, alert_id: str, channel: str, at: int) -> None:
        """Records that an alert was delivered to a channel, if it is to be and was not."""
        ...

    async def postponed(self, delivery: Delivery) -> None:
        """Records a failed try: attempts, next_try, last_error, state."""
        ...

    async def audit(self, exchange: str, start: int, end: int) -> list[AuditRow]:
        """What is expected and what is held, hour by hour; times in ms, hours whole."""
        ...

    async def set_tracking(self, exchange: str, spans: Mapping[str, Span]) -> None:
        """When minutes of symbols are expected, of all of these or, if it fails, of none.

        Said again with another end, or from another time on, the later word holds from its start;
        of `judged_from` the first holds, until the symbol has an end.
        """
        ...

    async def prune(self, now: int) -> int:
        """Drops what is older than the retention; gives how many rows."""
        ...
