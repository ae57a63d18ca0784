from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from alambique.tasks.yolo.objective import MIN_BOXES, ScoreCalibration


def judged(
    scores: NDArray[np.float64], right: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes of which a share `right`, at their scores, was labelled."""
    labelled = np.random.default_rng(seed).random(len(scores)) < right
    return scores.astype(np.float32), labelled


def test_each_class_is_trusted_as_often_as_it_was_right() -> None:
    scores = np.linspace(0, 1, 2000)
    calibration = ScoreCalibration([judged(scores, scores**2, 0), judged(scores, np.sqrt(scores), 1)])
    asked = np.array([0.2, 0.5, 0.8], np.float16)
    np.testing.assert_allclose(calibration(asked, np.zeros(3, np.int16)), [0.04, 0.25, 0.64], atol=0.08)
    np.testing.assert_allclose(calibration(asked, np.ones(3, np.int16)), [0.45, 0.71, 0.89], atol=0.08)


def test_a_surer_box_is_never_trusted_less() -> None:
    random = np.random.default_rng(3)
    calibration = ScoreCalibration([(random.random(50).astype(np.float32), random.random(50) < 0.5)])
    answers = calibration(np.linspace(0, 1, 200), np.zeros(200, int))
    assert (np.diff(answers) >= 0).all()
    assert answers.min() >= 0 and answers.max() <= 1


def test_a_rare_class_is_judged_with_all_others() -> None:
    scores = np.linspace(0, 1, 500)
    common = judged(scores, scores, 0)
    rare = np.full(MIN_BOXES - 1, 0.9, np.float32), np.zeros(MIN_BOXES - 1, bool)
    calibration = ScoreCalibration([common, rare])
    assert calibration(np.array([0.9]), np.array([1]))[0] > 0.6


def test_without_any_box_the_score_is_believed() -> None:
    nothing = np.zeros(0, np.float32), np.zeros(0, bool)
    calibration = ScoreCalibration([nothing, nothing])
    assert calibration(np.array([0.3, 0.7]), np.array([0, 1])) == pytest.approx([0.3, 0.7])
    assert calibration(np.zeros(0), np.zeros(0, int)).shape == (0,)
