"""A backtest: equity, drawdown, what was at risk, and each trade, over one axis of time."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import polars as pl
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from screener.look import sheet
from screener.look.minutes import MINUTE_MS
from screener.quality import utc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from screener.backtest import Backtest

__all__ = ["draw_account", "outline"]

_WIDTH: Final = 11.0
_HEIGHTS: Final = (3.2, 1.1, 1.1, 1.7)
_POINTS: Final = 900
"""About the dots that a panel is wide."""


def draw_account(result: Backtest) -> sheet.Figure:
    """The figure of a backtest."""
    figure = sheet.Figure(_WIDTH, sum(_HEIGHTS) + 1.0)
    grid = figure.subplots(len(_HEIGHTS), 1, sharex=True, gridspec_kw={"height_ratios": _HEIGHTS})
    money, fall, risk, trades = grid
    equity = result.equity["equity"].to_numpy()
    # A copy: the axis of a line that changes would change the result.
    time = sheet.days(result.equity["time"].to_numpy())
    _draw_equity(money, time, equity, result.capital)
    peak = np.maximum.accumulate(np.concatenate([[result.capital], equity]))[1:]
    _draw_area(fall, time, 100 * (equity / peak - 1), sheet.DOWN)
    fall.set_ylim(top=0, bottom=None if (equity < peak).any() else -1)
    fall.yaxis.set_major_formatter(sheet.Steps("%"))
    _draw_exposure(risk, time, result.equity["notional"].to_numpy(), equity)
    _draw_trades(trades, result.trades)
    for axes, label in zip(grid, ("equity", "drawdown", "exposure", "trades"), strict=True):
        sheet.quiet(axes, label)
    sheet.title(money, f"Backtest: {result.measures.total_return:+.2%}", _told(result))
    first, last = int(result.equity["time"][0]), int(result.equity["time"][-1])
    sheet.time_axis(trades, first - MINUTE_MS, max(last, first + MINUTE_MS))
    return figure


def _told(result: Backtest) -> str:
    found = result.measures
    times = result.equity["time"]
    parts = [f"{utc(times[0])} to {utc(times[-1])} UTC"]
    parts.append(f"{found.trades:,} trade{'' if found.trades == 1 else 's'}")
    if found.win_rate is not None:
        parts.append(f"{found.win_rate:.0%} won")
    if found.sharpe is not None:
        parts.append(f"Sharpe {found.sharpe:.2f}")
    parts.append(f"max drawdown {found.max_drawdown:.2%}")
    parts.append(f"exposed {found.exposure:.0%} of the time")
    return "   ".join(parts)


def outline(values: NDArray[np.float64], points: int = _POINTS) -> NDArray[np.int64]:
    """The rows that a line of so many dots needs: first and last, lowest and highest of each dot.

    Example:
        >>> outline(np.array([0.0, 3.0, -2.0, 1.0, 1.0, 1.0]), 2).tolist()
        [0, 1, 2, 3, 5]
    """
    if values.size <= 2 * points:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, points + 1).astype(np.int64)
    rows = [0, values.size - 1]
    for start, end in itertools.pairwise(edges):
        part = values[start:end]
        rows += [start + int(part.argmin()), start + int(part.argmax())]
    return np.unique(np.array(rows, dtype=np.int64))


def _draw_equity(
    axes: Axes, time: NDArray[np.float64], equity: NDArray[np.float64], capital: float
) -> None:
    rows = outline(equity)
    axes.axhline(capital, color=sheet.MUTED, linewidth=1, linestyle="--")
    axes.plot(time[rows], equity[rows], color=sheet.UP, linewidth=1.3, marker=_marker(rows))
    axes.yaxis.set_major_formatter(sheet.Steps())


def _draw_area(
    axes: Axes,
    time: NDArray[np.float64],
    values: NDArray[np.float64],
    colour: str,
    *,
    steps: bool = False,
) -> None:
    rows = outline(values)
    x, y = time[rows], values[rows]
    step: Literal["post"] | None = "post" if steps else None
    axes.fill_between(x, y, step=step, color=colour, alpha=0.35, linewidth=0)
    style = "steps-post" if steps else "default"
    axes.plot(x, y, color=colour, linewidth=0.8, drawstyle=style, marker=_marker(rows))
    axes.yaxis.set_major_locator(MaxNLocator(3))


def _marker(rows: NDArray[np.int64]) -> str:
    """A line of one point would not be seen."""
    return "o" if rows.size == 1 else ""


def _draw_exposure(
    axes: Axes,
    time: NDArray[np.float64],
    notional: NDArray[np.float64],
    equity: NDArray[np.float64],
) -> None:
    """What open positions are worth, in equities; nothing is told of one that is spent."""
    share = np.divide(notional, equity, out=np.zeros_like(equity), where=equity > 0)
    _draw_area(axes, time, share, sheet.FLAT, steps=True)
    axes.set_ylim(bottom=0, top=None if share.any() else 1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))


def _draw_trades(axes: Axes, trades: pl.DataFrame) -> None:
    """Each trade at its exit, and what it made of what it risked."""
    axes.axhline(0, color=sheet.MUTED, linewidth=1)
    axes.yaxis.set_major_formatter(sheet.Steps("%", signed=True))
    if trades.is_empty():
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "no trades", transform=axes.transAxes, ha="center", va="center",
            color=sheet.MUTED, backgroundcolor=axes.get_facecolor(),
        )  # fmt: skip
        return
    is_dense = trades.height > _POINTS
    for side, form in (("long", "^"), ("short", "v")):
        for colour, wanted in ((sheet.UP, pl.col("pnl") > 0), (sheet.DOWN, pl.col("pnl") <= 0)):
            own = trades.filter(wanted, side=side)
            axes.scatter(
                sheet.days(own["exit_time"].to_numpy()), 100 * own["return"].to_numpy(),
                s=9 if is_dense else 22, marker=form, color=colour, linewidths=0,
                alpha=0.5 if is_dense else 0.85, zorder=3,
            )  # fmt: skip
    sheet.key(
        axes,
        [
            (_sample("^", sheet.MUTED), "long"),
            (_sample("v", sheet.MUTED), "short"),
            (_sample("s", sheet.UP), "won"),
            (_sample("s", sheet.DOWN), "lost"),
        ],
    )


def _sample(form: str, colour: str) -> Line2D:
    return Line2D([], [], color=colour, marker=form, linestyle="", markersize=6)
