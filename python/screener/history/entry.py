"""An entry of the journal: what one repair did, as `entry.json` has it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from screener.errors import DataError
from screener.history.atomic import file_error, replace_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ENTRY", "Changed", "Entry", "read_entry", "write_entry"]

ENTRY: Final = "entry.json"
"""Its file, in the folder of its name."""

_SCHEMA: Final = 1

State = Literal["begun", "done", "undone"]


@dataclass(frozen=True, slots=True)
class Changed:
    """A file that a repair may change.

    Attributes:
        symbol: Whose.
        name: Its name in the symbol's folder.
        kept: Where the entry keeps what it was, or None where it was not there.
        before: SHA-256 of what it was, or None; unknown while `begun`.
        after: SHA-256 of what it became, or None where it is gone; unknown while `begun`.
    """

    symbol: str
    name: str
    kept: str | None
    before: str | None = None
    after: str | None = None


@dataclass(slots=True)
class Entry:
    """What one repair did.

    Attributes:
        id: Its name.
        at: When it began, ms.
        state: begun (it runs, or was killed), done (also if it failed), or undone.
        files: What it changed.
        told: Its counts, as `Repaired` has them.
    """

    id: str
    at: int
    state: State
    files: list[Changed]
    told: dict[str, Any] = field(default_factory=dict)


def write_entry(folder: Path, entry: Entry) -> None:
    """Puts an entry into its folder, in place of what was there.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    content = json.dumps({"schema": _SCHEMA, **asdict(entry)}, indent=1, ensure_ascii=False)
    replace_file(folder / ENTRY, (content + "\n").encode())


def read_entry(folder: Path) -> Entry:
    """The entry of a folder.

    Raises:
        DataError: It cannot be read, or is damaged.
    """
    path = folder / ENTRY
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("schema") != _SCHEMA:
            raise ValueError("another schema")  # noqa: TRY301
        return Entry(**{**content, "files": [Changed(**file) for file in content["files"]]})
    except OSError as error:
        raise file_error(error, path, "the journal cannot be read") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            reason=f"the entry of the journal is damaged: {error}",
            path=path,
            remedy="move its folder away: what it could undo is in its folder `before`",
        ) from error
