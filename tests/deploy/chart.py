"""The chart, rendered with the language and the functions of Helm's templates."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "daemons" / "deploy"
CHART = DEPLOY / "helm" / "screener"
RELEASE = {"Name": "market", "Namespace": "screener", "Service": "Helm"}
DEBIAN = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
"""Where Debian's packages put the libraries of `render.go`."""

Object = dict[str, Any]


class RenderError(Exception):
    """A template has refused what it was given."""


@dataclass(frozen=True, slots=True)
class Chart:
    """What renders it, compiled."""

    renderer: Path

    @classmethod
    def build(cls, folder: Path) -> Chart:
        """Compiles the renderer."""
        renderer = folder / "render"
        source = Path(__file__).with_name("render.go")
        command = ["go", "build", "-o", str(renderer), str(source)]
        environment = (
            os.environ | DEBIAN | {"GOCACHE": os.environ.get("GOCACHE", str(folder / "cache"))}
        )
        subprocess.run(command, env=environment, check=True)
        return cls(renderer)

    def texts(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Each template's text; `values` are laid over the chart's own.

        Raises:
            RenderError: a template has refused them.
        """
        given = {
            "Values": laid_over(yaml.safe_load((CHART / "values.yaml").read_text()), values),
            "Release": RELEASE,
            "Chart": {
                "AppVersion": yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
            },
        }
        done = subprocess.run(
            [self.renderer, CHART], input=json.dumps(given), capture_output=True, text=True
        )
        if done.returncode:
            raise RenderError(done.stderr)
        texts: dict[str, str] = json.loads(done.stdout)
        empty = [name for name, text in texts.items() if "<no value>" in text]
        if empty:
            raise RenderError(f"a value that is null is written out in {', '.join(empty)}")
        return texts

    def objects(self, values: Mapping[str, Any]) -> list[Object]:
        """What a cluster is given."""
        texts = self.texts(values)
        texts.pop("NOTES.txt")
        return [one for text in texts.values() for one in yaml.load_all(text, _Strict) if one]


def _map(loader: Any, node: Any) -> dict[Any, Any]:
    """A map that names no key twice: a cluster refuses one that does."""
    names = [key.value for key, _ in node.value]
    if len(names) != len(set(names)):
        raise RenderError(f"a key comes twice in {names}")
    made: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return made


_Strict: Any = type("_Strict", (yaml.SafeLoader,), {})
_Strict.add_constructor("tag:yaml.org,2002:map", _map)


def laid_over(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Values with others in their places, map by map; a null takes a value away."""
    merged = dict(values)
    for key, value in others.items():
        if value is None:
            merged.pop(key, None)
            continue
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            value = laid_over(below, value)
        merged[key] = value
    return merged


def pods(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Each Deployment and StatefulSet, and the template of its pods."""
    for one in objects:
        if one["kind"] in {"Deployment", "StatefulSet"}:
            yield one, one["spec"]["template"]


def picks(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a selector picks what has these labels."""
    return selector.items() <= labels.items()
