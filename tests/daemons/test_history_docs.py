"""The commands and the Python of docs/history.md run as printed, against the built-in market."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from fetching import SCREENER, rigged

TEXT = (Path(__file__).parents[2] / "docs" / "history.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)
ADDRESS = "http://127.0.0.1:8090"


async def run(kind: str, code: str, folder: Path) -> None:
    """A block in a folder; it has to succeed."""
    program = ["bash", "-euc", code] if kind == "sh" else [sys.executable, "-c", code]
    path = os.pathsep.join([str(SCREENER.parent), os.environ["PATH"]])
    process = await asyncio.create_subprocess_exec(
        *program,
        cwd=folder,
        env=os.environ | {"PATH": path, "SCREENER_HISTORY": "history"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, f"{code}\n{out.decode()}\n{err.decode()}"


@pytest.mark.asyncio
async def test_what_is_printed_runs(tmp_path: Path) -> None:
    blocks = [(kind, code) for kind, code in BLOCK.findall(TEXT) if "screenerd market" not in code]
    assert len(blocks) >= 2
    async with rigged(8) as rig:
        for kind, code in blocks:
            await run(kind, code.replace(ADDRESS, rig.exchange.rest_url), tmp_path)
    assert [*tmp_path.glob("history/exchange=binance/symbol=*/2025-02.parquet")]
