"""Configuration: defaults, then a TOML file, then the environment, then flags."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from screenerd.bus.jetstream.settings import BusSettings
from screenerd.notify.channels import ChannelConfig, check_names
from screenerd.rulefiles import RuleSources
from screenerd.serve.settings import ServeConfig

PREFIX = "SCREENER_"
"""Of environment variables: `SCREENER_STORE__PATH` sets `path` of `[store]`."""


class ConfigError(Exception):
    """A key or a value that cannot be; names it, and where it came from."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExchangeConfig(_Section):
    """The exchange: where it is, and what of it is followed."""

    rest_url: str = "https://fapi.binance.com"
    stream_url: str = "wss://fstream.binance.com"
    quote: str = "USDT"
    tradfi: bool = False


class StoreConfig(_Section):
    """Where things are kept, and for how long.

    `path` is the file of a single process, `url` the PostgreSQL database of roles that run alone:
    `postgresql://user:password@host:5432/name`.
    """

    path: Path = Path("screener.db")
    url: SecretStr | None = None
    retention_hours: int = Field(default=48, ge=27, le=24 * 366)
    scores_days: int = Field(default=30, ge=1, le=3660)
    metrics: bool | None = None

    @property
    def keeps_metrics(self) -> bool:
        """Whether metrics are kept every minute: unless said otherwise, in a database only."""
        return self.url is not None if self.metrics is None else self.metrics


class RulesConfig(_Section):
    """The rules: a preset's name or a TOML file, with or without floors, and files beside it."""

    name: str = "futures"
    floors: bool = True
    files: tuple[Path, ...] = ()
    shadow: tuple[str, ...] = ()

    @field_validator("files")
    @classmethod
    def _are_toml(cls, files: tuple[Path, ...]) -> tuple[Path, ...]:
        for file in files:
            if file.suffix.lower() != ".toml":
                raise ValueError(f"{file} does not end with .toml")
        if len(set(files)) < len(files):
            raise ValueError("a file is named twice")
        return files

    @property
    def sources(self) -> RuleSources:
        """Where the rules come from."""
        return RuleSources(self.name, self.files, floors=self.floors, shadow=self.shadow)


class ScreenConfig(_Section):
    """The screening: how many workers share it, until `screenerd scale` says otherwise."""

    workers: int = Field(default=1, ge=1, le=1024)


class ProbeConfig(_Section):
    """Where a role that runs alone says how it is: `/health/live`, `/health/ready`, `/metrics`."""

    host: str = "127.0.0.1"
    port: int = Field(default=9100, ge=0, le=65535)


class DemoConfig(_Section):
    """The built-in market."""

    symbols: int = Field(default=40, ge=1, le=2000)
    seed: int = 7
    speed: float = Field(default=20.0, gt=0, le=600)


class NotifyConfig(_Section):
    """Where alerts are delivered to: a `[[notify.channels]]` for each target."""

    channels: tuple[ChannelConfig, ...] = ()

    @field_validator("channels")
    @classmethod
    def _differ(cls, channels: tuple[ChannelConfig, ...]) -> tuple[ChannelConfig, ...]:
        check_names(channels)
        return channels


class LogConfig(_Section):
    """How events are written down."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(_Section):
    """The whole configuration."""

    exchange: ExchangeConfig = ExchangeConfig()
    store: StoreConfig = StoreConfig()
    bus: BusSettings = BusSettings()
    screen: ScreenConfig = ScreenConfig()
    probe: ProbeConfig = ProbeConfig()
    rules: RulesConfig = RulesConfig()
    notify: NotifyConfig = NotifyConfig()
    serve: ServeConfig = ServeConfig()
    demo: DemoConfig = DemoConfig()
    log: LogConfig = LogConfig()

    @property
    def keys_file(self) -> Path:
        """Where API keys are kept: beside the store unless said otherwise."""
        return self.serve.keys_file or self.store.path.with_name(self.store.path.name + ".keys")


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """The effective configuration.

    Args:
        file: a TOML file, if any.
        environment: variables; those of the process by default.
        flags: what the command line says, nested as the file is; `None` values say nothing.

    Raises:
        ConfigError: a key or a value that cannot be, or a file that cannot be read.
    """
    merged: dict[str, Any] = {}
    origin: dict[tuple[str, ...], str] = {}
    environment = os.environ if environment is None else environment
    for source, values in (
        (str(file), _from_file(file)),
        ("the environment", _from_environment(environment)),
        ("the command line", _without_none(flags or {})),
    ):
        _merge(merged, values, origin, source, ())
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_told(error, origin)) from error


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in environment.items():
        if name.startswith(PREFIX):
            *sections, key = name.removeprefix(PREFIX).lower().split("__")
            place = values
            for section in sections:
                place = place.setdefault(section, {})
            place[key] = _listed(name, value)
    return values


def _listed(name: str, value: str) -> object:
    """A variable's value: JSON where it is a list, for what is one in the file."""
    if not value.lstrip().startswith("["):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{name} is not a JSON list: {error}") from error


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }


def _merge(
    into: dict[str, Any],
    values: Mapping[str, Any],
    origin: dict[tuple[str, ...], str],
    source: str,
    path: tuple[str, ...],
) -> None:
    for key, value in values.items():
        here = (*path, key)
        if isinstance(value, Mapping):
            place = into.setdefault(key, {})
            if isinstance(place, dict):  # else it is told that this is no section
                _merge(place, value, origin, source, here)
                origin.setdefault(here, source)
        else:
            into[key], origin[here] = value, source


def _told(error: ValidationError, origin: Mapping[tuple[str, ...], str]) -> str:
    lines = []
    for fault in error.errors():
        path = tuple(str(part) for part in fault["loc"])
        source = next(
            (origin[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origin), "default"
        )
        name = ".".join(path)
        # What is wrong is told; its value is not where it may hold a secret.
        hidden = path[0] in {"notify", "bus"} or path[:2] == ("store", "url")
        value = "" if hidden else f" = {fault['input']!r}"
        if fault["type"] == "extra_forbidden":
            lines.append(f"{name} (from {source}) is no setting: `screenerd config` prints all")
        else:
            lines.append(f"{name}{value} (from {source}): {fault['msg']}")
    return "\n".join(lines)
