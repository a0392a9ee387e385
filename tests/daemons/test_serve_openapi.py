"""The document says what the routes do: thousands of generated calls, and no surprise."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from served import serving

EXAMPLES = os.environ.get("SCREENER_EXAMPLES", "60")
"""Generated calls of each route and phase; `SCREENER_EXAMPLES=5000` makes tens of thousands."""

SECONDS = 600 + 2 * int(EXAMPLES)

REFUSALS = """
[checks]
negative_data_rejection.expected-statuses = [
    "400", "401", "403", "404", "405", "409", "413", "415", "422", "429",
]
"""
"""Statuses that refuse a bad request: a large one is refused for its size (413) before it is read,
which the tool does not count among them by itself."""


@pytest.mark.asyncio
async def test_generated_calls_meet_no_error_and_nothing_undocumented(tmp_path: Path) -> None:
    """Schemathesis, with all its checks, good and bad input."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(REFUSALS)
    async with serving(tmp_path / "s.db") as served:
        await served.publish_metrics()
        for _ in range(20):
            await served.publish()
        checking = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run"),
            served.serve.address + "/openapi.json",
            *("--checks", "all", "--max-examples", EXAMPLES, "--workers", "1"),
            *("--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-color"),
            # A busy machine is no fault of the routes.
            *("--suppress-health-check", "too_slow", "--request-timeout", "60"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
        )
        async with asyncio.timeout(SECONDS):
            told = (await checking.communicate())[0].decode()
        assert (await served.get("/health/live"))[0] == 200
    calls = re.search(r"(\d+) generated", told)
    assert checking.returncode == 0, told[-8000:]
    assert calls is not None, told[-2000:]
    assert int(calls[1]) >= 14 * int(EXAMPLES) / 4
    sys.stdout.write(told[-1500:])
