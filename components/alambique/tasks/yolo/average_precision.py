"""Average precision, computed by Ultralytics, so that a figure here means what `yolo val` means by it.

It ranks detections and does not care for their scores: an artifact which halves all scores keeps its mAP, and finds
half as much where it is used. So precision, recall and F1 are measured at the threshold of deployment, and how far a
score is the probability that its detection is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils.metrics import ap_per_class, box_iou

from alambique.evaluation.measures import expected_calibration_error

THRESHOLDS = torch.linspace(0.5, 0.95, 10)
"""The IoU thresholds that mAP50-95 is the mean over (COCO)."""
FLOOR = 0.05
"""A network fills its output with detections of the lowest scores: rightly so, and by their number they would make any
network look calibrated."""


class Detections(NamedTuple):
    """An image's boxes by falling score: (n, 4) in input pixels, (n,), and (n,) indices of the dataset's classes."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def above(self, threshold: float) -> Detections:
        """Those that score at least `threshold`."""
        return self.take(self.scores >= threshold)

    def take(self, which: NDArray[np.bool_]) -> Detections:
        """Those where this mask is true, (n,)."""
        return Detections(self.boxes[which], self.scores[which], self.classes[which])


class Matched(NamedTuple):
    """One image's detections, judged.

    Attributes:
        correct: whether each detection finds a box of its class at each threshold, (n, 10).
        scores, classes: of the detections, (n,).
        truth: class indices of the image's true boxes, (m,).
    """

    correct: NDArray[np.bool_]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    truth: NDArray[np.int64]


def match(detections: Detections, truth_boxes: NDArray[np.float32], truth_classes: NDArray[np.int64]) -> Matched:
    """Give each true box to at most one detection, the best-scored first.

    Args:
        truth_boxes, truth_classes: (m, 4), (m,); boxes as x1, y1, x2, y2 in the same units as the detections'.
    """
    boxes, scores, classes = detections
    if not len(boxes) or not len(truth_boxes):
        return Matched(np.zeros((len(boxes), len(THRESHOLDS)), bool), scores, classes, truth_classes)
    overlaps = box_iou(torch.from_numpy(truth_boxes), torch.from_numpy(boxes))
    # Of the validator the method uses the thresholds only; a real one would make folders and read settings.
    validator: Any = SimpleNamespace(iouv=THRESHOLDS)
    correct = DetectionValidator.match_predictions(
        validator, torch.from_numpy(classes), torch.from_numpy(truth_classes), overlaps
    )
    return Matched(correct.numpy(), scores, classes, truth_classes)


def pack(correct: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Which thresholds each detection meets, (n, 10), as the bits of one number, (n,)."""
    packed: NDArray[np.int16] = correct @ (1 << np.arange(len(THRESHOLDS), dtype=np.int16))
    return packed


def unpack(bits: NDArray[np.int16]) -> NDArray[np.bool_]:
    """The inverse of `pack`."""
    return (bits[:, None] >> np.arange(len(THRESHOLDS)) & 1).astype(bool)


def summarize(images: list[Matched], names: list[str]) -> dict[str, Any]:
    """Over the classes that images hold, map50_95, map50, and `ap`: map50_95 by class name; None without a true box."""
    columns = zip(*((image.correct, image.scores, image.classes, image.truth) for image in images), strict=True)
    results = ap_per_class(*(np.concatenate(column) for column in columns))
    ap, present = results[5], results[6]
    by_class = dict(zip(present.tolist(), ap.mean(1).tolist(), strict=True))
    return {
        "map50_95": _mean(ap),
        "map50": _mean(ap[:, 0]),
        "ap": {name: by_class.get(index) for index, name in enumerate(names)},
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if values.size else None


def calibration(images: Sequence[Matched]) -> dict[str, float | None]:
    """Calibration of the scores at IoU 0.50, over every image of the split.

    A detection is right when it finds a labelled box, so that precision takes the place of accuracy (Küppers et al.
    2020, Multivariate Confidence Calibration for Object Detection).

    Returns:
        ece, of the detections that score at least `FLOOR`; confidence: mean score of all the right detections, which
        falls with the scores where mAP does not. None where there is no such detection.
    """
    scores = np.concatenate([image.scores for image in images]).astype(np.float64)
    right = np.concatenate([image.correct[:, 0] for image in images])
    sure = scores >= FLOOR
    return {
        "ece": expected_calibration_error(scores[sure], right[sure]),
        "confidence": float(scores[right].mean()) if right.any() else None,
    }


def at_threshold(images: Sequence[Matched], names: Sequence[str], threshold: float) -> dict[str, Any]:
    """Count the detections that score at least `threshold`; right is what finds a box of its class at IoU 0.50.

    A true box is given to its best-scored detection, so that the matching at a threshold is part of the whole one.

    Returns:
        f1 over all detections, of whichever class; precision and recall by class name. None where there is nothing to
        divide by: no detection, no true box, or for f1 neither.
    """
    kept = [image.scores >= threshold for image in images]
    predicted = _count([image.classes[these] for image, these in zip(images, kept, strict=True)], len(names))
    right = _count(
        [image.classes[these & image.correct[:, 0]] for image, these in zip(images, kept, strict=True)], len(names)
    )
    truth = _count([image.truth for image in images], len(names))
    return {
        "f1": _share(2 * right.sum(), predicted.sum() + truth.sum()),
        "precision": dict(zip(names, map(_share, right, predicted), strict=True)),
        "recall": dict(zip(names, map(_share, right, truth), strict=True)),
    }


def _count(classes: Sequence[NDArray[np.int64]], total: int) -> NDArray[np.int64]:
    return np.bincount(np.concatenate(classes), minlength=total)


def _share(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None
