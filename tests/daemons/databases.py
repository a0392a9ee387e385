"""Databases for tests: fresh ones on the machine's PostgreSQL, and servers that may be broken."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from screenerd.store.postgres.values import adapt
from screenerd.store.schema import TABLES

SERVER = "postgresql://postgres@127.0.0.1:5432"
PROGRAMS = Path("/usr/lib/postgresql/15/bin")
SECONDS = 30.0


@contextmanager
def fresh_database(server: str = SERVER) -> Iterator[str]:
    """The url of an empty database, which goes afterwards; skips where no server answers."""
    name = f"test_{uuid.uuid4().hex}"
    try:
        admin = psycopg.connect(f"{server}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.Error as error:
        pytest.skip(f"no PostgreSQL answers at {server}: {error}")
    with admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield f"{server}/{name}"
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    admin.close()


def ask(url: str, sql: str) -> list[Any]:
    """The rows of a query; instants as ms, as the store has them."""
    with psycopg.connect(url, autocommit=True) as connection:
        adapt(connection)
        return connection.execute(sql.encode(), binary=True).fetchall()


def empty(url: str) -> None:
    """Takes all rows out of a store's database."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = [
            table.name
            for table in TABLES
            if connection.execute("SELECT to_regclass(%s)", (table.name,)).fetchone() != (None,)
        ]
        if tables:
            connection.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY".encode())


class Server:
    """A PostgreSQL of the test's own, which may be killed, stopped and started again."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Makes its files; it does not run yet."""
        self.port = _free_port()
        self._data = folder / "data"
        self._log = folder / "log"
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8")
        told = {
            "port": str(self.port),
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": "''",
            "shared_buffers": "'16MB'",
            **settings,
        }
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in told.items())

    @property
    def url(self) -> str:
        """Of its database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Starts it; returns when it takes connections."""
        self._run("pg_ctl", "-D", self._data, "-l", self._log, "-w", "start")

    def stop(self) -> None:
        """Stops it without waiting for anybody."""
        self._run("pg_ctl", "-D", self._data, "-m", "fast", "-w", "stop")

    def kill(self) -> None:
        """Kills it and all its processes at once."""
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in (first, *map(int, children)):
            os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + SECONDS
        while any(_lives(pid) for pid in (first, *map(int, children))):
            assert time.monotonic() < end
            time.sleep(0.01)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _run(self, program: str, *arguments: str | Path) -> None:
        user: Any = "postgres" if os.getuid() == 0 else None
        subprocess.run(
            [PROGRAMS / program, *arguments],
            check=True,
            user=user,
            group=user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )


@contextmanager
def own_server(**settings: str) -> Iterator[Server]:
    """A running server of the test's own; skips where the programs are not installed."""
    if not (PROGRAMS / "initdb").exists():
        pytest.skip(f"PostgreSQL's programs are not in {PROGRAMS}")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.getuid() == 0:
        who = pwd.getpwnam("postgres")
        os.chown(folder, who.pw_uid, who.pw_gid)
    try:
        server = Server(folder, **settings)
        server.start()
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # the test has killed it
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
