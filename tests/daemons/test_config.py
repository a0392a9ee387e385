"""Defaults, file, environment, flags; and what is wrong is told by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from screenerd.config import ConfigError, load


def test_each_source_overrides_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "screener.toml"
    file.write_text('[store]\npath = "file.db"\nretention_hours = 72\n[demo]\nspeed = 2\n')
    environment = {
        "SCREENER_STORE__RETENTION_HOURS": "96",
        "SCREENER_DEMO__SPEED": "3",
        "HOME": "x",
    }
    config = load(file, environment, {"demo": {"speed": 4.0, "symbols": None}})
    assert config.store.path == Path("file.db")
    assert config.store.retention_hours == 96
    assert config.demo.speed == 4.0
    assert config.demo.symbols == 40
    assert load(None, {}).store.retention_hours == 48


@pytest.mark.parametrize(
    ("text", "environment", "told"),
    [
        ("[store]\npth = 1", {}, "store.pth .*screener.toml.* is no setting"),
        ("[shop]\npath = 1", {}, "shop .*is no setting"),
        ("[demo]\nspeed = -1", {}, "demo.speed = -1 .*greater than 0"),
        ("", {"SCREENER_DEMO__SPEED": "fast"}, "demo.speed = 'fast' .*the environment"),
        ("", {"SCREENER_SPEED": "1"}, "speed .*the environment.* is no setting"),
        ("[store\n", {}, "is not TOML"),
        ("store = 7", {}, "store = 7"),
    ],
)
def test_what_is_wrong_is_told_by_name(
    tmp_path: Path, text: str, environment: dict[str, str], told: str
) -> None:
    file = tmp_path / "screener.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load(file, environment)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml", {})
