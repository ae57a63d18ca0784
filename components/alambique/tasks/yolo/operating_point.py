"""Precision, recall and F1 at the threshold a detector is deployed with.

Average precision ranks detections and does not care for their scores: an artifact which halves them all keeps its mAP,
and finds half as much where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alambique.tasks.yolo.average_precision import Matched


def at_threshold(images: Sequence[Matched], names: Sequence[str], threshold: float) -> dict[str, Any]:
    """Count the detections that score at least `threshold`; right is what finds a box of its class at IoU 0.50.

    A true box is given to its best-scored detection, so that the matching at a threshold is part of the whole one.

    Args:
        images: every image of the split.
        names: class names by index.
        threshold: score, 0 to 1.
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
