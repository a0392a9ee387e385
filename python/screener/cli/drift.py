"""The command `screener drift`: its options, and what its exit code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from screener.cli.inputs import length, load_rules, moment, names_of, wrong_usage
from screener.cli.output import dump, status

__all__ = ["drift"]

_DAY = 86_400_000
_MINUTE = 60_000


def _day(text: str) -> int:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise typer.BadParameter(f"{text!r} is no day: write it like 2026-11-20 (UTC)")
    return moment(text)


def drift(
    database: Annotated[
        Path, typer.Argument(help="The database of screenerd.", metavar="[DATABASE]")
    ] = Path("screener.db"),
    day: Annotated[
        int | None,
        typer.Option(parser=_day, metavar="DAY", help="One day, such as 2026-11-20 (UTC)."),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            parser=length,
            metavar="LENGTH",
            help="Only so much before the newest minute, such as 24h.",
        ),
    ] = None,
    start: Annotated[
        int | None,
        typer.Option(parser=moment, metavar="TIME", help="First moment, such as 2026-11-20T14:00."),
    ] = None,
    end: Annotated[
        int | None,
        typer.Option(parser=moment, metavar="TIME", help="First moment that is not wanted."),
    ] = None,
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            "--symbols",
            help="Only these, with commas between; may be repeated.",
            metavar="NAMES",
            show_default=False,
        ),
    ] = None,
    rules: Annotated[
        str, typer.Option(help="The rules of today: a preset or a .toml file.", metavar="RULES")
    ] = "futures",
    floors: Annotated[
        bool, typer.Option(help="Whether the rules' floors are on, as screenerd has them.")
    ] = True,
    exchange: Annotated[
        str, typer.Option(help="Whose rows of the database.", metavar="NAME")
    ] = "binance",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Replay what screenerd stored, compare with the alerts it raised, and name each difference.

    Exits with 1 where a difference is left that nothing explains.
    """
    from screener.drift import drift as compare

    given = {"--day": day, "--last": last}
    ranges = [name for name, value in given.items() if value is not None]
    ranges += ["--start or --end"] if start is not None or end is not None else []
    if len(ranges) > 1:
        raise wrong_usage(f"give {ranges[0]} or {ranges[1]}, not both")
    rule_set = load_rules(rules, floors=floors)
    wanted = None if not symbols else names_of(symbols)
    if day is not None:
        start, end = day, day + _DAY
    if last is not None:
        start = _newest(database, exchange) + _MINUTE - last
    with status("comparing") as shown:
        found = compare(
            database,
            rule_set,
            start=start,
            end=end,
            symbols=wanted,
            exchange=exchange,
            on_symbol=lambda name: shown.update(f"comparing {name}"),
        )
    if as_json:
        dump(found.to_dict())
    else:
        typer.echo(str(found))
    if found.faults:
        raise typer.Exit(1)


def _newest(database: Path, exchange: str) -> int:
    from screener.preview.sources import DatabaseMinutes

    return DatabaseMinutes(database, exchange=exchange).newest() or 0
