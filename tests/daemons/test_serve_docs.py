"""docs/api.md: every route has its examples, and each of them runs as printed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import sys
from pathlib import Path

import pytest
from served import Served, serving

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
BLOCK = re.compile(r"^```(sh|python|js)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = "http://127.0.0.1:8080"


def sections() -> dict[str, list[tuple[str, str]]]:
    """The examples by the heading they stand under."""
    parts = DOCUMENT.read_text(encoding="utf-8").split("\n## ")
    return {part.splitlines()[0]: BLOCK.findall(part) for part in parts}


SECTIONS = sections()
SHARED = dict(next(iter(SECTIONS.values())))
EXAMPLES = [
    pytest.param(kind, code, id=f"{title}-{kind}-{number}")
    for title, blocks in list(SECTIONS.items())[1:]
    for number, (kind, code) in enumerate(blocks)
]


async def output(served: Served, command: list[str], folder: Path) -> str:
    """What a command tells while alerts come; it has to succeed."""
    running = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    async def tell_alerts() -> None:
        while True:
            await asyncio.sleep(0.2)
            await served.publish()

    telling = asyncio.create_task(tell_alerts())
    try:
        async with asyncio.timeout(60):
            told = (await running.communicate())[0].decode()
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling
    assert running.returncode == 0, told
    return told


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "code"), EXAMPLES)
async def test_an_example_runs_as_printed(tmp_path: Path, kind: str, code: str) -> None:
    async with serving(tmp_path / "s.db") as served:
        await served.publish_metrics()
        await served.publish()
        text = (SHARED.get(kind, "") + code).replace(NAMED, served.serve.address)
        if kind == "sh":
            command = ["bash", "-euo", "pipefail", "-c", text.replace("curl -s", "curl -sSf")]
        elif kind == "python":
            command = [sys.executable, "-c", text]
        else:
            node = shutil.which("node")
            if node is None:
                pytest.skip("node is not here")
            (tmp_path / "example.mjs").write_text(text, encoding="utf-8")
            command = [node, "--experimental-websocket", "--no-warnings", "example.mjs"]
        told = await output(served, command, tmp_path)
    assert told.strip(), "it tells something"


@pytest.mark.asyncio
async def test_every_route_is_described_in_every_language(tmp_path: Path) -> None:
    async with serving(tmp_path / "s.db") as served:
        _, value, _ = await served.get("/openapi.json")
    text = DOCUMENT.read_text(encoding="utf-8")
    for path, methods in value["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in text
    for title, blocks in list(SECTIONS.items())[1:]:
        if title.startswith(("GET", "PUT", "POST")):
            assert {"sh", "python", "js"} <= {kind for kind, _ in blocks}, title
