"""The language of rules: what it means, what it refuses and where, how it prints itself.

Expressions of the language are expressions of Python too, so Python's own parser is the oracle:
`Oracle` walks `ast.parse(text)` by SPEC 5 and knows nothing of the compiler it judges.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import operator
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import screener
from profile_scale import examples
from screener import RuleError, RuleSet
from screener._core import preset

METRICS: dict[str, float | None] = {
    "price": 10.0,
    "change_5m": 0.0,
    "change_1h": -3.0,
    "volume_5m": 2.5,
    "up_streak": 4,
    "rsi_1h": None,
}


def toml(when: str, **fields: str) -> str:
    """A rule called `r` as TOML; `when` stands in line 4, its first character in column 9."""
    lines = ["[[rule]]", 'name = "r"', 'timeframe = "5m"', f"when = {quoted(when)}"]
    return "\n".join([*lines, *(f"{key} = {quoted(text)}" for key, text in fields.items()), ""])


def quoted(text: str) -> str:
    """A basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def rules(when: str, **fields: str) -> RuleSet:
    return RuleSet.parse(toml(when, **fields))


def holds(when: str, metrics: Mapping[str, float | None] = METRICS) -> bool:
    return rules(when).evaluate(metrics) == ["r"]


def refused(text: str) -> RuleError:
    with pytest.raises(RuleError) as caught:
        RuleSet.parse(text)
    assert type(caught.value) is RuleError
    return caught.value


# -- the oracle

ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[float, float], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}
FUNCTIONS: dict[str, Callable[..., float]] = {"abs": abs, "min": min, "max": max}


class Oracle:
    """What an expression is worth for a mapping of metrics; `None` where SPEC 5 lets nothing hold.

    Nothing is skipped: a part that is undefined leaves the whole undefined, whatever stands beside
    it.
    """

    def __init__(self, text: str, metrics: Mapping[str, float | None]) -> None:
        """Read `text` with Python's parser."""
        self.tree = ast.parse(text.strip(), mode="eval").body
        self.metrics = metrics

    def holds(self) -> bool:
        """Whether a rule of this expression holds."""
        return self.value(self.tree) is True

    def value(self, node: ast.expr) -> Any:
        """A float, a bool, or `None`."""
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name):
                return self.metrics.get(alias(name))
            case ast.Call(func=ast.Name(id="default"), args=[ast.Name(id=name), instead]):
                found = self.metrics.get(alias(name))
                return self.value(instead) if found is None else found
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return self._strictly(FUNCTIONS[function], *arguments)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return self._strictly(operator.neg, inner)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return self._strictly(operator.not_, inner)
            case ast.BinOp(left=left, op=op, right=right):
                return self._strictly(ARITHMETIC[type(op)], left, right)
            case ast.BoolOp(op=op, values=parts):
                join = all if isinstance(op, ast.And) else any
                return self._strictly(lambda *truths: join(truths), *parts)
            case ast.Compare(ops=[op]):
                return self._strictly(COMPARISONS[type(op)][1], node.left, *node.comparators)
            case ast.Compare():
                return self._strictly(lambda *truths: all(truths), *links(node))
        raise AssertionError(ast.dump(node))

    def compared(self, node: ast.Compare) -> tuple[float | None, str, float | None]:
        """The two sides of a comparison that is no chain."""
        symbol = COMPARISONS[type(node.ops[0])][0]
        return self.value(node.left), symbol, self.value(node.comparators[0])

    def needed(self) -> list[str]:
        """Metrics named outside of `default()`, in order, each once."""
        found: list[str] = []

        def walk(node: ast.AST) -> None:
            if isinstance(node, ast.Call):
                assert isinstance(node.func, ast.Name)
                if node.func.id != "default":
                    for argument in node.args:
                        walk(argument)
            elif isinstance(node, ast.Name):
                found.append(alias(node.id))
            elif isinstance(node, ast.Compare):
                for child in (node.left, *node.comparators):
                    walk(child)
            else:
                for child_node in ast.iter_child_nodes(node):
                    walk(child_node)

        walk(self.tree)
        return list(dict.fromkeys(found))

    def clauses(self, node: ast.expr | None = None) -> list[ast.expr]:
        """The conditions that all have to hold."""
        node = self.tree if node is None else node
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
            return [clause for part in node.values for clause in self.clauses(part)]
        return links(node) if isinstance(node, ast.Compare) else [node]

    def _strictly(self, function: Callable[..., Any], *parts: ast.expr) -> Any:
        found = [self.value(part) for part in parts]
        if any(value is None for value in found):
            return None
        try:
            result = function(*found)
        except ZeroDivisionError:
            return None
        return result if math.isfinite(result) else None


def links(node: ast.Compare) -> list[ast.expr]:
    """A chain as the comparisons it stands for."""
    sides = [node.left, *node.comparators]
    return [
        ast.Compare(left, [op], [right])
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
    ]


def alias(name: str) -> str:
    return {"change_60m": "change_1h", "volume_0005m": "volume_5m", "rsi_60m": "rsi_1h"}.get(
        name, name
    )


# -- expressions at random

NUMBERS = ["0", "1", "2", "10", "0.5", ".25", "3.", "1_000", "2e3", "1E-3", "4e+2", "7.25e1"]
NAMES = [*METRICS, "change_60m", "volume_0005m", "rsi_60m"]
spaces = st.sampled_from([" ", " ", " ", "", "  ", "\n", "\t", " \n  "])


@st.composite
def number(draw: st.DrawFn, depth: int) -> str:
    """Text whose value is a number."""
    kinds = ["number", "metric", "metric", "default"]
    if depth:
        kinds += ["parentheses", "minus", "arithmetic", "arithmetic", "abs", "pick"]
    part = number(depth - 1) if depth else st.nothing()
    match draw(st.sampled_from(kinds)):
        case "number":
            return draw(st.sampled_from(NUMBERS))
        case "metric":
            return draw(st.sampled_from(NAMES))
        case "default":
            sign = draw(st.sampled_from(["", "-"]))
            name, instead = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NUMBERS))
            return f"default({name},{draw(spaces)}{sign}{instead})"
        case "parentheses":
            return f"({draw(spaces)}{draw(part)}{draw(spaces)})"
        case "minus":
            return f"-{draw(spaces)}{draw(part)}"
        case "abs":
            return f"abs({draw(part)})"
        case "pick":
            parts = draw(st.lists(part, min_size=2, max_size=4))
            return f"{draw(st.sampled_from(['min', 'max']))}({', '.join(parts)})"
        case _:
            symbol = draw(st.sampled_from("+-*/"))
            return f"{draw(part)}{draw(spaces)}{symbol}{draw(spaces)}{draw(part)}"


