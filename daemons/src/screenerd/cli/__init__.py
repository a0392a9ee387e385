"""The command `screenerd`."""

from __future__ import annotations

import typer

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


def main() -> None:
    """Runs the command line."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
