"""A rule at one minute: its clauses with their margins, and what it would have taken to fire."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from screener.errors import RuleError
from screener.text import aligned, said, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from screener._core import Clause, Explanation, RuleSet

__all__ = ["ClauseMargin", "Margins", "Need", "margins"]

_MOST_ROUNDS: Final = 8
_NUDGES: Final = 4
_TIE: Final = 1e-9
_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, slots=True)
class ClauseMargin:
    """A clause of a rule, and how far it is from the point where it begins to hold.

    Attributes:
        clause: The condition, canonical.
        part: ``when`` or ``floor``.
        left: Left value of a comparison; None where it is not ready.
        operator: Operator of a comparison; None for any other condition.
        right: Right value.
        held: Whether it holds; None where that cannot be said.
        margin: left - right or right - left, in their unit: positive where it holds, negative
            where it fails. None for what is no comparison.
        share: The margin as a share of the larger of the two values, from -2 to 2; of an `or` that
            of its best part, of an `and` inside of it the worst.
    """

    clause: str
    part: Literal["when", "floor"]
    left: float | None
    operator: str | None
    right: float | None
    held: bool | None
    margin: float | None
    share: float | None


@dataclass(frozen=True, slots=True)
class Need:
    """A metric, and the value at which what fails would hold.

    Attributes:
        metric: The metric.
        value: What it is.
        needed: What it would have to be: the nearest such number.
    """

    metric: str
    value: float
    needed: float

    def __str__(self) -> str:
        """Such as `change_5m +0.08 % (1 instead of 0.92)`."""
        unit = " %" if self.metric.startswith(("change_", "range_")) else ""
        step = self.needed - self.value
        if abs(step) <= _TIE * max(abs(self.value), abs(self.needed), 1e-300):
            return (
                f"{self.metric} just {'above' if step > 0 else 'below'} {short(self.value)}{unit}"
            )
        needed, value = said(self.needed, self.value)
        sign = "+" if step > 0 else ""
        return f"{self.metric} {sign}{short(step)}{unit} ({needed} instead of {value})"


@dataclass(frozen=True, slots=True, repr=False)
class Margins:
    """A rule's truth table with margins; print it.

    Attributes:
        rule: The rule's name.
        holds: Whether it holds.
        clauses: Its conditions, those of `Rule.when` first.
        not_ready: Metrics that it needs and that are not ready.
        distance: The largest shortfall of a failing clause, as a share; 0 where it holds, None
            where a clause cannot be judged.
        needs: The metrics that would have to be others for the rule to hold, all at once: the
            nearest miss. Empty where it holds, and where no such values follow from the clauses:
            one fails that does not compare a multiple of a metric with a number or a multiple of
            another, or they contradict each other.
    """

    rule: str
    holds: bool
    clauses: tuple[ClauseMargin, ...]
    not_ready: tuple[str, ...]
    distance: float | None
    needs: tuple[Need, ...]

    @property
    def told(self) -> str:
        """The nearest miss in a sentence; empty where there is none to tell."""
        return f"would have fired with {' and '.join(map(str, self.needs))}" if self.needs else ""

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON knows it."""
        return {
            "rule": self.rule,
            "holds": self.holds,
            "clauses": [asdict(clause) for clause in self.clauses],
            "not_ready": list(self.not_ready),
            "distance": self.distance,
            "needs": [asdict(need) for need in self.needs],
            "told": self.told,
        }

    def __repr__(self) -> str:
        """The table."""
        return str(self)

    def __str__(self) -> str:
        """A line a clause, and the nearest miss."""
        return "\n".join(
            [f"{self.rule}: {'holds' if self.holds else 'does not hold'}", *self.lines()]
        )

    def lines(self) -> list[str]:
        """What is printed below the headline."""
        rows = [line.rstrip() for line in aligned(_HEAD, [_cells(one) for one in self.clauses])][1:]
        lines = [f"  {row}" for row in rows]
        if self.not_ready:
            lines.append(f"  not ready: {', '.join(self.not_ready)}")
        if self.told:
            lines.append(f"  {self.told}")
        return lines


_HEAD: Final = ("", "part", "clause", "values", "margin", "share")
_MARKS: Final = {True: "yes", False: "no", None: "?"}


def _cells(clause: ClauseMargin) -> tuple[str, ...]:
    values = ""
    if clause.operator is not None:
        texts = said(clause.left, clause.right)
        left, right = ("not ready" if text == "-" else text for text in texts)
        values = f"{left} {clause.operator} {right}"
    margin = "" if clause.margin is None else short(clause.margin)
    share = "" if clause.share is None else f"{clause.share:+.1%}"
    mark = _MARKS[clause.held]
    return mark, clause.part, clause.clause, values, _signed(margin), share


def _signed(text: str) -> str:
    return text if not text or text.startswith("-") or text == "0" else f"+{text}"


