"""Dashboards and alert rules ask only for what the code tells, or the exporter of NATS."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from exposition import ROLES, names, of_role

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
FILES = ROOT / "daemons" / "deploy" / "helm" / "screener" / "files"
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))
FOREIGN = {"nats_consumer_num_pending", "up"}
METRIC = re.compile(r"\b(?:[a-z]+_[a-z_]*[a-z]|up)(?=\s*[\[{)=])")
WORDS = {"histogram_quantile"}


def _rules() -> list[dict[str, Any]]:
    told = yaml.safe_load((FILES / "alerts.yaml").read_text())
    return [rule for group in told["groups"] for rule in group["rules"]]


def _expressions() -> list[str]:
    panels = [one for path in DASHBOARDS for one in json.loads(path.read_text())["panels"]]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    return asked + [rule["expr"] for rule in _rules()]


def _asked(expression: str) -> set[str]:
    """The metrics of an expression: no label, no text, no function."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\bby \([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}", "{", bare)
    return set(METRIC.findall(bare)) - WORDS


@pytest.mark.parametrize("expression", _expressions())
def test_what_is_asked_for_is_told(expression: str) -> None:
    asked = _asked(expression)
    assert asked, "no metric is asked for"
    told = set().union(*(names(of_role(role)) for role in ROLES))
    assert asked <= told | FOREIGN


@pytest.mark.parametrize("expression", _expressions())
def test_expressions_are_promql(expression: str) -> None:
    pytest.importorskip("promql_parser").parse(expression)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == f"screener-{path.stem}"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert all(panel["title"] and panel["targets"] for panel in board["panels"])


def test_every_part_has_a_dashboard() -> None:
    assert {path.stem for path in DASHBOARDS} == {"collector", "calculator", "engine", "gateway"}


def test_every_alert_is_explained() -> None:
    told = (ROOT / "docs" / "cluster.md").read_text()
    rules = _rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert f"`{rule['alert']}`" in told
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
