"""What a detector is trained on: images with their boxes, from labels, from the teacher, or from both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from alambique.data.dataset import Dataset
from alambique.errors import IntegrityError
from alambique.tasks.detect.boxes import SoftLabels

Trust = Callable[[NDArray[np.floating], NDArray[np.integer]], NDArray[np.float32]]
"""From scores and classes of a teacher's boxes, (n,) each, to the probability that each is right, (n,)."""

SAME_BOX = 0.5
"""IoU from which a teacher's box and a labelled one are about the same object."""


Image = TypeVar("Image")


class Sample(NamedTuple):
    """An image and its n boxes.

    Attributes:
        image: its file.
        boxes: centre x, centre y, width, height as shares of the image, (n, 4).
        targets: the class index, (n, 1); for distillation also how much the box counts, and the teacher's logit of
            every class, NaN where the box has no teacher, −inf where the logit was not kept: (n, 2 + classes).
    """

    image: Path
    boxes: NDArray[np.float32]
    targets: NDArray[np.float32]


def labelled(data: Dataset, split: str) -> list[Sample]:
    """The images of a split with the boxes that people drew."""
    samples = []
    for image in data.images(split):
        rows = data.boxes(image).astype(np.float32)
        samples.append(Sample(image, rows[:, 1:], rows[:, :1]))
    return samples


def repeated(samples: Iterable[Image], length: int) -> list[Image]:
    """The samples over and over, up to `length`: as many steps an epoch as another training has."""
    return list(islice(cycle(samples), length))


def taught(
    data: Dataset, teacher: Mapping[str, SoftLabels], trust: Trust, min_label_probability: float
) -> list[Sample]:
    """The labelled train images, each box with the logits of the teacher's box there, and then the unlabelled ones.

    Args:
        data: the dataset.
        teacher: soft labels by the image's path inside data/images.
        trust: the probability of a teacher's box, which is how much it counts; a person's box counts whole.
        min_label_probability: a teacher's box in an unlabelled image becomes a target from here on.
    Raises:
        IntegrityError: an image has no soft labels.
    """
    classes = len(data.classes)
    samples = []
    for sample in labelled(data, "train"):
        logits = _matching(sample, seen(data, teacher, sample.image), classes)
        whole = np.ones((len(logits), 1), np.float32)
        samples.append(sample._replace(targets=np.hstack((sample.targets, whole, logits))))
    for image in data.images("unlabelled"):
        samples.append(_pseudo_labelled(image, seen(data, teacher, image), trust, min_label_probability, classes))
    return samples


def inside(data: Dataset, image: Path) -> str:
    """An image's path inside data/images, as the cache knows it."""
    return image.relative_to(data.root / "images").as_posix()


def corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centre x, centre y, width, height as x1, y1, x2, y2, (n, 4)."""
    centre, extent = boxes[:, :2], boxes[:, 2:]
    return np.hstack((centre - extent / 2, centre + extent / 2))


def seen(data: Dataset, teacher: Mapping[str, SoftLabels], image: Path) -> SoftLabels:
    """An image's soft labels.

    Raises:
        IntegrityError: there are none.
    """
    key = inside(data, image)
    if key not in teacher:
        raise IntegrityError(f"no soft labels for {image}; run the soft_labels stage again (`dvc repro soft_labels`)")
    return teacher[key]


def _pseudo_labelled(
    image: Path, found: SoftLabels, trust: Trust, min_label_probability: float, classes: int
) -> Sample:
    likely = trust(found.scores, found.classes[:, 0])
    kept = likely >= min_label_probability
    place = found.boxes[kept].astype(np.float32)
    boxes = np.hstack(((place[:, :2] + place[:, 2:]) / 2, place[:, 2:] - place[:, :2]))
    best = found.classes[kept, :1].astype(np.float32)
    return Sample(image, boxes, np.hstack((best, likely[kept, None], _dense(found, classes)[kept])))


def _matching(sample: Sample, found: SoftLabels, classes: int) -> NDArray[np.float32]:
    """Logits of the teacher's box at each labelled one, (n, classes): the closest of its class, or else the closest."""
    logits = np.full((len(sample.boxes), classes), np.nan, np.float32)
    if len(sample.boxes) and len(found.boxes):
        overlap = _iou(corners(sample.boxes), found.boxes.astype(np.float32))
        rank = overlap + (found.classes[None, :, 0] == sample.targets[:, :1])  # an IoU is at most 1
        rank[overlap < SAME_BOX] = 0
        matched = rank.max(1) > 0
        logits[matched] = _dense(found, classes)[rank.argmax(1)[matched]]
    return logits


def _dense(found: SoftLabels, classes: int) -> NDArray[np.float32]:
    """The kept logits at their classes' places, −inf elsewhere, (n, classes)."""
    dense = np.full((len(found.boxes), classes), -np.inf, np.float32)
    np.put_along_axis(dense, found.classes.astype(np.int64), found.logits.astype(np.float32), axis=1)
    return dense


def _iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of x1, y1, x2, y2 boxes: (n, 4) and (m, 4) give (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    union: NDArray[np.float32] = common / (areas[0][:, None] + areas[1][None] - common).clip(1e-12)
    return union