@st.composite
def condition(draw: st.DrawFn, depth: int = 3) -> str:
    """Text whose value is a truth."""
    kinds = ["compare", "compare", "chain"]
    if depth:
        kinds += ["not", "and", "or", "parentheses"]
    term = number(max(depth - 1, 0))
    symbol = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    match draw(st.sampled_from(kinds)):
        case "not":
            return f"not {draw(condition(depth - 1))}"
        case "parentheses":
            return f"({draw(condition(depth - 1))})"
        case "and" | "or" as word:
            parts = draw(st.lists(condition(depth - 1), min_size=2, max_size=3))
            return f" {word} ".join(parts)
        case kind:
            text = draw(term)
            for _ in range(1 if kind == "compare" else draw(st.integers(2, 3))):
                text += f"{draw(spaces)}{draw(symbol)}{draw(spaces)}{draw(term)}"
            return text


values = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 10.0, 1000.0, 1e30, -1e30, 1e-30]),
    st.integers(-5, 5).map(float),
    st.floats(-1e30, 1e30, allow_nan=False),
)
mappings = st.fixed_dictionaries(dict.fromkeys(METRICS, values))


def python(text: str) -> str:
    """The text as Python would read it: in parentheses, where line ends are spaces."""
    return f"({text}\n)"


@examples(600)
@given(text=condition(), metrics=st.lists(mappings, min_size=1, max_size=4))
@example(text="price / 0 > 1 or price > 0", metrics=[METRICS])
@example(text="not rsi_1h > 0", metrics=[METRICS])
@example(text="not price < 5 < 2 and price > 0", metrics=[METRICS])
@example(text="default(rsi_1h, -1) - -price * 2 >= 19 == 19", metrics=[METRICS])
def test_it_means_what_python_reads(text: str, metrics: list[dict[str, float | None]]) -> None:
    """Evaluation, the truth table and the canonical text, against Python's parser."""
    assume(any(name in text for name in METRICS) or "_" in text)
    try:
        parsed = rules(text)
    except RuleError as error:
        assert "names no metric" in error.reason  # noqa: PT017 - only some texts are refused
        return
    canonical = parsed["r"].when
    again = rules(canonical)
    assert again == parsed
    assert again["r"].when == canonical
    assert again["r"].version == parsed["r"].version
    assert RuleSet.parse(parsed.to_toml()) == parsed
    for mapping in metrics:
        oracle = Oracle(python(text), mapping)
        assert parsed.evaluate(mapping) == (["r"] if oracle.holds() else [])
        assert Oracle(python(canonical), mapping).holds() == oracle.holds()
        table = parsed.explain("r", mapping)
        assert table.holds == oracle.holds()
        assert table.not_ready == [name for name in oracle.needed() if mapping[name] is None]
        clauses = oracle.clauses()
        assert len(table.clauses) == len(clauses)
        for found, clause in zip(table.clauses, clauses, strict=True):
            if isinstance(clause, ast.Compare):
                left, symbol, right = oracle.compared(clause)
                assert (found.left, found.operator, found.right) == (left, symbol, right)
                expected = None if None in (left, right) else COMPARISONS[type(clause.ops[0])][1]
                assert found.held == (expected and expected(left or 0.0, right or 0.0))
            else:
                assert (found.left, found.operator, found.right) == (None, None, None)
                assert found.held == oracle.value(clause)


# -- what it means, by example


@pytest.mark.parametrize(
    "when",
    [
        "price - 3 - 2 == 5",
        "price / 5 / 2 == 1",
        "price - 3 * 2 == 4",
        "price + 8 / 4 == 12",
        "(price + 8) / 4 == 4.5",
        "-price * 2 == -20",
        "-price + 2 == -8",
        "2 - -price == 12",
        "- - price == 10",
        "-(-price) == 10",
        "price * -1 == -10",
        "price * 2 + volume_5m * 4 == 30",
        "price + 1 > 10.5 and volume_5m < price - 7",
        "price > 1 or price > 100 and price > 200",
        "not (price < 1 or price > 100 or not price > 1)",
        "not price < 1 and price > 1",
        "not price > 100 or price > 100",
        "not not price > 1",
        "NOT price < 1 AND volume_5m > 0",
        "1 < volume_5m < price < 11",
        "1 < price == 10 != 9",
        "10 == price > 9 >= 9",
        "not 1 < price < 5",
        "abs(change_1h) == 3",
        "abs(-3) == abs(change_1h)",
        "min(price, 3, volume_5m) == 2.5",
        "max(price, 3, volume_5m) == 10",
        "max(min(price, 4), min(3, 2)) == 4",
        "min(-1, change_1h) == -3 and max(-1, change_1h) == -1",
        "default(rsi_1h, 50) == 50",
        "default(rsi_1h, -5.5) == -5.5",
        "default(price, 50) == 10",
        "default(change_5m, 50) == 0",
        "default(rsi_1h, 50) + price == 60",
        "abs(default(rsi_1h, -1)) == 1",
        "change_60m == change_1h",
        "up_streak >= 4 and up_streak < 5",
        "1_0.0_0 == price",
        "price == 1e1 and price == 1E+1 and price == 100e-1",
        "price\n>\t9\r\nand\u00a0price < 11",
    ],
)
def test_it_holds(when: str) -> None:
    assert holds(when)
    as_python = when.replace("NOT", "not").replace("AND", "and").replace("\u00a0", " ")
    assert Oracle(python(as_python), METRICS).holds()


