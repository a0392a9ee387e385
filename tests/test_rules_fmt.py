"""The one layout of rules: every comment at its line, and never another meaning."""

from __future__ import annotations

import random
import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import screener
from rule_files import Note, Writer, files, to_toml
from screener.cli import formatting
from screener.cli.formatting import condition_text, format_rules, length_text
from screener.cli.toml_text import quoted, scan
from screener.errors import RuleError, ScreenerError

if TYPE_CHECKING:
    from rule_files import Tables

RULE = '[[rule]]\nname = "a"\ntimeframe = "5m"\nwhen = "change_5m > 1"\n'


@given(tables=files(), seed=st.integers(0, 2**32))
def test_no_layout_means_anything_else_or_loses_a_comment(tables: Tables, seed: int) -> None:
    writer = Writer(random.Random(seed).choice, noisy=True, commented=True)
    text = writer.write(tables)
    formatted = format_rules(text)
    assert screener.RuleSet.parse(formatted) == screener.RuleSet.parse(text)
    assert screener.RuleSet.parse(formatted) == screener.RuleSet.parse(to_toml(tables))
    read = tomllib.loads(formatted)
    assert read.get("groups", {}) == tables.get("groups", {})
    assert [rule["name"] for rule in read["rule"]] == [rule["name"] for rule in tables["rule"]]
    assert format_rules(formatted) == formatted
    lines = formatted.splitlines()
    for note in writer.notes:
        (place,) = [place for place, line in enumerate(lines) if f"# {note.text}" in line]
        assert stands_at(lines, place, note), note


def stands_at(lines: list[str], place: int, note: Note) -> bool:
    """Whether a comment stands at the line it is about; above a header it may end a table."""
    if " = " not in note.at:
        return True
    if lines[place].startswith("# "):
        later = (line for line in lines[place:] if not line.startswith("# "))
        return next(later).startswith(note.at)
    return next(
        line for line in lines[place::-1] if re.match(r'("[^"]+"|\w+) = ', line)
    ).startswith(note.at)


@given(tables=files(), seed=st.integers(0, 2**32))
def test_every_layout_comes_to_the_same(tables: Tables, seed: int) -> None:
    tables.pop("groups", None)  # which stay where they stand
    for rule in tables["rule"]:
        for override in rule.get("override", ()):
            override.pop("groups", None)
            override["symbols"] = override["symbols"] or ["*"]
    noisy = Writer(random.Random(seed).choice, noisy=True).write(tables)
    assert format_rules(noisy) == format_rules(to_toml(tables))


LAYOUT = """\
#:schema ./rules.schema.json
groups = { majors = ["BTCUSDT"], "long one" = ["AAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBBB", \
"CCCCCCCCCCCCCCCC"] } # g

# about a

[[ rule ]] # a
# the point of it
when = 'change_5m>=1.0 and change_15m >= 1 and 3*change_5m >= change_15m and (price > 0)' # w
timeframe = "60m"

"name" = "a" # n
expires = "2026-12-31T18:00:00Z"
cooldown = "0300s"
# cooldown = "1h"

# Not for the large ones.
[[rule.override]]
enabled = false
groups = [ "majors" ]


# the end
"""

FORMATTED = """\
#:schema ./rules.schema.json
[groups] # g
majors = ["BTCUSDT"]
"long one" = [
  "AAAAAAAAAAAAAAAAAAA",
  "BBBBBBBBBBBBBBBBBBBBBBB",
  "CCCCCCCCCCCCCCCC",
]

# about a

[[rule]] # a
name = "a" # n
timeframe = "1h"
cooldown = "5m"
# the point of it
when = \"\"\"
  change_5m >= 1
  and change_15m >= 1
  and 3 * change_5m >= change_15m
  and price > 0
\"\"\" # w
expires = 2026-12-31T18:00:00Z
# cooldown = "1h"

# Not for the large ones.
[[rule.override]]
groups = ["majors"]
enabled = false

# the end
"""


def test_the_layout() -> None:
    assert format_rules(LAYOUT) == FORMATTED
    assert format_rules(FORMATTED) == FORMATTED


