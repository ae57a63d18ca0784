from __future__ import annotations

import numpy as np
import pytest

from alambique.tasks.yolo.average_precision import FLOOR, THRESHOLDS, Matched, at_threshold, calibration

NAMES = ["red", "white", "platelet"]


def image(scores: list[float], classes: list[int], right: list[bool], truth: list[int]) -> Matched:
    correct = np.repeat(np.array(right, bool).reshape(-1, 1), len(THRESHOLDS), axis=1)
    return Matched(correct, np.array(scores, np.float32), np.array(classes, np.int64), np.array(truth, np.int64))


SPLIT = [
    image([0.9, 0.8, 0.3, 0.1], [0, 0, 1, 0], [True, False, True, True], [0, 0, 1]),
    image([0.25, 0.2], [0, 1], [True, True], [0, 1]),
    image([], [], [], []),
]


def test_figures_are_those_of_counting_by_hand() -> None:
    found = at_threshold(SPLIT, NAMES, 0.25)
    # Red: 3 found, 2 of them right, 3 there. White: 1 found and right, 2 there.
    assert found["recall"] == {"red": pytest.approx(2 / 3), "white": 0.5, "platelet": None}
    assert found["precision"] == {"red": pytest.approx(2 / 3), "white": 1.0, "platelet": None}
    assert found["f1"] == pytest.approx(2 * 3 / (4 + 5))


def test_a_higher_threshold_finds_less() -> None:
    assert at_threshold(SPLIT, NAMES, 0.5)["recall"] == {"red": pytest.approx(1 / 3), "white": 0.0, "platelet": None}


def test_right_means_an_overlap_of_one_half() -> None:
    loose = image([0.9], [0], [False], [0])
    loose.correct[0, 0] = True
    assert at_threshold([loose], NAMES, 0.25)["f1"] == 1.0


def test_nothing_found_is_a_recall_of_zero_and_no_precision() -> None:
    found = at_threshold([image([], [], [], [0])], NAMES, 0.25)
    assert (found["f1"], found["recall"]["red"], found["precision"]["red"]) == (0.0, 0.0, None)


def test_where_there_is_nothing_there_is_no_f1() -> None:
    assert at_threshold([image([], [], [], [])], NAMES, 0.25)["f1"] is None


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
