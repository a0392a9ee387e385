"""The chart, rendered: a cluster takes what it makes, and its parts find each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from chart import CHART, Chart, Object, RenderError, laid_over, picks, pods

from screenerd.config import Config, load

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
    "watched": URL
    | {name: {"enabled": True} for name in ("serviceMonitor", "prometheusRule", "dashboards")},
    "as many as are told": URL
    | {"serve": {"autoscaling": {"enabled": False}}, "networkPolicy": {"enabled": False}},
}
MINE = {"store-url": "postgresql://mine/x"}
"""What is in a Secret that is not the chart's."""

ROLES = {"ingest", "screen", "persist", "notify", "serve"}
OPERATORS = {"ServiceMonitor", "PrometheusRule"}
"""Kinds that Kubernetes itself does not know."""

OLDEST = "1.27"
VERSIONS = [OLDEST, "1.37"]


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
        assert kubernetes_validate.validate(one, version, strict=True) == version
    said = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    assert said == f">={OLDEST}.0-0"


def test_what_kubernetes_does_not_take_is_found_out(chart: Chart) -> None:
    broken = URL | {"screen": {"resources": {"limits": {"memory": ["much"]}}}}
    [screen] = of(chart.objects(broken), "StatefulSet").values()
    with pytest.raises(kubernetes_validate.ValidationError, match="much"):
        kubernetes_validate.validate(screen, OLDEST, strict=True)


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


def _configs(objects: list[Object], folder: Path) -> dict[str, Config]:
    """What each role is told, read as it reads it: variables, Secrets and the mounted file."""
    secrets, configs = of(objects, "Secret"), {}
    for _, pod in pods(objects):
        [container] = pod["spec"]["containers"]
        names = [variable["name"] for variable in container["env"]]
        assert len(names) == len(set(names))
        environment = {}
        for variable in container["env"]:
            value = variable.get("value")
            if value is None:
                where = variable["valueFrom"]["secretKeyRef"]
                held = secrets.get(where["name"], {"stringData": MINE})["stringData"]
                value = held.get(where["key"])
                assert value or where.get("optional"), where
            if value is not None:
                environment[variable["name"]] = value
        volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
        mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
        assert volumes.keys() == mounts.keys()
        file = None
        if "SCREENERD_CONFIG" in environment:
            secret = secrets[volumes["config"]["secret"]["secretName"]]
            [(name, text)] = secret["stringData"].items()
            assert environment.pop("SCREENERD_CONFIG") == f"{mounts['config']}/{name}"
            file = folder / name
            file.write_text(text, encoding="utf-8")
        configs[container["args"][0]] = load(file, environment=environment)
    return configs


def test_settings_are_settings_and_secrets_are_where_they_are_looked_for(
    objects: list[Object], tmp_path: Path
) -> None:
    configs = _configs(objects, tmp_path)
    assert configs.keys() == ROLES
    for config in configs.values():
        assert config.store.url is not None
        assert config.bus.servers
        assert config.screen.workers == _standing(objects)["screen"] - 1


def test_every_value_reaches_its_roles(chart: Chart, tmp_path: Path) -> None:
    objects = chart.objects(EVERYTHING)
    configs = _configs(objects, tmp_path)
    assert configs.keys() == ROLES
    for role, config in configs.items():
        assert config.log.level == "debug"
        assert config.log.format == "json"
        assert config.bus.servers == ("nats://a:4222", "nats://b:4222")
        assert config.bus.replicas == 3
        assert config.bus.token is not None
        assert config.bus.token.get_secret_value() == "t0ken"
        assert config.screen.workers == 4
        assert (config.serve.jwt is None) == (role != "serve")
    jwt = configs["serve"].serve.jwt
    assert jwt is not None
    assert jwt.issuer == EVERYTHING["jwt"]["issuer"]
    for _, pod in pods(objects):
        assert pod["spec"]["imagePullSecrets"] == EVERYTHING["imagePullSecrets"]


@pytest.mark.parametrize("given", [URL, EVERYTHING], ids=["as it comes", "everything"])
def test_only_who_is_named_comes_in_and_only_what_is_needed_goes_out(
    chart: Chart, given: dict[str, Any]
) -> None:
    policies = of(chart.objects(given), "NetworkPolicy")
    assert policies.keys() == {f"market-{role}" for role in ROLES}
    for name, policy in policies.items():
        role, spec = name.removeprefix("market-"), policy["spec"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        port = {"ports": [{"port": 8080 if role == "serve" else 9100}]}
        scraped = [port | {"from": FROM}]
        if given is URL:
            assert spec["ingress"] == ([port] if role == "serve" else [])
        else:
            assert spec["ingress"] == scraped * (2 if role == "serve" else 1)
        inside, *outside = spec["egress"]
        assert [one["port"] for one in inside["ports"]] == [53, 53, 4222, 8222, 5432]
        assert [one["ports"] for one in outside] == (
            [[{"port": 443}]] if role in {"ingest", "notify", "serve"} else []
        )


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
        [endpoint] = monitor["spec"]["endpoints"]
        [port] = services[name]["spec"]["ports"]
        assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
        credentials = endpoint.get("authorization", {}).get("credentials")
        scrape = {"name": "scrape", "key": "token"}
        assert credentials == (scrape if name == "market-serve" else None)
    [rule] = of(objects, "PrometheusRule").values()
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    [dashboards] = of(objects, "ConfigMap").values()
    files = {path.name: path.read_text() for path in (CHART / "files" / "dashboards").iterdir()}
    assert dashboards["data"] == files


def test_what_is_missing_is_named(chart: Chart) -> None:
    with pytest.raises(RenderError, match=r"set secrets\.storeUrl, or secrets\.existing"):
        chart.texts({})


def test_values_fit_their_schema() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for given in SETTINGS.values():
        jsonschema.validate(laid_over(values, given), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(laid_over(values, {"screen": {"workers": 0}}), schema)


def test_notes_say_what_to_do_next(chart: Chart) -> None:
    assert "set jwt.issuer" in chart.texts(URL)["NOTES.txt"]
    assert "set jwt.issuer" not in chart.texts(EVERYTHING)["NOTES.txt"]
    assert "service/market-serve 8080" in chart.texts(EVERYTHING)["NOTES.txt"]
