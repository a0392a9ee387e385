"""Files that are there whole or not at all, and a lock that the kernel gives back."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["file_error", "lock", "new_file", "remove_scratch", "replace_file", "try_lock"]

_SCRATCH = ".screener-"
_REMEDIES = {
    errno.ENOSPC: "make room on the disk and run it again: what was stored before still is",
    errno.EDQUOT: "make room in your quota and run it again: what was stored before still is",
    errno.EROFS: "the file system is read-only: name another folder",
    errno.EACCES: "check who may write to the folder, or name another one",
    errno.EPERM: "check who may write to the folder, or name another one",
    errno.EEXIST: "a file is where a folder should be: name another folder",
    errno.ENOTDIR: "a file is where a folder should be: name another folder",
}


def file_error(error: OSError, path: Path, what: str) -> DataError:
    """What an operating system's refusal means for who runs this.

    Args:
        error: The refusal.
        path: The file or folder at fault.
        what: What was tried, such as `the file cannot be written`.
    """
    remedy = _REMEDIES.get(error.errno or 0, "check the folder, who may use it, and the space left")
    return DataError(reason=f"{what}: {error.strerror or error}", path=path, remedy=remedy)


def replace_file(target: Path, content: bytes) -> None:
    """Puts a file in the place of another in one step; its bytes are on the disk by then.

    Whoever reads sees the old file or the new one, whenever this process ends.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    with _scratch(target, content) as scratch:
        if target.exists():
            shutil.copymode(target, scratch)
        scratch.replace(target)
    _sync_folder(target.parent)


def new_file(target: Path, content: bytes) -> None:
    """Makes a file in one step where there is none; its bytes are on the disk by then.

    Raises:
        FileExistsError: There is one; it stays as it is.
        OSError: It cannot be written.
    """
    with _scratch(target, content) as scratch:
        try:
            # Unlike a rename, a second name never takes the place of another file.
            target.hardlink_to(scratch)
        except FileExistsError:
            raise
        except OSError:
            if os.path.lexists(target):
                raise
            # The file system has no second names.
            scratch.replace(target)
        else:
            scratch.unlink()
    _sync_folder(target.parent)


@contextmanager
def _scratch(target: Path, content: bytes) -> Iterator[Path]:
    """A synced file with this content beside the target, gone if what is done with it fails."""
    scratch = target.with_name(f"{_SCRATCH}{secrets.token_hex(8)}.tmp")
    try:
        with scratch.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield scratch
    except BaseException:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """So that the new name outlives a power cut too, where folders can be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_scratch(folder: Path) -> None:
    """Removes what a killed process left half-written; call it under the folder's lock."""
    for path in folder.glob(f"{_SCRATCH}*.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file, and waits for it.

    The kernel gives it back whatever becomes of the process. The file stays behind: removing it
    would let a third process lock a new one of that name while a second holds the old.

    Raises:
        OSError: The file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Holds an exclusive lock on a file, if nobody else does; tells whether it is held.

    Raises:
        OSError: The file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        with suppress(OSError):
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            return True
    else:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
