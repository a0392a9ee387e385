"""Logs: one event is one line, whatever is in it."""

from __future__ import annotations

import subprocess
import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.logs import LONGEST_TEXT, one_line

HOSTILE = "A\r\n2026-01-01 [info] forged\x1b[31m\u2028\x00\u202e" + "x" * 1_000_000


@given(st.text())
def test_no_text_begins_a_line_or_paints(text: str) -> None:
    told = one_line(None, "info", {"event": "e", "symbol": text, "n": 1})
    assert told["symbol"].isprintable()
    assert len(told["symbol"].splitlines()) <= 1
    assert told["n"] == 1
    if text.isprintable():
        assert told["symbol"] == text


@pytest.mark.parametrize("kind", ["console", "json"])
def test_a_hostile_text_stays_in_its_line(kind: str) -> None:
    program = (
        "import sys, structlog; from screenerd import logs; from screenerd.config import LogConfig;"
        f"logs.set_up(LogConfig(format={kind!r}));"
        "structlog.get_logger('t').info('seen', symbol=sys.stdin.read())"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        input=HOSTILE.replace("\x00", "\\0"),
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert told.count("\n") == 1
    assert "\x1b[31m" not in told
    assert "forged" in told
    assert len(told) < LONGEST_TEXT + 500
    if kind == "json":
        assert orjson.loads(told)["event"] == "seen"
