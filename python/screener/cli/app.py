"""Commands and options of `screener`."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Annotated, NoReturn

import typer

from screener._core import __version__, presets
from screener.cli import (
    alerts,
    authoring,
    drift,
    explain,
    history,
    keeping,
    preview,
    rulesets,
)
from screener.cli.files import known_format, write_alerts
from screener.cli.inputs import (
    Gaps,
    QuoteVolume,
    as_options,
    filling,
    length,
    load_rules,
    moment,
    read,
    wrong_usage,
)
from screener.cli.minutes import DatabaseOption
from screener.cli.output import console, dump, say, status
from screener.errors import ScreenerError
from screener.quality import inspect_klines
from screener.replay import replay

__all__ = ["run"]

app = typer.Typer(
    help="Tells what began to move in one-minute candles, and why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
rules_app = typer.Typer(
    help="Lists, shows, begins, checks, formats and previews rules.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(rules_app, name="rules")
app.command("fetch")(history.fetch)
app.command("check")(keeping.check)
app.command("repair")(keeping.repair)
app.command("undo")(keeping.undo)
app.command("load")(keeping.load)
app.command("export")(keeping.export)
app.command("drift")(drift.drift)


class Evaluate(StrEnum):
    """When rules are judged."""

    close = "close"
    update = "update"


Files = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files of one-minute candles: CSV, zip, gz, parquet, Feather or JSON.",
        metavar="FILES...",
        show_default=False,
    ),
]
Demo = Annotated[bool, typer.Option("--demo", help="Take a made-up market of two days.")]
Rules = Annotated[
    str, typer.Option("--rules", help="futures, classic, or a .toml file.", metavar="RULES")
]
Floors = Annotated[bool, typer.Option("--floors", help="Turn the rules' floors on.")]
GapsOption = Annotated[
    Gaps, typer.Option(help="Whether rules over a missing minute are silent (pending) or not.")
]
Filling = Annotated[
    QuoteVolume | None,
    typer.Option(help="Fill a missing quote volume with volume * (high + low + close) / 3."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"screener {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", help="Tell the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


@app.command("replay")
def _replay(
    files: Files = None,
    demo: Demo = False,
    rules: Rules = "futures",
    floors: Floors = False,
    evaluate: Annotated[
        Evaluate, typer.Option(help="Judge closed minutes, or every update of the running one too.")
    ] = Evaluate.close,
    gaps: GapsOption = Gaps.pending,
    start: Annotated[
        int | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="Candles that open before only warm up, such as 2025-02-03T02:10 (UTC).",
        ),
    ] = None,
    exchange: Annotated[
        str, typer.Option(help="Part of every alert's id.", metavar="NAME")
    ] = "binance",
    symbol: Annotated[
        str | None,
        typer.Option(help="Whose candles they are, where the rows do not tell.", metavar="NAME"),
    ] = None,
    quote_volume: Filling = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="Write all alerts to .parquet, .feather, .csv, .jsonl or .json.",
            metavar="FILE",
            callback=known_format,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Show the N newest alerts; 0 is all. [default: 20]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay candles and tell every alert, with its reasons."""
    rule_set = load_rules(rules, floors=floors)
    frame = read(
        files or [],
        demo=demo,
        symbol=symbol,
        quote_volume=filling(quote_volume),
    )
    with status("looking for faults"):
        report = inspect_klines(frame)
    for problem in report.problems:
        say(as_options(problem))
    began = perf_counter()
    with status("replaying"):
        result = replay(
            frame,
            rule_set,
            evaluate=evaluate.value,
            exchange=exchange,
            gaps=gaps.value,
            start=start,
        )
    replayed = alerts.Replayed(rule_set, report, result, perf_counter() - began)
    if out is not None:
        write_alerts(out, result.alerts, rule_set)
        say(f"wrote {result.alerts.height:,} alerts to {out}")
    advice = alerts.hints(replayed, frame, gaps=gaps.value, start=start)
    if as_json:
        dump(alerts.document(replayed, limit, advice))
    else:
        alerts.print_replayed(console(), replayed, 20 if limit is None else limit, advice)


