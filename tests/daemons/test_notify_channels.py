"""What users configure, what is sent to targets, and what their answers mean. No socket."""

from __future__ import annotations

import hashlib
import hmac
import html
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from screenerd.model import Alert, Stamps
from screenerd.notify import text
from screenerd.notify.answers import Accepted, Answer, Closed, Failed, Limited, Unfit, judge
from screenerd.notify.channels import (
    ChannelConfig,
    DiscordChannel,
    Endpoints,
    TelegramChannel,
    WebhookChannel,
    build,
    capacity_for,
    discord_message,
    idempotency_key,
    parse_channels,
    telegram_text,
)

AT = 1_767_225_660_000
HOOK_TOKEN = "s3cr3t-canary-AAAA_bbbb"  # noqa: S105
BOT_TOKEN = "123456789:canaryCANARYcanary_CANARY-12345678"  # noqa: S105
SIGNING = "canary-signing-key-0123456789"

ALERT = Alert(
    id="6a5b1f2e-3f5c-5b1e-9d3e-0123456789ab",
    triggered_at=AT,
    exchange="binance",
    symbol="BTCUSDT",
    rule="big_bull_60m",
    title="Big Bull 60m",
    direction="up",
    timeframe="1h",
    price=67_123.45,
    quote_volume=12_345_678.0,
    change=1.864,
    vcp=0.1234,
    state="confirmed",
    rule_version="0011223344556677",
    evidence={"change_1h": 1.864, "rsi_1h": None},
    stamps=Stamps(exchange_close=AT, exchange_event=None, received=AT, decided=AT),
)


def discord(**more: Any) -> DiscordChannel:
    url = SecretStr(f"https://discord.com/api/webhooks/123/{HOOK_TOKEN}")
    return DiscordChannel(name="disc", url=url, **more)


def telegram(**more: Any) -> TelegramChannel:
    return TelegramChannel(name="tele", token=SecretStr(BOT_TOKEN), **({"chat_id": 42} | more))


def webhook(**more: Any) -> WebhookChannel:
    url = SecretStr("https://hooks.example.com/canary-path?key=canary-key")
    return WebhookChannel(name="hook", secret=SecretStr(SIGNING), **({"url": url} | more))


CHANNELS: tuple[ChannelConfig, ...] = (discord(), telegram(), webhook())


# Configuration


