"""What detectors are trained on when they are distilled by soft labels: boxes with the teachers' class logits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from alambique.tasks.yolo.dataset import Sample, YoloDataset
from alambique.tasks.yolo.soft_label_rows import BoxLabels, labels_of

LabelProbability = Callable[[NDArray[np.floating], NDArray[np.integer]], NDArray[np.float32]]
"""From scores and classes of a teacher's boxes, (n,) each, to the probability that people would label each, (n,)."""

SAME_BOX = 0.5
"""IoU from which a teacher's box and a labelled one are about the same object."""

Item = TypeVar("Item")


def repeated(samples: Iterable[Item], length: int) -> list[Item]:
    """The samples over and over, up to `length`: as many steps an epoch as another training has."""
    return list(islice(cycle(samples), length))


def with_teacher_targets(
    dataset: YoloDataset, cache: Mapping[str, BoxLabels], probability: LabelProbability, min_label_probability: float
) -> list[Sample]:
    """The labelled train images, each box with the logits of the teacher's box there, and then the unlabelled ones.

    Args:
        dataset: of boxes.
        cache: soft labels by the image's path inside data/images.
        probability: of a teacher's box, which is how much it counts; a person's box counts whole.
        min_label_probability: a teacher's box in an unlabelled image becomes a target from here on.
    Raises:
        IntegrityError: an image has no soft labels.
    """
    classes = len(dataset.classes)
    samples = []
    for sample in dataset.samples("train"):
        logits = _matching(sample, labels_of(dataset, cache, sample.image), classes)
        whole = np.ones((len(logits), 1), np.float32)
        samples.append(sample._replace(targets=np.hstack((sample.targets, whole, logits))))
    for image in dataset.images("unlabelled"):
        labels = labels_of(dataset, cache, image)
        samples.append(_pseudo_labelled(image, labels, probability, min_label_probability, classes))
    return samples


def corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centre x, centre y, width, height as x1, y1, x2, y2, (n, 4)."""
    centre, extent = boxes[:, :2], boxes[:, 2:]
    return np.hstack((centre - extent / 2, centre + extent / 2))


def centres(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """x1, y1, x2, y2 as centre x, centre y, width, height, (n, 4)."""
    return np.hstack(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]))


def _pseudo_labelled(
    image: Path, labels: BoxLabels, probability: LabelProbability, min_label_probability: float, classes: int
) -> Sample:
    likely = probability(labels.scores, labels.classes[:, 0])
    kept = likely >= min_label_probability
    best = labels.classes[kept, :1].astype(np.float32)
    targets = np.hstack((best, likely[kept, None], _dense(labels, classes)[kept]))
    return Sample(image, centres(labels.boxes[kept].astype(np.float32)), targets)


def _matching(sample: Sample, labels: BoxLabels, classes: int) -> NDArray[np.float32]:
    """Logits of the teacher's box at each labelled one, (n, classes): the closest of its class, or else the closest."""
    logits = np.full((len(sample.boxes), classes), np.nan, np.float32)
    if len(sample.boxes) and len(labels.boxes):
        overlap = _iou(corners(sample.boxes), labels.boxes.astype(np.float32))
        rank = overlap + (labels.classes[None, :, 0] == sample.targets[:, :1])  # an IoU is at most 1
        rank[overlap < SAME_BOX] = 0
        matched = rank.max(1) > 0
        logits[matched] = _dense(labels, classes)[rank.argmax(1)[matched]]
    return logits


def _dense(labels: BoxLabels, classes: int) -> NDArray[np.float32]:
    """The kept logits at their classes' places, −inf elsewhere, (n, classes)."""
    dense = np.full((len(labels.boxes), classes), -np.inf, np.float32)
    np.put_along_axis(dense, labels.classes.astype(np.int64), labels.logits.astype(np.float32), axis=1)
    return dense


def _iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of x1, y1, x2, y2 boxes: (n, 4) and (m, 4) give (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    union: NDArray[np.float32] = common / (areas[0][:, None] + areas[1][None] - common).clip(1e-12)
    return union
