"""The commands to write rules with: what they print, write and refuse."""

from __future__ import annotations

import io
import json
import shlex
import stat
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from jsonschema import Draft202012Validator

import screener
from screener._core import presets
from screener.cli import main
from screener.cli.formatting import format_rules
from screener.cli.schema import rules_schema
from screener.history import atomic

if TYPE_CHECKING:
    from collections.abc import Callable

RULE = '[[rule]]\nname = "a"\ntimeframe = "5m"\nwhen = "change_5m > 1"\n'
UNTIDY = f"# é\n\n\n{RULE.replace(' = ', '=')}# end"
TIDY = f"# é\n\n{RULE}# end\n"


@dataclass(frozen=True)
class Run:
    """What a command came to."""

    code: int
    out: str
    err: str


Command: TypeAlias = "Callable[..., Run]"


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Runs `screener rules` with these arguments in this process, in a folder of its own."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, stdin: bytes = b"") -> Run:
        monkeypatch.setattr(sys, "argv", ["screener", "rules", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as stopped:
            main()
        code = stopped.value.code or 0
        assert isinstance(code, int)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Run(code, captured.out, captured.err)

    return call


# -- new -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [[], ["--profile", "quiet"]])
@pytest.mark.parametrize(
    "names",
    [[], ["futures"], ["classic", "futures"], ["pioneer_bull"], ["flat_8h", "classic", "flat_8h"]],
)
def test_a_new_file_is_right_at_once(run: Command, names: list[str], profile: list[str]) -> None:
    told = run("new", "my.toml", *[f"--from={name}" for name in names], *profile)
    assert told.code == 0, told.err
    assert told.out.startswith("wrote my.toml: ")
    assert "screener rules schema --out rules.schema.json" in told.err
    assert run("check", "my.toml").code == 0
    assert run("fmt", "--check", "my.toml") == Run(0, "", "")
    text = Path("my.toml").read_text("utf-8")
    assert text.startswith("#:schema ./rules.schema.json\n")
    assert Draft202012Validator(rules_schema()).is_valid(tomllib.loads(text))


def test_copies_are_the_rules_of_the_presets(run: Command) -> None:
    assert run("new", "my.toml", "--from", "futures").code == 0
    assert screener.RuleSet.load("my.toml") == screener.RuleSet.load("futures")
    assert run("new", "two.toml", "--from", "top_hunter", "--from=flat_1m").code == 0
    assert screener.RuleSet.load("two.toml").names == ["top_hunter", "flat_1m"]


def test_two_rules_of_one_name_are_not_copied(run: Command) -> None:
    told = run("new", "my.toml", "--from", "pioneer_bull", "--from", "quiet")
    assert told.code == 1
    assert "--from quiet has another rule 'pioneer_bull'" in told.err
    assert not Path("my.toml").exists()
    # A rule's name alone means the first preset that has it.
    assert run("new", "my.toml", "--from", "pioneer_bull").code == 0
    (rule,) = screener.RuleSet.load("my.toml")
    assert rule == screener.RuleSet.load("futures")["pioneer_bull"]


def test_the_quiet_profile_of_futures_is_the_preset(run: Command) -> None:
    quiet = screener.RuleSet.load("quiet")
    for names in (["--from=futures", "--profile=quiet"], ["--from=quiet", "--profile=quiet"]):
        assert run("new", "my.toml", *names, "--force").code == 0
        assert screener.RuleSet.load("my.toml") == quiet


def test_quiet_rules_are_told_once_and_end_by_more_than_they_began(run: Command) -> None:
    assert run("new", "my.toml", "--from=futures", "--from=classic", "--profile=quiet").code == 0
    rules = {rule.name: rule for rule in screener.RuleSet.load("my.toml")}
    assert {rule.trigger for rule in rules.values()} == {"edge"}
    cleared = {name: rule.clear_when for name, rule in rules.items()}
    assert None not in cleared.values()
    assert cleared["big_bull_60m"] == "change_1h < 0.8"
    assert cleared["big_bear_5m"] == "change_5m > -0.3"
    assert cleared["flat_8h"] == "range_8h > 3"
    for preset in ("futures", "classic"):
        for rule in screener.RuleSet.load(preset):
            assert (rules[rule.name].when, rules[rule.name].floor) == (rule.when, rule.floor)


def test_a_quiet_profile_says_less(run: Command) -> None:
    assert run("new", "my.toml", "--from=futures", "--profile=quiet").code == 0
    market = screener.demo_market()
    loud, quiet = (screener.replay(market, rules).alerts for rules in ("futures", Path("my.toml")))
    assert 0 < quiet.height < loud.height
    # What is told once is told no later: the first alert of each is among those of the loud rules.
    key = ("symbol", "rule", "triggered_at")
    assert set(quiet.select(key).rows()) <= set(loud.select(key).rows())


def test_what_is_there_stays_unless_forced(run: Command) -> None:
    file = Path("my.toml")
    file.write_text("mine")
    told = run("new", file)
    assert told.code == 1
    assert told.err == (
        "error: my.toml: this file is there already\n"
        "name another one, or give --force to write over it\n"
    )
    assert file.read_text() == "mine"
    assert [*Path().iterdir()] == [file]
    assert run("new", file, "--force").code == 0
    assert run("check", file).code == 0
    Path("link.toml").symlink_to("nowhere.toml")
    assert run("new", "link.toml").code == 1
    assert not Path("nowhere.toml").exists()


def test_names_and_folders_that_cannot_be(run: Command) -> None:
    assert "end with .toml" in run("new", "my.rules").err
    assert run("new", "my.rules").code == 2
    told = run("new", "my.toml", "--from", "pioner_bull")
    assert (told.code, told.out) == (1, "")
    assert "did you mean 'pioneer_bull'?" in told.err
    told = run("new", "no/my.toml")
    assert told.code == 1
    assert "no/my.toml: the file cannot be written: No such file" in told.err
    assert run("new", "my.toml", "--profile", "loud").code == 2
    assert [*Path().iterdir()] == []


def test_a_new_file_where_there_are_no_second_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    atomic.new_file(tmp_path / "a", b"new")
    with pytest.raises(PermissionError):
        atomic.new_file(tmp_path / "a", b"newer")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [*tmp_path.iterdir()] == [tmp_path / "a"]


# -- fmt -----------------------------------------------------------------------------------------


def test_files_are_formatted_in_place(run: Command) -> None:
    Path("a.toml").write_text(UNTIDY, "utf-8")
    Path("b.toml").write_text(TIDY, "utf-8")
    Path("a.toml").chmod(0o640)
    before = Path("b.toml").stat()
    assert run("fmt", "a.toml", "b.toml") == Run(0, "a.toml: formatted\n", "")
    assert Path("a.toml").read_text("utf-8") == TIDY
    assert stat.S_IMODE(Path("a.toml").stat().st_mode) == 0o640
    assert Path("b.toml").stat().st_mtime_ns == before.st_mtime_ns
    assert Path("b.toml").stat().st_ino == before.st_ino
    assert run("fmt", "a.toml", "b.toml") == Run(0, "", "")


def test_a_link_stays_one(run: Command) -> None:
    Path("a.toml").write_text(UNTIDY, "utf-8")
    Path("link.toml").symlink_to("a.toml")
    assert run("fmt", "link.toml").code == 0
    assert Path("link.toml").is_symlink()
    assert Path("a.toml").read_text("utf-8") == TIDY


def test_check_names_what_would_change_and_writes_nothing(run: Command) -> None:
    Path("a.toml").write_text(UNTIDY, "utf-8")
    Path("b.toml").write_text(TIDY, "utf-8")
    assert run("fmt", "--check", "a.toml", "b.toml") == Run(1, "a.toml: would change\n", "")
    assert Path("a.toml").read_text("utf-8") == UNTIDY
    assert run("fmt", "--check", "b.toml") == Run(0, "", "")
    assert run("fmt", "--check", "-", stdin=UNTIDY.encode()) == Run(1, "-: would change\n", "")


def test_the_standard_input_and_output(run: Command) -> None:
    assert run("fmt", "-", stdin=UNTIDY.encode()) == Run(0, TIDY, "")
    Path("a.toml").write_text(UNTIDY, "utf-8")
    assert run("fmt", "--stdout", "a.toml") == Run(0, TIDY, "")
    assert Path("a.toml").read_text("utf-8") == UNTIDY
    for wrong in (["--stdout", "a.toml", "a.toml"], ["-", "a.toml"], ["--check", "--stdout", "-"]):
        assert run("fmt", *wrong).code == 2
    assert run("fmt").code == 2


def test_a_file_with_an_error_is_left_and_the_others_are_formatted(run: Command) -> None:
    wrong = UNTIDY.replace("change_5m", "vs('月饼', chnge_5m)")
    Path("a.toml").write_text(wrong, "utf-8")
    Path("b.toml").write_text(UNTIDY, "utf-8")
    Path("c.toml").write_bytes(b"\xff")
    Path("d.toml").mkdir()
    told = run("fmt", "a.toml", "c.toml", "d.toml", "e.toml", "b.toml")
    assert (told.code, told.out) == (1, "b.toml: formatted\n")
    message, excerpt, caret, advice, *rest = told.err.splitlines()
    assert message == "a.toml:7:16: rule 'a', when: there is no metric \"chnge_5m\""
    assert excerpt == "  7 | when=\"vs('月饼', chnge_5m) > 1\""
    # Each of the two characters before the caret is two columns wide.
    assert caret.index("^") - 2 == excerpt.index("chnge_5m")
    assert advice == "did you mean 'change_5m'?"
    assert rest == [
        "c.toml: this is no text in UTF-8 (byte 0)",
        "error: d.toml: Is a directory",
        "error: e.toml: No such file or directory",
    ]
    assert Path("a.toml").read_text("utf-8") == wrong
    assert run("fmt", "-", stdin=wrong.encode()).err.startswith("-:7:16: rule 'a', when: ")


def test_an_excerpt_is_the_line_that_editors_count(run: Command) -> None:
    text = f'{RULE}title = "a\u2028b\x85c"\ncooldown = "5 min"\n'
    told = run("fmt", "-", stdin=text.encode())
    assert "-:6:12: rule 'a', cooldown: " in told.err
    assert '  6 | cooldown = "5 min"\n' in told.err
    assert "did you mean '5m'?" in told.err


def test_a_file_that_cannot_be_written_is_told(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    Path("a.toml").write_text(UNTIDY, "utf-8")
    monkeypatch.setattr("screener.cli.authoring.replace_file", full)
    told = run("fmt", "a.toml")
    assert told.code == 1
    assert "error: a.toml: the file cannot be written: No space left on device" in told.err
    assert "make room" in told.err


# -- schema, show --------------------------------------------------------------------------------


def test_the_schema_is_printed_and_written(run: Command) -> None:
    printed = run("schema")
    assert json.loads(printed.out) == rules_schema()
    for _ in range(2):
        told = run("schema", "--out", "rules.schema.json")
        assert told.out == (
            "wrote rules.schema.json: name it in a file of rules as #:schema ./rules.schema.json\n"
        )
    assert Path("rules.schema.json").read_text("utf-8") == printed.out
    assert run("new", "my.toml").err == ""
    assert run("schema", "--out", "my.toml").code == 2


def test_rules_are_shown_in_the_same_layout(run: Command) -> None:
    Path("my.toml").write_text(
        f'groups.x = ["A"]\n{RULE}hold="60s"\n'
        '[[rule.override]]\nwhen = "change_5m>2"\ngroups=["x"]\n'
    )
    shown = run("show", "my.toml").out
    assert format_rules(shown) == shown
    assert screener.RuleSet.parse(shown) == screener.RuleSet.load("my.toml")
    assert run("show", "a", "--rules", "my.toml").out == shown
    for preset in presets():
        for name in screener.RuleSet.load(preset).names:
            shown = run("show", name).out
            assert format_rules(shown) == shown


def test_the_documented_commands(run: Command) -> None:
    page = (Path(__file__).parents[1] / "docs" / "rules.md").read_text("utf-8")
    commands = page.partition("## Files\n")[2].partition("```sh\n")[2].partition("```")[0]
    for command in commands.splitlines():
        program, rules, *arguments = shlex.split(command)
        assert (program, rules) == ("screener", "rules")
        assert run(*arguments).code == 0, command
    assert commands.count("\n") == 7
