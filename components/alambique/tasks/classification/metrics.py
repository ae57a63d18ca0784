"""What a classifier's probabilities are worth: accuracy, calibration, and what is taken for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alambique.evaluation.measures import Measure

BINS = 15
"""Of the calibration error, equally wide (Guo et al. 2017, On Calibration of Modern Neural Networks, §2)."""
SMALLEST = 1e-12

MEASURES: Mapping[str, Measure] = {
    "top1": Measure("top-1", shown=True, about="share of the samples whose likeliest class is the right one"),
    "top5": Measure("top-5", shown=True, about="share of the samples whose right class is among the five likeliest"),
    "ece": Measure(
        "calibration error",
        lower_is_better=True,
        about="how far confidence is from accuracy, the mean over 15 bins of confidence",
    ),
    "nll": Measure(
        "cross-entropy", unit="number", lower_is_better=True, about="nats, minus the log-probability of the right class"
    ),
    "confidence": Measure("confidence", about="mean probability of the likeliest class"),
}
BY_CLASS: Mapping[str, Measure] = {"recall": Measure("recall", about="share of the class's samples found as it")}


def summarize(chances: NDArray[np.floating], truth: NDArray[np.integer], classes: Sequence[str]) -> dict[str, Any]:
    """All measures of some samples.

    A row that holds anything but numbers counts as wrong, with no confidence.

    Args:
        chances: probabilities, (n, classes), n > 0.
        truth: class index of each, (n,).
        classes: their names.
    Returns:
        the figures of `MEASURES` and `BY_CLASS`; `recall` is None of a class without samples.
    """
    sound = np.isfinite(chances).all(axis=1)
    known = np.where(sound[:, None], chances, 0.0).astype(np.float64)
    order = np.argsort(-known, axis=1, kind="stable")
    hits = (order == truth[:, None]) & sound[:, None]
    found, confidence = hits[:, 0], known.max(axis=1)
    own = known[np.arange(len(truth)), truth]
    return {
        "top1": float(found.mean()),
        "top5": float(hits[:, :5].any(axis=1).mean()),
        "ece": calibration_error(confidence, found),
        "nll": float(-np.log(own.clip(SMALLEST)).mean()),
        "confidence": float(confidence.mean()),
        "recall": {
            name: float(found[truth == index].mean()) if (truth == index).any() else None
            for index, name in enumerate(classes)
        },
    }


def calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """The mean distance of confidence from accuracy over bins of confidence, by their share of the samples."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    gaps = np.bincount(bins, confidence, BINS) - np.bincount(bins, right, BINS)
    return float(np.abs(gaps).sum() / counts.sum())


def confusion(likeliest: NDArray[np.integer], truth: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """How often a class (row) was taken for another (column), (classes, classes)."""
    pairs = np.bincount(truth * classes + likeliest, minlength=classes**2)
    return pairs.reshape(classes, classes)
