"""A project with a champion whose production images are watched: real git, a real DVC remote, a real checkpoint."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alambique import layout
from alambique.config.deployment import Deployment
from alambique.git import git
from alambique.layout import WEIGHTS, evaluation
from alambique.messages import DriftRequest
from alambique.pipeline import dvc_repository
from alambique.registry.ledger import Entry, Ledger, State
from alambique.tasks.yolo import network
from factories import checkpoints, tiny_detection
from factories.stage_work import evaluate
from factories.trained_networks import trained

TAG = "runs/r1"
SUBJECT = "pico-pruned"
PARAMS: dict[str, Any] = {
    "project": "tiny",
    "input_size": 64,
    "students": ["pico"],
    "runtimes": ["openvino", "onnx"],
    "networks": {"pico": {}},
    "teachers": ["main"],
    "teacher": {"main": {}},
    "evaluate": {"threshold": 0.001},
    "drift": {"window": 60, "min_images": 40},
}


@dataclass(frozen=True)
class World:
    """A project with a champion, and a folder where its production images appear."""

    deployment: Deployment
    production: Path

    @property
    def request(self) -> DriftRequest:
        return DriftRequest(deployment=self.deployment, by="test")


def record(root: Path, data: Path) -> None:
    """Lay out origin.git, with a recorded run and its champion, and the DVC remote beside it."""
    project = root / "project"
    _lay_out(project, data)
    git("init", "--quiet", "--initial-branch=main", cwd=project)
    _version(project, root / "remote")
    git("add", "--all", cwd=project)
    git("commit", "--quiet", "--message", "A run", cwd=project)
    origin = str(root / "origin.git")
    git("init", "--quiet", "--bare", "--initial-branch=main", origin)
    git("tag", TAG, cwd=project)
    git("push", "--quiet", origin, "HEAD:refs/heads/main", TAG, cwd=project)
    entry = Entry(
        model="tiny-onnx",
        version="1",
        candidate="pico-onnx-int8",
        tag=TAG,
        digest="d" * 64,
        gate_digest="g" * 64,
        by="test",
    )
    Ledger(origin, "tiny-onnx").move(State(entry), None, "Promote")


def _lay_out(project: Path, data: Path) -> None:
    """The dataset without the last hundred test images, a checkpoint, and its evaluation."""
    shutil.copytree(data, project / "data")
    for kind in ("images", "labels"):
        for path in sorted((project / "data" / kind / "test").iterdir())[30:]:
            path.unlink()
    folder = project / layout.checkpoint("pico", "pruned")
    folder.mkdir(parents=True)
    network.save(trained(tiny_detection.NETWORK, tiny_detection.CLASSES), folder / WEIGHTS, 64)
    checkpoints.write_card(folder, "pruned", student="pico")
    (project / evaluation(SUBJECT)).mkdir(parents=True)
    evaluate(project, tiny_detection.params(), SUBJECT, project / evaluation(SUBJECT))
    (project / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    outs = {"prune": str(layout.checkpoint("pico", "pruned")), "evaluate": str(evaluation(SUBJECT))}
    stages = {name: {"cmd": "true", "outs": [out]} for name, out in outs.items()}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))


def _version(project: Path, remote: Path) -> None:
    from dvc.repo import Repo

    Repo.init(os.fspath(project)).close()
    settings = f"[core]\n    remote = store\n    analytics = false\n['remote \"store\"']\n    url = {remote}\n"
    (project / ".dvc" / "config").write_text(settings)
    with dvc_repository.opened(project) as repo:
        repo.add([str(project / "data")])
        repo.commit(force=True)
        repo.push()
