"""The call: symbol by symbol, two comparisons each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from screener._core import RuleSet
from screener.drift.result import Difference, Drift
from screener.errors import DataError
from screener.history.times import DAY_MS, EARLIEST, LATEST, iso, opening, range_ms

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterator

    import polars as pl

    from screener.drift.replayed import Replays, Versions
    from screener.drift.snapshot import Raised, Snapshot
    from screener.drift.trials import Trials
    from screener.history.times import Moment
    from screener.types import Rules

__all__ = ["drift"]

_MINUTE: Final = 60_000
_WARM_UP: Final = DAY_MS + _MINUTE


def drift(
    database: str | os.PathLike[str],
    rules: Rules = "futures",
    *,
    floors: bool = True,
    start: Moment | None = None,
    end: Moment | None = None,
    symbols: Collection[str] | None = None,
    exchange: str = "binance",
    on_symbol: Callable[[str], None] | None = None,
) -> Drift:
    """Replay what a daemon stored and compare it with the alerts it raised.

    Two comparisons: the journal in its order of arrival has to give exactly the alerts raised;
    over the minutes as they are now every difference has a cause. What is read is one moment's
    state of the database, which may be in use.

    Args:
        database: The SQLite file of `screenerd`.
        rules: The rules of today: a `RuleSet`, a preset's name, or the path of a ``.toml`` file.
            Cooldowns that were set for everybody are read from the database.
        floors: Whether floors are on, where `rules` is a name or a path; the daemons' default.
        start: Minutes that open before it only warm up; by default all are compared. The day
            before it is read as well, as far as it is kept.
        end: Minutes that open at it or later are left out.
        symbols: Whose; by default of all.
        exchange: Whose rows of the database.
        on_symbol: Told of each symbol before it is looked at.

    Returns:
        The comparison; print it. `Drift.faults` are the differences that nothing explains.

    Raises:
        DataError: The file is no database of `screenerd`, it cannot be read, it has none of a
            symbol or of the range, or the range cannot be.
        RuleError: For rules that cannot be.
    """
    from screener.drift.snapshot import opened

    low, high = opening(*range_ms(start, end))
    named = rules if isinstance(rules, RuleSet) else RuleSet.load(rules, floors=floors)
    with opened(database, exchange) as snapshot:
        return _compared(
            snapshot, named, low, high, _chosen(snapshot, symbols, database), on_symbol
        )


def _chosen(
    snapshot: Snapshot, symbols: Collection[str] | None, path: str | os.PathLike[str]
) -> list[str]:
    from pathlib import Path

    from screener.preview.sources import among

    known = snapshot.symbols()
    return known if symbols is None else among(known, symbols, Path(path))


def _compared(
    snapshot: Snapshot,
    rules: RuleSet,
    start: int | None,
    end: int | None,
    symbols: list[str],
    on_symbol: Callable[[str], None] | None,
) -> Drift:
    import polars as pl

    from screener.drift.causes import History, against_final, against_journal
    from screener.drift.replayed import with_switches

    switches = snapshot.switches()
    today = with_switches(rules, switches)
    judged_from = snapshot.judged_from()
    low = max(judged_from, EARLIEST if start is None else start)
    warm = low - _warm_up(today)
    last = LATEST if end is None else end
    kept_from = snapshot.oldest(snapshot.symbols()) or 0
    newest = snapshot.newest() or 0
    history = History(
        today, _flipped(today), switches, newest, judged_from, kept_from, snapshot.in_force()
    )
    stored = snapshot.alerts(low)
    history.take(stored)
    raised = _by_symbol(stored, last)
    # A minute is judged by what came before it, newer ones among it.
    read = _Read(snapshot, low, warm, last if end is None else last + _WARM_UP)
    found: list[Difference] = []
    counts = {"versions": 0, "raised": 0, "replayed": 0, "final": 0}
    for symbol, its, trials in _looked_at(read, today, symbols, on_symbol):
        replayed, final = (_of(trials, side, symbol, last) for side in (False, True))
        mine = raised.get(symbol, [])
        found += against_journal(history, trials, its.rows, mine, replayed)
        found += against_final(trials, its.rows, replayed, final)
        counts["versions"] += its.rows.filter(pl.col("judged"), pl.col("open_time") < last).height
        counts["raised"] += len(mine)
        counts["replayed"] += len(replayed)
        counts["final"] += len(final)
    if not counts["versions"] and not counts["raised"]:
        raise _nothing(kept_from, judged_from, newest)
    found.sort(key=lambda one: (one.triggered_at, one.symbol, one.rule, one.against))
    return Drift(
        start=low,
        end=end,
        kept_from=kept_from,
        symbols=len(symbols),
        differences=tuple(found),
        **counts,
    )


@dataclass(slots=True)
class _Read:
    """Reads versions of minutes, as far as a comparison needs them."""

    snapshot: Snapshot
    low: int
    warm: int
    end: int
    _journal: dict[Any, pl.DataFrame] = field(init=False)
    _followed: dict[str, list[tuple[int, int]]] = field(init=False)
    _before: pl.DataFrame = field(init=False)
    _none: pl.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        """Reads what is read at once."""
        journal = self.snapshot.journal(self.warm, self.end)
        self._none = journal.clear()
        self._journal = journal.partition_by("symbol", as_dict=True)
        self._followed = self.snapshot.followed()
        self._before = self.snapshot.alerts_before(self.warm, self.low)

    def versions(self, symbol: str) -> Versions:
        """Those of a symbol."""
        from screener.drift.replayed import versions

        candles = self.snapshot.candles(symbol, self.warm, self.end)
        followed = self._followed.get(symbol, [(0, LATEST)])
        judged = [(max(self.low, first), end) for first, end in followed]
        return versions(self._journal.get((symbol,), self._none), candles, judged)

    def replays(self, symbols: Collection[str]) -> Replays:
        """What replays those of some symbols."""
        import polars as pl

        from screener.drift.replayed import Replays

        bars: dict[str, list[pl.DataFrame]] = {}
        for symbol in symbols:
            for length, closes in self.snapshot.bars(symbol).items():
                bars.setdefault(length, []).append(closes)
        joined = {length: pl.concat(parts) for length, parts in bars.items()}
        before = self._before.filter(pl.col("symbol").is_in(list(symbols)))
        return Replays(self.snapshot.exchange, joined, before)


def _looked_at(
    read: _Read, rules: RuleSet, symbols: list[str], on_symbol: Callable[[str], None] | None
) -> Iterator[tuple[str, Versions, Trials]]:
    """Each symbol with its versions and what tries causes: of itself, or of all at once."""
    from screener.conditions import asks_all
    from screener.drift.replayed import together
    from screener.drift.trials import Trials

    if not asks_all(rules):
        for symbol in symbols:
            if on_symbol is not None:
                on_symbol(symbol)
            its = read.versions(symbol)
            yield symbol, its, Trials(rules, its, read.replays([symbol]))
        return
    known = {symbol: read.versions(symbol) for symbol in read.snapshot.symbols()}
    trials = Trials(rules, together(list(known.values())), read.replays(known))
    for symbol in symbols:
        if on_symbol is not None:
            on_symbol(symbol)
        yield symbol, known[symbol], trials


def _of(trials: Trials, final: bool, symbol: str, end: int) -> list[Raised]:
    """A symbol's alerts of a replay, of minutes that open before the end."""
    return [one for one in _until(trials.raised(final=final), end) if one.symbol == symbol]


