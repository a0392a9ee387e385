"""How the file is opened: one connection that writes and checkpoints, others that only read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from screenerd.store.port import StoreError
from screenerd.store.sqlite.migrations import migrate

_OLDEST_SQLITE: Final = (3, 37, 0)
_WAL_BYTES_KEPT: Final = 16 * 1024 * 1024
_CACHE_KIB: Final = 16 * 1024
_BUSY_MS: Final = 5_000
_HARMLESS: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

Connect = Callable[[Path], sqlite3.Connection]
"""Opens a file for writing: `open_writer`, or what a test puts in its place."""


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that may write: a commit has reached the disk when it returns.

    It checkpoints when told to and at no other time, so that no commit waits for one.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        _use_log(connection, path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint, even by closing last."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_log(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            f"{path} cannot keep a write-ahead log (journal mode {mode}): put it on a local disk"
        )


def _copy_log(connection: sqlite3.Connection, path: Path) -> None:
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreError(f"{path}: a reader keeps the log from being copied; trying again")


def _prepare_file(path: Path) -> None:
    # Readable by its owner alone, because it holds webhook addresses; the log and its index take
    # the file's permissions.
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(
            f"SQLite {sqlite3.sqlite_version} is too old for the store: install 3.37 or newer"
        )
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def open_checked(path: Path, now: int, connect: Connect) -> sqlite3.Connection:
    """Opens the file for writing, checked and with its schema up to date.

    The check comes first and through a connection that cannot write, so that a damaged file stays
    as it was found.

    Raises:
        StoreError: the file is damaged, or is of a newer version.
    """
    _prepare_file(path)
    with closing(open_reader(path)) as reader:
        check(reader, path)
    connection = connect(path)
    try:
        migrate(connection, now)
    except BaseException:
        connection.close()
        raise
    return connection


def open_again(path: Path, failure: sqlite3.Error, connect: Connect) -> sqlite3.Connection:
    """Opens the file after a failed write or commit, and proves that it can be written.

    What a failed sync left behind is in doubt: the kernel may have marked pages clean that never
    reached the disk, so a second sync of the same file would prove nothing. Copying the log into
    the database writes and syncs them afresh; the caller then repeats the failed transaction.

    Raises:
        StoreError: the file is damaged, or something keeps the log from being copied.
    """
    connection = connect(path)
    try:
        if primary_code(failure) not in _HARMLESS:
            check(connection, path)
        _copy_log(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Reads every page of the file.

    Raises:
        StoreError: something in it is not as it was written.
    """
    try:
        faults = [fault for (fault,) in connection.execute("PRAGMA quick_check(5)")]
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        raise damaged(path, str(error)) from error
    if faults != ["ok"]:
        raise damaged(path, "; ".join(" ".join(faults).splitlines()))


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file's content is not what was written."""
    return primary_code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's own code of an error, without the detail; 0 where it has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def damaged(path: Path, fault: str) -> StoreError:
    """Says what to do about a damaged file."""
    return StoreError(
        f"{path} is damaged ({fault}). Nothing was changed. Copy it with its -wal file to a safe "
        f"place, then either restore a backup, or save what can be read with "
        f"`sqlite3 {path.name} .recover | sqlite3 rescued.db` and put that in its place, or move "
        "it away and start afresh: candles are then filled from the exchange"
    )
