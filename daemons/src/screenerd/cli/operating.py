"""What an operator asks and mends while the roles run, or while they do not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from screenerd import config as configuration
from screenerd.cli.common import Database, File, iso_minute, load, load_for_store, run_once, say
from screenerd.clock import SystemClock

if TYPE_CHECKING:
    from screenerd.store.port import AuditRow, Delivery
    from screenerd.store.postgres import PostgresStore
    from screenerd.store.postgres.reader import PostgresReader
    from screenerd.store.sqlite import SqliteStore
    from screenerd.store.sqlite.reader import SqliteReader

app = typer.Typer()


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
        say(str(error))
        raise typer.Exit(2) from error
    raise typer.Exit(code)


@app.command("config")
def show_config(file: File = None) -> None:
    """Prints the whole effective configuration, secrets masked."""
    typer.echo(load(file, {}).model_dump_json(indent=2))


@app.command()
def doctor(file: File = None, db: Database = None) -> None:
    """Checks clock, exchange, rules and store, and says what to do."""
    from screenerd.doctor import examine

    checks = asyncio.run(examine(load_for_store(file, db)))
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
    config = load_for_store(file, db)
    rows = run_once(_audit(config, exchange, hours))
    expected, held, absent = (
        sum(getattr(row, name) for row in rows) for name in ("expected", "held", "absent")
    )
    for row in rows:
        for first, minutes in row.holes:
            typer.echo(f"{row.symbol}: {minutes} min missing from {iso_minute(first)}")
    typer.echo(
        f"{len({row.symbol for row in rows})} symbols: {expected} minutes expected, {held} held, "
        f"{absent} absent at the source, {expected - held - absent} missing"
    )
    raise typer.Exit(0 if expected == held + absent else 1)


async def _audit(config: configuration.Config, exchange: str, hours: int) -> list[AuditRow]:
    hour = 3_600_000
    end = SystemClock().now_ms() // hour * hour + hour
    async with _reader(config) as store:
        newest = max((await store.newest(exchange)).values(), default=end - hour)
        end = min(end, newest // hour * hour + hour)
        return await store.audit(exchange, end - hours * hour, end)


@app.command()
def dead(file: File = None, db: Database = None) -> None:
    """Lists the deliveries that were given up, by channel."""
    config = load_for_store(file, db)
    found = run_once(_dead(config))
    for delivery in found:
        typer.echo(f"{delivery.channel}: alert {delivery.alert_id}: {delivery.last_error}")
    typer.echo(f"{len(found)} deliveries given up; `screenerd resend CHANNEL` sends them again")


@app.command()
def resend(
    channel: Annotated[str, typer.Argument(help="Its name.")],
    file: File = None,
    db: Database = None,
) -> None:
    """Puts what was given up on a channel back into the outbox; of a file while no daemon runs."""
    config = load_for_store(file, db)
    count = run_once(_resend(config, channel))
    when = "when `screenerd up` runs" if config.store.url is None else "by `screenerd notify`"
    typer.echo(f"{count} deliveries of {channel} are tried again {when}")


async def _dead(config: configuration.Config) -> list[Delivery]:
    async with _reader(config) as store:
        return [one for name in config.notify.channels for one in await store.dead(name.name)]


async def _resend(config: configuration.Config, channel: str) -> int:
    from screenerd.notify.outbox import Notifier

    clock = SystemClock()
    async with _writer(config) as store:
        return await Notifier(store, config.notify.channels, clock).resend_dead(channel)


def _reader(config: configuration.Config) -> SqliteReader | PostgresReader:
    """The database of `store.url`, or else the file, to be read."""
    if config.store.url is not None:
        from screenerd.store.postgres.reader import PostgresReader

        return PostgresReader(config.store.url.get_secret_value(), SystemClock())
    from screenerd.store.sqlite.reader import SqliteReader

    return SqliteReader(config.store.path, SystemClock())


def _writer(config: configuration.Config) -> SqliteStore | PostgresStore:
    """The same, to be written; of a file nobody else may be the writer."""
    if config.store.url is not None:
        from screenerd.store.postgres import PostgresStore

        return PostgresStore(config.store.url.get_secret_value(), SystemClock())
    from screenerd.store.sqlite import SqliteStore

    return SqliteStore(config.store.path, SystemClock())
