from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from factories import ddp_ranks
from factories.scripted_training import with_teacher
from factories.stub_interpreter import alive, eventually
from factories.tiny_detection import CLASSES, NETWORK, params

from alambique.errors import AlambiqueError, ConfigurationError
from alambique.files import read_json
from alambique.tasks.yolo import distributed, network, trainer
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.distillation_loss import DistillationLoss
from alambique.tasks.yolo.objective import DistillationConfig

INTERVALS, STEPS = 2, 3
"""And the steps of each, in which every image is seen once."""


@pytest.fixture(autouse=True, scope="module")
def _without_gpus() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(scope="module")
def data(scenes: Path) -> YoloDataset:
    return YoloDataset.load(scenes)


def distillation(
    target: Path, data: YoloDataset, loss: type[DistillationLoss] = DistillationLoss, logit: float = 1.0, batch: int = 8
) -> dict[str, Any]:
    """What `trainer.train` is given."""
    return {
        "model": network.build(NETWORK, CLASSES, 0),
        "dataset": data,
        "objective": with_teacher(data, logit, DistillationConfig(partial(loss, temperature=2.0, weight=0.5))),
        "target": target,
        "image_size": 64,
        "steps": INTERVALS * STEPS,
        "training": params().training.model_copy(update={"batch": batch}),
        "seed": 0,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: YoloDataset) -> Path:
    """What two ranks leave of one training: what each knows in 0.json and 1.json; weights.pt and curves.csv."""
    target = tmp_path_factory.mktemp("trained")
    metrics = distributed.run(partial(ddp_ranks.train, **distillation(target, data, ddp_ranks.Witness)), processes=2)
    assert metrics == read_json(target / "0.json")["metrics"]
    return target


def known(trained: Path, what: str) -> list[Any]:
    return [read_json(trained / f"{rank}.json")[what] for rank in (0, 1)]


def test_the_losses_are_equal_on_both_ranks_and_the_teacher_is_heard(trained: Path) -> None:
    first, second = (
        {name: value for name, value in metrics.items() if name.startswith("train_")}
        for metrics in known(trained, "metrics")
    )
    assert first == second
    assert first["train_kd_loss"] > 0
    with (trained / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == INTERVALS
    assert float(rows[-1]["kd_loss"]) == first["train_kd_loss"]


def test_each_rank_trains_on_its_own_half_of_the_images(trained: Path, data: YoloDataset) -> None:
    everything = {str(image) for image in data.images("train")}
    first, second = known(trained, "images")
    half = len(everything) // 2
    assert len(first) == len(second) == INTERVALS * half
    for interval in range(INTERVALS):
        halves = [set(seen[interval * half : (interval + 1) * half]) for seen in (first, second)]
        assert set.union(*halves) == everything
        assert not set.intersection(*halves)


def test_both_ranks_end_with_equal_weights(trained: Path) -> None:
    first, second = known(trained, "weights")
    assert first == second
    start = [value for each in network.build(NETWORK, CLASSES, 0).parameters() for value in each.flatten().tolist()]
    assert np.abs(np.subtract(first, start)).max() > 0.001


def test_the_checkpoint_is_the_network_that_was_given(trained: Path) -> None:
    written = network.load(trained / "weights.pt")
    assert network.parameters(written) == network.parameters(network.build(NETWORK, CLASSES, 0))


def test_only_the_first_rank_measures_val_and_steps_are_those_of_the_whole_batch(trained: Path) -> None:
    first, second = known(trained, "metrics")
    assert first["val_map50_95"] >= 0
    assert "val_map50_95" not in second
    assert first["steps"] == INTERVALS * STEPS  # 24 images in batches of 8, four on each rank


def test_several_gpus_train_as_ranks_and_refuse_a_batch_that_they_cannot_share(
    tmp_path: Path, data: YoloDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigurationError, match=r"training\.batch is 7, which 2 GPUs cannot share"):
        trainer.train(**distillation(tmp_path, data, batch=7))


@pytest.mark.slow
def test_what_stops_one_rank_stops_both(tmp_path: Path, data: YoloDataset) -> None:
    with pytest.raises(ConfigurationError, match="nothing before step 3 had a teacher"):
        distributed.run(partial(ddp_ranks.train, **distillation(tmp_path, data, logit=np.nan)), processes=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("work", "kind", "message"),
    [
        (partial(ddp_ranks.second_raises, OSError("no space left")), AlambiqueError, "^OSError: no space left$"),
        (ddp_ranks.second_is_killed, AlambiqueError, "training process 2 of 2 was ended by SIGKILL"),
    ],
)
def test_the_error_of_one_rank_is_the_error_of_all(
    work: Callable[[], None], kind: type[AlambiqueError], message: str
) -> None:
    begun = time.monotonic()
    with pytest.raises(kind, match=message) as raised:
        distributed.run(work, processes=2)
    assert type(raised.value) is kind
    assert time.monotonic() - begun < 300


def test_a_killed_parent_leaves_no_rank_behind(tmp_path: Path) -> None:
    stage = (
        "from functools import partial; from pathlib import Path; from factories import ddp_ranks\n"
        "from alambique.tasks.yolo import distributed\n"
        f"distributed.run(partial(ddp_ranks.stay, Path({str(tmp_path)!r})), processes=2)"
    )
    here = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", stage], env={**os.environ, **here}) as parent:
        files = [tmp_path / f"{rank}.json" for rank in (0, 1)]
        assert eventually(lambda: all(file.exists() for file in files), seconds=120)
        started = [read_json(file) for file in files]
        assert all(map(alive, started))
        parent.send_signal(signal.SIGKILL)
    assert eventually(lambda: not any(map(alive, started)))