def test_tables_in_one_value_are_taken_apart() -> None:
    b = 'name = "b"\ntitle = "it\'s"\ntimeframe = "5m"\nwhen = "change_5m > 2"\n'
    overrides = (
        '{symbols = ["B*"], hold = "60s"}',
        '{groups = ["x"], severity = "low"}',
    )
    fields = f"{RULE[9:]}override = [{', '.join(overrides)}]\n"
    rules = ", ".join(f"{{{', '.join(rule.splitlines())}}}" for rule in (fields, b))
    assert format_rules(f'rule = [{rules}] # c\ngroups.x = ["C"]\n') == (
        f"[[rule]] # c\n{RULE[9:]}\n"
        '[[rule.override]]\nsymbols = ["B*"]\nhold = "1m"\n\n'
        '[[rule.override]]\ngroups = ["x"]\nseverity = "low"\n\n'
        f"[[rule]]\n{b}\n"
        '[groups]\nx = ["C"]\n'
    )


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        (f"rule = [ # c\n{{{RULE[9:-1].replace(chr(10), ', ')}}}]", "[[rule]]"),
        (f"groups = {{ x = [ # c\n] }}\n{RULE}", "[groups]"),
        (f"{RULE}override = [{{symbols = ['B'], hold = '1m'}}, # c\n]", "[[rule.override]]"),
    ],
)
def test_comments_within_one_value_are_not_lost(text: str, instead: str) -> None:
    screener.RuleSet.parse(text)
    with pytest.raises(ScreenerError, match=re.escape(f"write {instead}")):
        format_rules(text)


def test_line_ends_and_marks_of_other_systems() -> None:
    text = f"# é\n{RULE}# end\n"
    assert format_rules(text.replace("\n", "\r\n")) == format_rules(text).replace("\n", "\r\n")
    assert format_rules(text.rstrip()) == text
    assert scan(text.replace("\n", "\n\n\n")).comments() == ["# end", "# é"]


def test_what_newer_readers_of_toml_know() -> None:
    """The core reads TOML 1.1, Python 1.0."""
    text = f'{RULE}title = "\\e[1m"\n[[rule.override]]\nsymbols = ["\\x42TC*"]\nhold = "1m"\n'
    formatted = format_rules(text)
    assert 'symbols = ["\\x42TC*"]' in formatted
    assert screener.RuleSet.parse(formatted)["a"].title == "\x1b[1m"
    with pytest.raises(ScreenerError, match="without escapes"):
        format_rules(f'groups."\\x42" = []\n{RULE}')


@pytest.mark.parametrize(
    "text", ["", "# only a comment", "[[rule", RULE + RULE, RULE.replace("change_5m", "chnge_5m")]
)
def test_what_are_no_rules_is_told_as_by_the_reader(text: str) -> None:
    with pytest.raises(RuleError) as read:
        screener.RuleSet.parse(text)
    with pytest.raises(RuleError) as told:
        format_rules(text)
    assert repr(told.value) == repr(read.value)


@pytest.mark.parametrize("what", ["what the rules mean", "a comment"])
def test_a_layout_that_would_lose_something_is_not_given(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A fault of the formatter itself, made on purpose."""
    lines = formatting._lines
    wrong = {
        "what the rules mean": lambda line: line.replace("> 1", ">= 1"),
        "a comment": lambda line: line.replace("# c", ""),
    }[what]
    monkeypatch.setattr(formatting, "_lines", lambda *given: map(wrong, lines(*given)))
    with pytest.raises(ScreenerError, match=f"would change {what}"):
        format_rules(f"{RULE}# c\n")


@given(
    clauses=st.lists(
        st.sampled_from(
            (
                "price > 0",
                'vs("x and y (", price) > 1',
                "not up_streak > 2",
                "(price > 1 or price < 3 and price > 2)",
            )
        ),
        min_size=1,
        max_size=9,
    ),
    words=st.randoms(use_true_random=False),
)
def test_conditions_read_back_from_any_number_of_lines(
    clauses: list[str], words: random.Random
) -> None:
    condition = clauses[0] + "".join(f" {words.choice(['and', 'or'])} {one}" for one in clauses[1:])
    rule = f'[[rule]]\nname = "a"\ntimeframe = "5m"\nwhen = {quoted(condition)}\n'
    canonical = screener.RuleSet.parse(rule)["a"].when
    text = f"when = {condition_text('when', canonical)}"
    assert " ".join(tomllib.loads(text)["when"].split()) == canonical
    longest = max(map(len, clauses)) + len("    and ")
    assert max(map(len, text.splitlines())) <= max(80, longest)


@given(text=st.text())
def test_texts_are_quoted_so_that_they_read_back(text: str) -> None:
    line = f"value = {quoted(text)}"
    assert tomllib.loads(line) == {"value": text}
    assert "\n" not in line


@given(length=st.integers(0, 2**40))
def test_lengths_are_written_in_the_longest_unit(length: int) -> None:
    text = length_text(length)
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text).groups()  # type: ignore[union-attr]
    units = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    assert int(number) * units[unit] == length
    longer = [size for size in units.values() if size > units[unit]]
    assert length == 0 or all(length % size for size in longer)
