"""A teacher's answers as labels: of images that have none, what the teacher is sure of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.config.heads import Head
from alambique.errors import IntegrityError
from alambique.softlabels import schema
from alambique.softlabels.key import Recipe
from alambique.tasks.heads.shapes import Sample, Shapes


class SoftLabels(NamedTuple):
    """What the teacher finds in one image: n objects.

    Attributes:
        image: path inside data/images, as in train/x.png.
        boxes: x1, y1, x2, y2 as shares of the image's width and height, (n, 4).
        scores, classes: (n,), (n,).
        points: corners, keypoints or an outline, as shares, (n, p · d); see `answers.Found`.
    """

    image: str
    boxes: NDArray[np.float16]
    scores: NDArray[np.float16]
    classes: NDArray[np.int16]
    points: NDArray[np.float16]


class ShapeRecipe(Recipe[SoftLabels]):
    """What decides the objects of a cache.

    Attributes:
        head: what the teacher has.
        image_size: side of its input, pixels.
        numbers: how many points an object has, and how many numbers each.
        min_score: objects below are not kept.
        max_boxes: objects kept per image, at most.
    """

    head: Head
    image_size: int
    numbers: tuple[int, int]
    min_score: float
    max_boxes: int

    @property
    def row(self) -> type[SoftLabels]:
        """The class of its rows."""
        return SoftLabels

    def layout(self) -> pa.Schema:
        """The columns of a shard."""
        return schema.rows(
            boxes=pa.list_(pa.float16(), 4),
            scores=pa.float16(),
            classes=pa.int16(),
            points=pa.list_(pa.float16(), self.numbers[0] * self.numbers[1]),
        )


def labelled(data: Shapes, cache: Mapping[str, SoftLabels], min_score: float) -> list[Sample]:
    """The unlabelled images with the teacher's objects that score at least `min_score`.

    Raises:
        IntegrityError: an image has no soft labels.
    """
    return [_sample(data, image, cache, min_score) for image in data.images("unlabelled")]


def inside(data: Shapes, image: Path) -> str:
    """An image's path inside data/images, as the cache knows it."""
    return image.relative_to(data.root / "images").as_posix()


def _sample(data: Shapes, image: Path, cache: Mapping[str, SoftLabels], min_score: float) -> Sample:
    if (key := inside(data, image)) not in cache:
        raise IntegrityError(f"no soft labels for {image}; run the soft_labels stage again (`dvc repro soft_labels`)")
    found = cache[key]
    sure = found.scores >= min_score
    points = found.points[sure].astype(np.float32)
    if data.head == "pose":
        count, numbers = data.kpt_shape
        points = _keypoints(points.reshape(-1, count, numbers))
        corners = found.boxes[sure].astype(np.float32)
    else:
        points = points.reshape(len(points), points.shape[1] // 2, 2)
        corners = np.hstack((points.min(1), points.max(1))).reshape(-1, 4)
    boxes = np.hstack(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]))
    return Sample(image, boxes, found.classes[sure, None].astype(np.float32), list(points))


def _keypoints(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """As labels have them: 2 for a keypoint that the teacher sees, 0 for one that it does not."""
    if points.shape[2] == 2:
        seen = np.ones((*points.shape[:2], 1), np.float32)
    else:
        seen = np.where(points[..., 2:] >= 0.5, np.float32(2), np.float32(0))
    return np.concatenate((points[..., :2], seen), -1)
