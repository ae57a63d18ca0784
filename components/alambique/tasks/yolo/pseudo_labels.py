"""A teacher's objects as labels of images that have none: those it scores high enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.tasks.yolo.dataset import Sample, YoloDataset
from alambique.tasks.yolo.samples import centres
from alambique.tasks.yolo.soft_label_rows import ObjectLabels, labels_of

VISIBLE = 0.5
"""Visibility from which a teacher's keypoint counts as visible."""


def pseudo_labelled(dataset: YoloDataset, cache: Mapping[str, ObjectLabels], min_score: float) -> list[Sample]:
    """The unlabelled images with the teacher's objects that score at least `min_score`.

    Raises:
        IntegrityError: an image has no soft labels.
    """
    images = dataset.images("unlabelled")
    return [_sample(dataset, image, labels_of(dataset, cache, image), min_score) for image in images]


def _sample(dataset: YoloDataset, image: Path, labels: ObjectLabels, min_score: float) -> Sample:
    kept = labels.scores >= min_score
    points = labels.points[kept].astype(np.float32)
    if dataset.head == "pose":
        points = _keypoints(points.reshape(-1, *dataset.kpt_shape))
        corners = labels.boxes[kept].astype(np.float32)
    else:
        points = points.reshape(len(points), points.shape[1] // 2, 2)
        corners = np.hstack((points.min(1), points.max(1))).reshape(-1, 4)
    return Sample(image, centres(corners), labels.classes[kept, None].astype(np.float32), list(points))


def _keypoints(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """As labels have them: 2 for a keypoint that is visible, 0 for one that is not labelled."""
    if points.shape[2] == 2:
        visibility = np.ones((*points.shape[:2], 1), np.float32)
    else:
        visibility = np.where(points[..., 2:] >= VISIBLE, np.float32(2), np.float32(0))
    return np.concatenate((points[..., :2], visibility), -1)
