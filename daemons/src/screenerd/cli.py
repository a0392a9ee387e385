"""The command `screenerd`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from screenerd import config as configuration
from screenerd import logs
from screenerd.clock import SystemClock

if TYPE_CHECKING:
    from screenerd.serve.access.keys import KeyFile
    from screenerd.store.port import AuditRow, Delivery

T = TypeVar("T")

app = typer.Typer(
    help="Follows an exchange, screens every minute, raises and delivers alerts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

File = Annotated[
    Path | None, typer.Option("--config", "-c", help="A TOML file.", envvar="SCREENERD_CONFIG")
]
RuleFiles = Annotated[
    list[Path], typer.Option(help="A TOML file of rules beside them. May be given again.")
]
Database = Annotated[Path | None, typer.Option("--db", help="The SQLite file.")]


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
        config = _load(
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
        _run_daemon(run.up_demo(config) if demo else run.up(config))


@app.command()
def market(
    file: File = None,
    speed: Annotated[float, typer.Option(help="Minutes of it in a minute.")] = 1.0,
    symbols: Annotated[int | None, typer.Option(help="How many.")] = None,
    port: Annotated[int, typer.Option(help="Where it listens, on loopback; 0: any.")] = 8090,
) -> None:
    """Runs the built-in market alone: REST, streams and archive for another program."""
    from screenerd import run

    config = _load(file, {"demo": {"speed": speed, "symbols": symbols}})
    logs.set_up(config.log)
    _run_daemon(run.market(config, port))


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
    """REST, WebSocket and the page alone, beside a process that writes the store."""
    from screenerd import run

    flags = {
        "store": {"path": db},
        "rules": {"name": rules, "files": rules_file or None, "floors": floors},
        "serve": {"host": host, "port": port},
        "log": {"format": log},
    }
    config = _load(file, flags)
    logs.set_up(config.log)
    _run_daemon(run.serve(config))


@app.command()
def top(
    url: Annotated[str, typer.Option(help="Where the service is.")] = "http://127.0.0.1:8080",
    token: Annotated[
        str | None, typer.Option(help="A key, if it asks for one.", envvar="SCREENER_TOKEN")
    ] = None,
    symbols: Annotated[str, typer.Option(help="Only these: BTCUSDT,ETHUSDT.")] = "",
) -> None:
    """Shows a running service on the terminal: the table and the alerts."""
    from screenerd.top.app import show

    try:
        code = show(url, token or None, symbols.replace(",", " ").split())
    except ValueError as error:
        _say(str(error))
        raise typer.Exit(2) from error
    raise typer.Exit(code)


keys_app = typer.Typer(help="Keys for programs that call the API.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


class KeyScope(StrEnum):
    """What a key may do; each includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


Scopes = Annotated[list[KeyScope], typer.Option("--scope", help="May be given again.")]


@keys_app.command("create")
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
        _say(str(error))
        raise typer.Exit(1) from error
    typer.echo(secret)
    scopes = ", ".join(sorted(info.scopes))
    typer.echo(f"key {info.id} ({scopes}): keep it, it is not shown again", err=True)


@keys_app.command("list")
def list_keys(file: File = None, db: Database = None) -> None:
    """Lists the keys."""
    keys, failures = _keys(file, db)
    try:
        found = keys.list()
    except failures as error:
        _say(str(error))
        raise typer.Exit(1) from error
    for info in found:
        ends = "revoked" if info.revoked_at else _iso(info.expires_at) if info.expires_at else "-"
        made = _iso(info.created_at)
        typer.echo(f"{info.id}  {made}  {ends}  {','.join(sorted(info.scopes))}  {info.name}")
    typer.echo(f"{len(found)} keys")


@keys_app.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Its id.")], file: File = None, db: Database = None
) -> None:
    """Makes a key good for nothing, within a second, while a daemon runs, too."""
    keys, failures = _keys(file, db)
    try:
        info = keys.revoke(key)
    except failures as error:
        _say(str(error))
        raise typer.Exit(1) from error
    typer.echo(f"key {info.id} ({info.name}) is revoked")


def _keys(file: Path | None, db: Path | None) -> tuple[KeyFile, tuple[type[Exception], ...]]:
    """The keys, and what may go wrong with them."""
    from screenerd.serve.access.keys import KeyFile, KeyFileError

    config = _load(file, {"store": {"path": db}})
    return KeyFile(config.keys_file), (KeyFileError, ValueError, OSError)


@app.command("config")
def show_config(file: File = None) -> None:
    """Prints the whole effective configuration, secrets masked."""
    typer.echo(_load(file, {}).model_dump_json(indent=2))


