"""Every clause and every number of the rules that come with the package decides something.

The tables of SPEC 5.1 and 5.2 stand here word for word. For each clause one number is moved
across the clause's tie, to the next float on both sides, while all other clauses go on holding:
the rule must hold on one side and not on the other, and at the tie as SPEC has it. Then the
preset's own text is changed in every way that could matter (a clause less, another comparison,
another number, another metric, `or` for `and`): each of these mutants must be told by that.
"""

# ruff: noqa: D102 - the names of the tests are sentences

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

import screener
from screener._core import preset

FUTURES = """
| big_bull_60m | 1h | c1h >= 1.6, c8h > c1h, c1d > c8h, 6·q1h >= q8h, 16·q1h >= q1d | c1d < 15, q1h > 500e3, q8h > 5e6 |
| big_bear_60m | 1h | c1h <= -1.6, c8h < c1h, c1d < c8h, 6·q1h >= q8h, 16·q1h >= q1d | c1d > -15, q1h > 500e3, q8h > 5e6 |
| pioneer_bull | 5m | c5m >= 1, c15m >= 1, 3·c5m >= c15m, 2·q5m >= q15m | |
| pioneer_bear | 5m | c5m <= -1, c15m <= -1, 3·c5m <= c15m, 2·q5m >= q15m | |
| big_bull_5m | 5m | c5m >= 0.6, c15m > c5m, c1h > c15m, 3·q5m >= q15m, 6·q5m >= q1h | c1d < 15, q5m > 100e3, q1h > 1e6, 66·q5m > q8h |
| big_bear_5m | 5m | c5m <= -0.6, c15m < c5m, c1h < c15m, 3·q5m >= q15m, 6·q5m >= q1h | c1d > -15, q5m > 100e3, q1h > 1e6, 66·q5m > q8h |
| big_bull_15m | 15m | c15m >= 1, c1h > c15m, c8h > c1h, 3·q15m >= q1h, 26·q15m >= q8h | c1d < 15, q15m > 400e3, q1h > 1e6 |
| big_bear_15m | 15m | c15m <= -1, c1h < c15m, c8h < c1h, 3·q15m >= q1h, 26·q15m >= q8h | c1d > -15, q15m > 400e3, q1h > 1e6 |
| bottom_hunter | 5m | c1h <= -0.7, c15m <= -0.6, c5m >= 0.5, 2·q5m >= q15m, 8·q5m >= q1h | |
| top_hunter | 5m | c1h >= 0.7, c15m >= 0.6, c5m <= -0.5, 2·q5m >= q15m, 8·q5m >= q1h | |
"""  # noqa: E501 - as in SPEC 5.1
TRADED = "q5m > 0"  # "Every one also asks"
TITLES = [
    "Big Bull 60m",
    "Big Bear 60m",
    "Pioneer Bull",
    "Pioneer Bear",
    "5 Big Bull",
    "5 Big Bear",
    "15 Big Bull",
    "15 Big Bear",
    "Bottom Hunter",
    "Top Hunter",
]
CLASSIC = """
| bull_whale | 5m | 288·q5m >= 3·q1d, c5m >= 2 | |
| bear_whale | 5m | 288·q5m >= 3·q1d, c5m <= -2 | |
| bull_volume | 5m | volume_ratio_5m >= 2.5, up_streak >= 3 | |
| bear_volume | 5m | volume_ratio_5m >= 2.5, down_streak >= 3 | |
| flat_1m | 10m | range_10m <= 0.1 | |
| flat_8h | 8h | range_8h <= 2 | |
"""
COOLDOWN_MS = 5 * 60_000

# What happens of all a rule names where it holds, with room on every side. Bears fall where bulls
# rise. The other metrics are there so that a clause that reads a wrong one is told by its value.
VOLUMES = {"q5m": 3e5, "q15m": 5e5, "q1h": 1.1e6, "q4h": 3.5e6, "q8h": 6e6, "q1d": 1.7e7}
BULL = {"c5m": 1.25, "c15m": 2.5, "c1h": 3.5, "c4h": 4.25, "c8h": 5.5, "c1d": 7.0}
HOLDS: dict[str, dict[str, float]] = {
    "bull": BULL,
    "bear": {name: -value for name, value in BULL.items()},
    "bottom_hunter": {**BULL, "c1h": -1.5, "c15m": -1.125, "c5m": 0.875},
    "top_hunter": {**BULL, "c1h": 1.5, "c15m": 1.125, "c5m": -0.875},
    "bull_whale": {"c5m": 2.75},
    "bear_whale": {"c5m": -2.75},
    "others": {
        "volume_ratio_5m": 3.25,
        "volume_ratio_15m": 1.5,
        "up_streak": 5.0,
        "down_streak": 6.0,
        "range_5m": 0.01,
        "range_10m": 0.05,
        "range_15m": 0.25,
        "range_8h": 1.25,
        "range_1d": 3.5,
    },
}

