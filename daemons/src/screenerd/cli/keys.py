"""Keys for programs that call the API."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from screenerd.cli.common import Database, File, iso_minute, load, say
from screenerd.clock import SystemClock

if TYPE_CHECKING:
    from screenerd.serve.access.keys import KeyFile

app = typer.Typer(help="Keys for programs that call the API.", no_args_is_help=True)


class KeyScope(StrEnum):
    """What a key may do; each includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


Scopes = Annotated[list[KeyScope], typer.Option("--scope", help="May be given again.")]


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Scopes = [KeyScope.READ],  # noqa: B006 - typer copies it
    days: Annotated[int | None, typer.Option(min=1, help="How long it is good for.")] = None,
    file: File = None,
    db: Database = None,
) -> None:
    """Makes a key and prints it: it is shown this once, and stored as a hash."""
    now = SystemClock().now_ms()
    until = None if days is None else now + days * 86_400_000
    keys, failures = _keys(file, db)
    try:
        info, secret = keys.create(name, [one.value for one in scope], now, until)
    except failures as error:
        say(str(error))
        raise typer.Exit(1) from error
    typer.echo(secret)
    scopes = ", ".join(sorted(info.scopes))
    typer.echo(f"key {info.id} ({scopes}): keep it, it is not shown again", err=True)


@app.command("list")
def list_keys(file: File = None, db: Database = None) -> None:
    """Lists the keys."""
    keys, failures = _keys(file, db)
    try:
        found = keys.list()
    except failures as error:
        say(str(error))
        raise typer.Exit(1) from error
    for info in found:
        until = iso_minute(info.expires_at) if info.expires_at else "-"
        ends = "revoked" if info.revoked_at else until
        made = iso_minute(info.created_at)
        typer.echo(f"{info.id}  {made}  {ends}  {','.join(sorted(info.scopes))}  {info.name}")
    typer.echo(f"{len(found)} keys")


@app.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Its id.")], file: File = None, db: Database = None
) -> None:
    """Makes a key good for nothing, within a second, while a daemon runs, too."""
    keys, failures = _keys(file, db)
    try:
        info = keys.revoke(key)
    except failures as error:
        say(str(error))
        raise typer.Exit(1) from error
    typer.echo(f"key {info.id} ({info.name}) is revoked")


def _keys(file: Path | None, db: Path | None) -> tuple[KeyFile, tuple[type[Exception], ...]]:
    """The keys, and what may go wrong with them."""
    from screenerd.serve.access.keys import KeyFile, KeyFileError

    config = load(file, {"store": {"path": db}})
    return KeyFile(config.keys_file), (KeyFileError, ValueError, OSError)
