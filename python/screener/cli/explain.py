"""A rule's truth table at a minute of the past, and the moments at which rules came nearest."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rich.text import Text

from screener._core import Engine
from screener.cli.inputs import read, read_of, wrong_usage
from screener.cli.minutes import HeldMinutes, kept_minutes
from screener.cli.output import iso, minute, print_lines, status, whole
from screener.errors import DataError
from screener.near import margins, near_misses
from screener.preview.sources import joined
from screener.reach import is_indicator, reach

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import polars as pl
    from rich.console import Console

    from screener._core import Rule, RuleSet
    from screener.cli.inputs import Filling
    from screener.cli.minutes import Minutes
    from screener.near import Margins, NearMisses
    from screener.types import Gaps

__all__ = ["Asked", "Explained", "document", "explain", "explained", "nearest", "print_explained"]

_MINUTE = 60_000
_GRACE = 5_000
_WARM = 120
_MOST_NAMES = 10
_MARKS = {r"^  yes": "green", r"^  no": "red", r"^  \?": "yellow"}


@dataclass(frozen=True, slots=True)
class Explained:
    """What a rule saw of a symbol.

    Attributes:
        symbol: The symbol.
        rule: The rule, as it is for the symbol.
        open_time: The newest minute it saw, ms.
        explanation: The truth table, with margins.
        metrics: The metrics the rule names.
        price: Last close.
        pending: Minutes among the newest 1440 that are missing and may still come.
    """

    symbol: str
    rule: Rule
    open_time: int
    explanation: Margins
    metrics: Mapping[str, float | None]
    price: float | None
    pending: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose minutes are explained, by which rules, and where the minutes are.

    Attributes:
        symbol: The symbol; None is all.
        rules: The rules.
        rule: The one that is meant; None is all.
        files: Files of candles.
        demo: Whether the made-up market is meant.
        quote_volume: How a missing quote volume is filled.
        store: The local store, where it is meant.
        database: The daemons' database, where it is meant.
    """

    symbol: str | None
    rules: RuleSet
    rule: str | None
    files: list[str]
    demo: bool
    quote_volume: Filling
    store: Path | None
    database: Path | None

    def minutes(self, *, alone: bool) -> Minutes:
        """The minutes that are meant: read a symbol at a time, or held already.

        Args:
            alone: Whether those of other symbols are left out of what is held.
        """
        names = None if self.symbol is None else [self.symbol]
        given = {
            "files": bool(self.files),
            "--demo": self.demo,
            "--store": self.store,
            "--database": self.database,
        }
        named = [name for name, value in given.items() if value]
        if len(named) > 1:
            raise wrong_usage(f"give {named[0]} or {named[1]}, not both")
        if self.store is not None or self.database is not None:
            return kept_minutes(self.store, self.database, names)
        if self.symbol is None:
            frame = read(self.files, demo=self.demo, symbol=None, quote_volume=self.quote_volume)
        else:
            frame = read_of(self.symbol, self.files, demo=self.demo, quote_volume=self.quote_volume)
        return HeldMinutes(frame, names if alone else None)


def explained(asked: Asked, at: int | None, gaps: Gaps) -> Explained:
    """What the rule saw of the symbol; both have to be given."""
    if asked.symbol is None or asked.rule is None:
        raise wrong_usage("--symbol and --rule say what is explained; --near needs neither")
    rule = asked.rules[asked.rule].for_symbol(asked.symbol)
    if rule.among_all:
        frame = _of_all(asked, rule, at)
    else:
        minutes = asked.minutes(alone=False)  # an error tells what other symbols there are
        frame = next(iter(minutes.frames(None, None if at is None else at + _MINUTE)))
    return explain(frame, asked.rules, symbol=asked.symbol, rule=rule, at=at, gaps=gaps)


