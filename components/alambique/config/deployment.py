"""`alambique.yaml`: where a project runs. Results do not depend on it, nor does any stage's key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from alambique.config import describe, read_yaml
from alambique.config.resources import Pods, Resources
from alambique.errors import ConfigurationError
from alambique.git import ref
from alambique.urls import holds_credentials

FOR_EXECUTORS = frozenset({"resources", "pods"})
"""Fields for whoever starts tasks: no variable overrides them, and they are no part of what a task is asked."""


FOR_GIT = "use a credential helper of git, or SSH"
FOR_MLFLOW = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
FOR_S3 = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
"""Where credentials belong, by the service that asks for them."""


def refuse_credentials(url: str, remedy: str) -> str:
    """The URL; if it holds credentials, a ValueError without it that says by `remedy` where they belong."""
    if holds_credentials(url):
        raise ValueError(f"a URL with credentials inside would reach logs and git; {remedy}")
    if url.startswith("-"):
        raise ValueError("begins with a hyphen, as an option does")
    return url


def _refusing(remedy: str) -> AfterValidator:
    return AfterValidator(partial(refuse_credentials, remedy=remedy))


def _branch(name: str) -> str:
    try:
        return ref(name)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


class Deployment(BaseModel):
    """Repositories, folders and services of a project.

    An environment variable ALAMBIQUE_<FIELD> overrides a field, but none in `FOR_EXECUTORS`.

    Attributes:
        origin: git URL of the project; runs clone it, push tags, the ledger and the merged dvc.lock to it.
        branch: the branch that scheduled runs start from and fast-forward.
        home: this machine's folder for the shared DVC cache and the stages' workspaces.
        data: folder that `snapshot` versions as the dataset; None: the committed dataset.
        tracking_uri: MLflow server or SQLite URI; None: runs are not tracked.
        arrivals: where new images and labels arrive, s3://bucket/prefix or a folder; None: nowhere.
        production: where production images arrive, likewise; drift is checked there.
        releases: where champions are published for devices, s3://bucket/prefix; None: they are not.
        python: the interpreter with the `ml` extra; None: the one that runs Airflow.
        resources: what the tasks of a kind of stage are given, or `default`.
        pods: how stages run as pods of Kubernetes; None: as processes of Airflow's workers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: Annotated[str, _refusing(FOR_GIT)]
    branch: Annotated[str, AfterValidator(_branch)] = "main"
    home: Path
    data: Path | None = None
    tracking_uri: Annotated[str, _refusing(FOR_MLFLOW)] | None = None
    arrivals: Annotated[str, _refusing(FOR_S3)] | None = None
    production: Annotated[str, _refusing(FOR_S3)] | None = None
    releases: Annotated[str, _refusing(FOR_S3)] | None = None
    python: Path | None = None
    resources: Annotated[Mapping[str, Resources], Field(exclude=True)] = {}
    pods: Annotated[Pods | None, Field(exclude=True)] = None

    def in_container(self, home: Path) -> Deployment:
        """The deployment as a container sees it, which has a `home` of its own and nothing else of this machine."""
        return self.model_copy(update={"home": home, "data": None, "python": None})

    @classmethod
    def load(cls, project: Path) -> Deployment:
        """Read `alambique.yaml` of the root, and the environment; a ConfigurationError if it is missing or invalid."""
        overrides = {
            field: os.environ[variable]
            for field in cls.model_fields.keys() - FOR_EXECUTORS
            if (variable := f"ALAMBIQUE_{field.upper()}") in os.environ
        }
        content = read_yaml(project / "alambique.yaml")
        if not isinstance(content, dict):
            raise ConfigurationError("alambique.yaml holds no mapping; it needs origin and home")
        try:
            return cls.model_validate({**content, **overrides})
        except ValidationError as error:
            raise ConfigurationError(describe(error, "alambique.yaml")) from None
