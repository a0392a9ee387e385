"""History through the very same engine: alerts it would have raised, metrics it would have had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from screener import _core
from screener.moments import milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from matplotlib.figure import Figure

    from screener.moments import Moment
    from screener.types import ArrowFrame, Evaluate, Gaps, Rules


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay gives.

    Attributes:
        alerts: One row an alert, ordered by ``triggered_at``, ``symbol``, ``rule``. Columns as in
            `Alert`; ``evidence`` is a struct with a field for every metric the rules name.
        stats: What the candles were counted as (`Engine.stats`).
    """

    alerts: pl.DataFrame
    stats: dict[str, int]

    def _repr_html_(self) -> str:
        """Alerts by rule and the last ones, for a notebook."""
        from screener.look import replay_html

        return replay_html(self)

    def plot(
        self,
        candles: ArrowFrame,
        symbol: str,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        bar: str | None = None,
        rules: Rules | None = None,
    ) -> Figure:
        """Draw the candles of a symbol and its alerts, as `screener.plot_alerts` does.

        Args:
            candles: What was replayed.
            symbol: Whose.
            start: The first moment shown.
            end: The first not shown.
            bar: The length of a candle, such as `"15m"`.
            rules: What was replayed with, where it is no preset: which way each rule looks.

        Returns:
            A matplotlib figure; see `screener.plot_alerts`, also for the errors.
        """
        from screener.look import plot_alerts

        return plot_alerts(self.alerts, candles, symbol, start=start, end=end, bar=bar, rules=rules)


def replay(
    frame: ArrowFrame,
    rules: Rules = "futures",
    *,
    floors: bool = False,
    evaluate: Evaluate = "close",
    exchange: str = "binance",
    gaps: Gaps = "pending",
    start: Moment | None = None,
) -> Replay:
    """Replays candles through the engine that screens live.

    Rows may come in any order: each symbol's are taken by the time they could be known, which is
    ``event_time`` where it is given and the close of the minute elsewhere. So a journal of what
    arrived replays as it arrived, and an archive as if nothing had been late.

    Args:
        frame: Candles, columns as in `Candle`; anything with ``__arrow_c_stream__``.
        rules: A `RuleSet`, a preset's name, or the path of a ``.toml`` file.
        floors: Whether the rules' floors are on, when `rules` is a name or a path.
        evaluate: ``"close"`` judges closed minutes, ``"update"`` every update too.
        exchange: Part of every alert's id.
        gaps: ``"pending"``: rules over a missing minute do not hold. ``"absent"``: they may.
        start: Rows that open before it only warm up: ms since the epoch, an ISO 8601 text or a
            datetime (UTC where it names no zone). By default all rows are judged; rules hold only
            once their windows are ready.

    Returns:
        The alerts as a polars frame, and the counters.

    Raises:
        CandleError: For the first row that is not valid.
        DataError: For a column that is missing or of a wrong type.
        RuleError: For rules that cannot be.
    """
    import polars as pl

    table, stats = _core.replay(
        frame,
        rules,
        floors=floors,
        evaluate=evaluate,
        exchange=exchange,
        gaps=gaps,
        start=None if start is None else milliseconds(start, "start"),
    )
    return Replay(alerts=pl.DataFrame(table), stats=stats)


def windows(
    frame: ArrowFrame,
    metrics: Sequence[str] | None = None,
    *,
    gaps: Gaps = "pending",
) -> pl.DataFrame:
    """Every minute's metrics, as the engine would have had them.

    Args:
        frame: Candles, columns as in `Candle`, in any order; of several versions of a minute the
            best is taken.
        metrics: Names such as ``"change_5m"`` or ``"rsi_1h"``; all default metrics by default.
            Windows from ``1m`` to ``1d`` may be named.
        gaps: As in `replay`.

    Returns:
        A frame with ``symbol``, ``open_time`` (ms) and one column a metric; one row a minute and
        symbol, filled minutes included; null where a metric is not ready.

    Raises:
        CandleError: For the first row that is not valid.
        DataError: For a column that is missing or of a wrong type, or a metric that does not exist.
    """
    import polars as pl

    names = None if metrics is None else list(dict.fromkeys(metrics))
    return pl.DataFrame(_core.windows(frame, names, gaps=gaps))
