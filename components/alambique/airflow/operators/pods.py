"""A stage as a pod of Kubernetes, by the provider's own operator, in deferrable mode: no worker waits for it.

The pod outlives the scheduler, the worker and the triggerer: the next try of the task adopts it. It is deleted when it
ended and when its task is killed. Its request comes in an environment variable; its result, or its error, goes through
the XCom sidecar. Every container meets the Pod Security Standard *restricted*.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import models as k8s

from alambique import messages
from alambique.airflow.operators.base import Output, permanent_errors_fail, task_arguments
from alambique.airflow.operators.runs import answer_from_lock
from alambique.config.deployment import Deployment
from alambique.config.resources import GIT_FOLDER, GPU, Pods, Resources
from alambique.errors import ERROR_FILE, AlambiqueError, ConfigurationError, as_error
from alambique.pipeline.graph import Graph

HOME = Path("/alambique")
"""The pod's own `home`: its cache and workspace, gone with it."""
WRITABLE = {"home": str(HOME), "tmp": "/tmp", "shm": "/dev/shm"}  # noqa: S108
"""Empty volumes by their paths; all else is read-only. A container's own /dev/shm, through which torch's workers hand
over batches, has 64 MiB."""
REQUEST = "ALAMBIQUE_REQUEST"
LONGEST_VARIABLE = 131_072 - len(f"{REQUEST}=") - 1
"""Bytes that Linux takes as the value of one environment variable (MAX_ARG_STRLEN)."""
RESULT = "/airflow/xcom/return.json"
LABELS = {"app.kubernetes.io/part-of": "alambique", "app.kubernetes.io/component": "stage"}

STARTUP = 1800
"""Seconds that a pod may take from its node to its start: an image with torch is large."""
SCHEDULING = 3600
"""Seconds that a pod may wait for a node: one with a GPU may have to be started first."""
LOG_INTERVAL = 60
"""Seconds between two looks at a running pod's log."""

USER = 65532
"""Whom the containers run as; the image needs no entry for it."""
POD_SECURITY = k8s.V1PodSecurityContext(
    run_as_non_root=True,
    run_as_user=USER,
    run_as_group=USER,
    fs_group=USER,
    seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
)
CONTAINER_SECURITY = k8s.V1SecurityContext(
    allow_privilege_escalation=False,
    capabilities=k8s.V1Capabilities(drop=["ALL"]),
    read_only_root_filesystem=True,
)


class StagePodOperator(KubernetesPodOperator):
    """Runs one stage in a pod, or finds its result; as `StageOperator`, with the deployment's `pods`.

    Args:
        deployment, graph, stage, run, upstream: as of `StageOperator`.
        resources: of the pod.
    """

    template_fields: Sequence[str] = (*KubernetesPodOperator.template_fields, "deployment", "inputs")

    def __init__(
        self,
        *,
        deployment: Deployment,
        graph: Graph,
        stage: str,
        run: Output,
        upstream: Mapping[str, Output],
        resources: Resources,
        **kwargs: Any,
    ) -> None:
        pods = deployment.pods
        if pods is None:
            raise ConfigurationError("alambique.yaml: pods is missing; a stage's pod needs an image")
        super().__init__(
            **_pod(pods, resources),
            name="alambique-" + re.sub(r"[^a-z0-9]+", "-", stage.lower()),
            cmds=["python", "-m", "alambique.verbs", "run-stage"],
            arguments=["--request-variable", REQUEST, "--result", RESULT],
            do_xcom_push=True,
            deferrable=True,
            logging_interval=LOG_INTERVAL,
            startup_timeout_seconds=STARTUP,
            schedule_timeout_seconds=SCHEDULING,
            log_pod_spec_on_failure=False,  # the request is in it, and it says nothing that the pod's events do not
            log_events_on_failure=True,
            **task_arguments(resources),
            **kwargs,
        )
        self.deployment = deployment.model_dump(mode="json")
        self.inputs = {"run": run, "stage": stage, "upstream": dict(upstream)}
        self.graph = graph
        self.error: AlambiqueError | None = None
        self.result: Any = None

    def execute(self, context: Context) -> Any:
        with permanent_errors_fail():
            here = Deployment.model_validate(self.deployment).in_container(HOME)
            request = messages.StageRequest.model_validate({"deployment": here, **self.inputs})
            if result := answer_from_lock(self.graph, request, self.log.info):
                return result.model_dump(mode="json")
            packed = messages.pack(request)
            if len(packed) > LONGEST_VARIABLE:
                raise ConfigurationError(
                    f"the request of {request.stage} has {len(packed):,} bytes, more than an environment variable "
                    f"takes ({LONGEST_VARIABLE:,}): the pipeline is too large for `pods`; take them out"
                )
        self.env_vars = [*self.env_vars, k8s.V1EnvVar(name=REQUEST, value=packed)]
        super().execute(context)  # which returns only where the pod has ended already, and then without its result
        return self.result

    def extract_xcom(self, pod: k8s.V1Pod, **kwargs: Any) -> dict[Any, Any] | None:
        """The result; None where the pod left its error instead, which `trigger_reentry` raises."""
        content = super().extract_xcom(pod, **kwargs)
        self.error = as_error(content) if content else None
        return None if self.error else content

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        with permanent_errors_fail():
            try:
                self.result = super().trigger_reentry(context, event)
            except AirflowException:
                if self.error:
                    raise self.error from None
                raise
        return self.result


def _pod(pods: Pods, resources: Resources) -> dict[str, Any]:
    """The arguments of the provider's operator that make the pod, but for what it is asked."""
    amounts: dict[str, str] = {}
    variables = {"HOME": str(HOME), ERROR_FILE: RESULT}
    if resources.cpu is not None:
        amounts["cpu"] = f"{resources.cpu:g}"
        variables["OMP_NUM_THREADS"] = str(resources.threads)
    if resources.memory is not None:
        amounts["memory"] = resources.memory
    if resources.gpus:
        amounts[GPU] = str(resources.gpus)
    sources = [k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=name)) for name in pods.secrets]
    memory = k8s.V1EmptyDirVolumeSource(medium="Memory")
    volumes = [
        k8s.V1Volume(name=name, empty_dir=memory if name == "shm" else k8s.V1EmptyDirVolumeSource())
        for name in WRITABLE
    ]
    mounts = [k8s.V1VolumeMount(name=name, mount_path=path) for name, path in WRITABLE.items()]
    if pods.git_secret:
        secret = k8s.V1SecretVolumeSource(secret_name=pods.git_secret, default_mode=0o440)
        volumes.append(k8s.V1Volume(name="git", secret=secret))
        mounts.append(k8s.V1VolumeMount(name="git", mount_path=GIT_FOLDER, read_only=True))
    return {
        "image": pods.image,
        "namespace": pods.namespace,
        "kubernetes_conn_id": pods.connection,
        "in_cluster": True if pods.connection is None else None,
        "service_account_name": pods.service_account,
        "automount_service_account_token": False,
        "configmaps": list(pods.config_maps),
        "env_from": sources,
        "env_vars": [k8s.V1EnvVar(name=name, value=value) for name, value in variables.items()],
        "node_selector": dict(pods.node_selector),
        "labels": LABELS,
        "container_resources": k8s.V1ResourceRequirements(requests=amounts, limits=amounts),
        "volumes": volumes,
        "volume_mounts": mounts,
        "security_context": POD_SECURITY,
        "container_security_context": CONTAINER_SECURITY,
        "xcom_sidecar_container_security_context": CONTAINER_SECURITY,
    }
