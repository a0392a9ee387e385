"""What the commands share: options, the configuration, and how things go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from screenerd import config as configuration

T = TypeVar("T")

File = Annotated[
    Path | None, typer.Option("--config", "-c", help="A TOML file.", envvar="SCREENERD_CONFIG")
]
LogFormat = Annotated[str | None, typer.Option("--log", help="console or json.")]
Database = Annotated[Path | None, typer.Option("--db", help="The SQLite file.")]


def run_daemon(work: Coroutine[Any, Any, None]) -> None:
    """Runs roles until they are told to stop; what goes wrong is told in a line."""
    import uvloop

    from screener import ScreenerError
    from screenerd.bus.jetstream.check import BrokerError
    from screenerd.bus.port import BacklogError
    from screenerd.exchange.port import ExchangeError
    from screenerd.rulefiles import RulesError
    from screenerd.serve.access.keys import KeyFileError
    from screenerd.serve.settings import ExposedError
    from screenerd.store.port import StoreError

    service = (ExposedError, KeyFileError, OSError)
    bus = (BrokerError, BacklogError)
    expected = (StoreError, ExchangeError, ScreenerError, RulesError, *bus, *service)
    try:
        uvloop.run(work)
    except* expected as errors:
        say(str(_first(errors)))
        raise typer.Exit(1) from None


def run_once(work: Coroutine[Any, Any, T]) -> T:
    """Runs something on the store; what goes wrong is told in a line."""
    from screenerd.bus.jetstream.check import BrokerError
    from screenerd.store.port import StoreError

    try:
        return asyncio.run(work)
    except (BrokerError, StoreError, ValueError) as error:
        say(str(error))
        raise typer.Exit(1) from error


def iso_minute(ms: int) -> str:
    """A time in ms as people read it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def load(file: Path | None, flags: dict[str, Any]) -> configuration.Config:
    """The configuration: what the file says, and what was given beside it."""
    try:
        return configuration.load(file, flags=flags)
    except configuration.ConfigError as error:
        say(str(error))
        raise typer.Exit(2) from error


def load_for_store(file: Path | None, db: Path | None) -> configuration.Config:
    """The configuration for what asks the store: a file that is named goes before `store.url`."""
    config = load(file, {"store": {"path": db}})
    if db is None:
        return config
    return config.model_copy(update={"store": config.store.model_copy(update={"url": None})})


def say(trouble: str) -> None:
    """Tells what went wrong."""
    typer.secho(f"screenerd: {trouble}", err=True, fg="red")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
