"""How fast an artifact is evaluated: by the `evaluate` stage, against `yolo val`.

    python -m benchmarks.evaluation [--quick] [--data PATH]

One artifact, the FP32 ONNX of a YOLO26n at 320 px (random weights do: they answer with as many boxes), and the same
test images of the demo's scenes, or of the given dataset. Both load the artifact, read every image, letterbox, infer on
one thread, match, and compute mAP; in rounds, in which they take turns. A row is a ratio within a round.

throughput      images/s of `evaluate` / images/s of `yolo val` (batch 1, no plots)
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import onnxruntime
import torch
import typer
from ultralytics import YOLO
from ultralytics.utils import LOGGER

from alambique import layout, tasks
from alambique.config.detect import Params
from alambique.data.dataset import Dataset
from alambique.layout import DATA, WEIGHTS, Candidate
from alambique.process.timing import round_robin
from alambique.stages.export import export
from alambique.stages.work import open_program, write_checkpoint_card
from alambique.tasks.yolo import network
from alambique.tasks.yolo.dataset import YoloDataset
from benchmarks import common, datasets
from benchmarks.common import Row

SIZE = 320
THREADS = 1
CANDIDATE = Candidate("nano", "onnx", "fp32")


def main(
    quick: Annotated[bool, typer.Option(help="The same code in under two minutes.")] = False,
    data: Annotated[Path | None, typer.Option(help="A dataset in YOLO layout; default: the demo's scenes.")] = None,
) -> None:
    """Measure how fast an artifact is evaluated."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the artifact runs on a CPU
    LOGGER.setLevel(logging.WARNING)
    torch.set_num_threads(THREADS)
    images, rounds = (8, 2) if quick else (200, 9)
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        dataset = lay_out(project, data, images)
        works = {"ours": partial(_ours, project, dataset), "theirs": partial(_theirs, project, dataset)}
        rates = round_robin({name: partial(_rate, work, images) for name, work in works.items()}, 1 + rounds)
    # The first round also pays for imports.
    counted = {name: values[1:] for name, values in rates.items()}
    common.publish("evaluation", rows(**counted), quick=quick, threads=THREADS, images_per_second=counted)


def rows(ours: Sequence[float], theirs: Sequence[float]) -> list[Row]:
    """The published ratio, taken within a round.

    Args:
        ours, theirs: images per second, round by round.
    """
    return [common.median("throughput", [one / other for one, other in zip(ours, theirs, strict=True)], "≥ 1.0")]


def lay_out(project: Path, data: Path | None, images: int) -> YoloDataset:
    """A project with that many test images, and an artifact."""
    project.mkdir()
    source = datasets.given(data, {"test": images}) if data else _scenes(project.with_name("scenes"), images)
    test = source.images("test")[:images]
    # `yolo val` asks for train and val, too, and writes a cache beside the labels: these are links in a folder of ours.
    datasets.link(source, project / DATA, {"train": test[:1], "val": test[:1], "test": test})
    dataset = YoloDataset.load(project / DATA)
    params = common.params(input_size=SIZE, networks={CANDIDATE.student: {"family": "yolo26", "scale": "n"}})
    _export(project, params, dataset)
    return dataset


def _scenes(target: Path, images: int) -> Dataset:
    from alambique.demo.digits import Scenes

    Scenes(train=1, val=1, test=images, size=SIZE, digits=16).write(target)
    return Dataset.load(target)


def _export(project: Path, params: Params, dataset: YoloDataset) -> None:
    checkpoint = project / layout.checkpoint(CANDIDATE.student, "pruned")
    checkpoint.mkdir(parents=True)
    model = network.build(params.networks[CANDIDATE.student], dataset.classes, params.seed)
    network.save(model, checkpoint / WEIGHTS, SIZE)
    task = tasks.load(params.task)
    write_checkpoint_card(task, checkpoint, params, kind="pruned", data="none", student=CANDIDATE.student)
    target = project / CANDIDATE.folder
    target.mkdir(parents=True)
    export(project, task, CANDIDATE, target)


def _rate(work: Callable[[], Any], images: int) -> float:
    start = time.perf_counter()
    work()
    return images / (time.perf_counter() - start)


def _ours(project: Path, dataset: YoloDataset) -> None:
    task, folder = tasks.load("detect"), project / CANDIDATE.folder
    task.measure(folder, open_program(task, folder, THREADS), dataset, "test", common.params(input_size=SIZE))


def _theirs(project: Path, dataset: YoloDataset) -> None:
    settings = {"split": "test", "imgsz": SIZE, "batch": 1, "workers": 0, "rect": False, "plots": False, "conf": 0.001}
    with patch.object(onnxruntime, "InferenceSession", partial(_limited, onnxruntime.InferenceSession)):
        model = YOLO(project / CANDIDATE.folder / "model.onnx", task="detect")
        model.val(data=dataset.root / "data.yaml", device="cpu", project=project.with_name("runs"), **settings)


def _limited(kind: Callable[..., Any], path: str, _: None, **more: Any) -> Any:
    """A session of as many threads as ours has; upstream leaves their number open."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return kind(path, options, **more)


if __name__ == "__main__":
    common.run(main)
