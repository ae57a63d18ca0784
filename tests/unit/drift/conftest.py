from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from factories.drift_project import World, record

from alambique.config.deployment import Deployment
from alambique.demo.digits import Scenes


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset large enough to compare with, and a hundred test images more."""
    target = tmp_path_factory.mktemp("photographs") / "data"
    Scenes(train=60, val=30, test=130, size=64, digits=2, seed=3).write(target)
    return target


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """The project that `drift_project.record` creates. Read-only."""
    root = tmp_path_factory.mktemp("recorded")
    record(root, photographs)
    return root


@pytest.fixture
def world(recorded: Path, tmp_path: Path) -> World:
    """An origin of its own; the DVC remote is shared, and only added to."""
    shutil.copytree(recorded / "origin.git", tmp_path / "origin.git")
    production = tmp_path / "production"
    production.mkdir()
    deployment = Deployment(origin=str(tmp_path / "origin.git"), home=tmp_path / "home", production=str(production))
    return World(deployment, production)


@pytest.fixture
def alike(photographs: Path) -> list[Path]:
    """A hundred images of the distribution that the champion knows."""
    return sorted((photographs / "images" / "test").iterdir())[30:]
