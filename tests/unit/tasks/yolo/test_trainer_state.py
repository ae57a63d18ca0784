from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from factories.scripted_training import with_accuracy, with_teacher
from factories.tiny_detection import CLASSES, NETWORK, params

from alambique.evaluation.measures import Metrics
from alambique.files import sha256
from alambique.process.resume_dir import RESUME_FOLDER
from alambique.tasks.trainer_state import State, StateFile
from alambique.tasks.yolo import distributed, network, trainer, trainer_state
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.distillation_loss import DistillationLoss
from alambique.tasks.yolo.objective import DistillationConfig, Objective

SOFT = DistillationConfig(partial(DistillationLoss, temperature=2.0, weight=0.5))

IMAGES = 18
"""Two more than mosaic's partners are drawn from where batches are of 2."""

INTERVAL = 9
INTERVALS = 6
"""The last two without mosaic."""

TRAINING = params().training.model_copy(update={"batch": 2, "val_interval": INTERVAL})
ONE_BATCH = TRAINING.model_copy(update={"batch": IMAGES, "val_interval": 1})
"""A step an interval."""


def train(target: Path, data: YoloDataset, **changes: Any) -> Metrics:
    target.mkdir(exist_ok=True)
    objective = with_teacher(data, distillation=changes.pop("distillation", SOFT))
    given = {
        "image_size": 64,
        "steps": INTERVALS * INTERVAL,
        "training": TRAINING,
        "seed": 0,
        "state_interval": 0.0,
        **changes,
    }
    some = objective._replace(samples=objective.samples[:IMAGES])
    return trainer.train(network.build(NETWORK, CLASSES, 0), data, some, target, **given)


def train_until_killed(target: Path, root: Path, batch: int) -> None:
    """Die before the given batch, counted over all intervals of this process."""
    seen = iter(range(batch))

    class Victim(trainer.SampleTrainer):
        def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
            if next(seen, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().preprocess_batch(batch)

    trainer.SampleTrainer = Victim  # type: ignore[misc]
    train(target, YoloDataset.load(root))


def curves(folder: Path) -> list[dict[str, str]]:
    with (folder / "curves.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(scenes: Path) -> YoloDataset:
    return YoloDataset.load(scenes)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a stage's state is kept in."""
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "resume"))
    return tmp_path / "resume"


class InterruptedTraining(KeyboardInterrupt):
    pass