@app.command()
def doctor(file: File = None, db: Database = None) -> None:
    """Checks clock, exchange, rules and store, and says what to do."""
    from screenerd.doctor import examine

    checks = asyncio.run(examine(_load(file, {"store": {"path": db}})))
    for check in checks:
        mark = "ok  " if check.well else "FAIL"
        typer.echo(f"{mark} {check.name}: {check.told}")
        if not check.well:
            typer.echo(f"     what to do: {check.remedy}")
    raise typer.Exit(0 if all(check.well for check in checks) else 1)


@app.command()
def audit(
    file: File = None,
    db: Database = None,
    hours: Annotated[int, typer.Option(min=1, help="How far back.")] = 48,
    exchange: Annotated[str, typer.Option(help="Its name.")] = "binance",
) -> None:
    """Prints what was expected and what is held, and names the holes."""
    config = _load(file, {"store": {"path": db}})
    rows = _run(_audit(config, exchange, hours))
    expected, held, absent = (
        sum(getattr(row, name) for row in rows) for name in ("expected", "held", "absent")
    )
    for row in rows:
        for first, minutes in row.holes:
            typer.echo(f"{row.symbol}: {minutes} min missing from {_iso(first)}")
    typer.echo(
        f"{len({row.symbol for row in rows})} symbols: {expected} minutes expected, {held} held, "
        f"{absent} absent at the source, {expected - held - absent} missing"
    )
    raise typer.Exit(0 if expected == held + absent else 1)


async def _audit(config: configuration.Config, exchange: str, hours: int) -> list[AuditRow]:
    from screenerd.store.sqlite.reader import SqliteReader

    clock = SystemClock()
    hour = 3_600_000
    end = clock.now_ms() // hour * hour + hour
    async with SqliteReader(config.store.path, clock) as store:
        newest = max((await store.newest(exchange)).values(), default=end - hour)
        end = min(end, newest // hour * hour + hour)
        return await store.audit(exchange, end - hours * hour, end)


@app.command()
def dead(file: File = None, db: Database = None) -> None:
    """Lists the deliveries that were given up, by channel."""
    config = _load(file, {"store": {"path": db}})
    found = _run(_dead(config))
    for delivery in found:
        typer.echo(f"{delivery.channel}: alert {delivery.alert_id}: {delivery.last_error}")
    typer.echo(f"{len(found)} deliveries given up; `screenerd resend CHANNEL` sends them again")


@app.command()
def resend(
    channel: Annotated[str, typer.Argument(help="Its name.")],
    file: File = None,
    db: Database = None,
) -> None:
    """Puts what was given up on a channel back into the outbox, while no daemon runs."""
    count = _run(_resend(_load(file, {"store": {"path": db}}), channel))
    typer.echo(f"{count} deliveries of {channel} are tried again when `screenerd up` runs")


async def _dead(config: configuration.Config) -> list[Delivery]:
    from screenerd.store.sqlite.reader import SqliteReader

    async with SqliteReader(config.store.path, SystemClock()) as store:
        return [one for name in config.notify.channels for one in await store.dead(name.name)]


async def _resend(config: configuration.Config, channel: str) -> int:
    from screenerd.notify.outbox import Notifier
    from screenerd.store.sqlite import SqliteStore

    clock = SystemClock()
    async with SqliteStore(config.store.path, clock) as store:
        return await Notifier(store, config.notify.channels, clock).resend_dead(channel)


def _run_daemon(work: Coroutine[Any, Any, None]) -> None:
    """Runs roles until they are told to stop; what goes wrong is told in a line."""
    import uvloop

    from screener import ScreenerError
    from screenerd.exchange.port import ExchangeError
    from screenerd.rulefiles import RulesError
    from screenerd.serve.access.keys import KeyFileError
    from screenerd.serve.settings import ExposedError
    from screenerd.store.port import StoreError

    service = (ExposedError, KeyFileError, OSError)
    expected = (StoreError, ExchangeError, ScreenerError, RulesError, *service)
    try:
        uvloop.run(work)
    except* expected as errors:
        _say(str(_first(errors)))
        raise typer.Exit(1) from None


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Runs something on the store; what goes wrong is told in a line."""
    from screenerd.store.port import StoreError

    try:
        return asyncio.run(work)
    except (StoreError, ValueError) as error:
        _say(str(error))
        raise typer.Exit(1) from error


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _load(file: Path | None, flags: dict[str, Any]) -> configuration.Config:
    try:
        return configuration.load(file, flags=flags)
    except configuration.ConfigError as error:
        _say(str(error))
        raise typer.Exit(2) from error


def _say(trouble: str) -> None:
    typer.secho(f"screenerd: {trouble}", err=True, fg="red")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> None:
    """Runs the command line."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