# What the other clauses already ask for, so that no mapping can show it: 6·q1h >= q8h > 5e6 makes
# q1h > 833e3, and 6·q5m >= q1h > 1e6 makes q5m > 166e3. The truth table still tells them apart.
IMPLIED = {
    ("big_bull_60m", "q1h > 500e3"),
    ("big_bear_60m", "q1h > 500e3"),
    ("big_bull_5m", "q5m > 100e3"),
    ("big_bear_5m", "q5m > 100e3"),
}

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TERM = r"(?:(\d+)·)?([a-z]\w*)"
CLAUSE = re.compile(rf"{TERM} (<=|>=|<|>) (?:{TERM}|(-?[\d.e]+))")


def full(name: str) -> str:
    """`c` is `change_`, `q` is `quote_volume_`."""
    return re.sub(
        r"^([cq])(?=\d)", lambda found: {"c": "change_", "q": "quote_volume_"}[found[1]], name
    )


@dataclass(frozen=True)
class Clause:
    """`a·left relation b·right`, or `a·left relation b` where `right` is empty."""

    written: str
    part: str
    a: float
    left: str
    relation: str
    b: float
    right: str

    @classmethod
    def of(cls, written: str, part: str) -> Clause:
        found = CLAUSE.fullmatch(written)
        assert found is not None, written
        a, left, relation, b, right, number = found.groups()
        return cls(
            written, part, float(a or 1), left, relation, float(number or b or 1), right or ""
        )

    @property
    def text(self) -> str:
        """As the rules print it."""

        def term(factor: float, name: str) -> str:
            number = f"{factor:.15g}"
            return (
                full(name)
                if name and factor == 1
                else f"{number} * {full(name)}"
                if name
                else number
            )

        return f"{term(self.a, self.left)} {self.relation} {term(self.b, self.right)}"

    def sides(self, metrics: Mapping[str, float]) -> tuple[float, float]:
        right = self.b * metrics[self.right] if self.right else self.b
        return self.a * metrics[self.left], right

    def holds(self, metrics: Mapping[str, float]) -> bool:
        return COMPARE[self.relation](*self.sides(metrics))


@dataclass(frozen=True)
class Wanted:
    """A rule as SPEC's table has it."""

    name: str
    title: str | None
    timeframe: str
    clauses: tuple[Clause, ...]


def read(table: str, titles: list[str] | None, extra: str) -> Iterator[Wanted]:
    for place, line in enumerate(table.strip().splitlines()):
        name, timeframe, when, floor = (cell.strip() for cell in line.split("|")[1:-1])
        parts = {"when": f"{when}, {extra}", "floor": floor}
        clauses = tuple(
            Clause.of(written, part)
            for part, cell in parts.items()
            for written in cell.split(", ")
            if written
        )
        yield Wanted(name, titles[place] if titles else None, timeframe, clauses)


WANTED = {
    "futures": tuple(read(FUTURES, TITLES, TRADED)),
    "classic": tuple(read(CLASSIC, None, "")),
}
RULES = [(chosen, wanted) for chosen, rules in WANTED.items() for wanted in rules]


@dataclass(frozen=True)
class Border:
    """Metrics around the tie of one clause; every other clause that is read holds in all of them.

    The tie itself, and one number of it moved to the next float that matters, down and up.
    """

    clause: Clause
    floors: bool
    implied: bool
    points: tuple[dict[str, float], ...]


def base_of(name: str) -> dict[str, float]:
    special = HOLDS.get(name) or HOLDS["bear" if "bear" in name else "bull"]
    return {**VOLUMES, **HOLDS["others"], **special}


