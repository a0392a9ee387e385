"""Messages as websocket frames, made once for all clients. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from screenerd.outside import iso


def text_frame(payload: bytes) -> bytes:
    """A whole unmasked text frame, as a server sends it (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


def json_bytes(value: dict[str, Any]) -> bytes:
    """A value as JSON."""
    return orjson.dumps(value)


def message(value: dict[str, Any]) -> bytes:
    """A message as a frame."""
    return text_frame(json_bytes(value))


def alert(offset: int, data: bytes) -> bytes:
    """An alert, encoded already, with its offset."""
    return text_frame(b'{"type":"alert","offset":%d,"data":%b}' % (offset, data))


def metrics(data: bytes) -> bytes:
    """The metrics of a symbol, encoded already."""
    return text_frame(b'{"type":"metrics","data":%b}' % data)


def prices(at: int, told: Mapping[str, float]) -> bytes:
    """Prices of running minutes, by symbol, as they were at a time in ms."""
    return message({"type": "prices", "timestamp": iso(at), "data": told})


RULES = message({"type": "rules"})
"""The rules are others now, or what has become of their files is."""

PING = message({"type": "ping"})
"""Asks a client whether it is still there."""
