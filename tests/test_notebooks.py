"""The notebooks of `examples/` run as they are, and what is kept of their output is still true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE = EXAMPLES.parent / "docs" / "notebooks.md"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
SECONDS = 600
LARGEST_FIGURE = 100_000


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def run(path: Path, folder: Path) -> Any:
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(read(path), timeout=SECONDS, kernel_name="python3", resources=resources)
    return client.execute()


def printed(notebook: Any) -> str:
    """All that its cells have printed."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return "".join(output.text for output in outputs if output.output_type == "stream")


def pictures(notebook: Any) -> list[str]:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    data = (output.get("data", {}) for output in outputs)
    return [each["image/png"] for each in data if "image/png" in each]


def test_a_rule_of_your_own(tmp_path: Path) -> None:
    notebook = run(EXAMPLES / "your_own_rule.ipynb", tmp_path)
    assert "did you mean 'change_5m'" in printed(notebook)
    assert "total return" in printed(notebook)
    assert len(pictures(notebook)) == 4
    assert (tmp_path / "alerts.png").read_bytes().startswith(b"\x89PNG")


def test_the_ten_rules_over_real_candles(shared_data: Path) -> None:
    if not (shared_data / "klines").is_dir():
        pytest.skip("the real candles are not here")
    path = EXAMPLES / "ten_rules.ipynb"
    kept = read(path)
    notebook = run(path, EXAMPLES)
    # Chance has no part in what is printed, so that it is the same to the last digit.
    assert printed(notebook) == printed(kept)
    assert len(pictures(notebook)) == len(pictures(kept)) == 5


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python of docs/notebooks.md runs as printed, and every notebook is named there."""
    text = PAGE.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102
    assert {path.name for path in tmp_path.iterdir()} == {
        "alerts.png",
        "scorecard.png",
        "backtest.svg",
    }
    for path in NOTEBOOKS:
        assert f"](../examples/{path.name})" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_kept_is_small_and_of_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = read(path)
    nbformat.validate(notebook)
    assert not re.search(r"/(home|root|tmp|work|Users)/|[A-Z]:\\\\", text)
    assert all(len(picture) < LARGEST_FIGURE for picture in pictures(notebook))
    assert "Traceback" not in text