def test_channels_are_told_apart_by_kind() -> None:
    read = parse_channels(
        [
            {"name": "a", "kind": "discord", "url": "https://discordapp.com/api/v10/webhooks/1/t"},
            {"name": "b", "kind": "telegram", "token": BOT_TOKEN, "chat_id": "-100123"},
            {"name": "c", "kind": "webhook", "url": "https://e.com/x", "secret": "x" * 16},
        ]
    )
    assert [type(channel).__name__ for channel in read] == [
        "DiscordChannel",
        "TelegramChannel",
        "WebhookChannel",
    ]
    assert isinstance(read[1], TelegramChannel)
    assert read[1].chat_id == -100123


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"kind": "discord", "url": "https://discord.com/api/webhooks/1"}, "url"),
        ({"kind": "discord", "url": "https://discord.com/api/webhooks/1/t/../../x"}, "url"),
        ({"kind": "discord", "url": "https://discord.com/api/webhooks/1/t?wait=false"}, "url"),
        ({"kind": "discord", "url": "https://evil.example/api/webhooks/1/canary"}, "host"),
        ({"kind": "discord", "url": "http://discord.com/api/webhooks/1/canary"}, "https"),
        ({"kind": "discord", "url": "https://discord.com:444/api/webhooks/1/canary"}, "port"),
        ({"kind": "telegram", "token": "canary/../x", "chat_id": 1}, "token"),
        ({"kind": "telegram", "token": BOT_TOKEN, "chat_id": "canary chat"}, "chat_id"),
        ({"kind": "webhook", "url": "http://e.com/canary", "secret": "x" * 16}, "https"),
        ({"kind": "webhook", "url": "https://127.0.0.1/canary", "secret": "x" * 16}, "loopback"),
        ({"kind": "webhook", "url": "https://e.com/canary", "secret": "canary"}, "secret"),
        ({"kind": "webhook", "url": "https://e.com/x", "secret": "x" * 16, "ulr": "canary"}, "ulr"),
        ({"kind": "webhook", "url": "https://e.com/x", "secret": "x" * 16, "rules": []}, "rules"),
        ({"kind": "pager", "url": "canary"}, "kind"),
    ],
)
def test_a_wrong_channel_is_an_error_without_its_values(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse_channels([{"name": "x"} | wrong])
    assert word in str(caught.value)
    assert "canary" not in str(caught.value)


def test_two_channels_of_one_name_are_an_error() -> None:
    one = {"name": "a", "kind": "webhook", "url": "https://e.com/x", "secret": "x" * 16}
    with pytest.raises(ValueError, match="two channels are called 'a'"):
        parse_channels([one, one])


def test_a_name_cannot_be_taken_for_a_row_of_the_outbox() -> None:
    with pytest.raises(ValueError, match="name"):
        parse_channels([{"name": "a#withdrawn", "kind": "telegram", "token": BOT_TOKEN}])


def test_plain_http_inside_is_allowed_by_configuration_alone() -> None:
    webhook(url=SecretStr("http://192.168.1.5:8080/x"), allow_private=True)
    with pytest.raises(ValueError, match="link-local"):
        webhook(url=SecretStr("http://169.254.169.254/x"), allow_private=True)


def test_filters_choose_alerts() -> None:
    assert discord().wants(ALERT)
    assert discord(rules=frozenset({"big_bull_60m"})).wants(ALERT)
    assert not discord(rules=frozenset({"top_hunter"})).wants(ALERT)
    assert not discord(symbols=frozenset({"ETHUSDT"})).wants(ALERT)
    for state in ("provisional", "withdrawn"):
        assert not discord().wants(replace(ALERT, state=state))
        assert discord(provisional=True).wants(replace(ALERT, state=state))


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.kind)
def test_nothing_printed_shows_a_secret(channel: ChannelConfig) -> None:
    request = build(channel, [ALERT], AT)
    for shown in (
        repr(channel),
        str(channel),
        repr(request),
        str(request),
        channel.model_dump_json(),
    ):
        assert "canary" not in shown.lower()


# Discord


def test_the_discord_embed() -> None:
    assert discord_message([ALERT]) == {
        "allowed_mentions": {"parse": []},
        "embeds": [
            {
                "title": "Big Bull 60m Signal",
                "description": "**BTCUSDT** · binance",
                "color": 0x2ECC71,
                "fields": [
                    {"name": "Price", "value": "67,123.45", "inline": True},
                    {"name": "Change", "value": "+1.86%", "inline": True},
                    {"name": "Volume", "value": "12.35M", "inline": True},
                    {"name": "VCP", "value": "0.1234", "inline": True},
                    {"name": "Timeframe", "value": "1h", "inline": True},
                ],
                "footer": {"text": ALERT.id},
                "timestamp": "2026-01-01T00:01:00.000Z",
            }
        ],
    }


def test_the_discord_request() -> None:
    channel = discord()
    assert build(channel, [ALERT], AT).url == (
        f"https://discord.com/api/webhooks/123/{HOOK_TOKEN}?wait=true"
    )
    thread = DiscordChannel(
        name="t", url=SecretStr("https://discord.com/api/webhooks/1/t?thread_id=7")
    )
    assert build(thread, [ALERT], AT).url.endswith("/1/t?wait=true&thread_id=7")
    local = Endpoints(discord="http://127.0.0.1:1", local=True)
    assert build(channel, [ALERT], AT, local).url.startswith("http://127.0.0.1:1/api/webhooks/123/")


