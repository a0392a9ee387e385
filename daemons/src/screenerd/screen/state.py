"""The engine's state between a clean stop and the next start: a file that is good for one start.

A crash leaves none, and the engine is rebuilt from the store then; a file that stayed behind would
be older than the store and is refused.
"""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import structlog

import screener

log = structlog.get_logger("screen")

_VERSION = 1


def save(path: Path, engine: screener.Engine, *, judged_from: int, newest: int) -> None:
    """Writes the state so that the file is whole or not there.

    Args:
        path: where; replaced if it is there.
        engine: what to keep.
        judged_from: minutes before it were nobody's to judge, ms.
        newest: the newest minute the engine has been given, ms.

    Raises:
        OSError: the file could not be written.
    """
    head = {"version": _VERSION, "judged_from": judged_from, "newest": newest}
    partial = path.with_name(path.name + ".part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(head) + b"\n")
        file.write(engine.save())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def take(path: Path, *, newest: int) -> tuple[screener.Engine, int] | None:
    """The engine and `judged_from` of a file, which is gone then; `None` if it is of no use.

    Args:
        path: where.
        newest: the newest minute in the store, ms: the file's own must be the same.
    """
    try:
        head, _, blob = path.read_bytes().partition(b"\n")
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("saved state cannot be read, rebuilding", error=str(error))
        return None
    try:
        told = orjson.loads(head)
        if (told["version"], told["newest"]) != (_VERSION, newest):
            log.info("saved state is not of this store, rebuilding")
            return None
        return screener.Engine.load(blob), int(told["judged_from"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, screener.StateError) as error:
        log.warning("saved state is damaged, rebuilding", error=str(error))
        return None
