"""Pictures for the page: an image of the cache with labelled boxes and the teachers'."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alambique.report import pictures
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.inspection.summary import probabilities
from alambique.tasks.yolo.pictures import labelled
from alambique.tasks.yolo.soft_label_rows import BoxLabels


class Mark(NamedTuple):
    """A box in a picture, in its pixels; a teacher's has a score and says its probabilities when pointed at."""

    x: float
    y: float
    width: float
    height: float
    color: str
    score: float
    title: str


class Scene(NamedTuple):
    """An image with its boxes.

    Attributes:
        name: path inside data/images.
        source: data URI of its pixels.
        width, height: of these, pixels.
        labelled: boxes that people drew.
        predicted: the teachers' boxes, the best last, so that none covers it.
    """

    name: str
    source: str
    width: int
    height: int
    labelled: list[Mark]
    predicted: list[Mark]


def scene(data: YoloDataset, row: BoxLabels) -> Scene:
    """An image of the cache with both kinds of boxes."""
    path = data.root / "images" / row.image
    image, truth = pictures.load(path), labelled(data, path).detections
    size = np.array(image.size)
    marked = [_mark(box, size, index) for box, index in zip(truth.boxes, truth.classes, strict=True)]
    predicted = [
        _mark(box, size, kept[0], float(score), probabilities(logits, kept, data.classes))
        for box, score, logits, kept in zip(row.boxes, row.scores, row.logits, row.classes, strict=True)
    ]
    return Scene(row.image, pictures.data_uri(image), *image.size, marked, predicted[::-1])


def _mark(box: NDArray[np.floating], size: NDArray[np.int64], index: int, score: float = 1.0, title: str = "") -> Mark:
    corner, extent = box[:2] * size, (box[2:] - box[:2]) * size
    x, y, width, height = (round(float(value), 1) for value in (*corner, *extent))
    return Mark(x, y, width, height, pictures.color(int(index)), score, title)
