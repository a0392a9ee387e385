"""The roles, together and each by itself."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from screenerd import logs
from screenerd.cli.common import Database, File, LogFormat, load, run_daemon, run_once, say

app = typer.Typer()

RuleFiles = Annotated[
    list[Path], typer.Option(help="A TOML file of rules beside them. May be given again.")
]


@app.command()
def up(
    file: File = None,
    db: Database = None,
    demo: Annotated[bool, typer.Option(help="Against the built-in market.")] = False,
    speed: Annotated[float | None, typer.Option(help="Of the built-in market.")] = None,
    symbols: Annotated[int | None, typer.Option(help="Of the built-in market.")] = None,
    rules: Annotated[str | None, typer.Option(help="A preset or a TOML file.")] = None,
    rules_file: RuleFiles = [],  # noqa: B006 - typer copies it
    floors: Annotated[bool | None, typer.Option(help="Ask for volume, too.")] = None,
    host: Annotated[str | None, typer.Option(help="Address the page is served at.")] = None,
    port: Annotated[int | None, typer.Option(help="Its port.")] = None,
    serve: Annotated[bool | None, typer.Option(help="REST, WebSocket and the page.")] = None,
    log: Annotated[str | None, typer.Option(help="console or json.")] = None,
) -> None:
    """Runs everything in one process, until it is told to stop."""
    from screenerd import run

    with TemporaryDirectory(prefix="screener-demo-") as folder:
        if demo and db is None:
            # The built-in market has no yesterday: its minutes are of no use to the next run.
            db = Path(folder) / "screener.db"
        if demo and floors is None:
            floors = False
        config = load(
            file,
            {
                "store": {"path": db},
                "demo": {"speed": speed, "symbols": symbols},
                "rules": {"name": rules, "files": rules_file or None, "floors": floors},
                "serve": {"host": host, "port": port, "enabled": serve},
                "log": {"format": log},
            },
        )
        logs.set_up(config.log)
        run_daemon(run.up_demo(config) if demo else run.up(config))


@app.command()
def market(
    file: File = None,
    speed: Annotated[float, typer.Option(help="Minutes of it in a minute.")] = 1.0,
    symbols: Annotated[int | None, typer.Option(help="How many.")] = None,
    port: Annotated[int, typer.Option(help="Where it listens, on loopback; 0: any.")] = 8090,
) -> None:
    """Runs the built-in market alone: REST, streams and archive for another program."""
    from screenerd import run

    config = load(file, {"demo": {"speed": speed, "symbols": symbols}})
    logs.set_up(config.log)
    run_daemon(run.market(config, port))


@app.command()
def serve(
    file: File = None,
    db: Database = None,
    host: Annotated[str | None, typer.Option(help="Address.")] = None,
    port: Annotated[int | None, typer.Option(help="Its port.")] = None,
    rules: Annotated[str | None, typer.Option(help="A preset or a TOML file.")] = None,
    rules_file: RuleFiles = [],  # noqa: B006 - typer copies it
    floors: Annotated[bool | None, typer.Option(help="Ask for volume, too.")] = None,
    log: Annotated[str | None, typer.Option(help="console or json.")] = None,
) -> None:
    """REST, WebSocket and the page alone: over the bus, or beside a process that writes the file.

    Over the bus where `store.url` names a database; else it reads the SQLite file.
    """
    flags = {
        "store": {"path": db},
        "rules": {"name": rules, "files": rules_file or None, "floors": floors},
        "serve": {"host": host, "port": port},
        "log": {"format": log},
    }
    config = load(file, flags)
    logs.set_up(config.log)
    if config.store.url is None:
        from screenerd import run

        run_daemon(run.serve(config))
    else:
        from screenerd.cluster import service

        run_daemon(service.serve(config))


@app.command()
def ingest(file: File = None, log: LogFormat = None) -> None:
    """The minutes alone, from the exchange onto the bus; several may run."""
    _run_role("ingest", file, {"log": {"format": log}})


@app.command()
def screen(
    file: File = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many share the work, unless scaled since.")
    ] = None,
    rules: Annotated[str | None, typer.Option(help="A preset or a TOML file.")] = None,
    rules_file: RuleFiles = [],  # noqa: B006 - typer copies it
    floors: Annotated[bool | None, typer.Option(help="Ask for volume, too.")] = None,
    log: LogFormat = None,
) -> None:
    """The screening alone: one of the workers, or a standby that takes over from one."""
    flags = {
        "screen": {"workers": workers},
        "rules": {"name": rules, "files": rules_file or None, "floors": floors},
        "log": {"format": log},
    }
    _run_role("screen", file, flags)


@app.command()
def persist(file: File = None, log: LogFormat = None) -> None:
    """The storing alone; of several one works, and the others stand by."""
    _run_role("persist", file, {"log": {"format": log}})


@app.command()
def notify(file: File = None, log: LogFormat = None) -> None:
    """The notifications alone; of several one works, and the others stand by."""
    _run_role("notify", file, {"log": {"format": log}})


@app.command()
def scale(
    workers: Annotated[int, typer.Argument(min=1, help="How many.")], file: File = None
) -> None:
    """Says how many workers share the screening, while they run."""
    from screenerd.cluster.scale import rescale

    config = load(file, {})
    if workers > config.bus.shards:
        say(f"{workers} workers for {config.bus.shards} shards (bus.shards): some had no work")
        raise typer.Exit(2)
    before = run_once(rescale(config, workers))
    typer.echo(f"workers: {before} before, {workers} now; they take over within seconds")


def _run_role(role: str, file: Path | None, flags: dict[str, Any]) -> None:
    from screenerd.cluster import process

    config = load(file, flags)
    logs.set_up(config.log)
    if config.store.url is None:
        say(
            f"`screenerd {role}` needs a database that the other roles reach, too: set store.url "
            "(SCREENER_STORE__URL=postgresql://…); `screenerd up` needs none"
        )
        raise typer.Exit(2)
    run_daemon(process.run(role, config))
