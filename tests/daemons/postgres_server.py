"""A PostgreSQL server of a test's own: on a free port, in a folder that goes with it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from ports import free_port

USER = "postgres"
SECONDS = 30.0


def binaries() -> Path:
    """Where the newest installed server is; skips where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("no PostgreSQL server is installed")
    return found[-1].parent


def as_user(*command: str) -> list[str]:
    """A command as the user that may run a server: root may not."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", *command]


@dataclass
class Postgres:
    """The server; it may be killed and started again."""

    folder: Path
    port: int
    options: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How a client reaches it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Runs it, and waits until it answers."""
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "64MB",
        } | self.options
        given = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        command = as_user(str(binaries() / "postgres"), "-D", str(self.folder / "data"), *given)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        self.wait()

    def wait(self) -> None:
        """Until it takes connections."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                with psycopg.connect(self.url, connect_timeout=2):
                    return
            except psycopg.OperationalError:
                assert self.process is not None
                told = (self.folder / "log").read_text(errors="replace")[-2000:]
                assert self.process.poll() is None, told
                assert time.monotonic() < end, told
                time.sleep(0.05)

    def kill(self) -> None:
        """As a power cut would end it, all its processes at once."""
        assert self.process is not None
        self._hold()
        children = self._children()
        self.process.kill()
        for pid in children:  # each leads a group of its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        end = time.monotonic() + SECONDS
        while any(map(_lives, children)):
            assert time.monotonic() < end
            time.sleep(0.01)
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def freeze(self, title: str) -> None:
        """Stops those of its processes that are called so, until it is killed."""
        found = [pid for pid in self._children() if title in _title(pid)]
        assert found, f"no process of the server is called {title}"
        for pid in found:
            os.kill(pid, signal.SIGSTOP)

    def stand_still(self) -> None:
        """Stops all of its processes; who is connected waits, and who connects."""
        self._hold()
        self.freeze("")

    def go_on(self) -> None:
        """After it stood still."""
        assert self.process is not None
        for pid in (*self._children(), self.process.pid):
            os.kill(pid, signal.SIGCONT)

    def _hold(self) -> None:
        """Stops the first of its processes, so that it starts no more of them."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        end = time.monotonic() + SECONDS
        while _state(self.process.pid) not in "TZ":
            assert time.monotonic() < end
            time.sleep(0.001)

    def _children(self) -> list[int]:
        assert self.process is not None
        first = self.process.pid
        try:
            told = Path(f"/proc/{first}/task/{first}/children").read_text()
        except FileNotFoundError:
            return []
        return list(map(int, told.split()))

    def stop(self) -> None:
        """In good order, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    @classmethod
    @contextlib.contextmanager
    def running(cls, **options: str) -> Iterator[Postgres]:
        """A new server with these settings."""
        folder = Path(tempfile.mkdtemp(prefix="screener-postgres-"))
        try:
            if os.geteuid() == 0:
                user = pwd.getpwnam(USER)
                os.chown(folder, user.pw_uid, user.pw_gid)
            initdb = [str(binaries() / "initdb"), "-D", str(folder / "data"), "-U", USER]
            subprocess.run(
                as_user(*initdb, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"),
                check=True,
                cwd="/",
                stdout=subprocess.DEVNULL,
            )
            server = cls(folder, free_port(), options)
            try:
                server.start()
                yield server
            finally:
                server.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _lives(pid: int) -> bool:
    return _state(pid) != "Z"


def _state(pid: int) -> str:
    """As the system tells it: "T" of one that is stopped, "Z" of one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"