def test_colours_and_states() -> None:
    (down,) = _embeds([replace(ALERT, direction="down")])
    assert down["color"] == 0xE74C3C
    (early,) = _embeds([replace(ALERT, state="provisional")])
    assert early["title"] == "Big Bull 60m Signal (provisional)"
    gone = discord_message([replace(ALERT, state="withdrawn")])
    assert "embeds" not in gone
    assert str(gone["content"]).startswith("Withdrawn: Big Bull 60m Signal on BTCUSDT of 00:01 UTC")


def test_unknown_values_are_said_to_be_unknown() -> None:
    bare = replace(ALERT, quote_volume=None, change=None, vcp=None, price=float("nan"))
    (embed,) = _embeds([bare])
    assert {field["value"] for field in embed["fields"][:4]} == {"n/a"}
    assert "Change: n/a" in telegram_text([bare])


def test_what_a_name_holds_is_shown_and_not_obeyed() -> None:
    evil = replace(ALERT, symbol="@everyone **x** <@1> 币安\u202e\n\x1b[31m")
    message = discord_message([evil])
    assert message["allowed_mentions"] == {"parse": []}
    (embed,) = _embeds([evil])
    assert embed["description"] == (r"**\@everyone \*\*x\*\* \<\@1\> 币安 \[31m** · binance")
    page = telegram_text([replace(ALERT, symbol="<b>A&B</b>币", title='<a href="x">')])
    assert "<b>&lt;b&gt;A&amp;B&lt;/b&gt;币</b>" in page
    assert "<a" not in page


def _embeds(alerts: list[Alert]) -> list[dict[str, Any]]:
    embeds = discord_message(alerts)["embeds"]
    assert isinstance(embeds, list)
    return embeds


_texts = st.text(max_size=400) | st.sampled_from(["&" * 400, "*" * 400, "🟢" * 400, "\ud800", ""])
_numbers = st.floats() | st.sampled_from([1e300, -1e300, 5e-324, 999_999_999_999.99])
_alerts = st.builds(
    Alert,
    id=_texts,
    triggered_at=st.integers(0, 4_102_444_800_000),
    exchange=_texts,
    symbol=_texts,
    rule=_texts,
    title=_texts,
    direction=st.sampled_from(["up", "down", "?"]),
    timeframe=_texts,
    price=_numbers,
    quote_volume=st.none() | _numbers,
    change=st.none() | _numbers,
    vcp=st.none() | _numbers,
    state=st.sampled_from(["confirmed", "provisional", "withdrawn"]),
    rule_version=st.just("0"),
    evidence=st.dictionaries(_texts, st.none() | _numbers, max_size=2),
    stamps=st.just(ALERT.stamps),
)
_LONGEST = replace(
    ALERT,
    symbol="🟢" * 99,
    title="*" * 99,
    exchange="&" * 99,
    timeframe="<" * 99,
    state="provisional",
    price=999_999_999_999.99,
    change=-999_999.99,
    vcp=-1.234e-300,
    id="x" * 99,
)


@given(st.lists(_alerts, min_size=1, max_size=25))
def test_every_message_keeps_to_the_services_limits(alerts: list[Alert]) -> None:
    _within_limits(alerts)


@pytest.mark.parametrize("count", [1, 2, 10, 11, 25])
@pytest.mark.parametrize("state", ["provisional", "withdrawn"])
def test_the_longest_messages_keep_to_them(count: int, state: str) -> None:
    _within_limits([replace(_LONGEST, state=state)] * count)
    _within_limits([replace(_LONGEST, state=state, title="&" * 99, symbol="<" * 99)] * count)