def points_of(
    clause: Clause, metrics: Mapping[str, float]
) -> Iterator[tuple[dict[str, float], ...]]:
    """The points of a border, once for each number that can be moved."""
    for name in filter(None, (clause.left, clause.right)):
        other = clause.b * (metrics[clause.right] if clause.right else 1.0)
        tie = (
            other / clause.a if name == clause.left else clause.a * metrics[clause.left] / clause.b
        )
        points = [{**metrics, name: tie}]
        left, right = clause.sides(points[0])
        if left != right:
            continue
        for way in (-math.inf, math.inf):
            moved = tie
            # The products of the next float may still be equal, rounded: a few steps at most.
            for _ in range(4):
                moved = math.nextafter(moved, way)
                point = {**metrics, name: moved}
                left, right = clause.sides(point)
                if left != right:
                    points.append(point)
                    break
        if len(points) == 3:
            yield tuple(points)


def border(wanted: Wanted, clause: Clause) -> Border:
    base = base_of(wanted.name)
    # No volume is negative, but here that keeps the other clauses out of the way of q5m > 0.
    quiet = {name: -1.0 if name[0] == "q" else value for name, value in base.items()}
    for floors in (True, False):
        if clause.part == "floor" and not floors:
            continue
        others = [c for c in wanted.clauses if c != clause and (floors or c.part == "when")]
        for start in (base, quiet):
            for points in points_of(clause, start):
                if all(other.holds(point) for other in others for point in points):
                    return Border(clause, floors, implied=False, points=points)
    return Border(clause, floors=True, implied=True, points=next(points_of(clause, base)))


BORDERS = {
    wanted.name: tuple(border(wanted, clause) for clause in wanted.clauses) for _, wanted in RULES
}


def named(metrics: Mapping[str, float]) -> dict[str, float]:
    return {full(name): value for name, value in metrics.items()}


def wrong_with(
    wanted: Wanted, off: screener.RuleSet, on: screener.RuleSet, *, explained: bool = True
) -> list[str]:
    """What the rule in these sets does that SPEC does not say, in words."""
    wrong: list[str] = []
    name = wanted.name

    def check(what: str, found: object, expected: object) -> None:
        if found != expected:
            wrong.append(f"{name}: {what}: {found!r}, not {expected!r}")

    if [rule.name for rule in off] != [name] or [rule.name for rule in on] != [name]:
        return [f"{name}: is not there"]
    rule = off[name]
    check("timeframe", rule.timeframe, wanted.timeframe)
    check("cooldown", rule.cooldown, COOLDOWN_MS)
    if wanted.title is not None:
        check("title", rule.title, wanted.title)
    base = named(base_of(name))
    check("holds, floors off", off.evaluate(base), [name])
    check("holds, floors on", on.evaluate(base), [name])
    for edge in BORDERS[name]:
        clause, rules = edge.clause, on if edge.floors else off
        for point in edge.points:
            metrics, held = named(point), clause.holds(point)
            where = f"{clause.written} with {clause.sides(point)}"
            if not edge.implied:
                check(where, rules.evaluate(metrics), [name] if held else [])
                if clause.part == "floor":
                    check(f"{where}, floors off", off.evaluate(metrics), [name])
            if explained:
                found = [
                    (c.part, (c.left, c.right), c.held)
                    for c in rules.explain(name, metrics).clauses
                    if c.text == clause.text
                ]
                check(f"{where}, explained", found, [(clause.part, clause.sides(point), held)])
    if explained:
        texts = [(c.part, c.text) for c in on.explain(name, base).clauses]
        check("clauses", sorted(texts), sorted((c.part, c.text) for c in wanted.clauses))
    return wrong


def sets_of(text: str) -> tuple[screener.RuleSet, screener.RuleSet]:
    return screener.RuleSet.parse(text, floors=False), screener.RuleSet.parse(text, floors=True)


def section(chosen: str, name: str) -> str:
    """The preset's text about one rule."""
    parts = preset(chosen).split("[[rule]]")[1:]
    (found,) = (part for part in parts if f'name = "{name}"' in part)
    return "[[rule]]" + found


def test_the_tables_are_read_whole() -> None:
    """Clauses counted by hand in SPEC, so that the reader of the tables drops none."""
    counts = [len(wanted.clauses) for wanted in WANTED["futures"]]
    assert counts == [9, 9, 5, 5, 10, 10, 9, 9, 6, 6]
    assert [len(wanted.clauses) for wanted in WANTED["classic"]] == [2, 2, 2, 2, 1, 1]


