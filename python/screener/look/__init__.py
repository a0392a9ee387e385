"""What can be looked at: figures of alerts, engines, scorecards and backtests, and HTML of rules.

The way of a figure: `minutes` (candles -> bars, so many as can be told apart) and `marks` (alerts
-> whose lane, which way) are plain frames; `chart`, `forest` and `account` draw them on what
`sheet` gives, the only place that knows about fonts, colours and the axis of time. Figures need
`screener[plot]`; matplotlib is imported when the first is made, and pyplot never. `html` needs
nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from screener.errors import DataError
from screener.look.html import alert_html, explanation_html, replay_html, rule_html, rules_html

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matplotlib.figure import Figure

    from screener import Alert, Backtest, Engine, Scorecard
    from screener.moments import Moment
    from screener.types import ArrowFrame, Rules

__all__ = [
    "alert_html",
    "explanation_html",
    "plot_alerts",
    "plot_backtest",
    "plot_engine",
    "plot_scorecard",
    "replay_html",
    "rule_html",
    "rules_html",
]


def plot_alerts(
    alerts: ArrowFrame | Iterable[Alert],
    candles: ArrowFrame,
    symbol: str,
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    bar: str | None = None,
    rules: Rules | None = None,
) -> Figure:
    """Draw the candles of a symbol, their volume, and where its alerts were raised.

    A triangle below a candle is an alert that expected a rise, one above it an alert that expected
    a fall, a diamond above it one that expected neither or of which that is not known; a candle has
    one of each kind, larger for many alerts. Below is a line a rule with every single alert. A
    candle that closed above its open is hollow, one that closed below it is filled, and one of
    filled minutes alone is grey. Minutes that are missing are a gap.

    Args:
        alerts: A frame as `Replay.alerts`, or alerts as an engine gives them: `symbol` and
            `triggered_at` (ms, UTC), and what there is of `rule`, `direction` and `state`. Those
            of other symbols are left out, and so are withdrawn ones.
        candles: Minutes of any symbols, in any order: `symbol, open_time` (ms), `open, high, low,
            close`, and what there is of `quote_volume` or `volume`. Of two rows of a minute the
            later one counts.
        symbol: Whose.
        start: The first moment shown; by default the first candle's.
        end: The first not shown; by default the end of the last candle.
        bar: The length of a candle, such as `"15m"`; by default the shortest of at most 240.
        rules: Which way each rule expects the price to go, where alerts have no column
            `direction`; by default the presets tell.

    Returns:
        A matplotlib `Figure`: a notebook shows it, `figure.savefig("alerts.png")` keeps it.

    Raises:
        CandleError: A candle has no price that can be.
        DataError: matplotlib is not installed, a column is missing or of a wrong type, there is no
            candle to show, or the bars would be too many to show.
        RuleError: The rules cannot be loaded.

    Example:
        >>> import screener
        >>> market = screener.demo_market(symbols=3)
        >>> alerts = screener.replay(market).alerts
        >>> figure = screener.plot_alerts(alerts, market, "1000CRUMBUSDT")
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['price', 'quote volume', '']
    """
    from screener.look.marks import marks_of
    from screener.look.minutes import bars_of

    with _drawing():
        from screener.look.chart import draw_chart
    bars = bars_of(candles, symbol, start, end, bar)
    return draw_chart(bars, marks_of(alerts, symbol, bars.start, bars.end, rules))


def plot_engine(
    engine: Engine,
    symbol: str,
    alerts: ArrowFrame | Iterable[Alert] | None = None,
    minutes: int | None = None,
    bar: str | None = None,
) -> Figure:
    """Draw the minutes that an engine holds of a symbol; `Engine.plot` tells all."""
    if minutes is not None and minutes < 1:
        raise DataError(reason=f"minutes={minutes} are too few", remedy="give at least 1")
    candles = engine.candles(symbol, minutes)
    return plot_alerts(alerts or (), candles, symbol, bar=bar, rules=engine.rules)


def plot_scorecard(card: Scorecard, *, alpha: float = 0.05) -> Figure:
    """Draw a scorecard; `Scorecard.plot` tells all."""
    if not 0 < alpha < 1:
        raise DataError(reason=f"alpha={alpha} is no share", remedy="such as 0.05")
    with _drawing():
        from screener.look.forest import draw_forest
    return draw_forest(card, alpha)


def plot_backtest(result: Backtest) -> Figure:
    """Draw a backtest; `Backtest.plot` tells all."""
    with _drawing():
        from screener.look.account import draw_account
    return draw_account(result)


@contextmanager
def _drawing() -> Iterator[None]:
    """What imports matplotlib, or says how it is installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise
        raise DataError(
            reason="figures need matplotlib", remedy="pip install 'screener[plot]'"
        ) from None
