"""The command `screenerd`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from screenerd import config as configuration
from screenerd import logs
from screenerd.clock import SystemClock

if TYPE_CHECKING:
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
Database = Annotated[Path | None, typer.Option("--db", help="The SQLite file.")]


@app.command()
def up(
    file: File = None,
    db: Database = None,
    demo: Annotated[bool, typer.Option(help="Against the built-in market.")] = False,
    speed: Annotated[float | None, typer.Option(help="Of the built-in market.")] = None,
    symbols: Annotated[int | None, typer.Option(help="Of the built-in market.")] = None,
    rules: Annotated[str | None, typer.Option(help="A preset or a TOML file.")] = None,
    floors: Annotated[bool | None, typer.Option(help="Ask for volume, too.")] = None,
    log: Annotated[str | None, typer.Option(help="console or json.")] = None,
) -> None:
    """Runs everything in one process, until it is told to stop."""
    from screener import RuleError, ScreenerError
    from screenerd import run
    from screenerd.exchange.port import ExchangeError
    from screenerd.store.port import StoreError

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
                "rules": {"name": rules, "floors": floors},
                "log": {"format": log},
            },
        )
        logs.set_up(config.log)
        try:
            asyncio.run(run.up_demo(config) if demo else run.up(config))
        except* (StoreError, ExchangeError, ScreenerError, OSError) as errors:
            error = _first(errors)
            where = f"rules {config.rules.name}: " if isinstance(error, RuleError) else ""
            _say(f"{where}{error}")
            raise typer.Exit(1) from None


@app.command("config")
def show_config(file: File = None) -> None:
    """Prints the whole effective configuration, secrets masked."""
    typer.echo(_load(file, {}).model_dump_json(indent=2))


@app.command()
def doctor(file: File = None, db: Database = None) -> None:
    """Checks clock, exchange and store, and says what to do."""
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
    from screenerd.store.reader import SqliteReader

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
    from screenerd.store.reader import SqliteReader

    async with SqliteReader(config.store.path, SystemClock()) as store:
        return [one for name in config.notify.channels for one in await store.dead(name.name)]


async def _resend(config: configuration.Config, channel: str) -> int:
    from screenerd.notify.outbox import Notifier
    from screenerd.store.sqlite import SqliteStore

    clock = SystemClock()
    async with SqliteStore(config.store.path, clock) as store:
        return await Notifier(store, config.notify.channels, clock).resend_dead(channel)


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
