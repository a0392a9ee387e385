"""What a websocket client may say, in which order and how often. No socket here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from screenerd.serve.hub import Wish

LARGEST_MESSAGE = 64 * 1024
"""Bytes of the largest message a client may send."""

AUTH_SECONDS = 10.0
"""So long a client may take to say who it is."""

MOST_SYMBOLS = 2_000
MESSAGES_AT_ONCE = 40
MESSAGES_A_SECOND = 10.0

POLICY = 1008
UNAUTHENTICATED = 4401

_Name = Annotated[str, Field(min_length=1, max_length=64)]

Channel = Literal["alerts", "metrics", "prices", "rules"]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class Auth(_Message):
    """Who the client is; the first message where tokens are required."""

    type: Literal["auth"]
    token: Annotated[str, Field(max_length=8192)]


class Subscribe(_Message):
    """What the client wants to hear of, and where it left off."""

    type: Literal["subscribe"]
    channels: Annotated[list[Channel], Field(max_length=4)] = ["alerts"]
    symbols: Annotated[list[_Name], Field(max_length=MOST_SYMBOLS)] | None = None
    types: Annotated[list[_Name], Field(max_length=200)] | None = None
    shadow: bool = False
    since: Annotated[int, Field(ge=0)] | None = None
    epoch: Annotated[str, Field(max_length=64)] | None = None

    @property
    def wish(self) -> Wish:
        """The same as the hub takes it."""
        return Wish(
            alerts="alerts" in self.channels,
            metrics="metrics" in self.channels,
            prices="prices" in self.channels,
            changes="rules" in self.channels,
            shadow=self.shadow,
            symbols=None if self.symbols is None else frozenset(self.symbols),
            rules=None if self.types is None else frozenset(self.types),
        )


class Pong(_Message):
    """The answer to a ping."""

    type: Literal["pong"]


_MESSAGES: TypeAdapter[Auth | Subscribe | Pong] = TypeAdapter(
    Annotated[Auth | Subscribe | Pong, Field(discriminator="type")]
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that is not obeyed; with a close code, nothing more is heard."""

    error: str
    message: str
    close: int | None = None
    field: str | None = None

    @property
    def value(self) -> dict[str, str]:
        """As the client is told."""
        told = {"type": "error", "error": self.error, "message": self.message}
        return told if self.field is None else told | {"field": self.field}


@dataclass(slots=True)
class Session:
    """One client's side of the conversation.

    Attributes:
        token_needed: whether it has to say who it is first.
        began: when it connected, in seconds of any monotonic clock.
    """

    token_needed: bool
    began: float
    authenticated: bool = False
    _allowance: float = float(MESSAGES_AT_ONCE)
    _heard_at: float = field(default=float("-inf"))

    def receive(self, text: str | bytes | None, now: float) -> Auth | Subscribe | Pong | Refusal:
        """A message as a value, or why it is none."""
        if not self._may_speak(now):
            return Refusal("too_many", "too many messages at once", POLICY)
        if not isinstance(text, str):
            return Refusal("invalid", "messages are JSON in text frames", POLICY)
        try:
            message = _MESSAGES.validate_json(text)
        except ValidationError as error:
            return _refusal(error)
        return self._in_order(message)

    def patience(self, now: float) -> float | None:
        """Seconds it still has to say who it is; `None` if it need not."""
        if self.authenticated or not self.token_needed:
            return None
        return max(0.0, self.began + AUTH_SECONDS - now)

    def _in_order(self, message: Auth | Subscribe | Pong) -> Auth | Subscribe | Pong | Refusal:
        if self.token_needed and not self.authenticated and not isinstance(message, Auth):
            return Refusal("no_token", 'the first message is {"type": "auth", "token": …}', 4401)
        return message

    def _may_speak(self, now: float) -> bool:
        since = max(0.0, now - max(self._heard_at, self.began))
        self._allowance = min(MESSAGES_AT_ONCE, self._allowance + since * MESSAGES_A_SECOND)
        self._heard_at = now
        self._allowance -= 1
        return self._allowance >= 0


def _refusal(error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_input=False)[0]
    place = [str(part) for part in first["loc"] if part not in {"auth", "subscribe", "pong"}]
    told = first["msg"]
    if first["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        place, told = ["type"], "one of auth, subscribe, pong"
    return Refusal("invalid", told, field=".".join(place) or None)
