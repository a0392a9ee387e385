"""The Python and the commands of docs/rules.md run as printed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from screener.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "rules.md"


def section_of(title: str) -> str:
    """The text under a heading of the page."""
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    (section,) = (text for text in sections if text.startswith(title + "\n"))
    return section


def test_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102
    # Of what is shown chance has no part in the figures up to the hit rate.
    (shown,) = re.findall(r"\n```\n(rule .*?)```", text, flags=re.DOTALL)
    printed = capsys.readouterr().out
    head, *lines = shown.splitlines()
    assert head in printed
    for line in lines:
        assert line[: head.index("hit %") + len("hit %")] in printed


def test_the_explanations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = section_of("Why did it not fire?")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)
    commands = [text for kind, text in blocks if kind == "sh"]
    shown = [text for kind, text in blocks if not kind]
    assert len(commands) == 2
    for command, expected in zip(commands, shown, strict=True):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        assert capsys.readouterr().out.strip() == expected.strip()


def test_the_preview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = section_of("How often would it fire?")
    (rules,) = re.findall(r"```toml\n(.*?)```", section, flags=re.DOTALL)
    (command,) = re.findall(r"```sh\n(.*?)\n```", section, flags=re.DOTALL)
    (shown,) = re.findall(r"\n```\n(\d.*?)```", section, flags=re.DOTALL)
    (tmp_path / "my.toml").write_text(rules, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    printed = capsys.readouterr().out.splitlines()
    assert len(shown.splitlines()) > 10
    for line in shown.splitlines():
        assert line in printed
