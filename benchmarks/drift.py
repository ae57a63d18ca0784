"""How often drift is seen where there is none, and how often where there is some.

    python -m benchmarks.drift [--quick] [--data PATH]

A YOLO26 of 0.7 million parameters is trained on scenes of digits at 96 px (or on 40 % of the given dataset's images).
Each of many batches then goes through the product's comparison, `alambique.drift.comparisons.compare`, with the
defaults of params.yaml. The training images of the reference, its images that the network never saw, and the batch are
drawn anew each time, the batch from images that are in neither, so that the rates hold for other references, too. They
are drawn from pools whose features are computed once, so batches overlap: the intervals are those of independent ones.

false_alarm_rate   batches like the training images that are called drifted
detection_blur     batches blurred by a Gaussian that are
detection_dark     of darkened ones
detection_colour   of ones with more red and less blue
detection_class    of ones in which the second half of the classes is more frequent: drawn by the square of its share
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import binomtest

from alambique import tasks
from alambique.config.detect import Params
from alambique.data.dataset import LABELLED, Dataset
from alambique.drift import comparisons, image_statistics
from alambique.drift.features import Batch, Reference
from alambique.drift.reference import SAMPLE
from alambique.layout import teacher
from alambique.tasks.base import DriftFeatures
from benchmarks import common, datasets
from benchmarks.common import Row
from benchmarks.stage_runs import Stage, begin, do, lay_out

SEED = 0
"""Of the split; batch i of the k-th row is drawn with the seeds [SEED, k, i]."""

NETWORK = {"family": "yolo26", "scale": [0.50, 0.125, 1024]}
BLUR, DARK, COLOUR = 1.0, 0.8, (0.9, 1.0, 1.1)
"""Standard deviation of the blur, pixels; factor of all values; factors of blue, green and red."""

Pixels = NDArray[np.uint8]


def _blurred(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), BLUR), np.uint8)


def _scaled(factors: float | tuple[float, ...], pixels: Pixels) -> Pixels:
    return np.asarray(np.clip(np.rint(pixels * np.array(factors)), 0, 255), np.uint8)


CORRUPTIONS: dict[str, Callable[[Pixels], Pixels]] = {
    "blur": _blurred,
    "dark": partial(_scaled, DARK),
    "colour": partial(_scaled, COLOUR),
}


@dataclass(frozen=True)
class Scale:
    """How large the work is.

    Attributes:
        train, unseen: images to train on, and others.
        batch: images of one.
        batches: of each row.
        steps: of the training.
    """

    train: int
    unseen: int
    batch: int
    batches: int
    steps: int


FULL = Scale(train=480, unseen=1600, batch=200, batches=200, steps=600)
QUICK = Scale(train=48, unseen=180, batch=60, batches=20, steps=3)


class Pool(NamedTuple):
    """Images to draw from: their statistics, and what the network makes of them."""

    statistics: NDArray[np.float64]
    network_features: DriftFeatures

    def drawn(self, rows: NDArray[np.int64]) -> Batch:
        """Some of the images."""
        seen = self.network_features
        numbers = {name: values[rows] for name, values in seen.numbers.items()}
        part = seen._replace(
            embeddings=seen.embeddings[rows],
            numbers=numbers,
            counts=seen.counts[rows],
            uncertainty=seen.uncertainty[rows],
        )
        return Batch(self.statistics[rows], part)


def main(
    quick: Annotated[bool, typer.Option(help="The same code in under two minutes.")] = False,
    data: Annotated[Path | None, typer.Option(help="A dataset in YOLO layout; default: the demo's scenes.")] = None,
) -> None:
    """Measure the rates of false alarms and of detections."""
    os.environ["OMP_NUM_THREADS"] = "1"
    begin()
    scale = QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as scratch:
        splits = _splits(data, Path(scratch) / "scenes", scale)
        scale, project, params = _trained(splits, scale, 96 if data is None else 320, Path(scratch), quick)
        common.tell("Computing the features of every image")
        trained, unseen = splits.images["train"], splits.images["test"]
        network = project / teacher("main")
        pools = {name: _pool(network, unseen, params, Path(scratch) / name, name) for name in ("", *CORRUPTIONS)}
        training = image_statistics.statistics(trained)[0]
        shares = _second_half(splits.dataset, unseen)
    rates = [("false_alarm_rate", "", "≤ 0.05"), *((f"detection_{name}", name, "≥ 0.95") for name in CORRUPTIONS)]
    rows = []
    for number, (id, name, goal) in enumerate([*rates, ("detection_class", "", "≥ 0.95")]):
        weights = shares**2 if id == "detection_class" else np.ones(len(shares))
        trials = [
            _trial(training, pools[""], pools[name], weights, scale.batch, params, [SEED, number, index])
            for index in range(scale.batches)
        ]
        rows.append(_row(id, trials, goal))
        common.tell(f"{id}: {rows[-1].value:.3f}")
    setting = {"batch": scale.batch, "trained": len(trained), "unseen": len(unseen), "data": data and data.name}
    corruptions = {"blur": BLUR, "dark": DARK, "colour": COLOUR}
    common.publish("drift", rows, quick=quick, threads=1, setting={**setting, "seed": SEED, **corruptions})


class Splits(NamedTuple):
    """A dataset, and its images by the split that they get here."""

    dataset: Dataset
    images: dict[str, list[Path]]


def _splits(data: Path | None, scenes: Path, scale: Scale) -> Splits:
    """40 % of a given dataset to train on; of scenes, as many as the scale says."""
    if data is None:
        from alambique.demo.digits import Scenes

        Scenes(train=scale.train, val=8, test=scale.unseen).write(scenes)
        dataset = Dataset.load(scenes)
        return Splits(dataset, {split: dataset.images(split) for split in LABELLED})
    dataset = datasets.given(data, {"train": 1, "val": 8})
    images = [image for split in ("train", "test") for image in dataset.images(split)]
    order = np.random.default_rng(SEED).permutation(len(images))
    train = round(0.4 * len(images))
    parts = {"train": order[:train], "test": order[train:]}
    mixed = {split: [images[index] for index in sorted(part)] for split, part in parts.items()}
    return Splits(dataset, {**mixed, "val": dataset.images("val")})


def _trained(splits: Splits, scale: Scale, size: int, scratch: Path, quick: bool) -> tuple[Scale, Path, Params]:
    """The project with its trained network, as far as it was not trained before."""
    changes: dict[str, Any] = {
        "input_size": size,
        "teacher": {"main": {"weights": None, "network": NETWORK, "steps": scale.steps}},
        "training": {"learning_rate": 0.003, "mosaic": 0.0, "flip": 0.0},
        "validation": {"min_boxes_per_class": 0},
    }
    digests = [splits.dataset.digest(split) for split in LABELLED]
    folder = scratch if quick else common.state("drift", data=digests, scale=scale, changes=changes)
    project = folder / "project"
    lay_out(project, "detect", partial(datasets.link, splits.dataset, splits=splits.images), changes)
    do(project, (Stage("validate"), Stage("teacher", ("main",))))
    unseen = len(splits.images["test"])
    # A small dataset is shared between the reference and the batches.
    fitting = Scale(scale.train, unseen, min(scale.batch, unseen // 3), scale.batches, scale.steps)
    return fitting, project, common.params(**changes)


def _pool(network: Path, images: Sequence[Path], params: Params, folder: Path, name: str) -> Pool:
    """The features of images, corrupted by what `name` names, if anything."""
    if name:
        images = [_corrupted(image, folder, CORRUPTIONS[name]) for image in images]
    return Pool(image_statistics.statistics(images)[0], tasks.load("detect").drift_features(network, images, params))


def _corrupted(image: Path, folder: Path, corruption: Callable[[Pixels], Pixels]) -> Path:
    target = folder / f"{image.stem}.png"
    target.parent.mkdir(exist_ok=True)
    pixels = image_statistics.read(image)
    cv2.imwrite(str(target), corruption(np.zeros((1, 1, 3), np.uint8) if pixels is None else pixels))
    return target


def _second_half(dataset: Dataset, images: Sequence[Path]) -> NDArray[np.float64]:
    """The share of each image's boxes that are of the second half of the classes, and a little more than nothing."""
    classes = [dataset.boxes(image)[:, 0] for image in images]
    half = len(dataset.classes) / 2
    return np.array([(each >= half).mean() if len(each) else 0 for each in classes]) + 1e-3


