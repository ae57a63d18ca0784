"""Metrics of predicted class probabilities: accuracy, calibration, cross-entropy, recall, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alambique.evaluation.measures import BINS, Measure, expected_calibration_error

SMALLEST = 1e-12
"""Stands for a probability of 0 in the cross-entropy."""

MEASURES: Mapping[str, Measure] = {
    "top1": Measure("top-1", shown=True, about="share of the samples whose likeliest class is the right one"),
    "top5": Measure("top-5", shown=True, about="share of the samples whose right class is among the five likeliest"),
    "ece": Measure(
        "calibration error",
        lower_is_better=True,
        about=f"how far confidence is from accuracy, the mean over {BINS} bins of confidence",
    ),
    "nll": Measure(
        "cross-entropy", unit="number", lower_is_better=True, about="nats, minus the log-probability of the right class"
    ),
    "confidence": Measure("confidence", about="mean probability of the likeliest class"),
}
BY_CLASS: Mapping[str, Measure] = {"recall": Measure("recall", about="share of the class's samples found as it")}


def summarize(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], classes: Sequence[str]
) -> dict[str, Any]:
    """All measures of n samples.

    A row with anything but finite numbers counts as wrong, with no confidence.

    Args:
        probabilities: (n, classes), n > 0.
        labels: class indices, (n,).
    Returns:
        the figures of `MEASURES` and `BY_CLASS`; `recall` is None for a class without samples.
    """
    finite = np.isfinite(probabilities).all(axis=1)
    known = np.where(finite[:, None], probabilities, 0.0).astype(np.float64)
    order = np.argsort(-known, axis=1, kind="stable")
    hits = (order == labels[:, None]) & finite[:, None]
    correct, confidence = hits[:, 0], known.max(axis=1)
    of_label = known[np.arange(len(labels)), labels]
    return {
        "top1": float(correct.mean()),
        "top5": float(hits[:, :5].any(axis=1).mean()),
        "ece": expected_calibration_error(confidence, correct),
        "nll": float(-np.log(of_label.clip(SMALLEST)).mean()),
        "confidence": float(confidence.mean()),
        "recall": {
            name: float(correct[labels == index].mean()) if (labels == index).any() else None
            for index, name in enumerate(classes)
        },
    }


def confusion(predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Samples of each class (row) by the class that was predicted (column), (classes, classes)."""
    pairs = np.bincount(labels * classes + predicted, minlength=classes**2)
    return pairs.reshape(classes, classes)
