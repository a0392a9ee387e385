"""A scorecard, as a frame, as text and as a table of a notebook."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl
    from matplotlib.figure import Figure

__all__ = ["Scorecard"]


@dataclass(frozen=True, slots=True)
class Scorecard:
    """How good each rule was over each horizon; print it, or take its `frame`.

    Attributes:
        frame: A row a rule and horizon; `scorecard` tells the columns.
        level: Confidence of the intervals.
        permutations: Random placements each p-value comes from.
        resamples: Resamples each interval comes from.
        seed: What chance began with.
    """

    frame: pl.DataFrame
    level: float
    permutations: int
    resamples: int
    seed: int

    def __str__(self) -> str:
        """A line a rule and horizon, then what the columns mean."""
        table = [tuple(_COLUMNS), *self._cells()]
        widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
        lines = [_line(cells, widths) for cells in table]
        return "\n".join([*lines, "", self._legend()])

    def _repr_html_(self) -> str:
        """The same for a notebook; needs no other file."""
        head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
            for cells in self._cells()
        )
        return (
            f"<div class='scorecard'><style>{_STYLE}</style><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table><p>{escape(self._legend())}</p></div>"
        )

    def plot(self, *, alpha: float = 0.05) -> Figure:
        """Draw a panel a horizon, and in it a line a rule.

        A dot is the mean return, its line the interval, a grey stroke what random entries made.
        Filled are those whose `p_adjusted` is at most `alpha`. An arrow goes on beyond the panel.
        Beside each are the hit rate and the number of outcomes. At most 40 rules, those with most
        outcomes, and the first 12 horizons are drawn.

        Args:
            alpha: The largest `p_adjusted` that is better than chance, above 0 and below 1.

        Returns:
            A matplotlib `Figure`: a notebook shows it, `figure.savefig("card.png")` keeps it.

        Raises:
            DataError: matplotlib is not installed (`pip install 'screener[plot]'`), or `alpha`
                cannot be.
        """
        from screener.look import plot_scorecard

        return plot_scorecard(self, alpha=alpha)

    def _cells(self) -> list[tuple[str, ...]]:
        rows = self.frame.iter_rows(named=True)
        return [tuple(cell(row) for cell in _COLUMNS.values()) for row in rows]

    def _legend(self) -> str:
        return (
            f"Intervals: {self.level:.0%}. p: how often random entries of the same symbols and "
            f"hours did as well ({self.permutations:,} draws, seed {self.seed}); p adj: for all "
            "tests of this table (Benjamini-Hochberg). Returns in %, without costs."
        )


_STYLE: Final = (
    ".scorecard table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    ".scorecard th,.scorecard td{padding:3px 10px;text-align:right;white-space:nowrap}"
    ".scorecard th:nth-child(-n+2),.scorecard td:nth-child(-n+2){text-align:left}"
    ".scorecard th{border-bottom:1px solid currentColor}"
    ".scorecard p{font-size:smaller;opacity:.75}"
)
_TEXTS: Final = 2


def _number(name: str, form: str, scale: float = 1) -> Callable[[Mapping[str, Any]], str]:
    def told(row: Mapping[str, Any]) -> str:
        return _form(row[name], form, scale)

    return told


def _between(name: str, form: str, scale: float = 1) -> Callable[[Mapping[str, Any]], str]:
    def told(row: Mapping[str, Any]) -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        if low is None and high is None:
            return _form(row[name], form, scale)
        ends = f"{_form(low, form, scale)} to {_form(high, form, scale)}"
        return f"{_form(row[name], form, scale)} ({ends})"

    return told


def _shares(row: Mapping[str, Any]) -> str:
    shares = (row[name] for name in ("target_share", "stop_share", "end_share"))
    return "/".join(_form(share, ".0f", 100) for share in shares)


def _form(value: float | None, form: str, scale: float = 1) -> str:
    return "-" if value is None else f"{value * scale:{form}}"


_COLUMNS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "rule": lambda row: row["rule"] or "-",
    "horizon": lambda row: row["horizon"],
    "n": _number("n", ","),
    "hit %": _between("hit_rate", ".0f", 100),
    "mean": _between("mean", "+z.2f"),
    "median": _between("median", "+z.2f"),
    "profit factor": _between("profit_factor", ".2f"),
    "mfe": _number("mfe", ".2f"),
    "mae": _number("mae", "z.2f"),
    "target/stop/end %": _shares,
    "random": _number("random_mean", "+z.2f"),
    "p": _number("p", ".3f"),
    "p adj": _number("p_adjusted", ".3f"),
}


def _width(text: str) -> int:
    """Columns of a terminal: a Chinese character takes two."""
    return len(text) + sum(unicodedata.east_asian_width(one) in "WF" for one in text)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = []
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - _width(cell))
        padded.append(cell + space if number < _TEXTS else space + cell)
    return "  ".join(padded).rstrip()
