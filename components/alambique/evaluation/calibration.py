"""Whether a confidence is the probability of being right: the calibration error of classifiers and detectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Of equal width, as in Guo et al. 2017."""


def expected_calibration_error(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float | None:
    """Mean gap between confidence and accuracy over `BINS` bins of confidence, each weighted by its size.

    Bin m holds the confidences in ((m − 1) / BINS, m / BINS]: Guo et al. 2017, On Calibration of Modern Neural
    Networks, equations 2 and 3; first in Naeini, Cooper & Hauskrecht 2015, Obtaining Well Calibrated Probabilities
    Using Bayesian Binning. A confidence of 0 is counted in the first bin.

    Args:
        confidence: 0 to 1, (n,).
        correct: whether each prediction is right, (n,).
    Returns:
        0 (calibrated) to 1; None where n is 0.
    """
    if not len(confidence):
        return None
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
