"""Whether a detection's score is the probability that it is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alambique.tasks.yolo.average_precision import Matched

BINS = 15
"""Of equal width, as in Guo et al. 2017."""

FLOOR = 0.05
"""A network fills its output with detections that it does not believe in: rightly so, and by their number they would
make any network look calibrated."""


def calibration(images: Sequence[Matched]) -> dict[str, float | None]:
    """How far scores can be trusted at IoU 0.50, over every image of the split.

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


def expected_calibration_error(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Mean gap between score and share of right answers, over `BINS` bins of scores, each weighted by its size.

    Naeini, Cooper & Hauskrecht 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning (AAAI); Guo et al.
    2017, On Calibration of Modern Neural Networks, equation 3. For a detector, an answer is right when it finds a box,
    so that precision takes the place of accuracy (Küppers et al. 2020, Multivariate Confidence Calibration for Object
    Detection).

    Args:
        scores: 0 to 1, (n,).
        right: (n,).
    Returns:
        0 (calibrated) to 1; None without scores.
    """
    if not len(scores):
        return None
    bins = np.clip(np.ceil(scores * BINS).astype(np.int64) - 1, 0, BINS - 1)  # a bin holds its upper edge
    gaps = np.bincount(bins, weights=scores - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(scores))
