"""Where each kind of message goes: its stream and its subject. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import quote, unquote

from screenerd.bus.port import Message
from screenerd.model import (
    Alert,
    Bars,
    CandleBatch,
    DeadLetter,
    FeedLost,
    Followed,
    Metrics,
    Prices,
    Reconnected,
    Report,
    RulesChanged,
    RuleSwitch,
    SettingsChanged,
    Unfollowed,
)


class Stream(StrEnum):
    """The streams, by their names in JetStream."""

    CANDLES = "CANDLES"
    METRICS = "METRICS"
    ALERTS = "ALERTS"
    CONTROL = "CONTROL"
    DEAD = "DEAD"


STREAM_SUBJECTS: dict[Stream, tuple[str, ...]] = {
    Stream.CANDLES: ("candles.1m.batch.>", "candles.bars.>", "candles.listing.>"),
    Stream.METRICS: ("metrics.batch.>",),
    Stream.ALERTS: ("alerts.triggered",),
    Stream.CONTROL: ("control.>",),
    Stream.DEAD: ("dead.>",),
}
"""What each stream keeps. What changes what is followed stands among the candles, in order."""

KEPT: dict[type[Message], tuple[Stream, str]] = {
    CandleBatch: (Stream.CANDLES, "candles.1m.batch.*.{shard}"),
    Bars: (Stream.CANDLES, "candles.bars.*.{shard}"),
    Followed: (Stream.CANDLES, "candles.listing.followed.*"),
    Unfollowed: (Stream.CANDLES, "candles.listing.unfollowed.*"),
    FeedLost: (Stream.CANDLES, "candles.listing.lost.*"),
    Reconnected: (Stream.CANDLES, "candles.listing.reconnected.*"),
    Metrics: (Stream.METRICS, "metrics.batch.*.*"),
    Alert: (Stream.ALERTS, "alerts.triggered"),
    RuleSwitch: (Stream.CONTROL, "control.rule"),
    SettingsChanged: (Stream.CONTROL, "control.settings"),
    DeadLetter: (Stream.DEAD, "dead.frames.*"),
}
"""Stream and filter of what is kept."""

PASSING: dict[type[Message], str] = {Prices: "prices.*", Report: "reports.*.*"}
"""Filters of what is not kept: who is not there does not hear it."""

LOCAL: tuple[type[Message], ...] = (RulesChanged,)
"""What stays in the process."""


def token(name: str) -> str:
    """A name as one token of a subject: what is not plain ASCII is percent-encoded."""
    return quote(name, safe="").replace(".", "%2E")


def name_of(token: str) -> str:
    """The name that a token stands for."""
    return unquote(token)


def filters(kinds: Iterable[type[Message]], shard: int | None = None) -> dict[Stream, list[str]]:
    """The filters of the kept ones of these kinds, by stream."""
    found: dict[Stream, list[str]] = {}
    for kind in kinds:
        if kind in KEPT:
            stream, subject = KEPT[kind]
            part = "*" if shard is None else str(shard)
            found.setdefault(stream, []).append(subject.format(shard=part))
    return found


def dead_subject(stream: str, name: str) -> str:
    """Where a message goes that a subscriber of a stream could not deal with."""
    return f"dead.messages.{stream}.{token(name)}"
