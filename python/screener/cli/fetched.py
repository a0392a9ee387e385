"""`screener fetch`: what is fetched, how far it is, and what came of it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from screener.cli.output import console, iso, minute, print_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from screener.history.fetch import Event, Note
    from screener.history.plan import Cost
    from screener.history.session import Prepared, Run
    from screener.history.store import Store

__all__ = ["Bar", "estimate_document", "print_estimate", "print_run", "run_document"]

_MOST_NOTES = 10
_NAME_WIDTH = 24


class _Rate(ProgressColumn):
    """How many minutes a second have come of late."""

    def render(self, task: Task) -> Text:
        speed = task.speed
        return Text("" if speed is None else f"{speed:,.0f} minutes/s", style="dim")


class Bar:
    """A bar on a terminal, nothing in a pipe: the part that is done, the rate, the time left."""

    def __init__(self) -> None:
        """Shows nothing yet."""
        self._progress = Progress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(min_width=_NAME_WIDTH, no_wrap=True),
            ),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            _Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console(stderr=True),
            disable=not console(stderr=True).is_terminal,
        )
        self._task = self._progress.add_task("asking", total=None)
        self._total = 0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While it is shown."""
        with self._progress:
            yield

    def prepared(self, prepared: Prepared) -> None:
        """What there is to do is known."""
        self._total = prepared.minutes
        self._progress.update(self._task, total=self._total, description="fetching")

    def event(self, event: Event) -> None:
        """A step is done; what was held already was no work, and says nothing of the rate."""
        name = f"{event.symbol} {event.period}"
        if not event.fetched:
            self._total -= event.minutes
        done = event.minutes if event.fetched else 0
        self._progress.update(self._task, total=self._total, advance=done, description=name)


# -- what it would take --------------------------------------------------------------------------


def estimate_document(store: Store, prepared: Prepared, cost: Cost) -> dict[str, Any]:
    """A dry run as JSON knows it."""
    return {**_head(store, prepared), "dry_run": True, "missing": cost.minutes, **_cost(cost)}


def _cost(cost: Cost) -> dict[str, int]:
    return {"requests": cost.requests, "weight": cost.weight, "bytes": cost.bytes}


def print_estimate(store: Store, prepared: Prepared, cost: Cost) -> None:
    """A dry run as people read it."""
    lines = [
        _headline(prepared),
        *prepared.chosen.remarks,
        f"{prepared.minutes - cost.minutes:,} are stored in {store.root}, {cost.minutes:,} are "
        "missing",
        f"fetching them takes about {cost.requests:,} requests (weight {cost.weight:,}), "
        f"{_size(cost.bytes)}",
    ]
    print_lines(console(), [Text(line) for line in lines])


# -- what it has done ----------------------------------------------------------------------------


def run_document(store: Store, run: Run) -> dict[str, Any]:
    """A run as JSON knows it."""
    done = run.fetched
    return {
        **_head(store, run.prepared),
        "dry_run": False,
        "complete": done.complete,
        "held": done.held,
        "stored": done.merged.inserted,
        "absent": done.absent,
        "lacking": done.lacking,
        "rows": asdict(done.merged),
        "misplaced": done.misplaced,
        "files": done.files,
        "notes": [asdict(note) for note in done.notes],
        "by_rest": done.by_rest,
        **asdict(run.traffic),
        "seconds": round(run.seconds, 3),
    }


def print_run(store: Store, run: Run) -> None:
    """A run as people read it."""
    done, traffic = run.fetched, run.traffic
    lines = [
        _headline(run.prepared),
        *run.prepared.chosen.remarks,
        f"{done.held:,} were stored, {done.merged.inserted:,} came now, {done.absent:,} the "
        f"exchange has not, {done.lacking:,} could not be had",
        *_doubts(run),
        *_notes(done.notes),
        f"{traffic.requests:,} requests, {_size(traffic.bytes)}, {run.seconds:.1f} s; "
        f"the store is {store.root}",
    ]
    print_lines(console(), [Text(line) for line in lines])


def _doubts(run: Run) -> Iterator[str]:
    done = run.fetched
    if done.merged.duplicate:
        yield f"{done.merged.duplicate:,} rows came twice, or were stored already"
    if done.merged.corrected:
        yield f"{done.merged.corrected:,} stored minutes were corrected"
    if done.misplaced:
        yield f"{done.misplaced:,} rows were left out: at no minute, or of another time"
    if not done.by_rest:
        yield "REST does not serve this location: only whole days and months of the archive came"


def _notes(notes: list[Note]) -> Iterator[str]:
    """Archive files that were not used; their minutes came from elsewhere."""
    for note in notes[:_MOST_NOTES]:
        yield f"archive file of {note.symbol} {note.period}: {note.what}"
    if len(notes) > _MOST_NOTES:
        yield f"and {len(notes) - _MOST_NOTES:,} archive files more; --json lists all"


# -- both ----------------------------------------------------------------------------------------


def _head(store: Store, prepared: Prepared) -> dict[str, Any]:
    return {
        "store": str(store.root),
        "symbols": list(prepared.chosen.symbols),
        "start": iso(prepared.start),
        "end": iso(prepared.end),
        "minutes": prepared.minutes,
        "remarks": list(prepared.chosen.remarks),
    }


def _headline(prepared: Prepared) -> str:
    symbols = prepared.chosen.symbols
    named = symbols[0] if len(symbols) == 1 else f"{len(symbols):,} symbols"
    return (
        f"{named} from {minute(prepared.start)} to {minute(prepared.end)} (UTC): "
        f"{prepared.minutes:,} minutes"
    )


def _size(count: int) -> str:
    """Bytes as people read them."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
