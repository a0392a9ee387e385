"""The call: symbol by symbol, two comparisons each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from screener._core import RuleSet
from screener.drift.result import Difference, Drift
from screener.errors import DataError
from screener.history.times import DAY_MS, EARLIEST, LATEST, iso, opening, range_ms

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection

    from screener.drift.snapshot import Raised, Snapshot
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
    from screener.drift.replayed import Replays, versions, with_switches

    switches = snapshot.switches()
    today = with_switches(rules, switches)
    judged_from = snapshot.judged_from()
    low = max(judged_from, EARLIEST if start is None else start)
    warm, last = low - _WARM_UP, LATEST if end is None else end
    kept_from = snapshot.oldest(snapshot.symbols()) or 0
    newest = snapshot.newest() or 0
    history = History(today, _flipped(today), switches, newest, judged_from, kept_from)
    stored = snapshot.alerts(low)
    history.take(stored)
    raised = _by_symbol(stored, last)
    before = snapshot.newest_alerts(low)
    # A minute is judged by what came before it, newer ones among it.
    journal = snapshot.journal(warm, last if end is None else last + _WARM_UP)
    arrived = journal.partition_by("symbol", as_dict=True)
    followed = snapshot.followed_from()
    found: list[Difference] = []
    counts = {"versions": 0, "raised": 0, "replayed": 0, "final": 0}
    for symbol in symbols:
        if on_symbol is not None:
            on_symbol(symbol)
        its = arrived.get((symbol,), journal.clear())
        candles = snapshot.candles(symbol, warm, last if end is None else last + _WARM_UP)
        known = versions(its, candles, max(low, followed.get(symbol, 0)))
        replays = Replays(snapshot.exchange, snapshot.bars(symbol), before.filter(symbol=symbol))
        replayed = _until(replays.alerts(known.rows, today), last)
        final = _until(replays.alerts(known.final, today), last)
        mine = raised.get(symbol, [])
        found += against_journal(history, known, mine, replayed, replays)
        found += against_final(today, known, replayed, final, replays)
        counts["versions"] += known.rows.filter(pl.col("judged"), pl.col("open_time") < last).height
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
