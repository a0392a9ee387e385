"""Rules of a preset and of files beside it: one set, or what is wrong, with its place."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import screener
from screenerd import rulefiles
from screenerd.config import ConfigError, load
from screenerd.rulefiles import LARGEST, MissingError, RulesError, RuleSources, read

JUMP = """
[[rule]]
name = "jump"
timeframe = "7m"
when = "change_7m >= 0.2"
"""


def sources(*files: Path, name: str = "futures") -> RuleSources:
    return RuleSources(name, files, floors=True)


def test_the_preset_and_files_beside_it_are_one_set(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine.toml", tmp_path / "規則.toml"
    mine.write_text(JUMP)
    other.write_text(JUMP.replace("jump", "跳"), encoding="utf-8")
    rules = rulefiles.load(sources(mine, other))
    preset = screener.RuleSet.load("futures", floors=True)
    assert rules.names == [*preset.names, "jump", "跳"]
    assert rules.floors
    assert all(rules[name].version == preset[name].version for name in preset.names)
    assert rules["jump"] == screener.RuleSet.parse(JUMP, floors=True)["jump"]
    assert rulefiles.load(sources(name=str(mine))).names == ["jump"], "a file in the preset's place"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"line 1, column 1: .*there are no rules"),
        (JUMP.encode()[:40], r"line \d+, column \d+: "),
        (JUMP.replace("0.2", "volum_5m").encode(), r"line 5, column \d+: rule 'jump' when: .*"),
        (JUMP.encode() + b"\n\xff\xfe", r"line 7, column 1: this is no UTF-8 text"),
        (bytes(range(256)) * 20, r"line \d+, column \d+: this is no UTF-8"),
        (b"[[rule]]\n\x00", r"line 2, column \d: "),
        (b"x" * 10_000_000, r"more than 1 MiB"),
        (JUMP.replace("jump", "top_hunter").encode(), r"line 3, column 8: .*is in futures already"),
        ((JUMP + JUMP).encode(), r"line \d+, column \d+: .*two rules called"),
    ],
    ids=["empty", "half", "typo", "tail", "binary", "nul", "10 MB", "the preset's name", "twice"],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(RulesError, match=rf"^{file}.*{told}"):
        rulefiles.load(sources(file))


def test_two_files_with_a_rule_of_the_same_name(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(JUMP)
    two.write_text(JUMP)
    with pytest.raises(RulesError, match=rf"{two}, line 3, column 8: rule 'jump' is in {one} alr"):
        rulefiles.load(sources(one, two))


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    told = {"folder": "folder", "pipe": "no file", "loop": "symbolic links", "none": "no such"}
    for name, words in told.items():
        with pytest.raises(RulesError, match=words) as caught:
            read(tmp_path / f"{name}.toml")
        assert isinstance(caught.value, MissingError) == (name == "none")

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RulesError, match=r"cannot be read: Permission denied"):
        read(tmp_path / "x.toml")


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("#" * (LARGEST - len(JUMP)) + JUMP)
    assert "jump" in rulefiles.load(sources(file))


def test_a_preset_that_is_none_is_told() -> None:
    with pytest.raises(RulesError, match=r"rules\.name: there is no rule set \"futurs\".*futures"):
        rulefiles.load(sources(name="futurs"))


def test_the_configuration_names_files(tmp_path: Path) -> None:
    file = tmp_path / "screener.toml"
    file.write_text('[rules]\nfiles = ["a.toml", "b.toml"]\n')
    config = load(file, {})
    assert config.rules.sources == RuleSources("futures", (Path("a.toml"), Path("b.toml")))
    given = {"SCREENER_RULES__FILES": '["c.toml"]'}
    assert load(file, given).rules.sources.paths == (Path("c.toml"),)
    for text, told in (
        ('["a.json"]', "does not end with .toml"),
        ('["a.toml", "a.toml"]', "twice"),
    ):
        file.write_text(f"[rules]\nfiles = {text}\n")
        with pytest.raises(ConfigError, match=rf"rules.files .*{told}"):
            load(file, {})
