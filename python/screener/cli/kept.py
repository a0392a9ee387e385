"""`screener check`, `repair`, `undo`, `load`, `export`: what they found and did, told."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from screener.cli.output import iso, print_lines, print_table, status
from screener.history.kinds import KINDS, SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import polars as pl
    from rich.console import Console

    from screener.history.database import Loaded
    from screener.history.fetch import Event
    from screener.history.journal import Entry
    from screener.history.repair import Repaired
    from screener.history.report import Finding, HistoryReport
    from screener.history.store import Store
    from screener.klines import FileFacts

_MOST_FINDINGS = 40
_MOST_NOTES = 10
_COLOURS = {"error": "bold red", "warning": "yellow", "notice": "blue"}
_RETENTION_HOURS = 48


# -- check ---------------------------------------------------------------------------------------


def print_report(out: Console, report: HistoryReport) -> None:
    """A table of symbols, a table of findings, and what to do about them."""
    typer.echo("\n".join(report.table()), file=out.file)
    typer.echo("", file=out.file)
    if not report.findings:
        print_lines(out, [Text("No problem found.", style="green")])
        return
    shown = report.findings[:_MOST_FINDINGS]
    headings = ("severity", "symbol", "what", "count", "")
    print_table(
        out, headings, list(map(_cells, shown)), right=(3,), notes=[[f.told] for f in shown]
    )
    hidden = Counter(found.severity for found in report.findings[_MOST_FINDINGS:])
    if hidden:
        more = ", ".join(f"{hidden[name]:,} {name}s" for name in SEVERITIES if hidden[name])
        typer.echo(f"({more} more: --json and --html have them all)", file=out.file)
    remedies = dict.fromkeys(
        f"{KINDS[found.kind].title}: {found.remedy}"
        for found in report.findings
        if found.severity != "notice"
    )
    if remedies:
        typer.echo("", file=out.file)
        print_lines(out, [Text(line, style="dim") for line in remedies])


def _cells(found: Finding) -> list[Text]:
    return [
        Text(found.severity, style=_COLOURS[found.severity]),
        Text(found.symbol or "most symbols"),
        Text(KINDS[found.kind].title),
        Text(f"{found.count:,}"),
    ]


def write_page(path: Path, report: HistoryReport) -> None:
    """Write the report as a page; a file that is there is replaced.

    Raises:
        DataError: The file cannot be written; what was there before still is.
    """
    from screener.history.atomic import file_error, replace_file

    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    page = report.to_html(title="History of one-minute candles", made=made)
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise file_error(error, path, "the page cannot be written") from error


def doubt_lines(facts: Sequence[FileFacts]) -> list[str]:
    """What had to be assumed about files, each doubt once, with how many files have it."""
    files = Counter(doubt for found in facts for doubt in found.doubts)
    return [
        f"note: {doubt}" + (f" ({count:,} files)" if count > 1 else "")
        for doubt, count in files.items()
    ]


def between(rows: pl.DataFrame, start: int | None, end: int | None) -> pl.DataFrame:
    """The rows that open in [start, end) ms.

    Raises:
        DataError: The range cannot be.
    """
    import polars as pl

    from screener.history.times import range_ms

    start, end = range_ms(start, end)
    if start is not None:
        rows = rows.filter(pl.col("open_time") >= start)
    return rows if end is None else rows.filter(pl.col("open_time") < end)


# -- repair and undo -----------------------------------------------------------------------------


class Bar:
    """Shows what is being repaired, on a terminal."""

    @contextmanager
    def shown(self) -> Iterator[Callable[[Event], None]]:
        """While it is shown; to be told of every step."""
        with status("repairing") as shown:

            def told(event: Event) -> None:
                if event.fetched:
                    shown.update(f"repairing {event.symbol} {event.period}")

            yield told


def print_repaired(store: Store, done: Repaired) -> None:
    """What a repair did, and how to undo it."""
    if not done.changed:
        typer.echo("Nothing to repair." if not done.lacking else "Nothing could be repaired.")
    for count, what in _counts(done):
        if count:
            typer.echo(f"{count:>12,}  {what}")
    for note in done.notes[:_MOST_NOTES]:
        typer.echo(f"note: {note}", err=True)
    if len(done.notes) > _MOST_NOTES:
        typer.echo(f"note: {len(done.notes) - _MOST_NOTES:,} more such files", err=True)
    if done.entry is not None:
        typer.echo(f"\n`screener undo {done.entry}` brings back what was in {store.root}.")


def _counts(done: Repaired) -> list[tuple[int, str]]:
    merged = done.merged
    return [
        (merged.inserted, "minutes added"),
        (merged.corrected, "minutes corrected"),
        (merged.improved, "minutes known from a better source"),
        (done.quarantined, "rows moved to quarantine"),
        (done.absent, "minutes confirmed absent at the source"),
        (done.synthetic, "flat minutes made up, and marked so"),
        (done.doubts, "minutes asked about again"),
        (merged.duplicate, "rows that repeat what is known"),
        (done.lacking, "minutes still missing"),
    ]


def entry_document(entry: Entry) -> dict[str, Any]:
    """A repair as JSON knows it."""
    return {**asdict(entry), "at": iso(entry.at)}


def print_entries(out: Console, entries: Sequence[Entry]) -> None:
    """A line a repair, the oldest first."""
    if not entries:
        typer.echo("No repair is known.")
        return
    rows = [
        [Text(entry.id), Text(entry.state), Text(f"{len(entry.files):,}"), Text(_told(entry))]
        for entry in entries
    ]
    print_table(out, ("repair", "state", "files", "what"), rows, right=(2,))


def _told(entry: Entry) -> str:
    merged = entry.told.get("merged", {})
    counts = {
        "added": merged.get("inserted"),
        "corrected": merged.get("corrected"),
        "quarantined": entry.told.get("quarantined"),
        "absent": entry.told.get("absent"),
        "made up": entry.told.get("synthetic"),
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "-"


# -- load and export -----------------------------------------------------------------------------


def load_into(
    store: Store,
    database: str,
    symbols: Sequence[str] | None,
    start: int | None,
    end: int | None,
    *,
    now: int,
    on_symbol: Callable[[str], None],
) -> Loaded:
    """Loads stored minutes into the daemons' database, whichever it is."""
    from screener.history import database as files
    from screener.history import postgres

    into = postgres.load if postgres.is_url(database) else files.load
    return into(store, database, symbols, start, end, now=now, on_symbol=on_symbol)


