"""Clauses as numbers: whether each holds and by how much, for one row of metrics or for a million.

A clause's canonical text is an expression of Python's grammar but for what a metric was
(`change_5m[15m]`), so Python's own parser reads it; its meaning is SPEC section 5's: what is not
ready or not finite makes a clause undefined, which is NaN here. What is asked of all symbols
(`rank(change_5m)`) is a number of its name like any metric. Pure.
"""

from __future__ import annotations

import ast
import operator
import re
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from screener.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = ["Floats", "Multiple", "margin", "multiples", "read", "share", "truth"]

Floats: TypeAlias = "NDArray[np.float64]"

_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Floats, Floats], Floats]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARE: Final[dict[type[ast.cmpop], Callable[[Floats, Floats], NDArray[np.bool_]]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_EXTREMES: Final[dict[str, np.ufunc]] = {"min": np.minimum, "max": np.maximum}
_TERM: Final = re.compile(r"\b(?:rank|pct_rank|breadth|vs)\(|\w+\[\w+\]")
_BRACKET: Final = re.compile(r'"[^"]*"|[()]')


@lru_cache(maxsize=1024)
def read(text: str) -> ast.expr:
    """A clause as a tree.

    Raises:
        RuleError: It has something in it whose margin nobody can tell.
    """
    plain, terms = _plain(text)
    try:
        tree = ast.parse(plain, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise _unreadable(text) from error
    for node in ast.walk(tree):
        if not _is_known(node):
            raise _unreadable(text)
        if isinstance(node, ast.Name):
            node.id = terms.get(node.id, node.id)
    return tree


def _plain(text: str) -> tuple[str, dict[str, str]]:
    """The text with a word in place of each term that is more than a word; the terms by word."""
    pieces: list[str] = []
    terms: dict[str, str] = {}
    at = 0
    while (found := _TERM.search(text, at)) is not None:
        end = _closing(text, found.end()) if found[0].endswith("(") else found.end()
        if end is None:
            break
        word = f"term_{len(terms)}_of_clause"
        terms[word] = text[found.start() : end]
        pieces += (text[at : found.start()], word)
        at = end
    return "".join([*pieces, text[at:]]), terms


def _closing(text: str, at: int) -> int | None:
    """Behind the bracket that closes the one that ends at a place, if one does."""
    depth = 1
    for found in _BRACKET.finditer(text, at):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if not depth:
            return found.end()
    return None


def _is_known(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name in {"abs", "min", "max", "default"}
        case ast.Constant(value=value):
            return isinstance(value, (int, float))
        case ast.Compare(ops=ops):
            return len(ops) == 1 and type(ops[0]) in _COMPARE
        case ast.BinOp(op=op):
            return type(op) in _ARITHMETIC
        case ast.UnaryOp(op=op):
            return isinstance(op, (ast.USub, ast.Not))
    return isinstance(node, (ast.BoolOp, ast.Name, ast.boolop, ast.operator, ast.unaryop, ast.cmpop,
                             ast.expr_context))  # fmt: skip


def _unreadable(text: str) -> RuleError:
    return RuleError(
        reason=f"margins cannot be told of the clause {text!r}",
        suggestion="RuleSet.explain tells whether it holds",
    )


def truth(tree: ast.expr, metrics: Mapping[str, Floats]) -> Floats:
    """Whether a clause holds: 1, 0, or NaN where that cannot be said.

    Args:
        tree: The clause.
        metrics: Values by name, NaN where they are not ready.
    """
    match tree:
        case ast.Compare():
            left, right = _sides(tree, metrics)
            holds = _COMPARE[type(tree.ops[0])](left, right).astype(np.float64)
            return np.where(np.isnan(left) | np.isnan(right), np.nan, holds)
        case ast.BoolOp(op=op, values=values):
            fold = np.minimum if isinstance(op, ast.And) else np.maximum
            return reduce(fold, (truth(part, metrics) for part in values))
        case ast.UnaryOp(operand=operand):
            return 1.0 - truth(operand, metrics)
    raise _unreadable(ast.unparse(tree))


def margin(tree: ast.expr, metrics: Mapping[str, Floats]) -> Floats:
    """How far a comparison is from the point where it begins to hold, in the unit of its sides.

    Positive where it holds, negative where it fails, 0 at the point itself; NaN for any other
    condition and where it cannot be said.
    """
    if not isinstance(tree, ast.Compare):
        return np.full_like(truth(tree, metrics), np.nan)
    left, right = _sides(tree, metrics)
    with np.errstate(all="ignore"):
        match tree.ops[0]:
            case ast.Lt() | ast.LtE():
                return _finite(right - left)
            case ast.Gt() | ast.GtE():
                return _finite(left - right)
            case ast.Eq():
                return _finite(-abs(left - right))
    return _finite(abs(left - right))


def share(tree: ast.expr, metrics: Mapping[str, Floats]) -> Floats:
    """The margin as a share of the larger of the two sides: of any condition, from -2 to 2.

    An `and` has the least of its parts, an `or` the greatest, a `not` the opposite.
    """
    match tree:
        case ast.Compare():
            left, right = _sides(tree, metrics)
            size = np.maximum(abs(left), abs(right))
            with np.errstate(all="ignore"):
                # Halves, so that the difference of the largest numbers is one, too.
                halves = {"left": left / 2, "right": right / 2}
                half = margin(_HALVES[type(tree.ops[0])], halves)
                return np.where(size == 0, 0.0, half / size * 2)
        case ast.BoolOp(op=op, values=values):
            fold = np.minimum if isinstance(op, ast.And) else np.maximum
            return reduce(fold, (share(part, metrics) for part in values))
        case ast.UnaryOp(operand=operand):
            return -share(operand, metrics)
    raise _unreadable(ast.unparse(tree))


_HALVES: Final = {
    type(tree.ops[0]): tree
    for sign in ("<", "<=", ">", ">=", "==", "!=")
    if isinstance(tree := ast.parse(f"left {sign} right", mode="eval").body, ast.Compare)
}


def _sides(tree: ast.Compare, metrics: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    return _value(tree.left, metrics), _value(tree.comparators[0], metrics)


def _value(tree: ast.expr, metrics: Mapping[str, Floats]) -> Floats:
    match tree:
        case ast.Constant(value=value):
            return np.asarray(value, dtype=np.float64)
        case ast.Name(id=name):
            return metrics[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, metrics)
        case ast.BinOp(left=left, op=op, right=right):
            with np.errstate(all="ignore"):
                made = _ARITHMETIC[type(op)](_value(left, metrics), _value(right, metrics))
            return _finite(made)
        case ast.Call(func=ast.Name(id="default"), args=[ast.Name(id=name), instead]):
            known = metrics[name]
            return np.where(np.isnan(known), _value(instead, metrics), known)
        case ast.Call(func=ast.Name(id="abs"), args=[inside]):
            return abs(_value(inside, metrics))
        case ast.Call(func=ast.Name(id=name), args=parts) if name in _EXTREMES:
            made = reduce(_EXTREMES[name], (_value(part, metrics) for part in parts))
            return np.asarray(made, dtype=np.float64)
    raise _unreadable(ast.unparse(tree))


def _finite(value: Floats) -> Floats:
    return np.where(np.isfinite(value), value, np.nan)


@dataclass(frozen=True, slots=True)
class Multiple:
    """A side of a comparison that is a number times one metric, or a number alone.

    Attributes:
        factor: The number.
        metric: The metric, if there is one.
    """

    factor: float
    metric: str | None


def multiples(tree: ast.expr) -> tuple[Multiple, str, Multiple] | None:
    """A clause that compares two multiples, as (left, operator, right); None for any other."""
    if not isinstance(tree, ast.Compare):
        return None
    left, right = _multiple(tree.left), _multiple(tree.comparators[0])
    if left is None or right is None:
        return None
    signs = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
    return left, signs[type(tree.ops[0])], right


def _multiple(tree: ast.expr) -> Multiple | None:
    match tree:
        case ast.Constant(value=value) if isinstance(value, (int, float)):
            return Multiple(float(value), None)
        case ast.Name(id=name):
            return Multiple(1.0, name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _multiple(operand)
            return None if inner is None else Multiple(-inner.factor, inner.metric)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            one, other = _multiple(left), _multiple(right)
            if one is not None and other is not None and None in (one.metric, other.metric):
                return Multiple(one.factor * other.factor, one.metric or other.metric)
    return None