@pytest.mark.parametrize(
    ("when", "canonical"),
    [
        ("change_60m>1", "change_1h > 1"),
        ("change_24h>1", "change_1d > 1"),
        ("change_0240m > 1", "change_4h > 1"),
        ("change_90m > 1", "change_90m > 1"),
        ("((price))>(1)", "price > 1"),
        ("(price > 1) and (price > 2)", "price > 1 and price > 2"),
        ("(price > 1 and price > 2) and price > 3", "(price > 1 and price > 2) and price > 3"),
        ("(price > 1 or price > 2) and price > 3", "(price > 1 or price > 2) and price > 3"),
        ("price > 1 or (price > 2 and price > 3)", "price > 1 or price > 2 and price > 3"),
        ("1 < price <= 3", "1 < price and price <= 3"),
        ("not (1 < price < 3)", "not (1 < price and price < 3)"),
        ("not (price > 1)", "not price > 1"),
        ("price - (2 - 1) > 0", "price - (2 - 1) > 0"),
        ("(price - 2) - 1 > 0", "price - 2 - 1 > 0"),
        ("price / (2 * 1) > 0", "price / (2 * 1) > 0"),
        ("-(price + 1) < 0", "-(price + 1) < 0"),
        ("-(-3) < price", "3 < price"),
        ("price > 500e3", "price > 500000"),
        ("price > 1_000.50", "price > 1000.5"),
        ("price > 1e-7", "price > 1e-7"),
        ("price > .1", "price > 0.1"),
        ("min(price,1)>0", "min(price, 1) > 0"),
        ("default( rsi_60m ,-1)>0", "default(rsi_1h, -1) > 0"),
        ("price > 1 AnD 1 > 0", "price > 1 and 1 > 0"),
    ],
)
def test_the_canonical_text(when: str, canonical: str) -> None:
    parsed = rules(when)
    assert parsed["r"].when == canonical
    assert rules(canonical) == parsed


@pytest.mark.parametrize("symbol", ["<", "<=", ">", ">=", "==", "!="])
def test_comparisons_at_below_and_above_a_tie(symbol: str) -> None:
    compare = dict(COMPARISONS.values())[symbol]
    for shape in ("price {} 2", "price + 0 {} 2", "2 * price {} 4", "price {} change_1h"):
        for value in (math.nextafter(2, 0), 2.0, math.nextafter(2, 3), -2.0):
            metrics = {"price": value, "change_1h": 2.0}
            assert holds(shape.format(symbol), metrics) == compare(value, 2.0), (shape, value)


@pytest.mark.parametrize(
    "when",
    [
        "price / change_5m > 0",
        "price / change_5m > 0 or price > 0",
        "price > 0 or price / change_5m > 0",
        "not price / change_5m > 0",
        "not (price > 0 and price / change_5m > 0)",
        "not not (price > 0 or 1 / change_5m > 0)",
        "price / 0 != 1 or price > 0",
        "0 / change_5m == 0 or price > 0",
        "price > 0 and (price > 0 or 0 / 0 == 0)",
        "min(price, 1 / change_5m) == 10",
        "max(price, -1 / change_5m) == 10",
        "price / (price - 10) != 0",
        "0 * (price / change_5m) == 0",
        "price / -change_5m < 0 or price > 0",
        "default(rsi_1h, 0) / default(rsi_1h, 0) != 1 or price > 0",
        "abs(price / change_5m) > 1",
        "1 / (1 / change_5m) == 0",
    ],
)
def test_where_it_divides_by_zero_nothing_holds(when: str) -> None:
    """Not behind `or`, not behind `not`; with another divisor it is an ordinary rule."""
    assert not holds(when)
    assert rules(when).explain("r", METRICS).holds is False
    assert None in [clause.held for clause in rules(when).explain("r", METRICS).clauses]


@pytest.mark.parametrize(
    "when",
    [
        "rsi_1h > 0",
        "rsi_1h != 0",
        "not rsi_1h > 0",
        "rsi_1h > 0 or price > 0",
        "price > 0 or rsi_1h > 0",
        "price > 0 or not rsi_1h > 0",
        "not (price > 0 and rsi_1h > 0)",
        "price > 0 and rsi_1h == rsi_1h",
        "rsi_1h - rsi_1h == 0",
        "0 * rsi_1h == 0",
        "min(price, rsi_1h) == 10",
        "max(rsi_1h, price) == 10",
        "price > 0 and default(rsi_1h, 50) == 50 and rsi_1h == 50",
        "default(rsi_1h, 50) == 50 or rsi_1h == 50",
    ],
)
@pytest.mark.parametrize("missing", ["None", "absent", "NaN", "infinite"])
def test_what_is_not_ready_lets_nothing_hold(when: str, missing: str) -> None:
    metrics = {name: value for name, value in METRICS.items() if name != "rsi_1h"}
    if missing != "absent":
        metrics["rsi_1h"] = {"None": None, "NaN": math.nan, "infinite": math.inf}[missing]
    assert not holds(when, metrics)
    assert rules(when).explain("r", metrics).not_ready == ["rsi_1h"]
    ready = [holds(when, {**metrics, "rsi_1h": value}) for value in (-1.0, 0.0, 50.0)]
    assert any(ready)


@pytest.mark.parametrize(
    "when",
    [
        "1e300 * volume_5m > 0",
        "volume_5m * 1e300 > 0",
        "0 < 1e300 * volume_5m",
        "-1e300 * volume_5m < 0",
        "1e300 * volume_5m != 0 and price > 0",
        "volume_5m * volume_5m * 1e300 > 0",
        "1e300 * volume_5m * 1 > 0",
        "1e290 * (1e10 * volume_5m) > 0",
        "1e300 / (1 / volume_5m) > 0",
        "1e300 * volume_5m > 0 or price > 0",
    ],
)
def test_where_a_number_overflows_nothing_holds(when: str) -> None:
    """Every result has to be finite, whatever the shape of the clause."""
    metrics = {"volume_5m": 1e30, "price": 1.0}
    table = rules(when).explain("r", metrics)
    assert None in [clause.held for clause in table.clauses]
    assert table.holds is False
    assert not holds(when, metrics)
    assert holds(when, {"volume_5m": 1.0, "price": 1.0})


# -- what is refused

DEEP = 5_000

