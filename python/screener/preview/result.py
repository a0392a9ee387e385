"""What a preview tells, as frames, as text, as a table of a notebook and as JSON."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

from screener.quality import utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import polars as pl

__all__ = ["Preview"]


@dataclass(frozen=True, slots=True, repr=False)
class Preview:
    """How often rules would have fired; print it, or take its frames. Times are ms, UTC.

    Attributes:
        alerts: A row an alert, as `Replay.alerts` has them.
        rules: A row a rule: rule, title, direction, alerts, per_symbol_day (alerts a day of judged
            minutes), symbols (that fire), busiest (at most three, with their alerts), moves (what
            remains of its own alerts if a move is told once), told_already (share whose move some
            rule of the set had told), storms (its own), longest_silence (minutes without an alert
            of any symbol) and silent_from, judged (minutes, all symbols together),
            judged_symbols, unjudged (minutes at which it could not be judged, of the symbols
            for which it is on).
        storms: A row a minute in which at least `storm` symbols fire: rule (null is all of the
            set together), time (of the alerts), symbols, alerts.
        overlap: A row a rule and other rule: rule, other, of (set, or against), alerts, near (how
            many of them have an alert of the other's within 5 minutes, of the same symbol),
            share.
        hours: A row a rule and hour of the day (0 to 23, UTC): rule, hour, alerts.
        start: The first moment that is looked at; None where there are no candles.
        end: The first that is not.
        symbols: How many symbols were looked at.
        candles: Their closed minutes within the range.
        missing: Minutes of the range that they have no candle of.
        cold: Symbols without candles of the whole day before the start, which windows may need.
        moves: Messages that remain of all rules together if a move is told once.
        quiet: Minutes of silence that end a move.
        storm: Symbols that make a storm.
    """

    alerts: pl.DataFrame
    rules: pl.DataFrame
    storms: pl.DataFrame
    overlap: pl.DataFrame
    hours: pl.DataFrame
    start: int | None
    end: int | None
    symbols: int
    candles: int
    missing: int
    cold: int
    moves: int
    quiet: int
    storm: int

    def __repr__(self) -> str:
        """A line."""
        return f"<Preview of {self.rules.height:,} rules: {self.alerts.height:,} alerts>"

    def __str__(self) -> str:
        """A line a rule, then hours, storms, overlap and what could not be judged."""
        tables = ["\n".join(_aligned(head, rows)) for head, rows in _tables(self)]
        return "\n\n".join([_headline(self), *tables, "\n".join(_notes(self))])

    def _repr_html_(self) -> str:
        """The same for a notebook; needs no other file."""
        tables = "".join(_html(head, rows) for head, rows in _tables(self))
        notes = "".join(f"<p>{escape(note)}</p>" for note in _notes(self))
        return (
            f"<div class='preview'><style>{_STYLE}</style><p>{escape(_headline(self))}</p>"
            f"{tables}{notes}</div>"
        )

    def to_dict(self) -> dict[str, Any]:
        """All but the alerts, as JSON knows it."""
        plain = ("start", "end", "symbols", "candles", "missing", "cold", "moves", "quiet", "storm")
        frames = ("rules", "hours", "storms", "overlap")
        return {
            **{name: getattr(self, name) for name in plain},
            "total": self.alerts.height,
            **{name: getattr(self, name).to_dicts() for name in frames},
            "notes": list(_notes(self)),
        }


# -- tables --------------------------------------------------------------------------------------

_MOST_STORMS: Final = 10
_LEAST_SHARE: Final = 0.1
_LONG: Final = 120


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _busiest(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{one['symbol']} {one['alerts']:,}" for one in row["busiest"]) or "-"


def _silence(row: Mapping[str, Any]) -> str:
    minutes = row["longest_silence"]
    if minutes is None:
        return "-"
    length = f"{minutes // 60:,}h" if minutes >= _LONG else f"{minutes}m"
    return f"{length} from {utc(row['silent_from'])}"


_COLUMNS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "rule": lambda row: row["rule"],
    "alerts": lambda row: f"{row['alerts']:,}",
    "a symbol and day": lambda row: (
        "-" if row["per_symbol_day"] is None else f"{row['per_symbol_day']:.2f}"
    ),
    "moves": lambda row: f"{row['moves']:,}",
    "told already": lambda row: _share(row["told_already"]),
    "symbols": lambda row: f"{row['symbols']:,} of {row['judged_symbols']:,}",
    "storms": lambda row: f"{row['storms']:,}",
    "unjudged": lambda row: _share(
        row["unjudged"] / (row["judged"] + row["unjudged"])
        if row["judged"] + row["unjudged"]
        else None
    ),
    "longest silence": _silence,
    "busiest": _busiest,
}


def _tables(found: Preview) -> Iterator[tuple[Sequence[str], Sequence[tuple[str, ...]]]]:
    """Heading and rows of each table that has something to tell."""
    rows = list(found.rules.iter_rows(named=True))
    yield list(_COLUMNS), [tuple(cell(row) for cell in _COLUMNS.values()) for row in rows]
    if found.alerts.height:
        hours = ["alerts at hour (UTC)", *(f"{hour:02}" for hour in range(24))]
        yield hours, list(_hours(found))
    together = _together(found)
    if together.height:
        most = together.sort("symbols", "time", descending=[True, False]).head(_MOST_STORMS)
        told = [
            (utc(row["time"]), f"{row['symbols']:,}", f"{row['alerts']:,}")
            for row in most.sort("time").iter_rows(named=True)
        ]
        yield ("storm (UTC)", "symbols", "alerts"), told
    shown = [
        (row["rule"], row["other"], row["of"], f"{row['near']:,} of {row['alerts']:,}",
         _share(row["share"]))
        for row in found.overlap.iter_rows(named=True)
        if row["near"] and row["share"] >= _LEAST_SHARE
    ]  # fmt: skip
    if shown:
        yield ("rule", "fires with", "of", "alerts", "share"), shown


def _together(found: Preview) -> pl.DataFrame:
    """The storms of all rules together."""
    return found.storms.filter(found.storms["rule"].is_null())


def _hours(found: Preview) -> Iterator[tuple[str, ...]]:
    for name in found.rules["rule"]:
        counts = found.hours.filter(rule=name)["alerts"]
        if counts.sum():
            yield (name, *(str(count) if count else "." for count in counts))


def _headline(found: Preview) -> str:
    if found.start is None or found.end is None:
        return "No candle lies in the range."
    return (
        f"{_many(found.symbols, 'symbol')}, {_many(found.candles, 'minute')} from "
        f"{utc(found.start)} to {utc(found.end)} (UTC): {_many(found.alerts.height, 'alert')} of "
        f"{_many(found.moves, 'move')}"
    )


def _notes(found: Preview) -> Iterator[str]:
    """What the tables mean, and what they cannot tell."""
    yield (
        f"A move ends when a symbol is silent in its direction for {_length(found.quiet)}; told "
        "already: a rule of this set told that move before. Storm: at least "
        f"{found.storm} symbols in one minute. Fires with: within 5 minutes, same "
        "symbol; less than 10 % is left out."
    )
    count = _together(found).height
    if count:
        which = f", the {_MOST_STORMS} largest are shown" if count > _MOST_STORMS else ""
        yield f"{_many(count, 'storm')} of all rules together{which}."
    if found.missing > 0:
        yield f"Missing of the range: {_many(found.missing, 'minute')}; screener check tells which."
    if int(found.rules["unjudged"].sum()):
        yield f"What a rule could not be judged at is under unjudged: {_why(found)}."
    never = found.rules.filter(found.rules["judged"] == 0)["rule"].to_list()
    if never and found.candles:
        yield f"Never judged, for want of a metric or of a whole window: {', '.join(never)}."


def _why(found: Preview) -> str:
    if found.cold:
        return f"{found.cold:,} of {_many(found.symbols, 'symbol')} lack the day before the start"
    return "minutes are missing, or an indicator is not ready within a day"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _length(minutes: int) -> str:
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


_STYLE: Final = (
    ".preview table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:1em 0}"
    ".preview th,.preview td{padding:3px 8px;text-align:right;white-space:nowrap}"
    ".preview th:first-child,.preview td:first-child{text-align:left}"
    ".preview th{border-bottom:1px solid currentColor}"
    ".preview p{font-size:smaller;opacity:.75}"
)
_LEFT: Final = ("rule", "fires with", "of", "busiest", "longest silence", "storm (UTC)")


def _html(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows
    )
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _aligned(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    table = [tuple(head), *rows]
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    for cells in table:
        padded = []
        for name, cell, width in zip(head, cells, widths, strict=True):
            space = " " * (width - _width(cell))
            is_left = name in _LEFT or name == head[0]
            padded.append(cell + space if is_left else space + cell)
        yield "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns of a terminal: a Chinese character takes two."""
    return len(text) + sum(unicodedata.east_asian_width(one) in "WF" for one in text)
