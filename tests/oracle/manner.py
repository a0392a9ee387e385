"""What rules of every manner raise, computed minute by minute in plain Python.

It takes the metrics of each minute as given (`screener.windows`, which has an oracle of its own)
and knows nothing of the engine: how long a rule has held, what ended it, what all symbols of a
minute are, and when an alert may be told, is written down here once more, the slow way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

MINUTE = 60_000
HOUR = 60 * MINUTE
GRACE = 5_000

Row = Mapping[str, float | None]


@dataclass(frozen=True)
class Minute:
    """One closed minute of a symbol."""

    open_time: int
    known_at: int
    metrics: Row
    settled: int
    """So many of the newest minutes are all known."""

    @property
    def close_time(self) -> int:
        """When it ends, ms."""
        return self.open_time + MINUTE


class NotReadyError(Exception):
    """What a condition names is not ready."""


@dataclass
class View:
    """What a condition may ask about a symbol at a minute."""

    minute: Minute
    past: Mapping[int, Row]
    others: Mapping[str, View] = field(default_factory=dict)

    def now(self, metric: str, reach: int = 5) -> float:
        """A metric at this minute, whose window is so long."""
        value = self.minute.metrics[metric]
        if value is None or self.minute.settled < reach:
            raise NotReadyError(metric)
        return value

    def ago(self, metric: str, minutes: int) -> float:
        """A metric as it was when the minute so long before closed."""
        value = self.past.get(self.minute.open_time - minutes * MINUTE, {}).get(metric)
        if value is None:
            raise NotReadyError(metric)
        return value

    def of_all(self, ask: Callable[[View], float]) -> dict[str, float]:
        """What is asked of every symbol that can say it."""
        told = {}
        for symbol, view in self.others.items():
            try:
                told[symbol] = ask(view)
            except NotReadyError:
                continue
        return told

    def own(self, ask: Callable[[View], float]) -> float:
        """The same of this one, as one of all."""
        return ask(self)


Condition = Callable[[View], bool]


@dataclass(frozen=True)
class Manner:
    """How a rule is told."""

    when: Condition
    among: bool = False
    cooldown: int = 5 * MINUTE
    hold: int = 0
    edge: bool = False
    clear_when: Condition | None = None
    repeat: int | None = None
    expires: int | None = None
    quiet: tuple[int, int] | None = None
    """First and last quiet minute of the day."""
    max_per_hour: int | None = None


def holds(condition: Condition, view: View) -> bool | None:
    """Whether a condition holds; `None` when it cannot be said."""
    try:
        return condition(view)
    except (NotReadyError, ZeroDivisionError):
        return None


def is_quiet(manner: Manner, time: int) -> bool:
    """Whether the clock alone forbids telling it."""
    if manner.expires is not None and time >= manner.expires:
        return True
    if manner.quiet is None:
        return False
    first, last = manner.quiet
    minute = time // MINUTE % 1440
    return first <= minute <= last if first <= last else minute >= first or minute <= last


def raised(manner: Manner, judged: Sequence[tuple[int, bool | None, bool]]) -> list[int]:
    """When a rule is told, given (time, whether it holds, whether what ends it holds)."""
    told: list[int] = []
    holding: list[int] = []  # consecutive minutes, this one last, at which it held
    running = False  # told, and not ended
    for time, held, ends in judged:
        if held:
            if holding and holding[-1] != time - MINUTE:
                holding = []
            holding.append(time)
        else:
            holding = []
            if held is False and ends:
                running = False
            continue
        if time - holding[0] < manner.hold:
            continue
        last = told[-1] if told else None
        if manner.edge and running:
            again = manner.repeat is not None and (last is None or time - last >= manner.repeat)
            if not again:
                continue
        if is_quiet(manner, time):
            continue
        if last is not None and time - last < manner.cooldown:
            continue
        in_hour = [at for at in told if time - at < HOUR]
        if manner.max_per_hour is not None and len(in_hour) >= manner.max_per_hour:
            continue
        told.append(time)
        running = True
    return told


def alerts(manner: Manner, market: Mapping[str, Sequence[Minute]]) -> set[tuple[str, int]]:
    """Every (symbol, time) at which a rule is told."""
    found = set()
    views = {symbol: _views(minutes) for symbol, minutes in market.items()}
    if manner.among:
        _see_each_other(views)
    for symbol, its in views.items():
        judged = []
        for view in its:
            if manner.among and symbol not in view.others:
                continue  # it came too late to be judged among the others
            ends = manner.clear_when is None or holds(manner.clear_when, view) is True
            judged.append((view.minute.close_time, holds(manner.when, view), ends))
        found |= {(symbol, time) for time in raised(manner, judged)}
    return found


def _views(minutes: Sequence[Minute]) -> list[View]:
    past: dict[int, Row] = {}
    views = []
    for minute in minutes:
        views.append(View(minute, dict(past)))
        past[minute.open_time] = minute.metrics if minute.settled >= 5 else {}
        past.pop(minute.open_time - 90 * MINUTE, None)
    return views


def _see_each_other(views: Mapping[str, list[View]]) -> None:
    by_time: dict[int, dict[str, View]] = {}
    for symbol, its in views.items():
        for view in its:
            if view.minute.known_at < view.minute.close_time + GRACE:
                by_time.setdefault(view.minute.open_time, {})[symbol] = view
    for members in by_time.values():
        for view in members.values():
            view.others = members