def interrupt_after(interval: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the next training once the state of an interval is written."""
    write = StateFile.write

    def write_and_stop(self: StateFile, state: State) -> None:
        write(self, state)
        if len(state["curves"]) == interval:
            monkeypatch.setattr(StateFile, "write", write)
            raise InterruptedTraining

    monkeypatch.setattr(StateFile, "write", write_and_stop)


@pytest.mark.slow
def test_a_training_killed_again_and_again_ends_like_an_uninterrupted_one(
    tmp_path: Path, scenes: Path, data: YoloDataset, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    train(tmp_path / "whole", data)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["alambique.tasks.yolo.trainer"])
    moved = tmp_path / "moved"  # where the next try's dataset lies: a workspace of its own
    moved.symlink_to(scenes)
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "resume"))
    for root, batch in (
        (scenes, 2 * INTERVAL + 5),  # in the third interval
        (moved, 2 * INTERVAL + 1),  # in the fifth, the first without mosaic
        (scenes, INTERVAL + 8),  # in the last
    ):
        victim = context.Process(target=train_until_killed, args=(tmp_path / "killed", root, batch))
        victim.start()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL
    said.clear()
    train(tmp_path / "resumed", YoloDataset.load(moved))
    assert f"resuming after step {5 * INTERVAL} of {INTERVALS * INTERVAL}" in said[0]
    assert sha256(tmp_path / "resumed/weights.pt") == sha256(tmp_path / "whole/weights.pt")
    assert curves(tmp_path / "resumed") == curves(tmp_path / "whole")


@pytest.mark.parametrize("optimizer", ["AdamW", "MuSGD"])  # the state of MuSGD holds all that of SGD does
def test_a_resumed_interval_ends_in_the_same_state_to_the_last_bit(
    tmp_path: Path, data: YoloDataset, kept: Path, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One batch: what the moving average was before counts for little after many steps.
    changes = {"training": ONE_BATCH.model_copy(update={"optimizer": optimizer, "patience": 6}), "steps": 6}
    states = []
    for intervals in ((3,), (2, 3)):
        for interval in intervals:
            interrupt_after(interval, monkeypatch)
            with pytest.raises(InterruptedTraining):
                train(tmp_path / "interrupted", data, **changes)
        states.append(torch.load(io.BytesIO((kept / "state.pt").read_bytes()[32:]), weights_only=True))
        (kept / "state.pt").unlink()
    once, resumed = states
    assert set(once) == set(resumed)
    for name in once:
        assert_equal(once[name], resumed[name])


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_equal(one[key], other[key])
    else:
        assert one == other


def test_an_online_teacher_and_what_matches_its_features_go_on(
    tmp_path: Path, data: YoloDataset, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside soft labels. The second interval draws mosaic's partners, the last is without mosaic."""
    network.save(network.build(NETWORK, CLASSES, seed=5), tmp_path / "teacher.pt", image_size=64)
    signals = SOFT._replace(features=tmp_path / "teacher.pt", feature_weight=6.0)
    training = TRAINING.model_copy(update={"batch": 6, "val_interval": 3})
    changes = {"steps": 9, "training": training, "distillation": signals}
    train(tmp_path / "whole", data, **changes)
    interrupt_after(1, monkeypatch)
    (kept / "state.pt").unlink()
    with pytest.raises(InterruptedTraining):
        train(tmp_path / "interrupted", data, **changes)
    train(tmp_path / "resumed", data, **changes)
    assert sha256(tmp_path / "resumed/weights.pt") == sha256(tmp_path / "whole/weights.pt")
    assert curves(tmp_path / "resumed") == curves(tmp_path / "whole")


@pytest.mark.slow
def test_two_ranks_go_on_together(
    tmp_path: Path, data: YoloDataset, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    # Without mosaic: its partners are kept of the first rank only.
    changes = {"training": TRAINING.model_copy(update={"batch": 8, "mosaic": 0.0, "val_interval": 3}), "steps": 9}
    distributed.run(partial(train, tmp_path / "whole", data, **changes), 2)
    assert kept.exists()  # the state of the second interval
    distributed.run(partial(train, tmp_path / "resumed", data, **changes), 2)
    assert sha256(tmp_path / "resumed/weights.pt") == sha256(tmp_path / "whole/weights.pt")
    assert curves(tmp_path / "resumed") == curves(tmp_path / "whole")


def test_an_early_stop_is_as_early_after_interruptions(
    tmp_path: Path, data: YoloDataset, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SampleTrainer", with_accuracy(0.1, 0.3, 0.2, 0.25, 0.4))
    changes = {"training": ONE_BATCH.model_copy(update={"patience": 2}), "steps": 6}
    whole = train(tmp_path / "whole", data, **changes)
    assert (whole["steps"], whole["best_step"], whole["val_map50_95"]) == (4, 2, 0.3)
    (kept / "state.pt").unlink()
    for interval in (1, 3):  # before the best one, and after it
        interrupt_after(interval, monkeypatch)
        with pytest.raises(InterruptedTraining):
            train(tmp_path / "interrupted", data, **changes)
    assert train(tmp_path / "resumed", data, **changes) == whole
    assert sha256(tmp_path / "resumed/weights.pt") == sha256(tmp_path / "whole/weights.pt")
    assert curves(tmp_path / "resumed") == curves(tmp_path / "whole")


TWO_STEPS: dict[str, Any] = {"steps": 2, "training": ONE_BATCH}


@pytest.fixture(scope="module")
def first_step(data: YoloDataset, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The state of a training of two steps between them."""
    folder = tmp_path_factory.mktemp("first_step")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RESUME_FOLDER, str(folder / "resume"))
        interrupt_after(1, patch)
        with pytest.raises(InterruptedTraining):
            train(folder / "interrupted", data, **TWO_STEPS)
    return (folder / "resume/state.pt").read_bytes()


@pytest.fixture
def resumable(first_step: bytes, kept: Path) -> None:
    """A state of that training is there."""
    kept.mkdir()
    (kept / "state.pt").write_bytes(first_step)


@pytest.mark.usefixtures("resumable")
def test_a_resumed_training_emits_all_its_curves(
    tmp_path: Path, data: YoloDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALAMBIQUE_EVENTS", str(tmp_path / "events"))
    train(tmp_path / "resumed", data, **TWO_STEPS)
    assert [json.loads(line)["step"] for line in (tmp_path / "events").read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"steps": 3},
        {"steps": 4, "training": ONE_BATCH.model_copy(update={"val_interval": 2})},
        {"training": ONE_BATCH.model_copy(update={"learning_rate": 0.001})},
        {"distillation": DistillationConfig(partial(DistillationLoss, temperature=2.0, weight=0.25))},
    ],
    ids=["seed", "steps", "interval", "settings", "distillation"],
)
@pytest.mark.usefixtures("resumable")
def test_the_state_of_another_training_is_left_alone(
    tmp_path: Path, data: YoloDataset, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    interrupt_after(1, monkeypatch)
    with pytest.raises(InterruptedTraining):  # it writes the state of a first interval again
        train(tmp_path / "other", data, **{**TWO_STEPS, **change})
    assert "another training's" in warned[0]


def test_first_weights_and_samples_tell_trainings_apart(data: YoloDataset) -> None:
    own = data.samples("train")
    moved = own[0]._replace(boxes=own[0].boxes + 0.01)
    images = data.root / "images"
    prints = {
        trainer_state.fingerprint(network.build(NETWORK, CLASSES, seed), Objective(some), images, {})
        for seed, some in ((0, own), (1, own), (0, own[1:]), (0, [moved, *own[1:]]), (0, with_teacher(data).samples))
    }
    assert len(prints) == 5
    assert trainer_state.fingerprint(network.build(NETWORK, CLASSES, 0), Objective(own), images, {}) in prints


@pytest.mark.parametrize("damage", [lambda content: content[:-100], lambda content: content[:-1] + b"!", lambda _: b""])
def test_a_damaged_state_is_a_warning(tmp_path: Path, damage: Any, warned: list[str]) -> None:
    states = StateFile(tmp_path / "new/state.pt", "one", 0)
    states.write({"curves": [], "tensor": torch.arange(1000)})
    assert states.read()
    states.path.write_bytes(damage(states.path.read_bytes()))
    assert states.read() is None
    assert "is damaged; the training starts over" in warned[0]


def test_states_are_not_written_more_often_than_asked(tmp_path: Path) -> None:
    states = StateFile(tmp_path / "state.pt", "one", interval=0.2)
    assert states.is_due()
    states.write({})
    assert not states.is_due()
    time.sleep(0.2)
    assert states.is_due()
