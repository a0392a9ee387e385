"""The report as one HTML file: what was found, and what is held by symbol and day.

No script, no other file, light or dark as the reader's system is. The picture is SVG that has only
what is wrong drawn one by one, so a clean history of years is a few kilobytes.
"""

from __future__ import annotations

from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Final

from screener.history.coverage import Cell, Grid, Lane, grid, ticks
from screener.history.kinds import KINDS, SEVERITIES
from screener.history.report import by_kind
from screener.history.times import DAY_MS, MINUTE_MS, day_of
from screener.quality import utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from screener.history.report import Finding, HistoryReport

__all__ = ["page"]

# The picture in units of its own, which the browser scales to the width of the page.
_WIDTH, _LABELS, _SHARES = 1200, 168, 74
_ROW, _BAR, _TOP = 20, 11, 34
_LEAST_CELL: Final = 1.6
_MOST_NAMED = 12
# Shares of a cell's minutes that lack, from which on it is painted darker.
_STEPS = (0.0, 0.02, 0.1, 0.3, 0.7)


def page(report: HistoryReport, *, title: str, made: str | None) -> str:
    """The page; `title` is what it is about, `made` when it was made."""
    style = resources.files("screener.history").joinpath("page.css").read_text(encoding="utf-8")
    drawn = grid(report)
    parts = [
        f"<header><h1>{escape(title)}</h1><p>{escape(_subtitle(report, made))}</p></header>",
        _tiles(report),
        "" if drawn is None else _coverage(drawn),
        _findings(report),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _subtitle(report: HistoryReport, made: str | None) -> str:
    spans = [entry for entry in report.symbols if entry.start < entry.end]
    parts = []
    if spans:
        first = utc(min(entry.start for entry in spans))
        last = utc(max(entry.end for entry in spans) - MINUTE_MS)
        parts.append(f"{first} to {last} UTC, minute by minute")
    if made is not None:
        parts.append(f"checked {made}")
    return " · ".join(parts)


# -- tiles ---------------------------------------------------------------------------------------


def _tiles(report: HistoryReport) -> str:
    expected = sum(max(0, entry.end - entry.start) for entry in report.symbols) // MINUTE_MS
    missing = sum(entry.missing for entry in report.symbols)
    share = "–" if not expected else _percent(1 - missing / expected)
    tiles = [
        ("held", share, f"of {expected:,} minutes", "good" if not missing else "warning"),
        ("missing", f"{missing:,}", "minutes", "warning" if missing else "good"),
    ]
    for severity in SEVERITIES:
        number = sum(finding.severity == severity for finding in report.findings)
        rows = sum(f.count for f in report.findings if f.severity == severity)
        tiles.append((f"{severity}s", f"{number:,}", f"{rows:,} rows or minutes",
                      severity if number else "good"))  # fmt: skip
    tiles.append(("symbols", f"{len(report.symbols):,}", f"{report.rows:,} rows", ""))
    return '<section class="tiles">' + "".join(map(_tile, tiles)) + "</section>"


def _tile(tile: tuple[str, str, str, str]) -> str:
    name, value, note, kind = tile
    return (
        f'<div class="tile {kind}"><span>{escape(name)}</span><strong>{escape(value)}</strong>'
        f"<small>{escape(note)}</small></div>"
    )


def _percent(share: float) -> str:
    """Never 100 % unless all is there."""
    text = f"{share:.2%}" if share < 0.9999 else f"{share:.4%}"
    return "100 %" if share == 1 else text.replace("%", " %").replace("100.0000", "99.9999")


# -- the picture ---------------------------------------------------------------------------------


def _coverage(drawn: Grid) -> str:
    height = _TOP + _ROW * (len(drawn.lanes) + bool(drawn.everywhere)) + 6
    lines = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Minutes held by symbol and day">',
        '<defs><pattern id="none" width="5" height="5" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="none" width="5" height="5"/>'
        '<rect class="stripe" width="2" height="5"/></pattern></defs>',
        *_axis(drawn, height),
    ]
    top = _TOP
    if drawn.everywhere:
        lines += _exchange(drawn, top)
        top += _ROW
    for number, lane in enumerate(drawn.lanes):
        lines += _lane(drawn, lane, top + number * _ROW)
    lines.append("</svg>")
    unit = "a day" if drawn.days == 1 else f"{drawn.days} days"
    note = f"One cell is {unit} of a symbol; those with the most to see come first."
    if drawn.hidden:
        note += f" {drawn.hidden:,} more symbols, with less to see, are not drawn."
    return (
        f'<section><h2>Coverage</h2><p class="note">{note} Point at a cell to read it.</p>'
        f"{_LEGEND}<div class='picture'>{''.join(lines)}</div></section>"
    )


_LEGEND = (
    '<ul class="legend"><li><i class="held"></i>held</li><li><i class="m1"></i><i class="m2"></i>'
    '<i class="m3"></i><i class="m4"></i><i class="m5"></i>minutes missing, a few to most</li>'
    '<li><i class="every"></i>missing in most symbols</li><li><i class="all"></i>none held</li>'
    '<li><i class="absent"></i>confirmed absent</li>'
    '<li><i class="dot error"></i>error</li><li><i class="dot warning"></i>warning</li>'
    '<li><i class="dot notice"></i>notice</li></ul>'
)


def _x(drawn: Grid, at: int) -> float:
    room = _WIDTH - _LABELS - _SHARES
    return _LABELS + room * (at - drawn.start) / (drawn.end - drawn.start)


