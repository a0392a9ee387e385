"""What is said to the service, and what its refusals mean to whoever looks at the screen. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from screenerd.top.text import clean

MAKE_KEY = "make one with `screenerd keys create NAME --scope read`"
GIVE_KEY = "give it with --token, or as SCREENER_TOKEN"

_NEEDED = frozenset({"no_token"})
_REFUSED = frozenset({"bad_token", "expired_token", "forbidden"})


@dataclass(frozen=True, slots=True)
class Resume:
    """Where the conversation was left: the last alert's offset, and the run it counts in."""

    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Message:
    """What the service says.

    Attributes:
        kind: its type.
        value: all of it.
    """

    kind: str
    value: Mapping[str, Any]

    @property
    def data(self) -> object:
        """What it is about."""
        return self.value.get("data")

    @property
    def resume(self) -> Resume | None:
        """Where the conversation can be taken up after `subscribed`."""
        offset, epoch = self.value.get("offset"), self.value.get("epoch")
        if not isinstance(offset, int) or not isinstance(epoch, str):
            return None
        return Resume(offset, epoch)

    @property
    def recovered(self) -> bool:
        """Whether nothing was missed, as `subscribed` tells."""
        return self.value.get("recovered") is True

    @property
    def refusal(self) -> str:
        """What an `error` means."""
        return refused(str(self.value.get("error", "")), str(self.value.get("message", "")))

    def after(self, resume: Resume | None) -> Resume | None:
        """Where the conversation is once this alert is known."""
        offset = self.value.get("offset")
        if resume is None or not isinstance(offset, int):
            return resume
        return Resume(offset, resume.epoch)


def read(text: str) -> Message | None:
    """A message; `None` if it is nothing of the kind."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return None
    return Message(value["type"], value)


PONG = '{"type":"pong"}'
"""The answer to a ping."""


def authenticate(token: str) -> str:
    """The first message, where there is a token."""
    return orjson.dumps({"type": "auth", "token": token}).decode()


def subscribe(symbols: Collection[str], resume: Resume | None) -> str:
    """Asks for alerts, metrics and prices, of these symbols or of all, from where it was left."""
    said: dict[str, Any] = {"type": "subscribe", "channels": ["alerts", "metrics", "prices"]}
    if symbols:
        said["symbols"] = sorted(symbols)
    if resume is not None:
        said |= {"since": resume.offset, "epoch": resume.epoch}
    return orjson.dumps(said).decode()


def address(url: str) -> str:
    """The service's address, without a slash at its end.

    Raises:
        ValueError: it is none; says how one is written.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"{url!r} is no address of a service: write http://HOST:PORT")
    return url.rstrip("/")


def checked_token(token: str) -> str:
    """A token that can be sent.

    Raises:
        ValueError: it holds what no token has; says what to do, not what it is.
    """
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("the token holds a space, a line break or the like: copy it again")
    return token


def unreachable(url: str) -> str:
    """Nothing is there."""
    return f"nothing answers at {url}: start it with `screenerd up`, or name another by --url"


def not_the_service(url: str) -> str:
    """Something else is there."""
    return f"what answers at {url} is not the screener's service: name another by --url"


def refused(code: str, message: str) -> str:
    """An error of the service, and what to do about it."""
    if code in _NEEDED:
        return f"the service asks for a token: {MAKE_KEY} and {GIVE_KEY}"
    if code in _REFUSED:
        return f"the service refuses the token ({clean(message)}): {MAKE_KEY} and {GIVE_KEY}"
    return f"the service refuses: {clean(message) or clean(code)}"


def refused_status(status: int, value: object) -> str:
    """An answer that is an error."""
    if isinstance(value, Mapping) and isinstance(value.get("error"), str):
        return refused(value["error"], str(value.get("message", "")))
    if status == 401:
        return refused("no_token", "")
    return f"the service answers with status {status}"
