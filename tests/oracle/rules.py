"""SPEC 5.1 and 5.2, transcribed by hand: a rule is a table of clauses that must all hold.

A clause is `(a, left, relation, b, right)` and reads `a * left relation b * right`; where `right`
is empty it reads `a * left relation b`. `c` stands for `change_`, `q` for `quote_volume_`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

COOLDOWN_MS = 5 * 60_000

RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Row = tuple[float, str, str, float, str]


@dataclass(frozen=True)
class Clause:
    """`a * left relation b * right`, or `a * left relation b` where `right` is empty."""

    a: float
    left: str
    relation: str
    b: float
    right: str

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics the clause names."""
        return (self.left, self.right) if self.right else (self.left,)

    def holds(self, values: Any) -> Any:
        """Truth for numbers by name; arrays by name give an array of truths."""
        left = self.a * values[self.left]
        right = self.b * values[self.right] if self.right else self.b
        return RELATIONS[self.relation](left, right)


@dataclass(frozen=True)
class Rule:
    """A rule of a preset."""

    name: str
    timeframe: str
    when: tuple[Clause, ...]
    floor: tuple[Clause, ...] = ()

    def clauses(self, *, floors: bool) -> tuple[Clause, ...]:
        """What must hold."""
        return self.when + self.floor if floors else self.when

    def names(self, *, floors: bool) -> list[str]:
        """The metrics the rule names, each once."""
        named = [name for clause in self.clauses(floors=floors) for name in clause.names]
        return list(dict.fromkeys(named))


def _full(short: str) -> str:
    if short[:1] == "c" and short[1:2].isdigit():
        return f"change_{short[1:]}"
    if short[:1] == "q" and short[1:2].isdigit():
        return f"quote_volume_{short[1:]}"
    return short


def _clauses(*rows: Row) -> tuple[Clause, ...]:
    return tuple(
        Clause(a, _full(left), relation, b, _full(right)) for a, left, relation, b, right in rows
    )


_TRADED: Row = (1, "q5m", ">", 0, "")