EXPRESSION_ERRORS: list[tuple[str, int, str, str | None]] = [
    # expression, position, words of the reason, suggestion
    ("chnge_5m > 1", 0, 'no metric "chnge_5m"', "change_5m"),
    ("price > 1 and chnge_5m > 1", 14, 'no metric "chnge_5m"', "change_5m"),
    ("price > quote_volum_10m", 8, 'no metric "quote_volum_10m"', "quote_volume_10m"),
    ("prise > 1", 0, 'no metric "prise"', "price"),
    ("Price > 1", 0, 'no metric "Price"', "price"),
    ("rsi_10m > 1", 0, 'no metric "rsi_10m"', "rsi_15m"),
    ("change_2d > 1", 0, 'no metric "change_2d"', "change_1d"),
    ("change_0m > 1", 0, 'no metric "change_0m"', "change_5m"),
    ("change_1441m > 1", 0, 'no metric "change_1441m"', "change_15m"),
    ("change > 1", 0, 'no metric "change"', None),
    ("something_else_entirely > 1", 0, "no metric", None),
    ("price > inf", 8, 'no metric "inf"', None),
    ("price > True", 8, 'no metric "True"', None),
    ("price > __import__", 8, 'no metric "__import__"', None),
    ("abss(price) > 1", 0, 'no function "abss"', "abs"),
    ("price > 1 or ABS(price) > 1", 13, 'no function "ABS"', "abs"),
    ("defalt(price, 1) > 1", 0, 'no function "defalt"', "default"),
    ("exec(price) > 1", 0, 'no function "exec"', None),
    ("price(1) > 1", 0, 'no function "price"', None),
    ("change_5m", 0, "change_5m is a number", None),
    ("price > 1 and change_5m", 14, "change_5m is a number", None),
    ("change_5m and price > 1", 0, "change_5m is a number", None),
    ("price > 1 or (price + 1)", 13, "price + 1 is a number", None),
    ("not price", 4, "price is a number", None),
    ("1", 0, "1 is a number", None),
    ("(price > 1) > 2", 0, "price > 1 is a condition", None),
    ("2 < (price > 1)", 4, "price > 1 is a condition", None),
    ("1 + (price > 1) > 2", 4, "price > 1 is a condition", None),
    ("-(price > 1) > 2", 1, "price > 1 is a condition", None),
    ("abs(price > 1) > 2", 4, "price > 1 is a condition", None),
    ("min(1, price > 1) > 2", 7, "price > 1 is a condition", None),
    ("(price > 1 and price > 2) * 2 > 1", 0, "is a condition", None),
    ("default(price > 1, 2) > 1", 14, 'expected ","', None),
    ("default(price) > 1", 13, 'expected ","', None),
    ("default(1, 2) > 1", 8, "the metric that default() is for", None),
    ("default(price, price) > 1", 15, "a plain number", None),
    ("default(price, 1 + 1) > 1", 17, 'expected ")"', None),
    ("default() > 1", 8, "the metric that default() is for", None),
    ("abs() > 1", 4, "expected a metric or a number", None),
    ("abs(price, 1) > 1", 0, "abs() takes one number, not 2", None),
    ("min(price) > 1", 0, "min() takes", None),
    ("max(" + ", ".join(["price"] * 17) + ") > 1", 0, "max() takes", None),
    ("", 0, "found the end", None),
    ("   ", 3, "found the end", None),
    ("price >", 7, "found the end", None),
    ("price > 1 or", 12, "found the end", None),
    ("not", 3, "found the end", None),
    ("(price > 1", 10, "found the end", None),
    ("price > 1)", 9, 'found ")"', None),
    ("()", 1, 'found ")"', None),
    ("price > 1 1", 10, "found 1", None),
    ("price 1", 6, "found 1", None),
    ("price > 1, price > 2", 9, 'found ","', None),
    ("and price > 1", 0, 'found "and"', None),
    ("price > or", 8, 'found "or"', None),
    ("price > not price", 8, 'found "not"', None),
    ("price ** 2 > 1", 7, 'found "*"', None),
    ("price > + 1", 8, 'found "+"', None),
    ("price = 1", 6, "found '='", "=="),
    ("price => 1", 6, "found '='", "=="),
    ("price > 1 && price > 2", 10, "found '&'", "and"),
    ("price > 1 || price > 2", 10, "found '|'", "or"),
    ("!(price > 1)", 0, "found '!'", "not"),
    ("price ≥ 1", 6, "found '≥'", ">="),
    ("price ≤ 1", 6, "found '≤'", "<="),
    ("price × 2 > 1", 6, "found '×'", "*"),
    ("price % 2 > 1", 6, "found '%'", None),
    ("price > '1'", 8, "found", None),
    ("price[0] > 1", 6, "no time ago", None),
    ("price.real > 1", 5, "found", None),
    ("price > 5m", 8, '"5m"', None),
    ("price > 0x10", 8, '"0x10"', None),
    ("price > 1.2.3", 11, "found", None),
    ("price > .", 8, '"."', None),
    ("price > 1e", 8, '"1e"', None),
    ("price > 1e999", 8, "1e999 is no finite number", None),
    ("-1e999 < price", 1, "1e999 is no finite number", None),
    ("price > 1 # comment", 10, "found '#'", None),
    ("price > 1;", 9, "found ';'", None),
    ("prïce > 1", 2, "found 'ï'", None),
    ("价格 > 1", 0, "found '价'", None),
    ("price > \U0001f680", 8, "found '\U0001f680'", None),
    ("price > ٣", 8, "found '٣'", None),
    ("price\u3000>\u20031 and \u00a0chnge_5m > 2", 15, "no metric", "change_5m"),
    ("price > 1\u200b", 9, "found", None),
    ("price > 1 and \x00", 14, "found", None),
    ("1 > 0", -1, "names no metric", None),
    ("(" * DEEP + "price" + ")" * DEEP + " > 1", 25, "nested deeper", None),
    ("-" * DEEP + "price > 1", 25, "nested deeper", None),
    ("not " * (DEEP // 2) + "price > 1", 100, "nested deeper", None),
    ("abs(" * 1000 + "price" + ")" * 1000 + " > 1", 100, "nested deeper", None),
    ("price" + " + price" * 1000 + " > 1", 518, "nested deeper", None),
    ("price > 1" + " and price > 1" * 10_000, 16_384, "longer than 16384 bytes", None),
    ("x" * 1_000_000, 16_384, "longer than 16384 bytes", None),
    ("(" * 1_000_000, 16_384, "longer than 16384 bytes", None),
]


@pytest.mark.parametrize("field", ["when", "floor"])
@pytest.mark.parametrize(
    ("text", "position", "words", "suggestion"),
    EXPRESSION_ERRORS,
    ids=[text[:40] or "empty" for text, *_ in EXPRESSION_ERRORS],
)
def test_errors_say_where_and_what_instead(
    text: str, position: int, words: str, suggestion: str | None, field: str
) -> None:
    if position < 0 and field == "floor":
        return
    line = 4 if field == "when" else 5
    source = toml(text) if field == "when" else toml("price > 1", floor=text)
    error = refused(source)
    assert words in error.reason
    assert (error.rule, error.field, error.line) == ("r", field, line)
    assert error.suggestion == suggestion
    if position < 0:  # the rule as a whole
        assert error.position is None
        return
    assert error.position == position
    as_written = quoted(text)[1:-1] == text and text
    if as_written:
        assert error.column == position + (9 if field == "when" else 10)
    assert f"rule 'r', {field}, line {line}, column {error.column}: " in str(error)
    assert suggestion is None or f"did you mean {suggestion!r}?" in str(error)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('when = """\n  price > 1\n  and chnge_5m > 2\n"""', (6, 7, 18)),
        ('when = """price > 1\nand   chnge_5m > 2"""', (5, 7, 16)),
        ("when = 'price > 1 and chnge_5m > 1'", (4, 23, 14)),
        ("when = '''\n\n\n   chnge_5m > 1'''", (7, 4, 5)),
        ('# ü €\nwhen   =   "chnge_5m > 1"  # price', (5, 13, 0)),
        ('when = "price > 1"\nfloor = "chnge_5m > 1"', (5, 10, 0)),
        ('when = "price > 1"\nfloor = """\nprice > 2 or\n\tchnge_5m > 1"""', (7, 2, 14)),
        # Where escapes stand between, the line is right and the column that of the value.
        ('when = "\\u0063hnge_5m > 1"', (4, 8, 0)),
        ('when = """\\\n  price > 1 \\\n  and chnge_5m > 2"""', (4, 8, 14)),
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_line_and_column_count_in_the_whole_text(
    text: str, place: tuple[int, int, int], ends: str
) -> None:
    source = f'[[rule]]\nname = "r"\ntimeframe = "5m"\n{text}\n'
    error = refused(source.replace("\n", ends))
    assert error.suggestion == "change_5m"
    assert (error.line, error.column) == place[:2]
    assert ends == "\r\n" or error.position == place[2]


def test_the_second_rule_is_named() -> None:
    source = toml("price > 1") + toml("prize > 1").replace('"r"', '"s"')
    error = refused(source)
    assert (error.rule, error.line, error.column) == ("s", 8, 9)


GOOD = toml("price > 1")
TOML_ERRORS: list[tuple[str, str, dict[str, object]]] = [
    ("", "there are no rules", {}),
    ("# only a comment\n", "there are no rules", {}),
    ("rule = []", "there are no rules", {}),
    ("rule = 1", "", {"line": 1}),
    ("[rule]\nname = 'r'", "", {"line": 1}),
    ("x", "", {"line": 1}),
    ("[[rule]", "", {"line": 1}),
    (GOOD + "[[rule", "", {"line": 5}),
    (GOOD + 'title = "', "", {"line": 5}),
    (GOOD + "\x00", "", {"line": 5}),
    (GOOD + 'cooldwn = "5m"\n', "cooldwn", {"line": 5, "column": 1}),
    (GOOD + "\n[other]\nx = 1\n", "other", {"line": 6}),
    ("x = 1\n" + GOOD, "`x`", {"line": 1, "column": 1}),
    (GOOD + 'when = "price > 2"\n', "duplicate key", {"line": 5}),
    (GOOD + "title = 5\n", "", {"line": 5, "column": 9}),
    (GOOD.replace('"5m"', "5"), "", {"line": 3, "column": 13}),
    (GOOD.replace('"price > 1"', '["price > 1"]'), "", {"line": 4, "column": 8}),
    (GOOD.replace('name = "r"\n', ""), "`name`", {"line": 1}),
    (GOOD.replace('timeframe = "5m"\n', ""), "`timeframe`", {"line": 1}),
    (GOOD.replace('when = "price > 1"\n', ""), "`when`", {"line": 1}),
    (GOOD + 'severity = "urgent"\n', "urgent", {"line": 5, "column": 12}),
    (GOOD + 'direction = "sideways"\n', "sideways", {"line": 5, "column": 13}),
    (GOOD + GOOD, 'two rules called "r"', {"rule": "r", "field": "name", "line": 6}),
    (GOOD.replace('"r"', '"r r"'), '"r r" is no name', {"field": "name", "line": 2, "column": 8}),
    (GOOD.replace('"r"', '""'), "is no name", {"field": "name", "line": 2}),
    (GOOD.replace('"r"', '"a:b"'), "is no name", {"field": "name", "line": 2}),
    (GOOD.replace('"r"', f'"{"a" * 65}"'), "is no name", {"field": "name", "line": 2}),
]
TOML_ERRORS += [
    (
        GOOD + f'cooldown = "{bad}"\n',
        "is no duration",
        {"rule": "r", "field": "cooldown", "line": 5},
    )
    for bad in [
        "",
        "5",
        "m",
        "-5m",
        "5.5m",
        "5 m",
        "5M",
        "1w",
        "1e3s",
        "٥m",
        "367d",
        "9" * 30 + "m",
    ]
]
TOML_ERRORS += [
    (GOOD.replace("5m", bad), "is no window", {"rule": "r", "field": "timeframe", "line": 3})
    for bad in ["", "5", "m", "0m", "-5m", "5x", "2d", "25h", "1441m", "5.0m", "٥m", "00005m"]
]


@pytest.mark.parametrize(
    ("text", "words", "fields"), TOML_ERRORS, ids=[repr(t[-40:]) for t, *_ in TOML_ERRORS]
)
def test_toml_errors_say_where(text: str, words: str, fields: dict[str, object]) -> None:
    error = refused(text)
    assert words in error.reason
    assert error.reason
    assert error.line is not None
    assert error.column is not None
    assert {name: getattr(error, name) for name in fields} == fields


def test_defaults_of_a_rule() -> None:
    rule = rules("price > 1")["r"]
    found = (rule.title, rule.timeframe, rule.cooldown, rule.severity, rule.direction, rule.floor)
    assert found == ("r", "5m", 300_000, "medium", "flat", None)


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("0m", 0),
        ("7ms", 7),
        ("90s", 90_000),
        ("5m", 300_000),
        ("24h", 86_400_000),
        ("2d", 172_800_000),
    ],
)
def test_cooldowns(written: str, ms: int) -> None:
    parsed = rules("price > 1", cooldown=written)
    assert parsed["r"].cooldown == ms
    assert RuleSet.parse(parsed.to_toml()) == parsed


