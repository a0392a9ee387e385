"""What the roles tell each other: candles, alerts, and what became of a feed. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from screener import RuleSet

Source = Literal["synthetic", "stream", "rest", "archive"]

MINUTE_MS = 60_000
"""Length of a minute in milliseconds."""


@dataclass(frozen=True, slots=True)
class Candle:
    """One version of one minute of one symbol, as it reached us.

    Attributes:
        symbol: the exchange's name of it.
        open_time: start of the minute, ms since the epoch, UTC.
        open: first price.
        high: highest price.
        low: lowest price.
        close: last price.
        volume: traded amount of the base asset.
        quote_volume: traded amount of the quote asset.
        trades: number of trades, if known.
        taker_buy_volume: base volume bought by takers, if known.
        taker_buy_quote_volume: quote volume bought by takers, if known.
        closed: whether the minute is over.
        event_time: when the exchange made this version, ms, if it says so.
        source: where it came from; `synthetic` says that the source has no such minute.
        revision: 0 for the first closed version of a minute, one more each time values change.
        received_at: when it reached this machine, ms.
    """

    symbol: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trades: int | None = None
    taker_buy_volume: float | None = None
    taker_buy_quote_volume: float | None = None
    closed: bool = True
    event_time: int | None = None
    source: Source = "stream"
    revision: int = 0
    received_at: int = 0

    @property
    def close_time(self) -> int:
        """When the minute is over, ms."""
        return self.open_time + MINUTE_MS

    def same_values(self, other: Candle) -> bool:
        """Whether both tell the same numbers, wherever they came from."""
        return self.values == other.values

    @property
    def values(self) -> tuple[float | None, ...]:
        """The numbers: prices, volumes, trades."""
        return (
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.quote_volume,
            self.trades,
            self.taker_buy_volume,
            self.taker_buy_quote_volume,
        )


@dataclass(frozen=True, slots=True)
class CandleBatch:
    """The candles of one burst, in their order of arrival."""

    exchange: str
    candles: tuple[Candle, ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """Closed bars of one of the longer lengths, for indicators that look back for weeks.

    `closes` are (open_time in ms, close), oldest first.
    """

    exchange: str
    symbol: str
    timeframe: str
    closes: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A frame that could not be read, kept as it came."""

    exchange: str
    received_at: int
    reason: str
    frame: bytes


