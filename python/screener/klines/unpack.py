"""Names of files to their bytes, out of zip and gz."""

from __future__ import annotations

import glob
import gzip
import io
import os
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from screener.errors import DataError
from screener.klines.table import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["GZIP", "ZIP", "FilePath", "expand", "unpack"]

FilePath: TypeAlias = str | os.PathLike[str]

GZIP = b"\x1f\x8b"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")

# Candles compress 4 to 30 times; far beyond that a small file is made to fill the memory.
_MOST_RATIO = 200
_SMALL_BYTES = 64 << 20
_MOST_BYTES = 4 << 30


def expand(paths: FilePath | Iterable[FilePath]) -> list[str]:
    """The files that are named, patterns replaced by their matches."""
    named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not named:
        raise DataError(reason="no file was named", remedy="pass the path of at least one file")
    return [path for name in named for path in _matches(os.fspath(name))]


def _matches(name: str) -> list[str]:
    # Path.exists raises where a name is too long, and Path.glob takes no absolute pattern.
    if not glob.has_magic(name) or os.path.exists(name):  # noqa: PTH110
        return [name]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    if not found:
        raise DataError(reason="no file matches", path=name, remedy="check folder and pattern")
    return found


def _read_bytes(path: str) -> bytes:
    file = Path(path)
    try:
        content = None if file.is_dir() else file.read_bytes()
    except FileNotFoundError as error:
        remedy = "download it first" if "://" in path else "check the name and the folder"
        raise DataError(reason="there is no such file", path=path, remedy=remedy) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            reason=f"the file cannot be opened: {reason}",
            path=path,
            remedy="check the name and who may read it",
        ) from error
    if content is None:
        raise DataError(
            reason="this is a directory",
            path=path,
            remedy=f"name the files in it, all of them with {str(file / '*')!r}",
        )
    return content


def unpack(path: str) -> Iterator[tuple[Origin, bytes]]:
    """The file's content, or that of each file in it."""
    origin = Origin(path)
    data = _read_bytes(path)
    if data.startswith(GZIP):
        yield origin, _gunzip(origin, data)
    elif data.startswith(ZIP):
        for member, content in _unzip(origin, data):
            yield replace(origin, member=member), content
    else:
        yield origin, data


def _most_bytes(compressed: int) -> int:
    return min(max(_MOST_RATIO * compressed, _SMALL_BYTES), _MOST_BYTES)


def _too_big(origin: Origin) -> DataError:
    return origin.error(
        "the unpacked file would be absurdly large", remedy="unpack it yourself if you trust it"
    )


def _gunzip(origin: Origin, data: bytes) -> bytes:
    most = _most_bytes(len(data))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(most + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise origin.error(f"the gzip file cannot be unpacked: {error}") from error
    if len(content) > most:
        raise _too_big(origin)
    return content


def _unzip(origin: Origin, data: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in _members(origin, archive, _most_bytes(len(data))):
                yield info.filename, archive.read(info)
    except DataError:
        raise
    # Damage surfaces in zipfile as nearly anything: BadZipFile, IndexError, struct.error, …
    except Exception as error:
        raise origin.error(f"the zip file cannot be unpacked: {error}") from error


def _members(origin: Origin, archive: zipfile.ZipFile, most: int) -> list[zipfile.ZipInfo]:
    members = [info for info in archive.infolist() if _is_content(info.filename)]
    if not members:
        raise origin.error("the zip file holds no file")
    if sum(info.file_size for info in members) > most:
        raise _too_big(origin)
    return members


def _is_content(name: str) -> bool:
    """Whether a member is a file that a user put there."""
    folder, base = os.path.split(name)
    return bool(base) and not base.startswith(".") and not folder.startswith("__MACOSX")
