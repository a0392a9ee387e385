"""What a backtest gives: trades, the equity curve and its measures; as text and as HTML."""

from __future__ import annotations

from dataclasses import dataclass, fields
from html import escape
from typing import TYPE_CHECKING

from screener.quality import utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl
    from matplotlib.figure import Figure

__all__ = ["Backtest", "Measures"]

_MOST_NAMES = 5
_WIDTH, _HEIGHT = 640, 160
_MOST_POINTS = 640


@dataclass(frozen=True, slots=True)
class Measures:
    """How it went. Fractions, not percent; None is what cannot be told.

    Attributes:
        total_return: The last equity over the capital, minus 1.
        cagr: What that is a year; None for less than 30 days.
        sharpe: Mean over standard deviation of the bars' returns, a year of 365 days.
        sortino: As `sharpe`, over the losses alone.
        max_drawdown: The deepest fall below an earlier peak of the bars, at most 0.
        drawdown_minutes: From that peak until the equity is back there, or until the end.
        exposure: The share of minutes at whose close a position is open.
        turnover: Notional of all entries and exits, over the mean equity.
        win_rate: The share of trades with a pnl above 0.
        profit_factor: What winning trades made over what losing ones lost.
        trades: How many.
    """

    total_return: float
    cagr: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    drawdown_minutes: int
    exposure: float
    turnover: float
    win_rate: float | None
    profit_factor: float | None
    trades: int


@dataclass(frozen=True, slots=True, repr=False)
class Backtest:
    """What `screener.backtest` gives; print it, or show it in a notebook.

    Attributes:
        trades: A row a trade, in the order of entry: symbol, rule (null for targets), side (long,
            short), entry_time, entry_price, exit_time, exit_price, size (base asset), fee, funding
            (paid; below 0 received), pnl (quote, after both), return (pnl over the notional at
            entry), reason (stop, take, time, signal, end), mae and mfe (the worst and best way
            from the entry price, fractions). Times are the open of the minute of the fill, ms; of
            an exit at the end of all candles, the close of the last one.
        equity: A row a bar: time (its close, ms), equity, positions (open ones), notional.
        measures: How it went.
        capital: The equity before the first minute.
        signals: How many signals there were: alerts, or changes of a target to long or short.
        dropped: Signals that became no trade, by reason.
        unknown_symbols: Symbols of signals that have no candles.
        late_exits: Exits at a later open than ordered, because that minute is missing.
    """

    trades: pl.DataFrame
    equity: pl.DataFrame
    measures: Measures
    capital: float
    signals: int
    dropped: Mapping[str, int]
    unknown_symbols: tuple[str, ...]
    late_exits: int

    def __repr__(self) -> str:
        """A line."""
        made = f"{self.measures.total_return:+.2%}"
        return f"<Backtest of {self.signals:,} signals: {self.measures.trades:,} trades, {made}>"

    def __str__(self) -> str:
        """A table of the measures, then what became of the other signals."""
        rows = list(_rows(self))
        names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
        table = [f"{name.ljust(names)}  {value.rjust(values)}" for name, value in rows]
        return "\n".join([*table, *_notes(self)])

    def _repr_html_(self) -> str:
        """The same with the equity curve, for a notebook; needs no other file."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:right'>{escape(value)}</td></tr>"
            for name, value in _rows(self)
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in _notes(self))
        return f"<div>{_curve(self)}<table><tbody>{rows}</tbody></table>{notes}</div>"

    def plot(self) -> Figure:
        """Draw equity, drawdown, exposure and trades over one axis of time.

        Exposure is what open positions are worth, long and short added up, over the equity. A
        trade is drawn at its exit, as high as its `return`. Lines keep the lowest and the highest
        value of every dot, however many bars there are.

        Returns:
            A matplotlib `Figure`: a notebook shows it, `figure.savefig("backtest.png")` keeps it.

        Raises:
            DataError: matplotlib is not installed: `pip install 'screener[plot]'`.
        """
        from screener.look import plot_backtest

        return plot_backtest(self)


def _rows(result: Backtest) -> Iterator[tuple[str, str]]:
    times = result.equity["time"]
    yield "from", utc(times[0])
    yield "to", utc(times[-1])
    yield "capital", f"{result.capital:,.2f}"
    yield "equity", f"{result.equity['equity'][-1]:,.2f}"
    for field in fields(Measures):
        yield field.name.replace("_", " "), _told(field.name, getattr(result.measures, field.name))


_PERCENT = ("total_return", "cagr", "max_drawdown", "exposure", "win_rate")


def _told(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2%}" if name in _PERCENT else f"{value:,.2f}"


def _notes(result: Backtest) -> Iterator[str]:
    if any(result.dropped.values()):
        told = ", ".join(f"{count:,} {why}" for why, count in result.dropped.items() if count)
        yield f"Of {result.signals:,} signals these were not traded: {told}."
    if names := result.unknown_symbols:
        more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
        yield f"Symbols without candles: {', '.join(names[:_MOST_NAMES])}{more}."
    if result.late_exits:
        yield f"{result.late_exits:,} exits were late: the minute of the order is missing."


def _curve(result: Backtest) -> str:
    """The equity curve as SVG, thinned to the width of the picture."""
    values = [result.capital, *result.equity["equity"].to_list()]
    step = max(1, len(values) // _MOST_POINTS)
    thinned = [*values[:-1:step], values[-1]]
    low, high = min(thinned), max(thinned)
    span, last = (high - low) or 1.0, max(1, len(thinned) - 1)
    points = " ".join(
        f"{_WIDTH * number / last:.1f},{_HEIGHT * (high - value) / span:.1f}"
        for number, value in enumerate(thinned)
    )
    return (
        f'<svg viewBox="-2 -2 {_WIDTH + 4} {_HEIGHT + 4}" width="{_WIDTH}" role="img" '
        f'aria-label="Equity"><polyline points="{points}" fill="none" stroke="currentColor"/></svg>'
    )
