"""Backups of stores that are written meanwhile, restored and compared."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from postgres_server import Postgres

SCRIPTS = Path(__file__).parents[2] / "daemons" / "deploy"
TABLE = "CREATE TABLE candles (time bigint PRIMARY KEY, half integer NOT NULL)"


def _run(script: str, *args: str | Path, url: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / script, *args],
        capture_output=True,
        text=True,
        env=os.environ | {"SCREENER_STORE__URL": url},
        timeout=120,
        check=False,
    )


def _url(server: Postgres, name: str) -> str:
    return server.url.rsplit("/", 1)[0] + "/" + name


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres.running() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> str:
    if shutil.which("pg_dump") is None:
        pytest.skip("no pg_dump is installed")
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE saved")
        connection.execute("CREATE DATABASE restored")
    with psycopg.connect(_url(postgres, "saved"), autocommit=True) as connection:
        connection.execute(TABLE)
        connection.execute("INSERT INTO candles SELECT n, n % 2 FROM generate_series(1, 2000) n")
    return _url(postgres, "saved")


def _write(url: str, stop: threading.Event) -> None:
    """Pairs of rows, so that half a transaction would show."""
    with psycopg.connect(url, autocommit=True) as connection:
        at = 10_000
        while not stop.is_set():
            with connection.transaction():
                connection.execute("INSERT INTO candles VALUES (%s, 0), (%s, 1)", (at, at + 1))
            at += 2


def test_a_database_comes_back_as_of_one_moment(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    stop = threading.Event()
    writer = threading.Thread(target=_write, args=(database, stop))
    writer.start()
    try:
        saved = _run("backup.sh", tmp_path, url=database)
    finally:
        stop.set()
        writer.join()
    assert saved.returncode == 0, saved.stderr
    dump = saved.stdout.strip()

    restored = _run("restore.sh", dump, url=_url(postgres, "restored"))
    assert restored.returncode == 0, restored.stderr
    with psycopg.connect(_url(postgres, "restored")) as connection:
        halves: dict[int, int] = dict(
            connection.execute("SELECT half, count(*) FROM candles GROUP BY half").fetchall()
        )
    assert halves[0] == halves[1] >= 1000

    again = _run("restore.sh", dump, url=_url(postgres, "restored"))
    assert again.returncode == 1
    assert "has tables" in again.stderr


def test_rows_that_are_missing_are_told(postgres: Postgres, database: str, tmp_path: Path) -> None:
    dump = Path(_run("backup.sh", tmp_path, url=database).stdout.strip())
    dump.with_suffix(".rows").write_text("public.candles 2001\n")
    restored = _run("restore.sh", dump, url=_url(postgres, "restored"))
    assert restored.returncode == 1
    assert "the rows differ" in restored.stderr


def test_a_failed_backup_leaves_nothing_and_tells_no_password(tmp_path: Path) -> None:
    failed = _run("backup.sh", tmp_path, url="postgresql://me:hidden-word@127.0.0.1:1/none")
    assert failed.returncode != 0
    assert "hidden-word" not in failed.stdout + failed.stderr
    assert [one.name for one in tmp_path.iterdir()] == [".lock"]


def test_a_file_that_is_written_comes_back_whole(tmp_path: Path) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("no sqlite3 is installed")
    source, stop, begun = tmp_path / "store.db", threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(source, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(TABLE)
            at = 0
            while not stop.is_set():
                connection.execute("INSERT INTO candles VALUES (?, 0), (?, 1)", (at, at + 1))
                at += 2
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        saved = _run("backup.sh", tmp_path / "backups", source)
    finally:
        stop.set()
        writer.join()
    assert saved.returncode == 0, saved.stderr
    target = tmp_path / "restored.db"
    restored = _run("restore.sh", saved.stdout.strip(), target)
    assert restored.returncode == 0, restored.stderr
    with closing(sqlite3.connect(target)) as connection:
        rows = connection.execute("SELECT time, half FROM candles ORDER BY time").fetchall()
    with closing(sqlite3.connect(source)) as connection:
        written = connection.execute("SELECT time, half FROM candles ORDER BY time").fetchall()
    assert rows == written[: len(rows)]
    assert rows
    assert len(rows) % 2 == 0
    assert _run("restore.sh", saved.stdout.strip(), target).returncode == 1