def _warm_up(rules: RuleSet) -> int:
    """For how long minutes before the start are read, ms: as far as any rule looks back."""
    from screener.conditions import variants
    from screener.reach import reach

    every = [one for rule in rules for one in variants(rule)]
    looks = max((reach(one.metrics) for one in every), default=0)
    hold = max((one.hold for one in every), default=0)
    return max(_WARM_UP, (looks + 1) * _MINUTE + hold)


def _nothing(kept_from: int, judged_from: int, newest: int) -> DataError:
    if not newest:
        return DataError(
            reason="no minute has arrived in this database",
            remedy="screenerd judges and stores what arrives while it runs",
        )
    first, last = iso(max(kept_from, judged_from)), iso(newest)
    return DataError(
        reason="of this range no minute that was judged is kept",
        remedy=f"the database has those from {first} to {last}",
    )


def _flipped(rules: RuleSet) -> RuleSet:
    """The same rules with floors the other way."""
    return RuleSet.parse(rules.to_toml(), floors=not rules.floors)


def _by_symbol(alerts: list[Raised], end: int) -> dict[str, list[Raised]]:
    sorted_out: dict[str, list[Raised]] = {}
    for alert in _until(alerts, end):
        sorted_out.setdefault(alert.symbol, []).append(alert)
    return sorted_out


def _until(alerts: list[Raised], end: int) -> list[Raised]:
    """Those of minutes that open before the end."""
    return [alert for alert in alerts if alert.triggered_at <= end]
