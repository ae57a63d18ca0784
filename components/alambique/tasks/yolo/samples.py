"""What is trained on beside labels: a detector's boxes with the teachers' class logits, and the other heads' objects in
images without labels, as their teacher sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou
from ultralytics.utils.ops import xywh2xyxy, xyxy2xywh

from alambique.tasks.yolo.dataset import Sample, YoloDataset
from alambique.tasks.yolo.soft_label_rows import BoxLabels, ObjectLabels, labels_of

LabelProbability = Callable[[NDArray[np.floating], NDArray[np.integer]], NDArray[np.float32]]
"""From scores and classes of a teacher's boxes, (n,) each, to the probability that people would label each, (n,)."""

SAME_BOX = 0.5
"""IoU from which a teacher's box and a labelled one are about the same object."""

VISIBLE = 0.5
"""Visibility from which a teacher's keypoint counts as visible."""


def with_teacher_targets(
    dataset: YoloDataset, cache: Mapping[str, BoxLabels], probability: LabelProbability, min_label_probability: float
) -> list[Sample]:
    """The labelled train images, each box with the logits of the teacher's box there, and then the unlabelled ones.

    Args:
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


def pseudo_labelled(dataset: YoloDataset, cache: Mapping[str, ObjectLabels], min_score: float) -> list[Sample]:
    """The unlabelled images with the teacher's objects that score at least `min_score`.

    Raises:
        IntegrityError: an image has no soft labels.
    """
    images = dataset.images("unlabelled")
    return [_with_objects(dataset, image, labels_of(dataset, cache, image), min_score) for image in images]


def _pseudo_labelled(
    image: Path, labels: BoxLabels, probability: LabelProbability, min_label_probability: float, classes: int
) -> Sample:
    likely = probability(labels.scores, labels.classes[:, 0])
    kept = likely >= min_label_probability
    best = labels.classes[kept, :1].astype(np.float32)
    targets = np.hstack((best, likely[kept, None], _dense(labels, classes)[kept]))
    return Sample(image, xyxy2xywh(labels.boxes[kept].astype(np.float32)), targets)


def _matching(sample: Sample, labels: BoxLabels, classes: int) -> NDArray[np.float32]:
    """Logits of the teacher's box at each labelled one, (n, classes): the closest of its class, or else the closest."""
    logits = np.full((len(sample.boxes), classes), np.nan, np.float32)
    if len(sample.boxes) and len(labels.boxes):
        pair = (xywh2xyxy(sample.boxes), labels.boxes.astype(np.float32))
        overlap = np.nan_to_num(box_iou(*map(torch.from_numpy, pair)).numpy())
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


def _with_objects(dataset: YoloDataset, image: Path, labels: ObjectLabels, min_score: float) -> Sample:
    kept = labels.scores >= min_score
    points = labels.points[kept].astype(np.float32)
    if dataset.head == "pose":
        points = _keypoints(points.reshape(-1, *dataset.kpt_shape))
        corners = labels.boxes[kept].astype(np.float32)
    else:
        points = points.reshape(len(points), points.shape[1] // 2, 2)
        corners = np.hstack((points.min(1), points.max(1))).reshape(-1, 4)
    return Sample(image, xyxy2xywh(corners), labels.classes[kept, None].astype(np.float32), list(points))


def _keypoints(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """As labels have them: 2 for a keypoint that is visible, 0 for one that is not labelled."""
    if points.shape[2] == 2:
        visibility = np.ones((*points.shape[:2], 1), np.float32)
    else:
        visibility = np.where(points[..., 2:] >= VISIBLE, np.float32(2), np.float32(0))
    return np.concatenate((points[..., :2], visibility), -1)