def database_name(database: str | Path) -> str:
    """What a database is called when it is told of: a url without its password."""
    from screener.history import postgres

    return postgres.named(str(database)) if postgres.is_url(database) else str(database)


def loaded_document(database: str, done: Loaded) -> dict[str, Any]:
    """A load as JSON knows it."""
    return {"database": database_name(database), **asdict(done)}


def print_loaded(database: str, done: Loaded) -> None:
    """What became of loaded minutes."""
    typer.echo(
        f"{done.rows:,} minutes: {done.inserted:,} added, {done.corrected:,} corrected, "
        f"{done.improved:,} known from a better source, {done.duplicate:,} known already, "
        f"{done.outranked:,} of a worse source and left out"
    )
    typer.echo(
        f"counted again: {database_name(database)} has {done.held:,} minutes of these symbols"
    )
    typer.echo(
        f"note: screenerd drops what is older than its retention ({_RETENTION_HOURS} h by "
        "default, retention_hours in its configuration)",
        err=True,
    )


@dataclass(frozen=True, slots=True)
class Minutes:
    """The minutes that are to be exported: of the store, or of a database.

    Attributes:
        store: The local store.
        symbols: Whose; None is all.
        start: The first moment, ms.
        end: The first that is not wanted, ms.
        database: Take them from here, where it is given.
    """

    store: Store
    symbols: Sequence[str] | None
    start: int | None
    end: int | None
    database: str | Path | None

    def export(self, out: Path | None, archive: Path | None) -> dict[str, Any]:
        """Writes one Parquet file, or an archive, or into the store; tells what was written.

        Raises:
            DataError: There is no minute, or something cannot be read or written.
        """
        from screener.history.export import export_archive, export_parquet, nothing_to_export
        from screener.history.precedence import Merged

        if out is not None:
            return {"to": str(out), **asdict(export_parquet(self._whole(), out))}
        if archive is not None:
            return {"to": str(archive), **asdict(export_archive(self._frames(), archive))}
        merged = Merged()
        rows = 0
        for frame in self._frames():
            rows += frame.height
            merged.add(self.store.merge(frame))
        if not rows:
            raise nothing_to_export(self.store.root)
        return {"to": str(self.store.root), "rows": merged.inserted, **asdict(merged)}

    def _names(self) -> list[str]:
        from screener.errors import DataError
        from screener.history.stored import named_symbols

        if self.database is None:
            return named_symbols(self.store, self.symbols)
        known = self._known(self.database)
        unknown = next((name for name in self.symbols or () if name not in known), None)
        if unknown is not None or not known:
            what = "minutes" if unknown is None else f"minutes of {unknown!r}"
            raise DataError(
                reason=f"it has no {what}",
                path=database_name(self.database),
                remedy="screener load brings some",
            )
        return known if self.symbols is None else list(self.symbols)

    def _known(self, database: str | Path) -> list[str]:
        from screener.history import database as files
        from screener.history import postgres

        if postgres.is_url(database):
            return postgres.database_symbols(str(database), exchange=self.store.exchange)
        return files.database_symbols(database, exchange=self.store.exchange)

    def _kept_in(self, database: str | Path, name: str) -> Iterator[pl.DataFrame]:
        from screener.history import database as files
        from screener.history import postgres

        exchange = self.store.exchange
        if postgres.is_url(database):
            return postgres.database_frames(
                str(database), name, self.start, self.end, exchange=exchange
            )
        return files.database_frames(database, name, self.start, self.end, exchange=exchange)

    def _frames(self) -> Iterator[pl.DataFrame]:
        """In the store's case a frame a symbol, of a database several; each read when asked for."""
        from screener.history.stored import minutes_of

        for name in self._names():
            if self.database is None:
                yield minutes_of(self.store, name, self.start, self.end)
            else:
                yield from self._kept_in(self.database, name)

    def _whole(self) -> pl.LazyFrame | Iterator[pl.DataFrame]:
        if self.database is not None:
            return self._frames()
        return self.store.scan(self._names(), self.start, self.end)


def exported_line(document: dict[str, Any]) -> str:
    """What was exported, in a line."""
    if "files" in document:
        files = f"{document['files']:,} file{'s' if document['files'] != 1 else ''}"
        size = document["bytes"] / 1e6
        return f"wrote {document['rows']:,} minutes into {files} ({size:,.1f} MB): {document['to']}"
    return (
        f"{document['inserted']:,} minutes added, {document['corrected']:,} corrected, "
        f"{document['duplicate']:,} known already: {document['to']}"
    )
