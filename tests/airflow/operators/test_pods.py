"""A stage as a pod: what Kubernetes is asked for, and what the task makes of what it leaves. There is no cluster."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from factories.airflow_context import context
from kubernetes.client import ApiClient

from alambique.airflow.operators.pods import HOME, REQUEST, StagePodOperator
from alambique.config.deployment import Deployment
from alambique.config.resources import Pods, Resources
from alambique.errors import AlambiqueError, DataError, TransientError
from alambique.messages import Run, StageRequest, unpack
from alambique.pipeline.graph import Graph, Stage

IMAGE = "ghcr.io/me/alambique@sha256:" + "0" * 64
PODS = Pods(
    image=IMAGE,
    namespace="vision",
    service_account="alambique-stage",
    config_maps=("alambique",),
    secrets=("mlflow", "s3"),
    git_secret="git",
    node_selector={"pool": "gpu"},
)
GRAPH = Graph.of({"validate": Stage(name="validate", cmd="true", outs=("validation",))})
RUN = Run(run_id="1", revision="0" * 40, digest=GRAPH.digest, sources={}, params={"validate": {}}, lock={})
CLUSTER = SimpleNamespace(
    is_in_cluster=True,
    get_namespace=lambda: None,
    get_xcom_sidecar_container_image=lambda: None,
    get_xcom_sidecar_container_resources=lambda: None,
    get_xcom_sidecar_container_security_context=lambda: None,
)
"""What the provider's hook says of a connection that sets nothing."""
RESULT = {"stage": "validate", "key": "k", "entry": {}, "found": "ran", "seconds": 1.0, "tracking_run": None}


def operator(run: Run = RUN, **resources: Any) -> StagePodOperator:
    local = {"home": Path("/srv"), "data": Path("/data"), "python": Path("/venv/python")}
    here = Deployment(origin="https://git/x", pods=PODS, **local)
    return StagePodOperator(
        task_id="pico.distill-0",
        deployment=here,
        graph=GRAPH,
        stage="validate",
        run=run.model_dump(mode="json"),
        upstream={},
        resources=Resources(**resources),
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The pod of a teacher on a GPU, as the API server would be sent it."""
    sent = []
    monkeypatch.setattr(KubernetesPodOperator, "execute", lambda self, _: sent.append(self.build_pod_request_obj()))
    monkeypatch.setattr(KubernetesPodOperator, "hook", CLUSTER)
    task = operator(cpu=3.5, memory="16Gi", gpus=1, timeout_hours=12, queue="gpu")
    task.execute(context())
    pod: dict[str, Any] = ApiClient().sanitize_for_serialization(sent[0])
    return pod


def test_the_pod_is_asked_for_one_stage(started: dict[str, Any]) -> None:
    base = started["spec"]["containers"][0]
    variables = {variable["name"]: variable["value"] for variable in base["env"]}
    request = StageRequest.model_validate_json(unpack(variables[REQUEST]))
    assert (request.stage, request.run) == ("validate", RUN)
    # What only the machine of Airflow's worker has is not the pod's.
    assert request.deployment == Deployment(origin="https://git/x", home=Path(HOME))
    assert base["image"] == IMAGE
    assert base["command"] == ["python", "-m", "alambique.verbs", "run-stage"]
    assert base["args"] == ["--request-variable", REQUEST, "--result", "/airflow/xcom/return.json"]
    assert "secret" not in json.dumps(variables).lower()


def test_the_pod_gets_its_resources(started: dict[str, Any]) -> None:
    base = started["spec"]["containers"][0]
    amounts = {"cpu": "3.5", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert base["resources"] == {"requests": amounts, "limits": amounts}
    assert {"name": "OMP_NUM_THREADS", "value": "4"} in base["env"]
    assert started["spec"]["nodeSelector"] == {"pool": "gpu"}
    task = operator(timeout_hours=12, queue="gpu", retries=1)
    assert (task.execution_timeout.total_seconds(), task.queue, task.retries) == (12 * 3600, "gpu", 1)


def test_secrets_come_by_their_names(started: dict[str, Any]) -> None:
    sources = started["spec"]["containers"][0]["envFrom"]
    assert [source["secretRef"]["name"] for source in sources if "secretRef" in source] == ["mlflow", "s3"]
    assert [source["configMapRef"]["name"] for source in sources if "configMapRef" in source] == ["alambique"]
    (git,) = (volume["secret"] for volume in started["spec"]["volumes"] if "secret" in volume)
    assert git == {"secretName": "git", "defaultMode": 0o440}
    assert started["spec"]["serviceAccountName"] == "alambique-stage"
    assert started["spec"]["automountServiceAccountToken"] is False


def test_every_container_meets_the_restricted_standard(started: dict[str, Any]) -> None:
    spec = started["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert [container["name"] for container in spec["containers"]] == ["base", "airflow-xcom-sidecar"]
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
    assert {next(iter(volume.keys() - {"name"})) for volume in spec["volumes"]} == {"emptyDir", "secret"}


def test_no_pod_is_made_for_what_the_lock_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KubernetesPodOperator, "execute", lambda *_: pytest.fail("a pod was started"))
    entry = {"cmd": "true", "outs": [{"path": "validation", "hash": "md5", "md5": "0" * 32}]}
    found = operator(RUN.model_copy(update={"lock": {"validate": entry}})).execute(context())
    assert (found["found"], found["entry"]) == ("lock", entry)


def test_a_request_that_no_variable_holds_is_refused() -> None:
    noise = {f"{number}": {"md5": f"{hash(number) * 7919**5 % 16**32:032x}"} for number in range(20_000)}
    with pytest.raises(AirflowFailException, match="more than an environment variable takes"):
        operator(RUN.model_copy(update={"sources": noise})).execute(context())


def resumed(monkeypatch: pytest.MonkeyPatch, left: Any, *, succeeded: bool) -> Any:
    """What the task returns when its pod has ended and left this in the sidecar."""

    def reentry(self: KubernetesPodOperator, *_: Any) -> Any:
        result = self.extract_xcom(pod=SimpleNamespace())
        if not succeeded:
            raise AirflowException("Container failed")
        return result

    monkeypatch.setattr(KubernetesPodOperator, "extract_xcom", lambda *_, **__: left)
    monkeypatch.setattr(KubernetesPodOperator, "trigger_reentry", reentry)
    return operator().trigger_reentry(context(), {"status": "success" if succeeded else "failed"})


def test_the_result_comes_through_the_sidecar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resumed(monkeypatch, RESULT, succeeded=True) == RESULT


def test_a_pod_that_has_ended_before_the_task_defers_leaves_its_result_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KubernetesPodOperator, "execute", lambda self, given: self.trigger_reentry(given, {}) and None)
    monkeypatch.setattr(KubernetesPodOperator, "trigger_reentry", lambda *_: RESULT)
    assert operator().execute(context()) == RESULT


@pytest.mark.parametrize(
    ("error", "raised"), [(DataError, AirflowFailException), (TransientError, TransientError), (None, AirflowException)]
)
def test_a_permanent_error_of_the_pod_is_not_retried(
    monkeypatch: pytest.MonkeyPatch, error: type[AlambiqueError] | None, raised: type[Exception]
) -> None:
    left = error and {"type": error.__name__, "message": "no labels", "exit_code": error.exit_code}
    with pytest.raises(raised, match="no labels" if error else "Container failed") as failure:
        resumed(monkeypatch, left, succeeded=False)
    assert isinstance(failure.value, AirflowFailException) == (error is DataError)
