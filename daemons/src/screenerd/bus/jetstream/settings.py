"""How the bus over NATS is set up."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from screenerd.bus.jetstream.subjects import Stream

HOUR = 3600
MIB = 1024 * 1024

AT_RISK = "acknowledged messages may be lost"
"""What has to be said for a broker that may lose them to be accepted."""


class StreamSettings(BaseModel):
    """How much of a stream is kept, and where.

    Attributes:
        max_age: seconds.
        max_bytes: in the broker's store.
        storage: `memory` ends with the broker's process.
        discard: when it is full: `new` is refused until there is room, or the `old` go.
        per_subject: how many of a subject; -1 for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_age: float = Field(gt=0)
    max_bytes: int = Field(ge=1024)
    storage: Literal["file", "memory"] = "file"
    discard: Literal["new", "old"] = "new"
    per_subject: int = -1


class BusSettings(BaseModel):
    """The broker, and what it is to keep.

    Attributes:
        servers: where it is, `nats://host:port`; several for a cluster.
        monitor: its monitoring endpoint, `http://host:port`, which says how it is configured.
        shards: into how many parts candles are divided; the same for all processes.
        replicas: in how many servers of a cluster each message is kept.
        views: whether candles and metrics are told for each symbol as well, for other consumers.
        token: to be let in; or `user` and `password`, or a file of credentials.
        user: see `token`.
        password: see `token`.
        credentials_file: see `token`.
        at_risk: accepts a broker that may lose what it acknowledged; in these very words.
        reconnect_seconds: between attempts to connect, at first.
        ping_seconds: between signs of life; the second that is missing ends the connection.
        ack_seconds: how long an acknowledgement is waited for before a message goes out again.
        redeliver_seconds: when what was not dealt with goes to another subscriber of the name.
        max_deliver: how often a message may end its subscriber before it is put aside.
        duplicate_seconds: how long the broker knows ids.
        watch_seconds: between looks at whether everything arrives.
        replayed_alerts: how many of the newest alerts a new subscriber gets.
        candles: the stream.
        metrics: the stream.
        alerts: the stream.
        control: the stream.
        dead: the stream of what could not be read or dealt with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    servers: tuple[str, ...] = ("nats://127.0.0.1:4222",)
    monitor: str | None = "http://127.0.0.1:8222"
    shards: int = Field(default=8, ge=1, le=1024)
    replicas: int = Field(default=1, ge=1, le=5)
    views: bool = True
    token: SecretStr | None = None
    user: str | None = None
    password: SecretStr | None = None
    credentials_file: Path | None = None
    at_risk: str | None = None
    reconnect_seconds: float = Field(default=0.5, gt=0, le=60)
    ping_seconds: int = Field(default=5, ge=1, le=120)
    ack_seconds: float = Field(default=5, gt=0, le=60)
    redeliver_seconds: float = Field(default=30, ge=1, le=3600)
    max_deliver: int = Field(default=5, ge=1, le=1000)
    duplicate_seconds: float = Field(default=120, ge=0.1, le=3600)
    watch_seconds: float = Field(default=3, ge=0.1, le=60)
    replayed_alerts: int = Field(default=10_000, ge=0, le=100_000)
    candles: StreamSettings = StreamSettings(max_age=48 * HOUR, max_bytes=4096 * MIB)
    metrics: StreamSettings = StreamSettings(
        max_age=HOUR, max_bytes=256 * MIB, storage="memory", discard="old", per_subject=4
    )
    alerts: StreamSettings = StreamSettings(max_age=7 * 24 * HOUR, max_bytes=1024 * MIB)
    control: StreamSettings = StreamSettings(max_age=7 * 24 * HOUR, max_bytes=64 * MIB)
    dead: StreamSettings = StreamSettings(max_age=7 * 24 * HOUR, max_bytes=256 * MIB, discard="old")

    @field_validator("servers", mode="before")
    @classmethod
    def _are_several(cls, told: object) -> object:
        """One may be told as it is, and several with commas between."""
        return told.replace(",", " ").split() if isinstance(told, str) else told

    @field_validator("servers")
    @classmethod
    def _hold_no_secret(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        if not servers:
            raise ValueError("names no server: nats://host:4222")
        for server in servers:
            parts = urlsplit(server)
            if parts.scheme not in {"nats", "tls"} or not parts.hostname:
                raise ValueError("a server is told as nats://host:port, or tls://host:port")
            _ = parts.port  # says itself what is wrong with one
            if parts.username or parts.password:
                raise ValueError("who one is goes into bus.user and bus.password, or bus.token")
        return servers

    @field_validator("at_risk")
    @classmethod
    def _in_words(cls, said: str | None) -> str | None:
        if said not in (None, AT_RISK):
            raise ValueError(f'is accepted only as the words "{AT_RISK}"')
        return said

    def of(self, stream: Stream) -> StreamSettings:
        """Those of a stream."""
        return {
            Stream.CANDLES: self.candles,
            Stream.METRICS: self.metrics,
            Stream.ALERTS: self.alerts,
            Stream.CONTROL: self.control,
            Stream.DEAD: self.dead,
        }[stream]