@pytest.mark.parametrize(
    ("given", "suggestion"),
    [
        ("futurs", "futures"),
        ("clasic", "classic"),
        ("Futures", "futures"),
        ("zzz", None),
        ("", None),
    ],
)
def test_a_preset_that_does_not_exist(given: str, suggestion: str | None) -> None:
    for load in (RuleSet.load, screener.Engine):
        with pytest.raises(RuleError, match="futures, classic") as caught:
            load(given)
        assert caught.value.suggestion == suggestion


@pytest.mark.parametrize("given", [None, 5, b"futures", ["futures"], object(), float("nan")])
def test_what_names_no_rules(given: Any) -> None:
    with pytest.raises(RuleError):
        RuleSet.load(given)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "规则.toml"
    for content in (b"\xff\xfe", b"", preset("futures").encode("utf-16"), b"rule = 1"):
        path.write_bytes(content)
        with pytest.raises(RuleError):
            RuleSet.load(path)
    path.write_text(preset("futures"), encoding="utf-8")
    for named in (path, str(path)):
        assert RuleSet.load(named, floors=True) == RuleSet.load("futures", floors=True)
    path.write_text("\n# ü\n" + toml("prize > 1"), encoding="utf-8-sig")
    with pytest.raises(RuleError) as caught:
        RuleSet.load(path)
    assert (caught.value.line, caught.value.suggestion) == (6, "price")
    for unusable in (tmp_path / "absent.toml", tmp_path / "x\0.toml", tmp_path):
        with pytest.raises(RuleError):
            RuleSet.load(unusable)


