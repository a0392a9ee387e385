"""One process a store: a lock that the kernel gives back whatever becomes of the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from screenerd.store.port import StoreInUseError


class FileLock:
    """An exclusive lock on `<path>.lock`, which also names its holder.

    It may be taken in one thread and given back in another.

    The lock file stays behind: removing it would let a third process lock a new one of that name
    while a second holds the old.
    """

    def __init__(self, path: Path) -> None:
        """Names the store; takes nothing yet."""
        self._store = path
        self._path = path.with_name(path.name + ".lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """Takes the lock, and makes the folder if it is not there.

        Raises:
            StoreInUseError: another process has it, or this one already.
            OSError: the lock file cannot be made.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise StoreInUseError(self._store, holder) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Gives the lock back, if it was taken."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
