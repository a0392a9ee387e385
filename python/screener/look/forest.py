"""A scorecard: a panel a horizon, in it a line a rule with its mean return and interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from screener.look import sheet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from screener.outcomes import Scorecard

__all__ = ["draw_forest"]

_PANELS_A_ROW: Final = 4
_MOST_PANELS: Final = 12
_MOST_RULES: Final = 40
_LARGE: Final = 10_000
_PLOT, _TEXT, _LINE, _EDGE, _LETTER, _LEAST = 2.1, 1.0, 0.3, 0.35, 0.085, 7.2


def draw_forest(card: Scorecard, alpha: float) -> sheet.Figure:
    """The figure of a scorecard; significant is a `p_adjusted` of at most `alpha`."""
    frame = card.frame.with_columns(pl.col("rule").fill_null("alert"))
    horizons = frame["horizon"].unique(maintain_order=True).to_list()[:_MOST_PANELS]
    rules = _rules(frame)
    if not rules:
        return _empty()
    across = min(_PANELS_A_ROW, len(horizons))
    down = -(-len(horizons) // across)
    names = [sheet.lettered(rule) for rule in rules]
    beside = _EDGE + _LETTER * max(len(name["text"]) for name in names)
    width = max(beside + across * (_PLOT + _TEXT), _LEAST)
    figure = sheet.Figure(width, down * (0.75 + _LINE * len(rules)) + 0.95)
    grid = figure.subplots(
        down, 2 * across, squeeze=False, sharey=True, width_ratios=[_PLOT, _TEXT] * across
    )
    for number in range(down * across):
        row, column = divmod(number, across)
        panel, table = grid[row, 2 * column], grid[row, 2 * column + 1]
        table.set_axis_off()
        if number >= len(horizons):
            panel.set_axis_off()
            continue
        rows = {one["rule"]: one for one in frame.filter(horizon=horizons[number]).to_dicts()}
        own = [rows.get(rule) for rule in rules]
        _draw_panel(panel, horizons[number], own, alpha)
        _draw_figures(table, own, alpha)
    for row in range(down):
        sheet.name_lines(grid[row, 0], names, 9)
    _draw_key(figure, card, alpha, _told(frame, horizons, rules))
    return figure


def _empty() -> sheet.Figure:
    figure = sheet.Figure(_LEAST, 1.5)
    figure.text(0.5, 0.5, "no outcomes", ha="center", va="center", color=sheet.MUTED)
    return figure


def _rules(frame: pl.DataFrame) -> list[str]:
    """The rules, in their order; of very many those with the most outcomes."""
    counts = frame.group_by("rule", maintain_order=True).agg(pl.col("n").sum())
    if counts.height > _MOST_RULES:
        kept = counts.sort("n", descending=True, maintain_order=True).head(_MOST_RULES)["rule"]
        counts = counts.filter(pl.col("rule").is_in(kept.implode()))
    return counts["rule"].to_list()


def _told(frame: pl.DataFrame, horizons: Sequence[str], rules: Sequence[str]) -> str:
    all_rules, all_horizons = frame["rule"].n_unique(), frame["horizon"].n_unique()
    told = ""
    if all_rules > len(rules):
        told += f", {len(rules)} of {all_rules:,} rules"
    if all_horizons > len(horizons):
        told += f", {len(horizons)} of {all_horizons:,} horizons"
    return told


def _draw_panel(
    axes: Axes, horizon: str, rows: Sequence[Mapping[str, Any] | None], alpha: float
) -> None:
    low, high = _limits(rows)
    axes.set_xlim(low, high)
    axes.axvline(0, color=sheet.MUTED, linewidth=1)
    for line, row in enumerate(rows):
        if row is None or row["mean"] is None:
            continue
        if row["random_mean"] is not None:
            axes.plot(row["random_mean"], line, "|", color=sheet.MUTED, markersize=11, zorder=2)
        _draw_interval(axes, line, row, _colour(row, alpha), (low, high))
        face = _colour(row, alpha) if _is_significant(row, alpha) else axes.get_facecolor()
        axes.plot(
            row["mean"], line, "o", markersize=6, zorder=4, color=_colour(row, alpha),
            markerfacecolor=face,
        )  # fmt: skip
    axes.set_title(horizon, fontsize=10, fontweight="bold", loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(sheet.Steps(signed=True))
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("mean return without costs, %", fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="y", color=sheet.MUTED, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def _limits(rows: Sequence[Mapping[str, Any] | None]) -> tuple[float, float]:
    """What holds zero and every mean, and intervals unless a few are far wider than the others."""
    known = [row for row in rows if row is not None and row["mean"] is not None]
    points = [0.0, *(row[name] for row in known for name in ("mean", "random_mean") if row[name])]
    ends = [
        row[name] for row in known for name in ("mean_low", "mean_high") if row[name] is not None
    ]
    if ends:
        widest = 1.5 * float(np.quantile(np.abs(ends), 0.8))
        points += [min(max(end, -widest), widest) for end in ends]
    low, high = min(points), max(points)
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room


def _draw_interval(
    axes: Axes, line: int, row: Mapping[str, Any], colour: str, limits: tuple[float, float]
) -> None:
    """From end to end; an arrow where it goes on beyond the panel or nobody knows how far."""
    ends = row["mean_low"], row["mean_high"]
    if ends == (None, None):
        return
    drawn = []
    for end, limit, arrow in zip(ends, limits, "<>", strict=True):
        is_beyond = end is None or not limits[0] <= end <= limits[1]
        drawn.append(limit if is_beyond else end)
        if is_beyond:
            axes.plot(limit, line, arrow, color=colour, markersize=5, clip_on=False, zorder=3)
    axes.plot(drawn, [line, line], color=colour, linewidth=1.6, zorder=3)


def _is_significant(row: Mapping[str, Any], alpha: float) -> bool:
    return row["p_adjusted"] is not None and row["p_adjusted"] <= alpha


def _colour(row: Mapping[str, Any], alpha: float) -> str:
    return sheet.UP if _is_significant(row, alpha) else sheet.MUTED


def _draw_figures(axes: Axes, rows: Sequence[Mapping[str, Any] | None], alpha: float) -> None:
    """The hit rate and the number of outcomes of each line."""
    axes.set_xlim(0, 1)
    style: dict[str, Any] = {"ha": "right", "fontsize": 8, "clip_on": False}
    head: dict[str, Any] = {"xycoords": "axes fraction", "va": "bottom", **style}
    for x, name in ((0.38, "hit %"), (0.78, "n")):
        axes.annotate(name, (x, 1.0), (0, 4), textcoords="offset points", **head)
    for line, row in enumerate(rows):
        if row is None:
            continue
        weight = "bold" if _is_significant(row, alpha) else "normal"
        hit = "-" if row["hit_rate"] is None else f"{100 * row['hit_rate']:.0f}"
        axes.text(0.38, line, hit, va="center", fontweight=weight, **style)
        axes.text(0.78, line, _count(row["n"]), va="center", fontweight=weight, **style)


def _count(number: int) -> str:
    """At most five characters."""
    return f"{number:,}" if number < _LARGE else sheet.short(float(f"{number:.3g}"))


def _draw_key(figure: sheet.Figure, card: Scorecard, alpha: float, more: str) -> None:
    figure.suptitle(
        f"Returns after alerts{more}", x=0.01, ha="left", fontsize=13, fontweight="bold"
    )
    entries: list[tuple[Artist, str]] = [
        (_dot(sheet.UP, sheet.UP), f"better than chance (p adj ≤ {alpha:g})"),
        (_dot(sheet.MUTED, "none"), "not told from chance"),
        (Line2D([], [], color=sheet.MUTED), f"interval of {card.level:.0%}"),
        (_dot(sheet.MUTED, sheet.MUTED, "|"), "random entries"),
    ]
    handles, names = zip(*entries, strict=True)
    figure.legend(
        handles, names, loc="outside lower left", ncols=2 if figure.get_figwidth() < 9 else 4,
        frameon=False, fontsize=8,
    )  # fmt: skip


def _dot(colour: str, face: str, form: str = "o") -> Line2D:
    return Line2D(
        [], [], color=colour, marker=form, linestyle="", markersize=7, markerfacecolor=face
    )
