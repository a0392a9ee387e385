"""What a repair was about to change, kept until it is undone: a folder an entry, beside the months.

```
<root>/exchange=binance/.journal/2025-03-01T08-12-00/
    entry.json           what was done, to which files, and what they are before and after
    quarantine.parquet.kept
                         the rows that were taken out, each with its reason
    before/0001          the files as they were
```

No name here ends in `.parquet`: who reads all such files of the store reads minutes.

The files before are links to the same bytes (the store replaces files and never writes into one),
so an entry costs next to nothing until something is changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from screener.errors import StateError
from screener.history import layout
from screener.history.atomic import file_error, replace_file, try_lock
from screener.history.entry import ENTRY, Changed, Entry, read_entry, write_entry
from screener.history.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from screener.history.store import Store

__all__ = ["Changed", "Entry", "alone", "begin", "entries", "finish", "folder_of", "undo"]

_FOLDER: Final = ".journal"


def begin(store: Store, files: Iterable[tuple[str, str]], at: int) -> Entry:
    """Keeps what files are now, before anything is changed.

    Args:
        store: Whose files.
        files: Pairs (symbol, name in its folder); those that are not there are kept as such.
        at: The time, ms.

    Raises:
        DataError: The journal cannot be written; nothing was changed.
    """
    folder = _new_folder(store, at)
    try:
        (folder / "before").mkdir()
        kept = [
            _kept(store, folder, number, symbol, name)
            for number, (symbol, name) in enumerate(files, start=1)
        ]
        entry = Entry(folder.name, at, "begun", kept)
        write_entry(folder, entry)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise file_error(error, folder, "the journal cannot be written") from error
    return entry


def finish(store: Store, entry: Entry, told: dict[str, Any]) -> Entry:
    """Records what became of the files; those that nobody changed are left out.

    Also after a repair that failed, so that what it changed can be told from what comes later.

    Raises:
        DataError: The journal cannot be written; the entry stays `begun` and can be undone.
    """
    folder = folder_of(store, entry.id)
    changed, idle = [], []
    try:
        for file in entry.files:
            path = store.folder(file.symbol) / file.name
            if not _is_as_kept(folder, file, path):
                before = None if file.kept is None else _digest(folder / file.kept)
                changed.append(replace(file, before=before, after=_digest(path)))
            elif file.kept is not None:
                idle.append(folder / file.kept)
        done = Entry(entry.id, entry.at, "done", changed, told)
        # The entry first: as long as it is `begun`, undoing needs all that is kept.
        write_entry(folder, done)
        if _is_idle(done):
            shutil.rmtree(folder)
        else:
            for path in idle:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise file_error(error, folder, "the journal cannot be written") from error
    return done


def touched(store: Store, entry: Entry) -> bool:
    """Whether a file is no longer what it was when the entry began."""
    folder = folder_of(store, entry.id)
    return any(
        not _is_as_kept(folder, file, store.folder(file.symbol) / file.name) for file in entry.files
    )


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Holds the journal: what is repaired or undone is so by one process at a time.

    Entries that changed nothing are removed, which a kill left.

    Raises:
        StateError: Another repair or undoing runs.
        DataError: The journal cannot be written.
    """
    root = _root(store)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with try_lock(root / ".lock") as is_ours:
            if not is_ours:
                raise StateError(
                    reason=f"another repair of {store.root} runs", remedy="wait until it has ended"
                )
            for entry in entries(store):
                is_begun = entry.state == "begun"
                if _is_idle(entry) or (is_begun and not touched(store, entry)):
                    shutil.rmtree(folder_of(store, entry.id), ignore_errors=True)
            yield
    except OSError as error:
        raise file_error(error, root, "the journal cannot be written") from error


def entries(store: Store) -> list[Entry]:
    """All entries, the oldest first.

    Raises:
        DataError: An entry is damaged.
    """
    root = _root(store)
    try:
        names = sorted(path.name for path in root.iterdir() if (path / ENTRY).exists())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [read_entry(folder_of(store, name)) for name in names]


def undo(store: Store, name: str | None = None, *, force: bool = False) -> Entry:
    """Brings back the bytes that a repair found.

    Args:
        store: Whose files.
        name: The entry; by default the newest that is not undone.
        force: Also where a file was changed by something else since, or may have been: a repair
            that was killed does not know what it left.

    Returns:
        The entry, now `undone`.

    Raises:
        StateError: There is nothing to undo, a later repair touched the same files, or something
            else did; nothing was changed.
        DataError: A file cannot be read or written; the others are what they were before the
            repair, and the same call goes on.
    """
    with alone(store):
        known = entries(store)
        entry = _chosen(known, name)
        _refuse_later(known, entry)
        if not force:
            _refuse_changed(store, entry)
        return _undone(store, entry)


