"""What runs the roles in containers is well formed, and gives them no more than they need."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart import DEPLOY

from screenerd.config import load

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit"} <= service.keys()
    assert "privileged" not in service
    assert name == "folders" or not service["user"].startswith("0")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_no_secret_has_a_default() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    for name in ("NATS_TOKEN", "POSTGRES_PASSWORD"):
        assert set(re.findall(rf"\$\{{{name}([^}}]*)\}}", text)) == {":?set it in .env"}
    example = (DEPLOY / "example.env").read_text()
    assert not re.search(r"(TOKEN|PASSWORD)=.", example)


@pytest.mark.parametrize("name", ["ingest", "screen", "persist", "notify", "serve", "ingest-demo"])
def test_the_settings_of_a_role_are_settings(name: str) -> None:
    given = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    filled = {
        key: re.sub(r"\$\{\w+(?::-([^}]*)|[^}]*)\}", lambda m: m[1] or "x", value)
        for key, value in given.items()
    }
    config = load(environment=filled)
    assert config.bus.servers == ("nats://nats:4222",)
    assert config.store.url is not None


def test_one_process_more_than_workers_screens() -> None:
    workers = int(
        re.findall(r"\d+", SERVICES["screen"]["environment"]["SCREENER_SCREEN__WORKERS"])[0]
    )
    assert SERVICES["screen"]["deploy"]["replicas"] == f"${{SCREEN_REPLICAS:-{workers + 1}}}"


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            if volume.startswith("."):
                assert (DEPLOY / volume.split(":")[0]).exists(), volume


def test_the_broker_writes_through() -> None:
    assert "sync_interval: always" in (DEPLOY / "nats" / "nats.conf").read_text()


def test_what_the_image_copies_is_there_and_let_through() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        line.split()[1:-1] for line in text.splitlines() if re.match(r"COPY (?!--from)", line)
    ]
    assert copied
    for source in (one for line in copied for one in line):
        assert (ROOT / source).exists(), source
        assert f"!{source}" in allowed
    last = text.split("\nFROM ")[-1]
    assert "USER 10001:10001" in last
    assert "apt-get" not in last


def test_the_image_is_made_as_images_should_be() -> None:
    subprocess.run(["hadolint", str(DEPLOY / "Dockerfile")], check=True)


def test_compose_takes_its_file(tmp_path: Path) -> None:
    """Debian's Compose is older than the `name` of a project."""
    text = (DEPLOY / "compose.yaml").read_text().replace("\nname: screener\n", "\n")
    (tmp_path / "compose.yaml").write_text(text, encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    done = subprocess.run(
        ["docker-compose", "--file", "compose.yaml", "config"],
        cwd=tmp_path,
        env=os.environ | dict.fromkeys(asked, "given") | {"COMPOSE_PROFILES": "demo,metrics"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    taken = yaml.safe_load(done.stdout)["services"]
    assert taken.keys() == SERVICES.keys()
    assert all(one["read_only"] for one in taken.values())


@pytest.mark.parametrize("script", sorted(DEPLOY.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_sound(script: Path) -> None:
    subprocess.run(
        ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR", script], check=True
    )
