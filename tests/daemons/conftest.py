"""What the tests of the daemons share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from databases import empty, fresh_database
from store_places import KINDS, Place, PostgresPlace, SqlitePlace


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


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """A database that tests empty; skips where no server answers."""
    with fresh_database() as url:
        yield url


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where an empty store of each kind can be opened."""
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path / "s.db")
        return
    url = request.getfixturevalue("database")
    empty(url)
    yield PostgresPlace(url)