@pytest.mark.parametrize("floors", [False, True])
@pytest.mark.parametrize("chosen", ["futures", "classic"])
def test_rules_stand_in_the_order_of_the_spec(chosen: str, floors: bool) -> None:
    rules = screener.RuleSet.load(chosen, floors=floors)
    assert rules.names == [wanted.name for wanted in WANTED[chosen]]
    assert [rule.timeframe for rule in rules] == [wanted.timeframe for wanted in WANTED[chosen]]
    assert {rule.cooldown for rule in rules} == {COOLDOWN_MS}
    assert rules.floors is floors
    if chosen == "futures":
        assert [rule.title for rule in rules] == TITLES


def test_titles_are_not_empty_and_unique() -> None:
    for chosen in WANTED:
        titles = [rule.title for rule in screener.RuleSet.load(chosen)]
        assert all(titles)
        assert len(set(titles)) == len(titles)


def test_directions_follow_the_names() -> None:
    ways = {"bull": "up", "bear": "down", "flat": "flat", "bottom": "up", "top": "down"}
    for chosen in WANTED:
        for rule in screener.RuleSet.load(chosen):
            (way,) = {way for word, way in ways.items() if word in rule.name.split("_")}
            assert rule.direction == way


@pytest.mark.parametrize(("chosen", "wanted"), RULES, ids=[wanted.name for _, wanted in RULES])
def test_each_clause_decides(chosen: str, wanted: Wanted) -> None:
    assert wrong_with(wanted, *sets_of(section(chosen, wanted.name))) == []


@pytest.mark.parametrize("floors", [False, True])
@pytest.mark.parametrize("chosen", ["futures", "classic"])
def test_the_whole_preset_says_the_same(chosen: str, floors: bool) -> None:
    """Held or not is asked of all rules at once: names in the order of the set, each for itself."""
    rules = screener.RuleSet.load(chosen, floors=floors)
    for wanted in WANTED[chosen]:
        for edge in BORDERS[wanted.name]:
            for metrics in edge.points:
                expected = [
                    other.name
                    for other in WANTED[chosen]
                    if all(c.holds(metrics) for c in other.clauses if floors or c.part == "when")
                ]
                assert rules.evaluate(named(metrics)) == expected


def test_the_borders_are_a_rounding_error_wide() -> None:
    """The points differ in one number, by next to nothing; what is implied is what is listed."""
    for name, edges in BORDERS.items():
        for edge in edges:
            tie, *beside = edge.points
            assert {edge.clause.holds(point) for point in edge.points} == {True, False}
            for point in beside:
                (changed,) = (k for k in tie if tie[k] != point[k])
                assert abs(tie[changed] - point[changed]) <= 4 * math.ulp(tie[changed])
            assert edge.implied == ((name, edge.clause.written) in IMPLIED), (name, edge.clause)


@pytest.mark.parametrize("missing", ["absent", "None", "NaN"])
@pytest.mark.parametrize(("chosen", "wanted"), RULES, ids=[wanted.name for _, wanted in RULES])
def test_each_metric_has_to_be_ready(chosen: str, wanted: Wanted, missing: str) -> None:
    base = named(base_of(wanted.name))
    for floors in (False, True):
        rules = screener.RuleSet.load(chosen, floors=floors)
        read = [c for c in wanted.clauses if floors or c.part == "when"]
        needed = {full(name) for c in read for name in (c.left, c.right) if name}
        assert set(rules[wanted.name].metrics) == needed
        for name in base:
            unready: dict[str, float | None] = {k: v for k, v in base.items() if k != name}
            if missing != "absent":
                unready[name] = math.nan if missing == "NaN" else None
            assert (wanted.name in rules.evaluate(unready)) == (name not in needed)


# -- mutants

EXPRESSION = re.compile(r'(?<== """\n)(.*?)(?=\n""")', re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e\d+)?(?![\w.])")
METRIC = re.compile(r"\b[a-z]\w*_(?:\d+[mhd]|streak)\b")
WINDOWS = ("5m", "10m", "15m", "1h", "4h", "8h", "1d")


