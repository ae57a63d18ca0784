"""What the caches of soft labels hold of an image: boxes with class logits, or objects with their points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.data.dataset import Dataset
from alambique.errors import IntegrityError
from alambique.softlabels import schema
from alambique.softlabels.schema import Recipe
from alambique.tasks.yolo.average_precision import Detections
from alambique.tasks.yolo.dataset import HeadName


class BoxLabels(NamedTuple):
    """The teachers' n boxes of one image, and the k likeliest classes of each.

    Attributes:
        image: path inside data/images, as in train/x.png.
        boxes: x1, y1, x2, y2 as shares of the image's width and height, (n, 4).
        logits: of the likeliest classes, descending, (n, k).
        classes: which classes they are, (n, k).
        scores: the sigmoid of the first logit, (n,).
    """

    image: str
    boxes: NDArray[np.float16]
    logits: NDArray[np.float16]
    classes: NDArray[np.int16]
    scores: NDArray[np.float16]

    @property
    def detections(self) -> Detections:
        """The boxes with their likeliest classes alone."""
        boxes, scores = self.boxes.astype(np.float32), self.scores.astype(np.float32)
        return Detections(boxes, scores, self.classes[:, 0].astype(np.int64))


class BoxRecipe(Recipe[BoxLabels]):
    """What decides the boxes of a cache.

    Attributes:
        experts: where `combine` is best_per_class, the number of the teacher for each class.
        image_sizes: side of each teacher's input, pixels; it need not be the student's.
        min_score: boxes below are not kept.
        max_boxes: boxes kept per image, at most.
    """

    experts: list[int] | None
    image_sizes: list[int]
    min_score: float
    max_boxes: int

    @property
    def width(self) -> int:
        """Class logits kept per box: there are no more than classes."""
        return min(self.top_k, len(self.classes))

    @property
    def row(self) -> type[BoxLabels]:
        return BoxLabels

    def layout(self) -> pa.Schema:
        """Half precision places a box to a quarter of a pixel in an image of 1,024, and keeps COCO near 1 GB."""
        return schema.rows(
            boxes=pa.list_(pa.float16(), 4),
            logits=pa.list_(pa.float16(), self.width),
            classes=pa.list_(pa.int16(), self.width),
            scores=pa.float16(),
        )


class ObjectLabels(NamedTuple):
    """A teacher's n objects of one image.

    Attributes:
        image: path inside data/images, as in train/x.png.
        boxes: x1, y1, x2, y2 as shares of the image's width and height, (n, 4).
        scores, classes: (n,), (n,).
        points: corners, keypoints or an outline, as shares, (n, p · d); see `decoding.Objects`.
    """

    image: str
    boxes: NDArray[np.float16]
    scores: NDArray[np.float16]
    classes: NDArray[np.int16]
    points: NDArray[np.float16]


class ObjectRecipe(Recipe[ObjectLabels]):
    """What decides the objects of a cache.

    Attributes:
        head: the teacher's.
        image_size: side of its input, pixels.
        numbers: how many points an object has, and how many numbers each.
        min_score: objects below are not kept.
        max_boxes: objects kept per image, at most.
    """

    head: HeadName
    image_size: int
    numbers: tuple[int, int]
    min_score: float
    max_boxes: int

    @property
    def row(self) -> type[ObjectLabels]:
        return ObjectLabels

    def layout(self) -> pa.Schema:
        return schema.rows(
            boxes=pa.list_(pa.float16(), 4),
            scores=pa.float16(),
            classes=pa.int16(),
            points=pa.list_(pa.float16(), self.numbers[0] * self.numbers[1]),
        )


Row = TypeVar("Row")


def labels_of(dataset: Dataset, cache: Mapping[str, Row], image: Path) -> Row:
    """An image's soft labels; an IntegrityError if there are none."""
    key = dataset.inside(image)
    if key not in cache:
        raise IntegrityError(f"no soft labels for {image}; run the soft_labels stage again (`dvc repro soft_labels`)")
    return cache[key]