FUTURES = (
    Rule(
        "big_bull_60m",
        "1h",
        _clauses(
            (1, "c1h", ">=", 1.6, ""),
            (1, "c8h", ">", 1, "c1h"),
            (1, "c1d", ">", 1, "c8h"),
            (6, "q1h", ">=", 1, "q8h"),
            (16, "q1h", ">=", 1, "q1d"),
            _TRADED,
        ),
        _clauses(
            (1, "c1d", "<", 15, ""),
            (1, "q1h", ">", 500e3, ""),
            (1, "q8h", ">", 5e6, ""),
        ),
    ),
    Rule(
        "big_bear_60m",
        "1h",
        _clauses(
            (1, "c1h", "<=", -1.6, ""),
            (1, "c8h", "<", 1, "c1h"),
            (1, "c1d", "<", 1, "c8h"),
            (6, "q1h", ">=", 1, "q8h"),
            (16, "q1h", ">=", 1, "q1d"),
            _TRADED,
        ),
        _clauses(
            (1, "c1d", ">", -15, ""),
            (1, "q1h", ">", 500e3, ""),
            (1, "q8h", ">", 5e6, ""),
        ),
    ),
    Rule(
        "pioneer_bull",
        "5m",
        _clauses(
            (1, "c5m", ">=", 1, ""),
            (1, "c15m", ">=", 1, ""),
            (3, "c5m", ">=", 1, "c15m"),
            (2, "q5m", ">=", 1, "q15m"),
            _TRADED,
        ),
    ),
    Rule(
        "pioneer_bear",
        "5m",
        _clauses(
            (1, "c5m", "<=", -1, ""),
            (1, "c15m", "<=", -1, ""),
            (3, "c5m", "<=", 1, "c15m"),
            (2, "q5m", ">=", 1, "q15m"),
            _TRADED,
        ),
    ),
    Rule(
        "big_bull_5m",
        "5m",
        _clauses(
            (1, "c5m", ">=", 0.6, ""),
            (1, "c15m", ">", 1, "c5m"),
            (1, "c1h", ">", 1, "c15m"),
            (3, "q5m", ">=", 1, "q15m"),
            (6, "q5m", ">=", 1, "q1h"),
            _TRADED,
        ),
        _clauses(
            (1, "c1d", "<", 15, ""),
            (1, "q5m", ">", 100e3, ""),
            (1, "q1h", ">", 1e6, ""),
            (66, "q5m", ">", 1, "q8h"),
        ),
    ),
    Rule(
        "big_bear_5m",
        "5m",
        _clauses(
            (1, "c5m", "<=", -0.6, ""),
            (1, "c15m", "<", 1, "c5m"),
            (1, "c1h", "<", 1, "c15m"),
            (3, "q5m", ">=", 1, "q15m"),
            (6, "q5m", ">=", 1, "q1h"),
            _TRADED,
        ),
        _clauses(
            (1, "c1d", ">", -15, ""),
            (1, "q5m", ">", 100e3, ""),
            (1, "q1h", ">", 1e6, ""),
            (66, "q5m", ">", 1, "q8h"),
        ),
    ),
    Rule(
        "big_bull_15m",
        "15m",
        _clauses(
            (1, "c15m", ">=", 1, ""),
            (1, "c1h", ">", 1, "c15m"),
            (1, "c8h", ">", 1, "c1h"),
            (3, "q15m", ">=", 1, "q1h"),
            (26, "q15m", ">=", 1, "q8h"),
            _TRADED,
        ),
        _clauses(
            (1, "c1d", "<", 15, ""),
            (1, "q15m", ">", 400e3, ""),
            (1, "q1h", ">", 1e6, ""),
        ),
    ),
    Rule(
        "big_bear_15m",
        "15m",
        _clauses(
            (1, "c15m", "<=", -1, ""),
            (1, "c1h", "<", 1, "c15m"),
            (1, "c8h", "<", 1, "c1h"),
            (3, "q15m", ">=", 1, "q1h"),
            (26, "q15m", ">=", 1, "q8h"),
            _TRADED,
        ),
        _clauses(
            (1, "c1d", ">", -15, ""),
            (1, "q15m", ">", 400e3, ""),
            (1, "q1h", ">", 1e6, ""),
        ),
    ),
    Rule(
        "bottom_hunter",
        "5m",
        _clauses(
            (1, "c1h", "<=", -0.7, ""),
            (1, "c15m", "<=", -0.6, ""),
            (1, "c5m", ">=", 0.5, ""),
            (2, "q5m", ">=", 1, "q15m"),
            (8, "q5m", ">=", 1, "q1h"),
            _TRADED,
        ),
    ),
    Rule(
        "top_hunter",
        "5m",
        _clauses(
            (1, "c1h", ">=", 0.7, ""),
            (1, "c15m", ">=", 0.6, ""),
            (1, "c5m", "<=", -0.5, ""),
            (2, "q5m", ">=", 1, "q15m"),
            (8, "q5m", ">=", 1, "q1h"),
            _TRADED,
        ),
    ),
)

CLASSIC = (
    Rule(
        "bull_whale",
        "5m",
        _clauses((288, "q5m", ">=", 3, "q1d"), (1, "c5m", ">=", 2, "")),
    ),
    Rule(
        "bear_whale",
        "5m",
        _clauses((288, "q5m", ">=", 3, "q1d"), (1, "c5m", "<=", -2, "")),
    ),
    Rule(
        "bull_volume",
        "5m",
        _clauses((1, "volume_ratio_5m", ">=", 2.5, ""), (1, "up_streak", ">=", 3, "")),
    ),
    Rule(
        "bear_volume",
        "5m",
        _clauses((1, "volume_ratio_5m", ">=", 2.5, ""), (1, "down_streak", ">=", 3, "")),
    ),
    Rule("flat_1m", "10m", _clauses((1, "range_10m", "<=", 0.1, ""))),
    Rule("flat_8h", "8h", _clauses((1, "range_8h", "<=", 2, ""))),
)

PRESETS = {"futures": FUTURES, "classic": CLASSIC}
