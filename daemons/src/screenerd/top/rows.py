"""What the service tells, as values: a row for each symbol, the alerts, the health. Pure.

Nothing that is told is taken for granted: what is no number is not ready, and names lose what a
terminal would obey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal

from screenerd.top.text import clean, decimals_of

SPARK_MINUTES = 60
WINDOWS = ("5m", "15m", "1h", "4h", "8h", "1d")

_LAST_MS = 253_402_300_800_000
"""The year 10000, from which on a time cannot be written."""

Frames = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a symbol; `None` while it is not.

    Attributes:
        symbol: its name, as the service writes it.
        time: when its newest minute was over, ms.
        price: its newest close, or where it has moved to since.
        decimals: with how many its prices are written.
        closes: those of the last hour, oldest first.
        frames: its metrics, by window and name.
    """

    symbol: str
    time: int | None = None
    price: float | None = None
    decimals: int = 0
    closes: tuple[float | None, ...] = ()
    frames: Frames = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The symbol as it is shown."""
        return clean(self.symbol)

    def reading(self, window: str, metric: str) -> float | None:
        """A metric of one window."""
        frame = self.frames.get(window)
        return number(frame.get(metric)) if isinstance(frame, Mapping) else None

    @property
    def hour_change(self) -> float | None:
        """From the oldest to the newest close of the hour, %."""
        known = [close for close in self.closes if close is not None]
        return (known[-1] / known[0] - 1) * 100 if known and known[0] else None

    def at(self, price: float) -> Row:
        """The row after its price has moved within the minute; nothing before its first close."""
        if self.time is None:
            return self
        return replace(self, price=price, decimals=max(self.decimals, decimals_of(price)))

    def told(self, told: MetricsTold) -> Row:
        """The row after metrics have come; those that are older than its own change nothing."""
        if self.time is not None and told.time < self.time:
            return self
        closes = self.closes
        if self.time is not None and told.price is not None:
            # A minute that is told again was corrected.
            kept = closes[:-1] if told.time == self.time else closes
            closes = (*kept, told.price)[-SPARK_MINUTES:]
        decimals = max(self.decimals, decimals_of(told.price))
        return replace(
            self,
            time=told.time,
            price=told.price,
            decimals=decimals,
            closes=closes,
            frames=told.frames,
        )

    def with_closes(self, closes: Sequence[object]) -> Row:
        """The row with the closes of its last hour."""
        read = tuple(number(close) for close in closes[-SPARK_MINUTES:])
        return replace(self, closes=read, decimals=max(self.decimals, *map(decimals_of, read), 0))


@dataclass(frozen=True, slots=True)
class MetricsTold:
    """The metrics of a symbol at a minute."""

    symbol: str
    time: int
    price: float | None
    frames: Frames


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition of a rule, with the two values it was judged by."""

    text: str
    left: float | None
    right: float | None


@dataclass(frozen=True, slots=True)
class FeedAlert:
    """An alert, as it is shown; `reason` is `None` where the rule has changed since."""

    id: str
    time: int
    symbol: str
    title: str
    direction: Literal["up", "down"]
    timeframe: str
    price: float | None
    change: float | None
    state: str
    reason: tuple[Clause, ...] | None


@dataclass(frozen=True, slots=True)
class HealthTold:
    """How the service is.

    Attributes:
        state: `ok`, `starting`, `degraded` or `down`.
        behind: seconds since the newest minute was over.
        symbols: how many are followed.
        warm: how many of them have their history.
        p50: ms from a closing frame's receipt to its alert, for half of the newest alerts.
        p99: the same for 99 of 100.
        troubles: what is wrong and what to do, a line each.
    """

    state: str
    behind: float | None
    symbols: int
    warm: int
    p50: float | None
    p99: float | None
    troubles: tuple[str, ...]


def number(value: object) -> float | None:
    """A number, if it is one that can be shown."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def read_metrics(data: object) -> MetricsTold | None:
    """The metrics of a symbol; `None` if it is nothing of the kind."""
    if not isinstance(data, Mapping):
        return None
    symbol, time = data.get("symbol"), _time(data.get("timestamp"))
    frames = data.get("timeframes")
    if not isinstance(symbol, str) or time is None or not isinstance(frames, Mapping):
        return None
    return MetricsTold(symbol, time, number(data.get("price")), frames)


def read_all_metrics(answer: object) -> list[MetricsTold]:
    """The metrics of all symbols."""
    return [told for one in _list(answer) if (told := read_metrics(one)) is not None]


def read_prices(data: object) -> dict[str, float]:
    """Prices of running minutes, by symbol."""
    told = {symbol: number(price) for symbol, price in _mapping(data).items()}
    return {symbol: price for symbol, price in told.items() if price is not None and price > 0}


def read_alert(data: object) -> FeedAlert | None:
    """An alert; `None` if it is nothing of the kind."""
    if not isinstance(data, Mapping):
        return None
    about = _mapping(data.get("metadata"))
    symbol, time = data.get("symbol"), _time(data.get("triggered_at"))
    if not isinstance(symbol, str) or time is None:
        return None
    return FeedAlert(
        id=str(data.get("id")),
        time=time,
        symbol=symbol,
        title=_text(about.get("title")) or _text(data.get("alert_type")),
        direction="down" if about.get("direction") == "down" else "up",
        timeframe=_text(data.get("timeframe")),
        price=number(data.get("price")),
        change=number(data.get("change_pct")),
        state=_text(data.get("state")),
        reason=_reason(about.get("reason")),
    )


def read_alerts(page: object) -> list[FeedAlert]:
    """The alerts of a page, in its order."""
    told = _list(_mapping(page).get("alerts"))
    return [alert for one in told if (alert := read_alert(one)) is not None]


def read_symbols(answer: object) -> list[str]:
    """The symbols that are followed."""
    told = (_mapping(one).get("symbol") for one in _list(_mapping(answer).get("symbols")))
    return [symbol for symbol in told if isinstance(symbol, str)]


def read_sparklines(answer: object) -> dict[str, list[object]]:
    """The closes of the last hour, by symbol."""
    told = _mapping(_mapping(answer).get("symbols"))
    return {symbol: closes for symbol, closes in told.items() if isinstance(closes, list)}


def read_health(data: object) -> HealthTold | None:
    """How the service is; `None` if it tells nothing of the kind."""
    details = _mapping(_mapping(data).get("details"))
    state = details.get("state")
    if not isinstance(state, str):
        return None
    latency = _mapping(details.get("latency_ms"))
    return HealthTold(
        state=clean(state),
        behind=number(details.get("behind_seconds")),
        symbols=int(number(details.get("symbols")) or 0),
        warm=int(number(details.get("warmed")) or 0),
        p50=number(latency.get("p50")),
        p99=number(latency.get("p99")),
        troubles=tuple(_trouble(_mapping(one)) for one in _list(details.get("troubles"))),
    )


def _trouble(told: Mapping[str, Any]) -> str:
    where, what, remedy = (_text(told.get(key)) for key in ("where", "told", "remedy"))
    return f"{where}: {what}" + (f" - {remedy}" if remedy else "")


def _reason(told: object) -> tuple[Clause, ...] | None:
    if not isinstance(told, list):
        return None
    return tuple(
        Clause(_text(one.get("clause")), number(one.get("left")), number(one.get("right")))
        for one in told
        if isinstance(one, Mapping)
    )


def _time(value: object) -> int | None:
    """ISO 8601 as ms since the epoch."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    ms = round(moment.timestamp() * 1000)
    return ms if 0 <= ms < _LAST_MS else None


def _text(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
