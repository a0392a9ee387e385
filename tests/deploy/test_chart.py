"""The chart, rendered: a cluster takes what it makes, and its parts find each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from chart import CHART, Chart, Object, RenderError, laid_over, picks, pods

from screenerd.config import load

URL = {"secrets": {"storeUrl": "postgresql://screener@db/screener"}}
FROM = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "front"}}}]
EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": [{"name": "registry"}],
    "bus": {"servers": ["nats://a:4222", "nats://b:4222"], "replicas": 3},
    "secrets": {"storeUrl": "postgresql://x", "busToken": "t0ken", "jwtSecret": "s3cret" * 8},
    "jwt": {"issuer": "https://example.supabase.co/auth/v1"},
    "env": {"SCREENER_LOG__LEVEL": "debug", "SCREENER_SERVE__REQUESTS_A_MINUTE": "600"},
    "config": '[log]\nformat = "json"\n',
    "screen": {"workers": 4},
    "serve": {"from": FROM},
    "networkPolicy": {"metricsFrom": FROM},
    "serviceMonitor": {"enabled": True, "labels": {"release": "p"}, "serveTokenSecret": "scrape"},
    "prometheusRule": {"enabled": True, "labels": {"release": "p"}},
    "dashboards": {"enabled": True},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "as it comes": URL,
    "everything": EVERYTHING,
    "a secret of one's own": {"secrets": {"existing": "mine"}},
    "as many as are told": URL
    | {"serve": {"autoscaling": {"enabled": False}}, "networkPolicy": {"enabled": False}},
}
ROLES = {"ingest", "screen", "persist", "notify", "serve"}
OPERATORS = {"ServiceMonitor", "PrometheusRule"}
"""Kinds that Kubernetes itself does not know."""

VERSIONS = ["1.27", "1.37"]


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    return Chart.build(tmp_path_factory.mktemp("chart"))


@pytest.fixture(params=SETTINGS)
def objects(chart: Chart, request: pytest.FixtureRequest) -> list[Object]:
    return chart.objects(SETTINGS[request.param])


def of(objects: list[Object], kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(objects: list[Object], version: str) -> None:
    known = [one for one in objects if one["kind"] not in OPERATORS]
    assert len(known) >= 16
    for one in known:
        kubernetes_validate.validate(one, version, strict=True)


def test_what_kubernetes_does_not_take_is_found_out(chart: Chart) -> None:
    broken = URL | {"screen": {"resources": {"limits": {"memory": ["much"]}}}}
    [screen] = of(chart.objects(broken), "StatefulSet").values()
    with pytest.raises(kubernetes_validate.ValidationError, match="much"):
        kubernetes_validate.validate(screen, VERSIONS[0], strict=True)


def test_each_object_is_named_once_and_labelled(objects: list[Object]) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))
    for one in objects:
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "market"


def test_every_role_runs_and_what_concerns_it_finds_it(objects: list[Object]) -> None:
    labels = {}
    for owner, pod in pods(objects):
        assert picks(owner["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"])
        [container] = pod["spec"]["containers"]
        [role] = container["args"]
        labels[role] = pod["metadata"]["labels"]
        for spread in pod["spec"]["topologySpreadConstraints"]:
            assert picks(spread["labelSelector"]["matchLabels"], labels[role])
    assert labels.keys() == ROLES
    policies = of(objects, "NetworkPolicy").values()
    selectors = [
        *(one["spec"]["selector"] for one in of(objects, "Service").values()),
        *(
            one["spec"]["selector"]["matchLabels"]
            for one in of(objects, "PodDisruptionBudget").values()
        ),
        *(one["spec"]["podSelector"]["matchLabels"] for one in policies),
    ]
    assert len(selectors) == len(ROLES) * (3 if policies else 2)
    for selector in selectors:
        assert sum(picks(selector, its) for its in labels.values()) == 1


def test_ports_are_those_that_are_listened_on(objects: list[Object]) -> None:
    """A role's probes are at the image's own port, those of `serve` where it answers."""
    listened = {}
    for _, pod in pods(objects):
        [container] = pod["spec"]["containers"]
        [port] = container["ports"]
        [role] = container["args"]
        listened[role] = port["containerPort"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == port["name"]
    assert listened == dict.fromkeys(ROLES, 9100) | {"serve": 8080}
    for name, service in of(objects, "Service").items():
        [port] = service["spec"]["ports"]
        assert port["targetPort"] == "http"
        assert port["port"] == listened[name.removeprefix("market-")]
    for name, policy in of(objects, "NetworkPolicy").items():
        for rule in policy["spec"]["ingress"]:
            assert rule["ports"] == [{"port": listened[name.removeprefix("market-")]}]


def test_settings_are_settings_and_secrets_are_where_they_are_looked_for(
    objects: list[Object], tmp_path: Path
) -> None:
    secrets = of(objects, "Secret")
    for _, pod in pods(objects):
        [container] = pod["spec"]["containers"]
        environment = {}
        for variable in container["env"]:
            value = variable.get("value")
            if value is None:
                where = variable["valueFrom"]["secretKeyRef"]
                held = secrets.get(where["name"], {"stringData": {}})["stringData"]
                there = where["key"] in held or where["name"] == "mine"
                assert there or where.get("optional")
                value = held.get(where["key"], "postgresql://mine/x" if there else None)
            if value is not None:
                environment[variable["name"]] = value
        file = environment.pop("SCREENERD_CONFIG", None)
        if file:
            mount = next(one for one in container["volumeMounts"] if one["name"] == "config")
            volume = next(one for one in pod["spec"]["volumes"] if one["name"] == "config")
            text = secrets[volume["secret"]["secretName"]]["stringData"]["screener.toml"]
            assert file == f"{mount['mountPath']}/screener.toml"
            file = tmp_path / "screener.toml"
            file.write_text(text, encoding="utf-8")
        config = load(file, environment=environment)
        assert config.store.url is not None
        assert config.bus.servers
        assert config.screen.workers == _standing(objects)["screen"] - 1


def _standing(objects: list[Object]) -> dict[str, int]:
    """How many of each role there are, but of those whose number is another's to say."""
    return {
        pod["spec"]["containers"][0]["args"][0]: owner["spec"]["replicas"]
        for owner, pod in pods(objects)
        if "replicas" in owner["spec"]
    }


