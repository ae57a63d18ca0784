"""Calibration of a teacher's scores: the probability, class by class, that people would have labelled a box.

A score is no probability: a teacher can be right about three in four of the small objects to which it gives 0.3, and
about one in ten of the large ones. One threshold for all then teaches that small objects are background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from ultralytics.utils.ops import xywh2xyxy

from alambique.tasks.yolo.average_precision import Matched, match
from alambique.tasks.yolo.dataset import Sample, YoloDataset
from alambique.tasks.yolo.soft_label_rows import BoxLabels, labels_of

MIN_BOXES = 10
"""Boxes of a class, below which it gets the curve of all classes together."""


class ScoreCalibration:
    """Isotonic regression of being labelled on the score (Zadrozny & Elkan 2002), for each class."""

    def __init__(self, by_class: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> None:
        """Fit a curve to each class.

        Args:
            by_class: by class index, the scores of the teacher's boxes and whether people labelled them, (n,) each.
        """
        shared = _fit(*(np.concatenate(column) for column in zip(*by_class, strict=True)))
        self._curves = [_fit(scores, labelled) if len(scores) >= MIN_BOXES else shared for scores, labelled in by_class]

    def __call__(self, scores: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.float32]:
        """The probability that people would have labelled each box, (n,)."""
        probabilities = np.zeros(len(scores), np.float32)
        for index in np.unique(classes):
            chosen = classes == index
            probabilities[chosen] = self._curves[index].predict(scores[chosen].astype(float))
        return probabilities


def fit(dataset: YoloDataset, cache: Mapping[str, BoxLabels]) -> ScoreCalibration:
    """Fit to the labels of val, which neither the teacher nor a student was trained on.

    Raises:
        IntegrityError: an image of val has no soft labels.
    """
    images = [_match(dataset.sample(image), labels_of(dataset, cache, image)) for image in dataset.images("val")]
    scores, classes, labelled = (
        np.concatenate(column)
        for column in zip(*((image.scores, image.classes, image.correct[:, 0]) for image in images), strict=True)
    )
    indices = range(len(dataset.classes))
    return ScoreCalibration([(scores[classes == index], labelled[classes == index]) for index in indices])


def _match(sample: Sample, labels: BoxLabels) -> Matched:
    return match(labels.detections, xywh2xyxy(sample.boxes), sample.targets[:, 0].astype(np.int64))


def _fit(scores: NDArray[np.float32], labelled: NDArray[np.bool_]) -> IsotonicRegression:
    # Without a single box there is nothing to fit: the score stays what it is.
    known = (scores, labelled) if len(scores) else ([0.0, 1.0], [0.0, 1.0])
    return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(*known)
