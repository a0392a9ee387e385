"""What a check found: as objects, as text, as JSON, as a frame; `page` draws it."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from screener.history.kinds import KINDS, SEVERITIES, Severity
from screener.history.times import MINUTE_MS, iso
from screener.quality import utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

__all__ = ["Finding", "HistoryReport", "SymbolReport"]

# A terminal shows about so many lines; `to_dict` has the rest.
_MOST_LINES = 40
# Runs of a kind and symbol in JSON; a symbol with more is so bad that the rest tells nothing.
_MOST_RUNS = 1_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of fault of one symbol.

    Attributes:
        kind: Its name in `KINDS`.
        severity: error, warning or notice.
        symbol: Whose; None for what most symbols lack.
        first: The first minute at fault, ms; None where the row has no usable time.
        count: Rows, or missing minutes.
        told: What it looks like.
        remedy: What to do next.
    """

    kind: str
    severity: Severity
    symbol: str | None
    first: int | None
    count: int
    told: str
    remedy: str

    def __str__(self) -> str:
        """A line: what, whose, how much, since when."""
        what = f"{self.symbol or 'most symbols'}: {KINDS[self.kind].title}"
        return f"{self.severity}: {what}: {self.count:,}; {self.told}"


@dataclass(frozen=True, slots=True)
class SymbolReport:
    """What was found for one symbol.

    Attributes:
        symbol: Its name.
        rows: Rows, bad ones included.
        start: The first minute it should have, ms.
        end: The end of the last minute it should have, ms.
        held: Different minutes that are held.
        runs: Minutes at fault by kind: frames of first (ms) and minutes (how many).
        counts: Rows at fault, or missing minutes, by kind.
        told: The first of each kind in words.
        sources: Rows by source; empty where the rows tell none.
    """

    symbol: str
    rows: int
    start: int
    end: int
    held: int
    runs: Mapping[str, pl.DataFrame]
    counts: Mapping[str, int]
    told: Mapping[str, str]
    sources: Mapping[str, int]

    @property
    def missing(self) -> int:
        """Minutes that lack, whatever the reason."""
        return sum(self.counts.get(kind, 0) for kind in ("missing", "exchange_hole", "absent"))

    def faults(self, severity: Severity) -> int:
        """Rows or minutes at fault of a severity, missing ones left out."""
        return sum(
            count
            for kind, count in self.counts.items()
            if KINDS[kind].severity == severity and kind not in ("missing", "exchange_hole")
        )


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """What `check` found; print it, or take it as JSON, as a frame or as a page.

    Attributes:
        findings: The gravest first; the order of the symbols within a kind.
        symbols: One entry a symbol, in the order of the frame.
        everywhere: Runs of minutes that most symbols lack: a frame of first and minutes.
    """

    findings: tuple[Finding, ...]
    symbols: tuple[SymbolReport, ...]
    everywhere: pl.DataFrame

    @property
    def clean(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(found.severity == "notice" for found in self.findings)

    @property
    def rows(self) -> int:
        """Rows of all symbols."""
        return sum(symbol.rows for symbol in self.symbols)

    def count(self, kind: str, symbol: str | None = None) -> int:
        """Rows or minutes of a kind, of a symbol or of all.

        Raises:
            KeyError: There is no such kind.
        """
        _ = KINDS[kind]
        chosen = (entry for entry in self.symbols if symbol in (None, entry.symbol))
        return sum(entry.counts.get(kind, 0) for entry in chosen)

    def worst(self) -> Severity | None:
        """The gravest severity found."""
        found = {finding.severity for finding in self.findings}
        return next((severity for severity in SEVERITIES if severity in found), None)

    def to_frame(self) -> pl.DataFrame:
        """The findings, a row each: kind, severity, symbol, first (ms), count, told, remedy."""
        import polars as pl

        texts = dict.fromkeys(("kind", "severity", "symbol", "told", "remedy"), pl.String)
        numbers = dict.fromkeys(("first", "count"), pl.Int64)
        names = ("kind", "severity", "symbol", "first", "count", "told", "remedy")
        schema = {name: (texts | numbers)[name] for name in names}
        return pl.DataFrame([asdict(found) for found in self.findings], schema=schema)

    def to_dict(self) -> dict[str, object]:
        """All of it as JSON knows it; times in ms, runs as pairs of first and minutes."""
        return {
            "clean": self.clean,
            "rows": self.rows,
            "findings": [asdict(found) for found in self.findings],
            "everywhere": _pairs(self.everywhere),
            "symbols": [
                {
                    "symbol": entry.symbol,
                    "rows": entry.rows,
                    "start": entry.start,
                    "end": entry.end,
                    "held": entry.held,
                    "missing": entry.missing,
                    "counts": dict(entry.counts),
                    "sources": dict(entry.sources),
                    "runs": {kind: _pairs(runs) for kind, runs in entry.runs.items()},
                }
                for entry in self.symbols
            ],
        }

    def to_html(self, *, title: str = "History", made: str | None = None) -> str:
        """A page that needs no other file: the findings, and what is held by symbol and day.

        Args:
            title: What the page is about.
            made: When it was made, as it shall be told.
        """
        from screener.history.page import page

        return page(self, title=title, made=made)

    def table(self) -> list[str]:
        """A line a symbol, with totals; of many symbols those that are worst off."""
        return list(_table(self))

    def __str__(self) -> str:
        """A table with a line a symbol, then a line a finding, then what to do."""
        return "\n".join([*_table(self), "", *_lines(self)])


def _pairs(runs: pl.DataFrame) -> list[list[int]]:
    return [list(run) for run in runs.head(_MOST_RUNS).iter_rows()]


# -- text ----------------------------------------------------------------------------------------

_HEADINGS = ("symbol", "rows", "first", "last", "missing", "errors", "warnings", "notices")


def _table(report: HistoryReport) -> Iterator[str]:
    """The symbols, those with the gravest findings first where not all fit, and the totals."""
    symbols = sorted(report.symbols, key=lambda entry: (-entry.faults("error"), -entry.missing))
    shown = report.symbols if len(symbols) <= _MOST_LINES else symbols[:_MOST_LINES]
    cells = [_HEADINGS, *map(_cells, shown), _totals(report)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    for name, *numbers in cells:
        first = name + " " * (widths[0] - _width(name))
        rest = (text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join([first, *rest]).rstrip()
    if len(shown) < len(symbols):
        yield f"({len(symbols) - len(shown):,} more symbols: --json and --html have them all)"


def _cells(entry: SymbolReport) -> tuple[str, ...]:
    last = entry.end - MINUTE_MS
    faults = (f"{entry.faults(severity):,}" for severity in SEVERITIES)
    span = (utc(entry.start), utc(last)) if entry.start < entry.end else ("-", "-")
    return (entry.symbol, f"{entry.rows:,}", *span, f"{entry.missing:,}", *faults)


def _totals(report: HistoryReport) -> tuple[str, ...]:
    missing = sum(entry.missing for entry in report.symbols)
    faults = (f"{sum(e.faults(severity) for e in report.symbols):,}" for severity in SEVERITIES)
    return (f"{len(report.symbols):,} symbols", f"{report.rows:,}", "", "", f"{missing:,}", *faults)


def _lines(report: HistoryReport) -> Iterator[str]:
    if not report.findings:
        yield "No problem found."
    for found in report.findings[:_MOST_LINES]:
        yield str(found)
    if len(report.findings) > _MOST_LINES:
        more = Counter(found.severity for found in report.findings[_MOST_LINES:])
        names = ", ".join(f"{count:,} {severity}s" for severity, count in more.items())
        yield f"({names} more: --json and --html have them all)"
    remedies: Mapping[str, None] = dict.fromkeys(
        f"{KINDS[found.kind].title}: {found.remedy}"
        for found in report.findings
        if found.severity != "notice"
    )
    if remedies:
        yield ""
        yield from remedies


def _width(text: str) -> int:
    """Columns of a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def when(found: Finding) -> str:
    """The first minute of a finding as text."""
    return "-" if found.first is None else iso(found.first)


def by_kind(report: HistoryReport) -> list[tuple[str, Sequence[Finding]]]:
    """The findings of each kind, the gravest kind first."""
    kinds = dict.fromkeys(found.kind for found in report.findings)
    return [(kind, [f for f in report.findings if f.kind == kind]) for kind in kinds]