def test_text_that_utf_8_cannot_hold() -> None:
    """A lone surrogate, which JSON and file names can bring into a string."""
    refused("\ud800")
    refused(toml("price > \udfff"))


def test_metrics_that_are_no_mapping_of_numbers() -> None:
    some = rules("price > 0")
    nonsense: Any = {"price": 1, "nonsense": "ignored", "price_5m": "too"}
    bad: Any
    for bad in (
        None,
        5,
        "price",
        [("price", 1)],
        {"price": "x"},
        {"price": 10**400},
        {"price": []},
    ):
        for ask in (some.evaluate, partial(some.explain, "r")):
            with pytest.raises(screener.DataError):
                ask(bad)
    assert some.evaluate(nonsense) == ["r"]


# -- fuzz

TOKENS = [
    *(
        "price",
        "change_5m",
        "rsi_1h",
        "chnge_5m",
        "and",
        "or",
        "not",
        "NOT",
        "abs(",
        "min(",
        "max(",
    ),
    *("default(", "default(price,", "(", ")", ",", "<", "<=", ">", ">=", "==", "!=", "=", "+", "-"),
    *(
        "*",
        "/",
        "0",
        "1",
        "1e5",
        "1e999",
        ".5",
        "5m",
        "_",
        "é",
        "价",
        "\n",
        "\\",
        '"',
        "'",
        "#",
        "\x00",
    ),
]


def load_or_refuse(text: str) -> RuleSet | None:
    """What is loaded reads back to the same; anything else is a RuleError."""
    for floors in (False, True):
        try:
            parsed = RuleSet.parse(text, floors=floors)
        except RuleError as error:
            told = (error.reason, str(error), error.line is None or error.line >= 1)
            assert all(told)  # either outcome is right, but a refusal has to say something
            return None
        assert RuleSet.parse(parsed.to_toml(), floors=floors) == parsed
        parsed.evaluate(METRICS)
        for rule in parsed:
            assert str(parsed.explain(rule.name, METRICS))
    return parsed


@examples(300)
@given(tokens=st.lists(st.sampled_from(TOKENS), max_size=40), between=st.sampled_from(["", " "]))
def test_fuzz_of_tokens(tokens: list[str], between: str) -> None:
    load_or_refuse(toml(between.join(tokens)))


@examples(200)
@given(text=st.text(max_size=60))
def test_fuzz_of_text(text: str) -> None:
    load_or_refuse(text)
    load_or_refuse(toml(text))
    load_or_refuse(toml("price > 1", cooldown=text, title=text))
    load_or_refuse(toml("price > 1", floor=text))
    load_or_refuse(GOOD.replace('"5m"', quoted(text)))
    load_or_refuse(GOOD.replace('"r"', quoted(text)))


@examples(200)
@given(data=st.data(), chosen=st.sampled_from(["futures", "classic"]))
def test_fuzz_of_presets(data: st.DataObject, chosen: str) -> None:
    """A preset with pieces cut out, doubled, swapped, or overwritten."""
    text = preset(chosen)
    for _ in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, len(text) - 1))
        last = min(first + data.draw(st.sampled_from([0, 1, 1, 2, 5, 30, 300])), len(text))
        piece = data.draw(
            st.one_of(
                st.just(""),
                st.just(text[first:last] * 2),
                st.just(text[first:last][::-1]),
                st.sampled_from([*TOKENS, '"""', "[[rule]]", "[rule]", "=", "\r\n", "\ufeff", "0"]),
                st.text(max_size=3),
            )
        )
        text = text[:first] + piece + text[last:]
    load_or_refuse(text)


@examples(60)
@given(content=st.binary(max_size=200), at=st.integers(0, 5000))
def test_fuzz_of_files(tmp_path_factory: pytest.TempPathFactory, content: bytes, at: int) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    whole = preset("futures").encode()
    for written in (content, whole[:at] + content + whole[at + len(content) :]):
        path.write_bytes(written)
        try:
            RuleSet.load(path)
        except RuleError as error:
            assert error.reason  # noqa: PT017 - either outcome is right


# -- sets of rules


