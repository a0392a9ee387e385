"""The channels a user configures, and the requests that tell alerts on them. Pure.

Three kinds: a Discord webhook, a Telegram chat, and any URL that takes JSON. `build` turns alerts
into one request, whose size `capacity` bounds; nothing here opens a connection.

A generic webhook is signed as Stripe and GitHub do. The header is::

    X-Screener-Signature: t=<seconds since the epoch>,v1=<hex>

where `<hex>` is HMAC-SHA256 with the channel's `secret` as key over the bytes of `<t>`, a full stop
and the body as received. A receiver computes the same, compares in constant time, and refuses a `t`
that is more than a few minutes old. `Idempotency-Key` is the alert's id, the id with `:withdrawn`
for the withdrawal that follows it, or the digest's id, which depends on the alerts in it alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    field_validator,
    model_validator,
)

from screenerd.model import Alert
from screenerd.notify import text
from screenerd.notify.guard import Guard, RefusedError
from screenerd.notify.pacing import (
    DISCORD_LIMITS,
    TELEGRAM_CHAT_LIMITS,
    TELEGRAM_GROUP_LIMITS,
    WEBHOOK_LIMITS,
    Capacity,
    Limit,
)

DISCORD_HOSTS = frozenset({"discord.com", "discordapp.com"})
TELEGRAM_HOSTS = frozenset({"api.telegram.org"})

_COLOURS = {"up": 0x2ECC71, "down": 0xE74C3C}
_GREY = 0x95A5A6
_DISCORD_EMBEDS = 10
_SUMMARY_LINES = 25
_WEBHOOK_ALERTS = 100
_DIGESTS = uuid5(NAMESPACE_URL, "screener/digest")

_DISCORD_PATH = re.compile(r"/api(/v[0-9]{1,2})?/webhooks/[0-9]{1,20}/[\w-]{1,200}", re.ASCII)
_DISCORD_QUERY = re.compile(r"(thread_id=[0-9]{1,20})?")
_TELEGRAM_TOKEN = re.compile(r"[0-9]{3,20}:[A-Za-z0-9_-]{20,100}")
_TELEGRAM_NAME = re.compile(r"@[A-Za-z][A-Za-z0-9_]{3,31}")

ChannelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
Names = Annotated[frozenset[str], Field(min_length=1)]


class _Channel(BaseModel):
    """What every channel has.

    Attributes:
        name: what it is called in logs, the outbox and the configuration.
        rules: names of the rules it is told of; all if left out.
        symbols: the symbols it is told of; all if left out.
        provisional: whether it is told of alerts whose minute is still open, and of their
            withdrawal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: ChannelName
    rules: Names | None = None
    symbols: Names | None = None
    provisional: bool = False

    def wants(self, alert: Alert) -> bool:
        """Whether this alert is for the channel."""
        if alert.state != "confirmed" and not self.provisional:
            return False
        if self.rules is not None and alert.rule not in self.rules:
            return False
        return self.symbols is None or alert.symbol in self.symbols


class DiscordChannel(_Channel):
    """A Discord webhook: `url` as Discord shows it under Integrations, Webhooks."""

    kind: Literal["discord"] = "discord"
    url: SecretStr

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        _checked(Guard(hosts=DISCORD_HOSTS), url.get_secret_value())
        parts = urlsplit(url.get_secret_value())
        if not _DISCORD_PATH.fullmatch(parts.path) or not _DISCORD_QUERY.fullmatch(parts.query):
            raise ValueError(
                "not a Discord webhook: copy it from Discord, it reads "
                "https://discord.com/api/webhooks/<number>/<token>"
            )
        return url