def _trial(
    training: NDArray[np.float64],
    unseen: Pool,
    shifted: Pool,
    weights: NDArray[np.float64],
    size: int,
    params: Params,
    seed: list[int],
) -> list[str]:
    """The signals that drift in one batch."""
    chance = np.random.default_rng(seed)
    images = len(unseen.statistics)
    held_out = chance.choice(images, min(SAMPLE, images - 2 * size), replace=False)
    left = np.setdiff1d(np.arange(images), held_out)
    rows = chance.choice(left, size, replace=False, p=weights[left] / weights[left].sum())
    sample = chance.choice(len(training), min(SAMPLE, len(training)), replace=False)
    reference = Reference(training[sample], unseen.drawn(held_out).network_features, len(sample), len(held_out))
    found = comparisons.compare(reference, shifted.drawn(rows), params.drift.false_alarms)
    return [signal.name for signal in found if signal.drifted]


def _row(id: str, trials: Sequence[list[str]], goal: str) -> Row:
    """The share of batches with any signal, its exact binomial interval, and how often each signal was among them."""
    drifted = sum(bool(names) for names in trials)
    interval = binomtest(drifted, len(trials)).proportion_ci(0.95)
    signals_of = Counter(name for names in trials for name in names)
    by_signal = {name: count / len(trials) for name, count in sorted(signals_of.items())}
    return Row(id, drifted / len(trials), interval.low, interval.high, len(trials), goal, {"signals": by_signal})


if __name__ == "__main__":
    common.run(main)