def other_metrics(name: str) -> list[str]:
    """What could stand there by mistake."""
    kind, _, window = name.rpartition("_")
    if window == "streak":
        return [{"up": "down_streak", "down": "up_streak"}[kind]]
    kinds = {
        "change": "range",
        "quote_volume": "volume",
        "range": "change",
        "volume_ratio": "range",
    }
    return [f"{kind}_{other}" for other in WINDOWS if other != window] + [f"{kinds[kind]}_{window}"]


def mutants_of(expression: str) -> Iterator[tuple[str, str, str]]:
    """Each (the clause, what became of it, the expression after it)."""
    clauses = expression.strip().split("\n  and ")
    for place, clause in enumerate(clauses):
        before, after = clauses[:place], clauses[place + 1 :]

        def put(
            instead: str,
            clause: str = clause,
            before: list[str] = before,
            after: list[str] = after,
        ) -> tuple[str, str, str]:
            return clause, instead, " and ".join([*before, instead, *after])

        def spliced(found: re.Match[str], text: str, clause: str = clause) -> str:
            return clause[: found.start()] + text + clause[found.end() :]

        yield clause, "dropped", " and ".join(before + after)
        yield put(f"not {clause}")
        if before:
            yield clause, "or", f"{' and '.join(before)} or {' and '.join([clause, *after])}"
        for found in re.finditer(r"[<>]=?", clause):
            for symbol in ("<", "<=", ">", ">=", "==", "!="):
                if symbol != found[0]:
                    yield put(spliced(found, symbol))
        for found in NUMBER.finditer(clause):
            number = float(found[0])
            near = [1.01, 0.99, 1 + 1e-12, 1 - 1e-12, -1.0]
            for value in [number * factor for factor in near] if number else [5e-324, -1e-9]:
                yield put(spliced(found, repr(value)))
        for found in METRIC.finditer(clause):
            for name in other_metrics(found[0]):
                yield put(spliced(found, name))


def mutants(text: str) -> Iterator[tuple[str, str, str]]:
    """The section of one rule, changed in one place each."""
    for found in EXPRESSION.finditer(text):
        for clause, what, expression in mutants_of(found[0]):
            yield clause, what, text[: found.start()] + expression + text[found.end() :]
    yield "", "cooldown", text.replace('cooldown = "5m"', 'cooldown = "6m"')
    yield "", "timeframe", re.sub('timeframe = "[^"]*"', 'timeframe = "4h"', text)
    yield "", "name", re.sub('name = "', 'name = "x', text, count=1)
    if "\nfloor = " in text:
        yield "", "floor as when", text.replace('"""\nfloor = """', " and ")
        yield "", "no floor", text[: text.index("\nfloor = ")] + "\n"


@pytest.mark.parametrize(("chosen", "wanted"), RULES, ids=[wanted.name for _, wanted in RULES])
def test_no_mutant_survives(chosen: str, wanted: Wanted) -> None:
    """Every change is told by what holds; only what is implied needs the truth table."""
    text = section(chosen, wanted.name)
    parts = EXPRESSION.findall(text)
    clauses = [clause for part in parts for clause in part.strip().split("\n  and ")]
    assert len(clauses) == len(wanted.clauses), "the preset is written in another way: adapt this"
    implied = {
        f"{full(left)} {rest}"
        for rule, written in IMPLIED
        if rule == wanted.name
        for left, rest in [written.split(" ", 1)]
    }
    assert implied <= set(clauses)
    made, survivors = 0, []
    for clause, what, mutant in mutants(text):
        made += 1
        assert mutant != text, what
        try:
            sets = sets_of(mutant)
        except screener.RuleError:  # nothing is left of the rule, which is told at once
            assert len(clauses) == 1
            continue
        if not wrong_with(wanted, *sets, explained=clause in implied):
            survivors.append(f"{clause}: {what}")
    assert survivors == []
    assert made >= 18 * len(clauses)


def test_a_wrong_title_is_told() -> None:
    """The mutants leave titles alone, since SPEC has none for `classic`."""
    text = section("futures", "pioneer_bull").replace("Pioneer Bull", "Pioneer bull")
    wanted = WANTED["futures"][2]
    assert wrong_with(wanted, *sets_of(text)) == [
        "pioneer_bull: title: 'Pioneer bull', not 'Pioneer Bull'"
    ]
