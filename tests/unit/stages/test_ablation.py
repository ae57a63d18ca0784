from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from factories import checkpoints
from factories.stage_work import ablation, all_soft_labels, distill
from factories.tiny_detection import NETWORK, out, params, project

from alambique import files
from alambique.errors import IntegrityError
from alambique.layout import Ablation, checkpoint
from alambique.process.environment import prepare
from alambique.tasks.yolo import network

prepare()

TRAIN, UNLABELLED = 24, 8
FROM_TEACHER = {"pico": {**NETWORK.model_dump(), "weights": "teacher"}}
STILL = {"batch": 8, "learning_rate": 1e-12}
"""Training which changes nothing, so that its end tells of its start."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with a teacher, its soft labels, and the weights that the teacher was trained from."""
    root = project(tmp_path_factory.mktemp("ablation"), scenes)
    checkpoints.checkpoint(root)
    all_soft_labels(root, params())
    checkpoints.give_student_weights(root)
    return root


def weights(folder: Path) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.load(folder / "weights.pt").parameters()])


@pytest.mark.parametrize(("kind", "distills"), [("start", False), ("labelled", True)])
def test_both_begin_as_the_distilled_student_and_see_the_labelled_images_alone(
    root: Path, tmp_path: Path, kind: Ablation, distills: bool
) -> None:
    metrics = ablation(root, params(training=STILL, networks=FROM_TEACHER), "pico", kind, 0, tmp_path)
    teacher = root / checkpoints.TEACHER
    torch.testing.assert_close(weights(tmp_path), weights(teacher), atol=1e-3, rtol=1e-3)
    assert metrics["images"] == TRAIN
    assert metrics["steps"] == params().distill.steps
    assert metrics.get("train_kd_loss", 0) > 0 if distills else "train_kd_loss" not in metrics
    digest, card = files.sha256(teacher / "weights.pt"), files.read_json(tmp_path / "card.json")
    assert (card["kind"], card["source"]) == (kind, f"teacher:{digest}")
    assert card["teachers"] == ([digest] if distills else [])


def test_a_student_with_weights_of_its_own_begins_with_them(root: Path, tmp_path: Path) -> None:
    ablation(root, params(training=STILL), "pico", "labelled", 0, tmp_path)
    assert files.read_json(tmp_path / "card.json")["source"] == "a.pt"


def test_without_unlabelled_images_labelled_is_the_distilled_student_and_says_so(
    tmp_path: Path, scenes: Path, warned: list[str]
) -> None:
    root = project(tmp_path, scenes)
    (root / "data").unlink()
    shutil.copytree(scenes, root / "data")
    shutil.rmtree(root / "data/images/unlabelled")
    checkpoints.checkpoint(root)
    all_soft_labels(root, params())
    folders = [out(root, checkpoint("pico", kind, 0)) for kind in ("labelled", "distilled")]
    ablation(root, params(), "pico", "labelled", 0, folders[0])
    distill(root, params(), "pico", 0, folders[1])
    assert torch.equal(*map(weights, folders))
    assert warned == ["ablations: labelled is the distilled student again: there are no unlabelled samples"]


def test_soft_labels_of_other_images_are_refused_also_where_those_are_not_trained_on(
    root: Path, tmp_path: Path, scenes: Path
) -> None:
    other = project(tmp_path / "project", scenes)
    (other / "data").unlink()
    shutil.copytree(scenes, other / "data")
    (other / "data/images/unlabelled/00000.png").unlink()
    for folder in (checkpoints.TEACHER, "soft_labels"):
        shutil.copytree(root / folder, other / folder)
    with pytest.raises(IntegrityError, match="made for data"):
        ablation(other, params(), "pico", "labelled", 0, out(other, "target"))