class TelegramChannel(_Channel):
    """A Telegram chat: the bot's `token` from BotFather, and a `chat_id` or `@channel`."""

    kind: Literal["telegram"] = "telegram"
    token: SecretStr
    chat_id: int | str

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr) -> SecretStr:
        if not _TELEGRAM_TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("not a bot token: BotFather gives one that reads <number>:<letters>")
        return token

    @field_validator("chat_id")
    @classmethod
    def _check_chat(cls, chat: int | str) -> int | str:
        if isinstance(chat, int):
            return chat
        if re.fullmatch(r"-?[0-9]{1,20}", chat):
            return int(chat)
        if not _TELEGRAM_NAME.fullmatch(chat):
            raise ValueError("neither a chat's number nor a public @name")
        return chat

    @property
    def is_group(self) -> bool:
        """Whether it is a group or a public channel, which Telegram paces more strictly."""
        return isinstance(self.chat_id, str) or self.chat_id < 0


class WebhookChannel(_Channel):
    """Any URL that takes JSON by POST; `secret` signs the requests.

    `allow_private` permits `http`, loopback and private addresses, for a receiver in one's own
    network. It is not meant for URLs that strangers may set.
    """

    kind: Literal["webhook"] = "webhook"
    url: SecretStr
    secret: Annotated[SecretStr, Field(min_length=16)]
    allow_private: bool = False

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        _checked(guard_for(self), self.url.get_secret_value())
        return self


ChannelConfig = Annotated[
    DiscordChannel | TelegramChannel | WebhookChannel, Field(discriminator="kind")
]
"""One channel of the configuration, told apart by `kind`."""

_CHANNELS: TypeAdapter[list[ChannelConfig]] = TypeAdapter(
    list[ChannelConfig], config=ConfigDict(hide_input_in_errors=True)
)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the services are. Only code sets this: tests, and the built-in market's own targets.

    Attributes:
        discord: scheme and host that stand in for the webhook URL's own, if given.
        telegram: scheme and host of the Bot API.
        local: whether they are on this machine or in a private network, over plain http.
    """

    discord: str | None = None
    telegram: str = "https://api.telegram.org"
    local: bool = False


PUBLIC = Endpoints()
"""The services themselves."""


@dataclass(frozen=True, slots=True)
class Request:
    """A POST that is ready to send. Its URL and headers hold secrets, so `repr` leaves them out."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    alerts: int


def parse_channels(raw: object) -> list[ChannelConfig]:
    """The channels of a configuration, checked; the names must differ.

    Raises:
        ValueError: says which channel and key is wrong, without the values, which may be secrets.
    """
    channels = _CHANNELS.validate_python(raw)
    check_names(channels)
    return channels


def check_names(channels: Sequence[ChannelConfig]) -> None:
    """Refuses two channels of one name.

    Raises:
        ValueError: names the channel.
    """
    seen: set[str] = set()
    for channel in channels:
        if channel.name in seen:
            raise ValueError(f"two channels are called {channel.name!r}: rename one of them")
        seen.add(channel.name)


def guard_for(channel: ChannelConfig, endpoints: Endpoints = PUBLIC) -> Guard:
    """What the channel may reach."""
    if isinstance(channel, WebhookChannel):
        return Guard(private=channel.allow_private, plain=channel.allow_private)
    if isinstance(channel, DiscordChannel):
        hosts, base = DISCORD_HOSTS, endpoints.discord
    else:
        hosts, base = TELEGRAM_HOSTS, endpoints.telegram
    if not endpoints.local or base is None:
        return Guard(hosts=hosts)
    return Guard(hosts=frozenset({urlsplit(base).hostname or ""}), private=True, plain=True)


def limits_for(channel: ChannelConfig) -> tuple[Limit, ...]:
    """How fast the channel may be written to."""
    if isinstance(channel, DiscordChannel):
        return DISCORD_LIMITS
    if isinstance(channel, TelegramChannel):
        return TELEGRAM_GROUP_LIMITS if channel.is_group else TELEGRAM_CHAT_LIMITS
    return WEBHOOK_LIMITS


def capacity_for(channel: ChannelConfig) -> Capacity:
    """How many alerts one of the channel's messages takes."""
    if isinstance(channel, DiscordChannel):
        return Capacity(_DISCORD_EMBEDS, _SUMMARY_LINES)
    if isinstance(channel, TelegramChannel):
        return Capacity(_SUMMARY_LINES, _SUMMARY_LINES)
    return Capacity(_WEBHOOK_ALERTS, _WEBHOOK_ALERTS)


