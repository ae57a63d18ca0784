from __future__ import annotations

import numpy as np
import pytest

from alambique.evaluation.measures import BINS, expected_calibration_error


def textbook(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Guo et al. 2017, equations 2 and 3, bin by bin; a bin holds its upper edge."""
    total = 0.0
    for low, high in zip(np.arange(BINS) / BINS, np.arange(1, BINS + 1) / BINS, strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


def test_the_error_is_that_of_the_textbook() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.random(500)
    correct = generator.random(500) < confidence**2
    assert expected_calibration_error(confidence, correct) == pytest.approx(textbook(confidence, correct))


def test_calibration_error_by_hand() -> None:
    # Four of confidence 0.9 of which two are right, four of 0.3 of which one is: |0.9 − 0.5| and |0.3 − 0.25|, halved.
    confidence = np.array([0.9] * 4 + [0.3] * 4)
    correct = np.array([True, True, False, False, True, False, False, False])
    assert expected_calibration_error(confidence, correct) == pytest.approx((0.4 + 0.05) / 2)


def test_confidence_that_equals_accuracy_has_no_error() -> None:
    assert expected_calibration_error(np.array([0.75] * 4), np.array([True, True, True, False])) == 0
    assert expected_calibration_error(np.ones(3), np.ones(3, bool)) == 0


def test_an_edge_belongs_to_the_bin_below() -> None:
    # One bin holds both, in which too much and too little cancel out.
    assert expected_calibration_error(np.array([1.0, 0.95]), np.array([True, False])) == pytest.approx(0.475)
    assert expected_calibration_error(np.array([2 / 15, 1 / 15 + 1e-9]), np.array([True, False])) == pytest.approx(0.4)
    assert expected_calibration_error(np.array([0.0]), np.array([False])) == 0


def test_without_predictions_there_is_no_error() -> None:
    assert expected_calibration_error(np.zeros(0), np.zeros(0, bool)) is None
