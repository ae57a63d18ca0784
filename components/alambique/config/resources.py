"""Where `alambique.yaml` lets tasks run: what each kind of stage is given, and the pods that stages run in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Self

from pydantic import Field

from alambique.config.section import Positive, Section
from alambique.errors import ConfigurationError

DEFAULT = "default"
"""The entry of `resources` that counts where a stage's own says nothing, and for tasks that are no stages."""

Bytes = Annotated[str, Field(pattern=r"^[1-9]\d*(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$")]
"""As Kubernetes writes a quantity (kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity)."""

Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
"""A name of a Kubernetes object (RFC 1123 subdomain)."""

Image = Annotated[str, Field(pattern=r"^[^@\s]+@sha256:[0-9a-f]{64}$")]
"""An image by its digest, as in ghcr.io/me/alambique@sha256:…: a tag can be moved to other code while a run lasts."""


GPU = "nvidia.com/gpu"
"""What Kubernetes calls a GPU."""
GIT_FOLDER = "/etc/alambique/git"
"""Where credentials for git are mounted."""


class Resources(Section):
    """One entry of `resources`; None leaves it to the executor.

    Attributes:
        queue: of Celery's workers.
        pool: of Airflow's slots; it has to exist there.
        cpu: cores of a pod.
        memory: bytes of a pod, as in 512Mi or 16Gi.
        gpus: GPUs of a pod.
        timeout_hours: after which the task is killed and fails.
        retries: of errors that may pass; others are never retried.
    """

    queue: str | None = None
    pool: str | None = None
    cpu: Positive | None = None
    memory: Bytes | None = None
    gpus: Annotated[int, Field(ge=0)] | None = None
    timeout_hours: Positive | None = None
    retries: Annotated[int, Field(ge=0)] | None = None

    @property
    def threads(self) -> int | None:
        """OMP_NUM_THREADS of a container with so many cores, where libraries count the node's; None: not limited."""
        return None if self.cpu is None else math.ceil(self.cpu)

    def over(self, default: Self) -> Self:
        """These, and the default's where these say nothing."""
        return default.model_copy(update=self.model_dump(exclude_unset=True))


NO_RESOURCES = Resources()


RETRIES = 3
RETRY_SECONDS, RETRY_FACTOR, RETRY_SECONDS_AT_MOST = 30, 2, 900
"""Where nothing else is said: the first wait before a retry, how much longer each next one is, and the longest."""


def require_kinds(entries: Mapping[str, Resources], stages: Iterable[str]) -> None:
    """Raise a ConfigurationError if there are resources of what is no stage."""
    kinds = {_kind(stage) for stage in stages} | {DEFAULT}
    if unknown := sorted(entries.keys() - kinds):
        raise ConfigurationError(
            f"alambique.yaml: resources.{unknown[0]} is no stage of dvc.yaml; they are {', '.join(sorted(kinds))}"
        )


def resources_of(entries: Mapping[str, Resources], stage: str) -> Resources:
    """What an expanded stage is given: `teacher@main` what its kind is, `teacher`."""
    return entries.get(_kind(stage), NO_RESOURCES).over(entries.get(DEFAULT, NO_RESOURCES))


def _kind(stage: str) -> str:
    return stage.partition("@")[0]


class Pods(Section):
    """How stages run as pods of Kubernetes, one each.

    Attributes:
        image: with `alambique[ml]` installed and `python` on its PATH.
        namespace: of the pods; None: that of the connection or of the worker.
        service_account: that they run as, such as one with a workload identity; they get no token of the API server.
        config_maps, secrets: whose keys become their environment: addresses, and credentials for S3 and MLflow.
        git_secret: whose keys become files in `GIT_FOLDER`: what git's variables among the others name.
        node_selector: labels of the nodes that they may run on.
        connection: Airflow's connection to the cluster; None: the worker's own cluster.
    """

    image: Image
    namespace: Label | None = None
    service_account: Label | None = None
    config_maps: tuple[Label, ...] = ()
    secrets: tuple[Label, ...] = ()
    git_secret: Label | None = None
    node_selector: Mapping[str, str] = {}
    connection: str | None = None
