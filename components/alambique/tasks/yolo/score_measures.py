"""What average precision does not show, as it ranks detections and does not care for their scores.

An artifact which halves all scores keeps its mAP, and finds half as much where it is used. So precision, recall and F1
are measured at the threshold of deployment, and how far a score is the probability that its detection is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alambique.evaluation.measures import expected_calibration_error
from alambique.tasks.yolo.average_precision import Matched

FLOOR = 0.05
"""A network fills its output with detections of the lowest scores: rightly so, and by their number they would make any
network look calibrated."""


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