def margins(rules: RuleSet, rule: str, metrics: Mapping[str, float | None]) -> Margins:
    """Why a rule holds or does not, and by how much: `RuleSet.explain` with margins.

    Args:
        rules: The set.
        rule: The rule's name.
        metrics: As in `RuleSet.evaluate`: what `Engine.metrics` gives, or an alert's evidence.

    Returns:
        The clauses with their margins and the nearest miss; print it.

    Raises:
        DataError: The metrics are no mapping, or a value is no number.
        RuleError: There is no such rule.

    Example:
        >>> import screener
        >>> rules = screener.RuleSet.parse('''
        ...     [[rule]]
        ...     name = "jump"
        ...     timeframe = "5m"
        ...     when = "change_5m >= 1 and 2 * quote_volume_5m >= quote_volume_15m"
        ... ''')
        >>> seen = {"change_5m": 0.92, "quote_volume_5m": 4e5, "quote_volume_15m": 6e5}
        >>> print(screener.margins(rules, "jump", seen))
        jump: does not hold
          no   when  change_5m >= 1                           0.92 >= 1     -0.08   -8.0%
          yes  when  2 * quote_volume_5m >= quote_volume_15m  800k >= 600k  +200k   +25.0%
          would have fired with change_5m +0.08 % (1 instead of 0.92)
    """
    table = rules.explain(rule, metrics)
    values = {name: metrics.get(name) for name in rules[rule].metrics}
    clauses = tuple(_margin(clause, values) for clause in table.clauses)
    needs = () if table.holds or table.not_ready else _needs(rules, table, values)
    return Margins(
        rule, table.holds, clauses, tuple(table.not_ready), _distance(table.holds, clauses), needs
    )


def _distance(holds: bool, clauses: tuple[ClauseMargin, ...]) -> float | None:
    if any(clause.held is None or clause.share is None for clause in clauses):
        return None
    if holds:
        return 0.0
    return max((-(one.share or 0.0) for one in clauses if not one.held), default=None)


def _margin(clause: Clause, metrics: Mapping[str, float | None]) -> ClauseMargin:
    margin, share = _measured(clause, metrics)
    return ClauseMargin(
        clause.text,
        clause.part,
        clause.left,
        clause.operator,
        clause.right,
        clause.held,
        margin,
        share,
    )


def _measured(
    clause: Clause, metrics: Mapping[str, float | None]
) -> tuple[float | None, float | None]:
    import numpy as np

    from screener.near import clauses

    if clause.held is None:
        return None, None
    if clause.operator is not None:  # the engine has its two values
        tree = clauses.read(f"left {clause.operator} right")
        row = {"left": np.float64(clause.left), "right": np.float64(clause.right)}
    else:
        try:
            tree = clauses.read(clause.text)
        except RuleError:
            return None, None
        row = {name: np.float64("nan" if v is None else v) for name, v in metrics.items()}
    arrays = {name: np.asarray(value) for name, value in row.items()}
    return _known(clauses.margin(tree, arrays)), _known(clauses.share(tree, arrays))


def _known(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)


# -- the nearest miss ----------------------------------------------------------------------------


def _needs(
    rules: RuleSet, table: Explanation, metrics: Mapping[str, float | None]
) -> tuple[Need, ...]:
    """Values at which every clause holds, found clause by clause and tried on the rule itself."""
    values = dict(metrics)
    for _ in range(_MOST_ROUNDS):
        for clause in table.clauses:
            if clause.held:
                continue
            found = _solved(clause, values)
            if found is None:
                return ()
            values |= found
        table = rules.explain(table.rule, values)
        if table.holds:
            return tuple(
                Need(name, was, needed)
                for name, was in metrics.items()
                if was is not None and (needed := values[name]) is not None and needed != was
            )
    return ()


def _solved(clause: Clause, values: Mapping[str, float | None]) -> dict[str, float] | None:
    """The metric of a failing clause with a value at which it holds; None if that is unknown."""
    from screener.near.clauses import multiples, read

    try:
        sides = multiples(read(clause.text))
    except RuleError:
        return None
    if sides is None:
        return None
    left, sign, right = sides
    if left.metric == right.metric:
        return None
    holds = _OPERATORS[sign]
    mine, other = (left, right) if left.metric is not None else (right, left)
    fixed = other.factor if other.metric is None else _times(other.factor, values[other.metric])
    if mine.metric is None or fixed is None or mine.factor == 0:
        return None

    def is_held(value: float) -> bool:
        ends = mine.factor * value, fixed
        return holds(*ends) if mine is left else holds(*ends[::-1])

    now = values[mine.metric]
    if now is not None and is_held(now):  # what an earlier clause asked for is enough
        return {}
    needed = _nearest(fixed / mine.factor, is_held)
    return None if needed is None else {mine.metric: needed}


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _nearest(value: float, is_held: Callable[[float], bool]) -> float | None:
    """The number next to a value, or itself, at which a comparison holds."""
    below = above = value
    for _ in range(_NUDGES):
        for candidate in (below, above):
            if math.isfinite(candidate) and is_held(candidate):
                return candidate
        below, above = math.nextafter(below, -math.inf), math.nextafter(above, math.inf)
    return None
