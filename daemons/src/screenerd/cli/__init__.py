"""The command `screenerd`."""

from __future__ import annotations

from typing import Annotated

import typer

from screenerd import __version__
from screenerd.cli import keys, operating, roles

app = typer.Typer(
    help="Follows an exchange, screens every minute, raises and delivers alerts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(roles.app)
app.add_typer(operating.app)
app.add_typer(keys.app, name="keys")


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"screenerd {__version__}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Which this is."),
    ] = False,
) -> None: ...


def main() -> None:
    """Runs the command line."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