def _within_limits(alerts: list[Alert]) -> None:
    message = orjson.loads(build(discord(), alerts, AT).body)
    embeds = message.get("embeds", [])
    assert text.units(message.get("content", "")) <= 2000
    assert embeds or message["content"]
    assert len(embeds) <= 10
    total = 0
    for embed in embeds:
        parts = [embed["title"], embed["description"], embed.get("footer", {}).get("text", "")]
        assert text.units(parts[0]) <= 256
        assert text.units(parts[1]) <= 4096
        assert text.units(parts[2]) <= 2048
        for shown in embed.get("fields", []):
            assert 0 < text.units(shown["name"]) <= 256
            assert text.units(shown["value"]) <= 1024
            parts += [shown["name"], shown["value"]]
        total += sum(map(text.units, parts))
    assert total <= 6000
    page = orjson.loads(build(telegram(), alerts, AT).body)["text"]
    assert 0 < text.units(page) <= 4096
    # Only our own tags are left, and every entity is whole.
    rest = re.sub(r"</?b>", "", page)
    assert "<" not in rest
    assert html.escape(html.unescape(rest)) == rest
    body = orjson.loads(build(webhook(), alerts, AT).body)
    assert len(body["alerts"]) == len(alerts)


def test_an_empty_value_never_makes_an_empty_field() -> None:
    (embed,) = _embeds([replace(ALERT, timeframe="\x00")])
    assert all(field["value"] for field in embed["fields"])


def test_ten_alerts_are_embeds_and_more_are_a_summary() -> None:
    alerts = [replace(ALERT, id=f"id{n}", symbol=f"S{n}X") for n in range(25)]
    assert len(_embeds(alerts[:10])) == 10
    (summary,) = _embeds(alerts)
    assert summary["title"] == "25 signals"
    for alert in alerts:
        assert summary["description"].count(f"**{alert.symbol}**") == 1


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.kind)
def test_no_message_is_made_of_none_or_too_many(channel: ChannelConfig) -> None:
    for count in (0, capacity_for(channel).most + 1):
        with pytest.raises(ValueError, match="alerts in one message"):
            build(channel, [ALERT] * count, AT)


# Telegram


def test_the_telegram_message() -> None:
    request = build(telegram(), [ALERT], AT)
    assert request.url == f"https://api.telegram.org/bot{BOT_TOKEN}/sendMessage"
    assert orjson.loads(request.body) == {
        "chat_id": 42,
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
        "text": (
            "🟢 <b>Big Bull 60m Signal</b>\n<b>BTCUSDT</b> · binance\nPrice: 67,123.45\n"
            "Change: +1.86%\nVolume: 12.35M\nVCP: 0.1234\nTimeframe: 1h\n2026-01-01 00:01:00 UTC"
        ),
    }
    assert telegram_text([ALERT, replace(ALERT, symbol="ETHUSDT", state="withdrawn")]) == (
        "<b>2 signals</b>\n🟢 <b>BTCUSDT</b> Big Bull 60m +1.86% @ 67,123.45 · 00:01\n"
        "⚪ <b>ETHUSDT</b> Big Bull 60m withdrawn · 00:01"
    )


# Webhook


def test_the_webhook_is_signed_over_time_and_body() -> None:
    request = build(webhook(), [ALERT], AT)
    stamp, _, sign = request.headers["X-Screener-Signature"].partition(",")
    seconds = stamp.removeprefix("t=")
    assert seconds == "1767225660"
    # RFC 2104 written out, not the code's own way to it.
    key = SIGNING.encode().ljust(64, b"\0")
    inner = hashlib.sha256(
        bytes(b ^ 0x36 for b in key) + seconds.encode() + b"." + request.body
    ).digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in key) + inner).hexdigest()
    assert sign == f"v1={outer}"
    forged = request.body.replace(b"67123.45", b"67123.46")
    again = hmac.new(SIGNING.encode(), seconds.encode() + b"." + forged, "sha256").hexdigest()
    assert again != outer


def test_the_webhook_body() -> None:
    assert orjson.loads(build(webhook(), [ALERT], AT).body) == {
        "type": "alerts",
        "id": ALERT.id,
        "alerts": [
            {
                "id": ALERT.id,
                "triggered_at": "2026-01-01T00:01:00.000Z",
                "exchange": "binance",
                "symbol": "BTCUSDT",
                "alert_type": "big_bull_60m",
                "title": "Big Bull 60m",
                "direction": "up",
                "timeframe": "1h",
                "price": 67123.45,
                "volume": 12345678.0,
                "change_pct": 1.864,
                "state": "confirmed",
                "rule_version": "0011223344556677",
                "metadata": {"change_1h": 1.864, "rsi_1h": None, "vcp": 0.1234},
            }
        ],
    }