def test_to_toml_reads_back() -> None:
    for chosen in ("futures", "classic"):
        for floors in (False, True):
            loaded = RuleSet.load(chosen, floors=floors)
            again = RuleSet.parse(loaded.to_toml(), floors=floors)
            assert again == loaded
            assert again.to_toml() == loaded.to_toml()
            assert [rule.version for rule in again] == [rule.version for rule in loaded]
            for rule, twin in zip(loaded, again, strict=True):
                for field in ("title", "floor", "timeframe", "cooldown", "severity", "direction"):
                    assert getattr(rule, field) == getattr(twin, field)


@given(
    title=st.text(max_size=40),
    name=st.from_regex(r"[\w-]{1,64}", fullmatch=True).filter(lambda n: n.isidentifier()),
    severity=st.sampled_from(["low", "medium", "high"]),
    direction=st.sampled_from(["up", "down", "flat"]),
    cooldown=st.integers(0, 10**9).map("{}ms".format),
    timeframe=st.integers(1, 1440).map("{}m".format),
)
def test_to_toml_keeps_every_field(name: str, timeframe: str, **fields: str) -> None:
    text = toml("price > 1", **fields).replace("5m", timeframe, 1).replace('"r"', quoted(name), 1)
    parsed = RuleSet.parse(text)
    again = RuleSet.parse(parsed.to_toml())
    assert again == parsed
    (rule,) = again
    assert (rule.name, rule.title) == (name, fields["title"])
    assert (rule.severity, rule.direction) == (fields["severity"], fields["direction"])
    assert rule.cooldown == int(fields["cooldown"].removesuffix("ms"))


@pytest.mark.parametrize(
    "when",
    [
        "price > " + " + ".join(["1e300"] * 60),
        "price > 1" + " or price > 1e-300" * 60,
        "(" * 24 + "1<price<2" + ")" * 24,
    ],
    ids=["large numbers", "small numbers", "parentheses"],
)
def test_what_was_loaded_can_be_loaded_again(when: str) -> None:
    """Its canonical text is longer or deeper than what was written: an engine's state holds it."""
    parsed = rules(when)
    assert RuleSet.parse(parsed.to_toml()) == parsed
    assert screener.Engine.load(screener.Engine(parsed).save()).rules == parsed


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        (" and ".join(["price<1"] * 1_340), "longer than"),
        ("not " * 24 + "1<price<2", "nested deeper"),
    ],
    ids=["long", "deep"],
)
def test_what_could_not_be_loaded_again_is_refused(when: str, reason: str) -> None:
    """Its canonical text, with blanks and parentheses, is over the limits that the text keeps."""
    with pytest.raises(RuleError, match=reason):
        rules(when)


def test_a_set_is_a_collection() -> None:
    loaded = RuleSet.load("futures")
    assert len(loaded) == 10
    assert "pioneer_bull" in loaded
    assert "pioneer" not in loaded
    assert [rule.name for rule in loaded] == loaded.names
    assert loaded["pioneer_bull"] == next(r for r in loaded if r.name == "pioneer_bull")
    assert loaded == RuleSet.load("futures")
    assert loaded != RuleSet.load("futures", floors=True)
    assert loaded != RuleSet.load("classic")
    for ask in (lambda: loaded["pioner_bull"], lambda: loaded.explain("pioner_bull", {})):
        with pytest.raises(RuleError) as caught:
            ask()
        assert "pioner_bull" in caught.value.reason
        assert caught.value.suggestion == "pioneer_bull"


def test_floors_are_read_only_when_they_are_on() -> None:
    text = toml("price > 1", floor="volume_5m > 5")
    metrics = {"price": 2.0, "volume_5m": 5.0}
    off, on = (RuleSet.parse(text, floors=floors) for floors in (False, True))
    assert (off.floors, on.floors) == (False, True)
    assert off.evaluate(metrics) == off.evaluate({"price": 2.0}) == ["r"]
    assert on.evaluate(metrics) == on.evaluate({"price": 2.0}) == []
    assert on.evaluate({**metrics, "volume_5m": 6}) == ["r"]
    assert (off["r"].metrics, on["r"].metrics) == (["price"], ["price", "volume_5m"])
    assert on["r"].floor == off["r"].floor == "volume_5m > 5"
    with pytest.raises(RuleError, match="floors"):
        screener.Engine(off, floors=True)
    assert screener.Engine(on, floors=True).rules == on


# -- the truth table


def test_explain() -> None:
    table = RuleSet.load("futures", floors=True).explain(
        "big_bull_15m",
        {
            "change_15m": 1.0,
            "change_1h": 1.0,
            "change_8h": None,
            "quote_volume_15m": 500e3,
            "quote_volume_1h": 1.25e6,
            "quote_volume_8h": 14e6,
            "quote_volume_5m": 0,
        },
    )
    found = [(c.part, c.text, c.left, c.operator, c.right, c.held) for c in table.clauses]
    assert found == [
        ("when", "change_15m >= 1", 1.0, ">=", 1.0, True),
        ("when", "change_1h > change_15m", 1.0, ">", 1.0, False),
        ("when", "change_8h > change_1h", None, ">", 1.0, None),
        ("when", "3 * quote_volume_15m >= quote_volume_1h", 1.5e6, ">=", 1.25e6, True),
        ("when", "26 * quote_volume_15m >= quote_volume_8h", 13e6, ">=", 14e6, False),
        ("when", "quote_volume_5m > 0", 0.0, ">", 0.0, False),
        ("floor", "change_1d < 15", None, "<", 15.0, None),
        ("floor", "quote_volume_15m > 400000", 500e3, ">", 400e3, True),
        ("floor", "quote_volume_1h > 1000000", 1.25e6, ">", 1e6, True),
    ]
    assert (table.rule, table.holds) == ("big_bull_15m", False)
    assert table.not_ready == ["change_8h", "change_1d"]
    lines = str(table).splitlines()
    assert lines[0] == "big_bull_15m: does not hold"
    assert [line.split()[0] for line in lines[1:-1]] == [
        {True: "yes", False: "no", None: "?"}[clause.held] for clause in table.clauses
    ]
    for line, clause in zip(lines[1:-1], table.clauses, strict=True):
        assert line.split()[1] == clause.part
        assert clause.text in line
    assert lines[1].split()[-3:] == ["1", ">=", "1"]
    assert lines[3].endswith("not ready >  1")
    assert lines[4].split()[-3:] == ["1500000", ">=", "1250000"]
    assert lines[-1] == "  not ready: change_8h, change_1d"
    assert repr(table) == str(table)