def secrets_of(channel: ChannelConfig) -> tuple[str, ...]:
    """What must not appear in an error text, longest first."""
    if isinstance(channel, TelegramChannel):
        token = channel.token.get_secret_value()
        found = [token, token.partition(":")[2]]
    else:
        url = channel.url.get_secret_value()
        parts = urlsplit(url)
        found = [url, parts.path, parts.query, *(p for p in parts.path.split("/") if len(p) > 7)]
    if isinstance(channel, WebhookChannel):
        found.append(channel.secret.get_secret_value())
    return tuple(sorted((secret for secret in found if len(secret) > 3), key=len, reverse=True))


def build(
    channel: ChannelConfig, alerts: Sequence[Alert], now_ms: int, endpoints: Endpoints = PUBLIC
) -> Request:
    """The request that tells these alerts, in this order.

    Args:
        channel: where to.
        alerts: one, or as many as `capacity_for(channel).most`.
        now_ms: when it is sent; the signature holds it.
        endpoints: where the services are.

    Raises:
        ValueError: no alert, or more than a message takes.
    """
    most = capacity_for(channel).most
    if not 0 < len(alerts) <= most:
        raise ValueError(f"{len(alerts)} alerts in one message: 1 to {most} fit")
    if isinstance(channel, DiscordChannel):
        return _discord(channel, alerts, endpoints)
    if isinstance(channel, TelegramChannel):
        return _telegram(channel, alerts, endpoints)
    return _webhook(channel, alerts, now_ms)


# Discord


def discord_message(alerts: Sequence[Alert]) -> dict[str, object]:
    """The body for Discord: up to ten embeds, or a summary of more."""
    message: dict[str, object] = {"allowed_mentions": {"parse": []}}
    if len(alerts) > _DISCORD_EMBEDS:
        return message | {"embeds": [_summary_embed(alerts)]}
    gone = [alert for alert in alerts if alert.state == "withdrawn"]
    live = [alert for alert in alerts if alert.state != "withdrawn"]
    if gone:
        message["content"] = "\n".join(text.withdrawal(a, text.clip_markdown) for a in gone)
    if live:
        message["embeds"] = [_embed(alert) for alert in live]
    return message


def _embed(alert: Alert) -> dict[str, object]:
    # Ten embeds share 6000 characters: what is cut here stays below 500 each.
    symbol = text.clip_markdown(alert.symbol, text.SYMBOL_MOST)
    exchange = text.clip_markdown(alert.exchange, 32)
    fields = (
        ("Price", text.price(alert.price)),
        ("Change", text.change(alert.change)),
        ("Volume", text.volume(alert.quote_volume)),
        ("VCP", text.ratio(alert.vcp)),
        ("Timeframe", text.clip_markdown(alert.timeframe, 16)),
    )
    return {
        "title": text.heading(alert, text.clip_markdown),
        "description": f"**{symbol}** · {exchange}",
        "color": _COLOURS.get(alert.direction, _GREY),
        "fields": [{"name": name, "value": value, "inline": True} for name, value in fields],
        "footer": {"text": text.clip(alert.id, 64)},
        "timestamp": text.iso(alert.triggered_at),
    }


def _summary_embed(alerts: Sequence[Alert]) -> dict[str, object]:
    lines = [text.line(alert, text.clip_markdown, ("**", "**")) for alert in alerts]
    return {
        "title": f"{len(alerts)} signals",
        "description": "\n".join(lines),
        "color": _GREY,
        "timestamp": text.iso(max(alert.triggered_at for alert in alerts)),
    }


def _discord(channel: DiscordChannel, alerts: Sequence[Alert], endpoints: Endpoints) -> Request:
    parts = urlsplit(channel.url.get_secret_value())
    base = endpoints.discord or f"https://{parts.hostname}"
    # Without `wait` Discord answers before it has stored the message.
    query = f"wait=true&{parts.query}" if parts.query else "wait=true"
    return Request(
        url=f"{base}{parts.path}?{query}",
        headers={"Content-Type": "application/json"},
        body=orjson.dumps(discord_message(alerts)),
        alerts=len(alerts),
    )


