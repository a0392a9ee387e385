"""The preview: replays of a set and of others, a frame at a time, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from screener._core import RuleSet
from screener.errors import DataError
from screener.history.times import MINUTE_MS, opening, range_ms
from screener.moments import length_in_minutes
from screener.preview.judged import Judge
from screener.preview.result import Preview
from screener.preview.sources import WARM_UP_MS, frames_of
from screener.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import polars as pl

    from screener.history.store import Store
    from screener.history.times import Moment
    from screener.types import ArrowFrame, Gaps, Rules

__all__ = ["length_ms", "preview"]

_LONGEST: Final = 366 * 1440
_MOST_OF_A_STORM: Final = 10
_LEAST_OF_A_STORM: Final = 3


def preview(
    rules: Rules,
    candles: ArrowFrame | pl.LazyFrame | Iterable[ArrowFrame] | Store,
    *,
    floors: bool = False,
    gaps: Gaps = "pending",
    start: Moment | None = None,
    end: Moment | None = None,
    others: Rules | None = "futures",
    quiet: str = "1h",
    storm: int | None = None,
    exchange: str = "binance",
    on_symbol: Callable[[str], None] | None = None,
) -> Preview:
    """Tell how often rules would have fired, of which symbols and when, before they are on.

    Args:
        rules: A `RuleSet`, a preset's name, or the path of a ``.toml`` file.
        candles: A frame as for `replay`, or frames one after the other, each with all candles of
            its symbols; they are read one at a time. Or a `screener.history.Store`, of which
            every symbol is read, with the day before `start`.
        floors: Whether floors are on, of `rules` and `others` that are names or paths.
        gaps: As in `replay`.
        start: Rows that open before it only warm up; by default nothing does.
        end: Rows that open at it or later are left out.
        others: Rules to compare with besides those of the set; `None` is none.
        quiet: How long a symbol has to be silent in a direction until an alert is of a new move:
            whole minutes, hours or days, such as ``"1h"``.
        storm: How many symbols have to fire in one minute to be a storm; by default a fifth of
            those with candles, at least 3 and at most 10.
        exchange: Part of every alert's id.
        on_symbol: Told of each symbol before it is looked at.

    Returns:
        The preview; print it.

    Raises:
        CandleError: For the first row of a frame that is not valid.
        DataError: A frame cannot be used, a symbol is in two frames, the range cannot be, or an
            option is none.
        RuleError: For rules that cannot be.

    Example:
        >>> import screener
        >>> market = screener.demo_market()
        >>> found = screener.preview("classic", market, start="2026-01-06")
        >>> found.rules.filter(rule="bull_whale").select("alerts", "moves").row(0)
        (1, 1)
    """
    low, high = opening(*range_ms(start, end))
    silence = length_ms(quiet, "quiet")
    if storm is not None and (isinstance(storm, bool) or storm < 1):
        raise DataError(reason=f"storm={storm} is no number of symbols", remedy="give 1 or more")
    named = rules if isinstance(rules, RuleSet) else RuleSet.load(rules, floors=floors)
    against = (
        others
        if others is None or isinstance(others, RuleSet)
        else RuleSet.load(others, floors=floors)
    )
    seen = _Seen(named, against, low, high, gaps, exchange, Judge(named, gaps, high))
    for frame in frames_of(candles, low, high):
        seen.take(frame, on_symbol)
    return seen.concluded(silence, storm)


def length_ms(text: str, option: str) -> int:
    """Milliseconds of a length of time such as `90m`, `48h` or `7d`.

    Raises:
        DataError: It is none; `option` says of what.
    """
    minutes = length_in_minutes(text)
    if not 1 <= minutes <= _LONGEST:
        raise DataError(
            reason=f"{option}={text!r} is no length of time",
            remedy='write whole minutes, hours or days from "1m" to "366d", such as "48h"',
        )
    return minutes * MINUTE_MS


@dataclass(slots=True)
class _Seen:
    """What the frames so far came to; of them only alerts and counts are kept."""

    rules: RuleSet
    against: RuleSet | None
    start: int | None
    end: int | None
    gaps: Gaps
    exchange: str
    judge: Judge
    alerts: list[pl.DataFrame] = field(default_factory=list)
    others: list[pl.DataFrame] = field(default_factory=list)
    firsts: dict[str, int] = field(default_factory=dict)

    def take(self, frame: pl.DataFrame, on_symbol: Callable[[str], None] | None) -> None:
        """Replays a frame, and asks at which minutes rules could be judged."""
        from screener.outcomes.frames import milliseconds

        found = self._replayed(frame, self.rules)
        self.alerts.append(found)
        if self.against is not None:
            others = self._replayed(frame, self.against)
            self.others.append(others.select("symbol", "rule", "triggered_at"))
        for (symbol,), part in frame.partition_by(
            "symbol", as_dict=True, maintain_order=True, include_key=True
        ).items():
            name = str(symbol)
            if name in self.firsts:
                raise DataError(
                    reason=f"{name!r} is in two of the frames",
                    remedy="give all candles of a symbol in one frame",
                )
            if on_symbol is not None:
                on_symbol(name)
            self.firsts[name] = int(milliseconds(part, "open_time").min())  # type: ignore[arg-type]
            self.judge.look(part, self.start)

    def _replayed(self, frame: pl.DataFrame, rules: RuleSet) -> pl.DataFrame:
        """The alerts of minutes before the end; what comes later cannot change them."""
        import polars as pl

        found = replay(
            frame, rules, gaps=self.gaps, exchange=self.exchange, start=self.start
        ).alerts
        if self.end is None:
            return found
        return found.filter(pl.col("triggered_at") <= self.end)

    def concluded(self, quiet: int, storm: int | None) -> Preview:
        """The preview of all frames."""
        import polars as pl

        from screener.history.precedence import empty
        from screener.preview import counts

        alerts = pl.concat(self.alerts or [replay(empty(), self.rules).alerts])
        alerts = alerts.sort("triggered_at", "symbol", "rule")
        columns = alerts.select("symbol", "rule", "triggered_at")
        others = pl.concat(self.others) if self.others else columns.clear()
        candles = self.judge.candles
        least = _least(candles.symbols) if storm is None else storm
        storms = counts.find_storms(alerts, self.rules, least)
        start = candles.first if self.start is None else self.start
        end = candles.last if self.end is None else self.end
        wanted = 0 if start is None or end is None else max(0, end - start) // MINUTE_MS
        warm = None if start is None else start - WARM_UP_MS
        return Preview(
            alerts=alerts,
            rules=counts.by_rule(alerts, self.rules, self.judge, storms, quiet),
            storms=storms,
            overlap=counts.overlaps(alerts, self.rules, others, self.against),
            hours=counts.by_hour(alerts, self.rules),
            start=start,
            end=end,
            symbols=len(self.firsts),
            candles=candles.minutes,
            missing=wanted * len(self.firsts) - candles.minutes,
            cold=sum(warm is None or first > warm for first in self.firsts.values()),
            moves=counts.count_moves(alerts, self.rules, quiet),
            quiet=quiet // MINUTE_MS,
            storm=least,
        )


def _least(symbols: int) -> int:
    """How many symbols make a storm."""
    return max(_LEAST_OF_A_STORM, min(_MOST_OF_A_STORM, -(-symbols // 5)))
