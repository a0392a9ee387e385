"""What a comparison of live and replay tells, as text, as a frame and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from screener.history.times import iso
from screener.quality import utc
from screener.text import aligned, many

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

__all__ = ["Cause", "Difference", "Drift"]

Cause: TypeAlias = Literal[
    "late",
    "corrected",
    "pending",
    "rule changed",
    "cooldown",
    "outside",
    "unsettled",
    "unknown",
]
"""Why live and replay differ: what `help(screener.Drift)` says of each."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An alert that is not the same on both sides, and why.

    Attributes:
        symbol: The symbol.
        rule: The rule.
        triggered_at: Close of the judged minute, ms.
        against: ``journal``: what was raised against a replay of what arrived, in its order.
            ``final``: that replay against one of the minutes as they are now.
        live: Whether the first side has the alert.
        replay: Whether the other has it; where both have, their values differ.
        cause: Why.
        detail: The same in words: which minute, which version, which value.
    """

    symbol: str
    rule: str
    triggered_at: int
    against: Literal["journal", "final"]
    live: bool
    replay: bool
    cause: Cause
    detail: str

    @property
    def what(self) -> str:
        """The difference in a few words."""
        if self.against == "final":
            return "live only" if self.live else "over the final minutes only"
        if self.live and self.replay:
            return "other values"
        return "raised, not replayed" if self.live else "replayed, not raised"


@dataclass(frozen=True, slots=True, repr=False)
class Drift:
    """Whether live did what a replay does; print it. Times are ms, UTC.

    Causes are ``late`` (a minute came when a newer one or the alert's own had been judged),
    ``corrected`` (a version came later), ``pending`` (a minute was missing, and found later to be
    absent at the source), ``rule changed`` (another version of the rule was in force, or it was
    switched off), ``cooldown`` (an earlier difference of the symbol and rule shifts it),
    ``outside`` (it needs minutes or alerts the database no longer has), ``unsettled`` (within the
    last minute of arrivals: it may not be stored yet) and ``unknown``: a fault.

    Attributes:
        start: The first moment whose minutes are compared.
        end: The first that is not; None is all there is.
        kept_from: The oldest minute that the database still has.
        symbols: How many symbols were looked at.
        versions: Versions of minutes that arrived and were judged in the range.
        raised: Alerts that are stored.
        replayed: Alerts a replay of what arrived raises.
        final: Alerts a replay of the final minutes raises.
        differences: Each difference of both comparisons, by time.
    """

    start: int
    end: int | None
    kept_from: int
    symbols: int
    versions: int
    raised: int
    replayed: int
    final: int
    differences: tuple[Difference, ...]

    @property
    def faults(self) -> tuple[Difference, ...]:
        """Those that nothing explains."""
        return tuple(one for one in self.differences if one.cause == "unknown")

    def of(self, against: Literal["journal", "final"]) -> tuple[Difference, ...]:
        """The differences of one comparison."""
        return tuple(one for one in self.differences if one.against == against)

    @property
    def frame(self) -> pl.DataFrame:
        """A row a difference, columns as the fields of `Difference`."""
        import polars as pl

        schema = dict.fromkeys(Difference.__dataclass_fields__, pl.String()) | {
            "triggered_at": pl.Int64(),
            "live": pl.Boolean(),
            "replay": pl.Boolean(),
        }
        return pl.DataFrame([asdict(one) for one in self.differences], schema=schema)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON knows it."""
        plain = ("start", "end", "kept_from", "symbols", "versions", "raised", "replayed", "final")
        told = (
            {**asdict(one), "time": iso(one.triggered_at), "what": one.what}
            for one in self.differences
        )
        return {
            **{name: getattr(self, name) for name in plain},
            "faults": len(self.faults),
            "differences": list(told),
        }

    def __repr__(self) -> str:
        """A line."""
        return (
            f"<Drift: {self.raised:,} alerts raised, {len(self.differences):,} differences, "
            f"{len(self.faults):,} unexplained>"
        )

    def __str__(self) -> str:
        """What was compared, a line a difference, and the verdict."""
        return "\n".join([*_headline(self), *_table(self.differences), *_verdict(self)])


_HEAD: Final = ("time (UTC)", "symbol", "rule", "what", "cause", "detail")


def _headline(drift: Drift) -> Iterator[str]:
    end = "the newest" if drift.end is None else utc(drift.end)
    yield (
        f"{utc(drift.start)} to {end} (UTC): {many(drift.symbols, 'symbol')}, "
        f"{many(drift.versions, 'version')} of minutes judged"
    )
    yield (
        f"raised {drift.raised:,} alerts; a replay of what arrived raises {drift.replayed:,}, "
        f"of the final minutes {drift.final:,}"
    )
    if drift.kept_from > drift.start:
        yield f"kept are minutes from {utc(drift.kept_from)} on: nothing before can be compared"


def _table(differences: Sequence[Difference]) -> Iterator[str]:
    if not differences:
        return
    rows = [
        (utc(one.triggered_at), one.symbol, one.rule, one.what, one.cause, one.detail)
        for one in differences
    ]
    yield from ("", *aligned(_HEAD, rows), "")


def _verdict(drift: Drift) -> Iterator[str]:
    for against, sides in (
        ("journal", "raised and replayed as it arrived"),
        ("final", "as it arrived and over the final minutes"),
    ):
        counts = Counter(one.cause for one in drift.differences if one.against == against)
        told = ", ".join(f"{count:,} {cause}" for cause, count in counts.most_common())
        yield f"{sides}: {told or 'the same'}"
