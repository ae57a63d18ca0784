from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alambique.git import git
from alambique.messages import RunRequest

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its schema in place, which takes seconds; copied for each test."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def tracking_uri(empty_database: Path, tmp_path: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def client(tracking_uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri, tracking_uri)


@pytest.fixture
def origin(tmp_path: Path) -> str:
    """A bare repository without a commit."""
    git("init", "--quiet", "--bare", "--initial-branch=main", str(tmp_path / "origin.git"))
    return str(tmp_path / "origin.git")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> RunRequest:
    from factories import finished_run

    return finished_run.finish(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def untracked(template: RunRequest, tmp_path: Path) -> RunRequest:
    """A finished run in an origin of its own; the DVC remote is shared, and only read."""
    shutil.copytree(template.deployment.origin, tmp_path / "origin.git")
    deployment = template.deployment.model_copy(
        update={"origin": str(tmp_path / "origin.git"), "home": tmp_path / "home"}
    )
    return template.model_copy(update={"deployment": deployment})


@pytest.fixture
def tracked(untracked: RunRequest, tracking_uri: str) -> RunRequest:
    """The same, tracked by MLflow."""
    deployment = untracked.deployment.model_copy(update={"tracking_uri": tracking_uri})
    return untracked.model_copy(update={"deployment": deployment})
