from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

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


def train(target: Path, data: YoloDataset, params: Heads, **changes: Any) -> Metrics:
    target.mkdir()
    objective = Objective(data.samples("train"), changes.pop("distillation", NO_DISTILLATION))
    given = {"image_size": 64, "epochs": 2, "training": params.training, "seed": 0, "state_interval": 0.0, **changes}
    return trainer.train(build(data, params), data, objective, target, **given)


def build(data: YoloDataset, params: Heads) -> Any:
    return tasks.load(data.head).build(params.networks["pico"], data, params, seed=0, weights=None)


def curves(folder: Path) -> list[dict[str, str]]:
    with (folder / CURVES).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_killed_training_ends_as_if_nothing_had_happened(
    data: YoloDataset, params: Heads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole", data, params)
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "resume"))

    def die(epoch: int, **row: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(events, "emit", die)
        train(tmp_path / "killed", data, params)
    assert any((tmp_path / "resume").rglob("*"))
    train(tmp_path / "again", data, params)
    assert sha256(tmp_path / "again" / WEIGHTS) == sha256(tmp_path / "whole" / WEIGHTS)
    assert curves(tmp_path / "again") == curves(tmp_path / "whole")


def test_the_features_of_a_teacher_are_matched(data: YoloDataset, params: Heads, project: Path, tmp_path: Path) -> None:
    teacher = project / "models/pruned/pico" / WEIGHTS
    signals = DistillationConfig(features=teacher, feature_weight=6.0)
    metrics = train(tmp_path / "taught", data, params, distillation=signals, epochs=1)
    train(tmp_path / "alone", data, params, epochs=1)
    assert metrics["train_dis_loss"] > 0
    assert "dis_loss" not in curves(tmp_path / "alone")[0]
    assert sha256(tmp_path / "taught" / WEIGHTS) != sha256(tmp_path / "alone" / WEIGHTS)
    taught = network.load(tmp_path / "taught" / WEIGHTS, data.head)
    assert network.parameters(taught) == network.parameters(build(data, params))


def test_patience_measures_what_the_head_is_for(data: YoloDataset, params: Heads, tmp_path: Path) -> None:
    training = params.training.model_copy(update={"patience": 5})
    metrics = train(tmp_path / "measured", data, params, training=training, epochs=1)
    assert 0 <= metrics["val_map50_95"] <= 1
    assert "map50_95" in curves(tmp_path / "measured")[0]


def test_weights_of_another_head_are_refused(data: YoloDataset, project: Path) -> None:
    weights = project / "models/pruned/pico" / WEIGHTS
    other = "obb" if data.head != "obb" else "pose"
    with pytest.raises(DataError, match="Model"):
        network.load(weights, other)
    with pytest.raises(DataError, match="Model"):
        network.verify_loadable(weights, other)
    network.verify_loadable(weights, data.head)


def test_nothing_is_written_beside_the_data(data: YoloDataset) -> None:
    assert not [path for path in data.root.rglob("*") if path.suffix in {".cache", ".npy"}]
