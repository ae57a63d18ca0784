"""Values: described, documented, refused where unknown or wrong; and those for the official Airflow chart."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import readme
from factories.helm import CHART, CI, find, refusal, render

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
OFFICIAL = json.loads((Path(__file__).parent / "official_airflow_keys.json").read_text())


def nodes(schema: Any) -> list[dict[str, Any]]:
    """All schemas of named values and of definitions."""
    found = []
    if isinstance(schema, dict):
        for key, child in schema.items():
            if key in ("properties", "$defs"):
                found += list(child.values())
            if key != "allOf":
                found += nodes(child)
    return found


def test_every_value_is_described_and_no_object_is_open_by_oversight() -> None:
    for node in nodes(SCHEMA):
        assert node["description"], node
        if "properties" in node:
            assert node["additionalProperties"] is False


def test_every_default_is_in_the_schema_and_every_value_has_a_default() -> None:
    def keys(defaults: Any, node: dict[str, Any], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        node = readme.resolved(SCHEMA, node)
        if not isinstance(defaults, dict) or "properties" not in node:
            return {path}
        assert defaults.keys() == node["properties"].keys() - {"global"}, path
        return {key for name, value in defaults.items() for key in keys(value, node["properties"][name], (*path, name))}

    assert len(keys(DEFAULTS, SCHEMA)) > 80


def test_the_readme_is_written_from_the_schema() -> None:
    assert (CHART / "README.md").read_text() == readme.readme(), "run `python charts/readme.py`"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mlfow": {}}, "additional properties 'mlfow' not allowed"),
        ({"mlflow": {"databse": {}}}, "additional properties 'databse' not allowed"),
        ({"mlflow": {"database": {"password": "word"}}}, "additional properties 'password' not allowed"),
        ({"mlflow": {"image": {"repository": ""}}}, "'/mlflow/image/repository': minLength"),
        ({"mlflow": {"image": {"tag": "latest"}}}, "/mlflow/image/tag"),
        ({"mlflow": {"image": {"digest": "sha256:short"}}}, "/mlflow/image/digest"),
        ({"mlflow": {"replicas": 0}}, "/mlflow/replicas"),
        ({"mlflow": {"resources": {"limits": None}}}, "missing property 'limits'"),
        ({"mlflow": {"runAsUser": 0}}, "/mlflow/runAsUser"),
        ({"mlflow": {"allowedHosts": ["*"]}}, "/mlflow/allowedHosts/0"),
        ({"project": {"origin": "https://user:word@git.example.org/cells.git"}}, "/project/origin"),
        ({"s3": {"endpoint": "https://key:secret@s3.example.org"}}, "/s3/endpoint"),
        ({"git": {"method": "password"}}, "/git/method"),
        ({"networkPolicy": {"dns": []}}, "/networkPolicy/dns"),
        ({"networkPolicy": {"s3": [{}]}}, "/networkPolicy/s3/0"),
        ({"airflow": {"podLabels": {"tier": None}}}, "/airflow/podLabels"),
    ],
)
def test_unknown_and_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    assert message in refusal(CI["full"], values)


def airflow_values(name: str = "airflow-values.yaml") -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CHART / name).read_text())
    return values


def unknown(values: Any, keys: Any, path: str = "") -> list[str]:
    """Keys that the official chart does not have; null in the record is whatever Kubernetes or Airflow takes."""
    if isinstance(values, list):
        return [key for value in values for key in unknown(value, keys, path)]
    if keys is None or not isinstance(values, dict):
        return []
    return [
        key
        for name, value in values.items()
        for key in (unknown(value, keys[name], f"{path}.{name}") if name in keys else [f"{path}.{name}"])
    ]


@pytest.mark.parametrize("name", ["airflow-values.yaml", "airflow-gpu-values.yaml"])
def test_the_official_chart_knows_the_keys(name: str) -> None:
    assert unknown(airflow_values(name), OFFICIAL) == []
    assert unknown({"workers": {"celery": {"keeda": {}}}}, OFFICIAL) == [".workers.celery.keeda"]


def test_airflow_knows_the_options() -> None:
    (package,) = find_spec("airflow").submodule_search_locations  # importing it takes seconds
    known = yaml.safe_load((Path(package) / "config_templates" / "config.yml").read_text())
    config = airflow_values()["config"]
    for section in ("core", "scheduler"):
        assert config[section].keys() <= known[section]["options"].keys()
    assert (
        config["scheduler"]["task_instance_heartbeat_sec"] * 3 < config["scheduler"]["task_instance_heartbeat_timeout"]
    )


def test_airflow_finds_what_this_chart_makes() -> None:
    values, manifests = airflow_values(), render(CI["minimal"])
    (source,) = yaml.safe_load(values["extraEnvFrom"])
    data = find(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    celery = values["workers"]["celery"]
    assert data["ALAMBIQUE_HOME"] in {mount["mountPath"] for mount in celery["extraVolumeMounts"]}
    for entry in celery["env"]:
        secret = find(manifests, "Secret", entry["valueFrom"]["secretKeyRef"]["name"])
        assert entry["valueFrom"]["secretKeyRef"]["key"] in secret["data"]
    bound = {subject["name"] for subject in find(manifests, "RoleBinding", "alambique-stage-runner")["subjects"]}
    gpu = airflow_values("airflow-gpu-values.yaml")["workers"]["celery"]["sets"][0]["serviceAccount"]["name"]
    assert {"airflow-worker", "airflow-triggerer", gpu} <= bound
    assert values["allowPodLaunching"] is False


def test_airflow_s_pods_are_restricted_and_hold_no_secret() -> None:
    values = airflow_values()
    context = values["securityContexts"]
    assert context["pod"]["runAsNonRoot"] is True
    assert context["pod"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["containers"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert values["createUserJob"] == {"enabled": False}  # its user has a password that everybody knows
    assert not any("value" in entry for entry in values["workers"]["celery"]["env"])
