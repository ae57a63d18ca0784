from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from factories.scripted_training import with_accuracy, with_teacher
from factories.tiny_detection import CLASSES, NETWORK, params
from torch import nn
from ultralytics import YOLO
from ultralytics.data.build import InfiniteDataLoader

from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics
from alambique.files import folder_sha256, sha256
from alambique.tasks.intervals import IntervalSampler
from alambique.tasks.yolo import network, trainer
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.distillation_loss import DistillationLoss
from alambique.tasks.yolo.objective import DistillationConfig, Objective, by_labels

SOFT = DistillationConfig(partial(DistillationLoss, temperature=2.0, weight=0.5))


@pytest.fixture(scope="module")
def data(scenes: Path) -> YoloDataset:
    return YoloDataset.load(scenes)


def run(
    target: Path, data: YoloDataset, objective: Objective, model: nn.Module | None = None, **changes: object
) -> Metrics:
    target.mkdir(exist_ok=True)
    given = {"image_size": 64, "steps": 3, "training": params().training, "seed": 0, **changes}
    return trainer.train(model or network.build(NETWORK, CLASSES, 0), data, objective, target, **given)  # type: ignore[arg-type]


def test_equal_seeds_give_equal_checkpoints(tmp_path: Path, data: YoloDataset) -> None:
    own = with_teacher(data, distillation=SOFT)
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        run(tmp_path / name, data, own, seed=seed)
    one, two, three = (sha256(tmp_path / name / "weights.pt") for name in ("one", "two", "three"))
    assert one == two
    assert one != three


def test_images_are_mirrored_as_often_as_params_yaml_says(tmp_path: Path, data: YoloDataset) -> None:
    own = by_labels(data)
    for name, flip in (("never", 0.0), ("always", 1.0)):
        training = params().training.model_copy(update={"flip": flip, "mosaic": 0.0})
        run(tmp_path / name, data, own, training=training)
    assert sha256(tmp_path / "never/weights.pt") != sha256(tmp_path / "always/weights.pt")


def test_nothing_is_written_beside_the_data(tmp_path: Path, data: YoloDataset) -> None:
    before = folder_sha256(data.root)
    run(tmp_path, data, by_labels(data))
    assert folder_sha256(data.root) == before


def test_a_checkpoint_holds_nothing_of_this_package(tmp_path: Path, data: YoloDataset) -> None:
    run(tmp_path, data, with_teacher(data, distillation=SOFT))
    network.verify_loadable(tmp_path / "weights.pt")  # refuses classes that are not upstream's
    assert list(YOLO(tmp_path / "weights.pt").names.values()) == CLASSES


def test_a_network_is_trained_with_the_layers_it_has(tmp_path: Path, data: YoloDataset) -> None:
    model = network.build(NETWORK, CLASSES, 0)
    bottleneck = model.model[9]
    identity = nn.Identity()
    identity.f, identity.i, identity.type = bottleneck.f, bottleneck.i, "Identity"
    model.model[9] = identity  # its yaml still tells of the layer that was here
    fewer = network.parameters(model)
    run(tmp_path, data, by_labels(data), model)
    assert network.parameters(network.load(tmp_path / "weights.pt")) == fewer


def test_losses_are_kept_and_emitted_every_interval(
    tmp_path: Path, data: YoloDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALAMBIQUE_EVENTS", str(tmp_path / "events"))
    metrics = run(tmp_path, data, with_teacher(data, distillation=SOFT), steps=6)
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "6"]
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [event["metrics"] for event in events] == [
        {name: float(value) for name, value in row.items() if name != "step"} for row in rows
    ]
    assert [event["step"] for event in events] == [3, 6]
    assert set(events[0]["metrics"]) == {"box_loss", "cls_loss", "l1_loss", "kd_loss", "learning_rate"}
    assert metrics["train_kd_loss"] == float(rows[-1]["kd_loss"]) > 0
    assert (metrics["images"], metrics["steps"]) == (24, 6)
    assert "best_step" not in metrics


def test_training_that_diverges_says_so(tmp_path: Path, data: YoloDataset) -> None:
    model = network.build(NETWORK, CLASSES, 0)
    with torch.no_grad():
        model.model[0].conv.weight.fill_(torch.inf)
    with pytest.raises(ConfigurationError, match=r"diverged before step 3 .* lower training\.learning_rate"):
        run(tmp_path, data, by_labels(data), model)


def test_distillation_without_any_teacher_says_so(tmp_path: Path, data: YoloDataset) -> None:
    with pytest.raises(ConfigurationError, match="nothing before step 3 had a teacher"):
        run(tmp_path, data, with_teacher(data, np.nan, SOFT))


def test_the_best_weights_are_kept_and_training_stops_when_none_are_better(
    tmp_path: Path, data: YoloDataset, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    patient = params().training.model_copy(update={"patience": 6, "mosaic": 0.0})
    monkeypatch.setattr(trainer, "SampleTrainer", with_accuracy(0.1, 0.3, 0.2, 0.3, 0.9))
    metrics = run(tmp_path / "stopped", data, by_labels(data), steps=15, training=patient)
    assert (metrics["steps"], metrics["best_step"], metrics["val_map50_95"]) == (12, 6, 0.3)
    assert metrics["still_improving"] is False
    with (tmp_path / "stopped/curves.csv").open() as file:
        assert [row["map50_95"] for row in csv.DictReader(file)] == ["0.1", "0.3", "0.2", "0.3"]
    assert said[-1] == "stopped after 12 of 15 steps: no better on val for 6 steps (best after 6)"
    monkeypatch.setattr(trainer, "SampleTrainer", with_accuracy(0.1, 0.3, 0.2, 0.4, 0.2))
    metrics = run(tmp_path / "other", data, by_labels(data), steps=15, training=patient)
    assert (metrics["steps"], metrics["best_step"], metrics["still_improving"]) == (15, 12, True)
    improving = "reached its ceiling of 15 steps while val was still improving (best after 12)"
    assert said[-1].startswith(improving)
    assert sha256(tmp_path / "other/weights.pt") != sha256(tmp_path / "stopped/weights.pt")


def test_an_interval_is_one_line_of_the_log(
    tmp_path: Path, data: YoloDataset, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    model = network.build(NETWORK, CLASSES, 0)
    capsys.readouterr()
    run(tmp_path, data, by_labels(data), model, steps=6)
    assert [message.split(":")[0] for message in said] == ["step 3/6", "step 6/6"]
    assert capsys.readouterr().out == ""  # upstream's bars and banners


def test_workers_that_are_ahead_go_on_and_those_started_anew_begin_with_their_interval() -> None:
    sampler = IntervalSampler(7, 6, seed=0)
    intervals = [[index for _, index in sampler.draw(number)] for number in range(5)]
    loader = InfiniteDataLoader(dataset=range(7), batch_size=2, sampler=sampler, num_workers=2, prefetch_factor=4)
    assert len(loader) == 3
    for number in range(3):
        sampler.set_epoch(number)
        assert torch.cat(list(loader)).tolist() == intervals[number]
    sampler.set_epoch(4)
    loader.reset()  # as upstream does where mosaic ends
    assert torch.cat(list(loader)).tolist() == intervals[4]
    loader.close()