def _axis(drawn: Grid, height: int) -> Iterator[str]:
    for day in ticks(drawn):
        x = _x(drawn, day)
        yield f'<line class="tick" x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{height}"/>'
        yield f'<text class="axis" x="{x + 3:.1f}" y="{_TOP - 14}">{_tick(drawn, day)}</text>'


def _tick(drawn: Grid, day: int) -> str:
    return day_of(day) if drawn.end - drawn.start > 120 * DAY_MS else day_of(day)[5:]


def _exchange(drawn: Grid, top: int) -> Iterator[str]:
    yield f'<text class="symbol every" x="{_LABELS - 10}" y="{top + 12}">most symbols</text>'
    for cell in drawn.everywhere:
        told = f"{_days(drawn, cell.day)}: most symbols lack {cell.missing:,} minutes"
        yield _rect(drawn, cell.day, _cell_end(drawn, cell), top + 3, 9, "every", told)


def _lane(drawn: Grid, lane: Lane, top: int) -> Iterator[str]:
    entry = lane.report
    name = escape(_cut(entry.symbol))
    expected = (entry.end - entry.start) // MINUTE_MS
    share = _percent(1 - entry.missing / expected)
    told = f"{entry.symbol}: {entry.held:,} of {expected:,} minutes, {entry.missing:,} missing"
    yield "<g>"
    yield f'<text class="symbol" x="{_LABELS - 10}" y="{top + 12}">{name}</text>'
    yield _rect(drawn, entry.start, entry.end, top + 2, _BAR, "held", told)
    for cell in lane.cells:
        told = _told(drawn, entry.symbol, cell)
        end = min(_cell_end(drawn, cell), max(entry.end, cell.day + DAY_MS))
        begin = max(cell.day, entry.start)
        if cell.missing or cell.absent:
            yield _rect(drawn, begin, end, top + 2, _BAR, _shade(cell), told)
        if cell.worst is not None:
            middle = (_x(drawn, begin) + _x(drawn, end)) / 2
            yield (
                f'<circle class="{cell.worst}" cx="{middle:.1f}" cy="{top + 16}" r="2.6">'
                f"<title>{escape(told)}</title></circle>"
            )
    yield f'<text class="share" x="{_WIDTH - _SHARES + 10}" y="{top + 12}">{share}</text></g>'


def _cell_end(drawn: Grid, cell: Cell) -> int:
    return min(cell.day + drawn.days * DAY_MS, drawn.end)


def _rect(drawn: Grid, begin: int, end: int, top: int, height: int, kind: str, told: str) -> str:
    x = _x(drawn, begin)
    width = max(_LEAST_CELL, _x(drawn, end) - x)
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{top}" width="{width:.1f}" height="{height}">'
        f"<title>{escape(told)}</title></rect>"
    )


def _shade(cell: Cell) -> str:
    if not cell.missing:
        return "absent"
    if cell.counts.get("exchange_hole", 0) * 2 > cell.missing:
        return "every"
    share = cell.missing / cell.expected if cell.expected else 1.0
    if share >= 1:
        return "all"
    return f"m{sum(share > step for step in _STEPS)}"


def _told(drawn: Grid, symbol: str, cell: Cell) -> str:
    faults = [f"{KINDS[kind].title}: {count:,}" for kind, count in cell.counts.items()]
    return f"{symbol}, {_days(drawn, cell.day)} ({cell.expected:,} minutes)\n" + "\n".join(faults)


def _days(drawn: Grid, day: int) -> str:
    last = min(day + drawn.days * DAY_MS, drawn.end) - DAY_MS
    return day_of(day) if last <= day else f"{day_of(day)} to {day_of(last)}"


def _cut(symbol: str) -> str:
    return symbol if len(symbol) <= 18 else f"{symbol[:17]}…"


# -- findings ------------------------------------------------------------------------------------


def _findings(report: HistoryReport) -> str:
    if not report.findings:
        return '<section><h2>Findings</h2><p class="fine">Nothing is wrong.</p></section>'
    kinds = "".join(_kind(kind, found) for kind, found in by_kind(report))
    return f"<section><h2>Findings</h2>{kinds}</section>"


def _kind(kind: str, found: Sequence[Finding]) -> str:
    known = KINDS[kind]
    many = f"{sum(finding.count for finding in found):,}"
    rows = "".join(map(_row, sorted(found, key=lambda finding: -finding.count)))
    is_open = " open" if len(found) <= _MOST_NAMED else ""
    of = "" if found[0].symbol is None else f" in {len(found):,} symbol{'s'[: len(found) > 1]}"
    return (
        f'<details class="{known.severity}"{is_open}><summary><b class="chip">{known.severity}</b>'
        f"<span>{escape(known.title)}</span><em>{many}{of}</em></summary>"
        f'<p class="note">{escape(known.remedy)}</p><table><thead><tr><th>symbol</th>'
        f"<th>first</th><th>count</th><th>what</th></tr></thead><tbody>{rows}</tbody></table>"
        "</details>"
    )


def _row(finding: Finding) -> str:
    first = "–" if finding.first is None else utc(finding.first)
    return (
        f"<tr><td>{escape(finding.symbol or 'most symbols')}</td><td>{first}</td>"
        f"<td>{finding.count:,}</td><td>{escape(finding.told)}</td></tr>"
    )