@app.command("explain")
def _explain(
    symbol: Annotated[
        str | None,
        typer.Option(help="The symbol; with --near all by default.", metavar="NAME"),
    ] = None,
    rule: Annotated[
        str | None, typer.Option(help="The rule; with --near all by default.", metavar="NAME")
    ] = None,
    files: Files = None,
    demo: Demo = False,
    at: Annotated[
        int | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="When, as in the table of alerts: what had closed by then; by default the end.",
        ),
    ] = None,
    near: Annotated[
        bool, typer.Option("--near", help="List the moments at which rules came nearest.")
    ] = False,
    last: Annotated[
        int | None,
        typer.Option(
            parser=length, metavar="LENGTH", help="With --near: so much before the end or --end."
        ),
    ] = None,
    start: Annotated[
        int | None, typer.Option(parser=moment, metavar="TIME", help="With --near: first moment.")
    ] = None,
    end: Annotated[
        int | None,
        typer.Option(
            parser=moment, metavar="TIME", help="With --near: first moment that is not wanted."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="With --near: so many moments. [default: 20]"),
    ] = None,
    rules: Rules = "futures",
    floors: Floors = False,
    gaps: GapsOption = Gaps.pending,
    quote_volume: Filling = None,
    store: history.StoreOption = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Explain what a rule saw at a minute, clause by clause; or list where rules came near.

    Without files candles are those of the local store.
    """
    rule_set = load_rules(rules, floors=floors)
    asked = explain.Asked(
        symbol, rule_set, rule, files or [], demo, filling(quote_volume), store, database
    )
    if near:
        if at is not None:
            raise wrong_usage("--at is for one minute: with --near give --start, --end or --last")
        found = explain.nearest(asked, start, end, last, limit or 20, gaps.value)
        if as_json:
            dump({"moments": found.to_dicts()})
        else:
            typer.echo(str(found))
        return
    if any(option is not None for option in (last, start, end, limit)):
        raise wrong_usage("--last, --start, --end and --limit are for --near")
    explained = explain.explained(asked, at, gaps.value)
    if as_json:
        dump(explain.document(explained))
    else:
        explain.print_explained(console(), explained)


@rules_app.command("list")
def _list(
    sets: Annotated[
        list[str] | None, typer.Argument(help="Presets or .toml files; by default all presets.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the rules, a line each."""
    names = sets or presets()
    if as_json:
        dump({"sets": [{"set": name, "rules": rulesets.rule_objects(name)} for name in names]})
    else:
        rulesets.print_sets(console(), names)


@rules_app.command("show")
def _show(
    name: Annotated[str, typer.Argument(help="A rule, a preset, or a .toml file.")],
    rules: Annotated[
        str | None,
        typer.Option(
            help="Where to look for the rule; by default in all presets.", metavar="RULES"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a rule or a set as TOML, to copy and change."""
    shown = rulesets.show(name, rules)
    if as_json:
        dump({"set": shown.name, "rules": shown.rules})
    else:
        typer.echo(shown.text.rstrip())


@rules_app.command("check")
def _check(
    file: Annotated[str, typer.Argument(help="A file of rules.", metavar="FILE")],
    as_json: AsJson = False,
) -> None:
    """Check a file of rules; where it is wrong, show where, and exit with 1."""
    checked = rulesets.check(file)
    if as_json:
        valid = checked.problem is None
        dump({"file": file, "valid": valid, "error": checked.error, "rules": checked.rules})
    elif checked.problem is None:
        names = ", ".join(str(rule["name"]) for rule in checked.rules)
        plural = "" if len(checked.rules) == 1 else "s"
        typer.echo(f"{file}: {len(checked.rules)} rule{plural}: {names}")
    if checked.problem is not None:
        _fail(checked.problem)
    if Path(file).suffix.lower() != ".toml":
        say("note: --rules takes this file only under a name that ends with .toml")


rules_app.command("new")(authoring.new)
rules_app.command("fmt")(authoring.fmt)
rules_app.command("schema")(authoring.schema)
rules_app.command("preview")(preview.preview)


# -- running --------------------------------------------------------------------------


def run() -> None:
    """Run the command and exit; what went wrong is told in a line or two, without a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may hold bytes that are no text.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            app(prog_name="screener")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        sys.exit(1)
    except ScreenerError as error:
        _fail(as_options(f"error: {error}"))
    except OSError as error:
        _discard_stdout()
        what = "the output cannot be written" if error.filename is None else error.filename
        _fail(f"error: {what}: {error.strerror or error}")


def _fail(text: str) -> NoReturn:
    say(text)
    sys.exit(1)


def _discard_stdout() -> None:
    """What is left in the buffer cannot be written; at exit Python would try once more."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
