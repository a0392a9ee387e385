"""The command `screener fetch`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from screener.cli import fetched
from screener.cli.inputs import moment, wrong_usage
from screener.cli.output import dump, say

if TYPE_CHECKING:
    from screener.history.store import Store

__all__ = ["StoreOption", "fetch", "open_store"]

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Folder of the local store; by default $SCREENER_HISTORY, or one for your account.",
        metavar="FOLDER",
        show_default=False,
    ),
]


def fetch(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(help="Symbols such as BTCUSDT.", metavar="SYMBOLS...", show_default=False),
    ] = None,
    start: Annotated[
        int,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="First moment, such as 2025-02-01 (UTC).",
            show_default=False,
        ),
    ] = ...,  # type: ignore[assignment]
    end: Annotated[
        int | None,
        typer.Option(
            parser=moment, metavar="TIME", help="First moment that is not wanted; by default now."
        ),
    ] = None,
    all_symbols: Annotated[bool, typer.Option("--all", help="All perpetuals.")] = False,
    quote: Annotated[
        str | None,
        typer.Option(
            help="With --all and --top: the asset they are quoted in, by default USDT.",
            metavar="ASSET",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The N with the most turnover of the last day."),
    ] = None,
    include_delisted: Annotated[
        bool, typer.Option("--include-delisted", help="Also what no longer trades.")
    ] = False,
    ask_again: Annotated[
        bool,
        typer.Option("--ask-again", help="Also ask for what was found to be absent before."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what it would take, and fetch nothing.")
    ] = False,
    store: StoreOption = None,
    url: Annotated[
        str | None, typer.Option(help="Where REST is.", metavar="URL", show_default=False)
    ] = None,
    archive_url: Annotated[
        str | None, typer.Option(help="Where the archive is.", metavar="URL", show_default=False)
    ] = None,
    listing_url: Annotated[
        str | None,
        typer.Option(
            help="Where the archive's folders are listed, with --all --include-delisted.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Fetch minutes into the local store, from the archive and by REST; run it again to go on."""
    from screener.history import layout, rest, session
    from screener.history.choose import Target

    if symbols and quote is not None:
        raise wrong_usage("--quote goes with --all and --top, and symbols are named")
    if all_symbols and top is not None:
        raise wrong_usage("--all takes all of them, and --top some: give one of the two")
    if listing_url is not None and not (all_symbols and include_delisted):
        raise wrong_usage("--listing-url goes with --all --include-delisted: nothing else asks it")
    kept = open_store(store)
    order = session.Order(
        Target(tuple(symbols or ()), all_symbols, top, quote or "USDT", include_delisted),
        start,
        end,
        url or rest.REST_URL,
        archive_url or layout.ARCHIVE_URL,
        listing_url,
        ask_again,
    )
    if dry_run:
        prepared, cost = session.estimate(kept, order)
        if as_json:
            dump(fetched.estimate_document(kept, prepared, cost))
        else:
            fetched.print_estimate(kept, prepared, cost)
        return
    bar = fetched.Bar()
    with bar.shown():
        run = session.run(kept, order, on_prepared=bar.prepared, on_event=bar.event)
    if as_json:
        dump(fetched.run_document(kept, run))
    else:
        fetched.print_run(kept, run)
    if not run.fetched.complete:
        say(f"error: {run.fetched.lacking:,} minutes could not be had: run it again later")
        raise typer.Exit(1)


def open_store(folder: Path | None) -> Store:
    """The store in a folder, or the usual one."""
    from screener.history.store import Store

    return Store(folder)
