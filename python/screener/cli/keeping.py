"""The commands `screener check | repair | undo | load | export`: their options."""

from __future__ import annotations

import glob
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from screener.cli import kept
from screener.cli.history import StoreOption, open_store
from screener.cli.inputs import as_options, moment, wrong_usage
from screener.cli.output import console, dump, say, status

if TYPE_CHECKING:
    import polars as pl

    from screener.history.report import HistoryReport

__all__ = ["check", "export", "load", "repair", "undo"]


class Severity(StrEnum):
    """How grave a finding is."""

    error = "error"
    warning = "warning"
    notice = "notice"


Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Symbols in the store, or files of one-minute candles; by default the whole store.",
        metavar="[SYMBOLS|FILES]",
        show_default=False,
    ),
]
Symbols = Annotated[
    list[str] | None,
    typer.Argument(
        help="Symbols in the store; by default all.", metavar="[SYMBOLS]", show_default=False
    ),
]
Start = Annotated[
    int | None,
    typer.Option(parser=moment, metavar="TIME", help="First moment, such as 2025-02-01 (UTC)."),
]
End = Annotated[
    int | None,
    typer.Option(parser=moment, metavar="TIME", help="First moment that is not wanted."),
]
SymbolOption = Annotated[
    str | None,
    typer.Option("--symbol", help="Whose the rows of files are that name none.", metavar="NAME"),
]
Html = Annotated[
    Path | None,
    typer.Option(
        help="Write the report as one HTML page with a picture of what is held.", metavar="FILE"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Url = Annotated[str | None, typer.Option(help="Where REST is.", metavar="URL", show_default=False)]
ArchiveUrl = Annotated[
    str | None, typer.Option(help="Where the archive is.", metavar="URL", show_default=False)
]

_NO_FILES = "--symbol says whose the rows of files are, and no file is given"


def check(
    names: Names = None,
    start: Start = None,
    end: End = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Every symbol should have all minutes of --start to --end."),
    ] = False,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Files of another source to compare with; may be repeated.",
                     metavar="FILE", show_default=False),
    ] = None,
    symbol: SymbolOption = None,
    html: Html = None,
    fail_on: Annotated[
        Severity | None,
        typer.Option(help="Exit with 1 where something as grave is found.", show_default=False),
    ] = None,
    store: StoreOption = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Check minutes and tell what is wrong with them; nothing is changed."""
    if whole and (start is None or end is None):
        raise wrong_usage("--whole needs --start and --end")
    is_of_files = _are_files(names)
    if is_of_files and store is not None:
        raise wrong_usage("--store is for symbols in it, and files are given")
    if symbol is not None and not is_of_files and not against:
        raise wrong_usage(_NO_FILES)
    report = _report(names, start, end, whole, against, symbol, store)
    if html is not None:
        kept.write_page(html, report)
        say(f"wrote {html}")
    if as_json:
        dump(report.to_dict())
    else:
        kept.print_report(console(), report)
    worst = report.worst()
    if fail_on is not None and worst is not None and _rank(worst) <= _rank(fail_on.value):
        raise typer.Exit(1)


def repair(
    names: Names = None,
    start: Start = None,
    end: End = None,
    doubts: Annotated[
        bool, typer.Option("--doubts", help="Also ask again for what is hard to believe.")
    ] = False,
    synthetic: Annotated[
        bool,
        typer.Option("--synthetic", help="Put flat candles, marked so, where the source has none."),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Take out what cannot be, and ask nobody.")
    ] = False,
    symbol: SymbolOption = None,
    store: StoreOption = None,
    url: Url = None,
    archive_url: ArchiveUrl = None,
    as_json: AsJson = False,
) -> None:
    """Fill holes from the archive and REST, take out what cannot be; `screener undo` undoes it.

    Files are added to the store first.
    """
    import asyncio

    from screener.history import layout, rest
    from screener.history import repair as mending
    from screener.history.times import range_ms

    range_ms(start, end)
    if offline and doubts:
        raise wrong_usage("--doubts asks the source, and --offline asks nobody")
    if offline and (url is not None or archive_url is not None):
        raise wrong_usage("--url and --archive-url say who is asked, and --offline asks nobody")
    is_of_files = _are_files(names)
    if symbol is not None and not is_of_files:
        raise wrong_usage(_NO_FILES)
    rows = _rows(names or [], symbol) if is_of_files else None
    symbols = None if rows is not None or not names else names
    folder = open_store(store)
    with kept.Bar().shown() as told:
        if offline:
            now = time.time_ns() // 1_000_000
            done = asyncio.run(
                mending.repair(
                    folder, None, symbols, start, end, now=now, rows=rows, synthetic=synthetic
                )
            )
        else:
            done = mending.repair_minutes(
                symbols,
                start,
                end,
                store=folder,
                rows=rows,
                doubts=doubts,
                synthetic=synthetic,
                rest_url=url or rest.REST_URL,
                archive_url=archive_url or layout.ARCHIVE_URL,
                on_event=told,
            )
    if as_json:
        dump(done.to_dict())
    else:
        kept.print_repaired(folder, done)
    if done.lacking:
        say(f"error: {done.lacking:,} minutes could not be had: run it again later")
        raise typer.Exit(1)


def undo(
    entry: Annotated[
        str | None,
        typer.Argument(help="The repair; by default the newest.", metavar="[REPAIR]",
                       show_default=False),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the repairs, and undo nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where files were changed since.")
    ] = False,
    store: StoreOption = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Bring back what a repair found, to the byte."""
    from screener.history import journal

    if listed and (entry is not None or force):
        raise wrong_usage("--list undoes nothing: give neither a repair nor --force with it")
    folder = open_store(store)
    if listed:
        known = journal.entries(folder)
        if as_json:
            dump({"repairs": [kept.entry_document(found) for found in known]})
        else:
            kept.print_entries(console(), known)
        return
    undone = journal.undo(folder, entry, force=force)
    if as_json:
        dump(kept.entry_document(undone))
    else:
        typer.echo(f"undone: {undone.id}, {len(undone.files):,} files are as they were")


