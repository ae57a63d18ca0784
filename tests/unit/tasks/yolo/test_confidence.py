from __future__ import annotations

import numpy as np
import pytest

from alambique.tasks.yolo.average_precision import THRESHOLDS, Matched
from alambique.tasks.yolo.confidence import FLOOR, calibration


def judged(scores: np.ndarray, right: np.ndarray) -> Matched:
    correct = np.repeat(right[:, None], len(THRESHOLDS), axis=1)
    return Matched(correct, scores.astype(np.float32), np.zeros(len(scores), int), np.zeros(len(scores), int))


def test_halved_scores_are_seen_in_the_confidence_of_what_is_right() -> None:
    scores, right = np.array([0.9, 0.8, 0.6]), np.array([True, True, False])
    whole, half = calibration([judged(scores, right)]), calibration([judged(scores / 2, right)])
    assert whole["confidence"] == pytest.approx(0.85)
    assert half["confidence"] == pytest.approx(0.425)
    assert half["ece"] > whole["ece"]


def test_what_the_network_does_not_believe_in_does_not_dilute_its_error() -> None:
    scores, right = np.array([0.9] + [FLOOR / 2] * 299), np.array([False] * 300)
    assert calibration([judged(scores, right)])["ece"] == pytest.approx(0.9)


def test_without_detections_there_is_no_figure() -> None:
    assert calibration([judged(np.zeros(0), np.zeros(0, bool))]) == {"ece": None, "confidence": None}
