"""The Python of docs/rules.md runs as printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[1] / "docs" / "rules.md"


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