@dataclass(frozen=True, slots=True)
class Stamps:
    """The times of an alert on its way, ms; `None` for what has not happened yet."""

    exchange_close: int
    exchange_event: int | None
    received: int
    decided: int
    stored: int | None = None
    sent: int | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule that held: SPEC 5.4, and when it passed each station.

    `id` is a UUID that a replay of the same candles gives again. `direction` is `up` or `down`,
    `title` the rule's own. One with `shadow` is stored and scored, and told to nobody who has not
    asked for such.
    """

    id: str
    triggered_at: int
    exchange: str
    symbol: str
    rule: str
    title: str
    direction: str
    timeframe: str
    price: float
    quote_volume: float | None
    change: float | None
    vcp: float | None
    state: str
    rule_version: str
    evidence: dict[str, float | None]
    stamps: Stamps
    shadow: bool = False

    def at(self, **times: int) -> Alert:
        """The same alert with more of its times known."""
        return replace(self, stamps=replace(self.stamps, **times))


HORIZONS = ("5m", "15m", "1h", "4h")
"""How far ahead alerts are scored."""


@dataclass(frozen=True, slots=True)
class AlertScore:
    """What the price did after an alert, a value a horizon; `None` where minutes are missing.

    Attributes:
        alert_id: whose.
        exchange: of the alert, as those that follow.
        symbol: of the alert.
        rule: of the alert.
        rule_version: of the alert.
        shadow: of the alert.
        triggered_at: of the alert, ms.
        returns: with the alert's sign, %.
        mfe: furthest the price went for the alert, %, 0 or more.
        mae: furthest it went against it, %, 0 or less.
    """

    alert_id: str
    exchange: str
    symbol: str
    rule: str
    rule_version: str
    shadow: bool
    triggered_at: int
    returns: tuple[float | None, ...]
    mfe: tuple[float | None, ...]
    mae: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class HorizonScore:
    """How a rule did over a horizon, as `screener.scorecard` counts; `None` where nothing is known.

    Attributes:
        n: alerts whose return is known.
        missing: alerts whose return is not, because minutes are missing.
        hit_rate: share of returns above 0.
        mean: of the returns, %.
        median: of the returns, %.
        profit_factor: sum of gains by sum of losses; `None` where nothing was lost.
        mfe: mean of what the price went for the alert, %.
        mae: mean of what it went against it, %.
    """

    n: int
    missing: int
    hit_rate: float | None = None
    mean: float | None = None
    median: float | None = None
    profit_factor: float | None = None
    mfe: float | None = None
    mae: float | None = None


@dataclass(frozen=True, slots=True)
class RuleScore:
    """How a rule did.

    Attributes:
        alerts: how many of it are scored.
        versions: how many versions of the rule raised them.
        first: when the oldest was triggered, ms.
        last: when the newest was.
        horizons: by horizon, in the order of `HORIZONS`.
    """

    alerts: int
    versions: int
    first: int
    last: int
    horizons: Mapping[str, HorizonScore]


@dataclass(frozen=True, slots=True, eq=False)
class Metrics:
    """Every metric of the symbols of which a minute has just closed.

    `frame` has a row a symbol, as `screener.Engine.snapshot` gives it: `symbol`, `open_time` of
    the newest minute in ms, and a column a metric, null while it is not ready.
    """

    exchange: str
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """The newest prices of the running minutes that have moved, for those who look; never kept.

    Attributes:
        exchange: whose.
        at: market time, ms.
        prices: by symbol.
    """

    exchange: str
    at: int
    prices: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RuleSwitch:
    """What was changed of a rule: whether it is on, and its cooldown in ms (`None`: its own)."""

    rule: str
    enabled: bool = True
    cooldown_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RulesFault:
    """Why the files of the rules are not in force as they are now.

    Attributes:
        file: which of them.
        told: what is wrong.
        line: where, from 1, if it is known.
        column: where in that line, from 1.
        since: when it was found, ms.
    """

    file: str
    told: str
    line: int | None
    column: int | None
    since: int

    @property
    def where(self) -> str:
        """The file, and the place in it."""
        place = {"line": self.line, "column": self.column}
        return ", ".join([self.file, *(f"{k} {v}" for k, v in place.items() if v is not None)])


@dataclass(frozen=True, slots=True, eq=False)
class RulesChanged:
    """The rules that are in force from now on; or the same, and what has become of their files.

    Attributes:
        rules: as they are before anybody switches them.
        fault: why the files are not in force as they are, if they are not.
    """

    rules: RuleSet
    fault: RulesFault | None = None


@dataclass(frozen=True, slots=True)
class RulesStatus:
    """How the files of the rules do.

    Attributes:
        loaded_at: since when the rules in force are, ms.
        loads: how often other rules came into force since the start.
        failures: how often files were refused.
        fault: why they are not in force as they are.
    """

    loaded_at: int
    loads: int = 0
    failures: int = 0
    fault: RulesFault | None = None


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """A user has chosen anew where to be told and of what; the store has it."""

    user: str


@dataclass(frozen=True, slots=True)
class Followed:
    """Symbols that were listed while others were followed, told again at each start.

    Minutes that open before `judged_from` (ms) are their history, and nobody's to judge.
    """

    exchange: str
    symbols: tuple[str, ...]
    judged_from: int


@dataclass(frozen=True, slots=True)
class Unfollowed:
    """The exchange lists these symbols no longer."""

    exchange: str
    symbols: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class FeedLost:
    """A connection to the exchange ended: nothing arrives for its symbols."""

    exchange: str
    connection: int
    symbols: tuple[str, ...]
    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reconnected:
    """A connection delivers again; what closed between is missing until it has been filled."""

    exchange: str
    connection: int
    symbols: tuple[str, ...]
    since: int
    at: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a role tells of itself every few seconds; never kept.

    Attributes:
        role: which.
        instance: which of those that run the role.
        at: when, ms.
        body: what it tells, as JSON has it.
    """

    role: str
    instance: str
    at: int
    body: dict[str, Any]


State = Literal["starting", "ok", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is not well: where, what, and what to do about it."""

    where: str
    told: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Health:
    """`starting` until every symbol is warm; `down` while nothing fresh is judged or stored."""

    state: State
    troubles: tuple[Trouble, ...] = ()

    @property
    def told(self) -> str:
        """The state and its reasons in a line."""
        return "; ".join([self.state, *(f"{one.where}: {one.told}" for one in self.troubles)])


ServiceState = Literal["up", "down", "stale"]


@dataclass(frozen=True, slots=True)
class SymbolStatus:
    """How fresh a symbol is.

    Attributes:
        symbol: its name.
        last_close: when its newest complete minute was over, ms; 0 if there is none.
        warm: whether its history is in.
        missing: minutes that are missing of it now.
    """

    symbol: str
    last_close: int
    warm: bool
    missing: int


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """What those who look from outside are told of the whole.

    Attributes:
        exchange: the exchange's name.
        health: the state and its reasons.
        services: what each role is doing, by the names of the API.
        now: market time, ms.
        speed: how much faster than the machine's time it runs.
        last_close: when the newest minute was over, ms; 0 if there is none.
        symbols: how many are followed.
        warm: how many of them have their history.
        rules: how the files of the rules do.
    """

    exchange: str
    health: Health
    services: dict[str, ServiceState]
    now: int
    speed: float
    last_close: int
    symbols: int
    warm: int
    rules: RulesStatus = RulesStatus(0)
