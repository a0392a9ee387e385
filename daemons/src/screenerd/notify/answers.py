"""What a target's answer means for the alerts that were sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from math import isfinite

import orjson

from screenerd.notify.channels import (
    ChannelConfig,
    DiscordChannel,
    TelegramChannel,
    secrets_of,
)
from screenerd.notify.pacing import hold_seconds
from screenerd.notify.text import mask


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `headers` in lower case, `body` cut at the sender's bound."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The target has them; `pause` seconds until it takes more, if it says so."""

    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Limited:
    """Too fast: wait; does not count as an attempt."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Try again later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unfit:
    """The target refuses this message, not the channel: one of its alerts may be at fault."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The channel is gone or forbidden: no further try will change that."""

    reason: str


Outcome = Accepted | Limited | Failed | Unfit | Closed

_CLOSED: dict[str, dict[int, str]] = {
    "discord": {
        401: "Discord does not accept the webhook's token: create a new webhook",
        403: "Discord forbids this webhook: check the channel's permissions",
        404: "the Discord webhook does not exist any more: create a new one",
        410: "the Discord webhook does not exist any more: create a new one",
    },
    "telegram": {
        401: "Telegram does not accept the bot's token: ask BotFather for the current one",
        403: "the bot may not write to this chat: unblock it or add it to the group",
        404: "Telegram knows no bot with this token: ask BotFather for the current one",
        410: "Telegram says that the chat is gone",
    },
    "webhook": {
        401: "the webhook refuses us (401): check its credentials",
        403: "the webhook refuses us (403): check its permissions and the signing secret",
        404: "there is nothing at the webhook's URL (404): check the URL",
        410: "the webhook has been removed (410): remove the channel or change its URL",
    },
}
_UNFIT = frozenset({400, 413, 422})


def judge(channel: ChannelConfig, answer: Answer, now_ms: int) -> Outcome:
    """What the answer means."""
    status = answer.status
    if 200 <= status < 300:
        return Accepted(_pause(answer.headers) if isinstance(channel, DiscordChannel) else 0.0)
    if status == 429:
        return Limited(hold_seconds(_asked_to_wait(answer, now_ms)))
    if 300 <= status < 400:
        return Failed(
            f"the target redirects ({status}), which is not followed: configure the final URL"
        )
    words = _words(channel, answer)
    if status in _CLOSED[channel.kind]:
        return Closed(_CLOSED[channel.kind][status] + words)
    if status in _UNFIT:
        return _unfit(channel, answer, words)
    return Failed(f"the target answered {status}{words}")


def _unfit(channel: ChannelConfig, answer: Answer, words: str) -> Outcome:
    """Telegram says with a 400 that a chat is gone; otherwise the message is at fault."""
    reply = _json(answer.body)
    if isinstance(channel, TelegramChannel):
        moved = _mapping(reply.get("parameters")).get("migrate_to_chat_id")
        if isinstance(moved, int):
            return Closed(f"the group became a supergroup: set chat_id to {moved}")
        if "chat not found" in str(reply.get("description", "")).lower():
            return Closed("Telegram knows no such chat: check chat_id, and write to the bot once")
    return Unfit(f"the target refuses the message ({answer.status}){words}")


def _words(channel: ChannelConfig, answer: Answer) -> str:
    """The service's own explanation. A generic target's is left out: it may echo anything."""
    key = {"discord": "message", "telegram": "description"}.get(channel.kind)
    said = _json(answer.body).get(key) if key else None
    return f": {mask(said, secrets_of(channel))}" if isinstance(said, str) and said else ""


def _asked_to_wait(answer: Answer, now_ms: int) -> float | None:
    """Seconds to wait: the longest of what the body and the header say."""
    reply = _json(answer.body)
    said = (
        _number(reply.get("retry_after")),
        _number(_mapping(reply.get("parameters")).get("retry_after")),
        _retry_after(answer.headers.get("retry-after"), now_ms),
    )
    known = [seconds for seconds in said if seconds is not None]
    return max(known) if known else None


def _retry_after(value: str | None, now_ms: int) -> float | None:
    """The header, in seconds or as a date."""
    if value is None:
        return None
    try:
        return _number(float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_ms / 1000)
    except (ValueError, OverflowError):
        return None


def _pause(headers: Mapping[str, str]) -> float:
    """Seconds until Discord's bucket is full again, if this message emptied it."""
    if headers.get("x-ratelimit-remaining") != "0":
        return 0.0
    seconds = _retry_after(headers.get("x-ratelimit-reset-after"), 0)
    return 0.0 if seconds is None else hold_seconds(seconds)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    seconds = float(value)
    return seconds if isfinite(seconds) and seconds >= 0 else None


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _json(body: bytes) -> dict[str, object]:
    """The body if it is a JSON object, else nothing."""
    try:
        return _mapping(orjson.loads(body))
    except orjson.JSONDecodeError:
        return {}
