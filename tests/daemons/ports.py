"""Ports for servers of the tests that have to know theirs before they listen.

The system gives ports from 32768 on to whoever asks for any, and to connections that go out: a port
that was found free there may be another's a moment later. These are below, a part of them for each
process of a test run.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
from collections.abc import Iterator

FIRST, PARTS, EACH = 12_000, 10, 2_000
"""Up to 32000. With more workers than parts some share one: what is taken is tried first."""


def _part() -> range:
    """The ports of this process."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0) % PARTS
    return range(FIRST + number * EACH, FIRST + (number + 1) * EACH)


def _in_turn() -> Iterator[int]:
    """Each once, from anywhere on: two runs on a machine begin at different ones."""
    part = _part()
    start = secrets.randbelow(EACH)
    return itertools.chain(part[start:], part[:start])


_ports = _in_turn()


def free_port() -> int:
    """A port that nobody uses just now, and that was not given before in this process.

    Raises:
        OSError: all have been given.
    """
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"all of {_part()} have been given")
