"""A rule's truth table at a minute of the past, out of an engine warmed up to it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rich.text import Text

from screener._core import Engine
from screener.cli.output import iso, minute, print_lines, whole
from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl
    from rich.console import Console

    from screener._core import Explanation, Rule, RuleSet
    from screener.types import Gaps

__all__ = ["Explained", "document", "explain", "print_explained"]

_MINUTE = 60_000
_MOST_NAMES = 10
_MARKS = {r"^  yes": "green", r"^  no": "red", r"^  \?": "yellow"}


@dataclass(frozen=True, slots=True)
class Explained:
    """What a rule saw of a symbol.

    Attributes:
        symbol: The symbol.
        rule: The rule.
        open_time: The newest minute it saw, ms.
        explanation: The truth table.
        metrics: The metrics the rule names.
        price: Last close.
        pending: Minutes among the newest 1440 that are missing and may still come.
    """

    symbol: str
    rule: Rule
    open_time: int
    explanation: Explanation
    metrics: Mapping[str, float | None]
    price: float | None
    pending: int


def explain(
    frame: pl.DataFrame, rules: RuleSet, *, symbol: str, rule: Rule, at: int | None, gaps: Gaps
) -> Explained:
    """What `rule` saw of `symbol` when only the rows known at `at` (ms) had come."""
    engine = Engine(rules, gaps=gaps)
    engine.warm_up(_known(frame, symbol, at))
    metrics, held = engine.metrics(symbol), engine.candles(symbol)
    return Explained(
        symbol=symbol,
        rule=rule,
        open_time=held["open_time"][-1],
        explanation=rules.explain(rule.name, metrics),
        metrics={name: metrics[name] for name in rule.metrics},
        price=metrics["price"],
        pending=int(held["pending"].sum()),
    )


def _known(frame: pl.DataFrame, symbol: str, at: int | None) -> pl.DataFrame:
    """The symbol's rows that had come by then: at their event time, or the close of the minute."""
    import polars as pl

    rows = frame.filter(pl.col("symbol") == symbol)
    if rows.is_empty():
        raise DataError(reason=f"there is no candle of {symbol!r}", remedy=_others(frame, symbol))
    if at is None:
        return rows
    known_at = pl.col("open_time") + _MINUTE
    if "event_time" in rows.columns:
        known_at = pl.coalesce("event_time", known_at)
    known = rows.filter(known_at <= at)
    if known.is_empty():
        first = rows.select(known_at.min()).item()
        raise DataError(
            reason=f"no candle of {symbol!r} had closed at {minute(at)}",
            remedy=f"the first closes at {minute(first)}",
        )
    return known


def _others(frame: pl.DataFrame, symbol: str) -> str:
    names = frame["symbol"].unique().sort().to_list()
    near = get_close_matches(symbol.upper(), names, n=1)
    shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    question = f"did you mean {near[0]!r}? " if near else ""
    return f"{question}there are {len(names)} symbols: {shown}"


def document(explained: Explained) -> dict[str, object]:
    """The same as JSON knows it."""
    table = explained.explanation
    return {
        "symbol": explained.symbol,
        "rule": explained.rule.name,
        "title": explained.rule.title,
        "open_time": explained.open_time,
        "time": iso(explained.open_time + _MINUTE),
        "price": explained.price,
        "holds": table.holds,
        "clauses": [
            {
                "clause": clause.text,
                "part": clause.part,
                "left": clause.left,
                "operator": clause.operator,
                "right": clause.right,
                "held": clause.held,
            }
            for clause in table.clauses
        ],
        "not_ready": table.not_ready,
        "pending_minutes": explained.pending,
        "metrics": dict(explained.metrics),
    }


def print_explained(out: Console, explained: Explained) -> None:
    """A headline, the truth table, and what else keeps an alert from being raised."""
    rule, closed = explained.rule, explained.open_time + _MINUTE
    price = "-" if explained.price is None else whole(explained.price)
    headline = f"{rule.title}, {explained.symbol} at {minute(closed)} UTC, price {price}"
    print_lines(out, [Text(headline, style="bold"), *_table(explained)])
    if explained.pending:
        note = (
            f"  {explained.pending:,} of the newest 1,440 minutes are missing: a rule that looks "
            "back at one is silent (--gaps absent takes them for minutes without trade)"
        )
        print_lines(out, [Text(note)])


def _table(explained: Explained) -> Iterator[Text]:
    for line in str(explained.explanation).splitlines():
        text = Text(line)
        for mark, colour in _MARKS.items():
            text.highlight_regex(mark, colour)
        yield text
