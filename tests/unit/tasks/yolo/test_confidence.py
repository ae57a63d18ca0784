from __future__ import annotations

import numpy as np
import pytest

from alambique.evaluation.calibration import BINS, expected_calibration_error
from alambique.tasks.yolo.average_precision import THRESHOLDS, Matched
from alambique.tasks.yolo.confidence import FLOOR, calibration


def judged(scores: np.ndarray, right: np.ndarray) -> Matched:
    correct = np.repeat(right[:, None], len(THRESHOLDS), axis=1)
    return Matched(correct, scores.astype(np.float32), np.zeros(len(scores), int), np.zeros(len(scores), int))


def textbook(scores: np.ndarray, right: np.ndarray) -> float:
    """Guo et al. 2017, equations 2 and 3, bin by bin; a bin holds its upper edge."""
    total = 0.0
    for low, high in zip(np.arange(BINS) / BINS, np.arange(1, BINS + 1) / BINS, strict=True):
        inside = (scores > low) & (scores <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - scores[inside].mean())
    return total


def test_the_error_is_that_of_the_textbook() -> None:
    chance = np.random.default_rng(0)
    scores = chance.random(500)
    right = chance.random(500) < scores**2
    assert expected_calibration_error(scores, right) == pytest.approx(textbook(scores, right))


def test_who_is_right_as_often_as_promised_has_no_error() -> None:
    scores = np.array([0.75] * 4)
    assert expected_calibration_error(scores, np.array([True, True, True, False])) == 0


def test_an_edge_belongs_to_the_bin_below() -> None:
    # One bin holds both, in which too much and too little cancel out.
    assert expected_calibration_error(np.array([1.0, 0.95]), np.array([True, False])) == pytest.approx(0.475)
    assert expected_calibration_error(np.array([0.0]), np.array([False])) == 0


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
