"""What each template renders."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
from factories.helm import CHART, CI, Manifest, containers, find, helm, pod_specs, refusal, render
from kubernetes_validate.utils import all_versions

from alambique.config.deployment import FOR_EXECUTORS, Deployment

MINORS = list(dict.fromkeys(".".join(version.split(".")[:2]) for version in all_versions()))[-3:]
FULL, MINIMAL, GPU, BESIDE = (CI[name] for name in ("full", "minimal", "gpu", "official-airflow"))


def kinds(manifests: list[Manifest]) -> set[str]:
    return {manifest["kind"] for manifest in manifests}


def environment(container: Manifest) -> dict[str, Any]:
    """Variables of a container: the value, or (Secret, key)."""
    return {
        entry["name"]: entry["value"] if "value" in entry else tuple(entry["valueFrom"]["secretKeyRef"].values())
        for entry in container["env"]
    }


def server(manifests: list[Manifest]) -> Manifest:
    spec: Manifest = find(manifests, "Deployment", "alambique-mlflow")["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("values", CI.values(), ids=CI)
def test_helm_lints_strictly(values: Any) -> None:
    linted = helm("lint", "--strict", "--values", str(values), str(CHART))
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("values", CI.values(), ids=CI)
def test_every_manifest_is_valid_in_the_newest_minors(values: Any, minor: str) -> None:
    for manifest in render(values):
        if (
            manifest["apiVersion"] != "monitoring.coreos.com/v1"
        ):  # a custom resource: no schema is published with Kubernetes
            assert kubernetes_validate.validate(manifest, minor, strict=True) == minor


def test_a_manifest_with_an_unknown_field_is_found() -> None:
    service = find(render(MINIMAL), "Service", "alambique-mlflow")
    service["spec"]["prots"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, MINORS[-1], strict=True)


def test_the_environment_has_fields_of_a_deployment_alone() -> None:
    data = find(render(FULL), "ConfigMap", "alambique-environment")["data"]
    fields = {name.removeprefix("ALAMBIQUE_").lower() for name in data if name.startswith("ALAMBIQUE_")}
    assert fields <= Deployment.model_fields.keys()
    assert fields == {"origin", "branch", "home", "tracking_uri", "arrivals", "production", "releases", "python"}
    assert data["MLFLOW_TRACKING_URI"] == data["ALAMBIQUE_TRACKING_URI"] == "http://alambique-mlflow.vision.svc:5000"
    assert (data["AWS_ENDPOINT_URL"], data["AWS_DEFAULT_REGION"]) == ("https://s3.example.org:9000", "eu-central-1")
    assert "StrictHostKeyChecking=yes" in data["GIT_SSH_COMMAND"]


def test_every_field_of_a_deployment_can_be_set() -> None:
    project = json.loads((CHART / "values.schema.json").read_text())["properties"]["project"]["properties"]
    fields = {"tracking_uri" if name == "trackingUri" else name for name in project}
    assert fields == Deployment.model_fields.keys() - FOR_EXECUTORS


def test_an_empty_field_is_left_to_the_project() -> None:
    data = find(render(MINIMAL), "ConfigMap", "alambique-environment")["data"]
    assert (
        not {"ALAMBIQUE_ORIGIN", "ALAMBIQUE_BRANCH", "ALAMBIQUE_DATA", "GIT_SSH_COMMAND", "GIT_CONFIG_COUNT"}
        & data.keys()
    )


def test_airflow_in_another_namespace_gets_the_environment_too() -> None:
    copies = [manifest for manifest in render(BESIDE) if manifest["metadata"]["name"] == "alambique-environment"]
    assert {manifest["metadata"]["namespace"] for manifest in copies} == {"vision", "airflow"}
    assert copies[0]["data"] == copies[1]["data"]
    assert copies[0]["data"]["GIT_CONFIG_VALUE_0"].startswith("store --file=/etc/alambique/git/")


def test_workers_of_that_namespace_may_run_stages_here() -> None:
    binding = find(render(BESIDE), "RoleBinding", "alambique-stage-runner")
    assert binding["metadata"]["namespace"] == "vision"
    assert {(subject["name"], subject["namespace"]) for subject in binding["subjects"]} == {
        (name, "airflow") for name in ("airflow-worker", "airflow-triggerer", "airflow-scheduler")
    }
    assert not {"Role", "RoleBinding"} & kinds(render(BESIDE, {"airflow": {"serviceAccounts": []}}))


def test_the_server_has_passwords_from_secrets_and_none_in_its_arguments() -> None:
    spec = server(render(FULL))
    (container,) = spec["containers"]
    variables = environment(container)
    assert "--app-name=basic-auth" in container["args"]
    assert "--backend-store-uri=postgresql://mlflow@postgresql.example.org:5432/mlflow" in container["args"]
    assert variables["PGPASSWORD"] == ("alambique-postgresql", "password")
    assert variables["PGSSLMODE"] == "verify-full"
    assert variables["MLFLOW_AUTH_ADMIN_PASSWORD"] == ("alambique-mlflow", "admin-password")
    assert variables["AWS_SECRET_ACCESS_KEY"] == ("alambique-s3", "AWS_SECRET_ACCESS_KEY")
    hosts = variables["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"alambique-mlflow:5000", "alambique-mlflow.vision.svc:5000", "mlflow.example.org"} <= set(hosts)
    assert "*" not in hosts


def test_permissions_are_kept_in_the_same_database() -> None:
    manifests = render(FULL)
    configuration = find(manifests, "ConfigMap", "alambique-mlflow")["data"]["basic_auth.ini"]
    assert "database_uri = postgresql://mlflow@postgresql.example.org:5432/mlflow\n" in configuration
    assert environment(server(manifests)["containers"][0])["MLFLOW_AUTH_CONFIG_PATH"] == "/etc/alambique/basic_auth.ini"


def test_workload_identity_needs_no_keys() -> None:
    manifests = render(GPU)
    assert not {"AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"} & environment(server(manifests)["containers"][0]).keys()
    for account in ("alambique-mlflow", "alambique-stage"):
        assert "eks.amazonaws.com/role-arn" in find(manifests, "ServiceAccount", account)["metadata"]["annotations"]
    assert server(manifests)["serviceAccountName"] == "alambique-mlflow"


def test_servers_wait_for_the_migration_which_runs_once() -> None:
    manifests = render(FULL)
    (waiting,) = server(manifests)["initContainers"]
    (migrating,) = find(manifests, "Job", "alambique-mlflow-migration-*")["spec"]["template"]["spec"]["containers"]
    assert waiting["command"][-2:] == ["wait", "postgresql://mlflow@postgresql.example.org:5432/mlflow"]
    assert migrating["command"] == [*waiting["command"][:-2], "migrate", waiting["command"][-1]]
    assert waiting["image"] == migrating["image"] == server(manifests)["containers"][0]["image"]


def test_the_number_of_pods_is_the_autoscaler_s() -> None:
    manifests = render(FULL)
    assert "replicas" not in find(manifests, "Deployment", "alambique-mlflow")["spec"]
    scaler = find(manifests, "HorizontalPodAutoscaler", "alambique-mlflow")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 4)
    assert find(render(GPU), "Deployment", "alambique-mlflow")["spec"]["replicas"] == 2
    assert not {"HorizontalPodAutoscaler", "PodDisruptionBudget"} & kinds(render(MINIMAL))


def test_prometheus_asks_as_the_client() -> None:
    manifests = render(FULL)
    monitor = find(manifests, "ServiceMonitor", "alambique-mlflow")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert endpoint["basicAuth"]["password"] == {"name": "alambique-mlflow-client", "key": "MLFLOW_TRACKING_PASSWORD"}
    assert "--expose-prometheus=/tmp/prometheus" in server(manifests)["containers"][0]["args"]
    assert "ServiceMonitor" not in kinds(render(GPU))


def test_a_trial_with_a_monitor_takes_the_trial_s_secret() -> None:
    monitor = find(
        render(MINIMAL, {"mlflow": {"serviceMonitor": {"enabled": True}}}), "ServiceMonitor", "alambique-mlflow"
    )
    assert monitor["spec"]["endpoints"][0]["basicAuth"]["username"]["name"] == "alambique-mlflow-client"


def test_helm_test_asks_the_service() -> None:
    test = find(render(FULL), "Pod", "alambique-test")
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = test["spec"]["containers"]
    assert "/health" in container["command"][-1]
    assert environment(container)["MLFLOW_TRACKING_URI"] == "http://alambique-mlflow.vision.svc:5000"


def test_a_quota_bounds_the_gpus() -> None:
    assert find(render(GPU), "ResourceQuota", "alambique-stages")["spec"]["hard"] == {"requests.nvidia.com/gpu": "8"}
    assert "ResourceQuota" not in kinds(render(MINIMAL))


def test_a_trial_runs_a_database_and_s3_with_secrets_of_its_own() -> None:
    manifests = render(MINIMAL)
    variables = environment(server(manifests)["containers"][0])
    assert variables["PGPASSWORD"] == ("alambique-postgresql", "password")
    assert variables["AWS_ENDPOINT_URL"] == "http://alambique-s3:8333"
    assert "--artifacts-destination=s3://alambique/mlflow" in server(manifests)["containers"][0]["args"]
    secrets = {
        name: find(manifests, "Secret", name) for name in ("alambique-postgresql", "alambique-s3", "alambique-mlflow")
    }
    assert all(secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for secret in secrets.values())
    for name in ("alambique-postgresql", "alambique-s3"):
        stateful = find(manifests, "StatefulSet", name)["spec"]
        assert (
            find(manifests, "Service", stateful["serviceName"])["spec"]["selector"]
            == stateful["selector"]["matchLabels"]
        )
        assert stateful["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert not {"Secret", "StatefulSet"} & kinds(render(FULL))


@pytest.mark.parametrize("client", [{}, {"usernameKey": "user", "passwordKey": "word"}], ids=["default", "other keys"])
def test_every_secret_that_a_trial_reads_is_made(client: dict[str, str]) -> None:
    manifests = render(MINIMAL, {"mlflow": {"client": client, "database": {"passwordKey": "pg"}}})
    made = {
        (manifest["metadata"]["name"], key)
        for manifest in manifests
        if manifest["kind"] == "Secret"
        for key in manifest["data"]
    }
    read = {
        tuple(entry["valueFrom"]["secretKeyRef"].values())
        for _, _, spec in pod_specs(manifests)
        for container in containers(spec)
        for entry in container.get("env", [])
        if "valueFrom" in entry
    }
    assert read <= made


def test_without_mlflow_only_rights_environment_and_policies_remain() -> None:
    assert kinds(render(BESIDE)) == {"ConfigMap", "NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"}


def test_names_and_labels_are_those_of_the_release() -> None:
    manifests = render(FULL, release="green")
    assert find(manifests, "Deployment", "green-alambique-mlflow")
    renamed = render(FULL, {"fullnameOverride": "cells", "nameOverride": "still"})
    labels = find(renamed, "Deployment", "cells-mlflow")["metadata"]["labels"]
    assert (labels["app.kubernetes.io/name"], labels["app.kubernetes.io/instance"]) == ("still", "alambique")
    assert labels["team"] == "vision"
    assert all(len(manifest["metadata"]["name"]) <= 63 for manifest in render(FULL, release="x" * 53))


@pytest.mark.parametrize("values", [MINIMAL, FULL, BESIDE], ids=["minimal", "full", "beside"])
def test_notes_tell_the_next_command(values: Any) -> None:
    shown = helm(
        "install", "alambique", str(CHART), "--dry-run=client", "--namespace", "vision", "--values", str(values)
    )
    notes = shown.stdout.rpartition("NOTES:")[2]
    assert "helm upgrade --install airflow" in notes
    assert ("helm test alambique" in notes) is (values != BESIDE)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mlflow": {"database": {"host": ""}}}, "mlflow.database.host: name the PostgreSQL server"),
        ({"mlflow": {"database": {"existingSecret": ""}}}, "mlflow.database.existingSecret: name the Secret"),
        ({"mlflow": {"auth": {"existingSecret": ""}}}, "mlflow.auth.existingSecret: name the Secret"),
        ({"mlflow": {"client": {"existingSecret": ""}}}, "mlflow.client.existingSecret: name the Secret"),
        ({"mlflow": {"artifactsDestination": ""}}, "mlflow.artifactsDestination: say where"),
        ({"mlflow": {"image": {"digest": ""}}}, "mlflow.image: set digest (or tag)"),
        ({"trial": {"enabled": True}, "airflow": {"namespace": "airflow"}}, "leave airflow.namespace empty"),
    ],
)
def test_what_is_missing_is_named(values: dict[str, Any], message: str) -> None:
    assert message in refusal(FULL, values)


def test_only_s3_of_the_trial_s_storage_is_reached_from_outside_its_pod() -> None:
    storage, s3 = find(render(MINIMAL), "StatefulSet", "alambique-s3")["spec"]["template"]["spec"]["containers"]
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1"} <= set(storage["command"])
    assert "ports" not in storage
    assert {"-filer=127.0.0.1:8888", "-port=8333"} <= set(s3["command"])
    assert environment(s3)["AWS_SECRET_ACCESS_KEY"] == ("alambique-s3", "AWS_SECRET_ACCESS_KEY")
