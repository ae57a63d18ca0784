"""What an upgrade may not change stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from factories.helm import CHART, CI, Manifest, find, helm, render
from factories.secret_server import secret_server

CHANGED = {
    "commonLabels": {"team": "other"},
    "mlflow": {
        "image": {"repository": "registry.example.org/other", "tag": "3.18.0"},
        "workers": 4,
        "migration": {"activeDeadlineSeconds": 7200},
        "resources": {"limits": {"memory": "4Gi"}},
    },
    "trial": {"postgresql": {"image": {"tag": "17.7"}}, "s3": {"resources": {"limits": {"memory": "4Gi"}}}},
}


@pytest.fixture
def newer_chart(tmp_path: Path) -> Path:
    """The chart as a later version."""
    target = tmp_path / "alambique"
    shutil.copytree(CHART, target)
    chart = target / "Chart.yaml"
    chart.write_text(
        chart.read_text().replace("version: 0.1.0", "version: 0.2.0").replace("appVersion: 0.3.0", "appVersion: 0.4.0")
    )
    return target


def immutable(manifests: list[Manifest]) -> dict[str, Any]:
    """Fields that the API server refuses to change, by manifest; a Job is replaced under another name."""
    fields: dict[str, Any] = {}
    for manifest in manifests:
        spec, name = manifest.get("spec", {}), f"{manifest['kind']} {manifest['metadata']['name']}"
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            fields[name] = spec["selector"]
            fields[f"{name} template"] = (
                spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
            )
        if manifest["kind"] == "StatefulSet":
            fields[f"{name} volumes"] = (
                spec["volumeClaimTemplates"],
                spec["serviceName"],
                spec.get("podManagementPolicy"),
            )
        if manifest["kind"] == "Service":
            fields[name] = spec.get("clusterIP")
        if manifest["kind"] == "RoleBinding":
            fields[name] = manifest["roleRef"]
    return fields


@pytest.mark.parametrize("values", CI.values(), ids=CI)
def test_selectors_and_volumes_stay(values: Any, newer_chart: Path) -> None:
    assert immutable(render(values, CHANGED, chart=newer_chart)) == immutable(render(values))


def test_a_volume_that_changes_is_found() -> None:
    larger = render(CI["minimal"], {"trial": {"s3": {"storage": "1Ti"}}})
    assert immutable(larger) != immutable(render(CI["minimal"]))


def test_services_select_the_pods_that_stay(newer_chart: Path) -> None:
    for name in ("alambique-mlflow", "alambique-postgresql", "alambique-s3"):
        before, after = (
            find(manifests, "Service", name)["spec"]["selector"]
            for manifests in (render(CI["minimal"]), render(CI["minimal"], CHANGED, chart=newer_chart))
        )
        assert before == after


def migration(*values: Any) -> Manifest:
    return find(render(*values), "Job", "alambique-mlflow-migration-*")


@pytest.mark.parametrize(
    "change",
    [
        {"mlflow": {"image": {"digest": "sha256:" + "f" * 64}}},
        {"mlflow": {"database": {"host": "other.example.org"}}},
        {"mlflow": {"migration": {"resources": {"limits": {"memory": "2Gi"}}}}},
        {"mlflow": {"auth": {"defaultPermission": "EDIT"}}},
    ],
    ids=["image", "database", "resources", "configuration"],
)
def test_a_changed_migration_is_another_job(change: dict[str, Any]) -> None:
    before, after = migration(CI["full"]), migration(CI["full"], change)
    assert before["spec"] != after["spec"]
    assert before["metadata"]["name"] != after["metadata"]["name"]


def test_the_same_migration_is_the_same_job() -> None:
    before, after = (
        migration(CI["full"]),
        migration(CI["full"], {"mlflow": {"workers": 4}, "commonLabels": {"team": "other"}}),
    )
    assert before["metadata"]["name"] == after["metadata"]["name"]
    assert before["spec"] == after["spec"]


def test_a_changed_configuration_restarts_the_servers() -> None:
    before, after = (
        find(render(CI["full"], values), "Deployment", "alambique-mlflow")["spec"]["template"]["metadata"][
            "annotations"
        ]
        for values in ({}, {"mlflow": {"auth": {"defaultPermission": "EDIT"}}})
    )
    assert before != after


def test_a_trial_s_passwords_are_those_in_the_cluster(tmp_path: Path) -> None:
    only_secrets = tmp_path / "alambique"
    shutil.copytree(CHART, only_secrets)
    for template in only_secrets.glob("templates/**/*.yaml"):
        if template.name != "trial-secrets.yaml":
            template.unlink()

    def secrets(existing: list[Manifest]) -> list[Manifest]:
        with secret_server(existing) as url:
            server = ["--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", url]
            values = ["--namespace", "vision", "--values", str(CI["minimal"])]
            result = helm("template", "alambique", str(only_secrets), *values, *server)
        assert result.returncode == 0, result.stderr
        return list(yaml.safe_load_all(result.stdout))

    installed = secrets([])
    assert len(installed) == 4
    assert secrets(installed) == installed
    assert secrets([]) != installed
