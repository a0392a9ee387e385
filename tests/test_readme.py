"""What the README shows works as it is printed."""

from __future__ import annotations

import hashlib
import re
import uuid
from pathlib import Path

import pytest

import screener

README = Path(__file__).parents[1] / "README.md"


def _blocks(language: str) -> list[str]:
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    (notebook,) = _blocks("python")
    names: dict[str, object] = {}
    exec(compile(notebook, str(README), "exec"), names)  # noqa: S102
    printed = capsys.readouterr().out
    assert "pioneer_bull" in printed
    metrics = screener.Engine().windows
    assert metrics == ["5m", "15m", "1h", "4h", "8h", "1d"]
    assert len(names["metrics"]) == 178  # type: ignore[arg-type]


def test_the_rule() -> None:
    (rule,) = _blocks("toml")
    assert screener.RuleSet.parse(rule, floors=True).names == ["waking_up"]


def test_the_table_of_rules_is_whole() -> None:
    text = README.read_text(encoding="utf-8")
    for rule in screener.RuleSet.load("futures"):
        assert f"| {rule.title} |" in text
    assert len(text.splitlines()) < 200


def test_the_documented_identity() -> None:
    """docs/architecture.md tells an alert's id and a rule's version; both are the engine's."""
    page = (README.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    (vector,) = re.findall(r"Test vector: `([^`]+)` is\n`([^`]+)`", page)
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "screener")
    assert f"`{namespace}`" in page
    assert str(uuid.uuid5(namespace, vector[0])) == vector[1]
    ((text, version),) = re.findall(r"```\n(name=.*?)```\n[^`]*`(\w+)`", page, flags=re.DOTALL)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == version
    assert screener.RuleSet.load("futures")["pioneer_bull"].version == version
