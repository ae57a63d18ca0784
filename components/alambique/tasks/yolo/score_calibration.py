"""How far a teacher's scores can be trusted: the probability, class by class, that people would have labelled a box.

A score is no probability: a teacher can be right about three in four of the small objects to which it gives 0.3, and
about one in ten of the large ones. One threshold for all then teaches that small objects are background.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from alambique.data.dataset import Dataset
from alambique.tasks.detect.average_precision import Matched, match
from alambique.tasks.detect.boxes import SoftLabels
from alambique.tasks.detect.samples import corners, seen

ENOUGH = 10
"""Boxes of a class, below which it is judged together with all others."""


class Trust:
    """Isotonic regression of being labelled on the score (Zadrozny & Elkan 2002), for each class."""

    def __init__(self, judged: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> None:
        """Fit a curve to each class.

        Args:
            judged: by class index, the scores of the teacher's boxes and whether people labelled them, (n,) each.
        """
        everything = _fit(*(np.concatenate(column) for column in zip(*judged, strict=True)))
        self._curves = [_fit(*each) if len(each[0]) >= ENOUGH else everything for each in judged]

    def __call__(self, scores: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.float32]:
        """The probability that people would have labelled each box, (n,).

        Args:
            scores, classes: of the teacher's boxes, (n,) each.
        """
        probabilities = np.zeros(len(scores), np.float32)
        for index in np.unique(classes):
            chosen = classes == index
            probabilities[chosen] = self._curves[index].predict(scores[chosen].astype(float))
        return probabilities


def learn(data: Dataset, teacher: Mapping[str, SoftLabels]) -> Trust:
    """Judge the teacher by the labels of val, which neither it nor a student learned from.

    Args:
        data: the dataset.
        teacher: soft labels by the image's path inside data/images.
    Raises:
        IntegrityError: an image of val has no soft labels.
    """
    judged = list(_judge(data, teacher))
    scores, classes, labelled = (
        np.concatenate(column)
        for column in zip(*((each.scores, each.classes, each.correct[:, 0]) for each in judged), strict=True)
    )
    return Trust([(scores[classes == index], labelled[classes == index]) for index in range(len(data.classes))])


def _judge(data: Dataset, teacher: Mapping[str, SoftLabels]) -> Iterable[Matched]:
    for image in data.images("val"):
        found, rows = seen(data, teacher, image), data.boxes(image).astype(np.float32)
        yield match(
            found.boxes.astype(np.float32),
            found.scores.astype(np.float32),
            found.classes[:, 0].astype(np.int64),
            corners(rows[:, 1:]),
            rows[:, 0].astype(np.int64),
        )


def _fit(scores: NDArray[np.float32], labelled: NDArray[np.bool_]) -> IsotonicRegression:
    # Without a single box there is nothing to learn from, and nothing to distrust: the score stays what it is.
    known = (scores, labelled) if len(scores) else ([0.0, 1.0], [0.0, 1.0])
    return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(*known)