def test_one_says_how_many_there_are(objects: list[Object]) -> None:
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]
        for one in of(objects, "HorizontalPodAutoscaler").values()
    }
    assert scaled <= of(objects, "Deployment").keys()
    standing = _standing(objects)
    assert {f"market-{role}" for role in ROLES - standing.keys()} == scaled
    assert all(count >= 2 for count in standing.values()), "one that works, and one that stands by"


def test_pods_may_do_nothing_but_their_work(objects: list[Object]) -> None:
    for _, pod in pods(objects):
        spec = pod["spec"]
        [container] = spec["containers"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"].keys() == {"memory"}


def test_who_scrapes_and_who_looks_gets_all_of_it(chart: Chart) -> None:
    objects = chart.objects(EVERYTHING)
    services = of(objects, "Service")
    monitors = of(objects, "ServiceMonitor")
    assert monitors.keys() == services.keys()
    for name, monitor in monitors.items():
        found = [
            other
            for other, service in services.items()
            if picks(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
        ]
        assert found == [name]
    [rule] = of(objects, "PrometheusRule").values()
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    [dashboards] = of(objects, "ConfigMap").values()
    files = {path.name: path.read_text() for path in (CHART / "files" / "dashboards").iterdir()}
    assert dashboards["data"] == files


def test_what_is_missing_is_named(chart: Chart) -> None:
    with pytest.raises(RenderError, match=r"set secrets\.storeUrl, or secrets\.existing"):
        chart.texts({})
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for given in SETTINGS.values():
        jsonschema.validate(laid_over(values, given), schema)


def test_notes_say_what_to_do_next(chart: Chart) -> None:
    assert "set jwt.issuer" in chart.texts(URL)["NOTES.txt"]
    assert "set jwt.issuer" not in chart.texts(EVERYTHING)["NOTES.txt"]
    assert "service/market-serve 8080" in chart.texts(EVERYTHING)["NOTES.txt"]
