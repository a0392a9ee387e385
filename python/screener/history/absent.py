"""Minutes that were asked for at the source and are not there: a file a symbol, beside its months.

Without it every run would ask again for what the exchange never had: minutes before a listing, or
of an outage.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, TypeAlias

from screener.errors import DataError
from screener.history.atomic import file_error, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from screener.history.store import Store

__all__ = ["Absence", "absent_spans", "confirm_absent", "join"]

Absence: TypeAlias = tuple[int, int, str, int]
"""Minutes that open in [start, end) ms, the source that lacks them, and when it was asked, ms."""

_NAME: Final = "absent.json"
_VERSION: Final = 1


def absences(store: Store, symbol: str) -> list[Absence]:
    """What the registry says about a symbol, in order of time.

    Raises:
        DataError: The registry is damaged.
    """
    path = store.folder(symbol) / _NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != _VERSION:
            raise ValueError(f"schema {content['schema']}")  # noqa: TRY301
        return [
            (int(start), int(end), str(source), int(asked))
            for start, end, source, asked in content["absent"]
        ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise file_error(error, path, "the registry cannot be read") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            reason=f"the registry of absent minutes is damaged: {error}",
            path=path,
            remedy="remove it: the source is asked again",
        ) from error


def absent_spans(store: Store, symbol: str) -> list[tuple[int, int]]:
    """The spans [start, end) ms that are confirmed absent, ascending, none touching another."""
    return join((start, end) for start, end, _, _ in absences(store, symbol))


def confirm_absent(
    store: Store, symbol: str, spans: Iterable[tuple[int, int]], *, source: str, asked_at: int
) -> None:
    """Keeps that a source was asked for spans and has not one minute of them.

    Args:
        store: Whose registry.
        symbol: Whose minutes.
        spans: Minutes that open in [start, end) ms.
        source: Who was asked, such as `rest`.
        asked_at: When, ms.

    Raises:
        DataError: The registry cannot be read or written.
    """
    new = [(start, end, source, asked_at) for start, end in spans]
    if not new:
        return
    with store.writing(symbol) as folder:
        _write(folder / _NAME, sorted({*absences(store, symbol), *new}))


def forget_absent(store: Store, symbol: str, spans: Iterable[tuple[int, int]]) -> None:
    """Takes spans out of the registry: they were found after all, or are to be asked for again."""
    with store.writing(symbol) as folder:
        kept = absences(store, symbol)
        for low, high in spans:
            kept = [
                (begin, stop, source, asked)
                for start, end, source, asked in kept
                for begin, stop in ((start, min(end, low)), (max(start, high), end))
                if begin < stop
            ]
        _write(folder / _NAME, sorted(set(kept)))


def join(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same minutes as ascending spans that neither overlap nor touch."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _write(path: Path, absent: list[Absence]) -> None:
    content = {"schema": _VERSION, "absent": absent}
    replace_file(path, (json.dumps(content) + "\n").encode())
