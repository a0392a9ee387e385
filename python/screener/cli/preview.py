"""The command `screener rules preview`: its options, and what is previewed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from screener.cli.alerts import alert_objects
from screener.cli.history import StoreOption
from screener.cli.inputs import (
    Gaps,
    QuoteVolume,
    filling,
    length,
    load_rules,
    moment,
    names_of,
    read,
    wrong_usage,
)
from screener.cli.minutes import DatabaseOption, HeldMinutes, Minutes, kept_minutes
from screener.cli.output import dump, iso, say, status

if TYPE_CHECKING:
    from screener._core import RuleSet
    from screener.preview import Preview

__all__ = ["preview"]


_NOTHING = "none"
_MINUTE = 60_000
_MOST_NAMES = 5


def _length_text(text: str) -> str:
    length(text)
    return text


def preview(
    rules: Annotated[
        str, typer.Argument(help="The rules: a .toml file or a preset.", metavar="RULES")
    ],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files of one-minute candles; by default the local store.",
            metavar="[FILES]",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            parser=length,
            metavar="LENGTH",
            help="Only so much before the end of the candles or --end, such as 48h or 7d.",
        ),
    ] = None,
    start: Annotated[
        int | None,
        typer.Option(parser=moment, metavar="TIME", help="First moment, such as 2025-02-01 (UTC)."),
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
    floors: Annotated[bool, typer.Option("--floors", help="Turn the rules' floors on.")] = False,
    against: Annotated[
        str, typer.Option(help="Rules to compare with: as RULES, or none.", metavar="RULES")
    ] = "futures",
    gaps: Annotated[
        Gaps, typer.Option(help="Whether rules over a missing minute are silent (pending) or not.")
    ] = Gaps.pending,
    quiet: Annotated[
        str,
        typer.Option(
            parser=_length_text, metavar="LENGTH", help="Silence of a symbol that ends a move."
        ),
    ] = "1h",
    storm: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Symbols that fire in one minute to be a storm. [default: a fifth, 3 to 10]",
        ),
    ] = None,
    symbol: Annotated[
        str | None,
        typer.Option(help="Whose candles they are, where the rows do not tell.", metavar="NAME"),
    ] = None,
    quote_volume: Annotated[
        QuoteVolume | None,
        typer.Option(help="Fill a missing quote volume with volume * (high + low + close) / 3."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Take a made-up market of two days.")
    ] = False,
    store: StoreOption = None,
    database: DatabaseOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Tell how often rules would have fired, of which symbols and when, before they are on."""
    from screener.history.times import range_ms
    from screener.preview import preview as make_preview

    in_files = bool(files) or demo
    _refuse(files, demo, store, database, symbol, quote_volume)
    if last is not None and start is not None:
        raise wrong_usage("--last says when it begins: give no --start with it")
    range_ms(start, end)
    rule_set = load_rules(rules, floors=floors)
    others = None if against == _NOTHING else load_rules(against, floors=floors)
    names = None if not symbols else names_of(symbols)
    if in_files:
        filled = filling(quote_volume)
        frame = read(files or [], demo=demo, symbol=symbol, quote_volume=filled)
        minutes: Minutes = HeldMinutes(frame, names)
    else:
        minutes = kept_minutes(store, database, names)
    if last is not None:
        newest = minutes.newest() if end is None else end - _MINUTE
        start = None if newest is None else newest + _MINUTE - last
    looked: set[str] = set()
    with status("previewing") as shown:

        def told(name: str) -> None:
            looked.add(name)
            shown.update(f"previewing {name}")

        found = make_preview(
            rule_set,
            minutes.frames(start, end),
            gaps=gaps.value,
            start=start,
            end=end,
            others=others,
            quiet=quiet,
            storm=storm,
            on_symbol=told,
        )
    _say_absent([name for name in minutes.symbols if name not in looked])
    if as_json:
        dump(_document(found, rule_set))
    else:
        typer.echo(str(found))


def _refuse(
    files: list[str] | None,
    demo: bool,
    store: Path | None,
    database: Path | None,
    symbol: str | None,
    quote_volume: QuoteVolume | None,
) -> None:
    """Refuses options that contradict each other."""
    given = {"files": bool(files), "--demo": demo, "--store": store, "--database": database}
    named = [name for name, value in given.items() if value]
    if len(named) > 1:
        raise wrong_usage(f"give {named[0]} or {named[1]}, not both")
    if not files and (symbol is not None or quote_volume is not None):
        option = "--symbol" if symbol is not None else "--quote-volume"
        raise wrong_usage(f"{option} is for files, and no file is given")


def _say_absent(names: list[str]) -> None:
    """Names symbols that nothing could be told of."""
    if names:
        shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        plural = "" if len(names) == 1 else "s"
        say(
            "note: no minute of the range or the day before: "
            f"{len(names):,} symbol{plural} ({shown})"
        )


def _document(found: Preview, rules: RuleSet) -> dict[str, Any]:
    """All of a preview as JSON knows it."""
    told = (
        {**alert, "time": iso(alert["triggered_at"])}
        for alert in alert_objects(found.alerts, rules)
    )
    return {**found.to_dict(), "alerts": list(told)}