def load(
    database: Annotated[
        str,
        typer.Argument(
            help="The database of screenerd: its file, or its postgresql:// url.",
            metavar="DATABASE|URL",
        ),
    ],
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    store: StoreOption = None,
    as_json: AsJson = False,
) -> None:
    """Load stored minutes into the daemons' database, and count them there."""
    folder = open_store(store)
    now = time.time_ns() // 1_000_000
    with status("loading") as shown:
        done = kept.load_into(
            folder, database, symbols or None, start, end, now=now,
            on_symbol=lambda name: shown.update(f"loading {name}"),
        )  # fmt: skip
    if as_json:
        dump(kept.loaded_document(database, done))
    else:
        kept.print_loaded(database, done)


def export(
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    out: Annotated[
        Path | None,
        typer.Option(help="One Parquet file.", metavar="FILE.parquet", show_default=False),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(help="Folder for zip files as the exchange's archive has them.",
                     metavar="FOLDER", show_default=False),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(help="Take minutes of screenerd's database, not of the store: its file, or "
                     "its postgresql:// url.",
                     metavar="DATABASE|URL", show_default=False),
    ] = None,
    to_store: Annotated[
        bool, typer.Option("--to-store", help="With --database: bring them into the store.")
    ] = False,
    store: StoreOption = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Export minutes as one Parquet file, as the archive has them, or out of a database."""
    if (out is not None) + (archive is not None) + to_store != 1:
        raise wrong_usage("give one of --out, --archive and --to-store")
    if to_store and database is None:
        raise wrong_usage("--to-store needs --database")
    if out is not None and out.suffix != ".parquet":
        raise wrong_usage(f"{str(out)!r}: the name has to end with .parquet")
    source = kept.Minutes(open_store(store), symbols or None, start, end, database)
    with status("exporting"):
        document = source.export(out, archive)
    if as_json:
        dump(document)
    else:
        typer.echo(kept.exported_line(document))


# -- what is meant -------------------------------------------------------------------------------


def _report(
    names: list[str] | None,
    start: int | None,
    end: int | None,
    whole: bool,
    against: list[str] | None,
    symbol: str | None,
    store: Path | None,
) -> HistoryReport:
    from screener.history import check as check_frame
    from screener.history import check_stored

    now = time.time_ns() // 1_000_000
    other = None if not against else _rows(against, symbol)
    if not _are_files(names):
        with status("checking") as shown:
            return check_stored(
                open_store(store), names or None, start, end, whole=whole, now=now, against=other,
                on_symbol=lambda name: shown.update(f"checking {name}"),
            )  # fmt: skip
    rows = kept.between(_rows(names or [], symbol), start, end)
    low, high = (start, end) if whole else (None, None)
    with status("checking"):
        return check_frame(rows, start=low, end=high, now=now, against=other)


def _are_files(names: list[str] | None) -> bool:
    """Whether files are named and not symbols; both at once are refused."""
    if not names:
        return False
    files = [name for name in names if _is_file(name)]
    if 0 < len(files) < len(names):
        symbol = next(name for name in names if name not in files)
        raise wrong_usage(f"{files[0]!r} is a file and {symbol!r} is none: give files or symbols")
    return bool(files)


def _is_file(name: str) -> bool:
    # No symbol has a dot, a slash or a wildcard in it.
    return glob.has_magic(name) or "." in name or "/" in name or os.sep in name


def _rows(files: list[str], symbol: str | None) -> pl.DataFrame:
    """The candles of files; what had to be assumed about them is said."""
    from screener.klines import read_klines, recognise_klines

    with status(f"reading {len(files)} files"):
        facts = recognise_klines(files, symbol=symbol)
        rows = read_klines(files, symbol=symbol, quote_volume="typical")
    for line in kept.doubt_lines(facts):
        say(as_options(line))
    return rows


def _rank(severity: str) -> int:
    return ("error", "warning", "notice").index(severity)
