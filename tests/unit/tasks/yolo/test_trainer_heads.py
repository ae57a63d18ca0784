from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from factories.restricted_load import restricted_load

from alambique import tasks
from alambique.config.heads import Heads
from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.files import sha256
from alambique.layout import CURVES, WEIGHTS
from alambique.process import events
from alambique.process.resume_dir import RESUME_FOLDER
from alambique.tasks.yolo import network, trainer
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.objective import NO_DISTILLATION, DistillationConfig, Objective


class FinishedTraining(NamedTuple):
    metrics: Metrics
    folder: Path


def train(
    target: Path, data: YoloDataset, params: Heads, distillation: DistillationConfig = NO_DISTILLATION
) -> Metrics:
    """Two intervals, after each of which val is measured."""
    target.mkdir(exist_ok=True)
    return trainer.train(
        build(data, params),
        data,
        Objective(data.samples("train"), distillation),
        target,
        image_size=64,
        steps=4,
        training=params.training.model_copy(update={"val_interval": 2, "patience": 10}),
        seed=0,
        state_interval=0.0,
    )


def build(data: YoloDataset, params: Heads) -> Any:
    return tasks.load(data.head).build(params.networks["pico"], data, params, seed=0, weights=None)


def curves(folder: Path) -> list[dict[str, str]]:
    with (folder / CURVES).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(data: YoloDataset, params: Heads, tmp_path_factory: pytest.TempPathFactory) -> FinishedTraining:
    """A training by the labels alone. Read-only."""
    folder = tmp_path_factory.mktemp("whole")
    return FinishedTraining(train(folder, data, params), folder)


@pytest.mark.parametrize("data", ["segment"], indirect=True)  # a state holds nothing of a head's own
def test_a_killed_training_ends_as_if_nothing_had_happened(
    data: YoloDataset, params: Heads, whole: FinishedTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "resume"))

    def die(step: int, **row: float) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(events, "emit", die)
        train(tmp_path / "killed", data, params)
    assert any((tmp_path / "resume").rglob("*"))
    train(tmp_path / "again", data, params)
    assert sha256(tmp_path / "again" / WEIGHTS) == sha256(whole.folder / WEIGHTS)
    assert curves(tmp_path / "again") == curves(whole.folder)


def test_the_features_of_a_teacher_are_matched(
    data: YoloDataset, params: Heads, whole: FinishedTraining, project: Path, tmp_path: Path
) -> None:
    teacher = project / "models/pruned/pico" / WEIGHTS
    metrics = train(tmp_path, data, params, DistillationConfig(features=teacher, feature_weight=6.0))
    assert metrics["train_dis_loss"] > 0
    assert "dis_loss" not in curves(whole.folder)[0]
    assert sha256(tmp_path / WEIGHTS) != sha256(whole.folder / WEIGHTS)
    student = network.load(tmp_path / WEIGHTS, data.head)
    assert network.parameters(student) == network.parameters(build(data, params))


def test_patience_measures_what_the_head_is_for(whole: FinishedTraining) -> None:
    assert 0 <= whole.metrics["val_map50_95"] <= 1
    assert "map50_95" in curves(whole.folder)[0]


def test_weights_of_another_head_are_refused(data: YoloDataset, project: Path) -> None:
    with pytest.raises(DataError, match="Model"):
        network.load(project / "models/pruned/pico" / WEIGHTS, "obb" if data.head != "obb" else "pose")


def test_a_checkpoint_names_only_known_layers(data: YoloDataset, project: Path) -> None:
    assert network.class_names(restricted_load(project / "models/pruned/pico" / WEIGHTS)) == data.classes


@pytest.mark.parametrize("data", ["segment"], indirect=True)
def test_the_child_that_verifies_weights_knows_the_head(data: YoloDataset, project: Path) -> None:
    network.verify_loadable(project / "models/pruned/pico" / WEIGHTS, data.head)


def test_nothing_is_written_beside_the_data(data: YoloDataset) -> None:
    assert not [path for path in data.root.rglob("*") if path.suffix in {".cache", ".npy"}]