def test_explain_of_conditions_that_are_no_comparison() -> None:
    some = rules("(price > 1 or price > 2) and not price > 5 and abs(price) > 1 > 0")
    table = some.explain("r", {"price": 3.0})
    assert [clause.text for clause in table.clauses] == [
        "price > 1 or price > 2",
        "not price > 5",
        "abs(price) > 1",
        "1 > 0",
    ]
    assert [clause.operator for clause in table.clauses] == [None, None, ">", ">"]
    assert (table.clauses[2].left, table.clauses[2].right) == (3.0, 1.0)
    assert str(table).splitlines()[0] == "r: holds"
    assert len(str(table).splitlines()) == 5
    assert table == some.explain("r", {"price": 3.0})
    assert table != some.explain("r", {"price": 4.0})
    assert not some.explain("r", {"price": 6.0}).holds


# -- identities

VERSIONS = {
    # name: (floors off, floors on), as they stand in stores: a change here is a change of rules
    "big_bull_60m": ("be7eacf7c2caa317", "983b26ec8f3ef0f4"),
    "big_bear_60m": ("667b4c3cc4da980b", "17dc62ca8787ecd4"),
    "pioneer_bull": ("06ab57aab2cc6937", "06ab57aab2cc6937"),
    "pioneer_bear": ("4e63aeb818ebb787", "4e63aeb818ebb787"),
    "big_bull_5m": ("2970d3ce37689aa8", "ec7241ca9fe21251"),
    "big_bear_5m": ("f0f1bff8c86df178", "a8c9bd077ddc1075"),
    "big_bull_15m": ("4de8eabe99993922", "c73fbd3edc470340"),
    "big_bear_15m": ("088ccdb61a06b03f", "414edc925e7cabb5"),
    "bottom_hunter": ("c9bd3af1a97b0eac", "c9bd3af1a97b0eac"),
    "top_hunter": ("6b4548952af62be0", "6b4548952af62be0"),
    "bull_whale": ("cca9529023ad731d", "cca9529023ad731d"),
    "bear_whale": ("7a0db06fad16bb61", "7a0db06fad16bb61"),
    "bull_volume": ("18182811dd2c0150", "18182811dd2c0150"),
    "bear_volume": ("36c40c905f2ddade", "36c40c905f2ddade"),
    "flat_1m": ("7d98b10e05b101a9", "7d98b10e05b101a9"),
    "flat_8h": ("8f1411a5c8a01264", "8f1411a5c8a01264"),
}


def test_versions_are_pinned() -> None:
    found = {
        rule.name: (rule.version, RuleSet.load(chosen, floors=True)[rule.name].version)
        for chosen in ("futures", "classic")
        for rule in RuleSet.load(chosen)
    }
    assert found == VERSIONS


def test_a_version_is_a_digest_of_the_canonical_text() -> None:
    text = "name=r\nwhen=price > 1\nfloor=volume_5m > 2\ncooldown=60000\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    source = toml("price>1", floor="(volume_5m > 2)", cooldown="1m")
    assert RuleSet.parse(source, floors=True)["r"].version == digest


def test_versions_change_with_what_the_rule_does_and_nothing_else() -> None:
    def version(
        when: str = "price > 1", *, floors: bool = False, name: str = "r", **more: str
    ) -> str:
        source = toml(when, **{"floor": "volume_5m > 2", "cooldown": "5m", **more})
        source = source.replace('"r"', quoted(name))
        return RuleSet.parse(source, floors=floors)[name].version

    same = [
        version(),
        version("  price\n >\t(1.0)  "),
        version("price > 1e0"),
        version(title="Another title"),
        version(severity="high"),
        version(direction="up"),
        version(cooldown="300s"),
        version(floor="volume_5m > 3"),  # which is off
    ]
    assert len(set(same)) == 1
    other = [
        version("price > 2"),
        version("price >= 1"),
        version("price > 1 and price > 1"),
        version("1 < price"),
        version(name="s"),
        version(cooldown="6m"),
        version(floors=True),
        version(floors=True, floor="volume_5m > 3"),
    ]
    assert len({same[0], *other}) == 1 + len(other)
    assert version(floors=True, floor=" volume_5m>2 ") == version(floors=True)
    assert all(len(v) == 16 and int(v, 16) >= 0 for v in same + other)


def rising(symbol: str, close_time: int) -> list[dict[str, Any]]:
    """Quiet minutes, and then one that rises by 2 % in heavy trade and closes at `close_time`."""
    candles = []
    for back in range(20, -1, -1):
        price, volume = (102.0, 1e6) if back == 0 else (100.0, 1e3)
        candles.append(
            {
                "symbol": symbol,
                "open_time": close_time - (back + 1) * 60_000,
                "open": 100.0,
                "high": price,
                "low": 100.0,
                "close": price,
                "volume": volume / 100,
                "quote_volume": volume,
            }
        )
    return candles


@pytest.mark.parametrize(
    ("exchange", "symbol", "id"),
    [
        ("binance", "BTCUSDT", "6fe10e9c-49a0-5541-9a4b-d17090a24a6c"),
        ("binance", "币安人生USDT", None),
        ("other:x", "1000PEPEUSDT", None),
    ],
)
def test_alert_ids(exchange: str, symbol: str, id: str | None) -> None:  # noqa: A002
    """The vector, and uuid5 as Python has it for names that are not plain."""
    engine = screener.Engine(exchange=exchange)
    alerts = [alert for c in rising(symbol, 1_763_683_260_000) for alert in engine.update(c)]
    (alert,) = [alert for alert in alerts if alert.rule == "pioneer_bull"]
    assert alert.triggered_at == 1_763_683_260_000
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "screener")
    assert str(namespace) == "d3de780a-41ca-5956-b203-0040e0eaaee3"
    name = f"{exchange}:{symbol}:pioneer_bull:1763683260000"
    assert alert.id == str(uuid.uuid5(namespace, name))
    assert id is None or alert.id == id
    assert alert.rule_version == RuleSet.load("futures")["pioneer_bull"].version
    assert set(alert.evidence) == set(RuleSet.load("futures")["pioneer_bull"].metrics)