# Telegram


def telegram_text(alerts: Sequence[Alert]) -> str:
    """The text for Telegram, HTML: one alert in full, or a line each."""
    if len(alerts) > 1:
        lines = [text.line(alert, text.clip_html, ("<b>", "</b>")) for alert in alerts]
        return "\n".join([f"<b>{len(alerts)} signals</b>", *lines])
    (alert,) = alerts
    if alert.state == "withdrawn":
        return text.withdrawal(alert, text.clip_html)
    rows = (
        f"{text.mark(alert)} <b>{text.heading(alert, text.clip_html)}</b>",
        f"<b>{text.clip_html(alert.symbol, text.SYMBOL_MOST)}</b>"
        f" · {text.clip_html(alert.exchange, 32)}",
        f"Price: {text.price(alert.price)}",
        f"Change: {text.change(alert.change)}",
        f"Volume: {text.volume(alert.quote_volume)}",
        f"VCP: {text.ratio(alert.vcp)}",
        f"Timeframe: {text.clip_html(alert.timeframe, 16)}",
        f"{text.moment(alert.triggered_at):%Y-%m-%d %H:%M:%S} UTC",
    )
    return "\n".join(rows)


def _telegram(channel: TelegramChannel, alerts: Sequence[Alert], endpoints: Endpoints) -> Request:
    body = {
        "chat_id": channel.chat_id,
        "text": telegram_text(alerts),
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }
    return Request(
        url=f"{endpoints.telegram}/bot{channel.token.get_secret_value()}/sendMessage",
        headers={"Content-Type": "application/json"},
        body=orjson.dumps(body),
        alerts=len(alerts),
    )


# Generic webhook


def alert_json(alert: Alert) -> dict[str, object]:
    """The alert as REST gives it, with its exchange, title and direction."""
    evidence = {text.well_formed(name): value for name, value in alert.evidence.items()}
    return {
        "id": text.well_formed(alert.id),
        "triggered_at": text.iso(alert.triggered_at),
        "exchange": text.well_formed(alert.exchange),
        "symbol": text.well_formed(alert.symbol),
        "alert_type": text.well_formed(alert.rule),
        "title": text.well_formed(alert.title),
        "direction": text.well_formed(alert.direction),
        "timeframe": text.well_formed(alert.timeframe),
        "price": alert.price,
        "volume": alert.quote_volume,
        "change_pct": alert.change,
        "state": alert.state,
        "rule_version": alert.rule_version,
        "metadata": {**evidence, "vcp": alert.vcp},
    }


def idempotency_key(alerts: Sequence[Alert]) -> str:
    """The same for the same alerts in whatever order they come."""
    keys = sorted(
        f"{text.well_formed(alert.id)}:withdrawn"
        if alert.state == "withdrawn"
        else text.well_formed(alert.id)
        for alert in alerts
    )
    return keys[0] if len(keys) == 1 else str(uuid5(_DIGESTS, "\n".join(keys)))


def signature(secret: str, seconds: int, body: bytes) -> str:
    """The value of `X-Screener-Signature`; the module says how it is made."""
    signed = f"{seconds}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def _webhook(channel: WebhookChannel, alerts: Sequence[Alert], now_ms: int) -> Request:
    key = idempotency_key(alerts)
    body = orjson.dumps(
        {"type": "alerts", "id": key, "alerts": [alert_json(alert) for alert in alerts]}
    )
    # A header is one line of ASCII whatever an id holds; ours are UUIDs and stay as they are.
    header_key = re.sub(r"[^!-~]", "_", key)[:200]
    return Request(
        url=channel.url.get_secret_value(),
        headers={
            "Content-Type": "application/json",
            "Idempotency-Key": header_key,
            "X-Screener-Signature": signature(
                channel.secret.get_secret_value(), now_ms // 1000, body
            ),
        },
        body=body,
        alerts=len(alerts),
    )


def _checked(guard: Guard, url: str) -> None:
    """Turns a refusal into what the configuration understands."""
    try:
        guard.check_url(url)
    except RefusedError as error:
        raise ValueError(error.reason) from None
