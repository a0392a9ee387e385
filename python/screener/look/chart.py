"""Candles, volume and alerts of one symbol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from screener.look import sheet
from screener.look.minutes import MINUTE_MS
from screener.quality import utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from screener.look.marks import Lane, Marks
    from screener.look.minutes import Bars

__all__ = ["draw_chart"]

_WIDTH: Final = 11.0
_PRICE, _VOLUME, _LANE, _LEAST = 4.2, 0.95, 0.21, 0.45
_BODY: Final = 0.7
"""The part of a bar's length that its candle is wide."""
_COLOURS: Final = {"up": sheet.UP, "down": sheet.DOWN, "flat": sheet.FLAT}
_FORMS: Final = {"up": "^", "down": "v", "flat": "D"}
_SIZES: Final = {"up": 32, "down": 32, "flat": 20}
_MEANINGS: Final = {
    "up": "expected a rise",
    "down": "expected a fall",
    "flat": "expected neither",
}


def draw_chart(bars: Bars, marks: Marks) -> sheet.Figure:
    """The candles, what was traded, and the alerts as marks and by rule."""
    heights = [_PRICE]
    if bars.volume is not None:
        heights.append(_VOLUME)
    if marks.lanes:
        heights.append(max(_LEAST, 0.12 + _LANE * len(marks.lanes)))
    figure = sheet.Figure(_WIDTH, sum(heights) + 0.9)
    grid = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    panels = list(grid[:, 0])
    price = panels.pop(0)
    sheet.quiet(price, "price")
    _draw_candles(price, bars)
    _draw_marks(price, bars, marks)
    price.yaxis.set_major_formatter(sheet.Steps())
    sheet.title(price, bars.symbol, _told(bars, marks))
    if bars.volume is not None:
        _draw_volume(panels.pop(0), bars)
    if marks.lanes:
        _draw_lanes(panels.pop(0), marks.lanes)
    sheet.time_axis(grid[-1, 0], bars.start, bars.end)
    return figure


def _told(bars: Bars, marks: Marks) -> str:
    count = marks.alerts.height
    told = f"{count:,} alert{'' if count == 1 else 's'}"
    if marks.outside:
        told += f", {marks.outside:,} more outside"
    span = f"{utc(bars.start)} to {utc(bars.end)} UTC"
    return f"{span}   candles of {_length(bars.minutes)}   {told}"


def _length(minutes: int) -> str:
    for size, letter in ((1440, "d"), (60, "h")):
        if minutes % size == 0:
            return f"{minutes // size}{letter}"
    return f"{minutes}m"


# -- candles and volume --------------------------------------------------------------------------


def _middles(bars: Bars, times: pl.Series) -> NDArray[np.float64]:
    return sheet.days(times.to_numpy() + bars.minutes * MINUTE_MS // 2)


def _half(bars: Bars) -> float:
    return _BODY * bars.minutes / 1440 / 2


def _boxes(
    middle: NDArray[np.float64], half: float, low: NDArray[Any], high: NDArray[Any]
) -> NDArray[np.float64]:
    """The four corners of each box."""
    left, right = middle - half, middle + half
    corners = [(left, low), (left, high), (right, high), (right, low)]
    return np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)


def _draw_candles(axes: Axes, bars: Bars) -> None:
    frame = bars.frame
    middle = _middles(bars, frame["time"])
    opened, high, low, close = (frame[name].to_numpy() for name in ("open", "high", "low", "close"))
    is_up = close >= opened
    colours = _bar_colours(bars)
    bottom, top = np.minimum(opened, close), np.maximum(opened, close)
    wicks = [
        np.stack([np.stack([middle, a], axis=1), np.stack([middle, b], axis=1)], axis=1)
        for a, b in ((low, bottom), (top, high))
    ]
    axes.add_collection(
        LineCollection(list(np.concatenate(wicks)), colors=[*colours, *colours], linewidths=0.8)
    )
    faces = [
        axes.get_facecolor() if hollow else colour
        for hollow, colour in zip(is_up, colours, strict=True)
    ]
    axes.add_collection(
        PolyCollection(
            list(_boxes(middle, _half(bars), bottom, top)),
            facecolors=faces,
            edgecolors=colours,
            linewidths=0.8,
        )
    )
    lowest, highest = float(low.min()), float(high.max())
    room = 0.1 * (highest - lowest) or 0.001 * highest
    axes.set_ylim(lowest - room, highest + room)