def _undone(store: Store, entry: Entry) -> Entry:
    folder = folder_of(store, entry.id)
    try:
        for symbol in dict.fromkeys(file.symbol for file in entry.files):
            with store.writing(symbol) as home:
                for file in entry.files:
                    if file.symbol == symbol:
                        _bring_back(folder, home / file.name, file)
        undone = Entry(entry.id, entry.at, "undone", entry.files, entry.told)
        write_entry(folder, undone)
    except OSError as error:
        raise file_error(error, folder, "the repair cannot be undone") from error
    return undone


def folder_of(store: Store, name: str) -> Path:
    """Where an entry is kept."""
    return _root(store) / name


# -- files ---------------------------------------------------------------------------------------


def _root(store: Store) -> Path:
    return layout.exchange_folder(store.root, store.exchange) / _FOLDER


def _new_folder(store: Store, at: int) -> Path:
    root = _root(store)
    stem = iso(at).removesuffix("Z").replace(":", "-")
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = root / (stem if number == 1 else f"{stem}-{number}")
            if not folder.exists():
                folder.mkdir()
                return folder
    except OSError as error:
        raise file_error(error, root, "the journal cannot be written") from error
    raise StateError(reason="a thousand repairs began at this moment", remedy="wait a second")


def _kept(store: Store, folder: Path, number: int, symbol: str, name: str) -> Changed:
    source = store.folder(symbol) / name
    kept = f"before/{number:04}"
    if not source.exists():
        return Changed(symbol, name, None)
    try:
        os.link(source, folder / kept)
    except OSError:
        # No links here, or across devices: a copy does as well.
        shutil.copyfile(source, folder / kept)
    return Changed(symbol, name, kept)


def _is_as_kept(folder: Path, file: Changed, target: Path) -> bool:
    """Whether a file is what the entry keeps; a link to the same bytes need not be read."""
    if file.kept is None:
        return not target.exists()
    try:
        same = (folder / file.kept).samefile(target)
    except FileNotFoundError:
        return False
    return same or _digest(folder / file.kept) == _digest(target)


def _is_idle(entry: Entry) -> bool:
    """Whether an entry is done, and there is nothing to undo in it."""
    return entry.state == "done" and not entry.files and not entry.told.get("quarantined")


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _bring_back(folder: Path, target: Path, file: Changed) -> None:
    if _is_as_kept(folder, file, target):
        return
    if file.kept is None:
        target.unlink(missing_ok=True)
    else:
        replace_file(target, (folder / file.kept).read_bytes())


# -- refusals ------------------------------------------------------------------------------------


def _chosen(known: list[Entry], name: str | None) -> Entry:
    open_ = [entry for entry in known if entry.state != "undone"]
    if name is None:
        if not open_:
            raise StateError(reason="no repair is left to undo")
        return open_[-1]
    found = next((entry for entry in known if entry.id == name), None)
    if found is None:
        names = ", ".join(entry.id for entry in open_[-5:]) or "none"
        raise StateError(reason=f"there is no repair {name!r}", remedy=f"the newest are: {names}")
    if found.state == "undone":
        raise StateError(reason=f"the repair {name} is undone already")
    return found


def _refuse_later(known: list[Entry], entry: Entry) -> None:
    touched = {(file.symbol, file.name) for file in entry.files}
    for later in known[known.index(entry) + 1 :]:
        shared = touched & {(file.symbol, file.name) for file in later.files}
        if later.state != "undone" and shared:
            symbol, name = min(shared)
            raise StateError(
                reason=f"the repair {later.id} came later and changed {symbol} {name} too",
                remedy=f"undo {later.id} first",
            )


def _refuse_changed(store: Store, entry: Entry) -> None:
    folder = folder_of(store, entry.id)
    for file in entry.files:
        path = store.folder(file.symbol) / file.name
        if entry.state == "begun" and not _is_as_kept(folder, file, path):
            raise StateError(
                reason=f"the repair {entry.id} was killed, and it is not known whether it or"
                f" something later changed {path}",
                remedy="to bring back what it was, and lose what came since, undo it with force"
                " (--force); nothing was changed now",
            )
        if entry.state == "done" and _digest(path) not in (file.before, file.after):
            raise StateError(
                reason=f"{path} was changed after the repair {entry.id}",
                remedy="to lose what came since, undo it with force; nothing was changed now",
            )
