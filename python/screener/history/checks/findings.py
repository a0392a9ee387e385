"""From what was seen of each symbol to findings: a symbol's own holes apart from the exchange's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screener.history.checks.everywhere import missing_in_most
from screener.history.checks.minutes import common, joined, no_runs, split
from screener.history.kinds import KINDS
from screener.history.report import Finding, HistoryReport, SymbolReport
from screener.history.times import MINUTE_MS
from screener.quality import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import polars as pl

    from screener.history.checks.symbol import SymbolCheck

__all__ = ["conclude"]


def conclude(
    checked: Iterable[SymbolCheck], *, absent: Mapping[str, pl.DataFrame] | None = None
) -> HistoryReport:
    """The report on symbols that were looked at.

    Args:
        checked: One a symbol, as `check_symbol` gives them.
        absent: Runs of minutes by symbol that the source was found not to have.
    """
    symbols = list(checked)
    known = {} if absent is None else absent
    spans = ((symbol.start, symbol.end, symbol.missing) for symbol in symbols)
    everywhere = missing_in_most(spans)
    reports = [_symbol_report(symbol, known, everywhere) for symbol in symbols]
    findings = [*_of_exchange(reports), *(found for r in reports for found in _of_symbol(r))]
    grave = {name: rank for rank, name in enumerate(KINDS)}
    findings.sort(key=lambda found: grave[found.kind])
    return HistoryReport(tuple(findings), tuple(reports), _missed(everywhere, reports))


def _missed(everywhere: pl.DataFrame, reports: Sequence[SymbolReport]) -> pl.DataFrame:
    """What most symbols lack and nobody has confirmed to be absent."""
    import polars as pl

    parts = [report.runs["exchange_hole"] for report in reports if "exchange_hole" in report.runs]
    return common(everywhere, joined(pl.concat(parts))) if parts else no_runs()


def _symbol_report(
    checked: SymbolCheck, absent: Mapping[str, pl.DataFrame], everywhere: pl.DataFrame
) -> SymbolReport:
    confirmed, unexplained = split(checked.missing, absent.get(checked.symbol, no_runs()))
    shared, own = split(unexplained, everywhere)
    holes = {"missing": own, "exchange_hole": shared, "absent": confirmed}
    return SymbolReport(
        symbol=checked.symbol,
        rows=checked.rows,
        start=checked.start,
        end=checked.end,
        held=checked.held,
        runs={
            **{kind: runs for kind, runs in holes.items() if runs.height},
            **{fault.kind: fault.runs for fault in checked.faults},
        },
        counts={
            **{kind: int(runs["minutes"].sum()) for kind, runs in holes.items() if runs.height},
            **{fault.kind: fault.count for fault in checked.faults},
        },
        told={
            **{kind: _told(runs) for kind, runs in holes.items() if runs.height},
            **{fault.kind: fault.told for fault in checked.faults},
        },
        sources=checked.sources,
    )


def _told(runs: pl.DataFrame) -> str:
    longest = runs.row(runs["minutes"].arg_max() or 0)
    many = f"{runs.height:,} run{'s' if runs.height > 1 else ''}"
    return f"{many}, the longest {longest[1]:,} from {utc(longest[0])}"


def _of_symbol(report: SymbolReport) -> Iterator[Finding]:
    for kind, count in report.counts.items():
        if kind != "exchange_hole":
            runs = report.runs[kind]
            first = None if runs.is_empty() else int(runs["first"][0])
            yield _finding(kind, report.symbol, first, count, report.told[kind])


def _of_exchange(reports: Sequence[SymbolReport]) -> Iterator[Finding]:
    """What most symbols lack, told once and not once a symbol."""
    import polars as pl

    lacking = [report.runs["exchange_hole"] for report in reports if "exchange_hole" in report.runs]
    if lacking:
        runs = joined(pl.concat(lacking))
        first, end = int(runs["first"][0]), runs["first"][-1] + runs["minutes"][-1] * MINUTE_MS
        of = sum(report.start < end and first < report.end for report in reports)
        told = f"{_told(runs)}, in {len(lacking)} of {of} symbols"
        yield _finding("exchange_hole", None, first, int(runs["minutes"].sum()), told)


def _finding(kind: str, symbol: str | None, first: int | None, count: int, told: str) -> Finding:
    known = KINDS[kind]
    return Finding(kind, known.severity, symbol, first, count, told, known.remedy)