def _bar_colours(bars: Bars) -> list[str]:
    rows = bars.frame.select("open", "close", "filled").iter_rows()
    return [
        sheet.MUTED if filled else sheet.UP if close >= opened else sheet.DOWN
        for opened, close, filled in rows
    ]


def _draw_volume(axes: Axes, bars: Bars) -> None:
    sheet.quiet(axes, str(bars.volume).replace("_", " "))
    heights = bars.frame["volume"].to_numpy()
    middle = _middles(bars, bars.frame["time"])
    axes.add_collection(
        PolyCollection(
            list(_boxes(middle, _half(bars), np.zeros_like(heights), heights)),
            facecolors=_bar_colours(bars),
            alpha=0.6,
            linewidths=0,
        )
    )
    axes.set_ylim(0, 1.08 * float(heights.max()) or 1)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(sheet.short))


# -- alerts --------------------------------------------------------------------------------------


def _draw_marks(axes: Axes, bars: Bars, marks: Marks) -> None:
    """One mark a candle and direction; under or above it, and larger for many alerts."""
    length = bars.minutes * MINUTE_MS
    # Known at its close, an alert belongs to the minute before.
    time = (pl.col("time") - 1) // length * length
    counted = marks.alerts.group_by(time, "direction").agg(pl.len().alias("count"))
    placed = counted.join(bars.frame, on="time", how="inner").sort("time", "direction")
    directions = [one for one in _FORMS if one in placed["direction"]]
    for direction in directions:
        # Apart from the candle, and a diamond from a triangle below it.
        own = placed.filter(direction=direction)
        y = own["low" if direction == "up" else "high"].to_numpy()
        points = {"up": -7, "down": 7, "flat": 18}[direction]
        sizes = _SIZES[direction] * (1 + 0.35 * np.log2(own["count"].to_numpy()))
        axes.scatter(
            _middles(bars, own["time"]), y, s=np.minimum(sizes, 75), marker=_FORMS[direction],
            color=_COLOURS[direction], linewidths=0, zorder=3,
            transform=sheet.raised(axes, axes.transData, points),
        )  # fmt: skip
    if directions:
        sheet.key(axes, [(_sample(one), _MEANINGS[one]) for one in directions], 18)


def _sample(direction: str) -> Line2D:
    return Line2D(
        [], [], color=_COLOURS[direction], marker=_FORMS[direction], linestyle="", markersize=6
    )


def _draw_lanes(axes: Axes, lanes: Sequence[Lane]) -> None:
    """A line a rule, a stroke an alert."""
    for number, lane in enumerate(lanes):
        x = sheet.days(lane.alerts["time"].to_numpy())
        strokes = [((one, number - 0.36), (one, number + 0.36)) for one in x]
        colours = [_COLOURS[direction] for direction in lane.alerts["direction"]]
        axes.add_collection(LineCollection(strokes, colors=colours, linewidths=1.1, alpha=0.8))
    names = [sheet.lettered(lane.name, f"  {lane.alerts.height:,}") for lane in lanes]
    sheet.name_lines(axes, names, 8)
    axes.tick_params(axis="x", labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_yticks(np.arange(len(lanes) + 1) - 0.5, minor=True)
    axes.grid(axis="y", which="minor", color=sheet.MUTED, alpha=0.25, linewidth=0.6)
    axes.tick_params(axis="y", which="minor", length=0)
