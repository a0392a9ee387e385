"""What the tests of the daemons share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Events go nowhere, unless a test looks for them."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of recorded frames; skips where it is absent."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "messages"
    if not folder.is_dir():
        pytest.skip("recorded frames are not beside this checkout (../shared/data/messages)")
    return folder