def _of_all(asked: Asked, rule: Rule, at: int | None) -> pl.DataFrame:
    """The minutes of all symbols that a rule looks at, of which what is kept is read no further."""
    is_kept = asked.store is not None or asked.database is not None
    if not is_kept:
        return next(iter(asked.minutes(alone=False).frames(None, None)))
    asked.minutes(alone=True)  # an error tells what other symbols there are
    minutes = replace(asked, symbol=None).minutes(alone=False)
    newest = minutes.newest() if at is None else at
    start = None
    if newest is not None and not any(map(is_indicator, rule.metrics)):
        start = newest - (reach(rule.metrics) + _WARM) * _MINUTE
    return joined(minutes.frames(start, None if at is None else at + _MINUTE))


def nearest(
    asked: Asked, start: int | None, end: int | None, last: int | None, limit: int, gaps: Gaps
) -> NearMisses:
    """The moments at which rules came nearest without firing."""
    if last is not None and start is not None:
        raise wrong_usage("--last says when it begins: give no --start with it")
    only = None if asked.rule is None else [asked.rules[asked.rule].name]
    minutes = asked.minutes(alone=True)
    if last is not None:
        newest = minutes.newest() if end is None else end - _MINUTE
        start = None if newest is None else newest + _MINUTE - last
    with status("looking") as shown:
        return near_misses(
            minutes.frames(start, end),
            asked.rules,
            start,
            end,
            limit,
            only=only,
            gaps=gaps,
            on_symbol=lambda name: shown.update(f"looking at {name}"),
        )


def explain(
    frame: pl.DataFrame, rules: RuleSet, *, symbol: str, rule: Rule, at: int | None, gaps: Gaps
) -> Explained:
    """What `rule` saw of `symbol` when only the rows known at `at` (ms) had come.

    Args:
        frame: The symbol's minutes; those of all, where the rule asks something of all symbols.
        rules: The set.
        symbol: The symbol.
        rule: The rule, as it is for the symbol.
        at: Rows that were known later are left out, ms; by default none are.
        gaps: As in `screener.replay`.
    """
    import polars as pl

    engine = Engine(rules, gaps=gaps)
    known = _known(frame, symbol, at)
    engine.warm_up(frame.filter(_known_by(frame, at)) if rule.among_all else known)
    if rule.among_all:  # the newest minute is judged, whoever has not closed it
        engine.advance(known.select(pl.col("open_time").max()).item() + _MINUTE + _GRACE)
    metrics, held = engine.metrics(symbol), engine.candles(symbol)
    return Explained(
        symbol=symbol,
        rule=rule,
        open_time=held["open_time"][-1],
        explanation=margins(rules, rule.name, metrics, symbol=symbol),
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
    known = rows.filter(_known_by(rows, at))
    if known.is_empty():
        first = rows.select(_known_at(rows).min()).item()
        raise DataError(
            reason=f"no candle of {symbol!r} had closed at {minute(at)}",
            remedy=f"the first closes at {minute(first)}",
        )
    return known


def _known_at(rows: pl.DataFrame) -> pl.Expr:
    """When each row had come."""
    import polars as pl

    closes = pl.col("open_time") + _MINUTE
    return pl.coalesce("event_time", closes) if "event_time" in rows.columns else closes


def _known_by(rows: pl.DataFrame, at: int | None) -> pl.Expr:
    """Whether each row had come by then."""
    import polars as pl

    return pl.lit(value=True) if at is None else _known_at(rows) <= at


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
        "clauses": [asdict(clause) for clause in table.clauses],
        "not_ready": list(table.not_ready),
        "distance": table.distance,
        "needs": [asdict(need) for need in table.needs],
        "told": table.told,
        "pending_minutes": explained.pending,
        "enabled": explained.rule.enabled,
        "metrics": dict(explained.metrics),
    }


def print_explained(out: Console, explained: Explained) -> None:
    """A headline, the truth table, and what else keeps an alert from being raised."""
    rule, closed = explained.rule, explained.open_time + _MINUTE
    price = "-" if explained.price is None else whole(explained.price)
    headline = f"{rule.title}, {explained.symbol} at {minute(closed)} UTC, price {price}"
    print_lines(out, [Text(headline, style="bold"), *_table(explained)])
    if not rule.enabled:
        note = f"  it is off for {explained.symbol} (enabled = false): it is never told"
        print_lines(out, [Text(note)])
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
