from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from factories import checkpoints
from factories.stage_work import all_soft_labels, control, distill
from factories.tiny_detection import CLASSES, NETWORK, out, params, project
from PIL import Image

from alambique import files, tasks
from alambique.config.detect import Params
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.layout import checkpoint
from alambique.stages.prune import recover
from alambique.tasks.trainer_state import NO_PRIOR
from alambique.tasks.yolo import network

DISTILLED, CONTROL = checkpoint("pico", "distilled", 0), checkpoint("pico", "control", 0)
TRAIN, UNLABELLED = 24, 8
STILL = {"batch": 8, "learning_rate": 1e-12}
"""Training which changes nothing, so that its end tells of its start."""


@pytest.fixture(scope="module")
def with_soft_labels(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with a teacher and its soft labels. Read-only."""
    root = project(tmp_path_factory.mktemp("soft_labels"), scenes)
    checkpoints.checkpoint(root)
    all_soft_labels(root, params())
    return root


@pytest.fixture
def root(tmp_path: Path, with_soft_labels: Path, scenes: Path) -> Path:
    """A copy to write into."""
    root = project(tmp_path / "project", scenes)
    for folder in (checkpoints.TEACHER, "soft_labels"):
        shutil.copytree(with_soft_labels / folder, root / folder)
    return root


@pytest.fixture(scope="module")
def pair(with_soft_labels: Path) -> tuple[Metrics, Metrics, Path]:
    """Metrics of a distilled student and of its control, and the folder of both. Read-only."""
    distilled, controlled = both(with_soft_labels, params())
    return distilled, controlled, with_soft_labels


def weights(folder: Path) -> torch.Tensor:
    model = network.load(folder / "weights.pt")
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def both(root: Path, given: Params) -> tuple[Metrics, Metrics]:
    return (
        distill(root, given, "pico", 0, out(root, DISTILLED)),
        control(root, given, "pico", 0, out(root, CONTROL)),
    )


def test_unlabelled_images_take_part_and_the_control_takes_as_many_steps(pair: tuple[Metrics, Metrics, Path]) -> None:
    distilled, controlled, _ = pair
    assert (distilled["images"], controlled["images"]) == (TRAIN + UNLABELLED, TRAIN)
    assert distilled["steps"] == controlled["steps"] == (TRAIN + UNLABELLED) // 8
    assert distilled["train_kd_loss"] > 0
    assert "train_kd_loss" not in controlled


def test_student_and_control_start_from_equal_weights(root: Path) -> None:
    both(root, params(training=STILL))
    start = network.build(NETWORK, CLASSES, seed=0)
    expected = torch.cat([parameter.detach().flatten() for parameter in start.parameters()])
    torch.testing.assert_close(weights(root / DISTILLED), expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(weights(root / CONTROL), weights(root / DISTILLED), atol=1e-6, rtol=0)


def test_a_student_may_start_from_given_weights(root: Path) -> None:
    given = checkpoints.give_student_weights(root)
    distill(root, params(training=STILL), "pico", 0, out(root, DISTILLED))
    shutil.copy(given, root / "weights.pt")
    torch.testing.assert_close(weights(root / DISTILLED), weights(root), atol=1e-3, rtol=1e-3)
    assert files.read_json(root / DISTILLED / "card.json")["source"] == "a.pt"


def test_a_student_may_start_from_its_teacher_and_its_control_from_what_that_started_from(root: Path) -> None:
    given = checkpoints.give_student_weights(root)  # those of the teacher, here
    student = {"pico": {**NETWORK.model_dump(), "weights": "teacher"}}
    both(root, params(training=STILL, networks=student))
    teacher = root / checkpoints.TEACHER
    torch.testing.assert_close(weights(root / DISTILLED), weights(teacher), atol=1e-3, rtol=1e-3)
    assert (
        files.read_json(root / DISTILLED / "card.json")["source"] == f"teacher:{files.sha256(teacher / 'weights.pt')}"
    )
    shutil.copy(given, root / "weights.pt")
    torch.testing.assert_close(weights(root / CONTROL), weights(root), atol=1e-3, rtol=1e-3)
    assert files.read_json(root / CONTROL / "card.json")["source"] == "a.pt"


def test_the_cards_name_the_teachers(pair: tuple[Metrics, Metrics, Path]) -> None:
    *_, root = pair
    distilled, controlled = (files.read_json(root / folder / "card.json") for folder in (DISTILLED, CONTROL))
    assert distilled["teachers"] == [files.sha256(root / "models/teacher/main/weights.pt")]
    assert controlled["teachers"] == []
    assert (distilled["kind"], controlled["kind"]) == ("distilled", "control")
    assert distilled["parameters"] == controlled["parameters"]


def test_soft_labels_of_other_images_are_refused(root: Path, scenes: Path) -> None:
    (root / "data").unlink()
    shutil.copytree(scenes, root / "data")
    Image.new("RGB", (64, 64)).save(root / "data/images/unlabelled/new.png")
    with pytest.raises(IntegrityError, match="made for data"):
        distill(root, params(), "pico", 0, out(root, DISTILLED))


def test_soft_labels_of_another_teacher_are_refused(root: Path) -> None:
    shutil.rmtree(root / checkpoints.TEACHER)
    network.save(network.build(NETWORK, CLASSES, seed=9), out(root, checkpoints.TEACHER) / "weights.pt", image_size=64)
    checkpoints.write_card(root / checkpoints.TEACHER, "teacher")
    with pytest.raises(IntegrityError, match="made for teachers"):
        distill(root, params(), "pico", 0, out(root, DISTILLED))


def test_recovery_trains_the_network_it_is_given(root: Path) -> None:
    model = network.build(NETWORK, CLASSES, seed=5)
    before = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    task = tasks.load("detect")
    dataset = task.dataset(root / "data")
    metrics = recover(model, root, task, params(), dataset, out(root, "pruned"), 4, NO_PRIOR)
    assert metrics["train_kd_loss"] > 0
    assert metrics["steps"] == (TRAIN + UNLABELLED) // 8
    after = weights(root / "pruned")
    assert 0 < (after - before).abs().max() < 1


METHODS = {
    "soft": {"kd_loss"},
    "feature": {"dis_loss"},
    "hybrid": {"kd_loss", "dis_loss"},
    "none": set(),
}


@pytest.mark.parametrize("method", METHODS)
def test_each_method_matches_its_own_signals_for_as_many_steps(root: Path, method: str) -> None:
    given = params(distill={"steps": 4, "min_label_probability": 0.0, "method": method})
    metrics = distill(root, given, "pico", 0, out(root, DISTILLED))
    losses = {name.removeprefix("train_") for name in metrics if name in {"train_kd_loss", "train_dis_loss"}}
    assert losses == METHODS[method]
    assert all(metrics[f"train_{name}"] > 0 for name in losses)
    assert metrics["steps"] == (TRAIN + UNLABELLED) // 8
    assert metrics["parameters"] == network.parameters(network.build(NETWORK, CLASSES, 0))
    network.verify_loadable(root / DISTILLED / "weights.pt")  # neither teacher nor projector inside
    assert bool(files.read_json(root / DISTILLED / "card.json")["teachers"]) == (method != "none")


def test_without_a_method_the_student_is_its_control(root: Path) -> None:
    both(root, params(distill={"steps": 4, "method": "none"}))
    assert torch.equal(weights(root / DISTILLED), weights(root / CONTROL))
