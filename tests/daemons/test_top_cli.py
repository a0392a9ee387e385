"""The command itself, in a terminal of 80 by 24 and in none."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from served import serving
from typer.testing import CliRunner

from screenerd.cli import app
from screenerd.serve.settings import JwtConfig

CODE = "from screenerd.cli import main; main()"
COMMAND = [sys.executable, "-c", CODE, "top"]
BROKEN = "from screenerd.top.board import Board; Board.trying = lambda self: 1 / 0; "
SECRET = SecretStr("not that of anybody, and long enough")


@dataclass
class Terminal:
    """A terminal, and the command in it."""

    process: subprocess.Popen[bytes]
    master: int
    heard: bytes = b""

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self.master, keys.encode())

    async def until(self, told: str, seconds: float = 60) -> None:
        """Waits until something was written."""
        async with asyncio.timeout(seconds):
            while told.encode() not in self.heard:
                self._hear()
                await asyncio.sleep(0.02)

    async def ended(self, seconds: float = 30) -> int:
        """Waits for its end; its code."""
        async with asyncio.timeout(seconds):
            while self.process.poll() is None:
                self._hear()
                await asyncio.sleep(0.02)
        self._hear()
        return self.process.returncode

    def _hear(self) -> None:
        # An end of the other side is an error here.
        with contextlib.suppress(OSError):
            while part := os.read(self.master, 65_536):
                self.heard += part


@contextlib.contextmanager
def terminal(*options: str, before: str = "", **more: str) -> Iterator[Terminal]:
    """Runs the command in a terminal of its own."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(master, False)
    env = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **more}
    process = subprocess.Popen(
        [sys.executable, "-c", before + CODE, "top", *options],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=env,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.asyncio
async def test_it_shows_a_service_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    jwt = JwtConfig(secret=SECRET, issuer="https://x.example")
    async with serving(tmp_path / "s.db", jwt=jwt) as served:
        await served.publish_metrics()
        _, secret = served.keys.create("k", frozenset({"read"}), 1_700_000_000_000)
        options = ("--url", served.serve.address, "--symbols", "BTCUSDT,币安人生USDT")
        with terminal(*options, SCREENER_TOKEN=secret) as one:
            await one.until("● live")
            await one.until("BTCUSDT")
            await one.until("币安人生USDT")
            assert b"ETHUSDT" not in one.heard
            await served.publish(symbol="BTCUSDT")
            await one.until("Pioneer Bull")
            one.type("q")
            assert await one.ended() == 0
            assert secret.encode() not in one.heard
            assert b"Traceback" not in one.heard
            assert b"\x1b[?1049h" in one.heard
            assert b"\x1b[?1049l" in one.heard.rpartition(b"\x1b[?1049h")[2]


@pytest.mark.asyncio
async def test_without_a_service_it_can_be_left_as_well() -> None:
    with terminal("--url", "http://127.0.0.1:9") as one:
        await one.until("screenerd up")
        one.type("\x03")
        assert await one.ended() == 0
        assert b"Traceback" not in one.heard


@pytest.mark.asyncio
async def test_a_fault_of_its_own_ends_it_and_is_told() -> None:
    with terminal(before=BROKEN) as one:
        assert await one.ended() == 1
        told = one.heard.rpartition(b"\x1b[?1049l")[2]
        assert b"ZeroDivisionError" in told, "after the terminal is as it was"


def test_without_a_terminal_it_says_so() -> None:
    done = subprocess.run(
        COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "there is no terminal to draw on" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--url", "localhost:8080"], "write http://HOST:PORT"),
        (["--token", "a b"], "copy it again"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["top", *options])
    assert done.exit_code == 2
    assert told in done.output


def test_its_help_names_the_options() -> None:
    done = CliRunner().invoke(app, ["top", "--help"], env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert done.exit_code == 0
    for told in ("--url", "--token", "--symbols", "SCREENER_TOKEN", "http://127.0.0.1:8080"):
        assert told in done.output
