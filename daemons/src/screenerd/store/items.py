"""What `Store.write` takes, how much it is, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from screenerd.columns import TIMEFRAMES
from screenerd.model import Alert, Bars, CandleBatch, DeadLetter, Metrics

Item = CandleBatch | Alert | DeadLetter | Bars | Metrics
"""What `Store.write` takes."""


@dataclass(slots=True)
class Counts:
    """What became of the closed candles that were written.

    Attributes:
        new: minutes that were not stored before.
        revised: minutes whose values were replaced.
        improved: equal minutes for which a better source was recorded.
        duplicate: equal minutes that changed nothing.
        outranked: different values from a worse source, which were not stored.
    """

    new: int = 0
    revised: int = 0
    improved: int = 0
    duplicate: int = 0
    outranked: int = 0

    def add(self, other: Counts) -> None:
        """Adds what another one counted."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def weight(items: Iterable[object]) -> int:
    """How many rows items come to, for the bound of the queue."""
    return sum(map(_rows_of, items))


def _rows_of(item: object) -> int:
    match item:
        case CandleBatch():
            return len(item.candles)
        case Bars():
            return len(item.closes)
        case Metrics():
            return item.frame.height * len(TIMEFRAMES)
        case _:
            return 1