def test_the_idempotency_key_is_of_the_alerts_alone() -> None:
    other = replace(ALERT, id="other")
    assert build(webhook(), [ALERT], AT).headers["Idempotency-Key"] == ALERT.id
    assert idempotency_key([replace(ALERT, state="withdrawn")]) == f"{ALERT.id}:withdrawn"
    assert idempotency_key([ALERT, other]) == idempotency_key([other, ALERT])
    assert idempotency_key([ALERT, other]) not in {ALERT.id, "other"}
    assert idempotency_key([ALERT, other]) != idempotency_key([ALERT, replace(ALERT, id="third")])


# Answers


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, {}, 7.0),
        ({"retry-after": "1"}, {"retry_after": 1.75, "global": False}, 1.75),
        ({}, {"ok": False, "parameters": {"retry_after": 33}}, 33.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:01:20 GMT"}, {}, 20.0),
        ({}, {}, 5.0),
        ({"retry-after": "soon"}, {"retry_after": "x"}, 5.0),
        ({"retry-after": "-1"}, {"retry_after": True}, 5.0),
        ({"retry-after": "inf"}, [], 5.0),
        ({"retry-after": "99999999"}, {}, 3600.0),
        ({"retry-after": "0"}, {}, 0.1),
    ],
)
@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.kind)
def test_a_429_says_how_long_to_wait(
    channel: ChannelConfig, headers: Mapping[str, str], body: object, seconds: float
) -> None:
    outcome = judge(channel, Answer(429, headers, orjson.dumps(body)), AT)
    assert isinstance(outcome, Limited)
    assert outcome.seconds == pytest.approx(seconds)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.kind)
@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_some_answers_close_a_channel(channel: ChannelConfig, status: int) -> None:
    outcome = judge(channel, Answer(status), AT)
    assert isinstance(outcome, Closed)
    assert len(outcome.reason) > 20


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.kind)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, Accepted), (204, Accepted), (301, Failed), (308, Failed), (400, Unfit), (500, Failed)],
)
def test_the_other_answers(channel: ChannelConfig, status: int, kind: type) -> None:
    assert isinstance(judge(channel, Answer(status, {}, b"not json"), AT), kind)


def test_telegram_says_with_a_400_that_a_chat_is_gone() -> None:
    gone = {"ok": False, "description": "Bad Request: chat not found"}
    assert isinstance(judge(telegram(), Answer(400, {}, orjson.dumps(gone)), AT), Closed)
    moved = {"ok": False, "parameters": {"migrate_to_chat_id": -100777}}
    outcome = judge(telegram(), Answer(400, {}, orjson.dumps(moved)), AT)
    assert outcome == Closed("the group became a supergroup: set chat_id to -100777")


def test_a_targets_own_words_are_told_without_secrets_and_on_one_line() -> None:
    said = {"message": f"Unknown\r\nWebhook \x1b[0m/{HOOK_TOKEN} " + "x" * 999}
    outcome = judge(discord(), Answer(500, {}, orjson.dumps(said)), AT)
    assert isinstance(outcome, Failed)
    assert "canary" not in outcome.reason
    assert outcome.reason.startswith("the target answered 500: Unknown  Webhook [0m/***")
    assert len(outcome.reason) < 300
    echo = Answer(500, {}, orjson.dumps({"message": "canary", "description": "canary"}))
    assert judge(webhook(), echo, AT) == Failed("the target answered 500")


def test_discord_says_when_its_bucket_is_empty() -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "1.5"}
    assert judge(discord(), Answer(200, headers), AT) == Accepted(1.5)
    assert judge(discord(), Answer(200, headers | {"x-ratelimit-remaining": "3"}), AT) == Accepted()
