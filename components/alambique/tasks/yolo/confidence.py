"""Whether a detection's score is the probability that it is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alambique.evaluation.calibration import expected_calibration_error
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
